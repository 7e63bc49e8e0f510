//! The addresses of this machine, read from `/proc`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where a listener at `listener` is reached: there, or at every address of the machine that others can use.
pub(crate) fn reached_at(listener: IpAddr) -> Vec<IpAddr> {
    if !listener.is_unspecified() {
        return vec![listener];
    }
    // What cannot be read has none.
    let v4 = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let v6 = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    of_tables(&v4, &v6)
}

/// The addresses in the kernel's routing table of IPv4 and its list of IPv6 addresses, without loopback.
fn of_tables(fib_trie: &str, if_inet6: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut last: Option<Ipv4Addr> = None;
    // An address in one line, `|-- 10.0.0.1`, and what it is in the next ones, `/32 host LOCAL`.
    for line in fib_trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(last.map(IpAddr::from));
        }
    }
    // The address as 32 digits, then what it belongs to.
    let v6 = if_inet6.lines().filter_map(|line| {
        let digits = line.split_ascii_whitespace().next()?;
        u128::from_str_radix(digits, 16).ok()
    });
    found.extend(v6.map(|bits| IpAddr::from(Ipv6Addr::from(bits))));
    found.retain(|address| !address.is_loopback());
    // The table has each address once for itself and once for its network.
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 172.17.0.0/16 2 0 2
        |-- 172.17.0.0
           /16 link UNICAST
        |-- 172.17.0.2
           /32 host LOCAL
Local:
     |-- 127.0.0.1
        /32 host LOCAL
        |-- 172.17.0.2
           /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
";
    const IF_INET6: &str = "\
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000042acfffe110002 02 40 20 80     eth0
";

    #[test]
    fn loopback_is_for_nobody_else() {
        let shown: Vec<String> = of_tables(FIB_TRIE, IF_INET6)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, ["172.17.0.2", "fe80::42:acff:fe11:2"]);
        assert_eq!(of_tables("", ""), Vec::<IpAddr>::new());
    }

    #[test]
    fn a_listener_at_one_address_is_reached_there() {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(reached_at(loopback), [loopback]);
        let others = reached_at(Ipv4Addr::UNSPECIFIED.into());
        assert!(others.iter().all(|address| !address.is_loopback()));
    }
}

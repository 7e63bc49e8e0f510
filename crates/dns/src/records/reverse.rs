//! The names of addresses: `192.3.0.10.in-addr.arpa.`, and below `ip6.arpa.`.
//!
//! An agent's address belongs to the agent, and so to `slave.D`, also if tasks use it: they come and go. Any other address of a task
//! belongs to the task's instance name, `C.F.D`; one that several have, to all of them.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Records, fits};

impl Records {
    /// Lets an address point to a name.
    pub(super) fn point(&mut self, address: IpAddr, name: &str) {
        if fits(name) {
            let pointers = self.ptr.entry(reverse_name(address)).or_default();
            pointers.insert(Arc::from(name));
        }
    }
}

/// The name under which an address's names are found, with its final dot.
fn reverse_name(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let digits = format!("{:032x}", address.to_bits());
            let mut name: String = digits.chars().rev().flat_map(|c| [c, '.']).collect();
            name.push_str("ip6.arpa.");
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_backwards() {
        let name = |text: &str| reverse_name(text.parse().expect("an address"));
        assert_eq!(name("10.0.3.192"), "192.3.0.10.in-addr.arpa.");
        assert_eq!(name("::ffff:10.0.3.192"), "192.3.0.10.in-addr.arpa.");
        assert_eq!(
            name("2001:db8::567:89ab"),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
        );
    }
}

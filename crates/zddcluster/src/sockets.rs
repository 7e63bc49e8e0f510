//! Who listens on this host, read from `/proc`: to name the holder of an address, and to keep ports of other programs out
//! of the agents' dynamic ports.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listening {
    /// The address; unspecified for "every address" (IPv6's too: it takes the port on IPv4).
    pub(crate) address: SocketAddrV4,
    inode: u64,
}

impl Listening {
    /// Whether it is in the way of a bind to this port on this address.
    pub(crate) fn blocks(&self, address: Ipv4Addr, port: u16) -> bool {
        self.address.port() == port
            && (*self.address.ip() == address || self.address.ip().is_unspecified())
    }
}

/// All listening TCP sockets of this network namespace; empty if `/proc` does not tell.
pub(crate) fn listening() -> Vec<Listening> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| table.lines().filter_map(parse).collect::<Vec<_>>())
        .collect()
}

/// One line: `sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode …`, state 0A = LISTEN.
fn parse(line: &str) -> Option<Listening> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != "0A" {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let ip = match address.len() {
        // Host byte order, little endian on every Linux we build for.
        8 => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.swap_bytes()),
        32 if address.bytes().all(|digit| digit == b'0') => Ipv4Addr::UNSPECIFIED,
        _ => return None,
    };
    Some(Listening {
        address: SocketAddrV4::new(ip, port),
        inode: inode.parse().ok()?,
    })
}

/// The process that holds a socket: its pid and command line; `None` if it is not to be seen by this user.
pub(crate) fn owner(socket: &Listening) -> Option<(u32, String)> {
    let wanted = format!("socket:[{}]", socket.inode);
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // Another user's process does not let its descriptors be read; a zombie has none.
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| target.as_os_str() == wanted.as_str())
        });
        if holds {
            let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            return Some((pid, command.trim().to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_of_ours_is_found_with_its_owner() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listening()
            .into_iter()
            .find(|socket| socket.blocks(Ipv4Addr::LOCALHOST, port));
        let (pid, command) = owner(&found.unwrap()).unwrap();
        assert_eq!(pid, std::process::id());
        assert!(!command.is_empty());
    }

    #[test]
    fn lines_of_the_kernel() {
        let listen = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 x";
        assert_eq!(
            parse(listen),
            Some(Listening {
                address: "127.0.0.1:8080".parse().unwrap(),
                inode: 4242
            })
        );
        assert_eq!(parse(&listen.replace(" 0A ", " 01 ")), None);
        assert_eq!(parse("  sl  local_address rem_address   st"), None);
        let any6 = listen.replace("0100007F", "00000000000000000000000000000000");
        assert!(
            parse(&any6)
                .unwrap()
                .blocks(Ipv4Addr::new(127, 0, 0, 9), 8080)
        );
    }
}

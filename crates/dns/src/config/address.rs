//! Addresses as Mesos-DNS' keys and their flags write them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Where DNS is answered if nothing else is said.
const DNS_PORT: u16 = 53;

/// A Mesos master's API: `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterAddress(String);

/// A name server: `IP` or `IP:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolver(SocketAddr);

/// A text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct InvalidAddress {
    text: String,
    wanted: &'static str,
}

impl MasterAddress {
    /// The root of its API.
    pub fn url(&self) -> String {
        format!("http://{self}")
    }

    /// The address, unless it is told by a name.
    pub fn socket(&self) -> Option<SocketAddr> {
        self.0.parse().ok()
    }
}

impl FromStr for MasterAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self(address.to_string()));
        }
        let is_name = |host: &str| {
            let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !host.is_empty() && host.bytes().all(is_part)
        };
        match text.split_once(':') {
            Some((host, port)) if is_name(host) && port.parse::<u16>().is_ok() => {
                Ok(Self(text.to_lowercase()))
            }
            _ => Err(InvalidAddress {
                text: text.to_owned(),
                wanted: "HOST:PORT",
            }),
        }
    }
}

impl fmt::Display for MasterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Resolver {
    /// With its port.
    pub fn socket(self) -> SocketAddr {
        self.0
    }
}

impl From<IpAddr> for Resolver {
    fn from(ip: IpAddr) -> Self {
        Self((ip, DNS_PORT).into())
    }
}

impl FromStr for Resolver {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(ip.into());
        }
        text.parse().map(Self).map_err(|_| InvalidAddress {
            text: text.to_owned(),
            wanted: "IP or IP:PORT",
        })
    }
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.port() {
            DNS_PORT => self.0.ip().fmt(f),
            _ => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_are_hosts_with_ports() {
        for (text, url) in [
            ("10.0.0.1:5050", "http://10.0.0.1:5050"),
            ("[FD00::1]:5050", "http://[fd00::1]:5050"),
            ("Master-1.lab:80", "http://master-1.lab:80"),
        ] {
            assert_eq!(text.parse::<MasterAddress>().unwrap().url(), url);
        }
        for text in [
            "",
            "10.0.0.1",
            ":5050",
            "a:b",
            "a:70000",
            "http://a:1",
            "a/b:1",
        ] {
            let error = text.parse::<MasterAddress>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is not HOST:PORT"));
        }
    }

    #[test]
    fn the_port_of_a_resolver_may_be_left_out() {
        for (text, socket, shown) in [
            ("8.8.8.8", "8.8.8.8:53", "8.8.8.8"),
            ("8.8.8.8:53", "8.8.8.8:53", "8.8.8.8"),
            ("::1", "[::1]:53", "::1"),
            ("[::1]:5353", "[::1]:5353", "[::1]:5353"),
        ] {
            let resolver: Resolver = text.parse().unwrap();
            assert_eq!(resolver.socket().to_string(), socket);
            assert_eq!(resolver.to_string(), shown);
        }
        for text in ["", "dns.example", "8.8.8.8:", "8.8.8"] {
            text.parse::<Resolver>().unwrap_err();
        }
    }
}

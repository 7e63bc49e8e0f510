//! Another proxy before this one: what it says of its clients is believed if its address is one of those that are trusted.
//!
//! ```text
//!   X-Forwarded-For: forged, client, trusted       connection: trusted
//!                            ^ the last one that is not a proxy of ours
//! ```
//!
//! Whoever else sends such fields has written them himself: then the client is who connects. Source: contract marathon-lb §7.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fields::Fields;

/// What a trusted proxy says of the client that a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its address.
    pub(crate) client: IpAddr,
    /// The proxy has said whether the client has TLS; it has.
    pub(crate) is_tls: Option<bool>,
    /// The proxy has said which port the client came to.
    pub(crate) has_port: bool,
}

/// What the proxy at `peer` says with a request; `None` if it is not `trusted`.
pub(crate) fn told(trusted: &[IpNet], peer: IpAddr, fields: &Fields<'_>) -> Option<Told> {
    let is_trusted = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    if !is_trusted(&peer) {
        return None;
    }
    let named = |name: &'static str| {
        let lines = fields
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name));
        lines.filter_map(|field| std::str::from_utf8(field.value).ok())
    };
    let hops: Vec<&str> = named("x-forwarded-for")
        .flat_map(|line| line.split(','))
        .collect();
    let mut client = peer;
    for hop in hops.iter().rev() {
        // What is no address says nothing about what stands before it.
        let Ok(hop) = hop.trim().parse::<IpAddr>() else {
            break;
        };
        client = hop.to_canonical();
        if !is_trusted(&client) {
            break;
        }
    }
    Some(Told {
        client,
        is_tls: named("x-forwarded-proto")
            .last()
            .map(|proto| proto.trim().eq_ignore_ascii_case("https")),
        has_port: named("x-forwarded-port").next().is_some(),
    })
}

#[cfg(test)]
mod tests {
    use httparse::Header;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn ask(peer: &str, lines: &[(&str, &str)]) -> Option<Told> {
        let headers: Vec<Header<'_>> = lines
            .iter()
            .map(|(name, value)| Header {
                name,
                value: value.as_bytes(),
            })
            .collect();
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        told(
            &trusted,
            peer.parse().unwrap(),
            &Fields::new(&headers).unwrap(),
        )
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        // contract: lb-users-trust
        let lines = [
            ("X-Forwarded-For", "1.1.1.1, 2.2.2.2"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Port", "443"),
        ];
        assert_eq!(ask("127.0.0.1", &lines), None);
        let told = Told {
            client: "2.2.2.2".parse().unwrap(),
            is_tls: Some(true),
            has_port: true,
        };
        assert_eq!(ask(PROXY, &lines), Some(told));
        let silent = Told {
            client: PROXY.parse().unwrap(),
            is_tls: None,
            has_port: false,
        };
        assert_eq!(ask(PROXY, &[]), Some(silent));
    }

    #[test]
    fn the_client_is_the_last_one_that_is_no_proxy_of_ours() {
        for (lines, client) in [
            (&["1.1.1.1", "2.2.2.2, 10.9.9.9"][..], "2.2.2.2"),
            (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
            (&["1.1.1.1, nonsense, 10.2.2.2"], "10.2.2.2"),
            (&["1.1.1.1, nonsense"], PROXY),
            (&["::ffff:3.3.3.3"], "3.3.3.3"),
        ] {
            let named: Vec<_> = lines
                .iter()
                .map(|line| ("x-forwarded-for", *line))
                .collect();
            let told = ask(PROXY, &named).unwrap();
            assert_eq!(told.client, client.parse::<IpAddr>().unwrap(), "{lines:?}");
        }
    }
}

//! What may be set about questions for names outside of the domain.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ConfigError;
use super::address::Resolver;
use crate::name::Name;

/// Where questions about other names go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Whether they go anywhere (`externalon`); if not, they are REFUSED.
    pub external_on: bool,
    /// Who is asked, in this order (`resolvers`).
    pub resolvers: Vec<Resolver>,
    /// Who is asked about a zone and all below it (`zoneResolvers`). Zones are in lower case, without dots at their ends.
    pub zone_resolvers: BTreeMap<String, Vec<Resolver>>,
    /// How long each is waited for (`timeout`).
    pub timeout: Duration,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            external_on: false,
            resolvers: Vec::new(),
            zone_resolvers: BTreeMap::new(),
            timeout: Duration::from_secs(5),
        }
    }
}

impl ForwardConfig {
    /// Checks what the types do not. `domain` is the one we answer for.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self, domain: &str) -> Result<(), ConfigError> {
        unique("resolvers", &self.resolvers)?;
        let fault = |zone: &str, reason| {
            Err(ConfigError::Zone {
                zone: zone.to_owned(),
                reason,
            })
        };
        let mut known = vec![domain.trim_end_matches('.').to_lowercase()];
        for (zone, resolvers) in &self.zone_resolvers {
            if Name::from_text(&format!("{zone}.")).is_none_or(|name| name.as_wire().len() == 1) {
                return fault(zone, "is not a domain name");
            }
            if resolvers.is_empty() {
                return fault(zone, "has no resolvers");
            }
            unique("zoneResolvers", resolvers)?;
            let meets = |other: &String| is_within(zone, other) || is_within(other, zone);
            if known.iter().any(meets) {
                return fault(zone, "meets the domain or another zone of the list");
            }
            known.push(zone.clone());
        }
        Ok(())
    }
}

/// Whether a name is `zone` or below it.
fn is_within(name: &str, zone: &str) -> bool {
    name.strip_suffix(zone)
        .is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

fn unique(key: &'static str, resolvers: &[Resolver]) -> Result<(), ConfigError> {
    for (n, resolver) in resolvers.iter().enumerate() {
        if resolvers[..n].contains(resolver) {
            return Err(ConfigError::Twice {
                key,
                value: resolver.to_string(),
            });
        }
    }
    Ok(())
}

/// The name servers a `resolv.conf` names, but for those at loopback addresses: one of them may be this very server.
pub fn system_resolvers(resolv_conf: &str) -> Vec<Resolver> {
    let servers = resolv_conf.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        is_server.then(|| words.next()?.parse().ok()).flatten()
    });
    let mut resolvers: Vec<Resolver> = Vec::new();
    for resolver in servers {
        let ip = Resolver::socket(resolver).ip();
        if !ip.is_loopback() && !ip.is_unspecified() && !resolvers.contains(&resolver) {
            resolvers.push(resolver);
        }
    }
    resolvers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolvers(texts: &[&str]) -> Vec<Resolver> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn zones(zones: &[(&str, &[&str])]) -> Result<(), String> {
        let config = ForwardConfig {
            zone_resolvers: zones
                .iter()
                .map(|(zone, servers)| ((*zone).to_owned(), resolvers(servers)))
                .collect(),
            ..ForwardConfig::default()
        };
        config.validate("Mesos").map_err(|error| error.to_string())
    }

    #[test]
    fn zones_lie_apart_and_have_resolvers() {
        let one: &[&str] = &["10.0.0.1"];
        assert_eq!(
            zones(&[("corp.example", one), ("notcorp.example", one)]),
            Ok(())
        );
        for (list, part) in [
            (vec![("", one)], "is not a domain name"),
            (vec![(".corp", one)], "is not a domain name"),
            (vec![("corp.", one)], "is not a domain name"),
            (vec![("corp", &[] as &[&str])], "has no resolvers"),
            (vec![("mesos", one)], "meets the domain"),
            (vec![("marathon.mesos", one)], "meets the domain"),
            (vec![("a.corp", one), ("corp", one)], "meets the domain"),
            (
                vec![("corp", &["10.0.0.1", "10.0.0.1:53"])],
                "10.0.0.1 twice",
            ),
        ] {
            let fault = zones(&list).expect_err(part);
            assert!(fault.contains(part), "{fault}");
        }
    }

    #[test]
    fn a_resolver_is_named_once() {
        let config = ForwardConfig {
            resolvers: resolvers(&["10.0.0.1", "10.0.0.2", "10.0.0.1"]),
            ..ForwardConfig::default()
        };
        assert_eq!(
            config.validate("mesos").unwrap_err().to_string(),
            "resolvers names 10.0.0.1 twice"
        );
    }

    #[test]
    fn the_systems_resolvers_are_those_elsewhere() {
        let text = "# nameserver 1.1.1.1\nsearch lab\nnameserver 127.0.0.53\nnameserver 10.0.0.2\n\
                    nameserver\t::1\nnameserver fd00::53\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n";
        assert_eq!(system_resolvers(text), resolvers(&["10.0.0.2", "fd00::53"]));
    }
}

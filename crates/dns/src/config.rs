//! What may be set about the zone. Names and defaults are those of Mesos-DNS, but for the SRV weight and the order of
//! address sources, where they are DC/OS 1.8's: contract mesos-dns §9.

mod address;
mod file;
mod flags;
mod forward;
mod settings;
mod told;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::label::LabelRule;

pub use self::address::{InvalidAddress, MasterAddress, Resolver};
pub use self::file::{Noted, read_file};
pub use self::flags::Flags;
pub use self::forward::{ForwardConfig, system_resolvers};
pub(crate) use self::settings::STATE_TIMEOUT;
pub use self::settings::Settings;
pub(crate) use self::told::Told;

/// The longest name that may be configured: a name holds 254 characters, and a label and a protocol go before it.
const MAX_DOMAIN: usize = 180;

/// How records are made and answers given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneConfig {
    /// The domain below which everything lies, without a dot at its end (`domain`).
    pub domain: String,
    /// Time to live of every record and of negative answers, seconds (`ttl`).
    pub ttl: u32,
    /// Weight of every SRV record (`srvRecordDefaultWeight`).
    pub srv_weight: u16,
    /// Where a task's addresses are looked for; the first source that has one wins (`IPSources`).
    pub ip_sources: Vec<IpSource>,
    /// Which labels are allowed (`EnforceRFC952`).
    pub label_rule: LabelRule,
    /// Whether a shortened answer says so (`SetTruncateBit`).
    pub set_truncate_bit: bool,
    /// The "recursion available" flag of answers (`recurseon`).
    pub recurse_on: bool,
    /// The start of authority.
    pub soa: SoaConfig,
    /// The addresses the name server itself is reached at (`listener`).
    pub name_server: Vec<IpAddr>,
    /// The masters that are known beforehand, in order (`masters`).
    pub masters: Vec<SocketAddr>,
    /// Whether to answer as the RFCs say where Mesos-DNS does not, and to publish more than it: `docs/dns.md`.
    pub extras: bool,
    /// The root of the edge's admin port, for example `http://127.0.0.2:9090`. Its gateways make weights, with `extras`.
    pub gateways_url: Option<String>,
}

/// The fields of the SOA record. Its serial is the time of the last change, its minimum the TTL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoaConfig {
    /// The name server's name (`SOAMname`). It gets the addresses of [`ZoneConfig::name_server`].
    pub mname: String,
    /// Whom to write to (`SOARname`); an `@` counts as a dot.
    pub rname: String,
    /// Seconds (`SOARefresh`).
    pub refresh: u32,
    /// Seconds (`SOARetry`).
    pub retry: u32,
    /// Seconds (`SOAExpire`).
    pub expire: u32,
    /// Seconds (`SOAMinttl`). Told over HTTP only.
    pub minttl: u32,
}

/// Where a task's addresses are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpSource {
    /// Those of the agent it runs on.
    Host,
    /// Those of the networks its container is on.
    NetInfo,
    /// The label the Mesos containerizer's network isolator sets.
    Mesos,
    /// The label the Docker containerizer sets.
    Docker,
}

impl Default for ZoneConfig {
    fn default() -> Self {
        Self {
            domain: "mesos".to_owned(),
            ttl: 60,
            srv_weight: 0,
            ip_sources: vec![IpSource::Host, IpSource::NetInfo],
            label_rule: LabelRule::Rfc1123,
            set_truncate_bit: true,
            recurse_on: true,
            soa: SoaConfig::default(),
            name_server: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            masters: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5050))],
            extras: false,
            gateways_url: None,
        }
    }
}

impl Default for SoaConfig {
    fn default() -> Self {
        Self {
            mname: "ns1.mesos".to_owned(),
            rname: "root.ns1.mesos".to_owned(),
            refresh: 60,
            retry: 600,
            expire: 86400,
            minttl: 60,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `domain`, `SOAMname` or `SOARname` is not a domain name.
    #[error("{key} is not a domain name: {value:?}")]
    Name { key: &'static str, value: String },
    /// No source of addresses is named, or one twice.
    #[error("IPSources must name at least one source, and none twice")]
    IpSources,
    /// A list has the same entry twice.
    #[error("{key} names {value} twice")]
    Twice { key: &'static str, value: String },
    /// A zone of `zoneResolvers` cannot be.
    #[error("zoneResolvers: {zone:?} {reason}")]
    Zone { zone: String, reason: &'static str },
    /// Questions would go round in circles.
    #[error("{resolver} is this server itself, so it cannot be one of its resolvers")]
    Itself { resolver: SocketAddr },
}

impl ZoneConfig {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first fault found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let names = [
            ("domain", &self.domain),
            ("SOAMname", &self.soa.mname),
            ("SOARname", &self.soa.rname),
        ];
        for (key, value) in names {
            let plain = match key {
                "SOARname" => value.replace('@', "."),
                _ => value.clone(),
            };
            let plain = plain.strip_suffix('.').unwrap_or(&plain);
            let is_label = |label: &str| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| {
                        b.is_ascii_alphanumeric() || b == b'-' || (key != "domain" && b == b'_')
                    })
            };
            if plain.len() > MAX_DOMAIN || !plain.split('.').all(is_label) {
                return Err(ConfigError::Name {
                    key,
                    value: value.clone(),
                });
            }
        }
        let sources = &self.ip_sources;
        let is_unique = |(n, source): (usize, &IpSource)| !sources[..n].contains(source);
        if sources.is_empty() || !sources.iter().enumerate().all(is_unique) {
            return Err(ConfigError::IpSources);
        }
        Ok(())
    }

    /// The domain in lower case with its final dot.
    pub(crate) fn origin(&self) -> String {
        dotted(&self.domain.to_lowercase())
    }
}

impl SoaConfig {
    /// The name server's name with its final dot.
    pub(crate) fn mname(&self) -> String {
        dotted(&self.mname)
    }

    /// The mailbox as a name with its final dot.
    pub(crate) fn rname(&self) -> String {
        dotted(&self.rname.replace('@', "."))
    }
}

fn dotted(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() {
        assert_eq!(ZoneConfig::default().validate(), Ok(()));
        for domain in ["", "a..b", ".a", "under_score", "a b", "a@b", "mesos.."] {
            let config = ZoneConfig {
                domain: domain.to_owned(),
                ..ZoneConfig::default()
            };
            assert!(
                matches!(
                    config.validate(),
                    Err(ConfigError::Name { key: "domain", .. })
                ),
                "{domain:?}"
            );
        }
        for ip_sources in [vec![], vec![IpSource::Host, IpSource::Host]] {
            let config = ZoneConfig {
                ip_sources,
                ..ZoneConfig::default()
            };
            assert_eq!(config.validate(), Err(ConfigError::IpSources));
        }
    }
}

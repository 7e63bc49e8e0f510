//! Everything that may be set, wherever it was said: in a `config.json` of Mesos-DNS, by flags, or not at all.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{ForwardConfig, IpSource, MasterAddress, Resolver, Told, ZoneConfig};
use crate::follow::REREAD;

/// How long a state may take if nothing else is said: Mesos-DNS' own patience (`stateTimeoutSeconds`).
pub(crate) const STATE_TIMEOUT: Duration = Duration::from_secs(300);

/// Who only answers this machine.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The settings of the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The masters whose state is read, the first one tried first (`masters`).
    pub masters: Vec<MasterAddress>,
    /// Instead, a master of ours is followed.
    pub follows: bool,
    /// How often (`refreshSeconds`).
    pub refresh: Duration,
    /// How long that may take (`stateTimeoutSeconds`).
    pub state_timeout: Duration,
    /// Whether DNS is answered (`dnson`).
    pub dns_on: bool,
    /// Whether the HTTP API is (`httpon`).
    pub http_on: bool,
    /// Where DNS is answered (`port`).
    pub port: u16,
    /// The same; loopback if nothing is said (`listener`).
    pub listener: Option<IpAddr>,
    /// Where the HTTP API is (`httpport`).
    pub http_port: u16,
    /// The same; loopback if nothing is said (`httplistener`).
    pub http_listener: Option<IpAddr>,
    /// Whether everything may be listed (`EnumerationOn`).
    pub enumeration_on: bool,
    /// How records are made; what is known at the start only is filled in by [`zone_at`](Self::zone_at).
    pub zone: ZoneConfig,
    /// What happens to other names.
    pub forward: ForwardConfig,
    /// The `config.json`, if there is one.
    pub file: Option<String>,
}

impl Default for Settings {
    /// What is ours to choose: loopback, nothing is forwarded, records as DC/OS had them.
    fn default() -> Self {
        Self {
            masters: Vec::new(),
            follows: true,
            refresh: REREAD,
            state_timeout: STATE_TIMEOUT,
            dns_on: true,
            http_on: true,
            port: 8053,
            listener: Some(LOOPBACK),
            http_port: 8123,
            http_listener: None,
            enumeration_on: true,
            zone: ZoneConfig {
                name_server: Vec::new(),
                masters: Vec::new(),
                ..ZoneConfig::default()
            },
            forward: ForwardConfig::default(),
            file: None,
        }
    }
}

impl Settings {
    /// What a `config.json` means that says nothing.
    pub(super) fn original() -> Self {
        let ours = Self::default();
        Self {
            follows: false,
            port: 53,
            listener: None,
            zone: ZoneConfig {
                srv_weight: 1,
                ip_sources: vec![IpSource::NetInfo, IpSource::Mesos, IpSource::Host],
                ..ours.zone
            },
            forward: ForwardConfig {
                external_on: true,
                resolvers: vec![Resolver::from(IpAddr::from([8, 8, 8, 8]))],
                ..ours.forward
            },
            ..ours
        }
    }

    /// Where DNS is to be answered.
    pub fn dns_address(&self) -> SocketAddr {
        (self.listener_or_loopback(), self.port).into()
    }

    /// Where the HTTP API is to be.
    pub fn http_address(&self) -> SocketAddr {
        let listener = match self.http_listener {
            Some(listener) => listener,
            // Beside DNS, unless a file has keys for both.
            None if self.file.is_none() => self.listener_or_loopback(),
            None => LOOPBACK,
        };
        (listener, self.http_port).into()
    }

    fn listener_or_loopback(&self) -> IpAddr {
        self.listener.unwrap_or(LOOPBACK)
    }

    /// How records are made by a server that is reached at `name_server`.
    pub fn zone_at(&self, name_server: Vec<IpAddr>) -> ZoneConfig {
        let masters = self.masters.iter().filter_map(MasterAddress::socket);
        ZoneConfig {
            name_server,
            masters: masters.collect(),
            ..self.zone.clone()
        }
    }

    /// What is wrong with the whole, one line each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        faults.extend(self.zone.validate().err().map(|fault| fault.to_string()));
        let forward = self.forward.validate(&self.zone.domain);
        faults.extend(forward.err().map(|fault| fault.to_string()));
        if !self.follows && self.masters.is_empty() {
            faults.push(
                "masters: at least one is needed, for instance [\"10.0.0.1:5050\"]; they are not looked for in ZooKeeper"
                    .into(),
            );
        }
        for (n, master) in self.masters.iter().enumerate() {
            if self.masters[..n].contains(master) {
                faults.push(format!("masters names {master} twice"));
            }
        }
        for (key, duration) in [
            ("refreshSeconds", self.refresh),
            ("stateTimeoutSeconds", self.state_timeout),
        ] {
            if duration.is_zero() {
                faults.push(format!("{key} must be greater than 0"));
            }
        }
        if !self.dns_on && !self.http_on {
            faults.push("dnson and httpon cannot both be false: nothing would be answered".into());
        }
        let ForwardConfig {
            external_on,
            resolvers,
            zone_resolvers,
            timeout: _,
        } = &self.forward;
        if *external_on && resolvers.is_empty() && zone_resolvers.is_empty() {
            faults.push(
                "externalon needs resolvers, and /etc/resolv.conf names none of another machine; \
                 hint: --resolvers IP[:PORT],..."
                    .into(),
            );
        }
        faults
    }

    /// The settings as a `config.json` that says the same, for `--dump-config`. One cannot say that a master is followed, nor what is
    /// for [extras](ZoneConfig::extras).
    pub fn to_json(&self) -> String {
        let told = Told {
            masters: self.masters.iter().map(ToString::to_string).collect(),
            refresh: self.refresh,
            state_timeout: self.state_timeout,
            dns: Some(self.dns_address()),
            dns_on: self.dns_on,
            http: Some(self.http_address()),
            http_on: self.http_on,
            enumeration_on: self.enumeration_on,
            zone: &self.zone,
            forward: &self.forward,
            file: self.file.as_deref(),
        };
        format!("{:#}\n", told.json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_http_api_is_beside_dns_unless_a_file_has_it_elsewhere() {
        let ours = Settings {
            listener: Some([127, 0, 0, 9].into()),
            ..Settings::default()
        };
        assert_eq!(ours.dns_address().to_string(), "127.0.0.9:8053");
        assert_eq!(ours.http_address().to_string(), "127.0.0.9:8123");
        let theirs = Settings {
            file: Some("config.json".to_owned()),
            ..ours
        };
        assert_eq!(theirs.http_address().to_string(), "127.0.0.1:8123");
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let mut settings = Settings::default();
        assert_eq!(settings.faults(), Vec::<String>::new());
        settings.masters = vec!["a:1".parse().unwrap(), "A:1".parse().unwrap()];
        settings.refresh = Duration::ZERO;
        settings.state_timeout = Duration::ZERO;
        (settings.dns_on, settings.http_on) = (false, false);
        settings.zone.domain = "a b".to_owned();
        settings.forward.external_on = true;
        let starts = [
            "domain is not a domain name",
            "masters names a:1 twice",
            "refreshSeconds must",
            "stateTimeoutSeconds must",
            "dnson and httpon",
            "externalon needs resolvers",
        ];
        let faults = settings.faults();
        assert_eq!(faults.len(), starts.len(), "{faults:#?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }

    #[test]
    fn what_is_dumped_reads_back_the_same() {
        let mut settings = Settings::original();
        settings.file = Some("x.json".to_owned());
        settings.listener = Some([0, 0, 0, 0].into());
        settings.http_listener = Some([127, 0, 0, 9].into());
        settings.masters = vec!["10.0.0.1:5050".parse().unwrap()];
        settings.zone.soa.minttl = 7;
        let zones = [("corp".to_owned(), settings.forward.resolvers.clone())];
        settings.forward.zone_resolvers = zones.into();
        for (dns_on, http_on) in [(true, true), (false, true), (true, false)] {
            settings.dns_on = dns_on;
            settings.http_on = http_on;
            let read = super::super::read_file("x.json", &settings.to_json()).expect("it is one");
            assert_eq!(read.settings, settings);
            assert_eq!(read.notes, Vec::<String>::new());
        }
    }
}

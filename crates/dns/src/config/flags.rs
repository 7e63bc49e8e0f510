//! What a command line says beside the file. It goes before it.

use std::net::SocketAddr;
use std::time::Duration;

use super::file::list;
use super::{Resolver, Settings};

/// Settings by flags; what is `None` or empty was not said. The texts are as given.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `HOST:PORT` each.
    pub masters: Vec<String>,
    /// Whether a master of ours is to be followed, whatever the file lists.
    pub follows: bool,
    /// Seconds.
    pub refresh_seconds: Option<u64>,
    /// Where DNS is answered.
    pub listen: Option<SocketAddr>,
    /// Where the HTTP API is.
    pub http: Option<SocketAddr>,
    /// The domain of all names.
    pub domain: Option<String>,
    /// Seconds.
    pub ttl: Option<u32>,
    /// Whether other names are forwarded.
    pub external_on: Option<bool>,
    /// `IP` or `IP:PORT` each.
    pub resolvers: Vec<String>,
    /// `ZONE=IP` or `ZONE=IP:PORT` each, in order; they replace all zones of the file.
    pub zone_resolvers: Vec<String>,
    /// Seconds.
    pub timeout: Option<u64>,
}

impl Settings {
    /// Puts what flags say in place of what is set; returns what is wrong with them, one line each.
    pub fn overrule(&mut self, flags: Flags) -> Vec<String> {
        let Flags {
            masters,
            follows,
            refresh_seconds,
            listen,
            http,
            domain,
            ttl,
            external_on,
            resolvers,
            zone_resolvers,
            timeout,
        } = flags;
        let mut faults = Vec::new();
        if follows {
            self.masters.clear();
            self.follows = true;
        }
        if !masters.is_empty() {
            self.masters = list("--masters", &masters, &mut faults);
            self.follows = false;
        }
        if let Some(seconds) = refresh_seconds {
            self.refresh = Duration::from_secs(seconds);
        }
        if let Some(address) = listen {
            (self.listener, self.port) = (Some(address.ip()), address.port());
            self.dns_on = true;
        }
        if let Some(address) = http {
            (self.http_listener, self.http_port) = (Some(address.ip()), address.port());
            self.http_on = true;
        }
        if let Some(domain) = domain {
            self.zone.domain = domain;
        }
        if let Some(ttl) = ttl {
            self.zone.ttl = ttl;
        }
        if let Some(external_on) = external_on {
            self.forward.external_on = external_on;
        }
        if !resolvers.is_empty() {
            self.forward.resolvers = list("--resolvers", &resolvers, &mut faults);
        }
        if !zone_resolvers.is_empty() {
            self.forward.zone_resolvers.clear();
        }
        for entry in zone_resolvers {
            let parsed = entry
                .split_once('=')
                .and_then(|(zone, server)| Some((zone, server.parse::<Resolver>().ok()?)));
            let Some((zone, resolver)) = parsed else {
                faults.push(format!(
                    "--zone-resolvers: `{entry}` is not ZONE=IP or ZONE=IP:PORT"
                ));
                continue;
            };
            let zones = &mut self.forward.zone_resolvers;
            zones.entry(zone.to_lowercase()).or_default().push(resolver);
        }
        if let Some(seconds) = timeout {
            self.forward.timeout = super::file::timeout(seconds);
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_file;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn flags_go_before_the_file_and_what_they_do_not_say_stays() {
        let file = r#"{"masters": ["a:1"], "ttl": 7, "resolvers": ["10.0.0.1"], "dnson": false, "port": 5353,
                       "zoneResolvers": {"corp": ["10.0.0.2"]}, "timeout": 2, "domain": "file"}"#;
        let read = read_file("config.json", file).expect("a file");
        let mut settings = read.settings.clone();
        assert_eq!(settings.overrule(Flags::default()), Vec::<String>::new());
        assert_eq!(settings, read.settings);

        let flags = Flags {
            masters: texts(&["b:2", "c:3"]),
            follows: false,
            refresh_seconds: Some(3),
            listen: Some(([127, 0, 0, 2], 54).into()),
            http: Some(([127, 0, 0, 3], 81).into()),
            domain: Some("flag".to_owned()),
            ttl: Some(8),
            external_on: Some(false),
            resolvers: texts(&["10.0.0.3:54"]),
            zone_resolvers: texts(&["Lab=10.0.0.4", "lab=10.0.0.5:55"]),
            timeout: Some(0),
        };
        assert_eq!(settings.overrule(flags), Vec::<String>::new());
        let masters: Vec<String> = settings.masters.iter().map(ToString::to_string).collect();
        assert_eq!(masters, ["b:2", "c:3"]);
        assert_eq!(settings.dns_address().to_string(), "127.0.0.2:54");
        assert_eq!(settings.http_address().to_string(), "127.0.0.3:81");
        assert!(settings.dns_on && !settings.forward.external_on);
        assert_eq!(
            (settings.zone.domain.as_str(), settings.zone.ttl),
            ("flag", 8)
        );
        let shown = |resolvers: &[Resolver]| -> Vec<String> {
            resolvers.iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown(&settings.forward.resolvers), ["10.0.0.3:54"]);
        let zones = &settings.forward.zone_resolvers;
        assert_eq!(zones.len(), 1);
        assert_eq!(shown(&zones["lab"]), ["10.0.0.4", "10.0.0.5:55"]);
        assert_eq!(settings.forward.timeout, Duration::from_secs(5));
        assert_eq!(settings.refresh, Duration::from_secs(3));

        let follows = Flags {
            follows: true,
            ..Flags::default()
        };
        settings.overrule(follows);
        assert!(settings.masters.is_empty() && settings.follows);
    }

    #[test]
    fn faults_name_the_flag() {
        let flags = Flags {
            masters: texts(&["a"]),
            resolvers: texts(&["b"]),
            zone_resolvers: texts(&["c", "d=e"]),
            ..Flags::default()
        };
        assert_eq!(
            Settings::default().overrule(flags),
            [
                "--masters: `a` is not HOST:PORT",
                "--resolvers: `b` is not IP or IP:PORT",
                "--zone-resolvers: `c` is not ZONE=IP or ZONE=IP:PORT",
                "--zone-resolvers: `d=e` is not ZONE=IP or ZONE=IP:PORT",
            ]
        );
    }
}

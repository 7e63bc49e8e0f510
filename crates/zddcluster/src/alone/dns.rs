//! `zddcluster dns`: settings from flags and environment, else from a file, which may be a `config.json` of Mesos-DNS.

use std::fs;
use std::process::ExitCode;

use tracing::warn;
use zddcluster_cli::DnsArgs;
use zddcluster_dns::{Flags, Noted, Settings, read_file, system_resolvers};

use super::{log_faults, run};
use crate::cluster::{self, DnsParts};
use crate::fault::Fault;
use crate::{listeners, logging, members, settings, token};

/// Who resolves names for this machine.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Runs `zddcluster dns`. It changes nothing and tells what it knows to whoever asks, so it may listen anywhere.
pub(crate) fn dns(args: DnsArgs, dump: Option<&str>) -> Result<ExitCode, Fault> {
    let mut faults = log_faults(&args.log);
    let token = token::read(&args.token, &mut faults);
    let Noted { settings, notes } = read(&args).unwrap_or_else(|of_settings| {
        faults.extend(of_settings);
        Noted {
            settings: Settings::default(),
            notes: Vec::new(),
        }
    });
    settings::refuse(&faults)?;
    if let Some(dump) = dump {
        let json = settings.file.as_ref().map(|_| settings.to_json());
        return settings::print(json.as_deref().unwrap_or(dump));
    }
    logging::init(&args.log.filter)?;
    for note in notes {
        warn!("{note}");
    }
    let dns = settings
        .dns_on
        .then(|| listeners::dns(settings.dns_address()))
        .transpose()
        .map_err(Fault::settings)?;
    // A port that was asked for is that or none.
    let is_said = args.http.is_some() || settings.file.is_some();
    let http = settings
        .http_on
        .then(|| match is_said {
            true => listeners::tcp(settings.http_address()),
            false => listeners::dns_http(settings.http_address()),
        })
        .transpose()
        .map_err(Fault::settings)?;
    // Where it listens in truth: the port may have been left open.
    let at = match (&dns, &http) {
        (Some((_, tcp)), _) => tcp.local_addr()?,
        (None, Some(http)) => http.local_addr()?,
        (None, None) => settings.dns_address(),
    };
    if settings.forward.external_on && !at.ip().is_loopback() {
        warn!(%at, "whoever reaches this server can ask the resolvers through it");
    }
    let _lock = members::join(&args.member, members::DNS, &at.to_string())?;
    let parts = DnsParts {
        dns,
        http,
        allowed_hosts: args.hosts.allowed,
        mesos_url: args.master.unwrap_or_else(|| cluster::MESOS_URL.to_owned()),
        settings,
        extras: args.dns_extras,
        gateways_url: args.gateways_url,
        token,
    };
    run(|tasks| async move { cluster::dns(parts, &tasks) })
}

/// The settings as a whole; `Err` has all that is wrong with them.
fn read(args: &DnsArgs) -> Result<Noted, Vec<String>> {
    let mut noted = Noted {
        settings: Settings::default(),
        notes: Vec::new(),
    };
    if let Some(path) = args.config.file() {
        let name = path.display().to_string();
        let text = fs::read_to_string(path)
            .map_err(|error| vec![format!("cannot read the settings in {name}: {error}")])?;
        // Of TOML the flags have everything already.
        if zddcluster_cli::is_json(&text) {
            let of_file = |faults: Vec<String>| {
                let faults = faults.into_iter();
                faults
                    .map(|fault| format!("{name}: {fault}"))
                    .collect::<Vec<_>>()
            };
            noted = read_file(&name, &text).map_err(of_file)?;
        }
    }
    let settings = &mut noted.settings;
    let mut faults = settings.overrule(flags(args));
    if args.gateways_url.is_some() && !args.dns_extras {
        faults.push("--gateways-url is of use with --dns-extras only".to_owned());
    }
    let forward = &mut settings.forward;
    if forward.external_on && forward.resolvers.is_empty() {
        // Without the file there are none.
        let resolv_conf = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        forward.resolvers = system_resolvers(&resolv_conf);
    }
    faults.extend(settings.faults());
    if faults.is_empty() {
        Ok(noted)
    } else {
        Err(faults)
    }
}

fn flags(args: &DnsArgs) -> Flags {
    Flags {
        masters: args.masters.clone(),
        // A file of Mesos-DNS leaves this without a default.
        follows: args.master.is_some(),
        refresh_seconds: args.refresh_seconds,
        listen: args.listen,
        http: args.http,
        domain: args.domain.clone(),
        ttl: args.ttl,
        external_on: args.externalon,
        resolvers: args.resolvers.clone(),
        zone_resolvers: args.zone_resolvers.clone(),
        timeout: args.timeout,
    }
}

#[cfg(test)]
mod tests {
    use zddcluster_cli::{Invocation, parse};

    use super::*;

    /// Reads the settings of a line in which `FILE` is a file with this text.
    fn read_with(file: &str, line: &str) -> Result<Noted, Vec<String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs::write(&path, file).unwrap();
        let line = line.replace("FILE", &path.display().to_string());
        let parsed = parse(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        let Invocation::Dns(args) = parsed.invocation else {
            panic!("{line}")
        };
        read(&args)
    }

    const FILE: &str = r#"{"masters": ["10.0.0.1:5050"], "domain": "file", "ttl": 7, "externalon": false,
                           "listener": "127.0.0.9", "httpon": false, "srvRecordDefaultWeight": 3}"#;

    #[test]
    fn flags_go_before_a_file_of_mesos_dns_and_it_before_defaults() {
        let line = "zddcluster dns --config FILE --domain flag";
        let Noted { settings, notes } = read_with(FILE, line).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        assert_eq!(settings.zone.domain, "flag");
        assert_eq!((settings.zone.ttl, settings.zone.srv_weight), (7, 3));
        assert_eq!(settings.dns_address().to_string(), "127.0.0.9:53");
        assert_eq!((settings.follows, settings.masters.len()), (false, 1));

        let line = "zddcluster dns --config FILE --master http://10.0.0.9:5050";
        assert!(read_with(FILE, line).unwrap().settings.follows);
        let line = "zddcluster dns --config FILE --masters 10.0.0.8:5050,10.0.0.9:5050";
        assert_eq!(read_with(FILE, line).unwrap().settings.masters.len(), 2);
    }

    #[test]
    fn without_such_a_file_the_defaults_are_ours() {
        for (file, line) in [
            ("", "zddcluster dns"),
            ("ttl = 60", "zddcluster dns --config FILE"),
        ] {
            let Noted { settings, notes } = read_with(file, line).unwrap();
            assert_eq!(
                (settings, notes),
                (Settings::default(), Vec::new()),
                "{line}"
            );
        }
        let polls = read_with("", "zddcluster dns --masters 10.0.0.1:5050").unwrap();
        assert!(!polls.settings.follows);
    }

    #[test]
    fn faults_name_the_file_or_the_flag() {
        let line = "zddcluster dns --config FILE --resolvers here";
        let faults = read_with(r#"{"ttl": -1, "zk": 7}"#, line).unwrap_err();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("config.json: zk: a text"), "{faults:?}");
        let faults = read_with(FILE, line).unwrap_err();
        assert_eq!(faults, ["--resolvers: `here` is not IP or IP:PORT"]);
    }

    #[test]
    fn gateways_are_for_extras() {
        let line = "zddcluster dns --gateways-url http://127.0.0.2:9090";
        let faults = read_with("", line).unwrap_err();
        assert_eq!(faults, ["--gateways-url is of use with --dns-extras only"]);
        assert!(read_with("", &format!("{line} --dns-extras")).is_ok());
    }
}

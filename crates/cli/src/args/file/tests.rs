use super::*;
use crate::args::{Invocation, Parsed, UsageError, parse};
use crate::exit::ExitStatus;

/// Parses `line`, in which `FILE` is a file with this text.
fn with(file: &str, line: &str) -> Result<Parsed, UsageError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.toml");
    fs::write(&path, file).unwrap();
    parse(
        line.split_whitespace()
            .map(|word| match word {
                "FILE" => path.display().to_string(),
                word => word.to_owned(),
            })
            .collect::<Vec<_>>(),
    )
}

#[track_caller]
fn faults(file: &str, line: &str) -> Vec<String> {
    let error = with(file, line).unwrap_err();
    assert_eq!(error.report(), ExitStatus::Config);
    match error {
        UsageError::Settings { faults } => faults
            .into_iter()
            .map(|fault| match fault.split_once("settings.toml: ") {
                Some((_, fault)) => format!("FILE: {fault}"),
                None => fault,
            })
            .collect(),
        UsageError::Grammar { error, .. } => panic!("{error}"),
    }
}

#[test]
fn flags_go_before_the_file_and_it_before_the_defaults() {
    let file = "agents = 5\nspeed = 2.5\npublic-agents = 3\ndetach = true\nwith = ['marathon-lb']\nallow-host = ['a', 'b']";
    let parsed = with(file, "zddcluster up --config FILE --agents 4").unwrap();
    assert_eq!(parsed.dump, None);
    let Invocation::Up(args) = parsed.invocation else {
        panic!("{:?}", parsed.invocation)
    };
    assert_eq!((args.agents, args.speed, args.public_agents), (4, 2.5, 3));
    assert_eq!((args.with.len(), args.detach), (1, true));
    assert_eq!(args.hosts.allowed, ["a", "b"]);
    assert_eq!(args.net.to_string(), "127.0.0.0/24");
}

#[test]
fn a_setting_that_must_be_may_be_in_the_file() {
    let parsed = with("work-dir = '/w'", "zddcluster agent --config FILE").unwrap();
    let Invocation::Agent(args) = parsed.invocation else {
        panic!("{:?}", parsed.invocation)
    };
    assert_eq!(args.work_dir, Path::new("/w"));
}

#[test]
fn all_faults_are_told_at_once() {
    let file = "agent = 3\npublic-agents = 12\nspeed = true\nnet = '10.0.0.0/24'\nconfig = 'x'\nzzz = 1\nwith = 'vamp'";
    let found = faults(
        file,
        "zddcluster up --config FILE --agents 999 --resources bogus",
    );
    let starts = [
        "FILE: there is no setting `agent`; hint: `agents`",
        "FILE: public-agents: invalid value '12' for '--public-agents <N>': 12 is not in 0..=9",
        "FILE: speed: a text or a number is needed, not boolean",
        "FILE: net: invalid value '10.0.0.0/24' for '--net <NET>': must be a /24",
        "FILE: there is no setting `config`; hint:",
        "FILE: there is no setting `zzz`; hint: zddcluster up --help",
        "FILE: with: invalid value 'vamp' for '--with <PACKAGE>' [possible values: marathon-lb]",
        "invalid value '999' for '--agents <N>'",
        "invalid value 'bogus' for '--resources <RESOURCES>'",
    ];
    for start in starts {
        assert!(
            found.iter().any(|fault| fault.starts_with(start)),
            "{start} not in {found:#?}"
        );
    }
    assert_eq!(found.len(), starts.len(), "{found:#?}");
}

#[test]
fn a_file_that_is_none_is_named() {
    let found = faults("agents = ", "zddcluster up --config FILE");
    assert!(found[0].contains("is not TOML"), "{found:?}");
    let found = faults("", "zddcluster dns --config /none/none.toml");
    assert!(found[0].contains("/none/none.toml"), "{found:?}");
    // Also where the fault makes a setting absent that must be.
    let found = faults("work-dir = 1.", "zddcluster agent --config FILE");
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_is_not_in_the_grammar_is_no_setting() {
    let error = with("", "zddcluster up --config FILE --bogus").unwrap_err();
    assert_eq!(error.report(), ExitStatus::Usage);
    assert_eq!(
        parse(["zddcluster", "agent"]).unwrap_err().report(),
        ExitStatus::Usage
    );
}

#[test]
fn the_settings_in_effect_are_a_file_that_says_the_same() {
    let line = "zddcluster master --dump-config --front 127.0.0.1:1 --speed 3 --allow-host a --no-drain --token-file /secret";
    let dump = with("", line).unwrap().dump.unwrap();
    let expected = "\
allow-host = [\"a\"]
front = \"127.0.0.1:1\"
log = \"info\"
mesos = \"127.0.0.1:5050\"
no-drain = true
speed = 3
token-file = \"/secret\"
";
    assert_eq!(dump, expected);
    let again = with(&dump, "zddcluster master --config FILE --dump-config");
    assert_eq!(again.unwrap().dump.as_deref(), Some(expected));
}

#[test]
fn an_edge_may_have_its_arguments_in_a_file() {
    let file = "marathon = ['http://a:1', 'http://b:1']\ngroup = 'external'\nhealth-check = true\nhost = '127.0.0.9'";
    let parsed = with(file, "zddcluster edge --config FILE sse --haproxy-map").unwrap();
    let Invocation::Edge(args) = parsed.invocation else {
        panic!("{:?}", parsed.invocation)
    };
    assert_eq!(args.marathon, ["http://a:1", "http://b:1"]);
    assert_eq!(args.group, ["external"]);
    assert!(args.health_check && !args.haproxy_map);
    assert_eq!(args.host.to_string(), "127.0.0.9");
    assert_eq!(args.args, ["sse", "--haproxy-map"]);
}

#[test]
fn a_file_of_mesos_dns_is_left_to_the_role_and_goes_before_defaults() {
    let file = "\n{\"masters\": [\"10.0.0.1:5050\"]}";
    let parsed = with(file, "zddcluster dns --config FILE --ttl 7").unwrap();
    let Invocation::Dns(args) = parsed.invocation else {
        panic!("{:?}", parsed.invocation)
    };
    assert_eq!(
        (args.listen, args.domain, args.ttl, args.master),
        (None, None, Some(7), None)
    );
    assert!(args.config.file().is_some());
    assert_eq!(args.log.filter, "info");
    // Nobody else reads JSON.
    let found = faults(file, "zddcluster master --config FILE");
    assert!(found[0].contains("is not TOML"), "{found:?}");
}

#[test]
fn dns_takes_lists_and_switches() {
    let line = "zddcluster dns --masters a:1,b:2 --externalon --resolvers 1.1.1.1 --resolvers 2.2.2.2 \
                --zone-resolvers corp=3.3.3.3,corp=4.4.4.4 --timeout 2 --refresh-seconds 9";
    let Invocation::Dns(args) = with("", line).unwrap().invocation else {
        panic!("{line}")
    };
    assert_eq!(args.masters, ["a:1", "b:2"]);
    assert_eq!(args.externalon, Some(true));
    assert_eq!(args.resolvers, ["1.1.1.1", "2.2.2.2"]);
    assert_eq!(args.zone_resolvers, ["corp=3.3.3.3", "corp=4.4.4.4"]);
    assert_eq!((args.timeout, args.refresh_seconds), (Some(2), Some(9)));
    let off = with("", "zddcluster dns --externalon=false").unwrap();
    let Invocation::Dns(args) = off.invocation else {
        panic!("{line}")
    };
    assert_eq!(args.externalon, Some(false));
    assert_eq!(
        args.listen.map(|at| at.to_string()).as_deref(),
        Some("127.0.0.1:8053")
    );
    assert_eq!(args.master.as_deref(), Some("http://127.0.0.1:5050"));
}

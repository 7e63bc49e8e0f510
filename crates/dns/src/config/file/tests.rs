use super::*;
use crate::config::SoaConfig;

/// The keys that a file must have, so that a test names only its own.
const NEEDED: &str =
    r#""masters": ["10.0.0.1:5050"], "listener": "127.0.0.1", "httplistener": "127.0.0.1""#;

fn read(keys: &str) -> Result<Noted, Vec<String>> {
    read_file("config.json", &format!("{{{NEEDED}{keys}}}"))
}

#[track_caller]
fn settings(keys: &str) -> Settings {
    let Noted { settings, notes } = read(keys).expect("a good file");
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(settings.faults(), Vec::<String>::new());
    settings
}

#[track_caller]
fn faults(keys: &str) -> Vec<String> {
    read(keys).expect_err("a faulty file")
}

#[test]
fn what_is_left_out_has_the_originals_default() {
    let settings = settings("");
    assert_eq!(settings.refresh.as_secs(), 60);
    assert_eq!(settings.state_timeout.as_secs(), 300);
    assert!(settings.dns_on && settings.http_on && settings.enumeration_on);
    assert_eq!(settings.dns_address().to_string(), "127.0.0.1:53");
    assert_eq!(settings.http_address().to_string(), "127.0.0.1:8123");
    let zone = &settings.zone;
    assert_eq!(
        (zone.domain.as_str(), zone.ttl, zone.srv_weight),
        ("mesos", 60, 1)
    );
    assert_eq!(
        zone.ip_sources,
        [IpSource::NetInfo, IpSource::Mesos, IpSource::Host]
    );
    assert_eq!(zone.label_rule, LabelRule::Rfc1123);
    assert!(zone.set_truncate_bit && zone.recurse_on);
    let soa = SoaConfig {
        mname: "ns1.mesos".to_owned(),
        rname: "root.ns1.mesos".to_owned(),
        refresh: 60,
        retry: 600,
        expire: 86400,
        minttl: 60,
    };
    assert_eq!(zone.soa, soa);
    let forward = &settings.forward;
    assert!(forward.external_on && forward.zone_resolvers.is_empty());
    assert_eq!(forward.resolvers, ["8.8.8.8".parse().unwrap()]);
    assert_eq!(forward.timeout.as_secs(), 5);
}

#[test]
fn every_key_is_read_in_any_case() {
    let settings = settings(
        r#", "MASTERS": ["10.0.0.2:5050", "master.lab:5051"], "refreshseconds": 7, "StateTimeoutSECONDS": 8,
        "TTL": 9, "SRVRECORDDEFAULTWEIGHT": 10, "Domain": "Lab.Mesos.", "PORT": 5353, "Listener": "127.0.0.2",
        "HttpPort": 8124, "HTTPListener": "::1", "DnsOn": true, "HTTPON": false, "ExternalOn": false,
        "Resolvers": ["10.0.0.3", "10.0.0.4:5300"], "zoneresolvers": {"Corp.Example": ["10.0.0.5"]}, "Timeout": 11,
        "RecurseOn": false, "soamname": "dns.lab.", "SOARNAME": "ops@dns.lab", "soarefresh": 12, "soaretry": 13,
        "soaexpire": 14, "soaminttl": 15, "ipsources": ["docker", "host"], "enforcerfc952": true,
        "settruncatebit": false, "enumerationon": false, "zkDetectionTimeout": 30, "soaserial": 1, "file": "x""#,
    );
    let masters: Vec<String> = settings.masters.iter().map(ToString::to_string).collect();
    assert_eq!(masters, ["10.0.0.2:5050", "master.lab:5051"]);
    assert_eq!(settings.refresh.as_secs(), 7);
    assert_eq!(settings.state_timeout.as_secs(), 8);
    assert_eq!(settings.dns_address().to_string(), "127.0.0.2:5353");
    assert_eq!(settings.http_address().to_string(), "[::1]:8124");
    assert!(settings.dns_on && !settings.http_on && !settings.enumeration_on);
    let zone = &settings.zone;
    assert_eq!(
        (zone.domain.as_str(), zone.ttl, zone.srv_weight),
        ("lab.mesos", 9, 10)
    );
    assert_eq!(zone.ip_sources, [IpSource::Docker, IpSource::Host]);
    assert_eq!(zone.label_rule, LabelRule::Rfc952);
    assert!(!zone.set_truncate_bit && !zone.recurse_on);
    let soa = SoaConfig {
        mname: "dns.lab".to_owned(),
        rname: "ops@dns.lab".to_owned(),
        refresh: 12,
        retry: 13,
        expire: 14,
        minttl: 15,
    };
    assert_eq!(zone.soa, soa);
    let forward = &settings.forward;
    assert!(!forward.external_on);
    let resolvers = |texts: &[&str]| -> Vec<Resolver> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    assert_eq!(forward.resolvers, resolvers(&["10.0.0.3", "10.0.0.4:5300"]));
    let zones = [("corp.example".to_owned(), resolvers(&["10.0.0.5"]))];
    assert_eq!(forward.zone_resolvers, zones.into());
    assert_eq!(forward.timeout.as_secs(), 11);
    assert_eq!(settings.file.as_deref(), Some("config.json"));
}

#[test]
fn no_seconds_are_five_and_null_is_nothing() {
    let settings = settings(r#", "timeout": 0, "ttl": null, "resolvers": null"#);
    assert_eq!(settings.forward.timeout.as_secs(), 5);
    assert_eq!(settings.zone.ttl, 60);
    assert_eq!(settings.forward.resolvers.len(), 1);
}

#[test]
fn what_cannot_be_read_is_named_with_what_is_needed() {
    for (keys, fault) in [
        (
            r#""ttl": "60""#,
            "ttl: a number of seconds is needed, not \"60\"",
        ),
        (r#""ttl": -1"#, "ttl: a number of seconds is needed, not -1"),
        (
            r#""timeout": 1.5"#,
            "timeout: a number of seconds is needed, not 1.5",
        ),
        (
            r#""refreshSeconds": true"#,
            "refreshSeconds: a number of seconds is needed, not true",
        ),
        (r#""port": 65536"#, "port: a port is needed, not 65536"),
        (
            r#""srvRecordDefaultWeight": 65536"#,
            "srvRecordDefaultWeight: a number up to 65535 is needed, not 65536",
        ),
        (
            r#""listener": "lo""#,
            "listener: an IP address is needed, not \"lo\"",
        ),
        (r#""dnson": 1"#, "dnson: true or false is needed, not 1"),
        (
            r#""masters": "a:1""#,
            "masters: a list of HOST:PORT is needed, not \"a:1\"",
        ),
        (
            r#""masters": ["a:1", "b"]"#,
            "masters: `b` is not HOST:PORT",
        ),
        (
            r#""resolvers": ["dns"]"#,
            "resolvers: `dns` is not IP or IP:PORT",
        ),
        (
            r#""zoneResolvers": {"Corp": ["8.8.8.8"], "corp": ["8.8.4.4"]}"#,
            "zoneResolvers: \"corp\": this zone is listed twice",
        ),
        (
            r#""zoneResolvers": {"a": ["b"]}"#,
            "zoneResolvers: \"a\": `b` is not IP or IP:PORT",
        ),
        (
            r#""IPSources": ["label"]"#,
            "IPSources: `label` is none of host, netinfo, mesos, docker",
        ),
    ] {
        let found = faults(&format!(", {keys}"));
        assert_eq!(found[0], fault);
    }
    let found = faults(r#", "ttl": "x", "port": -1, "domain": 7"#);
    assert_eq!(found.len(), 3, "{found:?}");
    for text in ["", "{", "[]", "ttl = 7"] {
        assert!(read_file("config.json", text).unwrap_err()[0].starts_with("it is not"));
    }
}

#[test]
fn checks_of_the_whole_are_the_originals() {
    for (keys, start) in [
        (r#""masters": ["a:1", "a:1"]"#, "masters names a:1 twice"),
        (r#""stateTimeoutSeconds": 0"#, "stateTimeoutSeconds must"),
        (r#""refreshSeconds": 0"#, "refreshSeconds must"),
        (r#""domain": "a..b""#, "domain is not"),
        (r#""domain": "a_b""#, "domain is not"),
        (r#""dnson": false, "httpon": false"#, "dnson and httpon"),
        (
            r#""resolvers": ["8.8.8.8", "8.8.8.8:53"]"#,
            "resolvers names 8.8.8.8 twice",
        ),
        (
            r#""zoneResolvers": {"x": []}"#,
            "zoneResolvers: \"x\" has no",
        ),
        (
            r#""zoneResolvers": {"a.mesos": ["8.8.8.8"]}"#,
            "zoneResolvers: \"a.mesos\" meets",
        ),
        (r#""IPSources": []"#, "IPSources must"),
        (r#""IPSources": ["host", "host"]"#, "IPSources must"),
        (r#""resolvers": []"#, "externalon needs"),
    ] {
        let settings = read(&format!(", {keys}")).expect("readable").settings;
        let faults = settings.faults();
        assert!(faults[0].starts_with(start), "{keys}: {faults:?}");
    }
}

#[test]
fn another_way_to_the_masters_is_refused_and_no_secret_told() {
    for (keys, start) in [
        (r#""mesosHTTPSOn": true"#, "mesosHTTPSOn: "),
        (r#""mesosAuthentication": "basic""#, "mesosAuthentication: "),
        (r#""iamConfigFile": "/hidden""#, "iamConfigFile: "),
        (
            r#""mesosCredentials": {"principal": "p", "secret": "hidden"}"#,
            "mesosCredentials: ",
        ),
    ] {
        let found = faults(&format!(", {keys}"));
        assert!(found[0].starts_with(start), "{found:?}");
        assert!(found[0].ends_with("plain HTTP only") || found[0].ends_with("not supported"));
        assert!(!found[0].contains("hidden"));
    }
    settings(
        r#", "mesosHTTPSOn": false, "mesosAuthentication": "", "iamConfigFile": "",
        "mesosCredentials": {"Principal": "", "Secret": ""}, "caCertFile": "", "zk": """#,
    );
}

#[test]
fn zookeeper_is_not_asked() {
    let only_zk = r#"{"zk": "zk://10.0.0.1:2181/mesos", "listener": "::", "httplistener": "::"}"#;
    let Noted { settings, notes } = read_file("config.json", only_zk).expect("readable");
    assert_eq!(
        notes,
        ["zk is ignored: only masters that are listed are asked"]
    );
    let faults = settings.faults();
    assert!(faults[0].starts_with("masters: at least one"), "{faults:?}");
    assert!(faults[0].contains("ZooKeeper"), "{faults:?}");
    let both = read(r#", "zk": "zk://10.0.0.1:2181/mesos""#).expect("readable");
    assert_eq!(both.notes, notes);
    assert_eq!(both.settings.faults(), Vec::<String>::new());
}

#[test]
fn what_may_surprise_is_noted() {
    let noted = read(r#", "colour": 1, "keyFile": "k""#).expect("usable");
    assert_eq!(
        noted.notes,
        [
            "keyFile is ignored; masters are spoken to over plain HTTP",
            "nothing is known of the key `colour`; it is ignored"
        ]
    );
    let bare = read_file("config.json", r#"{"masters": ["a:1"], "httpon": false}"#);
    let Noted { settings, notes } = bare.expect("usable");
    assert_eq!(settings.dns_address().to_string(), "127.0.0.1:53");
    assert!(notes[0].starts_with("without `listener`"), "{notes:?}");
    assert_eq!(notes.len(), 1);
}

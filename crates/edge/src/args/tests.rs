use super::*;

fn read(args: &str, env: &[(&str, &str)]) -> Result<Config, ArgsError> {
    let lookup = |key: &str| {
        env.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| (*value).to_owned())
    };
    Config::from_args(args.split_whitespace().map(str::to_owned), None, lookup)
}

#[test]
fn the_package_starts_it() {
    let config = read(
        "sse -m http://master.mesos:8080 --health-check --haproxy-map --group external --gateways g.json",
        &[
            ("ZDD_MARATHON_URL", "http://127.0.0.1:8080"),
            ("HOST", "127.0.0.2"),
            ("MESOS_TASK_ID", "marathon-lb.1"),
            ("HAPROXY_SYSCTL_PARAMS", "net.core.somaxconn=10000"),
            ("ZDD_EDGE_THREADS", "1"),
        ],
    )
    .unwrap();
    assert_eq!(config.marathon, ["http://127.0.0.1:8080"]);
    assert_eq!(config.groups, BTreeSet::from(["external".to_owned()]));
    assert!(config.health_check && config.haproxy_map && config.bind_http);
    assert_eq!(config.bind.to_string(), "127.0.0.2");
    assert_eq!(config.threads, Some(1));
    assert_eq!(config.gateways, Some("g.json".into()));
    assert_eq!(config.edge_id.as_str(), "marathon-lb.1");
    assert_eq!(config.warnings, Vec::<String>::new());
    let note = "HAPROXY_SYSCTL_PARAMS is ignored: the kernel's settings stay as they are";
    assert_eq!(config.notes, [note]);
}

#[test]
fn certificates_come_from_the_environment_and_from_files() {
    let pem = [("HAPROXY_SSL_CERT", "PEM")];
    let config = read("-m http://a:1 --group g", &pem).unwrap();
    let text = Certificate::Text("PEM".to_owned());
    assert_eq!(config.certificates, std::slice::from_ref(&text));
    let files = "-m http://a:1 --group g --ssl-certs /nothing/there,/dev/null";
    let config = read(files, &pem).unwrap();
    let file = |path: &str| Certificate::File(path.to_owned());
    assert_eq!(
        config.certificates,
        [text, file("/nothing/there"), file("/dev/null")]
    );
    let unset = read("-m http://a:1 --group g", &[("HAPROXY_SSL_CERT", "")]).unwrap();
    assert_eq!(unset.certificates, []);
}

#[test]
fn several_marathons_and_groups() {
    let config = read(
        "sse --marathon http://a:8080/ http://b:8080 --group=x --group * --dont-bind-http-https",
        &[("ZDD_MARATHON_URL", "http://127.0.0.1:8080")],
    )
    .unwrap();
    assert_eq!(config.marathon, ["http://a:8080", "http://b:8080"]);
    assert_eq!(config.groups.len(), 2);
    assert!(!config.bind_http);
}

#[test]
fn unknown_arguments_are_skipped_with_a_warning() {
    let config = read(
        "sse -m http://a:1 --syslog-socket /dev/null --group g --longhelp",
        &[],
    )
    .unwrap();
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[0].contains("--syslog-socket /dev/null"));
    assert_eq!(config.groups.len(), 1);
}

#[test]
fn ports_for_who_names_none() {
    // contract: lb-own-address-ports
    let range = |min: &str, max: &str| {
        let args = format!(
            "-m http://a:1 --group g --min-serv-port-ip-per-task {min} --max-serv-port-ip-per-task={max}"
        );
        let config = read(&args, &[]).unwrap();
        (config.own_address_ports, config.warnings.len())
    };
    assert_eq!(range("10101", "10150"), (Some(10101..=10150), 0));
    assert_eq!(range("10101", "10101"), (Some(10101..=10101), 0));
    for (min, max) in [("10150", "10101"), ("0", "9"), ("x", "9"), ("1", "70000")] {
        assert_eq!(range(min, max), (None, 1), "{min} {max}");
    }
    let half = read("-m http://a:1 --group g --min-serv-port-ip-per-task 1", &[]).unwrap();
    assert_eq!((half.own_address_ports, half.warnings.len()), (None, 1));
    let none = read("-m http://a:1 --group g", &[]).unwrap();
    assert_eq!((none.own_address_ports, none.warnings.len()), (None, 0));
}

#[test]
fn faults_are_named() {
    assert_eq!(
        read("sse --group", &[]),
        Err(ArgsError::NoValue("--group".into()))
    );
    assert_eq!(read("sse --group a", &[]), Err(ArgsError::NoMarathon));
    assert_eq!(
        read("-m https://a", &[]),
        Err(ArgsError::Address("https://a".into()))
    );
    assert_eq!(
        read("-m http://a", &[("HOST", "x")]),
        Err(ArgsError::Host("x".into()))
    );
    assert_eq!(
        read("-m http://a", &[("HOST", "0.0.0.0")]),
        Err(ArgsError::NotLoopback(Ipv4Addr::UNSPECIFIED.into()))
    );
}

#[test]
fn proxies_are_trusted_by_network() {
    let read = |value| {
        read(
            &format!("-m http://a:1 --group g --trust-forwarded {value}"),
            &[],
        )
    };
    let trusted = read("10.0.0.0/8,127.0.0.1").unwrap().trusted;
    let shown: Vec<_> = trusted.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "127.0.0.1/32"]);
    assert_eq!(
        read("10.0.0.0/40"),
        Err(ArgsError::Network("10.0.0.0/40".into()))
    );
}

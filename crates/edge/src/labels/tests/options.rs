//! Labels about requests, answers and checks.

use std::time::Duration;

use super::*;

/// The first service of an app with these labels, and the subjects of the warnings.
fn first(labels: &[(&str, &str)]) -> (Service, Vec<String>) {
    let (mut services, warnings) = services(&app(labels), &[], &policy());
    let subjects = warnings
        .into_iter()
        .map(|warning| warning.subject)
        .collect();
    (services.remove(0), subjects)
}

const HASH: &str = "$6$saltstring$AIsRs/Ee56G/tC8MEHhvReZTfx8u3rXXMl6eYrjCG9ibix19DxoMBLogdTET5Ukw9Sf7eZTITsuk0Ry5qulYz.";

#[test]
fn switches_are_marathon_lbs_booleans() {
    // contract: lb-booleans, lb-sticky, lb-use-hsts, lb-redirect-to-https
    for (value, expected) in [
        ("true", true),
        ("T", true),
        ("Yes", true),
        (" y ", true),
        ("1", false),
        ("on", false),
        ("false", false),
        ("", false),
    ] {
        let (service, warnings) = first(&[
            ("HAPROXY_0_VHOST", "x"),
            ("HAPROXY_0_STICKY", value),
            ("HAPROXY_0_USE_HSTS", value),
            ("HAPROXY_0_REDIRECT_TO_HTTPS", value),
        ]);
        let found = (
            service.options.is_sticky,
            service.options.has_hsts,
            service.redirect_to_https,
        );
        assert_eq!(found, (expected, expected, expected), "{value:?}");
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn balance() {
    // contract: lb-balance
    for (value, expected, warned) in [
        ("roundrobin", Balance::RoundRobin, false),
        ("leastconn", Balance::LeastConn, false),
        (" source", Balance::Source, false),
        ("uri", Balance::RoundRobin, true),
        ("", Balance::RoundRobin, true),
    ] {
        let (service, warnings) = first(&[("HAPROXY_0_BALANCE", value)]);
        assert_eq!(service.options.balance, expected, "{value:?}");
        assert_eq!(!warnings.is_empty(), warned, "{value:?}");
    }
    assert_eq!(first(&[]).0.options.balance, Balance::RoundRobin);
}

#[test]
fn access() {
    let (service, warnings) = first(&[
        ("HAPROXY_0_VHOST", "x"),
        ("HAPROXY_0_AUTH", &format!("my realm:me:{HASH}")),
        (
            "HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL",
            " 127.0.0.1/8  10.1.0.0/16 ::1 ",
        ),
    ]);
    assert_eq!(warnings, [""; 0]);
    let auth = service.auth.unwrap();
    assert_eq!(
        (auth.realm.as_str(), auth.user.as_str()),
        ("my realm", "me")
    );
    assert!(auth.password.is_of(b"secret"));
    let allowed = service.options.allowed.unwrap();
    let is_allowed = |ip: &str| {
        allowed
            .iter()
            .any(|network| network.contains(&ip.parse::<IpAddr>().unwrap()))
    };
    assert!(is_allowed("127.3.4.5") && is_allowed("10.1.255.1") && is_allowed("::1"));
    assert!(!is_allowed("10.2.0.1") && !is_allowed("::2"));
    // A restriction of one of two equal ports holds for both.
    let (service, _) = first(&[
        ("HAPROXY_1_PORT", "10000"),
        ("HAPROXY_1_BACKEND_NETWORK_ALLOWED_ACL", "::1"),
    ]);
    assert_eq!(service.indices, [0, 1]);
    assert_eq!(service.options.allowed.unwrap().len(), 1);
}

#[test]
fn paths_of_requests_and_answers() {
    // contract: lb-redir, lb-proxypass, lb-revproxy
    let labels = |value| {
        [
            ("HAPROXY_0_VHOST", "x"),
            ("HAPROXY_0_HTTP_BACKEND_REDIR", value),
            ("HAPROXY_0_HTTP_BACKEND_PROXYPASS_PATH", value),
            ("HAPROXY_0_HTTP_BACKEND_REVPROXY_PATH", value),
        ]
    };
    let (service, warnings) = first(&labels("/a/b"));
    let path = Some("/a/b".to_owned());
    let options = &service.options;
    assert_eq!(
        (
            &options.root_redirect,
            &options.stripped_prefix,
            &options.location_root
        ),
        (&path, &path, &path)
    );
    assert_eq!(warnings, [""; 0]);
    for value in ["a", "", "/a\r\nX: y", "/ä", "/a b"] {
        let (service, warnings) = first(&labels(value));
        assert_eq!(service.options, Options::default(), "{value:?}");
        assert_eq!(warnings.len(), 3, "{value:?}");
    }
    assert_eq!(
        first(&[labels("/a")[1]]).1,
        ["HAPROXY_0_HTTP_BACKEND_REDIR"],
        "without a vhost"
    );
}

#[test]
fn what_only_http_or_a_vhost_makes_sense_of_is_told() {
    for (label, value) in [
        ("HAPROXY_1_STICKY", "true"),
        ("HAPROXY_1_USE_HSTS", "true"),
        ("HAPROXY_1_HTTP_BACKEND_PROXYPASS_PATH", "/a"),
        ("HAPROXY_0_AUTH", "r:u:p"),
        ("HAPROXY_0_PATH", "/a"),
        ("HAPROXY_0_REDIRECT_TO_HTTPS", "true"),
    ] {
        assert_eq!(first(&[(label, value)]).1, [label]);
    }
    assert_eq!(
        first(&[
            ("HAPROXY_1_STICKY", "false"),
            ("HAPROXY_0_REDIRECT_TO_HTTPS", "no")
        ])
        .1,
        [""; 0]
    );
}

#[test]
fn labels_of_deployments_are_silent() {
    // contract: lb-deployment-labels
    let labels = names::OF_APP.map(|name| (format!("HAPROXY_{name}"), "external"));
    let labels: Vec<_> = labels
        .iter()
        .map(|(label, value)| (label.as_str(), *value))
        .collect();
    assert_eq!(first(&labels).1, [""; 0]);
}

/// The check of port `index` of an app with these checks and labels.
fn check_of(
    checks: serde_json::Value,
    labels: &[(&str, &str)],
    index: usize,
) -> (Mode, Option<Check>) {
    let mut app = app(labels);
    app.health_checks = serde_json::from_value(checks).unwrap();
    let (services, _) = services(&app, &[], &policy());
    let service = services
        .into_iter()
        .find(|service| service.indices.contains(&index))
        .unwrap();
    (service.mode, service.check)
}

/// Marathon's defaults, which are the lab's numbers.
fn of_defaults() -> Check {
    Check {
        probe: Probe::Get("/health".to_owned()),
        interval: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        fall: 4,
        port: CheckPort::Own,
    }
}

#[test]
fn checks_are_marathons() {
    // contract: lb-check-which, lb-check-timing
    let of_lab = json!([{"protocol": "HTTP", "path": "/health", "intervalSeconds": 60, "timeoutSeconds": 20,
        "maxConsecutiveFailures": 3, "gracePeriodSeconds": 300}]);
    assert_eq!(
        check_of(of_lab.clone(), &[], 0),
        (Mode::Http, Some(of_defaults()))
    );
    assert_eq!(check_of(of_lab.clone(), &[], 1), (Mode::Tcp, None));
    let as_tcp = Check {
        probe: Probe::Connect,
        ..of_defaults()
    };
    assert_eq!(
        check_of(of_lab, &[("HAPROXY_0_MODE", "tcp")], 0),
        (Mode::Tcp, Some(as_tcp))
    );
    let defaults = Check {
        probe: Probe::Get("/".to_owned()),
        ..of_defaults()
    };
    assert_eq!(
        check_of(json!([{"protocol": "HTTP"}]), &[], 0).1,
        Some(defaults)
    );
    for (protocol, index, n_expected) in [
        ("TCP", 0, true),
        ("MESOS_TCP", 0, true),
        ("HTTPS", 0, true),
        ("COMMAND", 0, false),
        ("TCP", 1, false),
    ] {
        let (mode, check) = check_of(json!([{"protocol": protocol}]), &[], index);
        assert_eq!(mode, Mode::Tcp);
        assert_eq!(
            check.map(|check| check.probe),
            n_expected.then_some(Probe::Connect),
            "{protocol} {index}"
        );
    }
    let fixed = check_of(
        json!([{"protocol": "TCP", "port": 8080, "portIndex": 0}]),
        &[],
        1,
    )
    .1
    .unwrap();
    assert_eq!(fixed.port, CheckPort::Fixed(8080));
}

#[test]
fn the_check_of_another_port() {
    // contract: lb-healthcheck-port-index
    let checks = json!([{"protocol": "TCP", "portIndex": 0}, {"protocol": "MESOS_HTTP", "path": "/up", "portIndex": 1}]);
    let label = "HAPROXY_0_BACKEND_HEALTHCHECK_PORT_INDEX";
    let (mode, check) = check_of(checks.clone(), &[(label, "1")], 0);
    let check = check.unwrap();
    assert_eq!(
        (mode, check.probe, check.port),
        (
            Mode::Http,
            Probe::Get("/up".to_owned()),
            CheckPort::Index(1)
        )
    );
    for value in ["2", "x", "-1"] {
        let (mode, check) = check_of(checks.clone(), &[(label, value)], 0);
        assert_eq!((mode, check.unwrap().port), (Mode::Tcp, CheckPort::Own));
        assert_eq!(first(&[(label, value)]).1, [label]);
    }
}

#[test]
fn weights_among_apps() {
    // contract: lb-weight
    for (value, expected, warned) in [
        ("80", Some(80), false),
        (" 0 ", Some(0), false),
        ("-1", None, true),
        ("1.5", None, true),
        ("2000000", None, true),
    ] {
        let (service, warnings) = first(&[("ZDD_0_WEIGHT", value)]);
        assert_eq!(service.share, expected, "{value:?}");
        assert_eq!(!warnings.is_empty(), warned, "{value:?}");
    }
    assert_eq!(first(&[("ZDD_7_WEIGHT", "1")]).1, ["ZDD_7_WEIGHT"]);
    assert_eq!(
        first(&[("ZDD_0_OTHER", "1"), ("ZDD_DRAIN", "1")]).1,
        [""; 0]
    );
}

#[test]
fn where_to_listen() {
    // contract: lb-bind-addr
    for (value, expected, warned) in [
        ("127.0.0.9", Some("127.0.0.9"), false),
        ("::1", Some("::1"), false),
        ("*", None, false),
        ("", None, false),
        ("0.0.0.0", None, true),
        ("10.0.0.1", None, true),
        ("localhost", None, true),
    ] {
        let (service, warnings) = first(&[("HAPROXY_0_BIND_ADDR", value)]);
        assert_eq!(
            service.bind.map(|ip| ip.to_string()).as_deref(),
            expected,
            "{value:?}"
        );
        assert_eq!(!warnings.is_empty(), warned, "{value:?}");
    }
    let open = Policy {
        has_token: true,
        ..policy()
    };
    let (services, warnings) = services(&app(&[("HAPROXY_0_BIND_ADDR", "0.0.0.0")]), &[], &open);
    assert_eq!(
        (services[0].bind, warnings.len()),
        (Some(IpAddr::from([0, 0, 0, 0])), 0)
    );
}

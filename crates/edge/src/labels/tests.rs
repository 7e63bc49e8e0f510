use proptest::prelude::*;
use serde_json::json;

use super::vhosts::bare_host;
use super::*;

mod options;

fn policy() -> Policy {
    Policy {
        groups: BTreeSet::from(["external".to_owned()]),
        has_token: false,
        strict_mode: false,
        http_port: Some(8000),
        reserved: BTreeSet::from([443, 9090, 9091]),
    }
}

/// An app on the ports 10000 and 10001 with these labels besides its group.
fn app(labels: &[(&str, &str)]) -> App {
    let mut app: App = serde_json::from_value(json!({
        "id": "/a",
        "portDefinitions": [{"port": 10000}, {"port": 10001}],
        "healthChecks": [{"protocol": "HTTP", "path": "/"}],
        "labels": {"HAPROXY_GROUP": "external"},
    }))
    .unwrap();
    app.labels.extend(
        labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    app
}

/// The services as `port mode vhosts paths weight`, and the subjects of the warnings.
fn check(labels: &[(&str, &str)], services: &[&str], warnings: &[&str]) {
    let (found, warned) = super::services(&app(labels), &[], &policy());
    let shown: Vec<_> = found.iter().map(show).collect();
    assert_eq!(shown, services, "{labels:?}: {warned:?}");
    let subjects: Vec<_> = warned
        .iter()
        .map(|warning| warning.subject.as_str())
        .collect();
    assert_eq!(subjects, warnings, "{labels:?}");
}

fn show(service: &Service) -> String {
    let mut text = format!("{} {:?}", service.port, service.mode);
    if !service.vhosts.is_empty() {
        text += &format!(" {} w{}", service.vhosts.join(","), service.weight);
    }
    for path in &service.paths {
        text += &format!(" {path}");
    }
    text
}

#[test]
fn ports_and_modes() {
    // contract: lb-mode, lb-label-port
    check(&[], &["10000 Http", "10001 Tcp"], &[]);
    check(
        &[("HAPROXY_0_PORT", "10080")],
        &["10080 Http", "10001 Tcp"],
        &[],
    );
    check(
        &[("HAPROXY_0_PORT", "8080")],
        &["8080 Http", "10001 Tcp"],
        &[],
    );
    check(
        &[("HAPROXY_0_MODE", "TCP"), ("HAPROXY_1_MODE", "http")],
        &["10000 Tcp", "10001 Http"],
        &[],
    );
    check(
        &[("HAPROXY_0_MODE", "udp")],
        &["10000 Http", "10001 Tcp"],
        &["HAPROXY_0_MODE"],
    );
    check(&[("HAPROXY_1_PORT", "10000")], &["10000 Http"], &[]);
}

#[test]
fn bad_ports_are_left_out_of_account() {
    for value in ["70000", "abc", "-1", "0", "", "80 80"] {
        check(
            &[("HAPROXY_0_PORT", value)],
            &["10000 Http", "10001 Tcp"],
            &["HAPROXY_0_PORT"],
        );
    }
}

#[test]
fn the_edges_own_ports_refuse_the_service() {
    // contract: lb-own-ports
    for value in ["9090", "9091", "443"] {
        check(
            &[("HAPROXY_0_PORT", value)],
            &["10001 Tcp"],
            &["HAPROXY_0_PORT"],
        );
    }
    for value in ["80", "8000"] {
        let expected = format!("{value} Http");
        check(
            &[("HAPROXY_0_PORT", value)],
            &[&expected, "10001 Tcp"],
            &["HAPROXY_0_PORT"],
        );
    }
}

#[test]
fn groups() {
    // contract: lb-groups, lb-app-group, lb-port-group, lb-enabled
    let both = ["10000 Http", "10001 Tcp"];
    check(&[("HAPROXY_GROUP", "internal")], &[], &[]);
    check(&[("HAPROXY_GROUP", "internal, external")], &both, &[]);
    check(&[("HAPROXY_0_GROUP", "")], &["10001 Tcp"], &[]);
    check(
        &[("HAPROXY_GROUP", ""), ("HAPROXY_1_GROUP", "external")],
        &["10001 Tcp"],
        &[],
    );
    check(&[("HAPROXY_0_ENABLED", "1")], &["10001 Tcp"], &[]);
    check(&[("HAPROXY_0_ENABLED", "Yes")], &both, &[]);
    let all = Policy {
        groups: BTreeSet::from(["*".to_owned()]),
        ..policy()
    };
    let mut unlabelled = app(&[]);
    unlabelled.labels.clear();
    assert_eq!(services(&unlabelled, &[], &all).0.len(), 2);
    assert_eq!(services(&unlabelled, &[], &policy()).0.len(), 0);
}

#[test]
fn vhosts() {
    // contract: lb-vhost, lb-vhost-url, lb-path, lb-backend-weight
    check(
        &[("HAPROXY_1_VHOST", "A.b, c.d")],
        &["10000 Http", "10001 Http a.b,c.d w0"],
        &[],
    );
    check(
        &[("HAPROXY_0_VHOST", "http://ec2-52-25.amazonaws.com")],
        &["10000 Http ec2-52-25.amazonaws.com w0", "10001 Tcp"],
        &["HAPROXY_0_VHOST"],
    );
    check(
        &[("HAPROXY_0_VHOST", "https://x.y:8443/path")],
        &["10000 Http x.y w0", "10001 Tcp"],
        &["HAPROXY_0_VHOST"],
    );
    check(
        &[("HAPROXY_0_VHOST", "x"), ("HAPROXY_0_PATH", "-i /A /b")],
        &["10000 Http x w1 /a /b", "10001 Tcp"],
        &[],
    );
    check(
        &[("HAPROXY_0_VHOST", "x"), ("HAPROXY_0_BACKEND_WEIGHT", "-1")],
        &["10000 Http x w-1", "10001 Tcp"],
        &[],
    );
    check(
        &[("HAPROXY_0_PATH", "/a")],
        &["10000 Http", "10001 Tcp"],
        &["HAPROXY_0_PATH"],
    );
    check(
        &[("HAPROXY_0_VHOST", "x"), ("HAPROXY_0_MODE", "tcp")],
        &["10000 Tcp", "10001 Tcp"],
        &["HAPROXY_0_VHOST"],
    );
}

#[test]
fn access_labels_fail_closed() {
    // contract: lb-auth, lb-network-acl
    for value in [
        "",
        "realm:user",
        "realm:user:plain",
        "a:b:c:d",
        "r::$1$x$Csw7VKF4Pd3clFEHHx7b20",
        "\"r:u:$1$x$Csw7VKF4Pd3clFEHHx7b20",
    ] {
        check(
            &[("HAPROXY_0_VHOST", "x"), ("HAPROXY_0_AUTH", value)],
            &["10000 Http", "10001 Tcp"],
            &["HAPROXY_0_AUTH"],
        );
    }
    for value in ["", "10.0.0.0/33", "10.0.0.1 host", "10.0.0.1,10.0.0.2"] {
        check(
            &[("HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL", value)],
            &["10001 Tcp"],
            &["HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL"],
        );
    }
}

#[test]
fn the_unknown_is_warned_about_once() {
    // contract: lb-unknown-labels, lb-unsupported
    check(
        &[
            ("HAPROXY_0_BACKEND_HEAD", "…"),
            ("HAPROXY_7_VHOST", "x"),
            ("HAPROXY_NONSENSE", "x"),
        ],
        &["10000 Http", "10001 Tcp"],
        &[
            "HAPROXY_0_BACKEND_HEAD",
            "HAPROXY_7_VHOST",
            "HAPROXY_NONSENSE",
        ],
    );
    // An app that is not exposed is nobody's business.
    check(
        &[("HAPROXY_GROUP", "other"), ("HAPROXY_NONSENSE", "x")],
        &[],
        &[],
    );
}

#[test]
fn ports_come_from_the_first_source_that_has_any() {
    // contract: lb-service-ports
    let ports = |value| service_ports(&serde_json::from_value(value).unwrap());
    let mappings = json!([{"containerPort": 80, "servicePort": 10005}, {"containerPort": 81}]);
    assert_eq!(ports(json!({"id": "/a", "ports": [1]})), [1]);
    assert_eq!(
        ports(json!({"id": "/a", "ports": [1], "portDefinitions": []})),
        [0; 0]
    );
    assert_eq!(
        ports(
            json!({"id": "/a", "ports": [1], "container": {"docker": {"portMappings": mappings}}})
        ),
        [10005]
    );
    assert_eq!(
        ports(json!({"id": "/a", "ports": [1], "container": {"portMappings": mappings}})),
        [10005]
    );
    assert_eq!(
        ports(json!({"id": "/a", "ports": [1], "container": {"docker": {"portMappings": null}}})),
        [1]
    );
}

proptest! {
    /// Whatever the labels hold: no panic, only allowed ports, at most one warning a label.
    #[test]
    fn any_labels_are_survived(
        labels in prop::collection::btree_map(
            "HAPROXY_([0-9]{1,20}_)?(GROUP|PORT|VHOST|MODE|PATH|AUTH|ENABLED|BACKEND_WEIGHT|STICKY|BALANCE|USE_HSTS|REDIRECT_TO_HTTPS|\
             BACKEND_NETWORK_ALLOWED_ACL|BACKEND_HEALTHCHECK_PORT_INDEX|HTTP_BACKEND_REDIR|[A-Z_]{0,8})",
            "(-i )?(http://)?[a-z0-9:/., ]{0,12}|\\PC{0,12}|[0-9]{1,6}",
            0..8,
        ),
    ) {
        let mut app = app(&[]);
        app.labels.extend(labels);
        let (services, warnings) = services(&app, &[], &policy());
        for service in &services {
            prop_assert!(service.port > 0 && !policy().reserved.contains(&service.port));
            for vhost in &service.vhosts {
                prop_assert!(!vhost.is_empty() && !vhost.contains(['/', ' ', ',']));
                prop_assert_eq!(vhost, &vhost.to_ascii_lowercase());
            }
        }
        let ports: BTreeSet<_> = services.iter().map(|service| service.port).collect();
        prop_assert_eq!(ports.len(), services.len());
        let mut subjects: Vec<_> = warnings.iter().map(|warning| &warning.subject).collect();
        subjects.retain(|subject| *subject != "service port");
        let n_warnings = subjects.len();
        subjects.sort();
        subjects.dedup();
        prop_assert_eq!(subjects.len(), n_warnings);
    }

    /// A plain host name is taken as it is, in any wrapping a URL may have.
    #[test]
    fn a_host_is_found_in_a_url(host in "[a-zA-Z0-9][a-zA-Z0-9.-]{0,20}", port in 1..65535u16) {
        for text in [host.clone(), format!("http://{host}"), format!("{host}:{port}"), format!("https://{host}:{port}/x?y")] {
            prop_assert_eq!(bare_host(&text), Some(host.to_ascii_lowercase()));
        }
    }
}

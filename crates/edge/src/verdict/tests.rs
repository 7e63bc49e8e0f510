use serde_json::{Value, json};

use super::*;
use crate::fixture;
use crate::table::build;

/// `me:secret`.
const AUTH: &str = "the realm:me:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1";
const CREDENTIALS: &str = "Basic bWU6c2VjcmV0";

/// The table of apps `/a`, `/b`, … with a task each and these labels (after `HAPROXY_0_`).
fn table(apps: &[&[(&str, &str)]]) -> Table {
    let apps = apps.iter().enumerate().map(|(n, labels)| {
        let name = char::from(b'a' + u8::try_from(n).unwrap());
        let mut app = json!({
            "id": format!("/{name}"), "ports": [10000 + n], "labels": {"HAPROXY_GROUP": "g", "HAPROXY_0_MODE": "http"},
            "tasks": [{"id": format!("{name}.1"), "host": "10.0.0.1", "ports": [1000 + n], "state": "TASK_RUNNING"}],
        });
        for (label, value) in *labels {
            app["labels"][format!("HAPROXY_0_{label}")] = json!(value);
        }
        app
    });
    let apps: Vec<zddcluster_client::marathon::App> =
        serde_json::from_value(Value::Array(apps.collect())).unwrap();
    let policy = fixture::policy(Some(80));
    let (table, warnings) = build(&apps, &fixture::rules(&policy));
    assert_eq!(warnings, []);
    table
}

fn facts<'a>(host: &'a str, target: &'a str) -> Facts<'a> {
    Facts {
        client: "10.1.2.3".parse().unwrap(),
        is_tls: false,
        host,
        target,
        authorization: None,
    }
}

fn moved(place: &str) -> Option<Refusal> {
    Some(Refusal::Moved(place.to_owned()))
}

#[test]
fn redirects_come_first_and_keep_the_target() {
    // contract: lb-redirect-to-https, lb-rule-before-routing
    let table = table(&[
        // Routes everything, and does not redirect.
        &[("VHOST", "x"), ("PATH", "/"), ("BACKEND_WEIGHT", "9")],
        &[
            ("VHOST", "x"),
            ("PATH", "/safe"),
            ("REDIRECT_TO_HTTPS", "true"),
            ("AUTH", AUTH),
        ],
    ]);
    let passwords = Passwords::default();
    let decide = |facts: &Facts<'_>, port| before_routing(&table, facts, &passwords, port);
    assert_eq!(table.route("x", "/safe"), Some(0));
    assert_eq!(
        decide(&facts("X:80", "/safe?q=1&r"), 443),
        moved("https://X/safe?q=1&r")
    );
    assert_eq!(
        decide(&facts("x", "/safe"), 8443),
        moved("https://x:8443/safe")
    );
    assert_eq!(decide(&facts("x", "/other"), 443), None);
    assert_eq!(decide(&facts("y", "/safe"), 443), None);
    let over_tls = Facts {
        is_tls: true,
        ..facts("x", "/safe")
    };
    assert_eq!(
        decide(&over_tls, 443),
        Some(Refusal::Unauthorized("the realm".to_owned()))
    );
}

#[tokio::test]
async fn passwords_are_asked_for_before_routing() {
    // contract: lb-auth, lb-rule-before-routing
    let table = table(&[
        &[("VHOST", "x"), ("PATH", "/"), ("BACKEND_WEIGHT", "9")],
        &[("VHOST", "x"), ("AUTH", AUTH)],
        &[("VHOST", "y")],
    ]);
    let passwords = Passwords::default();
    let decide = async |host, authorization| {
        let facts = Facts {
            authorization,
            ..facts(host, "/")
        };
        match before_routing(&table, &facts, &passwords, 443) {
            Some(Refusal::Unchecked(attempt)) => {
                let realm = attempt.realm.clone();
                match passwords.check(attempt).await.unwrap() {
                    true => before_routing(&table, &facts, &passwords, 443),
                    false => Some(Refusal::Unauthorized(realm)),
                }
            }
            decided => decided,
        }
    };
    assert_eq!(table.route("x", "/"), Some(0), "another app routes it");
    let refused = Some(Refusal::Unauthorized("the realm".to_owned()));
    for wrong in [
        None,
        Some(""),
        Some("Basic"),
        Some("Basic !"),
        Some("Bearer bWU6c2VjcmV0"),
        // me:wrong, you:secret, me
        Some("Basic bWU6d3Jvbmc="),
        Some("Basic eW91OnNlY3JldA=="),
        Some("Basic bWU="),
    ] {
        assert_eq!(decide("x", wrong).await, refused, "{wrong:?}");
    }
    for _ in 0..2 {
        assert_eq!(decide("x", Some(CREDENTIALS)).await, None);
        assert_eq!(decide("x", Some("basic  bWU6c2VjcmV0 ")).await, None);
    }
    assert_eq!(decide("y", None).await, None);
}

#[test]
fn networks_are_kept_out() {
    // contract: lb-network-acl
    let table = table(&[
        &[("BACKEND_NETWORK_ALLOWED_ACL", "10.1.0.0/16 192.168.0.1")],
        &[],
    ]);
    let decide = |at: usize, client: &str| {
        let facts = Facts {
            client: client.parse().unwrap(),
            ..facts("x", "/")
        };
        at_backend(&table.backends[at], &facts)
    };
    assert_eq!(decide(0, "10.1.9.9"), None);
    assert_eq!(decide(0, "192.168.0.1"), None);
    assert_eq!(decide(0, "192.168.0.2"), Some(Refusal::Forbidden));
    assert_eq!(decide(0, "::1"), Some(Refusal::Forbidden));
    assert_eq!(decide(1, "::1"), None);
}

#[test]
fn the_root_of_a_vhost_leads_elsewhere() {
    // contract: lb-redir
    let table = table(&[&[("VHOST", "x,y"), ("HTTP_BACKEND_REDIR", "/app")]]);
    let decide = |host, target| at_backend(&table.backends[0], &facts(host, target));
    assert_eq!(decide("Y:10000", "/"), moved("/app"));
    assert_eq!(decide("x", "/?q"), moved("/app"));
    assert_eq!(decide("x", "/other"), None);
    assert_eq!(decide("z", "/"), None);
}

#[test]
fn prefixes_are_stripped() {
    // contract: lb-proxypass
    let table = table(&[
        &[("VHOST", "x,y"), ("HTTP_BACKEND_PROXYPASS_PATH", "/api")],
        &[],
    ]);
    let check = |target, expected: Option<&str>| {
        let changes = changes(&table.backends[0], &facts("y", target));
        assert_eq!(changes.target.as_deref(), expected, "{target}");
        assert_eq!(changes.host, Some("x"));
    };
    check("/api", Some("/"));
    check("/api/", Some("/"));
    check("/api/v1?q=/api", Some("/v1?q=/api"));
    check("/API//v1", Some("//v1"));
    check("/apixyz", Some("/xyz"));
    check("/api?q", Some("/?q"));
    check("/other/api", None);
    check("/ap", None);
    assert_eq!(
        changes(&table.backends[1], &facts("y", "/api")),
        Changes::default()
    );
}

#[test]
fn locations_are_put_under_the_root() {
    // contract: lb-revproxy
    let table = table(&[&[("VHOST", "x,y"), ("HTTP_BACKEND_REVPROXY_PATH", "/api/")]]);
    let check = |given, expected: Option<&str>| {
        assert_eq!(
            location(&table.backends[0], given).as_deref(),
            expected,
            "{given}"
        );
    };
    check("/login?to=1", Some("/api/login?to=1"));
    check("http://X/login", Some("/api/login"));
    check("https://y:8443/", Some("/api/"));
    check("/api/login", None);
    check("/api", None);
    check("/apixyz", Some("/api/apixyz"));
    check("https://elsewhere/login", None);
    check("//elsewhere/login", None);
    check("relative", None);
    check("http://x", None);
}

#[test]
fn clients_stay_with_their_server_by_cookie() {
    // contract: lb-sticky
    let table = table(&[&[("STICKY", "true")], &[]]);
    let (sticky, plain) = (&table.backends[0], &table.backends[1]);
    let cookie = &sticky.servers[0].cookie;
    // The first ten digits of `printf 10_0_0_1_1000 | sha1sum`.
    assert_eq!(cookie, &SHA1_OF_NAME[..10]);
    assert_eq!(
        set_cookie(&sticky.servers[0]),
        format!("mesosphere_server_id={cookie}; path=/")
    );
    assert_eq!(
        wanted_server(sticky, &format!("a=b; mesosphere_server_id={cookie};c=d")),
        Some(0)
    );
    assert_eq!(
        wanted_server(sticky, "mesosphere_server_id=0000000000"),
        None
    );
    assert_eq!(wanted_server(sticky, "a=b"), None);
    assert!(
        changes(sticky, &facts("x", "/")).loses_cookie
            && !changes(plain, &facts("x", "/")).loses_cookie
    );
    assert_eq!(
        without_cookie("a=b; mesosphere_server_id=1;c=d").as_deref(),
        Some("a=b; c=d")
    );
    assert_eq!(without_cookie("mesosphere_server_id=1"), None);
    assert_eq!(
        without_cookie("xmesosphere_server_id=1").as_deref(),
        Some("xmesosphere_server_id=1")
    );
}

const SHA1_OF_NAME: &str = "213e0c840696110cc95eb8145654dc357bbe2039";

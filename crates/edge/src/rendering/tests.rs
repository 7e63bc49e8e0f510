use serde_json::{Value, json};

use super::*;
use crate::fixture::{self, LOCALHOST};
use crate::table::build;

/// Id, service port, and labels without `HAPROXY_0_`; `weight` is that of ZDD.
type Labelled<'a> = (&'a str, u16, &'a [(&'a str, &'a str)]);

/// The configuration of apps with one task each.
fn rendered(apps: &[Labelled<'_>]) -> String {
    let policy = fixture::policy(Some(8000));
    let app = |(id, port, labels): &Labelled<'_>| {
        let named = labels.iter().map(|(name, value)| match *name {
            "weight" => ("ZDD_0_WEIGHT".to_owned(), json!(value)),
            name => (format!("HAPROXY_0_{name}"), json!(value)),
        });
        let mut app = json!({
            "id": id, "version": "1", "ports": [port], "labels": {"HAPROXY_GROUP": "g", "HAPROXY_0_MODE": "http"},
            "tasks": [{"id": "t", "host": "10.0.0.1", "ports": [1], "state": "TASK_RUNNING"}],
        });
        let labels = app["labels"].as_object_mut().unwrap();
        labels.extend(named);
        app
    };
    let apps: Value = apps.iter().map(app).collect();
    let apps: Vec<zddcluster_client::marathon::App> = serde_json::from_value(apps).unwrap();
    let (table, warnings) = build(&apps, &fixture::rules(&policy));
    let addresses = fixture::addresses(Some(8000), Some(8443));
    render(&table, addresses, LOCALHOST, &warnings)
}

/// The lines with this beginning, in order.
fn lines<'a>(config: &'a str, start: &str) -> Vec<&'a str> {
    let lines = config.lines().map(str::trim);
    lines.filter(|line| line.starts_with(start)).collect()
}

#[test]
fn shares_are_drawn_by_lot() {
    let config = rendered(&[
        ("/a", 10000, &[("VHOST", "x"), ("weight", "3")]),
        ("/b", 10000, &[("VHOST", "x"), ("weight", "0")]),
        ("/c", 10000, &[("VHOST", "x"), ("weight", "1")]),
    ]);
    let x = "{ hdr(host),field(1,:) -i -- 'x' }";
    let of_vhost = [
        format!("use_backend a_10000 if {x} {{ rand(4) lt 3 }}"),
        format!("use_backend c_10000 if {x}"),
    ];
    let of_port = [
        "use_backend a_10000 if { rand(4) lt 3 }",
        "use_backend c_10000",
    ];
    let mut found = lines(&config, "use_backend");
    found.retain(|line| !line.contains("x-marathon-app-id"));
    // The vhost, and three listeners of one port.
    assert_eq!(found[..2], of_vhost);
    assert_eq!(found[2..], [of_port, of_port, of_port].concat());
}

#[test]
fn what_shares_the_vhost_port_gets_what_is_left() {
    let config = rendered(&[("/a", 80, &[("VHOST", "x")]), ("/b", 80, &[])]);
    let found = lines(&config, "use_backend");
    assert!(
        found[0].starts_with("use_backend a_80 if { hdr("),
        "{config}"
    );
    assert_eq!(
        found[1..3],
        ["use_backend a_80 if { rand(2) lt 1 }", "use_backend b_80"]
    );
    assert_eq!(lines(&config, "bind 127.0.0.1:8000").len(), 1, "{config}");
}

#[test]
fn labels_stay_words() {
    let labels = [
        ("VHOST", "it's"),
        ("PATH", "-f /etc/passwd"),
        ("HTTP_BACKEND_REDIR", "/%[env(HOME)]"),
        ("HTTP_BACKEND_PROXYPASS_PATH", "/a.b"),
        ("HTTP_BACKEND_REVPROXY_PATH", "/c%\\1"),
    ];
    let config = rendered(&[("/a", 10000, &labels)]);
    for line in [
        r"use_backend a_10000 if { hdr(host),field(1,:) -i -- 'it'\''s' } { path_beg -- '-f' '/etc/passwd' }",
        r"http-request redirect location '/%%[env(HOME)]' code 301 if { path / } { hdr(host),field(1,:) -i -- 'it'\''s' }",
        r"http-request set-header Host 'it'\''s'",
        r"http-request replace-path '^\/[Aa]\.[Bb]/?(.*)$' '/\1'",
        r"http-response replace-header Location '^(https?://([Ii][Tt]\'\''[Ss])(:[0-9]*)?)?(/([^/].*)?)$' '/c%%\\1\4' unless { res.fhdr(location) -m reg -- '^(https?://[^/]*)?\/c\%\\1([/?#].*)?$' }",
    ] {
        assert_eq!(lines(&config, line), [line], "{config}");
    }
}

#[test]
fn a_certificate_in_a_file_is_named() {
    let config = rendered(&[("/a", 10000, &[("SSL_CERT", "/a.pem, /it's.pem")])]);
    let bind = r"bind 127.0.0.1:10000 ssl crt '/a.pem' crt '/it'\''s.pem'";
    assert_eq!(lines(&config, "bind 127.0.0.1:10000"), [bind], "{config}");
}

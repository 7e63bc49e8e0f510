//! What a body must look like to be read at all (400), row by row of contract marathon §1.

use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form, ReadError};

use crate::common::*;

/// POST bodies with one fault each, and the fault.
#[track_caller]
fn check(rows: &[(Value, &str)]) {
    for (extra, fault) in rows {
        assert_eq!(
            reading_faults(&body(extra.clone()), Form::Full),
            [*fault],
            "{extra}"
        );
    }
}

#[test]
fn wrong_types_have_codes() {
    // contract: reading-codes, reading-paths, field-env, field-labels, field-acceptedResourceRoles
    // contract: field-instances
    check(&[
        (json!({"cmd": 1}), "/cmd: error.expected.jsstring"),
        (json!({"cmd": ""}), "/cmd: error.minLength"),
        (json!({"args": "x"}), "/args: error.expected.jsarray"),
        (
            json!({"args": ["x", 1]}),
            "/args(1): error.expected.jsstring",
        ),
        (json!({"user": []}), "/user: error.expected.jsstring"),
        (json!({"env": []}), "/env: error.expected.jsobject"),
        (
            json!({"env": {"A": 1}}),
            "/env/A/secret: error.path.missing",
        ),
        (
            json!({"env": {"A": {}}}),
            "/env/A/secret: error.path.missing",
        ),
        (
            json!({"env": {"A": {"secret": 1}}}),
            "/env/A/secret: error.expected.jsstring",
        ),
        (
            json!({"instances": "1"}),
            "/instances: error.expected.jsnumber",
        ),
        (json!({"instances": 0.1}), "/instances: error.expected.int"),
        (
            json!({"instances": 2_147_483_648_u32}),
            "/instances: error.expected.int",
        ),
        (json!({"instances": 1e30}), "/instances: error.expected.int"),
        (json!({"cpus": "1"}), "/cpus: error.expected.jsnumber"),
        (json!({"mem": true}), "/mem: error.expected.jsnumber"),
        (json!({"disk": {}}), "/disk: error.expected.jsnumber"),
        (json!({"gpus": 0.5}), "/gpus: error.expected.int"),
        (json!({"uris": [1]}), "/uris(0): error.expected.jsstring"),
        (json!({"fetch": [{}]}), "/fetch(0)/uri: error.path.missing"),
        (
            json!({"fetch": ["x"]}),
            "/fetch(0): error.expected.jsobject",
        ),
        (
            json!({"fetch": [{"uri": "a", "cache": 1}]}),
            "/fetch(0)/cache: error.expected.jsboolean",
        ),
        (
            json!({"storeUrls": "x"}),
            "/storeUrls: error.expected.jsarray",
        ),
        (
            json!({"backoffSeconds": 0.5}),
            "/backoffSeconds: error.expected.int",
        ),
        (
            json!({"backoffFactor": "x"}),
            "/backoffFactor: error.expected.jsnumber",
        ),
        (
            json!({"labels": {"a": 1}}),
            "/labels/a: error.expected.jsstring",
        ),
        (
            json!({"dependencies": [1]}),
            "/dependencies(0): error.expected.jsstring",
        ),
        (
            json!({"requirePorts": "true"}),
            "/requirePorts: error.expected.jsboolean",
        ),
        (
            json!({"secrets": {"a": {}}}),
            "/secrets/a/source: error.path.missing",
        ),
        (json!({"version": 1}), "/version: error.expected.jsstring"),
        (
            json!({"upgradeStrategy": {"minimumHealthCapacity": "1"}}),
            "/upgradeStrategy/minimumHealthCapacity: error.expected.jsnumber",
        ),
        (
            json!({"residency": {"taskLostBehavior": "X"}}),
            "/residency/taskLostBehavior: X is not a valid taskLostBehavior",
        ),
        (
            json!({"taskKillGracePeriodSeconds": "x"}),
            "/taskKillGracePeriodSeconds: error.expected.jsnumber",
        ),
        (
            json!({"acceptedResourceRoles": []}),
            "/acceptedResourceRoles: set must not be empty",
        ),
    ]);
}

#[test]
fn ids() {
    // contract: field-id
    let check = |body: Value, fault: &[&str]| {
        assert_eq!(reading_faults(&body, Form::Full), fault, "{body}");
    };
    check(json!({"cmd": "x"}), &["/id: error.path.missing"]);
    check(json!({"id": null}), &["/id: error.path.missing"]);
    check(json!({"id": ""}), &["/id: error.minLength"]);
    check(json!({"id": 3}), &["/id: error.expected.jsstring"]);
    check(json!({"id": "/"}), &["/id: "]);
    let Err(ReadError::Faults(faults)) = read(&json!({"id": "/"}), Form::Full) else {
        panic!()
    };
    assert!(faults[0].errors.is_empty());
    assert_eq!(
        reading_faults(&json!({"cmd": "x"}), Form::Partial),
        Vec::<String>::new()
    );
}

#[test]
fn executors() {
    // contract: field-executor
    for good in ["", "//cmd", "/a/b", "a", "a/b"] {
        assert_eq!(app(json!({"executor": good})).executor, good);
    }
    for bad in ["//x", "/", "a//b", "/a/"] {
        check(&[(json!({"executor": bad}), "/executor: error.pattern")]);
    }
}

#[test]
fn constraints() {
    // contract: constraint-error-shape, constraint-error-operator
    let format =
        "Constraint definition must be an array of strings in format: <key>, <operator>[, value]";
    let operator = "Constraint operator must be one of the following: [UNIQUE, LIKE, CLUSTER, GROUP_BY, UNLIKE, MAX_PER]";
    for constraint in [
        json!(["a"]),
        json!(["a", "UNIQUE", "b", "c"]),
        json!("a"),
        json!(["a", 1]),
    ] {
        let fault = format!("/constraints(0): {format}");
        check(&[(json!({"constraints": [constraint]}), &fault)]);
    }
    let fault = format!("/constraints(1): {operator}");
    check(&[(
        json!({"constraints": [["a", "UNIQUE"], ["a", "unique"]]}),
        &fault,
    )]);
}

#[test]
fn ports_and_addresses() {
    // contract: port-repeated, port-both-forms, field-ipAddress
    check(&[
        (json!({"ports": [80, 80]}), "/ports: Ports must be unique."),
        (
            json!({"ports": ["80"]}),
            "/ports(0): error.expected.jsnumber",
        ),
        (
            json!({"ports": [1], "portDefinitions": [{"port": 2}]}),
            ": You cannot specify both ports and port definitions",
        ),
        (
            json!({"ports": [0], "ipAddress": {}}),
            ": You cannot specify both an IP address and ports",
        ),
        (
            json!({"ipAddress": {"discovery": {"ports": [{"number": 1, "name": "a"}]}}}),
            "/ipAddress/discovery/ports(0)/protocol: error.path.missing",
        ),
        (
            json!({"ipAddress": {"discovery": {"ports": [{"number": 1, "name": "a", "protocol": "x"}]}}}),
            "/ipAddress/discovery/ports(0)/protocol: Invalid protocol. Only 'udp' or 'tcp' are allowed.",
        ),
        (
            json!({"ipAddress": {"discovery": {"ports": [
                {"number": 1, "name": "a", "protocol": "tcp"}, {"number": 2, "name": "a", "protocol": "tcp"}]}}}),
            "/ipAddress/discovery/ports: Port names are not unique.",
        ),
        (
            json!({"ipAddress": {"discovery": {"ports": [
                {"number": 1, "name": "a", "protocol": "tcp"}, {"number": 1, "name": "b", "protocol": "tcp"}]}}}),
            "/ipAddress/discovery/ports: There may be only one port with a particular port number/protocol combination.",
        ),
    ]);
}

#[test]
fn fetch_and_uris() {
    // contract: field-uris, field-fetch, other-uris-extract
    let both = ": You cannot specify both uris and fetch fields";
    let body_of = |uris: Value, fetch: Value| body(json!({"uris": uris, "fetch": fetch}));
    let item = json!([{"uri": "b"}]);
    assert_eq!(
        reading_faults(&body_of(json!(["a"]), item.clone()), Form::Full),
        [both]
    );
    assert_eq!(
        reading_faults(&body_of(json!([]), item.clone()), Form::Full),
        Vec::<String>::new()
    );
    assert_eq!(
        reading_faults(&body_of(json!([]), json!([])), Form::Partial),
        [both]
    );
    assert_eq!(whole(body_of(json!([]), item)).fetch[0].uri, "b");
    let extracts = |form| {
        let update = read(
            &body(json!({"uris": ["http://x/a.tgz", "http://x/b"]})),
            form,
        )
        .unwrap();
        let app = update
            .into_app(id(), zddcluster_model::Timestamp::ZERO)
            .unwrap();
        app.fetch
            .iter()
            .map(|fetch| fetch.extract)
            .collect::<Vec<_>>()
    };
    assert_eq!(extracts(Form::Full), [true, false]);
    assert_eq!(extracts(Form::Partial), [true, true]);
}

#[test]
fn containers() {
    // contract: container-no-docker, container-no-image, container-bad-words, volume-mode
    check(&[
        (
            json!({"container": {}}),
            "/container/docker: error.path.missing",
        ),
        (
            json!({"container": {"docker": {}}}),
            "/container/docker/image: error.path.missing",
        ),
        (
            json!({"container": {"type": "X"}}),
            "/container/type: X is not a valid container type",
        ),
        (
            json!({"container": {"docker": {"image": "i", "network": "host"}}}),
            "/container/docker/network: host is not a valid network type",
        ),
        (
            json!({"container": {"docker": {"image": "i", "parameters": [{"key": "a"}]}}}),
            "/container/docker/parameters(0)/value: error.path.missing",
        ),
        (
            json!({"container": {"type": "MESOS", "volumes": [{"containerPath": "a", "hostPath": "b"}]}}),
            "/container/volumes(0)/mode: error.path.missing",
        ),
        (
            json!({"container": {"type": "MESOS", "volumes": [{"containerPath": "a", "mode": "RO"}]}}),
            "/container/volumes(0)/hostPath: error.path.missing",
        ),
        (
            json!({"container": {"type": "MESOS", "volumes": [{"containerPath": "a", "mode": "X", "hostPath": "b"}]}}),
            "/container/volumes(0)/mode: X is not a valid mode",
        ),
        (
            json!({"container": {"type": "MESOS", "appc": {}}}),
            "/container/appc/image: error.path.missing",
        ),
        (
            json!({"networks": [{"mode": "x"}]}),
            "/networks(0)/mode: x is not a valid network mode",
        ),
    ]);
}

#[test]
fn checks() {
    // contract: check-protocol, readiness-error-protocol
    check(&[
        (
            json!({"healthChecks": [{"protocol": "http"}]}),
            "/healthChecks(0)/protocol: http is not a valid protocol",
        ),
        (
            json!({"healthChecks": [{"intervalSeconds": "1"}]}),
            "/healthChecks(0)/intervalSeconds: error.expected.jsnumber",
        ),
        (
            json!({"healthChecks": [{"protocol": "COMMAND", "command": {}}]}),
            "/healthChecks(0)/command/value: error.path.missing",
        ),
        (
            json!({"readinessChecks": [{"protocol": "TCP"}]}),
            "/readinessChecks(0)/protocol: Choose one of HTTP, HTTPS",
        ),
    ]);
}

#[test]
fn all_faults_of_a_body_come_together() {
    // contract: reading-stages, reading-ignored, reading-paths
    let body = json!({
        "id": 1, "cmd": "", "instances": 0.5, "env": {"A": 1, "B": 2}, "cpus": "x",
        "container": {"docker": {"network": "X"}, "volumes": [{}]},
        "constraints": [["a"]], "unknown": {"is": "ignored"}, "user": null,
    });
    let faults = reading_faults(&body, Form::Full);
    let paths: Vec<&str> = faults
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    let mut wanted = vec![
        "/id",
        "/cmd",
        "/env/A/secret",
        "/env/B/secret",
        "/instances",
        "/cpus",
        "/constraints(0)",
        "/container/volumes(0)/containerPath",
        "/container/volumes(0)/mode",
        "/container/volumes(0)/hostPath",
        "/container/docker/image",
        "/container/docker/network",
    ];
    wanted.sort_unstable();
    let mut sorted = paths;
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
}

#[test]
fn bodies_that_are_no_definition() {
    let read = |body: &[u8]| AppUpdate::read(body, Form::Full).unwrap_err();
    assert!(matches!(read(b""), ReadError::Empty(_)));
    assert!(matches!(read(b" \n"), ReadError::Empty(_)));
    for bad in [
        &b"{"[..],
        b"{\"id\": \"\xff\"}",
        b"id",
        b"{} {}",
        b"{\"cpus\": 1e999}",
    ] {
        assert!(matches!(read(bad), ReadError::Syntax(_)), "{bad:?}");
    }
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(matches!(read(deep.as_bytes()), ReadError::Syntax(_)));
    for other in [&b"[]"[..], b"3", b"null", b"\"x\""] {
        let ReadError::Faults(faults) = read(other) else {
            panic!()
        };
        assert_eq!(
            (faults[0].path.as_str(), &faults[0].errors[0][..]),
            ("", "error.expected.jsobject")
        );
    }
    let twice = br#"{"id": "/a", "cmd": "x", "cmd": "y"}"#;
    assert!(AppUpdate::read(twice, Form::Full).is_ok());
}

#[test]
fn lists_of_definitions() {
    let read = |body: Value| AppUpdate::read_list(body.to_string().as_bytes());
    let updates = read(json!([{"id": "/a", "instances": 2}, {"cmd": "x"}])).unwrap();
    assert_eq!(updates[0].id.as_deref(), Some("/a"));
    assert_eq!(updates[1].id, None);
    let Err(ReadError::Faults(faults)) = read(json!({})) else {
        panic!()
    };
    assert_eq!(faults[0].errors, ["error.expected.jsarray"]);
    let Err(ReadError::Faults(faults)) = read(json!([{"cmd": 1}, 3, {"args": 1}])) else {
        panic!()
    };
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(paths, ["(0)/cmd", "(1)", "(2)/args"]);
}

#[test]
fn versions_stand_alone() {
    // contract: field-version, put-version-alone
    let version = "2016-10-12T11:38:56.845Z";
    for body in [
        json!({"version": version}),
        json!({"version": version, "id": "/a", "cmd": null}),
    ] {
        let update = read(&body, Form::Partial).unwrap();
        assert_eq!(update.only_version(), Some(version.parse().unwrap()));
        assert!(!update.has_other_keys());
    }
    for extra in [
        json!({"instances": 1}),
        json!({"ports": []}),
        json!({"networks": []}),
        json!({"instances": -1}),
    ] {
        let mut body = extra;
        body["version"] = version.into();
        let Err(ReadError::Argument(text)) = read(&body, Form::Partial) else {
            panic!("{body}")
        };
        assert_eq!(
            text,
            "The 'version' field may only be combined with the 'id' field."
        );
    }
    let bad = read(&json!({"version": "yesterday"}), Form::Partial).unwrap_err();
    assert_eq!(
        bad,
        ReadError::Argument("Invalid format: \"yesterday\"".to_owned())
    );
    // A POST of what a GET gave carries one.
    let update = read(&body(json!({"version": version})), Form::Full).unwrap();
    assert_eq!(update.version, None);
    assert_eq!(
        read(&json!({}), Form::Partial).unwrap().only_version(),
        None
    );
}

#[test]
fn huge_bodies_are_read_in_time_of_their_size() {
    let checks: Vec<Value> = (0..50_000)
        .map(|i| json!({"gracePeriodSeconds": i}))
        .collect();
    let constraints: Vec<Value> = (0..50_000)
        .map(|i| json!([i.to_string(), "MAX_PER"]))
        .collect();
    let body =
        body(json!({"healthChecks": checks, "constraints": constraints, "args": vec![0; 50_000]}));
    assert_eq!(reading_faults(&body, Form::Full).len(), 50_000);
}

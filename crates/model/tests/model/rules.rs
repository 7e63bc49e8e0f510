//! The rules a definition has to keep (422), row by row of contract marathon §1.

use serde_json::{Value, json};
use zddcluster_model::app::{Form, validate};
use zddcluster_model::{AppId, Timestamp};

use crate::common::*;

const SEGMENT: &str = r"must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'";

#[test]
fn ids_and_dependencies() {
    // contract: id-bad-upper-case, id-bad-underscore, id-bad-first-hyphen, id-bad-last-hyphen
    // contract: id-bad-space, id-bad-two-dots, id-bad-last-dot, field-dependencies
    for bad in [
        "/uppER", "/a_b", "/-a", "/a-", "/a b", "/a..b", "/a.", "/A/B",
    ] {
        let fault = format!("/id: {SEGMENT}");
        check_broken(&[(json!({"id": bad}), &fault)]);
    }
    check_good(&[
        json!({"id": "/a/b.c-d"}),
        json!({"id": "9"}),
        json!({"id": "//a//b/"}),
    ]);
    let fault = format!("/dependencies(0): {SEGMENT}");
    check_broken(&[(json!({"dependencies": ["/A"]}), &fault)]);
    let deep = "/a".repeat(33);
    check_broken(&[(json!({"id": deep}), "/id: must have at most 32 segments")]);
    let long = "a".repeat(200);
    check_broken(&[(
        json!({"id": long}),
        "/id: must be at most 200 characters long",
    )]);
}

#[test]
fn relative_dependencies() {
    // contract: field-dependencies
    let body = json!({"cmd": "x", "dependencies": ["../db", "/x", "y"]});
    let resolve = |base: &str| {
        let update = read(&body, Form::Partial).unwrap();
        let id = AppId::absolute("/g/a");
        let app = update
            .into_app_in(id, &AppId::absolute(base), Timestamp::ZERO)
            .unwrap();
        app.dependencies
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(resolve("/g/a"), ["/g/a/y", "/g/db", "/x"]);
    assert_eq!(resolve("/g"), ["/db", "/g/y", "/x"]);
}

#[test]
fn commands_and_containers() {
    // contract: command-missing, command-both, command-mesos, command-image, field-args
    let text = "/: AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.";
    let bad = |body: Value| assert_eq!(whole_faults(body.clone()), [text], "{body}");
    let good = |body: Value| assert_eq!(whole_faults(body.clone()), Vec::<String>::new(), "{body}");
    bad(json!({"id": "a"}));
    bad(json!({"id": "a", "cmd": "x", "args": []}));
    bad(json!({"id": "a", "container": {"type": "MESOS"}}));
    bad(json!({"id": "a", "cmd": "x", "args": ["y"], "container": {"docker": {"image": "i"}}}));
    good(json!({"id": "a", "args": []}));
    good(json!({"id": "a", "container": {"docker": {"image": "i"}}}));
    good(json!({"id": "a", "args": ["y"], "container": {"docker": {"image": "i"}}}));
    good(json!({"id": "a", "cmd": "x", "container": {"type": "MESOS"}}));
    good(json!({"id": "a", "container": {"type": "MESOS", "docker": {"image": "i"}}}));
    good(json!({"id": "a", "container": {"type": "MESOS", "appc": {"image": "i"}}}));
}

#[test]
fn what_no_process_can_be_started_with() {
    // contract: field-env
    check_broken(&[
        (
            json!({"cmd": "a\0b"}),
            "/cmd: must not contain NUL characters",
        ),
        (
            json!({"user": "a\0b"}),
            "/user: must not contain NUL characters",
        ),
        (
            json!({"cmd": null, "args": ["a", "\0"]}),
            "/args(1): must not contain NUL characters",
        ),
        (
            json!({"env": {"A": "\0"}}),
            "/env(A): must not contain NUL characters",
        ),
        (
            json!({"env": {"A=B": "x"}}),
            "/env(A=B): name must not contain '=' or NUL characters",
        ),
        (json!({"env": {"": "x"}}), "/env(): must not be empty"),
        (
            json!({"labels": {"A": "\0"}}),
            "/labels(A): must not contain NUL characters",
        ),
        (
            json!({"labels": {"A\0": ""}}),
            "/labels(A\0): must not contain NUL characters",
        ),
        (
            json!({"container": {"type": "DOCKER", "docker": {"image": "a\0"}}}),
            "/container/docker/image: must not contain NUL characters",
        ),
    ]);
    check_good(&[json!({"env": {"A.b-c d": "=x\n"}, "cmd": "ä\n"})]);
}

#[test]
fn numbers() {
    // contract: field-instances, field-cpus-mem-disk, field-gpus, field-upgradeStrategy
    check_broken(&[
        (
            json!({"instances": -3}),
            "/instances: got -3, expected 0 or more",
        ),
        (json!({"gpus": -3}), "/gpus: got -3, expected 0 or more"),
        (json!({"cpus": -3}), "/cpus: got -3.0, expected 0.0 or more"),
        (json!({"mem": -0.5}), "/mem: got -0.5, expected 0.0 or more"),
        (json!({"disk": -1}), "/disk: got -1.0, expected 0.0 or more"),
        (
            json!({"backoffSeconds": -1}),
            "/backoffSeconds: got -1, expected 0 or more",
        ),
        (
            json!({"upgradeStrategy": {"minimumHealthCapacity": 1.2}}),
            "/upgradeStrategy/minimumHealthCapacity: got 1.2, expected between 0.0 and 1.0",
        ),
        (
            json!({"upgradeStrategy": {"maximumOverCapacity": -1}}),
            "/upgradeStrategy/maximumOverCapacity: got -1.0, expected between 0.0 and 1.0",
        ),
        (
            json!({"gpus": 1}),
            "/: Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources)",
        ),
        (
            json!({"gpus": 1, "cmd": null, "container": {"docker": {"image": "i"}}}),
            "/: Feature gpu_resources is not enabled. Enable with --enable_features gpu_resources); GPU resources only work with the Mesos containerizer",
        ),
    ]);
    check_good(&[
        json!({"instances": 0, "cpus": 0, "mem": 0}),
        json!({"instances": 2_147_483_647}),
        json!({"instances": 4.0, "backoffFactor": 2}),
        json!({"upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}}),
    ]);
    let strategy = app(json!({"upgradeStrategy": {"minimumHealthCapacity": 0.5}})).upgrade_strategy;
    assert_eq!(
        (
            strategy.minimum_health_capacity,
            strategy.maximum_over_capacity
        ),
        (0.5, 1.0)
    );
}

#[test]
fn several_faults_at_one_path_are_one_entry() {
    // contract: error-422-rules
    let faults = whole_faults(json!({"id": "a", "gpus": 1, "cpus": -1, "mem": -1}));
    assert_eq!(faults.len(), 3);
    let root = faults.iter().find(|line| line.starts_with("/: ")).unwrap();
    assert!(
        root.contains("'cmd' or 'args'") && root.contains("gpu_resources"),
        "{root}"
    );
}

#[test]
fn secrets() {
    // contract: field-secrets, field-env
    let off = "/secrets: must be empty";
    let feature = "/: Feature secrets is not enabled. Enable with --enable_features secrets)";
    assert_eq!(
        rule_faults(json!({"secrets": {"s": {"source": "x"}}})),
        [off, feature]
    );
    check_broken(&[(
        json!({"env": {"A": {"secret": "x"}}}),
        "/env(A): references an undefined secret named 'x'",
    )]);
}

#[test]
fn constraints() {
    // contract: constraint-error-unused, constraint-error-number, constraint-error-no-regex
    // contract: constraint-error-bad-regex, field-constraints
    let number = "/constraints: Value was specified but is not a number";
    let regex = "/constraints: A regular expression value must be provided";
    for (constraint, fault) in [
        (
            json!(["hostname", "UNIQUE", "x"]),
            "/constraints: Value specified but not used",
        ),
        (json!(["rack", "GROUP_BY", "x"]), number),
        (json!(["rack", "MAX_PER"]), number),
        (json!(["rack", "MAX_PER", "x"]), number),
        (json!(["rack", "LIKE"]), regex),
        (json!(["rack", "UNLIKE"]), regex),
        (
            json!(["rack", "LIKE", "*"]),
            "/constraints: '*' is not a valid regular expression",
        ),
    ] {
        check_broken(&[(json!({"constraints": [constraint]}), fault)]);
    }
    for constraint in [
        json!(["hostname", "UNIQUE"]),
        json!(["rack", "CLUSTER"]),
        json!(["rack", "CLUSTER", "a"]),
        json!(["rack", "GROUP_BY"]),
        json!(["rack", "GROUP_BY", "3"]),
        json!(["rack", "MAX_PER", "2"]),
        json!(["rack", "LIKE", "a|b"]),
        json!(["rack", "UNLIKE", "a.*"]),
    ] {
        check_good(&[json!({"constraints": [constraint]})]);
    }
    let twice = app(json!({"constraints": [["a", "UNIQUE"], ["a", "UNIQUE"]]}));
    assert_eq!(twice.constraints.len(), 1);
}

#[test]
fn fetching() {
    // contract: field-fetch
    check_broken(&[(
        json!({"fetch": [{"uri": "http://x/y"}, {"uri": "d\\:\\x"}]}),
        "/fetch(1): URI has invalid syntax.",
    )]);
}

#[test]
fn roles() {
    // contract: field-acceptedResourceRoles
    let path = "/acceptedResourceRoles: A role name must not";
    for (role, rest) in [
        ("", "be \"\"."),
        (".", "be \".\"."),
        ("..", "be \"..\"."),
        ("-a", "start with a '-'."),
        ("a b", "include a space (\\x20) character."),
        ("a/b", "include a slash (\\x2f) character."),
    ] {
        check_broken(&[(
            json!({"acceptedResourceRoles": [role]}),
            &format!("{path} {rest}"),
        )]);
    }
    check_good(&[json!({"acceptedResourceRoles": ["*", "slave_public"]})]);
}

#[test]
fn special_labels() {
    // contract: other-single-instance, other-migration-label
    let single = |instances: u32, min: f64, over: f64| {
        json!({"instances": instances, "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"},
            "upgradeStrategy": {"minimumHealthCapacity": min, "maximumOverCapacity": over}})
    };
    check_good(&[single(1, 0.0, 0.0), single(0, 0.0, 0.0)]);
    check_broken(&[
        (
            single(2, 0.0, 0.0),
            "/: Single instance app may only have one instance",
        ),
        (
            single(1, 0.5, 0.0),
            "/upgradeStrategy/minimumHealthCapacity: got 0.5, expected 0.0",
        ),
        (
            single(1, 0.0, 0.5),
            "/upgradeStrategy/maximumOverCapacity: got 0.5, expected 0.0",
        ),
    ]);
    let migration = |version: &str| {
        json!({"labels": {"DCOS_MIGRATION_API_VERSION": version,
            "DCOS_PACKAGE_FRAMEWORK_NAME": "x", "DCOS_MIGRATION_API_PATH": "/x"}})
    };
    check_good(&[migration("v1")]);
    assert_eq!(rule_faults(migration("v2")).len(), 1);
    assert_eq!(
        rule_faults(json!({"labels": {"DCOS_MIGRATION_API_VERSION": "v1"}})).len(),
        1
    );
}

#[test]
fn a_stored_app_can_be_validated() {
    let mut app = app(json!({}));
    assert_eq!(validate(&app), Ok(()));
    app.cpus = -1.0;
    assert_eq!(validate(&app).unwrap_err().0[0].path, "/cpus");
}

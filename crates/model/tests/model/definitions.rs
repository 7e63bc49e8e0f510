//! What a definition is when it says little, and how its parts are shown (contract marathon §1.2, §1.6, §1.10, §1.11).

use serde_json::{Value, json};
use zddcluster_model::app::Form;

use crate::common::*;

/// One key of the printed app, as text, so that the order of keys and the form of numbers count.
#[track_caller]
fn check(definition: Value, key: &str, text: &str) {
    assert_eq!(
        printed(&app(definition.clone()))[key].to_string(),
        text,
        "{key} of {definition}"
    );
}

#[test]
fn keys_that_are_not_given() {
    for (key, text) in [
        ("args", "null"),                       // contract: field-args, shown-null
        ("user", "null"),                       // contract: field-user, shown-null
        ("env", "{}"),                          // contract: field-env
        ("instances", "1"),                     // contract: field-instances
        ("cpus", "1"),                          // contract: field-cpus-mem-disk, trap-4
        ("mem", "128"),                         // contract: field-cpus-mem-disk, trap-4
        ("disk", "0"),                          // contract: field-cpus-mem-disk, trap-4
        ("gpus", "0"),                          // contract: field-gpus
        ("executor", r#""""#),                  // contract: field-executor
        ("constraints", "[]"),                  // contract: field-constraints
        ("uris", "[]"),                         // contract: field-uris
        ("fetch", "[]"),                        // contract: field-fetch
        ("storeUrls", "[]"),                    // contract: shown-order
        ("backoffSeconds", "1"),                // contract: field-backoff
        ("backoffFactor", "1.15"),              // contract: field-backoff
        ("maxLaunchDelaySeconds", "3600"),      // contract: field-backoff
        ("container", "null"),                  // contract: field-container, shown-null
        ("healthChecks", "[]"),                 // contract: field-healthChecks
        ("readinessChecks", "[]"),              // contract: field-readinessChecks
        ("dependencies", "[]"),                 // contract: field-dependencies
        ("labels", "{}"),                       // contract: field-labels
        ("acceptedResourceRoles", "null"),      // contract: field-acceptedResourceRoles, shown-null
        ("ipAddress", "null"),                  // contract: field-ipAddress, shown-null
        ("residency", "null"),                  // contract: field-residency, shown-null
        ("secrets", "{}"),                      // contract: field-secrets
        ("taskKillGracePeriodSeconds", "null"), // contract: field-taskKillGracePeriodSeconds
        ("ports", "[0]"),                       // contract: port-form-none
        ("requirePorts", "false"),              // contract: field-requirePorts
    ] {
        check(json!({}), key, text);
    }
    // contract: field-upgradeStrategy
    let strategy = r#"{"minimumHealthCapacity":1,"maximumOverCapacity":1}"#;
    check(json!({}), "upgradeStrategy", strategy);
    // contract: field-cmd, shown-null
    check(json!({"cmd": null, "args": []}), "cmd", "null");
    // contract: field-args
    check(json!({"cmd": null, "args": []}), "args", "[]");
    // contract: trap-4
    check(json!({"cpus": 0.1}), "cpus", "0.1");
    check(json!({"mem": 32.0}), "mem", "32");
}

#[test]
fn containers_as_they_are_shown() {
    // contract: container-docker
    let docker = |more: &str| {
        format!(
            r#"{{"type":"DOCKER","volumes":[],"docker":{{"image":"i",{more},"privileged":false,"parameters":[],"forcePullImage":false}}}}"#
        )
    };
    for (network, mappings, more) in [
        (
            Value::Null,
            Value::Null,
            r#""network":null,"portMappings":null"#,
        ),
        (
            json!("HOST"),
            json!([{}]),
            r#""network":"HOST","portMappings":null"#,
        ),
        (
            json!("BRIDGE"),
            Value::Null,
            r#""network":"BRIDGE","portMappings":null"#,
        ),
        (
            json!("BRIDGE"),
            json!([]),
            r#""network":"BRIDGE","portMappings":[]"#,
        ),
    ] {
        let container =
            json!({"docker": {"image": "i", "network": network, "portMappings": mappings}});
        check(json!({"container": container}), "container", &docker(more));
    }
    let parameters = json!([{"value": "v", "key": "k"}]);
    let container = json!({"docker": {"image": "i", "network": "HOST", "privileged": true,
        "parameters": parameters, "forcePullImage": true}});
    check(
        json!({"container": container}),
        "container",
        r#"{"type":"DOCKER","volumes":[],"docker":{"image":"i","network":"HOST","portMappings":null,"privileged":true,"parameters":[{"key":"k","value":"v"}],"forcePullImage":true}}"#,
    );
    for (container, text) in [
        // contract: container-mesos
        (json!({"type": "MESOS"}), r#"{"type":"MESOS","volumes":[]}"#),
        // contract: container-mesos-docker
        (
            json!({"type": "MESOS", "docker": {"forcePullImage": true, "credential": {"principal": "p"}, "image": "i"}}),
            r#"{"type":"MESOS","volumes":[],"docker":{"image":"i","credential":{"principal":"p"},"forcePullImage":true}}"#,
        ),
        // contract: container-mesos-appc
        (
            json!({"type": "MESOS", "appc": {"labels": {"a": "b"}, "id": "sha512-0a", "image": "i"}}),
            r#"{"type":"MESOS","volumes":[],"appc":{"image":"i","id":"sha512-0a","labels":{"a":"b"},"forcePullImage":false}}"#,
        ),
    ] {
        check(json!({"container": container}), "container", text);
    }
}

#[test]
fn volumes_as_they_are_shown() {
    // contract: volume-shown, volume-external
    for (volume, text) in [
        (
            json!({"mode": "RO", "hostPath": "/b", "containerPath": "/a"}),
            r#"{"containerPath":"/a","hostPath":"/b","mode":"RO"}"#,
        ),
        (
            json!({"mode": "RW", "persistent": {"size": 512}, "containerPath": "a"}),
            r#"{"containerPath":"a","mode":"RW","persistent":{"size":512}}"#,
        ),
        (
            json!({"mode": "RW", "containerPath": "a", "external": {"options": {"o": "1"}, "provider": "dvdi", "name": "n", "size": 1}}),
            r#"{"containerPath":"a","mode":"RW","external":{"size":1,"name":"n","provider":"dvdi","options":{"o":"1"}}}"#,
        ),
    ] {
        let app = app(json!({"container": {"type": "MESOS", "volumes": [volume]}}));
        assert_eq!(printed(&app)["container"]["volumes"][0].to_string(), text);
    }
}

#[test]
fn files_as_they_are_shown() {
    // contract: shown-fetch, other-uris-extract, field-fetch, field-uris
    let fetch =
        json!([{"outputFile": "o", "cache": true, "uri": "a"}, {"uri": "b", "extract": false}]);
    check(
        json!({"fetch": fetch}),
        "fetch",
        r#"[{"uri":"a","extract":true,"executable":false,"cache":true,"outputFile":"o"},{"uri":"b","extract":false,"executable":false,"cache":false}]"#,
    );
    check(json!({"fetch": fetch}), "uris", r#"["a","b"]"#);
    check(
        json!({"uris": ["a.tar.gz"]}),
        "fetch",
        r#"[{"uri":"a.tar.gz","extract":true,"executable":false,"cache":false}]"#,
    );
    for archive in ["tgz", "tar.gz", "tbz2", "tar.bz2", "txz", "tar.xz", "zip"] {
        let app = app(json!({"uris": [format!("a.{archive}")]}));
        assert!(app.fetch[0].extract, "{archive}");
    }
}

#[test]
fn health_checks_as_they_are_shown() {
    // contract: check-order, check-command, check-port, check-ignore-1xx
    let command =
        json!({"command": {"value": "true"}, "protocol": "COMMAND", "ignoreHttp1xx": true});
    check(
        json!({"healthChecks": [command]}),
        "healthChecks",
        r#"[{"protocol":"COMMAND","command":{"value":"true"},"gracePeriodSeconds":300,"intervalSeconds":60,"timeoutSeconds":20,"maxConsecutiveFailures":3,"ignoreHttp1xx":true}]"#,
    );
    for protocol in [
        "HTTP",
        "HTTPS",
        "TCP",
        "MESOS_HTTP",
        "MESOS_HTTPS",
        "MESOS_TCP",
    ] {
        // contract: check-protocol, z-7
        let check = json!({"protocol": protocol, "port": 80, "path": "/p"});
        let shown = printed(&app(json!({"healthChecks": [check]})));
        assert_eq!(shown["healthChecks"][0]["protocol"], protocol);
        assert_eq!(shown["healthChecks"][0]["path"], "/p");
    }
}

#[test]
fn sets_collapse() {
    // contract: field-dependencies, field-constraints, field-healthChecks
    let app = app(json!({
        "dependencies": ["/b", "../b", "/b/"],
        "constraints": [["a", "UNIQUE"], ["a", "UNIQUE"], ["a", "CLUSTER"]],
        "healthChecks": [{}, {"protocol": "HTTP"}],
    }));
    assert_eq!(app.dependencies.len(), 1);
    assert_eq!(app.constraints.len(), 2);
    assert_eq!(app.health_checks.len(), 1);
}

#[test]
fn rules_wait_until_all_can_be_read() {
    // contract: reading-stages
    let broken = body(json!({"instances": -1, "cpus": "x"}));
    for form in [Form::Full, Form::Partial] {
        assert_eq!(
            reading_faults(&broken, form),
            ["/cpus: error.expected.jsnumber"]
        );
    }
    let whole = rule_faults(json!({"instances": -1, "mem": -1, "labels": {"a": "\0"}}));
    assert_eq!(whole.len(), 3, "{whole:?}");
}

#[test]
fn absent_null_and_unknown_keys_are_equal() {
    // contract: reading-ignored, field-read-only
    let plain = app(json!({}));
    for extra in [
        json!({"user": null, "container": null, "ports": null, "env": null, "instances": null}),
        json!({"nothing": 1, "zdd": {"a": []}}),
        json!({"tasks": 3, "tasksRunning": "x", "deployments": {}, "lastTaskFailure": 1, "versionInfo": [],
            "taskStats": 0, "readinessCheckResults": 1}),
        // contract: field-version
        json!({"version": "2016-10-12T11:38:56.845Z"}),
        // contract: newer-ignored
        json!({"role": "*", "tty": false, "unreachableStrategy": {}}),
    ] {
        let extended = app(extra.clone());
        assert_eq!(extended, plain, "{extra}");
    }
}

#[test]
fn numbers_of_either_kind() {
    // contract: reading-codes
    let app =
        app(json!({"cpus": 1, "instances": 2.0, "upgradeStrategy": {"minimumHealthCapacity": 0}}));
    assert_eq!((app.cpus, app.instances), (1.0, 2));
    for (extra, fault) in [
        (json!({"instances": 1.5}), "/instances: error.expected.int"),
        (
            json!({"healthChecks": [{"intervalSeconds": 0.5}]}),
            "/healthChecks(0)/intervalSeconds: error.expected.int",
        ),
        (json!({"ports": [0.5]}), "/ports(0): error.expected.int"),
    ] {
        assert_eq!(reading_faults(&body(extra), Form::Full), [fault]);
    }
}

//! The printed form of apps: key order and number forms (contract marathon §1.11), and reading it back.

mod common;

use std::collections::BTreeMap;

use common::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form, ReadError};
use zddcluster_model::{App, AppId, Timestamp};

/// The lab's definitions with what they are printed as, save for the keys every app has in the same place.
const BASE_TAIL: &str = r#""ipAddress":null,"version":"1970-01-01T00:00:00.000Z","residency":null,"secrets":{},"taskKillGracePeriodSeconds":null,"#;

#[track_caller]
fn check(definition: &str, head: &str, tail: &str) {
    let update = AppUpdate::read(definition.as_bytes(), Form::Full).unwrap();
    let id = AppId::absolute(update.id.as_deref().unwrap());
    let app = update.into_app(id, Timestamp::ZERO).unwrap();
    let text = serde_json::to_string(&app).unwrap();
    assert_eq!(text, format!("{head}{BASE_TAIL}{tail}"));
    assert_eq!(serde_json::from_str::<App>(&text).unwrap(), app);
}

const ONE_PORT: &str = r#""ports":[0],"portDefinitions":[{"port":0,"protocol":"tcp","labels":{}}],"requirePorts":false}"#;

#[test]
fn base() {
    // contract: shown-order, shown-null, trap-1, trap-4, field-backoff
    check(
        include_str!("../../../examples/default/base.json"),
        r#"{"id":"/zdd/base","cmd":null,"args":null,"user":null,"env":{"HEALTH_MAX":"5000","HEALTH_MIN":"1000","SIMPLE_SERVICE_VERSION":"0.9"},"instances":4,"cpus":0.1,"mem":32,"disk":0,"gpus":0,"executor":"","constraints":[],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"mhausenblas/simpleservice:0.4.0","network":"HOST","portMappings":null,"privileged":false,"parameters":[],"forcePullImage":false}},"healthChecks":[],"readinessChecks":[],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":null,"#,
        ONE_PORT,
    );
}

#[test]
fn base_health() {
    // contract: check-order, check-durations, check-most-failures, check-ignore-1xx
    check(
        include_str!("../../../examples/default/base-health.json"),
        r#"{"id":"/zdd/base-health","cmd":null,"args":null,"user":null,"env":{"HEALTH_MAX":"5000","HEALTH_MIN":"1000","SIMPLE_SERVICE_VERSION":"0.9"},"instances":4,"cpus":0.1,"mem":32,"disk":0,"gpus":0,"executor":"","constraints":[],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"mhausenblas/simpleservice:0.4.0","network":"HOST","portMappings":null,"privileged":false,"parameters":[],"forcePullImage":false}},"healthChecks":[{"path":"/health","protocol":"HTTP","portIndex":0,"gracePeriodSeconds":300,"intervalSeconds":60,"timeoutSeconds":20,"maxConsecutiveFailures":3,"ignoreHttp1xx":false}],"readinessChecks":[],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":null,"#,
        ONE_PORT,
    );
}

#[test]
fn base_ready() {
    // contract: readiness-order, readiness-defaults
    check(
        include_str!("../../../examples/default/base-ready.json"),
        r#"{"id":"/zdd/base-ready","cmd":null,"args":null,"user":null,"env":{"HEALTH_MAX":"5000","HEALTH_MIN":"1000","SIMPLE_SERVICE_VERSION":"0.9"},"instances":4,"cpus":0.1,"mem":32,"disk":0,"gpus":0,"executor":"","constraints":[],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"mhausenblas/simpleservice:0.4.0","network":"HOST","portMappings":null,"privileged":false,"parameters":[],"forcePullImage":false}},"healthChecks":[],"readinessChecks":[{"name":"readinessCheck","protocol":"HTTP","path":"/health","portName":"main-api","intervalSeconds":30,"timeoutSeconds":10,"httpStatusCodesForReady":[200],"preserveLastResponse":false}],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":null,"#,
        r#""ports":[0],"portDefinitions":[{"port":0,"protocol":"tcp","name":"main-api","labels":{}}],"requirePorts":false}"#,
    );
}

#[test]
fn vamp_gateway_agent() {
    check(
        include_str!("../../../examples/canary/vamp-gateway.json"),
        r#"{"id":"/vamp/vamp-gateway-agent","cmd":null,"args":["--storeType=zookeeper","--storeConnection=zk-1.zk:2181","--storeKey=/vamp/haproxy/1.6","--logstash=elasticsearch-executor.elasticsearch.mesos:10001"],"user":null,"env":{},"instances":3,"cpus":0.2,"mem":256,"disk":0,"gpus":0,"executor":"","constraints":[["hostname","UNIQUE"]],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"magneticio/vamp-gateway-agent:0.9.0","network":"HOST","portMappings":null,"privileged":true,"parameters":[],"forcePullImage":false}},"healthChecks":[],"readinessChecks":[],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":["slave_public","*"],"#,
        ONE_PORT,
    );
}

#[test]
fn the_other_definitions_of_the_lab_can_be_read() {
    for text in [
        include_str!("../../../examples/blue-green/blue.json"),
        include_str!("../../../examples/blue-green/green.json"),
        include_str!("../../../examples/canary/vamp.json"),
        include_str!("../../../examples/canary/vamp-es.json"),
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(whole_faults(value), Vec::<String>::new());
    }
}

#[test]
fn every_part_is_read_back_from_its_printed_form() {
    for extra in [
        json!({"container": {"type": "MESOS", "docker": {"image": "i", "credential": {"principal": "p"}}}}),
        json!({"container": {"type": "MESOS", "appc": {"image": "i", "id": "sha512-ab", "labels": {"a": "b"}}}}),
        json!({"container": {"docker": {"image": "i", "network": "USER", "portMappings": [{"name": "a"}],
            "parameters": [{"key": "a", "value": "b"}]}, "volumes": [
            {"containerPath": "/a", "hostPath": "/b", "mode": "RO"},
            {"containerPath": "c", "mode": "RW", "external": {"name": "n", "provider": "dvdi", "size": 1}}]}}),
        json!({"container": {"type": "MESOS", "volumes": [
            {"containerPath": "c", "mode": "RW", "persistent": {"size": 1.5}}]}}),
        json!({"ipAddress": {"groups": ["g"], "discovery": {"ports": [
            {"number": 1, "name": "a", "protocol": "tcp"}]}}}),
        json!({"uris": ["a.zip"], "fetch": null, "healthChecks": [{"protocol": "COMMAND", "command": {"value": "x"}}]}),
        json!({"fetch": [{"uri": "a", "outputFile": "b"}], "taskKillGracePeriodSeconds": 3, "user": "u"}),
        json!({"constraints": [["a", "LIKE", "b.*"]], "dependencies": ["../x"], "labels": {"a": ""}}),
    ] {
        let app = app(extra.clone());
        let text = serde_json::to_string(&app).unwrap();
        assert_eq!(serde_json::from_str::<App>(&text).unwrap(), app, "{extra}");
    }
}

/// Any JSON, with the names and words of definitions in it.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "/a",
        "DOCKER",
        "MESOS",
        "BRIDGE",
        "HOST",
        "HTTP",
        "UNIQUE",
        "tcp",
        "RW",
        "",
        "*",
        "container",
        "2016-10-12T11:38:56.845Z",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2_i64..70_000).prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| {
        let keys = prop_oneof![
            prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned),
            ".{0,3}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const KEYS: [&str; 56] = [
    "id",
    "cmd",
    "args",
    "user",
    "env",
    "secret",
    "instances",
    "cpus",
    "mem",
    "disk",
    "gpus",
    "executor",
    "constraints",
    "uris",
    "fetch",
    "uri",
    "storeUrls",
    "backoffSeconds",
    "backoffFactor",
    "container",
    "docker",
    "image",
    "network",
    "portMappings",
    "containerPort",
    "hostPort",
    "servicePort",
    "protocol",
    "name",
    "type",
    "volumes",
    "containerPath",
    "mode",
    "persistent",
    "size",
    "external",
    "appc",
    "healthChecks",
    "portIndex",
    "port",
    "command",
    "value",
    "readinessChecks",
    "portName",
    "dependencies",
    "upgradeStrategy",
    "minimumHealthCapacity",
    "labels",
    "acceptedResourceRoles",
    "ipAddress",
    "discovery",
    "ports",
    "portDefinitions",
    "residency",
    "version",
    "networks",
];

/// A definition with some keys of the right types.
fn any_definition() -> impl Strategy<Value = Value> {
    let number = 0.0..1e9_f64;
    let map = || prop::collection::btree_map("[A-Z]{1,5}", ".{0,5}", 0..4);
    (number, 0..=i32::MAX, map(), map(), prop::collection::vec(0..=u16::MAX, 0..4), any::<bool>())
        .prop_map(|(cpus, instances, env, labels, mut ports, require_ports)| {
            ports.sort_unstable();
            ports.dedup();
            // No process can be given a NUL, neither in a variable nor in a label.
            let without_nul = |map: BTreeMap<String, String>| -> serde_json::Map<String, Value> {
                map.into_iter().map(|(k, v)| (k, Value::from(v.replace('\0', "")))).collect()
            };
            let (env, labels) = (without_nul(env), without_nul(labels));
            body(json!({"cpus": cpus, "mem": cpus / 3.0, "instances": instances, "env": env, "labels": labels,
                "ports": ports, "requirePorts": require_ports,
                "upgradeStrategy": {"minimumHealthCapacity": (cpus / 1e9), "maximumOverCapacity": 0.1}}))
        })
}

/// A valid definition with one place replaced by arbitrary JSON.
fn nearly_valid() -> impl Strategy<Value = Value> {
    let rich = body(json!({
        "cmd": null, "args": ["a"], "user": "u", "env": {"A": "1"}, "instances": 2, "cpus": 0.1, "mem": 32,
        "constraints": [["hostname", "UNIQUE"]], "fetch": [{"uri": "a", "extract": true}],
        "container": {"type": "DOCKER", "volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"}],
            "docker": {"image": "i", "network": "BRIDGE", "portMappings": [{"containerPort": 80, "name": "http-api"}],
                "parameters": [{"key": "a", "value": "b"}]}},
        "healthChecks": [{"path": "/", "protocol": "HTTP", "portIndex": 0}],
        "readinessChecks": [{"name": "r"}], "dependencies": ["../b"],
        "upgradeStrategy": {"minimumHealthCapacity": 0.5}, "labels": {"a": "b"}, "acceptedResourceRoles": ["*"],
        "taskKillGracePeriodSeconds": 3, "portDefinitions": [{"port": 0}], "requirePorts": true,
    }));
    let places = pointers(&rich);
    (prop::sample::select(places), any_json()).prop_map(move |(place, value)| {
        let mut body = rich.clone();
        *body.pointer_mut(&place).unwrap() = value;
        body
    })
}

/// The JSON pointers of all values inside.
fn pointers(value: &Value) -> Vec<String> {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(idx, value)| (idx.to_string(), value))
            .collect(),
        _ => return Vec::new(),
    };
    members
        .into_iter()
        .flat_map(|(key, value)| {
            let below = pointers(value)
                .into_iter()
                .map(|below| format!("/{key}{below}"));
            std::iter::once(format!("/{key}"))
                .chain(below)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn require_ports_means_nothing_without_ports() {
    let app = app(json!({"ipAddress": {}, "requirePorts": true}));
    assert_eq!(serde_json::from_value::<App>(printed(&app)).unwrap(), app);
}

proptest! {
    #[test]
    fn nearly_valid_definitions_never_panic(value in nearly_valid()) {
        for form in [Form::Full, Form::Partial] {
            let Ok(update) = read(&value, form) else { continue };
            if let Ok(app) = update.clone().into_app(id(), Timestamp::ZERO) {
                prop_assert_eq!(&serde_json::from_value::<App>(printed(&app)).unwrap(), &app);
                if form == Form::Partial {
                    // The same again changes nothing.
                    prop_assert_eq!(&update.apply(&app).unwrap(), &app);
                }
            }
        }
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = AppUpdate::read(&bytes, Form::Full);
        let _ = AppUpdate::read_list(&bytes);
    }

    #[test]
    fn json_never_panics(value in any_json()) {
        for form in [Form::Full, Form::Partial] {
            match read(&value, form) {
                Ok(update) => {
                    let _ = update.clone().into_app(id(), Timestamp::ZERO);
                    if let Ok(app) = update.apply(&app(json!({}))) {
                        prop_assert_eq!(serde_json::from_value::<App>(printed(&app)).unwrap(), app);
                    }
                }
                Err(ReadError::Faults(faults)) => prop_assert!(!faults.is_empty()),
                Err(_) => {}
            }
        }
    }

    #[test]
    fn what_is_printed_is_read_back(definition in any_definition()) {
        let app = whole(definition);
        let text = serde_json::to_string(&app).unwrap();
        prop_assert_eq!(&serde_json::from_str::<App>(&text).unwrap(), &app);
        // And as a user would send it back.
        let mut body: Value = serde_json::from_str(&text).unwrap();
        for key in ["version", "uris"] {
            body.as_object_mut().unwrap().remove(key);
        }
        prop_assert_eq!(put(&app, body), app);
    }
}

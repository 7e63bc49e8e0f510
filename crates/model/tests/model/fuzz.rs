//! Whatever is sent as a definition: it is read or refused, and what is read is printed and read back.
//!
//! Each property is tried with some thousand bodies; `ZDD_FUZZ_CASES=1000000` tries that many.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form, ReadError};
use zddcluster_model::group::{GroupRequest, GroupUpdate, check_tree};
use zddcluster_model::{App, AppId, Group, Timestamp};

use crate::common::*;

/// Bodies tried for each property, unless told otherwise: a few seconds.
const CASES: u32 = 5_000;

fn config() -> ProptestConfig {
    let cases = std::env::var("ZDD_FUZZ_CASES").ok();
    let cases = cases.and_then(|n| n.parse().ok()).unwrap_or(CASES);
    ProptestConfig::with_cases(cases)
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

const KEYS: [&str; 59] = [
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
    "apps",
    "groups",
    "scaleBy",
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

/// A whole group with one place replaced by arbitrary JSON.
fn nearly_valid_group() -> impl Strategy<Value = Value> {
    let app = json!({"id": "a", "cmd": "x", "dependencies": ["../b", "/g/h"], "env": {"A": "1"}});
    let rich = json!({
        "id": "/g", "apps": [app, {"id": "/g/b", "cmd": "x"}], "dependencies": ["/db"],
        "groups": [{"id": "h", "apps": [{"id": "c", "cmd": "x"}], "groups": [], "dependencies": ["../i"]}, {"id": "i"}],
    });
    let places = pointers(&rich);
    (prop::sample::select(places), any_json()).prop_map(move |(place, value)| {
        let mut body = rich.clone();
        *body.pointer_mut(&place).unwrap() = value;
        body
    })
}

/// Reads a group, checks it, lays it over nothing and over `current`, and prints what came of it.
fn lay(body: &Value, current: &Group) -> Result<(), TestCaseError> {
    let Ok(update) = GroupUpdate::read(body.to_string().as_bytes()) else {
        return Ok(());
    };
    let at = update.path(&AppId::root());
    let version = Timestamp::from_millis(1);
    let Ok(GroupRequest::Content(content)) = update.check(&AppId::root(), version) else {
        return Ok(());
    };
    for current in [None, Some(current)] {
        let Ok(group) = content.clone().apply(&at, current, version) else {
            continue;
        };
        let _ = check_tree(&group);
        let printed = serde_json::to_value(&group).unwrap();
        prop_assert_eq!(serde_json::from_value::<Group>(printed).unwrap(), group);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn groups_never_panic(value in any_json(), nearly in nearly_valid_group()) {
        let mut current = Group::empty(AppId::root(), Timestamp::ZERO);
        current.put_app(Arc::new(app(json!({}))), Timestamp::ZERO);
        lay(&value, &current)?;
        lay(&nearly, &current)?;
    }

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
        let _ = GroupUpdate::read(&bytes);
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

//! The environment of a task, variable by variable.

use serde_json::{Value, json};

use super::*;
use crate::effect::Effect;
use crate::script::Script;

/// The environment with which the first task of this app is launched, and the task.
fn launched(more: Value) -> (BTreeMap<String, String>, Task) {
    let mut script = Script::new();
    let mut definition = json!({"id": "/zdd/a", "cmd": "x", "cpus": 0.1, "mem": 32});
    for (key, value) in more.as_object().unwrap() {
        definition[key] = value.clone();
    }
    script.post(definition).unwrap();
    let env = script.effects.iter().find_map(|effect| match effect {
        Effect::Launch(_, launch) => Some(launch.env.clone()),
        _ => None,
    });
    (env.unwrap(), Task::clone(&script.tasks("/zdd/a")[0]))
}

/// Checks variables, `-` standing for one that is not there and `#0` for the first host port.
#[track_caller]
fn check(more: Value, expected: &[(&str, &str)]) {
    let (env, task) = launched(more.clone());
    for (name, value) in expected {
        let value = match value.strip_prefix('#') {
            Some(idx) => task.ports[idx.parse::<usize>().unwrap()].to_string(),
            None => (*value).to_owned(),
        };
        let found = env.get(*name).map_or("-", String::as_str);
        assert_eq!(found, value, "{name} of {more}");
    }
}

fn docker(network: &str, mappings: Value) -> Value {
    json!({"cmd": null, "container": {"docker":
        {"image": "img:1", "network": network, "portMappings": mappings}}})
}

#[test]
fn context() {
    // contract: env-MESOS_TASK_ID
    let (env, task) = launched(json!({}));
    assert_eq!(env["MESOS_TASK_ID"], task.id.as_str());
    assert_eq!(env["MARATHON_APP_ID"], "/zdd/a");
    assert_eq!(env["MARATHON_APP_VERSION"], task.version.to_string());
    // contract: env-HOST, trap-4
    check(json!({}), &[("HOST", "127.0.0.11")]);
    // contract: env-MARATHON_APP_RESOURCE, trap-4
    check(
        json!({"mem": 32.5}),
        &[
            ("MARATHON_APP_RESOURCE_CPUS", "0.1"),
            ("MARATHON_APP_RESOURCE_MEM", "32.5"),
            ("MARATHON_APP_RESOURCE_DISK", "0.0"),
            ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ],
    );
    check(json!({}), &[("MARATHON_APP_RESOURCE_MEM", "32.0")]);
    // contract: env-MARATHON_APP_DOCKER_IMAGE
    check(json!({}), &[("MARATHON_APP_DOCKER_IMAGE", "-")]);
    check(
        docker("HOST", Value::Null),
        &[("MARATHON_APP_DOCKER_IMAGE", "img:1")],
    );
}

#[test]
fn label_names_are_escaped() {
    // contract: env-MARATHON_APP_LABEL
    assert_eq!(escaped("HAPROXY_0_PORT"), "HAPROXY_0_PORT");
    assert_eq!(escaped("traefik.frontend--rule"), "TRAEFIK_FRONTEND_RULE");
}

#[test]
fn labels() {
    // contract: env-MARATHON_APP_LABELS
    check(json!({}), &[("MARATHON_APP_LABELS", "")]);
    // contract: env-MARATHON_APP_LABEL, env-MARATHON_APP_LABELS
    check(
        json!({"labels": {"a.b": "1", "x": "y z"}}),
        &[
            ("MARATHON_APP_LABELS", "A_B X"),
            ("MARATHON_APP_LABEL_A_B", "1"),
            ("MARATHON_APP_LABEL_X", "y z"),
        ],
    );
    let (longest, too_long) = ("k".repeat(492), "k".repeat(493));
    let full = "v".repeat(511);
    check(
        json!({"labels": {&longest: &full, &too_long: "1", "long": "v".repeat(512)}}),
        &[
            ("MARATHON_APP_LABELS", &longest.to_uppercase()),
            (
                &format!("MARATHON_APP_LABEL_{}", longest.to_uppercase()),
                &full,
            ),
            ("MARATHON_APP_LABEL_LONG", "-"),
        ],
    );
}

#[test]
fn ports() {
    let (_, task) = launched(json!({"ports": [0, 8080]}));
    assert_eq!(task.ports.len(), 2);
    // contract: env-PORT
    let (env, task) = launched(json!({"ports": [0, 8080]}));
    let all = format!("{},{}", task.ports[0], task.ports[1]);
    assert_eq!(env["PORTS"], all);
    // contract: env-PORT, env-PORT_NUMBER, trap-29
    check(
        json!({"ports": [0, 8080]}),
        &[
            ("PORT", "#0"),
            ("PORT0", "#0"),
            ("PORT1", "#1"),
            ("PORT2", "-"),
            ("PORT_10000", "#0"),
            ("PORT_8080", "#1"),
        ],
    );
    // contract: env-PORT_NUMBER, trap-29
    check(
        docker("BRIDGE", json!([{"containerPort": 80, "servicePort": 9}])),
        &[("PORT_80", "#0"), ("PORT0", "#0"), ("PORT_9", "-")],
    );
    // contract: env-PORT_NUMBER, env-bridge-zero
    let (env, task) = launched(docker("BRIDGE", json!([{}])));
    let host_port = task.ports[0].to_string();
    assert_eq!(env[&format!("PORT_{host_port}")], host_port);
    assert!(!env.contains_key("PORT_0"));
    // contract: env-PORT_NAME
    check(
        json!({"portDefinitions": [{"name": "http-api"}, {"name": "b"}]}),
        &[("PORT_HTTP-API", "#0"), ("PORT_B", "#1")],
    );
    // contract: env-user-network
    check(
        docker(
            "USER",
            json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]),
        ),
        &[
            ("PORT0", "80"),
            ("PORT_80", "80"),
            ("PORT1", "#0"),
            ("PORT_81", "#0"),
        ],
    );
    // contract: env-user-network-zero
    let (env, task) = launched(docker("USER", json!([{}, {}, {"containerPort": 80}])));
    let ports = [&env["PORT0"], &env["PORT1"]].map(|port| port.parse::<u16>().unwrap());
    assert!(
        ports[0] >= 1025 && ports[1] >= 1025 && ports[0] != ports[1],
        "{ports:?}"
    );
    for port in ports.map(|port| port.to_string()) {
        assert_eq!(env[&format!("PORT_{port}")], port);
    }
    assert!(!env.contains_key("PORT_0"));
    assert!(task.ports.is_empty());
    // contract: env-no-ports
    let (env, _) = launched(json!({"ports": []}));
    let found: Vec<&String> = env.keys().filter(|name| name.starts_with("PORT")).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn the_apps_own_variables_win() {
    // contract: env-precedence
    let own = json!({"HOST": "h", "PORT0": "1", "PORT": "2", "MESOS_TASK_ID": "t", "MARATHON_APP_ID": "a"});
    let expected: Vec<(&str, &str)> = own
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    check(json!({"env": own}), &expected);
    check(json!({"env": own}), &[("PORTS", "#0")]);
}

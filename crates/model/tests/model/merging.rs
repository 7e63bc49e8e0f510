//! Updates laid over a current app, networks of newer definitions, and ports in step (contract marathon §1.5, §1.13, §2.3).

use serde_json::{Value, json};
use zddcluster_model::App;
use zddcluster_model::app::{AppUpdate, Form, KillSelection, VersionInfo};

use crate::common::*;

#[test]
fn present_keys_replace_whole_values() {
    // contract: put-replaces, trap-17
    let current = app(json!({"env": {"A": "1", "B": "2"}, "labels": {"l": "1"}, "instances": 4}));
    let changed = put(
        &current,
        json!({"env": {"C": "3"}, "instances": null, "labels": {}}),
    );
    assert_eq!(printed(&changed)["env"], json!({"C": "3"}));
    assert_eq!((changed.instances, changed.labels.len()), (4, 0));
    assert_eq!(changed.cmd, current.cmd);
}

#[test]
fn an_update_that_changes_nothing_gives_an_equal_app() {
    // contract: put-id, put-read-back, change-none
    let mut current = app(json!({
        "constraints": [["a", "UNIQUE"], ["b", "CLUSTER"]],
        "acceptedResourceRoles": ["a", "b"],
        "healthChecks": [{}, {"path": "/x"}],
        "ports": [10000],
    }));
    current.version_info = Some(VersionInfo {
        last_scaling_at: current.version,
        last_config_change_at: current.version,
    });
    for body in [
        json!({}),
        json!({"labels": null, "id": "/other", "unknown": 1}),
        json!({"constraints": [["b", "CLUSTER"], ["a", "UNIQUE"]]}),
        json!({"acceptedResourceRoles": ["b", "a", "a"]}),
        json!({"healthChecks": [{"path": "/x"}, {}]}),
        json!({"ports": [10000]}),
        json!({"ports": [10000], "portDefinitions": [{"port": 10000}]}),
    ] {
        assert_eq!(put(&current, body.clone()), current, "{body}");
    }
    // A GET read back: without `version`, and with one of `uris` and `fetch`.
    let mut body = printed(&current);
    let keys = body.as_object_mut().unwrap();
    keys.remove("version");
    keys.remove("uris");
    assert_eq!(put(&current, body), current);
}

#[test]
fn a_command_cannot_become_arguments() {
    // contract: command-put-switch
    let faults = put_faults(&app(json!({})), json!({"args": ["x"]}));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains("must either contain one of 'cmd' or 'args'"));
}

#[test]
fn broken_rules_of_an_update_are_reported() {
    let faults = put_faults(&app(json!({})), json!({"instances": -1, "cpus": -1}));
    assert_eq!(
        faults,
        [
            "/instances: got -1, expected 0 or more",
            "/cpus: got -1.0, expected 0.0 or more"
        ]
    );
}

#[test]
fn checks_of_an_update_ask_the_first_port() {
    // contract: check-port-index, check-port
    let changed = put(&app(json!({})), json!({"healthChecks": [{}, {"port": 1}]}));
    let indices: Vec<_> = changed
        .health_checks
        .iter()
        .map(|check| check.port_index)
        .collect();
    assert_eq!(indices, [Some(0), None]);
}

// === Ports ===

fn service_ports(app: &App) -> (Vec<u16>, Vec<u16>) {
    let definitions = app
        .port_definitions
        .iter()
        .map(|definition| definition.port);
    (app.service_ports(), definitions.collect())
}

fn docker(network: &str, mappings: Value, extra: Value) -> Value {
    let mut docker = json!({"image": "i", "network": network});
    if !mappings.is_null() {
        docker["portMappings"] = mappings;
    }
    let mut body = json!({"cmd": null, "container": {"docker": docker}});
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[test]
fn ports_in_each_form() {
    // contract: port-form-ports, port-form-definitions, port-form-none, shown-ports
    for (extra, ports) in [
        (json!({}), vec![0]),
        (json!({"ports": []}), vec![]),
        (json!({"ports": [0, 8080]}), vec![0, 8080]),
        (json!({"portDefinitions": [{}, {"port": 80}]}), vec![0, 80]),
    ] {
        assert_eq!(service_ports(&app(extra)), (ports.clone(), ports));
    }
    let json = printed(&app(json!({"ports": [80]})));
    assert_eq!(
        json["portDefinitions"],
        json!([{"port": 80, "protocol": "tcp", "labels": {}}])
    );
    assert_eq!(json["ports"], json!([80]));
}

#[test]
fn port_definitions_follow_the_mappings() {
    // contract: port-form-mappings, shown-ports
    let mappings = json!([{"servicePort": 10001}, {"containerPort": 80, "servicePort": 10002}]);
    let check = |extra: Value, definitions: Vec<u16>| {
        let app = app(docker("BRIDGE", mappings.clone(), extra));
        assert_eq!(service_ports(&app), (vec![10001, 10002], definitions));
    };
    check(json!({}), vec![10001, 10002]);
    check(json!({"ports": [1, 2, 3]}), vec![10001, 10002]);
    check(json!({"ports": []}), vec![]);
    let mut app = app(docker("BRIDGE", mappings, json!({})));
    app.set_service_ports(&[10005, 10006]);
    assert_eq!(
        service_ports(&app),
        (vec![10005, 10006], vec![10005, 10006])
    );
}

#[test]
fn mappings_exist_with_bridge_and_user_only() {
    // contract: port-form-mappings, port-host-port-default
    let host_port = |network: &str| {
        let app = app(docker(network, json!([{"containerPort": 80}]), json!({})));
        printed(&app)["container"]["docker"]["portMappings"][0]
            .get("hostPort")
            .cloned()
    };
    assert_eq!(host_port("BRIDGE"), Some(json!(0)));
    assert_eq!(host_port("USER"), None);
    for network in ["HOST", "NONE"] {
        let json = printed(&app(docker(network, json!([]), json!({}))));
        assert_eq!(json["container"]["docker"]["portMappings"], Value::Null);
    }
}

// === Networks of newer definitions ===

#[test]
fn networks_become_docker_networks() {
    // contract: newer-absent, newer-host, newer-bridge, newer-container, z-6
    let newer = |networks: Value, mappings: Value| {
        let mut container = json!({"type": "DOCKER", "docker": {"image": "i"}});
        if !mappings.is_null() {
            container["portMappings"] = mappings;
        }
        printed(&whole(
            json!({"id": "/a", "container": container, "networks": networks}),
        ))
    };
    let docker = |json: &Value| json["container"]["docker"].clone();
    let mappings = json!([{"containerPort": 80}]);
    for networks in [json!([]), json!([{"mode": "host"}])] {
        let json = newer(networks, mappings.clone());
        assert_eq!(docker(&json)["network"], "HOST");
        assert_eq!(docker(&json)["portMappings"], Value::Null);
    }
    let json = newer(json!([{"mode": "container/bridge"}]), mappings.clone());
    assert_eq!(docker(&json)["network"], "BRIDGE");
    let wanted = json!([{"containerPort": 80, "hostPort": 0, "servicePort": 0, "protocol": "tcp", "labels": {}}]);
    assert_eq!(docker(&json)["portMappings"], wanted);
    let json = newer(json!([{"mode": "container/bridge"}]), Value::Null);
    assert_eq!(docker(&json)["portMappings"][0]["name"], "default");
    assert_eq!(docker(&json)["portMappings"][0]["hostPort"], 0);
    let json = newer(
        json!([{"mode": "container", "name": "n", "labels": {"l": "1"}}]),
        mappings.clone(),
    );
    assert_eq!(docker(&json)["network"], "USER");
    assert!(docker(&json)["portMappings"][0].get("hostPort").is_none());
    assert_eq!(json["ipAddress"]["networkName"], "n");
    assert_eq!(json["ipAddress"]["labels"], json!({"l": "1"}));
    assert!(json.get("ports").is_none());
    // Without networks the mappings count only where the network has any.
    let json = newer(Value::Null, mappings);
    assert_eq!(docker(&json)["portMappings"], Value::Null);
}

#[test]
fn the_two_network_apis_do_not_mix() {
    // contract: newer-mixed
    let mixed = "/: cannot mix deprecated and canonical network APIs";
    let bridge = json!([{"mode": "container/bridge"}]);
    let body = docker("HOST", Value::Null, json!({"networks": bridge}));
    assert_eq!(rule_faults(body), [mixed]);
    let body = json!({"ipAddress": {}, "networks": [{"mode": "container", "name": "n"}]});
    assert_eq!(rule_faults(body), [mixed]);
    let body = docker("BRIDGE", Value::Null, json!({"networks": bridge}));
    assert_eq!(rule_faults(body), Vec::<String>::new());
    let mut body = docker("BRIDGE", json!([{}]), json!({}));
    body["container"]["portMappings"] = json!([{}]);
    let both = "/container/portMappings: cannot specify both portMappings and docker.portMappings";
    assert_eq!(rule_faults(body), [both]);
    let body = json!({"networks": [{"mode": "host"}, {"mode": "host"}]});
    assert_eq!(
        rule_faults(body),
        ["/networks: only one network is supported"]
    );
}

#[test]
fn an_update_can_change_the_network() {
    let current = whole(json!({"id": "/a", "container": {"docker": {"image": "i"}},
        "networks": [{"mode": "container", "name": "n"}]}));
    assert!(current.ip_address.is_some());
    let bridged = put(
        &current,
        json!({"networks": [{"mode": "container/bridge"}]}),
    );
    assert_eq!(bridged.ip_address, None);
    assert_eq!(service_ports(&bridged), (vec![0], vec![0]));
    let host = put(&bridged, json!({"networks": [{"mode": "host"}]}));
    assert_eq!(host.port_mappings(), None);
}

#[test]
fn the_rest_of_newer_definitions_is_accepted() {
    // contract: newer-ignored, field-read-only
    let body = body(json!({
        "unreachableStrategy": "disabled", "role": "x", "tty": true,
        "executorResources": {}, "resourceLimits": {}, "tasks": [], "tasksRunning": 3, "versionInfo": {},
    }));
    let update = AppUpdate::read(body.to_string().as_bytes(), Form::Full).unwrap();
    assert!(update.has_other_keys());
    assert_eq!(whole(body), app(json!({})));
}

#[test]
fn who_goes_first_is_kept_but_never_shown() {
    // contract: newer-kill-selection
    let oldest = whole(body(json!({ "killSelection": "OLDEST_FIRST" })));
    assert_eq!(oldest.kill_selection, KillSelection::OldestFirst);
    let shown = serde_json::to_value(&oldest).unwrap();
    assert_eq!(shown, serde_json::to_value(app(json!({}))).unwrap());
    let kept = put(&oldest, json!({ "instances": 2 }));
    assert_eq!(kept.kill_selection, KillSelection::OldestFirst);
}

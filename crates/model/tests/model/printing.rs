//! The printed form of apps: key order and number forms (contract marathon §1.11), and reading it back.

use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form};
use zddcluster_model::{App, AppId, Timestamp};

use crate::common::*;

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
        include_str!("../../../../examples/default/base.json"),
        r#"{"id":"/zdd/base","cmd":null,"args":null,"user":null,"env":{"HEALTH_MAX":"5000","HEALTH_MIN":"1000","SIMPLE_SERVICE_VERSION":"0.9"},"instances":4,"cpus":0.1,"mem":32,"disk":0,"gpus":0,"executor":"","constraints":[],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"mhausenblas/simpleservice:0.4.0","network":"HOST","portMappings":null,"privileged":false,"parameters":[],"forcePullImage":false}},"healthChecks":[],"readinessChecks":[],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":null,"#,
        ONE_PORT,
    );
}

#[test]
fn base_health() {
    // contract: check-order, check-durations, check-most-failures, check-ignore-1xx
    check(
        include_str!("../../../../examples/default/base-health.json"),
        r#"{"id":"/zdd/base-health","cmd":null,"args":null,"user":null,"env":{"HEALTH_MAX":"5000","HEALTH_MIN":"1000","SIMPLE_SERVICE_VERSION":"0.9"},"instances":4,"cpus":0.1,"mem":32,"disk":0,"gpus":0,"executor":"","constraints":[],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"mhausenblas/simpleservice:0.4.0","network":"HOST","portMappings":null,"privileged":false,"parameters":[],"forcePullImage":false}},"healthChecks":[{"path":"/health","protocol":"HTTP","portIndex":0,"gracePeriodSeconds":300,"intervalSeconds":60,"timeoutSeconds":20,"maxConsecutiveFailures":3,"ignoreHttp1xx":false}],"readinessChecks":[],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":null,"#,
        ONE_PORT,
    );
}

#[test]
fn base_ready() {
    // contract: readiness-order, readiness-defaults
    check(
        include_str!("../../../../examples/default/base-ready.json"),
        r#"{"id":"/zdd/base-ready","cmd":null,"args":null,"user":null,"env":{"HEALTH_MAX":"5000","HEALTH_MIN":"1000","SIMPLE_SERVICE_VERSION":"0.9"},"instances":4,"cpus":0.1,"mem":32,"disk":0,"gpus":0,"executor":"","constraints":[],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"mhausenblas/simpleservice:0.4.0","network":"HOST","portMappings":null,"privileged":false,"parameters":[],"forcePullImage":false}},"healthChecks":[],"readinessChecks":[{"name":"readinessCheck","protocol":"HTTP","path":"/health","portName":"main-api","intervalSeconds":30,"timeoutSeconds":10,"httpStatusCodesForReady":[200],"preserveLastResponse":false}],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":null,"#,
        r#""ports":[0],"portDefinitions":[{"port":0,"protocol":"tcp","name":"main-api","labels":{}}],"requirePorts":false}"#,
    );
}

#[test]
fn vamp_gateway_agent() {
    check(
        include_str!("../../../../examples/canary/vamp-gateway.json"),
        r#"{"id":"/vamp/vamp-gateway-agent","cmd":null,"args":["--storeType=zookeeper","--storeConnection=zk-1.zk:2181","--storeKey=/vamp/haproxy/1.6","--logstash=elasticsearch-executor.elasticsearch.mesos:10001"],"user":null,"env":{},"instances":3,"cpus":0.2,"mem":256,"disk":0,"gpus":0,"executor":"","constraints":[["hostname","UNIQUE"]],"uris":[],"fetch":[],"storeUrls":[],"backoffSeconds":1,"backoffFactor":1.15,"maxLaunchDelaySeconds":3600,"container":{"type":"DOCKER","volumes":[],"docker":{"image":"magneticio/vamp-gateway-agent:0.9.0","network":"HOST","portMappings":null,"privileged":true,"parameters":[],"forcePullImage":false}},"healthChecks":[],"readinessChecks":[],"dependencies":[],"upgradeStrategy":{"minimumHealthCapacity":1,"maximumOverCapacity":1},"labels":{},"acceptedResourceRoles":["slave_public","*"],"#,
        ONE_PORT,
    );
}

#[test]
fn the_other_definitions_of_the_lab_can_be_read() {
    for text in [
        include_str!("../../../../examples/blue-green/blue.json"),
        include_str!("../../../../examples/blue-green/green.json"),
        include_str!("../../../../examples/canary/vamp.json"),
        include_str!("../../../../examples/canary/vamp-es.json"),
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

#[test]
fn require_ports_means_nothing_without_ports() {
    let app = app(json!({"ipAddress": {}, "requirePorts": true}));
    assert_eq!(serde_json::from_value::<App>(printed(&app)).unwrap(), app);
}

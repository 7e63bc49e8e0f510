//! The JSON schema of an app against the examples of the lab, our own output, and the reader it describes.

use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form, ReadError, SCHEMA};
use zddcluster_model::{AppId, Timestamp};

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn faults(instance: &Value) -> Vec<String> {
    let validator = jsonschema::draft4::new(&schema()).unwrap();
    validator
        .iter_errors(instance)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn the_labs_apps_are_valid_as_sent_and_as_printed() {
    // contract: schema
    for text in [
        include_str!("../../../../examples/default/base.json"),
        include_str!("../../../../examples/default/base-health.json"),
        include_str!("../../../../examples/default/base-ready.json"),
        include_str!("../../../../examples/blue-green/blue.json"),
        include_str!("../../../../examples/blue-green/green.json"),
        include_str!("../../../../examples/canary/vamp.json"),
        include_str!("../../../../examples/canary/vamp-es.json"),
        include_str!("../../../../examples/canary/vamp-gateway.json"),
    ] {
        let sent: Value = serde_json::from_str(text).unwrap();
        assert_eq!(faults(&sent), Vec::<String>::new(), "{}", sent["id"]);
        let update = AppUpdate::read(text.as_bytes(), Form::Full).unwrap();
        let id = AppId::absolute(update.id.as_deref().unwrap());
        let app = update.into_app(id, Timestamp::ZERO).unwrap();
        let printed = serde_json::to_value(&app).unwrap();
        assert_eq!(faults(&printed), Vec::<String>::new(), "{}", sent["id"]);
    }
}

#[test]
fn what_the_server_refuses_the_schema_refuses() {
    // contract: schema
    for bad in [
        json!({"cmd": "true"}),
        json!({"id": "/uppER"}),
        json!({"id": "/a", "instances": 0.1}),
        json!({"id": "/a", "instances": -1}),
        json!({"id": "/a", "cmd": ""}),
        json!({"id": "/a", "env": {"A": 1}}),
        json!({"id": "/a", "constraints": [["hostname"]]}),
        json!({"id": "/a", "constraints": [["hostname", "LIKES"]]}),
        json!({"id": "/a", "container": {"type": "VM"}}),
        json!({"id": "/a", "container": {"docker": {}}}),
        json!({"id": "/a", "container": {"docker": {"image": "x", "network": "MOON"}}}),
        json!({"id": "/a", "healthChecks": [{"protocol": "SMTP"}]}),
        json!({"id": "/a", "readinessChecks": [{"protocol": "TCP"}]}),
        json!({"id": "/a", "upgradeStrategy": {"minimumHealthCapacity": 1.2}}),
        json!({"id": "/a", "acceptedResourceRoles": []}),
        json!({"id": "/a", "ports": [70000]}),
        json!({"id": "/a", "portDefinitions": [{"protocol": "icmp"}]}),
    ] {
        assert!(!faults(&bad).is_empty(), "{bad}");
        let read = AppUpdate::read(bad.to_string().as_bytes(), Form::Full);
        let is_refused = match read {
            Ok(update) => {
                let id = AppId::absolute(update.id.as_deref().unwrap());
                update.into_app(id, Timestamp::ZERO).is_err()
            }
            Err(_) => true,
        };
        assert!(is_refused, "{bad}");
    }
}

/// Each property is one that the reader knows: of the wrong type, it is complained about.
#[test]
fn schema_and_reader_know_the_same_keys() {
    let schema = schema();
    let properties = schema["properties"].as_object().unwrap();
    for (key, property) in properties {
        if key == "versionInfo" {
            continue;
        }
        let wrong = if property["type"] == "boolean" {
            json!("no")
        } else {
            json!(true)
        };
        let body = json!({ key: wrong });
        match AppUpdate::read(body.to_string().as_bytes(), Form::Partial) {
            Err(ReadError::Faults(faults)) => {
                let path = format!("/{key}");
                assert!(
                    faults.iter().any(|fault| fault.path == path),
                    "{key}: {faults:?}"
                );
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    let app = AppUpdate::read(br#"{"id": "/a", "cmd": "true"}"#, Form::Full)
        .unwrap()
        .into_app(AppId::absolute("/a"), Timestamp::ZERO)
        .unwrap();
    let printed = serde_json::to_value(&app).unwrap();
    for key in printed.as_object().unwrap().keys() {
        assert!(properties.contains_key(key), "{key}");
    }
}

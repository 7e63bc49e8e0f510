//! The recorded session of the lab, read by our types and printed again: the same text, event by event.

use std::sync::Arc;

use serde_json::{Value, json};
use zddcluster_model::app::HealthCheck;
use zddcluster_model::deployment::{Plan, Step};
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::task::IpAddress;
use zddcluster_model::{App, AppId, DeploymentId, TaskId, Timestamp};

const RECORDING: &str = include_str!("../data/event-bus-log-base-min-over.txt");

/// The events of the recording: name and JSON text.
fn recorded() -> Vec<(&'static str, &'static str)> {
    let mut name = "";
    let mut events = Vec::new();
    for line in RECORDING.lines() {
        if let Some(text) = line.strip_prefix("event: ") {
            name = text;
        } else if let Some(text) = line.strip_prefix("data: ") {
            events.push((name, text));
        }
    }
    events
}

/// Our form of a recorded event.
fn read(name: &str, value: &Value) -> Event {
    fn field<T: serde::de::DeserializeOwned>(value: &Value, key: &str) -> T {
        serde_json::from_value(value[key].clone()).unwrap_or_else(|error| panic!("{key}: {error}"))
    }
    let app_id = || -> AppId { field(value, "appId") };
    let task_id = || -> TaskId { field(value, "taskId") };
    let version = || -> Timestamp { field(value, "version") };
    let plan = || -> Arc<Plan> { field(value, "plan") };
    let current_step = || -> Step { field(value, "currentStep") };
    let kind = match name {
        "api_post_event" => EventKind::ApiPost {
            client_ip: field(value, "clientIp"),
            uri: field(value, "uri"),
            app: field::<Arc<App>>(value, "appDefinition"),
        },
        "status_update_event" => EventKind::StatusUpdate {
            slave_id: field(value, "slaveId"),
            task_id: task_id(),
            task_status: field(value, "taskStatus"),
            message: field(value, "message"),
            app_id: app_id(),
            host: field(value, "host"),
            ip_addresses: field::<Option<Vec<IpAddress>>>(value, "ipAddresses"),
            ports: field(value, "ports"),
            version: version(),
        },
        "add_health_check_event" => EventKind::AddHealthCheck {
            app_id: app_id(),
            version: version(),
            health_check: field::<HealthCheck>(value, "healthCheck"),
        },
        "health_status_changed_event" => EventKind::HealthStatusChanged {
            app_id: app_id(),
            task_id: task_id(),
            version: version(),
            alive: field(value, "alive"),
        },
        "group_change_success" => EventKind::GroupChangeSuccess {
            group_id: field(value, "groupId"),
            version: version(),
        },
        "deployment_info" => EventKind::DeploymentInfo {
            plan: plan(),
            current_step: current_step(),
        },
        "deployment_step_success" => EventKind::DeploymentStepSuccess {
            plan: plan(),
            current_step: current_step(),
        },
        "deployment_success" => EventKind::DeploymentSuccess {
            id: field::<DeploymentId>(value, "id"),
            plan: plan(),
        },
        other => panic!("an event the recording should not have: {other}"),
    };
    Event {
        timestamp: field(value, "timestamp"),
        kind,
    }
}

/// Maps have no order in Marathon; ours are printed sorted.
fn with_sorted_env(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(env)) = map.get_mut("env") {
                env.sort_keys();
            }
            map.values_mut().for_each(with_sorted_env);
        }
        Value::Array(items) => items.iter_mut().for_each(with_sorted_env),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_recorded_event_is_printed_as_it_was() {
    // contract: event-api_post_event, event-status_update_event, event-add_health_check_event
    // contract: event-health_status_changed_event, event-group_change_success
    // contract: event-deployment_info, event-deployment_step_success, event-deployment_success
    // contract: plan-json-event
    let events = recorded();
    assert_eq!(events.len(), 26);
    for (name, text) in events {
        let mut value: Value = serde_json::from_str(text).unwrap();
        with_sorted_env(&mut value);
        let event = read(name, &value);
        assert_eq!(event.name(), name);
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            value.to_string(),
            "{name}"
        );
    }
}

#[test]
fn events_the_recording_lacks() {
    // contract: event-remove_health_check_event, event-app_terminated_event
    // contract: event-unhealthy_task_kill_event, event-group_change_failed
    // contract: event-event_stream_attached, event-event_stream_detached, event-subscribe_event
    // contract: event-scheduler_registered_event, event-scheduler_disconnected_event
    let app_id = AppId::absolute("/a");
    let task_id = TaskId::new("a.1");
    let version = Timestamp::ZERO;
    let check = |kind: EventKind, keys: Value, timestamp: &str| {
        let event = Event {
            timestamp: Timestamp::from_millis(5),
            kind,
        };
        let mut wanted = keys;
        wanted["eventType"] = event.name().into();
        wanted["timestamp"] = timestamp.into();
        assert_eq!(serde_json::to_string(&event).unwrap(), wanted.to_string());
    };
    let now = "1970-01-01T00:00:00.005Z";
    check(
        EventKind::RemoveHealthCheck {
            app_id: app_id.clone(),
        },
        json!({"appId": "/a"}),
        now,
    );
    check(
        EventKind::AppTerminated {
            app_id: app_id.clone(),
        },
        json!({"appId": "/a"}),
        now,
    );
    check(
        EventKind::UnhealthyTaskKill {
            app_id,
            task_id,
            version,
            reason: "500".to_owned(),
            host: "h".to_owned(),
            slave_id: zddcluster_model::AgentId::new("S1"),
            last_failure: Timestamp::from_millis(1),
        },
        json!({
            "appId": "/a",
            "taskId": "a.1",
            "version": "1970-01-01T00:00:00.000Z",
            "reason": "500",
            "host": "h",
            "slaveId": "S1",
        }),
        "1970-01-01T00:00:00.001Z",
    );
    check(
        EventKind::GroupChangeFailed {
            group_id: AppId::root(),
            version,
            reason: "r".to_owned(),
        },
        json!({"groupId": "/", "version": "1970-01-01T00:00:00.000Z", "reason": "r"}),
        now,
    );
    let remote_address = || "127.0.0.1".to_owned();
    let attached = EventKind::EventStreamAttached {
        remote_address: remote_address(),
    };
    check(attached, json!({"remoteAddress": "127.0.0.1"}), now);
    let detached = EventKind::EventStreamDetached {
        remote_address: remote_address(),
    };
    check(detached, json!({"remoteAddress": "127.0.0.1"}), now);
    let (client_ip, callback_url) = (remote_address(), "http://127.0.0.1:9/".to_owned());
    let keys = json!({"clientIp": "127.0.0.1", "callbackUrl": "http://127.0.0.1:9/"});
    let subscribe = EventKind::Subscribe {
        client_ip: client_ip.clone(),
        callback_url: callback_url.clone(),
    };
    check(subscribe, keys.clone(), now);
    let unsubscribe = EventKind::Unsubscribe {
        client_ip,
        callback_url,
    };
    check(unsubscribe, keys, now);
    let (framework_id, master) = ("x-0000".to_owned(), "127.0.0.1".to_owned());
    let registered = EventKind::SchedulerRegistered {
        framework_id,
        master: master.clone(),
    };
    check(
        registered,
        json!({"frameworkId": "x-0000", "master": "127.0.0.1"}),
        now,
    );
    let reregistered = EventKind::SchedulerReregistered { master };
    check(reregistered, json!({"master": "127.0.0.1"}), now);
    check(EventKind::SchedulerDisconnected, json!({}), now);
}

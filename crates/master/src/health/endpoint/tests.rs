//! Where a check asks, form by form of an app's ports (contract marathon §1.8, §6.2).

use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form};
use zddcluster_model::{AppId, Timestamp};

use super::*;

/// An app with `more`, and a task of it with these host ports.
fn world(more: Value, ports: &[u16]) -> (App, Task) {
    let mut body = json!({"id": "/a"});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    let update = AppUpdate::read(body.to_string().as_bytes(), Form::Full).unwrap();
    let app = update
        .into_app(AppId::absolute("/a"), Timestamp::ZERO)
        .unwrap();
    let task = json!({
        "id": "a.1", "app_id": "/a", "version": app.version, "agent_id": "S0", "host": "host", "ports": ports,
        "cpus": 0, "mem": 0, "disk": 0, "state": "TASK_RUNNING", "staged_at": app.version, "started_at": null,
        "ended_at": null, "message": "", "ip_addresses": [{"ipAddress": "own", "protocol": "IPv4"}],
        "container_id": "c", "killing": null,
    });
    (app, serde_json::from_value(task).unwrap())
}

/// `host:port` that the check of this index asks.
fn asked(more: Value, ports: &[u16], port_index: Option<u32>, port: Option<u16>) -> Option<String> {
    let (app, task) = world(more, ports);
    let (host, port) = outside(&app, &task, port_index, port)?;
    Some(format!("{host}:{port}"))
}

#[test]
fn where_a_check_asks() {
    // contract: check-where, check-port, check-port-index, health-no-port
    let plain = || json!({"cmd": "x", "ports": [0, 0]});
    let docker = |network: &str| {
        let mappings = json!([{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]);
        json!({"container": {"docker": {"image": "i", "network": network, "portMappings": mappings}}})
    };
    let with_address = |mut app: Value| {
        app["ipAddress"] = json!({"networkName": "n"});
        app
    };
    let discovery = || {
        let ports = json!([{"number": 8080, "name": "a", "protocol": "tcp"}]);
        json!({"cmd": "x", "ipAddress": {"discovery": {"ports": ports}}})
    };
    for (app, ports, port_index, port, expected) in [
        (plain(), &[31, 32][..], Some(1), None, Some("host:32")),
        (plain(), &[31, 32], None, None, Some("host:31")),
        (plain(), &[31, 32], Some(1), Some(99), Some("host:99")),
        (docker("BRIDGE"), &[31, 32], Some(1), None, Some("host:32")),
        // The first takes no host port: the only one is the second's.
        (docker("USER"), &[31], Some(0), None, Some("own:80")),
        (docker("USER"), &[31], Some(1), None, Some("host:31")),
        (
            with_address(docker("USER")),
            &[31],
            Some(0),
            None,
            Some("own:80"),
        ),
        (
            with_address(docker("USER")),
            &[31],
            Some(1),
            None,
            Some("host:31"),
        ),
        (discovery(), &[], Some(0), None, Some("own:8080")),
        (discovery(), &[], None, Some(99), Some("own:99")),
        (discovery(), &[], Some(1), None, None),
        (plain(), &[31], Some(1), None, None),
    ] {
        let found = asked(app.clone(), ports, port_index, port);
        assert_eq!(
            found.as_deref(),
            expected,
            "{port_index:?} {port:?} of {app}"
        );
    }
}

#[test]
fn where_an_agent_asks() {
    // contract: check-port, check-port-index, health-no-port, z-7
    let plain = || json!({"cmd": "x", "ports": [0, 0]});
    let docker = |network: &str| {
        let mappings = json!([
            {"containerPort": 80}, {"containerPort": 81, "hostPort": 0}, {"containerPort": 0, "hostPort": 0}]);
        json!({"container": {"docker": {"image": "i", "network": network, "portMappings": mappings}}})
    };
    let discovery = || {
        let ports = json!([{"number": 8080, "name": "a", "protocol": "tcp"}]);
        json!({"cmd": "x", "ipAddress": {"discovery": {"ports": ports}}})
    };
    for (app, ports, port_index, port, expected) in [
        (plain(), &[31, 32][..], Some(1), None, Some((32, 32))),
        (plain(), &[31, 32], None, None, Some((31, 31))),
        (plain(), &[31, 32], Some(1), Some(99), Some((99, 99))),
        (plain(), &[31], Some(1), None, None),
        (docker("BRIDGE"), &[31, 32, 33], None, None, Some((80, 31))),
        (
            docker("BRIDGE"),
            &[31, 32, 33],
            Some(1),
            None,
            Some((81, 32)),
        ),
        // As the task sees it: the host port's number inside, too.
        (
            docker("BRIDGE"),
            &[31, 32, 33],
            Some(2),
            None,
            Some((33, 33)),
        ),
        (docker("BRIDGE"), &[31, 32, 33], Some(3), None, None),
        // A number names a port of the container, and through its mapping that of a process in the container's place.
        (
            docker("BRIDGE"),
            &[31, 32, 33],
            Some(0),
            Some(81),
            Some((81, 32)),
        ),
        (
            docker("BRIDGE"),
            &[31, 32, 33],
            Some(0),
            Some(99),
            Some((99, 99)),
        ),
        (docker("USER"), &[32, 33], None, None, Some((80, 80))),
        (docker("USER"), &[32, 33], Some(1), None, Some((81, 32))),
        (discovery(), &[], Some(0), None, Some((8080, 8080))),
        (discovery(), &[], None, Some(99), Some((99, 99))),
        (discovery(), &[], Some(1), None, None),
    ] {
        let (world, task) = world(app.clone(), ports);
        let found = inside(&world, &task, port_index, port);
        assert_eq!(
            found.map(|port| (port.own, port.shared)),
            expected,
            "{port_index:?} {port:?} of {app}"
        );
    }
}

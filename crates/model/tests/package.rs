//! The built-in package marathon-lb: the app it renders and the options it refuses.

use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form, Network};
use zddcluster_model::package::{PackageError, find};
use zddcluster_model::{App, AppId, Timestamp};

fn render(options: Value) -> Result<App, PackageError> {
    let json = find("marathon-lb").unwrap().render(&options)?;
    let update = AppUpdate::read(json.to_string().as_bytes(), Form::Full).unwrap();
    let id = AppId::absolute(update.id.as_deref().unwrap());
    Ok(update.into_app(id, Timestamp::ZERO).unwrap())
}

#[test]
fn the_default_app() {
    let app = render(Value::Null).unwrap();
    assert_eq!(app, render(json!({})).unwrap());
    assert_eq!(app, render(json!({"marathon-lb": {}})).unwrap());
    assert_eq!(app.id.as_str(), "/marathon-lb");
    assert_eq!((app.instances, app.cpus, app.mem), (1, 2.0, 1024.0));
    let args = "sse -m http://master.mesos:8080 --health-check --haproxy-map --group external";
    assert_eq!(app.args.as_ref().unwrap().join(" "), args);
    assert_eq!(
        app.accepted_resource_roles,
        Some(vec!["slave_public".to_owned()])
    );
    assert!(app.require_ports);
    let ports = app.service_ports();
    assert_eq!(ports[..5], [80, 443, 9090, 9091, 10000]);
    assert_eq!((ports.len(), ports.last()), (105, Some(&10100)));
    let check = &app.health_checks[0];
    assert_eq!(check.path.as_deref(), Some("/_haproxy_health_check"));
    assert_eq!(check.port_index, Some(2));
    let json = serde_json::to_value(&app).unwrap();
    assert_eq!(json["container"]["docker"]["privileged"], true);
    assert_eq!(json["container"]["docker"]["network"], json!(Network::Host));
    assert_eq!(app.labels["DCOS_PACKAGE_NAME"], "marathon-lb");
    assert_eq!(app.labels["DCOS_PACKAGE_RELEASE"], "13");
}

#[test]
fn options_change_the_app() {
    let app = render(json!({"marathon-lb": {
        "name": "lb/internal", "haproxy-group": "internal", "bind-http-https": false,
        "haproxy-map": false, "role": "", "instances": 2,
    }}));
    let app = app.unwrap();
    assert_eq!(app.id.as_str(), "/lb/internal");
    assert_eq!(app.instances, 2);
    assert_eq!(app.accepted_resource_roles, None);
    assert_eq!(app.service_ports()[0], 9090);
    assert_eq!(app.health_checks[0].port_index, Some(0));
    assert!(
        app.args
            .unwrap()
            .ends_with(&["--group".to_owned(), "internal".to_owned()])
    );
}

#[test]
fn bad_options_are_refused() {
    for (options, text) in [
        (json!(3), "option 'options' must be an object, got 3"),
        (
            json!({"marathon-lb": {"cpus": 0.5}}),
            "option 'marathon-lb.cpus' must be 1 or more, got 0.5",
        ),
        (
            json!({"marathon-lb": {"instances": 1.5}}),
            "option 'marathon-lb.instances' must be a whole number, got 1.5",
        ),
        (
            json!({"marathon-lb": {"name": 3}}),
            "option 'marathon-lb.name' must be text, got 3",
        ),
        (
            json!({"marathon-lb": {"haproxy-map": "yes"}}),
            "option 'marathon-lb.haproxy-map' must be true or false, got \"yes\"",
        ),
        (
            json!({"vamp": {}}),
            "unknown option 'vamp'; known are: marathon-lb",
        ),
        (
            json!({"marathon-lb": {"template-url": "http://x"}}),
            "option 'marathon-lb.template-url' is not supported here: the built-in edge has no HAProxy templates",
        ),
    ] {
        assert_eq!(render(options).unwrap_err().to_string(), text);
    }
    let unknown = render(json!({"marathon-lb": {"cpu": 1}})).unwrap_err();
    assert!(
        matches!(unknown, PackageError::UnknownOption { option, .. } if option == "marathon-lb.cpu")
    );
}

#[test]
fn packages_are_found_by_name() {
    assert!(find("nope").is_none());
    let package = find("marathon-lb").unwrap();
    assert_eq!(package.default_app_id().as_str(), "/marathon-lb");
    assert!(!package.template_base64().is_empty());
}

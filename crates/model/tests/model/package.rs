//! The built-in package marathon-lb: the app it renders and the options it refuses.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Form, Network};
use zddcluster_model::package::{FaultKind, OptionFault, PackageError, all, find};
use zddcluster_model::{App, AppId, Timestamp};

fn render(options: Value) -> Result<App, PackageError> {
    let json = find("marathon-lb").unwrap().render(&options, None)?;
    let update = AppUpdate::read(json.to_string().as_bytes(), Form::Full).unwrap();
    let id = AppId::absolute(update.id.as_deref().unwrap());
    Ok(update.into_app(id, Timestamp::ZERO).unwrap())
}

#[test]
fn the_default_app() {
    // contract: lb-package-app
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
    // contract: lb-package-options
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
fn ports_for_apps_that_name_none() {
    // contract: lb-package-options, lb-own-address-ports
    let app = render(json!({"marathon-lb": {"auto-assign-service-ports": true}})).unwrap();
    let args = app.args.unwrap().join(" ");
    let range =
        "--min-serv-port-ip-per-task 10101 --max-serv-port-ip-per-task 10150 --group external";
    assert!(args.ends_with(range), "{args}");
}

/// All faults at once, in words for people and as Cosmos' clients read them.
#[test]
fn options_against_the_schema_are_refused() {
    let check = |options: Value, text: &str, read: Value| {
        let error = render(options.clone()).unwrap_err();
        assert_eq!(error.to_string(), text);
        let PackageError::Schema(faults) = error else {
            panic!("{error:?}")
        };
        let keys = ["unwanted", "missing", "found", "expected", "minimum"];
        let report = faults[0].report();
        assert_eq!(report["message"], text.split("; option").next().unwrap());
        let known = keys
            .iter()
            .filter_map(|key| Some((*key, report.get(*key)?)));
        let mut shown = json!(known.collect::<BTreeMap<_, _>>());
        shown["at"] = report["instance"]["pointer"].clone();
        assert_eq!(shown, read, "{options}");
    };
    check(
        json!(3),
        "option 'options' must be an object, got 3",
        json!({"found": "integer", "expected": ["object"], "at": ""}),
    );
    let of_edge = |key: &str, value: Value| json!({"marathon-lb": {(key): value}});
    check(
        of_edge("cpus", json!(0.5)),
        "option 'marathon-lb.cpus' must be 1 or more, got 0.5",
        json!({"found": 0.5, "minimum": 1, "expected": ["1 or more"], "at": "/marathon-lb/cpus"}),
    );
    check(
        of_edge("instances", json!(1.5)),
        "option 'marathon-lb.instances' must be a whole number, got 1.5",
        json!({"found": "number", "expected": ["integer"], "at": "/marathon-lb/instances"}),
    );
    check(
        of_edge("mem", json!("1g")),
        "option 'marathon-lb.mem' must be a number, got \"1g\"",
        json!({"found": "string", "expected": ["integer", "number"], "at": "/marathon-lb/mem"}),
    );
    check(
        of_edge("name", Value::Null),
        "option 'marathon-lb.name' must be text, got null",
        json!({"found": "null", "expected": ["string"], "at": "/marathon-lb/name"}),
    );
    check(
        of_edge("haproxy-map", json!(["yes"])),
        "option 'marathon-lb.haproxy-map' must be true or false, got [\"yes\"]",
        json!({"found": "array", "expected": ["boolean"], "at": "/marathon-lb/haproxy-map"}),
    );
    check(
        json!({"vamp": {}, "x": 1}),
        "unknown options 'vamp, x'; known are: marathon-lb",
        json!({"unwanted": ["vamp", "x"], "at": ""}),
    );
    check(
        json!({"marathon-lb": {"cpus": true, "mem": 1}}),
        "option 'marathon-lb.cpus' must be a number, got true; option 'marathon-lb.mem' must be 256 or more, got 1",
        json!({"found": "boolean", "expected": ["integer", "number"], "at": "/marathon-lb/cpus"}),
    );
    let Err(PackageError::Schema(faults)) = render(of_edge("cpu", json!(1))) else {
        panic!("an unknown option is taken")
    };
    let [OptionFault { path, kind }] = faults.as_slice() else {
        panic!("{faults:?}")
    };
    assert_eq!(path, &["marathon-lb"]);
    assert!(
        matches!(kind, FaultKind::Unwanted { unwanted, known } if unwanted == &["cpu"] && known.contains(&"cpus".to_owned()))
    );
}

/// What the edge cannot do is refused, not forgotten; what is empty asks for nothing.
#[test]
fn options_that_nobody_would_honour_are_refused() {
    for (key, value, nothing) in [
        ("secret_name", json!("s"), json!("")),
        ("template-url", json!("http://x"), json!("")),
    ] {
        let error = render(json!({"marathon-lb": {(key): value}})).unwrap_err();
        let start = format!("option 'marathon-lb.{key}' is not supported here: ");
        assert!(error.to_string().starts_with(&start), "{error}");
        render(json!({"marathon-lb": {(key): nothing}})).unwrap();
    }
}

#[test]
fn packages_are_found_by_name() {
    assert!(find("nope").is_none());
    let package = find("marathon-lb").unwrap();
    let as_told = package.render(&Value::Null, Some(&AppId::absolute("edge/2")));
    assert_eq!(as_told.unwrap()["id"], "/edge/2");
    assert!(!package.template_base64().is_empty());
}

/// What somebody wrote into a label reaches clients only in a shape that they can read.
#[test]
fn an_installation_is_read_off_its_labels() {
    use data_encoding::BASE64;
    use zddcluster_model::package::{METADATA_LABEL, NAME_LABEL, VERSION_LABEL, installed};

    let app = render(Value::Null).unwrap();
    let definition = find("marathon-lb").unwrap().definition();
    assert_eq!(json!(installed(&app.labels).unwrap()), definition);
    assert_eq!(installed(&BTreeMap::new()), None);

    let read = |name: &str, version: Option<&str>, metadata: &[u8]| {
        let mut labels = BTreeMap::from([
            (NAME_LABEL.to_owned(), name.to_owned()),
            (METADATA_LABEL.to_owned(), BASE64.encode(metadata)),
        ]);
        labels.extend(version.map(|version| (VERSION_LABEL.to_owned(), version.to_owned())));
        json!(installed(&labels).unwrap())
    };
    let bare = |version: &str| json!({"name": "x", "version": version, "description": ""});
    for metadata in [
        "",
        "[]",
        "{",
        r#"{"description": 3, "command": {"name": "sh"}}"#,
    ] {
        assert_eq!(
            read("x", Some("1"), metadata.as_bytes()),
            bare("1"),
            "{metadata}"
        );
    }
    assert_eq!(
        read("x", None, br#"{"name": "y", "version": "7"}"#),
        bare("7")
    );
    assert_eq!(read("x", Some("8"), br#"{"version": "7"}"#), bare("8"));
    assert_eq!(read("x", None, br#"{"version": 7}"#), bare(""));
    let labels = [(NAME_LABEL, "x"), (METADATA_LABEL, "not base64")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(json!(installed(&labels.into()).unwrap()), bare(""));
}

/// The defaults are values that the schema allows, and each option is there for a reason.
#[test]
fn schemas_are_whole() {
    for package in all() {
        let config = package.config();
        jsonschema::meta::validate(&config).unwrap();
        let options = config["properties"][package.name]["properties"].as_object();
        for (name, option) in options.unwrap() {
            assert!(option["description"].is_string(), "{name}");
            let is_used = package
                .template
                .contains(&format!("{}.{name}}}}}", package.name));
            let defaults = match option.get("default") {
                Some(default) => json!({(package.name): {(name): default}}),
                None => json!({(package.name): {}}),
            };
            if is_used {
                package.render(&defaults, None).unwrap();
            } else {
                let set = match option["type"].as_str() {
                    Some("boolean") => json!(true),
                    _ => json!("x"),
                };
                let set = json!({(package.name): {(name): set}});
                let error = package.render(&set, None).unwrap_err();
                assert!(matches!(error, PackageError::NotSupported { .. }), "{name}");
            }
        }
    }
}

fn any_option() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..400).prop_map(Value::from),
        (-1.0..400.0).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!([])),
    ]
}

proptest! {
    /// Whatever is given is refused as any other checker of schemas does, or becomes an app that can be read.
    #[test]
    fn any_options_make_an_app_or_a_refusal(
        options in proptest::collection::btree_map(
            proptest::sample::select(vec![
                "cpus", "mem", "instances", "haproxy-group", "haproxy-map", "bind-http-https", "name", "role",
                "marathon-uri", "sysctl-params", "minimumHealthCapacity", "maximumOverCapacity", "other",
            ]),
            any_option(),
            0..4,
        )
    ) {
        let options = json!({"marathon-lb": options});
        let package = find("marathon-lb").unwrap();
        let mut schema = package.config();
        // Defaults stand in for what is required.
        let of_package = schema["properties"]["marathon-lb"].as_object_mut();
        of_package.unwrap().remove("required");
        // Draft 4, which the original uses, does not take 1.0 for an integer.
        let checker = jsonschema::draft4::new(&schema).unwrap();
        match package.render(&options, None) {
            Ok(app) => {
                prop_assert!(checker.is_valid(&options), "{options}");
                let name = options["marathon-lb"]["name"].as_str();
                let is_named = name.is_none_or(|name| !name.trim_matches('/').is_empty());
                let update = AppUpdate::read(app.to_string().as_bytes(), Form::Full);
                // No app is the root of all groups; the service that installs it says so.
                prop_assert_eq!(update.is_ok(), is_named);
                prop_assert!(update.is_ok_and(|update| update.id.is_some()) || !is_named);
                for (key, given) in options["marathon-lb"].as_object().unwrap() {
                    let kept = match key.as_str() {
                        "haproxy-group" => app["args"].as_array().unwrap().last().unwrap(),
                        "marathon-uri" => &app["args"][2],
                        "sysctl-params" => &app["env"]["HAPROXY_SYSCTL_PARAMS"],
                        _ => continue,
                    };
                    prop_assert_eq!(kept, given);
                }
            }
            Err(PackageError::Schema(faults)) => {
                prop_assert!(!checker.is_valid(&options), "{options}: {faults:?}");
            }
            Err(error) => prop_assert!(false, "{options}: {error}"),
        }
    }
}

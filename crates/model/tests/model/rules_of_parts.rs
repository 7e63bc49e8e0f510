//! The rules (422) of ports, volumes and checks, row by row of contract marathon §1.5 to §1.9.

use serde_json::{Value, json};

use crate::common::*;

#[test]
fn ports() {
    // contract: port-repeated, port-both-forms, port-names, port-protocol, port-negative
    let definitions = |definitions: Value| json!({"portDefinitions": definitions});
    check_broken(&[
        (
            definitions(json!([{"port": 80}, {"port": 80}])),
            "/portDefinitions: Ports must be unique.",
        ),
        (
            definitions(json!([{"name": "a"}, {"name": "a"}])),
            "/portDefinitions: Port names must be unique.",
        ),
        (
            definitions(json!([{"name": "A"}])),
            "/portDefinitions(0)/name: must fully match regular expression '^[a-z0-9-]+$'",
        ),
        (
            definitions(json!([{"protocol": "icmp"}])),
            "/portDefinitions(0)/protocol: is not one of (tcp,udp)",
        ),
        (
            definitions(json!([{"port": -1}])),
            "/portDefinitions(0)/port: got -1, expected 0 or more",
        ),
        (
            json!({"ports": [70000]}),
            "/ports(0): got 70000, expected between 0 and 65535",
        ),
    ]);
    check_good(&[
        json!({"ports": [0, 0, 8080]}),
        json!({"ports": []}),
        json!({"ports": [80], "portDefinitions": [{"port": 80, "name": "http", "protocol": "udp,tcp"}]}),
    ]);
    let mapping = |protocol: &str, name: &str| {
        json!({"cmd": null, "container": {"docker": {"image": "i", "network": "BRIDGE",
            "portMappings": [{"protocol": protocol, "name": name}, {"name": "b"}]}}})
    };
    check_broken(&[
        (
            mapping("x", "a"),
            "/container/portMappings(0)/protocol: is not one of (tcp,udp)",
        ),
        (
            mapping("tcp,tcp", "a"),
            "/container/portMappings(0)/protocol: protocols must be unique.",
        ),
        (
            mapping("tcp", "b"),
            "/container/portMappings: Port names must be unique.",
        ),
    ]);
    check_good(&[mapping("tcp,udp", "a")]);
}

#[test]
fn addresses() {
    // contract: field-ipAddress, port-form-ip-address
    let discovery = json!({"ports": [{"number": 80, "name": "http", "protocol": "tcp"}]});
    let body = |network: &str| {
        json!({"cmd": null, "ipAddress": {"discovery": discovery},
            "container": {"docker": {"image": "i", "network": network}}})
    };
    let text = "/ipAddress: ipAddress/discovery is not allowed for Docker containers using BRIDGE or USER networks";
    check_broken(&[(body("BRIDGE"), text), (body("USER"), text)]);
    check_good(&[body("HOST"), json!({"ipAddress": {}})]);
    let printed = printed(&app(json!({"ipAddress": {"networkName": "n"}})));
    assert_eq!(printed["ipAddress"]["networkName"], "n");
    for key in ["ports", "portDefinitions", "requirePorts"] {
        assert!(printed.get(key).is_none(), "{key}");
    }
}

#[test]
fn volumes_and_residency() {
    // contract: volume-host, volume-persistent, container-no-image, field-residency
    // contract: field-upgradeStrategy, field-acceptedResourceRoles, other-resident-update
    let volume = |volume: Value| json!({"container": {"type": "MESOS", "volumes": [volume]}});
    let persistent = |path: &str, mode: &str, size: f64| {
        volume(json!({"containerPath": path, "mode": mode, "persistent": {"size": size}}))
    };
    check_broken(&[
        (
            volume(json!({"containerPath": "", "hostPath": "b", "mode": "RO"})),
            "/container/volumes(0)/containerPath: must not be empty",
        ),
        (
            volume(json!({"containerPath": "a", "hostPath": "", "mode": "RO"})),
            "/container/volumes(0)/hostPath: must not be empty",
        ),
        (
            persistent("a/b", "RW", 1.0),
            "/container/volumes(0)/containerPath: value must not contain \"/\"",
        ),
        (
            persistent("a", "RO", 1.0),
            "/container/volumes(0)/mode: got RO, expected RW",
        ),
        (
            persistent("a", "RW", 0.0),
            "/container/volumes(0)/persistent/size: got 0, expected more than 0",
        ),
        (
            volume(
                json!({"containerPath": "a", "mode": "RW", "external": {"name": "n", "provider": "x"}}),
            ),
            "/container/volumes(0)/external/provider: is not one of (dvdi)",
        ),
        (
            json!({"residency": {}}),
            "/: AppDefinition must contain persistent volumes and define residency",
        ),
        (
            json!({"cmd": null, "container": {"docker": {"image": ""}}}),
            "/container/image: must not be empty",
        ),
    ]);
    let resident = app(persistent("a", "RW", 1.0));
    assert!(resident.is_resident());
    let capacities = (
        resident.upgrade_strategy.minimum_health_capacity,
        resident.upgrade_strategy.maximum_over_capacity,
    );
    assert_eq!(capacities, (0.5, 0.0));
    let json = printed(&resident);
    assert_eq!(
        json["residency"],
        json!({"relaunchEscalationTimeoutSeconds": 3600, "taskLostBehavior": "WAIT_FOREVER"})
    );
    assert_eq!(
        put_faults(&resident, json!({"acceptedResourceRoles": ["x"]})),
        ["/acceptedResourceRoles: A resident app must have `acceptedResourceRoles = [\"*\"]`."]
    );
    assert_eq!(
        put_faults(&resident, json!({"cpus": 2})),
        ["/: Resident Tasks may not change resource requirements!"]
    );
    assert_eq!(
        put_faults(&resident, persistent("b", "RW", 1.0)),
        ["/: Persistent volumes can not be changed!"]
    );
    assert_eq!(
        put_faults(
            &resident,
            json!({"upgradeStrategy": {"maximumOverCapacity": 0.5}})
        ),
        ["/upgradeStrategy/maximumOverCapacity: got 0.5, expected 0.0"]
    );
    assert_eq!(put(&resident, json!({"ports": [0]})), resident);
}

#[test]
fn health_checks() {
    // contract: check-address, check-protocol, check-port-index, check-port, check-command
    // contract: check-order, field-healthChecks, z-7, z-11
    let text = "/healthChecks(0): Health check port indices must address an element of the ports array or container port mappings.";
    let check_of = |check: Value| json!({"healthChecks": [check]});
    check_broken(&[
        (check_of(json!({"portIndex": 1})), text),
        (check_of(json!({"portIndex": -1})), text),
        (json!({"ports": [], "healthChecks": [{}]}), text),
        (
            check_of(json!({"protocol": "COMMAND"})),
            "/healthChecks(0): a COMMAND health check must have a command",
        ),
    ]);
    check_good(&[
        check_of(json!({})),
        json!({"ports": [], "healthChecks": [{"port": 80}]}),
        json!({"ports": [0, 0], "healthChecks": [{"portIndex": 1}]}),
        check_of(json!({"protocol": "COMMAND", "command": {"value": "true"}})),
        check_of(json!({"protocol": "MESOS_HTTP", "ipProtocol": "IPv4", "delaySeconds": 15})),
    ]);
    let text = |extra: Value| serde_json::to_string(&app(extra).health_checks).unwrap();
    assert_eq!(
        text(check_of(json!({}))),
        r#"[{"protocol":"HTTP","portIndex":0,"gracePeriodSeconds":300,"intervalSeconds":60,"timeoutSeconds":20,"maxConsecutiveFailures":3,"ignoreHttp1xx":false}]"#
    );
    assert_eq!(
        text(check_of(json!({"port": 80, "protocol": "TCP"}))),
        r#"[{"protocol":"TCP","gracePeriodSeconds":300,"intervalSeconds":60,"timeoutSeconds":20,"maxConsecutiveFailures":3,"ignoreHttp1xx":false,"port":80}]"#
    );
    assert_eq!(
        app(json!({"healthChecks": [{}, {}]})).health_checks.len(),
        1
    );
}

#[test]
fn readiness_checks() {
    // contract: readiness-error-two, readiness-error-port-name, readiness-error-timeout
    // contract: readiness-error-zero, readiness-error-empty, readiness-defaults
    // contract: field-readinessChecks, z-12
    let with = |key: &str, value: Value| {
        let mut check = json!({"portName": "main-api"});
        check[key] = value;
        json!({"portDefinitions": [{"name": "main-api"}], "readinessChecks": [check]})
    };
    let path = "/readinessChecks(0)";
    check_broken(&[
        (
            json!({"readinessChecks": [{}]}),
            "/readinessChecks(0)/portName: is not one of ()",
        ),
        (
            with("portName", json!("x")),
            "/readinessChecks(0)/portName: is not one of (main-api)",
        ),
        (
            with("name", json!("")),
            &format!("{path}/name: must not be empty"),
        ),
        (
            with("path", json!("")),
            &format!("{path}/path: must not be empty"),
        ),
        (
            with("httpStatusCodesForReady", json!([])),
            &format!("{path}/httpStatusCodesForReady: must not be empty"),
        ),
        (
            with("timeoutSeconds", json!(30)),
            &format!("{path}/timeoutSeconds: got 30, expected less than 30"),
        ),
        (
            with("timeoutSeconds", json!(0)),
            &format!("{path}/timeoutSeconds: got 0, expected more than 0"),
        ),
    ]);
    let two =
        json!({"portDefinitions": [{"name": "http-api"}], "readinessChecks": [{}, {"path": "/x"}]});
    check_broken(&[(two, "/readinessChecks: got 2, expected 1 or less")]);
    let good = with("path", json!("/health"));
    assert_eq!(
        serde_json::to_string(&app(good).readiness_checks).unwrap(),
        r#"[{"name":"readinessCheck","protocol":"HTTP","path":"/health","portName":"main-api","intervalSeconds":30,"timeoutSeconds":10,"httpStatusCodesForReady":[200],"preserveLastResponse":false}]"#
    );
}

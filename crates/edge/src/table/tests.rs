use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::*;
use crate::gateways::Set;
use crate::labels::{Policy, Warning};

mod assign;
mod deployment;

/// The context of a case; the defaults are the package's.
struct World {
    policy: Policy,
    draining: BTreeSet<TaskId>,
    last_health: BTreeMap<String, bool>,
    hosts: BTreeMap<String, IpAddr>,
    assignable: Option<RangeInclusive<u16>>,
    apps: Vec<App>,
    gateways: Set,
}

fn world(apps: Value) -> World {
    World {
        policy: Policy {
            groups: BTreeSet::from(["external".to_owned()]),
            has_token: false,
            strict_mode: false,
            http_port: Some(8000),
            reserved: BTreeSet::from([9090, 9091]),
        },
        draining: BTreeSet::new(),
        last_health: BTreeMap::new(),
        hosts: BTreeMap::new(),
        assignable: None,
        apps: serde_json::from_value(apps).unwrap(),
        gateways: Set::new(),
    }
}

impl World {
    fn build(&self) -> (Table, Vec<Warning>) {
        let rules = Rules {
            policy: &self.policy,
            health_check: true,
            hidden_apps: &BTreeSet::from(["/marathon".to_owned()]),
            draining: &|id| self.draining.contains(id),
            last_health: &self.last_health,
            hosts: &self.hosts,
            assignable: self.assignable.as_ref(),
            gateways: &self.gateways,
        };
        build(&self.apps, &rules)
    }

    /// The table as `port: backend[server,…] backend[…]`, one line a port.
    fn shown(&self) -> Vec<String> {
        let (table, _) = self.build();
        let backend = |at: &usize| {
            let backend = &table.backends[*at];
            let servers: Vec<_> = backend.servers.iter().map(|s| s.name.as_str()).collect();
            format!(" {}[{}]", backend.name, servers.join(","))
        };
        let line = |(port, backends): (&u16, &Vec<usize>)| {
            format!(
                "{port}:{}",
                backends.iter().map(backend).collect::<String>()
            )
        };
        table.ports.iter().map(line).collect()
    }
}

/// An app on one port with these tasks.
fn app(id: &str, port: u16, tasks: Value) -> Value {
    json!({"id": id, "ports": [port], "labels": {"HAPROXY_GROUP": "external"}, "tasks": tasks})
}

fn task(id: &str, port: u16) -> Value {
    json!({"id": id, "host": "10.0.3.192", "ports": [port], "state": "TASK_RUNNING"})
}

#[test]
fn names_and_orders_are_the_originals() {
    // contract: lb-backend-name, lb-server-name, lb-order, lb-same-port, lb-nth-port
    let world = world(json!([
        app("/zdd/green", 10080, json!([task("g.1", 9000)])),
        app(
            "/zdd/blue",
            10080,
            json!([
                task("b.1", 19301),
                task("b.2", 3238),
                task("b.3", 10164),
                task("b.4", 9383)
            ])
        ),
    ]));
    assert_eq!(
        world.shown(),
        [
            "10080: zdd_blue_10080[10_0_3_192_3238,10_0_3_192_9383,10_0_3_192_10164,10_0_3_192_19301] \
         zdd_green_10080[10_0_3_192_9000]"
        ]
    );
    let (_, warnings) = world.build();
    assert_eq!(
        warnings.len(),
        1,
        "the second app on the port is warned about"
    );
}

#[test]
fn names_are_names_whatever_groups_are_called() {
    for (group, name) in [
        ("zdd", "zdd_10080"),
        ("/a/b.c-d_e:f", "a_b.c-d_e:f_10080"),
        ("a b\n#c,'", "a_b__c___10080"),
        ("ä", "__10080"),
    ] {
        assert_eq!(backend_name(group, 10080), name);
    }
}

#[test]
fn a_service_without_a_server_has_no_listener() {
    // contract: lb-no-listener, lb-killing
    assert_eq!(world(json!([app("/a", 10000, json!([]))])).shown(), [""; 0]);
    let mut world = world(json!([app("/a", 10000, json!([task("a.1", 1)]))]));
    assert_eq!(world.shown().len(), 1);
    world.draining.insert(TaskId::new("a.1"));
    assert_eq!(world.shown(), [""; 0]);
}

#[test]
fn states_and_health_decide() {
    // contract: lb-health, lb-health-memory, lb-running-only, trap-39
    let case = |state: Value, results: Value, last: Option<bool>| {
        let mut app = app("/a", 10000, json!([task("a.1", 1)]));
        app["tasks"][0]["state"] = state;
        if !results.is_null() {
            app["healthChecks"] = json!([{"protocol": "HTTP"}]);
            app["tasks"][0]["healthCheckResults"] = results;
        }
        let mut world = world(json!([app]));
        world
            .last_health
            .extend(last.map(|last| ("a.1".to_owned(), last)));
        !world.shown().is_empty()
    };
    for (state, expected) in [
        (json!("TASK_RUNNING"), true),
        (json!("TASK_LOST"), true),
        (json!("TASK_UNREACHABLE"), true),
        (Value::Null, true),
        (json!("TASK_STAGING"), false),
        (json!("TASK_STARTING"), false),
        (json!("TASK_KILLING"), false),
        (json!("TASK_FAILED"), false),
    ] {
        assert_eq!(case(state.clone(), Value::Null, None), expected, "{state}");
    }
    let running = json!("TASK_RUNNING");
    for (results, last, expected) in [
        (json!([{"alive": true}, {"alive": true}]), None, true),
        (
            json!([{"alive": true}, {"alive": false}]),
            Some(true),
            false,
        ),
        (json!([]), None, false),
        (json!([null]), None, false),
        (json!([]), Some(true), true),
        (json!([]), Some(false), false),
    ] {
        assert_eq!(
            case(running.clone(), results.clone(), last),
            expected,
            "{results} {last:?}"
        );
    }
    assert!(!case(json!("TASK_KILLING"), json!([{"alive": true}]), None));
}

#[test]
fn rules_are_tried_in_the_contracts_order() {
    // contract: lb-rule-weight, lb-rule-match, lb-rule-port, lb-rule-plain-last
    let with = |id: &str, labels: Value| {
        let mut app = app(id, 10000, json!([task(id, 1)]));
        app["labels"] = labels;
        app["labels"]["HAPROXY_GROUP"] = json!("external");
        app
    };
    let world = world(json!([
        with(
            "/api",
            json!({"HAPROXY_0_VHOST": "x.y", "HAPROXY_0_PATH": "/api"})
        ),
        with(
            "/apiv2",
            json!({"HAPROXY_0_VHOST": "x.y", "HAPROXY_0_PATH": "/api/v2"})
        ),
        with(
            "/case",
            json!({"HAPROXY_0_VHOST": "x.y", "HAPROXY_0_PATH": "-i /Any"})
        ),
        with(
            "/first",
            json!({"HAPROXY_0_VHOST": "x.y", "HAPROXY_0_PATH": "/api/v3", "HAPROXY_0_BACKEND_WEIGHT": "5"})
        ),
        with(
            "/plain1",
            json!({"HAPROXY_0_VHOST": "X.Y", "HAPROXY_0_BACKEND_WEIGHT": "9"})
        ),
        with("/plain2", json!({"HAPROXY_0_VHOST": "http://x.y/lab,z"})),
    ]));
    let (table, _) = world.build();
    let check = |host: &str, path: &str, expected: Option<&str>| {
        let found = table
            .route(host, path)
            .map(|at| table.backends[at].app_id.as_str());
        assert_eq!(found, expected, "{host} {path}");
    };
    check("x.y", "/api/v2", Some("/api"));
    check("x.y", "/apixyz", Some("/api"));
    check("x.y", "/api/v3/x", Some("/first"));
    check("x.y", "/ANY", Some("/case"));
    check("x.y", "/API", Some("/plain1"));
    check("X.y:8000", "/", Some("/plain1"));
    check("z", "/", Some("/plain2"));
    check("sub.x.y", "/", None);
    check("", "/", None);
}

#[test]
fn a_rule_with_a_password_or_redirect_is_not_plain() {
    // contract: lb-rule-plain-last
    let hash = "r:u:$1$x$Csw7VKF4Pd3clFEHHx7b20";
    for (label, value) in [
        ("HAPROXY_0_AUTH", hash),
        ("HAPROXY_0_REDIRECT_TO_HTTPS", "true"),
    ] {
        let mut plain = app("/a", 1, json!([task("a", 1)]));
        let mut special = app("/b", 2, json!([task("b", 2)]));
        plain["labels"]["HAPROXY_0_VHOST"] = json!("x");
        special["labels"]["HAPROXY_0_VHOST"] = json!("x");
        special["labels"][label] = json!(value);
        let (table, _) = world(json!([plain, special])).build();
        assert_eq!(
            table.backends[table.route("x", "/").unwrap()].app_id,
            "/b",
            "{label}"
        );
    }
}

#[test]
fn what_is_not_ready_is_not_routed() {
    // contract: lb-readiness
    let mut app = app(
        "/a",
        1,
        json!([task("a.1", 1), task("a.2", 2), task("a.3", 3)]),
    );
    app["readinessCheckResults"] =
        json!([{"taskId": "a.1", "ready": true}, {"taskId": "a.2", "ready": false}]);
    assert_eq!(
        world(json!([app])).shown(),
        ["1: a_1[10_0_3_192_1,10_0_3_192_3]"]
    );
}

#[test]
fn app_ids_lead_to_the_first_http_port() {
    // contract: lb-listener-9091
    let mut http = app("/Zdd/a", 10000, json!([task("a", 1)]));
    http["labels"]["HAPROXY_0_MODE"] = json!("http");
    let world = world(json!([http, app("/tcp", 10001, json!([task("t", 2)]))]));
    let (table, _) = world.build();
    assert_eq!(table.by_app_id, BTreeMap::from([("/zdd/a".to_owned(), 0)]));
}

#[test]
fn a_service_on_80_shares_the_vhost_port() {
    // contract: lb-own-ports
    let world = world(json!([app("/a", 80, json!([task("a", 1)]))]));
    assert_eq!(world.shown(), ["8000: a_80[10_0_3_192_1]"]);
}

#[test]
fn hosts_by_name_and_own_addresses() {
    // contract: lb-address
    let mut by_name = app("/a", 10000, json!([task("a", 3238)]));
    by_name["tasks"][0]["host"] = json!("node1");
    let user = json!({
        "id": "/b", "labels": {"HAPROXY_GROUP": "external"},
        "container": {"docker": {"network": "USER", "portMappings": [{"containerPort": 80, "servicePort": 10001}]}},
        "tasks": [{"id": "b", "host": "node1", "ports": [], "ipAddresses": [{"ipAddress": "9.0.0.7"}]}],
    });
    let mut world = world(json!([by_name, user]));
    assert_eq!(
        host_names(&world.apps),
        BTreeSet::from(["node1".to_owned()])
    );
    assert_eq!(world.shown(), ["10001: b_10001[9_0_0_7_80]"]);
    world
        .hosts
        .insert("node1".to_owned(), "10.0.3.192".parse().unwrap());
    assert_eq!(
        world.shown(),
        [
            "10000: a_10000[node1_10_0_3_192_3238]",
            "10001: b_10001[9_0_0_7_80]"
        ]
    );
}

#[test]
fn hidden_apps_are_not_exposed() {
    // contract: lb-own-app
    assert_eq!(
        world(json!([app("/marathon", 10000, json!([task("m", 1)]))])).shown(),
        [""; 0]
    );
}

#[test]
fn tables_are_compared() {
    let before = world(json!([app(
        "/a",
        1,
        json!([task("a.1", 1), task("a.2", 2)])
    )]));
    let after = world(json!([
        app("/a", 1, json!([task("a.2", 2)])),
        app("/b", 2, json!([task("b.1", 3)])),
    ]));
    let (before, after) = (before.build().0, after.build().0);
    assert_eq!(
        after.diff(&before),
        Diff {
            opened: vec![2],
            closed: vec![],
            added: vec![("b_2".into(), "10_0_3_192_3".into())],
            removed: vec![("a_1".into(), "10_0_3_192_1".into())],
        }
    );
    assert!(before.diff(&before).is_empty());
}

#[test]
fn ports_are_cut_off_hosts() {
    for (given, expected) in [
        ("a:80", "a"),
        ("a", "a"),
        ("[::1]:80", "[::1]"),
        ("[::1]", "[::1]"),
        ("::1", "::1"),
        ("", ""),
    ] {
        assert_eq!(without_port(given), expected);
    }
}

#[test]
fn a_gateway_s_hosts_lead_to_it_and_not_by_rules() {
    // contract: lb-gateway-listen, lb-http2
    let labelled = |id: &str, port: u16, vhost: &str| {
        let mut app = app(id, port, json!([task(&format!("{id}.1"), port)]));
        app["labels"]["HAPROXY_0_VHOST"] = json!(vhost);
        app
    };
    let mut world = world(json!([
        labelled("/a", 10000, "a.example,both.example"),
        labelled("/b", 10001, "b.example")
    ]));
    let spec = json!({"name": "g", "listen": {"vhosts": ["both.example"], "paths": ["/new"]},
                      "routes": [{"name": "b", "to": {"app": {"id": "/b"}}}]});
    let spec = serde_json::from_value(spec).unwrap();
    let gateway = crate::gateways::Gateway::new(spec).unwrap();
    world.gateways.insert("g".to_owned(), Arc::new(gateway));
    let (table, _) = world.build();
    let gateway = Some(Lead::Gateway("g"));
    assert_eq!(table.lead("both.example", "/new/x"), gateway);
    assert_eq!(table.lead("BOTH.example:80", "/new/x"), gateway);
    let a = table.lead("a.example", "/new/x");
    assert!(matches!(a, Some(Lead::Rule(_))), "{a:?}");
    assert_eq!(
        table.lead("both.example", "/"),
        a,
        "another path is the app's"
    );
    assert_ne!(table.lead("b.example", "/"), a);
    assert_eq!(table.lead("nobody.example", "/new"), None);
}

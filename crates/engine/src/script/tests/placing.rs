//! Where tasks go: roles, resources, constraints, ports, names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use zddcluster_model::AppId;
use zddcluster_model::agent::{PROTOCOL, Registration, Resources};

use super::{app, strategy, update};
use crate::effect::{Answer, Refusal};
use crate::input::Input;
use crate::script::Script;

impl Script {
    /// One more agent, which `change` makes different from the two.
    fn add_agent(&mut self, host: u8, change: impl FnOnce(&mut Registration)) {
        self.epoch += 1;
        let mut registration = Registration {
            protocol: PROTOCOL,
            agent_id: None,
            epoch: self.epoch,
            hostname: format!("127.0.0.{host}"),
            port: 5051,
            role: "*".to_owned(),
            attributes: BTreeMap::new(),
            resources: Resources {
                cpus: 4.0,
                mem: 14_861.0,
                disk: 35_577.0,
                gpus: 0,
                ports: vec![(1025, 32_000)],
                dynamic_ports: vec![(20_000, 31_999)],
            },
            tasks: Vec::new(),
            volumes: Vec::new(),
        };
        change(&mut registration);
        let ticket = self.ticket();
        let registration = Box::new(registration);
        let answer = self.step(Input::AgentRegistered {
            ticket,
            registration,
        });
        assert!(
            matches!(answer, Some(Ok(Answer::Registered(_)))),
            "{answer:?}"
        );
    }
}

/// Two plain agents, 127.0.0.11 and .12; .13 and .14 in rack a, .15 in rack b.
fn with_racks() -> Script {
    let mut script = Script::new();
    for (host, rack) in [(13, "a"), (14, "a"), (15, "b")] {
        script.add_agent(host, |agent| {
            agent.attributes = BTreeMap::from([("rack".to_owned(), rack.to_owned())]);
        });
    }
    script
}

/// How many tasks of `/a` are on which host, by its last number: `11:2 12:1; 1 queued`.
fn placed(script: &Script) -> String {
    let mut hosts: BTreeMap<String, usize> = BTreeMap::new();
    for task in script.tasks("/a") {
        let number = task.host.rsplit('.').next().unwrap().to_owned();
        *hosts.entry(number).or_default() += 1;
    }
    let mut text = hosts
        .iter()
        .map(|(host, n)| format!("{host}:{n}"))
        .collect::<Vec<_>>()
        .join(" ");
    let queued = script.engine.state().queued_of(&AppId::absolute("/a"));
    if queued > 0 {
        text.push_str(&format!("; {queued} queued"));
    }
    text
}

#[track_caller]
fn check(mut script: Script, more: Value, expected: &str) {
    script.post(app(more.clone())).unwrap();
    assert_eq!(placed(&script), expected, "{more}");
}

#[test]
fn constraints() {
    for (constraint, instances, expected) in [
        // contract: constraint-unique
        (json!(["rack", "UNIQUE"]), 3, "13:1 15:1; 1 queued"),
        (
            json!(["hostname", "UNIQUE"]),
            6,
            "11:1 12:1 13:1 14:1 15:1; 1 queued",
        ),
        // contract: constraint-cluster
        (json!(["rack", "CLUSTER"]), 4, "13:2 14:2"),
        (json!(["rack", "CLUSTER", "b"]), 2, "15:2"),
        (json!(["hostname", "CLUSTER"]), 3, "11:3"),
        // contract: constraint-group-by
        (json!(["rack", "GROUP_BY"]), 4, "13:1 14:1 15:2"),
        (json!(["rack", "GROUP_BY", "2"]), 4, "13:1 14:1 15:2"),
        (json!(["rack", "GROUP_BY", "3"]), 4, "13:1 15:1; 2 queued"),
        // contract: constraint-like
        (json!(["rack", "LIKE", "a|c"]), 2, "13:1 14:1"),
        (json!(["hostname", "LIKE", "127.0.0.1"]), 1, "; 1 queued"),
        (json!(["hostname", "LIKE", ".*5"]), 1, "15:1"),
        // A comment at its end does not end what follows.
        (json!(["rack", "LIKE", "(?x) b # the second"]), 1, "15:1"),
        // contract: constraint-unlike
        (json!(["rack", "UNLIKE", "a"]), 3, "11:1 12:1 15:1"),
        (
            json!(["hostname", "UNLIKE", "127.0.0.1"]),
            5,
            "11:1 12:1 13:1 14:1 15:1",
        ),
        // contract: constraint-max-per, z-10
        (
            json!(["rack", "MAX_PER", "2"]),
            5,
            "13:1 14:1 15:2; 1 queued",
        ),
        // contract: constraint-no-attribute
        (json!(["zone", "UNIQUE"]), 1, "; 1 queued"),
        (json!(["zone", "CLUSTER"]), 1, "; 1 queued"),
        (json!(["zone", "GROUP_BY"]), 1, "; 1 queued"),
        (json!(["zone", "LIKE", ".*"]), 1, "; 1 queued"),
        (json!(["zone", "MAX_PER", "9"]), 1, "; 1 queued"),
        (json!(["zone", "UNLIKE", ".*"]), 1, "11:1"),
    ] {
        let more = json!({"instances": instances, "constraints": [constraint]});
        check(with_racks(), more, expected);
    }
}

#[test]
fn attributes_are_texts() {
    // contract: constraint-text, z-19
    for (constraint, expected) in [
        (json!(["size", "CLUSTER", "1000"]), "13:1"),
        (json!(["size", "LIKE", "1000"]), "13:1"),
        (json!(["size", "CLUSTER", "1000.0"]), "; 1 queued"),
        (json!(["size", "LIKE", "1,000"]), "; 1 queued"),
    ] {
        let mut script = Script::new();
        script.add_agent(13, |agent| {
            agent.attributes = BTreeMap::from([("size".to_owned(), "1000".to_owned())]);
        });
        let more = json!({"instances": 1, "constraints": [constraint]});
        check(script, more, expected);
    }
}

#[test]
fn constraints_count_the_present_config_only() {
    // contract: constraint-current-only, trap-30
    let mut script = Script::new();
    let unique = json!({"instances": 2, "constraints": [["hostname", "UNIQUE"]],
        "upgradeStrategy": strategy(1.0, 0.0)});
    script.deploy(app(unique));
    script.put("/a", update(2), false).unwrap();
    assert_eq!(script.show("/a"), "2 old RUNNING, 1 new STAGING");
    // Scaling is no new config: its tasks count.
    let mut script = Script::new();
    script.deploy(app(
        json!({"instances": 2, "constraints": [["hostname", "UNIQUE"]]}),
    ));
    script.put("/a", json!({"instances": 3}), false).unwrap();
    assert_eq!(placed(&script), "11:1 12:1; 1 queued");
    // Nor do lost tasks count: the rack is free for another one.
    let mut script = with_racks();
    script.deploy(app(
        json!({"instances": 1, "constraints": [["rack", "MAX_PER", "1"], ["rack", "LIKE", "a"]]}),
    ));
    let lost = script.tasks("/a")[0].clone();
    script.lose_agent(&lost.agent_id);
    script.tick(76_000);
    assert_eq!(placed(&script), "14:1");
}

#[test]
fn constraints_hold_together_and_all_through_an_update() {
    // Two a rack and one a host, in racks that are not c.
    let keys = json!({"instances": 3, "upgradeStrategy": strategy(0.5, 0.0), "constraints": [
        ["rack", "MAX_PER", "2"], ["hostname", "UNIQUE"], ["rack", "UNLIKE", "c"], ["rack", "LIKE", "."],
    ]});
    let mut script = with_racks();
    script.deploy(app(keys));
    assert_eq!(placed(&script), "13:1 14:1 15:1");
    script.put("/a", update(2), false).unwrap();
    // Old tasks, those on their way out too, leave room for new ones; new ones are held to the constraints among themselves.
    let mut most = 0;
    for _ in 0..10 {
        script.end_killed();
        script.run_staged();
        let version = script.app("/a").version;
        let mut hosts = BTreeMap::new();
        for task in script
            .tasks("/a")
            .iter()
            .filter(|task| task.version == version)
        {
            *hosts.entry(task.host.clone()).or_insert(0) += 1;
        }
        most = most.max(hosts.values().copied().max().unwrap_or(0));
    }
    assert_eq!(most, 1);
    assert_eq!(placed(&script), "13:1 14:1 15:1");
    assert!(script.engine.state().deployments.is_empty());
    // One more would be a second one on some host.
    script.put("/a", json!({"instances": 4}), false).unwrap();
    assert_eq!(placed(&script), "13:1 14:1 15:1; 1 queued");
}

#[test]
fn a_cluster_moves_with_its_config_only() {
    let mut script = with_racks();
    let keys = json!({"instances": 2, "constraints": [["rack", "CLUSTER"]]});
    script.deploy(app(keys));
    assert_eq!(placed(&script), "13:1 14:1");
    // Another one goes where the first are; a new config may go anywhere, then stays together.
    script.put("/a", json!({"instances": 3}), false).unwrap();
    assert_eq!(placed(&script), "13:2 14:1");
    script.run_staged();
    let keys = json!({"constraints": [["rack", "CLUSTER", "b"]]});
    script.put("/a", keys, false).unwrap();
    script.run_staged();
    script.end_killed();
    assert_eq!(placed(&script), "15:3");
}

#[test]
fn scaling_down_keeps_groups_even() {
    for (constraint, left) in [
        (json!(["rack", "GROUP_BY"]), "13:1 14:1 15:1"),
        (json!(["hostname", "GROUP_BY"]), "11:1 12:1 13:1"),
    ] {
        let mut script = with_racks();
        let keys = json!({"instances": 6, "constraints": [constraint]});
        script.deploy(app(keys));
        script.put("/a", json!({"instances": 3}), false).unwrap();
        script.end_killed();
        assert_eq!(placed(&script), left, "{constraint}");
    }
}

#[test]
fn roles() {
    let with_public = || {
        let mut script = Script::new();
        script.add_agent(13, |agent| agent.role = "slave_public".to_owned());
        script
    };
    for (roles, expected) in [
        (Value::Null, "11:2 12:2"),        // contract: agent-roles-default
        (json!(["*"]), "11:2 12:2"),       // contract: agent-roles-default
        (json!(["slave_public"]), "13:4"), // contract: agent-roles-public
        (json!(["slave_public", "*"]), "11:2 12:1 13:1"), // contract: agent-roles-both
        (json!(["other"]), "; 4 queued"),  // contract: agent-waits
    ] {
        check(
            with_public(),
            json!({"acceptedResourceRoles": roles}),
            expected,
        );
    }
}

#[test]
fn everything_fits_on_one_agent() {
    // contract: agent-fits, agent-waits
    for (more, expected) in [
        (json!({"cpus": 3}), "11:1 12:1; 2 queued"),
        (json!({"cpus": 5, "instances": 1}), "; 1 queued"),
        (json!({"cpus": 1.3}), "11:2 12:2"),
        (json!({"cpus": 0, "instances": 5}), "11:3 12:2"),
        (json!({"mem": 10_000}), "11:1 12:1; 2 queued"),
        (json!({"disk": 20_000}), "11:1 12:1; 2 queued"),
        (
            json!({"ports": [4000], "requirePorts": true}),
            "11:1 12:1; 2 queued",
        ),
        (json!({"ports": [80], "requirePorts": true}), "; 4 queued"),
        // Enough of each, but not in one place.
        (
            json!({"cpus": 3, "ports": [4000], "requirePorts": true, "constraints": [["hostname", "LIKE", ".*1"]]}),
            "11:1; 3 queued",
        ),
    ] {
        check(Script::new(), more, expected);
    }
}

#[test]
fn what_waits_says_nothing() {
    // contract: agent-waits, trap-31
    let mut script = Script::new();
    script.post(app(json!({"cpus": 5}))).unwrap();
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "group_change_success",
            "api_post_event",
            "deployment_step_success",
            "deployment_info"
        ]
    );
    script.tick(3_600_000);
    assert!(script.events().is_empty());
    assert_eq!(script.engine.state().deployments.size(), 1);
    assert_eq!(script.show("/a"), "; 4 queued");
}

#[test]
fn service_ports() {
    let ports = |script: &Script, id: &str| script.app(id).service_ports();
    let mut script = Script::new();
    // contract: port-lowest-free
    script
        .post(app(json!({"ports": [0, 10_001, 0], "instances": 0})))
        .unwrap();
    assert_eq!(ports(&script, "/a"), [10_000, 10_001, 10_002]);
    script
        .post(app(json!({"id": "/b", "instances": 0})))
        .unwrap();
    assert_eq!(ports(&script, "/b"), [10_003]);
    // contract: port-explicit-unchecked
    script
        .post(app(json!({"id": "/c", "ports": [10_000], "instances": 0})))
        .unwrap();
    assert_eq!(ports(&script, "/c"), [10_000]);
    // contract: trap-28
    let before = script.app("/b");
    script.put("/b", json!({"ports": [0]}), false).unwrap();
    assert_eq!(*script.app("/b"), *before);
    script
        .put("/b", json!({"ports": [0], "cmd": "y"}), false)
        .unwrap();
    assert_eq!(ports(&script, "/b"), [10_003]);
    // contract: port-own-first
    let mut script = Script::new();
    script
        .post(app(json!({"ports": [0, 0, 0], "instances": 0})))
        .unwrap();
    assert_eq!(ports(&script, "/a"), [10_000, 10_001, 10_002]);
    script
        .put("/a", json!({"ports": [10_010, 0, 10_011]}), false)
        .unwrap();
    assert_eq!(ports(&script, "/a"), [10_010, 10_000, 10_011]);
    // contract: port-exhausted, error-500-ports
    let rest = vec![0; 9_997];
    script
        .post(app(json!({"id": "/b", "ports": rest, "instances": 0})))
        .unwrap();
    let refused = script.post(app(json!({"id": "/c", "instances": 0})));
    let Err(refusal @ Refusal::PortsExhausted) = refused else {
        panic!("{refused:?}")
    };
    let text = "All ports in the range [10000-20000) are already in use";
    assert_eq!(refusal.to_string(), text);
}

#[test]
fn host_ports() {
    let ports = |more: Value| {
        let mut script = Script::new();
        script.post(app(more)).unwrap();
        script.tasks("/a")[0].ports.clone()
    };
    // contract: port-required
    assert_eq!(
        ports(json!({"ports": [0, 9000], "requirePorts": true})),
        [10_000, 9000]
    );
    // contract: port-from-offer
    let drawn = ports(json!({"ports": [9000, 9001, 9002]}));
    assert!((20_000..=31_997).contains(&drawn[0]), "{drawn:?}");
    assert_eq!(drawn, [drawn[0], drawn[0] + 1, drawn[0] + 2]);
    let mappings = json!([{"hostPort": 9000}, {"containerPort": 80}, {"hostPort": 9001}]);
    let docker = |network: &str| {
        json!({"cmd": null, "container": {"docker":
            {"image": "i", "network": network, "portMappings": mappings}}})
    };
    let bridged = ports(docker("BRIDGE"));
    assert_eq!((bridged[0], bridged.len(), bridged[2]), (9000, 3, 9001));
    // A mapping of a user network without a host port takes none.
    assert_eq!(ports(docker("USER")), [9000, 9001]);
    assert_eq!(ports(json!({"ports": []})), Vec::<u16>::new());
}

#[test]
fn host_ports_run_out_and_come_back() {
    let mut script = Script::new();
    script.add_agent(13, |agent| {
        agent.resources.dynamic_ports = vec![(20_000, 20_002)];
    });
    let here = json!(["hostname", "LIKE", ".*13"]);
    let two = json!({"instances": 2, "ports": [0, 0], "constraints": [here]});
    script.post(app(two)).unwrap();
    assert_eq!(placed(&script), "13:1; 1 queued");
    script.run_staged();
    // What was free beside them is given to one that needs it alone, and two come back with the task that had them.
    script
        .post(app(
            json!({"id": "/b", "instances": 1, "constraints": [here]}),
        ))
        .unwrap();
    let mut all = script.tasks("/a")[0].ports.clone();
    all.extend(&script.tasks("/b")[0].ports);
    all.sort_unstable();
    assert_eq!(all, [20_000, 20_001, 20_002]);
    let task = script.tasks("/a")[0].clone();
    script.report(&task, zddcluster_model::TaskState::Killed);
    assert_eq!(placed(&script), "13:1; 1 queued");
}

#[test]
fn a_required_port_waits_for_whoever_has_it() {
    let keys = |id: &str| json!({"id": id, "instances": 2, "ports": [9000], "requirePorts": true});
    let mut script = Script::new();
    script.deploy(app(keys("/first")));
    script.post(app(keys("/a"))).unwrap();
    assert_eq!(placed(&script), "; 2 queued");
    script
        .put("/first", json!({"instances": 1}), false)
        .unwrap();
    assert_eq!(placed(&script), "; 2 queued");
    script.end_killed();
    assert_eq!(placed(&script).split_once(':').unwrap().1, "1; 1 queued");
    // An update of its own app waits as well, if nothing of it may go before.
    script.put("/first", update(2), false).unwrap();
    assert_eq!(script.show("/first"), "1 old RUNNING; 1 queued");
}

#[test]
fn a_port_for_two_protocols_is_one_port() {
    let mappings = json!([
        {"containerPort": 53, "hostPort": 5353, "protocol": "tcp"},
        {"containerPort": 53, "hostPort": 5353, "protocol": "udp"},
        {"containerPort": 80},
    ]);
    let keys = json!({"instances": 3, "cmd": null, "container": {"docker":
        {"image": "i", "network": "BRIDGE", "portMappings": mappings}}});
    let mut script = Script::new();
    script.post(app(keys)).unwrap();
    assert_eq!(placed(&script), "11:1 12:1; 1 queued");
    let task = script.tasks("/a")[0].clone();
    assert_eq!(task.ports[..2], [5353, 5353]);
    // It is free again with its task.
    script.report(&task, zddcluster_model::TaskState::Killed);
    assert_eq!(placed(&script), "11:1 12:1; 1 queued");
}

#[test]
fn names() {
    let mut script = Script::new();
    script.post(app(json!({"id": "/zdd/a"}))).unwrap();
    let state = script.engine.state();
    // contract: agent-ids
    let uuid = state.master_uuid;
    let agents: Vec<String> = state.agents.keys().map(ToString::to_string).collect();
    assert_eq!(agents, [format!("{uuid}-S0"), format!("{uuid}-S1")]);
    assert_eq!(state.framework_id(), format!("{uuid}-0000"));
    // contract: task-id
    let mut ids = BTreeSet::new();
    for task in script.tasks("/zdd/a") {
        let id = task.id.to_string();
        let uuid: uuid::Uuid = id.strip_prefix("zdd_a.").unwrap().parse().unwrap();
        assert_eq!(uuid.get_version_num(), 1);
        assert_eq!(uuid.get_node_id(), Some([1, 2, 3, 4, 5, 6]));
        assert!(ids.insert(uuid));
    }
    assert_eq!(ids.len(), 4);
}

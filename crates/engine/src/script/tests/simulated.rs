//! What the simulation has found.

use serde_json::json;
use zddcluster_model::agent::{PROTOCOL, Registration};
use zddcluster_model::{AppId, TaskState};

use super::{app, update};
use crate::effect::Answer;
use crate::input::{Command, Input, Selection, Ticket};
use crate::script::Script;

#[test]
fn an_agent_that_forgot_its_id_takes_the_place_of_its_former_self() {
    let mut script = Script::new();
    script.deploy(app(
        json!({ "ports": [9000], "requirePorts": true, "instances": 2 }),
    ));
    let task = script.tasks("/a")[0].clone();
    let host = task.host.rsplit('.').next().unwrap().parse().unwrap();
    script.lose_agent(&task.agent_id);
    script.events();
    // It was switched off, and comes back from an empty disk: no task, no id, the same address.
    script.register_another(host);
    // The port is free on that host, for the task that had it is dead.
    assert_eq!(script.show("/a"), "1 new STAGING, 1 new RUNNING");
    assert_eq!(script.events(), ["TASK_LOST", "TASK_STAGING"]);
    // Lost tasks are looked through for the first time after five minutes.
    script.tick(6 * 60_000);
    assert!(!script.engine.state().tasks.contains_key(&task.id));
}

#[test]
fn nothing_queued_wakes_a_cluster_that_goes_down() {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    script.report(&script.tasks("/a")[0].clone(), TaskState::Failed);
    script.command(Command::StopTasks).unwrap();
    script.tick(60_000);
    let state = script.engine.state();
    assert_eq!(state.queued_of(&AppId::absolute("/a")), 1);
    assert!(script.engine.next_wake() > Some(state.clock));
}

#[test]
fn a_kill_that_names_no_task_is_a_change_of_the_tree() {
    let mut script = Script::new();
    script.deploy(app(json!({})));
    script.tick(5);
    let answer = script.command(Command::KillTasks {
        selection: Selection::Ids(Vec::new()),
        scale: true,
        wipe: false,
        force: false,
    });
    let Ok(Answer::Deployment { version, .. }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(script.engine.state().root.version, version);
}

#[test]
fn a_lost_task_is_told_of_when_it_goes_for_good() {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let lose = |script: &mut Script| {
        let task = script.tasks("/a")[0].clone();
        script.lose_agent(&task.agent_id);
        script.tick(76_000);
        script.run_staged();
        script.events();
        task
    };
    // Its agent comes back without it.
    let task = lose(&mut script);
    script.agent_returns(&task.agent_id, &[]);
    assert_eq!(script.events(), ["TASK_LOST"]);
    assert!(!script.engine.state().tasks.contains_key(&task.id));
    // Its app is removed.
    let task = lose(&mut script);
    script.delete("/a").unwrap();
    script.end_killed();
    assert!(!script.engine.state().tasks.contains_key(&task.id));
    let n_lost = script
        .events()
        .iter()
        .filter(|e| **e == "TASK_LOST")
        .count();
    assert_eq!(n_lost, 1);
}

#[test]
fn a_task_killed_while_an_app_is_scaled_counts_until_it_has_ended() {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 3 })));
    script.put("/a", json!({ "instances": 2 }), false).unwrap();
    assert_eq!(script.show("/a"), "2 old RUNNING, 1 old KILLING");
    let mut tasks = script.tasks("/a").into_iter();
    let victim = tasks.find(|task| task.state == TaskState::Killing);
    let running = script.tasks("/a").into_iter();
    let running = running
        .filter(|task| task.state == TaskState::Running)
        .map(|task| task.id.clone())
        .collect();
    script
        .command(Command::KillTasks {
            selection: Selection::Ids(running),
            scale: false,
            wipe: false,
            force: false,
        })
        .unwrap();
    script.report(&victim.unwrap(), TaskState::Killed);
    // Two are still there: a third would be one too many.
    assert_eq!(script.show("/a"), "2 old KILLING");
    script.end_killed();
    assert_eq!(script.show("/a"), "2 new STAGING");
}

#[test]
fn an_app_is_kept_at_its_instances_until_its_turn_comes() {
    let mut script = Script::new();
    script.deploy(app(json!({ "id": "/db", "instances": 1 })));
    script.deploy(app(
        json!({ "id": "/web", "instances": 1, "dependencies": ["/db"], "backoffSeconds": 5 }),
    ));
    script.report(&script.tasks("/web")[0].clone(), TaskState::Failed);
    let release = |id: &str| crate::script::read(&json!({ "id": id, "env": update(2)["env"] }));
    script
        .command(Command::UpdateApps {
            updates: vec![release("/db"), release("/web")],
            force: false,
        })
        .unwrap();
    script.tick(5_000);
    // The database is being replaced; what waited for its delay comes, as it was.
    assert_eq!(script.show("/web"), "1 old STAGING");
}

#[test]
fn a_port_belongs_to_the_host_not_to_one_of_its_agents() {
    let mut script = Script::new();
    // A second agent on the first one's address, as under --single-address.
    let first = script
        .engine
        .state()
        .agents
        .values()
        .next()
        .unwrap()
        .clone();
    let registration = Registration {
        protocol: PROTOCOL,
        agent_id: None,
        epoch: 1,
        hostname: first.hostname.clone(),
        port: first.port + 1,
        role: first.role.clone(),
        attributes: first.attributes.clone(),
        resources: first.resources.clone(),
        tasks: Vec::new(),
        volumes: Vec::new(),
    };
    script.step(Input::AgentRegistered {
        ticket: Ticket(0),
        registration: Box::new(registration),
    });
    script
        .post(app(
            json!({ "ports": [9000], "requirePorts": true, "instances": 3 }),
        ))
        .unwrap();
    let hosts: Vec<String> = script.tasks("/a").iter().map(|t| t.host.clone()).collect();
    assert_eq!(hosts.len(), 2, "{hosts:?}");
    assert_ne!(hosts[0], hosts[1]);
    assert_eq!(script.show("/a"), "2 new STAGING; 1 queued");
}

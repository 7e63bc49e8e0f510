//! What has gone wrong before.

use serde_json::json;
use zddcluster_model::app::AppUpdate;
use zddcluster_model::{AppId, EdgeId, TaskState};

use super::{app, update};
use crate::effect::{Answer, Effect, Refusal};
use crate::input::{Command, Input};
use crate::script::{Script, origin, read};
use crate::state::VERSIONS_KEPT;

#[test]
fn new_apps_of_one_list_get_ports_of_their_own() {
    // contract: port-lowest-free
    let mut script = Script::new();
    let updates: Vec<AppUpdate> = ["/a", "/b"]
        .iter()
        .map(|id| read(&app(json!({ "id": id }))))
        .collect();
    script
        .command(Command::UpdateApps {
            updates,
            force: false,
        })
        .unwrap();
    let ports = ["/a", "/b"].map(|id| script.app(id).service_ports());
    assert_eq!(ports, [[10_000], [10_001]]);
}

#[test]
fn a_list_cannot_roll_back_an_app_that_is_not_there() {
    let mut script = Script::new();
    let update = read(&json!({ "id": "/a", "version": "2016-10-12T11:38:55.934Z" }));
    let updates = vec![update];
    let refused = script.command(Command::UpdateApps {
        updates,
        force: false,
    });
    assert!(
        matches!(refused, Err(Refusal::UnknownApp(_))),
        "{refused:?}"
    );
    assert_eq!(script.events(), ["group_change_failed"]);
}

#[test]
fn an_absurd_number_of_instances_is_not_launched_in_one_go() {
    let mut script = Script::new();
    let size = json!({ "instances": 2_147_483_647, "cpus": 0, "mem": 0, "ports": [] });
    script.post(app(size)).unwrap();
    let n_launched = script.engine.state().tasks.size();
    assert!((1..=1_000).contains(&n_launched), "{n_launched} launched");
    // The rest is due at once: other inputs come in between.
    script.tick(0);
    assert!(script.engine.state().tasks.size() > n_launched);
    script.delete("/a").unwrap();
    script.end_killed();
    assert!(script.engine.state().tasks.is_empty());
}

#[test]
fn a_stopped_deployment_leaves_its_tasks_until_the_next_look() {
    // contract: stop-and-sweep, lock-no-rollback
    let mut script = Script::new();
    script.deploy(app(json!({ "healthChecks": [{}] })));
    let answer = script.put("/a", update(2), false).unwrap();
    let Answer::Deployment { deployment_id, .. } = answer else {
        panic!("{answer:?}");
    };
    script.run_staged();
    script
        .command(Command::CancelDeployment { deployment_id })
        .unwrap();
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new RUNNING");
    script.answer_checks(true);
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new RUNNING");
    script.tick(300_000);
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new KILLING");
}

#[test]
fn checks_of_versions_without_tasks_end() {
    // contract: z-17, event-remove_health_check_event
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1, "healthChecks": [{}] })));
    for instances in [2, 1, 2, 1] {
        script
            .put("/a", json!({ "instances": instances }), false)
            .unwrap();
        script.run_staged();
        script.answer_checks(true);
        script.end_killed();
    }
    assert_eq!(script.show("/a"), "1 old RUNNING");
    script.delete("/a").unwrap();
    script.events();
    script.end_killed();
    let events = script.events();
    let n_removed = events
        .iter()
        .filter(|event| **event == "remove_health_check_event")
        .count();
    // One for the version of the task, one for the present version.
    assert_eq!(n_removed, 2, "{events:?}");
}

#[test]
fn an_app_made_anew_over_its_own_end_has_no_past() {
    // contract: trap-21
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    script.report(&script.tasks("/a")[0].clone(), TaskState::Failed);
    script.tick(2_000);
    script.run_staged();
    let id = AppId::absolute("/a");
    assert!(script.engine.state().failures.contains_key(&id));
    script.delete("/a").unwrap();
    script
        .command(Command::CreateApp {
            update: read(&app(json!({ "instances": 1 }))),
            force: true,
            origin: origin(),
        })
        .unwrap();
    assert!(!script.engine.state().failures.contains_key(&id));
    script.end_killed();
    script.run_staged();
    assert_eq!(script.show("/a"), "1 new RUNNING");
    script.restart_master();
    let state = script.engine.state();
    assert!(!state.failures.contains_key(&id));
}

#[test]
fn an_edge_that_comes_back_is_told_again_and_holds() {
    // contract: z-20
    let mut script = Script::new();
    let edge_id = EdgeId::new("e");
    script.deploy(app(json!({ "instances": 1 })));
    script.step(Input::EdgeConnected(edge_id.clone()));
    script.delete("/a").unwrap();
    assert!(script.kills.is_empty(), "held for the edge");
    script.restart_master();
    assert!(script.kills.is_empty(), "still held");
    script.effects.clear();
    script.step(Input::EdgeConnected(edge_id.clone()));
    assert!(
        matches!(script.effects[..], [Effect::Drain(..)]),
        "{:?}",
        script.effects
    );
    assert!(script.kills.is_empty(), "held until it has drained");
    let task_id = script.engine.state().tasks.keys().next().unwrap().clone();
    script.step(Input::Drained { edge_id, task_id });
    assert_eq!(script.kills.len(), 1);
}

#[test]
fn the_drain_deadline_is_real_time_and_repeats_count_from_sigterm() {
    // contract: z-20, keep-kill-repeated, kill-grace-set
    let mut script = Script::new();
    script.deploy(app(
        json!({ "instances": 1, "taskKillGracePeriodSeconds": 9_223_372_036_u64 }),
    ));
    script.step(Input::EdgeConnected(EdgeId::new("e")));
    // Every change has a version of its own, in the same millisecond.
    for _ in 0..500 {
        script.put("/a", json!({}), false).unwrap();
    }
    script.delete("/a").unwrap();
    script.tick(9_999);
    assert!(script.kills.is_empty());
    script.tick(1);
    assert_eq!(script.kills.len(), 1);
    assert_eq!(script.kills[0].grace_millis, 9_223_372_036_000);
    script.tick(9_999);
    assert_eq!(script.kills.len(), 1);
    script.tick(1);
    assert_eq!(script.kills.len(), 2);
}

#[test]
fn a_plan_keeps_no_versions_of_apps_it_does_nothing_to() {
    let mut script = Script::new();
    script.deploy(app(json!({ "id": "/b", "instances": 0 })));
    // It waits for ever, and has /b in its trees.
    script
        .post(app(json!({ "id": "/a", "cpus": 1_000 })))
        .unwrap();
    for n in 0..VERSIONS_KEPT {
        let update = json!({ "env": { "N": n.to_string() } });
        script.put("/b", update, false).unwrap();
    }
    let state = script.engine.state();
    assert_eq!(state.deployments.size(), 1);
    let kept = &state.versions.get(&AppId::absolute("/b")).unwrap();
    assert_eq!(kept.len(), VERSIONS_KEPT);
}

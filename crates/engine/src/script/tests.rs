//! The lab's chapters, and what has gone wrong before.

use serde_json::{Value, json};
use zddcluster_model::app::AppUpdate;
use zddcluster_model::task::ReadinessResponse;
use zddcluster_model::{AppId, EdgeId, TaskState};

use super::{Script, read};
use crate::effect::{Answer, CheckOrder, Effect, Refusal};
use crate::input::{Command, Input, Selection};

fn app(more: Value) -> Value {
    let mut app = json!({ "id": "/a", "cmd": "serve", "instances": 4, "cpus": 0.1, "mem": 32 });
    let more = more.as_object().expect("an object").clone();
    app.as_object_mut().expect("an object").extend(more);
    app
}

fn update(release: u32) -> Value {
    json!({ "env": { "RELEASE": release.to_string() } })
}

fn strategy(min: f64, over: f64) -> Value {
    json!({ "minimumHealthCapacity": min, "maximumOverCapacity": over })
}

#[test]
fn base_update_starts_all_and_kills_one_for_each_that_runs() {
    let mut script = Script::new();
    script.deploy(app(json!({})));
    script.put("/a", update(2), false).unwrap();
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new STAGING");
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "group_change_success",
            "api_post_event",
            "TASK_STAGING",
            "TASK_STAGING",
            "TASK_STAGING",
            "TASK_STAGING",
        ]
    );
    let mut tasks = script.tasks("/a").into_iter();
    let new = tasks.find(|task| task.state == TaskState::Staging);
    script.report(&new.unwrap(), TaskState::Running);
    assert_eq!(
        script.show("/a"),
        "3 old RUNNING, 1 old KILLING, 3 new STAGING, 1 new RUNNING"
    );
    script.run_staged();
    assert_eq!(script.show("/a"), "4 old KILLING, 4 new RUNNING");
    script.events();
    script.end_killed();
    assert_eq!(script.show("/a"), "4 new RUNNING");
    assert_eq!(
        script.events(),
        [
            "TASK_KILLED",
            "TASK_KILLED",
            "TASK_KILLED",
            "TASK_KILLED",
            "deployment_step_success",
            "deployment_success",
        ]
    );
}

#[test]
fn a_new_app_with_a_check_is_told_in_order() {
    let mut script = Script::new();
    script
        .post(app(json!({ "instances": 1, "healthChecks": [{}] })))
        .unwrap();
    script.run_staged();
    script.answer_checks(true);
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "add_health_check_event",
            "group_change_success",
            "api_post_event",
            "deployment_step_success",
            "deployment_info",
            "TASK_STAGING",
            "TASK_RUNNING",
            "health_status_changed_event",
            "deployment_step_success",
            "deployment_success",
        ]
    );
    script.delete("/a").unwrap();
    script.end_killed();
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "group_change_success",
            "TASK_KILLING",
            "TASK_KILLED",
            "remove_health_check_event",
            "app_terminated_event",
            "deployment_step_success",
            "deployment_success",
        ]
    );
}

#[test]
fn base_health_replaces_for_the_healthy_only() {
    let mut script = Script::new();
    script.deploy(app(json!({ "healthChecks": [{}] })));
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new RUNNING");
    script.answer_checks(false);
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new RUNNING");
    script.answer_checks(true);
    assert_eq!(script.show("/a"), "4 old KILLING, 4 new RUNNING");
    script.end_killed();
    assert_eq!(script.show("/a"), "4 new RUNNING");
}

#[test]
fn base_ready_waits_for_the_answer_and_asks_once() {
    let mut script = Script::new();
    let ports = json!([{ "port": 0, "name": "main" }]);
    script
        .post(app(
            json!({ "portDefinitions": ports, "readinessChecks": [{ "portName": "main" }] }),
        ))
        .unwrap();
    script.run_staged();
    let asked = script.effects.iter();
    let asked =
        asked.filter(|effect| matches!(effect, Effect::Check(CheckOrder::StartReadiness { .. })));
    assert_eq!(asked.count(), 4);
    for (n, task) in script.tasks("/a").iter().enumerate() {
        assert_eq!(script.engine.state().deployments.size(), 1, "{n} are ready");
        script.step(Input::Readiness {
            task_id: task.id.clone(),
            is_ready: true,
            response: ReadinessResponse {
                status: 200,
                content_type: "text/plain".to_owned(),
                body: String::new(),
            },
        });
    }
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn half_and_a_tenth_goes_two_by_two() {
    let mut script = Script::new();
    script.deploy(app(json!({ "upgradeStrategy": strategy(0.5, 0.1) })));
    script.put("/a", update(2), false).unwrap();
    assert_eq!(script.show("/a"), "2 old RUNNING, 2 old KILLING");
    script.end_one("/a");
    assert_eq!(
        script.show("/a"),
        "2 old RUNNING, 1 old KILLING, 1 new STAGING"
    );
    script.end_one("/a");
    script.run_staged();
    assert_eq!(script.show("/a"), "2 old KILLING, 2 new RUNNING");
    script.end_killed();
    assert_eq!(script.show("/a"), "2 new STAGING, 2 new RUNNING");
    script.run_staged();
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_forced_update_replaces_both_releases() {
    let mut script = Script::new();
    script.deploy(app(json!({})));
    script.put("/a", update(2), false).unwrap();
    let refused = script.put("/a", update(3), false);
    assert!(matches!(refused, Err(Refusal::Locked(ids)) if ids.len() == 1));
    script.run_staged();
    script.events();
    script.put("/a", update(3), true).unwrap();
    // All eight are old now, four of them on their way out; four more may be killed at once.
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 old KILLING");
    let events = script.events();
    let at = |name| events.iter().position(|event| *event == name);
    assert!(
        at("deployment_failed") < at("deployment_info"),
        "{events:?}"
    );
    script.end_killed();
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new STAGING");
    script.run_staged();
    script.end_killed();
    assert_eq!(script.show("/a"), "4 new RUNNING");
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_restarted_master_goes_on_with_the_new_tasks_it_has() {
    let mut script = Script::new();
    script.deploy(app(json!({ "upgradeStrategy": strategy(0.5, 0.0) })));
    script.put("/a", update(2), false).unwrap();
    script.end_killed();
    script.run_staged();
    script.end_one("/a");
    assert_eq!(
        script.show("/a"),
        "1 old KILLING, 1 new STAGING, 2 new RUNNING"
    );
    script.restart_master();
    assert_eq!(
        script.show("/a"),
        "1 old KILLING, 1 new STAGING, 2 new RUNNING"
    );
    script.end_killed();
    script.run_staged();
    script.run_staged();
    assert_eq!(script.show("/a"), "4 new RUNNING");
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_kill_through_the_api_brings_a_replacement_at_once() {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let selection = Selection::Ids(vec![script.task_id("/a")]);
    script
        .command(Command::KillTasks {
            selection,
            scale: false,
            force: false,
        })
        .unwrap();
    script.end_killed();
    script.run_staged();
    assert_eq!(
        script.events(),
        [
            "TASK_KILLING",
            "TASK_KILLED",
            "TASK_STAGING",
            "TASK_RUNNING"
        ]
    );
}

#[test]
fn the_fourth_failure_in_a_row_kills_without_drain() {
    let mut script = Script::new();
    script.step(Input::EdgeConnected(EdgeId::new("e")));
    script.deploy(app(
        json!({ "instances": 1, "healthChecks": [{ "gracePeriodSeconds": 0 }] }),
    ));
    for _ in 0..3 {
        script.answer_checks(false);
    }
    assert_eq!(script.show("/a"), "1 new RUNNING");
    script.events();
    script.answer_checks(false);
    assert_eq!(script.kills.len(), 1, "nothing is held");
    assert_eq!(
        script.events(),
        [
            "failed_health_check_event",
            "unhealthy_task_kill_event",
            "TASK_KILLING"
        ]
    );
    script.end_killed();
    assert_eq!(script.show("/a"), "1 new STAGING", "no back-off");
}

// === what has gone wrong before ===

#[test]
fn new_apps_of_one_list_get_ports_of_their_own() {
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
            origin: super::origin(),
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
    let mut script = Script::new();
    script.deploy(app(
        json!({ "instances": 1, "taskKillGracePeriodSeconds": 9_223_372_036_u64 }),
    ));
    script.step(Input::EdgeConnected(EdgeId::new("e")));
    script.tick(1_000);
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

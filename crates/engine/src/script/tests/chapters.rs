//! The lab's chapters, from the default update to the master that restarts in the middle.

use serde_json::json;
use zddcluster_model::TaskState;
use zddcluster_model::task::ReadinessResponse;

use super::{app, strategy, update};
use crate::effect::{CheckOrder, Effect, Refusal};
use crate::input::Input;
use crate::script::Script;

#[test]
fn base_update_starts_all_and_kills_one_for_each_that_runs() {
    // contract: chapter-base, restart-one-for-one, restart-done, ready-without-checks
    // contract: event-order-step, event-order-end, z-18
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
    // contract: sequence-new-app, sequence-delete, stop-order, plan-3.1-new-app, plan-3.1-delete
    // contract: event-add_health_check_event, event-remove_health_check_event
    // contract: event-app_terminated_event, event-order-step, event-order-end
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
    // contract: chapter-base-health, restart-one-for-one
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
    // contract: chapter-base-ready, ready-at-running, trap-25
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
    // contract: chapter-half-a-tenth, restart-start, trap-23
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
    // contract: lock-forced, trap-32, event-deployment_failed
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
    // contract: resume-new-tasks, resume-state, z-5
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

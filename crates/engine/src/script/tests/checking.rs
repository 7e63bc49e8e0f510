//! What health and readiness do to tasks and deployments.

use std::sync::Arc;

use serde_json::{Value, json};
use zddcluster_model::event::EventKind;
use zddcluster_model::task::ReadinessResponse;
use zddcluster_model::{TaskState, Timestamp};

use super::{app, strategy, update};
use crate::effect::{CheckOrder, Effect};
use crate::input::{CheckVerdict, Input};
use crate::script::Script;
use crate::state::Task;

fn health(script: &mut Script, task: &Task, check_idx: usize, is_good: bool) {
    let verdict = if is_good {
        CheckVerdict::Healthy
    } else {
        CheckVerdict::Unhealthy("500 Internal Server Error".to_owned())
    };
    let task_id = task.id.clone();
    script.step(Input::Health {
        task_id,
        check_idx,
        verdict,
    });
}

fn readiness(script: &mut Script, task: &Task, is_ready: bool) {
    let response = ReadinessResponse {
        status: if is_ready { 200 } else { 503 },
        content_type: "text/plain".to_owned(),
        body: String::new(),
    };
    let task_id = task.id.clone();
    script.step(Input::Readiness {
        task_id,
        is_ready,
        response,
    });
}

/// The tasks of `/a` of its present version.
fn new_tasks(script: &Script) -> Vec<Arc<Task>> {
    let version = script.app("/a").version;
    let tasks = script.tasks("/a").into_iter();
    tasks.filter(|task| task.version == version).collect()
}

fn asked(script: &Script) -> usize {
    let orders = script.effects.iter();
    orders
        .filter(|effect| matches!(effect, Effect::Check(CheckOrder::StartReadiness { .. })))
        .count()
}

fn with_readiness(more: Value) -> Value {
    let mut definition = app(json!({
        "portDefinitions": [{"name": "main"}],
        "readinessChecks": [{"portName": "main"}],
    }));
    for (key, value) in more.as_object().unwrap() {
        definition[key] = value.clone();
    }
    definition
}

fn make_all_ready(script: &mut Script) {
    script.run_staged();
    for task in script.tasks("/a") {
        readiness(script, &task, true);
    }
}

#[test]
fn one_result_says_failed_killed_changed() {
    // contract: event-order-health, health-kill, event-unhealthy_task_kill_event
    let mut script = Script::new();
    let check = json!([{"gracePeriodSeconds": 0, "maxConsecutiveFailures": 1}]);
    script.deploy(app(json!({"instances": 1, "healthChecks": check})));
    let task = script.tasks("/a")[0].clone();
    health(&mut script, &task, 0, false);
    assert_eq!(
        script.events(),
        ["failed_health_check_event", "health_status_changed_event"]
    );
    let first_failure = script.tasks("/a")[0].health[0]
        .as_ref()
        .unwrap()
        .last_failure;
    script.tick(60_000);
    health(&mut script, &task, 0, true);
    health(&mut script, &task, 0, false);
    script.tick(60_000);
    script.events();
    health(&mut script, &task, 0, false);
    let events = script.take_events();
    let names: Vec<&str> = events.iter().map(|event| event.name()).collect();
    assert_eq!(
        names,
        [
            "failed_health_check_event",
            "unhealthy_task_kill_event",
            "status_update_event"
        ]
    );
    // Its time is that of the failure recorded before this one.
    let EventKind::UnhealthyTaskKill { last_failure, .. } = events[1].kind else {
        panic!("{events:?}")
    };
    let now = script.engine.state().clock;
    assert_eq!(last_failure, now.plus_millis(-60_000));
    assert!(first_failure < Some(last_failure));
    // Each later failure says so again, until the task is gone.
    health(&mut script, &task, 0, false);
    assert_eq!(
        script.events(),
        ["failed_health_check_event", "unhealthy_task_kill_event"]
    );
}

#[test]
fn grace_does_not_run_while_the_machine_sleeps() {
    let mut script = Script::new();
    let check = json!([{"gracePeriodSeconds": 100, "maxConsecutiveFailures": 1}]);
    script
        .post(app(json!({"instances": 1, "healthChecks": check})))
        .unwrap();
    script.run_staged();
    let task = script.tasks("/a")[0].clone();
    script.tick(10_000);
    let night = 8 * 3_600_000;
    script.tick(night);
    script.step(Input::Slept { millis: night });
    script.events();
    health(&mut script, &task, 0, false);
    script.tick(89_000);
    health(&mut script, &task, 0, false);
    assert_eq!(script.events(), [""; 0]);
    script.tick(2_000);
    health(&mut script, &task, 0, false);
    let counted = ["failed_health_check_event"];
    assert_eq!(script.events(), counted);
}

#[test]
fn what_a_result_keeps() {
    // contract: health-alive, health-result
    let mut script = Script::new();
    script.deploy(app(json!({"instances": 1, "healthChecks": [{}]})));
    let task = script.tasks("/a")[0].clone();
    let result = |script: &Script| script.tasks("/a")[0].health[0].clone().unwrap();
    let first = result(&script);
    assert!(first.alive && first.first_success == first.last_success);
    assert_eq!(
        (first.last_failure, &first.last_failure_cause),
        (None, &None)
    );
    script.tick(1_000);
    health(&mut script, &task, 0, false);
    health(&mut script, &task, 0, false);
    let sick = result(&script);
    assert_eq!((sick.alive, sick.consecutive_failures), (false, 2));
    script.tick(1_000);
    health(&mut script, &task, 0, true);
    let well = result(&script);
    assert_eq!((well.alive, well.consecutive_failures), (true, 0));
    assert_eq!(well.last_failure, sick.last_failure);
    assert_eq!(
        well.last_failure_cause.as_deref(),
        Some("500 Internal Server Error")
    );
    assert_eq!(well.first_success, first.first_success);
    assert_eq!(well.last_success, Some(script.engine.state().clock));
}

#[test]
fn no_number_of_failures_kills_with_0() {
    // contract: check-most-failures
    let mut script = Script::new();
    let check = json!([{"gracePeriodSeconds": 0, "maxConsecutiveFailures": 0}]);
    script.deploy(app(json!({"instances": 1, "healthChecks": check})));
    for _ in 0..100 {
        script.answer_checks(false);
    }
    assert_eq!(script.show("/a"), "1 new RUNNING");
}

#[test]
fn each_version_is_checked_by_its_own_definition() {
    // contract: health-versions
    let mut script = Script::new();
    let check = |most: u32| json!([{"gracePeriodSeconds": 0, "maxConsecutiveFailures": most}]);
    script.deploy(app(json!({"healthChecks": check(1)})));
    script
        .put("/a", json!({"healthChecks": check(0)}), false)
        .unwrap();
    script.run_staged();
    let mut checked: Vec<(Timestamp, u32)> = script
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Check(CheckOrder::StartHealth { app, .. }) => {
                Some((app.version, app.health_checks[0].max_consecutive_failures))
            }
            _ => None,
        })
        .collect();
    checked.dedup();
    assert_eq!(
        checked.iter().map(|(_, most)| *most).collect::<Vec<_>>(),
        [1, 0]
    );
    for _ in 0..3 {
        script.answer_checks(false);
    }
    assert_eq!(script.show("/a"), "4 old KILLING, 4 new RUNNING");
}

#[test]
fn health_kills_during_deployments_too() {
    // contract: health-deployment, restart-dead-new
    let mut script = Script::new();
    let check = json!([{"gracePeriodSeconds": 0, "maxConsecutiveFailures": 1}]);
    script.deploy(app(json!({"instances": 1, "healthChecks": check})));
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    script.tick(1);
    let new = new_tasks(&script)[0].clone();
    health(&mut script, &new, 0, false);
    health(&mut script, &new, 0, false);
    assert_eq!(script.show("/a"), "1 old RUNNING, 1 new KILLING");
    script.report(&new, TaskState::Killed);
    assert_eq!(script.show("/a"), "1 old RUNNING, 1 new STAGING");
    assert_eq!(script.engine.state().deployments.size(), 1);
}

#[test]
fn the_lost_are_not_judged() {
    // contract: lost-not-checked
    let mut script = Script::new();
    let check = json!([{"gracePeriodSeconds": 0, "maxConsecutiveFailures": 1}]);
    script.deploy(app(json!({"instances": 1, "healthChecks": check})));
    let task = script.tasks("/a")[0].clone();
    script.lose_agent(&task.agent_id);
    script.tick(76_000);
    script.events();
    let n_kills = script.kills.len();
    for _ in 0..5 {
        health(&mut script, &task, 0, false);
    }
    assert!(script.events().is_empty());
    assert_eq!(script.kills.len(), n_kills);
}

#[test]
fn a_service_that_flips_is_never_restarted() {
    // contract: chapter-base-health-timeout, health-alive
    let mut script = Script::new();
    let check = json!([{"maxConsecutiveFailures": 20, "gracePeriodSeconds": 0}]);
    script.deploy(app(json!({"healthChecks": check})));
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    // In each round another one of the four fails.
    for round in 0..12 {
        for (n, task) in new_tasks(&script).iter().enumerate() {
            health(&mut script, task, 0, n != round % 4);
        }
        script.end_killed();
    }
    assert_eq!(script.show("/a"), "4 new RUNNING");
    assert!(script.engine.state().deployments.is_empty());
    let events = script.events();
    let count = |name: &str| events.iter().filter(|event| **event == name).count();
    assert_eq!(count("unhealthy_task_kill_event"), 0);
    assert_eq!(count("TASK_STAGING"), 4);
    assert!(count("health_status_changed_event") > 8);
}

#[test]
fn the_first_alive_of_any_check_counts() {
    // contract: ready-first-alive
    let mut script = Script::new();
    let checks = json!([{"path": "/a"}, {"path": "/b"}]);
    script.deploy(app(json!({"instances": 1, "healthChecks": checks})));
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    let new = new_tasks(&script)[0].clone();
    health(&mut script, &new, 0, false);
    assert_eq!(script.show("/a"), "1 old RUNNING, 1 new RUNNING");
    health(&mut script, &new, 1, true);
    assert_eq!(script.show("/a"), "1 old KILLING, 1 new RUNNING");
    // It does not lose by a failure what it has earned.
    health(&mut script, &new, 1, false);
    script.end_killed();
    assert_eq!(script.show("/a"), "1 new RUNNING");
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_task_that_flips_earns_one_kill() {
    // contract: restart-one-for-one
    let mut script = Script::new();
    let check = json!([{"maxConsecutiveFailures": 20}]);
    script.deploy(app(json!({"healthChecks": check})));
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    let new = new_tasks(&script)[0].clone();
    for is_good in [true, false, true, false, true] {
        health(&mut script, &new, 0, is_good);
    }
    assert_eq!(
        script.show("/a"),
        "3 old RUNNING, 1 old KILLING, 4 new RUNNING"
    );
}

#[test]
fn healthy_and_ready_both_count() {
    // contract: ready-and-healthy, ready-waits
    let mut script = Script::new();
    let both = json!({"instances": 2, "healthChecks": [{}], "upgradeStrategy": strategy(1.0, 1.0)});
    script.post(with_readiness(both)).unwrap();
    script.run_staged();
    script.answer_checks(true);
    assert_eq!(
        script.engine.state().deployments.size(),
        1,
        "nobody is ready"
    );
    make_all_ready(&mut script);
    assert!(script.engine.state().deployments.is_empty());
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    let new = new_tasks(&script);
    health(&mut script, &new[0], 0, true);
    readiness(&mut script, &new[1], true);
    readiness(&mut script, &new[0], false);
    assert_eq!(script.show("/a"), "2 old RUNNING, 2 new RUNNING");
    readiness(&mut script, &new[0], true);
    assert_eq!(
        script.show("/a"),
        "1 old RUNNING, 1 old KILLING, 2 new RUNNING"
    );
    health(&mut script, &new[1], 0, true);
    assert_eq!(script.show("/a"), "2 old KILLING, 2 new RUNNING");
}

#[test]
fn readiness_is_for_new_tasks_of_deployments() {
    // contract: ready-only-deployment, trap-25, ready-at-running
    let mut script = Script::new();
    script.post(with_readiness(json!({}))).unwrap();
    assert_eq!(asked(&script), 0, "they do not run yet");
    make_all_ready(&mut script);
    assert_eq!(asked(&script), 4);
    assert!(script.engine.state().deployments.is_empty());
    // Whatever replaces a task outside of a deployment is not asked.
    let task = script.tasks("/a")[0].clone();
    script.report(&task, TaskState::Failed);
    script.tick(2_000);
    script.run_staged();
    assert_eq!(script.show("/a"), "4 new RUNNING");
    assert_eq!(asked(&script), 4);
    // Nor are the old ones of an update.
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    assert_eq!(asked(&script), 8);
}

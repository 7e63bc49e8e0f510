//! Back-off and the queue: what delays a launch, what ends a delay, and what a queued app waits with.

use serde_json::json;
use zddcluster_model::{AppId, TaskState};

use super::{app, strategy, update};
use crate::input::{Command, Selection};
use crate::script::Script;

fn is_delayed(script: &Script) -> bool {
    let entry = script.engine.state().queue.get(&AppId::absolute("/a"));
    entry.is_some_and(|entry| entry.delayed_until.is_some())
}

/// An app of one task that has just failed and may not start again for an hour.
fn delayed() -> Script {
    let mut script = Script::new();
    script.deploy(app(json!({"instances": 1, "backoffSeconds": 3600})));
    let task = script.tasks("/a")[0].clone();
    script.report(&task, TaskState::Failed);
    assert!(is_delayed(&script));
    script
}

#[test]
fn what_ends_a_delay() {
    // contract: backoff-reset, restart-reset-delay
    let mut script = delayed();
    let app_id = AppId::absolute("/a");
    let restart = Command::RestartApp {
        app_id,
        force: false,
    };
    script.command(restart).unwrap();
    assert_eq!(script.show("/a"), "1 new STAGING");
    // contract: backoff-reset, queue-purged
    let mut script = delayed();
    script.delete("/a").unwrap();
    assert!(script.engine.state().queue.is_empty());
    script.post(app(json!({"instances": 1}))).unwrap();
    assert_eq!(script.show("/a"), "1 new STAGING");
    // contract: backoff-config, queue-definition
    let mut script = delayed();
    script.put("/a", json!({"cmd": "other"}), false).unwrap();
    assert_eq!(script.show("/a"), "1 new STAGING");
    // contract: backoff-config
    let mut script = delayed();
    script.put("/a", json!({"instances": 2}), false).unwrap();
    assert_eq!(script.show("/a"), "; 2 queued");
}

#[test]
fn what_we_kill_delays_nothing() {
    // contract: backoff-not-for-kills, kill-replaced
    let mut script = Script::new();
    script.deploy(app(json!({"instances": 2, "backoffSeconds": 3600})));
    let all = Selection::App {
        app_id: AppId::absolute("/a"),
        host: None,
    };
    let kill = Command::KillTasks {
        selection: all,
        scale: false,
        wipe: false,
        force: false,
    };
    script.command(kill).unwrap();
    script.end_killed();
    assert_eq!(script.show("/a"), "2 new STAGING");
}

#[test]
fn an_update_takes_the_place_of_what_is_queued() {
    // contract: queue-definition, trap-31
    let mut script = Script::new();
    script.post(app(json!({"cpus": 5}))).unwrap();
    assert_eq!(script.show("/a"), "; 4 queued");
    script.put("/a", json!({"cpus": 6}), true).unwrap();
    let queued = script
        .engine
        .state()
        .queue
        .get(&AppId::absolute("/a"))
        .unwrap()
        .clone();
    assert_eq!((queued.app.cpus, queued.count), (6.0, 4));
    script.put("/a", json!({"cpus": 0.1}), true).unwrap();
    assert_eq!(script.show("/a"), "4 new STAGING");
}

#[test]
fn a_deployment_waits_for_a_task_that_keeps_failing() {
    // contract: restart-fails-for-ever, restart-dead-new
    let mut script = Script::new();
    script.deploy(app(
        json!({"instances": 1, "upgradeStrategy": strategy(1.0, 1.0)}),
    ));
    script.put("/a", update(2), false).unwrap();
    for failures in 1..20 {
        let tasks = script.tasks("/a");
        let new = tasks.iter().find(|task| task.started_at.is_none()).unwrap();
        script.report(new, TaskState::Failed);
        assert_eq!(
            script.show("/a"),
            "1 old RUNNING; 1 queued",
            "{failures} times"
        );
        assert!(is_delayed(&script));
        script.tick(3_600_000);
        assert_eq!(script.show("/a"), "1 old RUNNING, 1 new STAGING");
    }
    assert_eq!(script.engine.state().deployments.size(), 1);
}

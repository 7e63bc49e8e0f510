//! Ends, failures, delays, losses and versions of one app.

use serde_json::json;
use zddcluster_model::agent::TaskReport;
use zddcluster_model::task::{IpAddress, StatusReason};
use zddcluster_model::{AppId, EdgeId, TaskState};

use super::{app, update};
use crate::effect::{Answer, Refusal};
use crate::input::{CheckVerdict, Command, Input, Selection};
use crate::script::{Script, read};

#[test]
fn a_kill_through_the_api_brings_a_replacement_at_once() {
    // contract: sequence-kill, kill-replaced, trap-35, backoff-not-for-kills, event-order-room
    // contract: keep-missing
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let selection = Selection::Ids(vec![script.task_id("/a")]);
    script
        .command(Command::KillTasks {
            selection,
            scale: false,
            wipe: false,
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
    // contract: health-kill, backoff-not-for-kills, event-unhealthy_task_kill_event
    // contract: event-failed_health_check_event, z-20
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

#[test]
fn a_task_that_ends_by_itself_delays_its_successor_longer_each_time() {
    // contract: backoff-first, backoff-grows, backoff-finished, backoff-config, backoff-swept
    let mut script = Script::new();
    let id = AppId::absolute("/a");
    script.deploy(app(json!({ "instances": 1, "maxLaunchDelaySeconds": 2 })));
    // 1 s, 1.15 s, 1.3225 s, ... 2 s at most; FINISHED counts too.
    for (millis, state) in [
        (1_000, TaskState::Finished),
        (1_150, TaskState::Failed),
        (1_322, TaskState::Failed),
        (1_520, TaskState::Failed),
        (1_747, TaskState::Failed),
        (2_000, TaskState::Failed),
        (2_000, TaskState::Error),
    ] {
        script.report(&script.tasks("/a")[0].clone(), state);
        assert_eq!(script.show("/a"), "; 1 queued");
        script.tick(millis - 1);
        assert_eq!(script.show("/a"), "; 1 queued", "{millis}");
        script.tick(2);
        assert_eq!(script.show("/a"), "1 new STAGING", "{millis}");
        script.run_staged();
    }
    // Scaling keeps the delay, a new config has none.
    script.report(&script.tasks("/a")[0].clone(), TaskState::Failed);
    script.put("/a", json!({ "instances": 2 }), false).unwrap();
    let entry = script.engine.state().queue.get(&id).unwrap().clone();
    assert!(entry.delayed_until.is_some());
    script.put("/a", update(2), true).unwrap();
    assert_eq!(script.show("/a"), "2 new STAGING");
    // A delay that has run out is forgotten after a while.
    script.run_staged();
    script.report(&script.tasks("/a")[0].clone(), TaskState::Failed);
    script.tick(60_000);
    script.run_staged();
    script.report(&script.tasks("/a")[0].clone(), TaskState::Failed);
    script.tick(1_000);
    assert_eq!(script.show("/a"), "1 new STAGING, 1 new RUNNING");
}

#[test]
fn resetting_the_delay_launches_at_once() {
    // contract: backoff-reset
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1, "backoffSeconds": 3600 })));
    let app_id = AppId::absolute("/a");
    let reset = Command::ResetDelay { app_id };
    let refused = script.command(reset.clone());
    assert!(matches!(refused, Err(Refusal::NotQueued(_))));
    script.report(&script.tasks("/a")[0].clone(), TaskState::Failed);
    assert_eq!(script.show("/a"), "; 1 queued");
    script.command(reset).unwrap();
    assert_eq!(script.show("/a"), "1 new STAGING");
}

#[test]
fn tasks_of_a_lost_agent_are_replaced_and_the_youngest_go_if_it_returns() {
    // contract: lost-replaced, lost-returns, lost-forgotten
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 2 })));
    let lost = script.tasks("/a")[0].clone();
    script.events();
    script.lose_agent(&lost.agent_id);
    script.tick(74_000);
    assert_eq!(script.show("/a"), "2 new RUNNING");
    script.tick(2_000);
    assert_eq!(script.show("/a"), "1 new STAGING, 1 new RUNNING");
    assert_eq!(script.events(), ["TASK_LOST", "TASK_STAGING"]);
    script.run_staged();
    script.tick(10_000);
    script.agent_returns(&lost.agent_id, std::slice::from_ref(&lost));
    assert_eq!(script.show("/a"), "2 new RUNNING, 1 new KILLING");
    let killed = script.tasks("/a").into_iter();
    let killed: Vec<_> = killed
        .filter(|task| task.state == TaskState::Killing)
        .collect();
    assert!(killed[0].started_at > lost.started_at);
    // And one that does not return in time is forgotten, and killed as a stranger.
    script.end_killed();
    script.events();
    script.lose_agent(&lost.agent_id);
    script.tick(80_000);
    script.run_staged();
    // Lost for more than 75 s, but nobody looks before five minutes, and then every half.
    let since_start = 74_000 + 2_000 + 10_000 + 80_000;
    script.tick(299_000 - since_start);
    let is_known = |script: &Script| script.engine.state().tasks.contains_key(&lost.id);
    assert!(is_known(&script));
    script.tick(2_000);
    assert!(!is_known(&script));
    // When it is lost and when it is forgotten, for that is when it vanishes from the API.
    let lost_events = script
        .events()
        .into_iter()
        .filter(|event| *event == "TASK_LOST");
    assert_eq!(lost_events.count(), 2);
    let n_kills = script.kills.len();
    script.agent_returns(&lost.agent_id, std::slice::from_ref(&lost));
    assert_eq!(script.kills.len(), n_kills + 1);
    assert_eq!(script.show("/a"), "2 new RUNNING");
}

#[test]
fn an_address_that_an_agent_corrects_is_told_and_kept() {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let task = script.tasks("/a")[0].clone();
    script.events();
    let report = |address: &str| TaskReport {
        task_id: task.id.clone(),
        state: TaskState::Running,
        message: String::new(),
        reason: None,
        ip_addresses: vec![IpAddress {
            ip_address: address.to_owned(),
            protocol: "IPv4".to_owned(),
        }],
    };
    for (address, events) in [
        ("10.1.0.2", &["TASK_RUNNING"][..]),
        ("10.1.0.2", &[]),
        ("10.1.0.3", &["TASK_RUNNING"]),
    ] {
        let report = report(address);
        let ip_addresses = report.ip_addresses.clone();
        script.step(Input::TaskStatus {
            agent_id: task.agent_id.clone(),
            report,
        });
        assert_eq!(script.events(), events, "{address}");
        assert_eq!(script.tasks("/a")[0].ip_addresses, ip_addresses);
    }
    assert_eq!(script.tasks("/a")[0].started_at, task.started_at);
}

#[test]
fn the_reason_of_an_end_is_kept_unless_it_was_asked_for() {
    for is_asked in [false, true] {
        let mut script = Script::new();
        script.deploy(app(json!({ "instances": 1 })));
        let task = script.tasks("/a")[0].clone();
        if is_asked {
            script.delete("/a").unwrap();
        }
        script.step(Input::TaskStatus {
            agent_id: task.agent_id.clone(),
            report: TaskReport {
                task_id: task.id.clone(),
                state: TaskState::Failed,
                message: "Memory limit exceeded".to_owned(),
                reason: Some(StatusReason::MemoryLimit),
                ip_addresses: Vec::new(),
            },
        });
        let ended = script.engine.state().completed.last().unwrap().clone();
        let told = (ended.state, ended.reason);
        let expected = match is_asked {
            false => (TaskState::Failed, Some(StatusReason::MemoryLimit)),
            true => (TaskState::Killed, None),
        };
        assert_eq!(told, expected);
    }
}

#[test]
fn a_kill_with_scale_takes_the_named_task() {
    // contract: kill-order-sentenced, kill-scale, trap-35
    let mut script = Script::new();
    script.deploy(app(json!({})));
    let oldest = script.task_id("/a");
    let selection = Selection::One {
        app_id: AppId::absolute("/a"),
        task_id: oldest.clone(),
    };
    let answer = script.command(Command::KillTasks {
        selection,
        scale: true,
        wipe: false,
        force: false,
    });
    assert!(matches!(answer, Ok(Answer::Deployment { .. })));
    assert_eq!(script.app("/a").instances, 3);
    script.end_killed();
    assert_eq!(script.show("/a"), "3 old RUNNING");
    assert!(script.tasks("/a").iter().all(|task| task.id != oldest));
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_restart_to_no_instances_waits_for_the_last_end() {
    // contract: restart-zero, z-4
    let mut script = Script::new();
    script.deploy(app(json!({})));
    let gone = json!({ "instances": 0, "env": { "RELEASE": "2" } });
    script.put("/a", gone, false).unwrap();
    assert_eq!(script.show("/a"), "4 old KILLING");
    assert_eq!(script.engine.state().deployments.size(), 1);
    script.end_killed();
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn going_back_to_a_version_makes_a_new_one() {
    // contract: put-version
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let first = script.app("/a");
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    script.end_killed();
    script.tick(1);
    let unknown = json!({ "version": "2001-01-01T00:00:00.000Z" });
    let refused = script.put("/a", unknown, false);
    assert!(matches!(refused, Err(Refusal::UnknownApp(_))));
    let second = script.app("/a");
    script
        .put("/a", json!({ "version": first.version }), false)
        .unwrap();
    let third = script.app("/a");
    assert_eq!(third.env, first.env);
    assert!(third.version > second.version);
    assert_eq!(third.config_version(), third.version);
    assert_eq!(script.show("/a"), "1 old RUNNING, 1 new STAGING");
}

#[test]
fn versions_move_as_the_kind_of_change_says() {
    // contract: change-none, change-instances, change-restart, trap-19, trap-38, sequence-no-steps
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let first = script.app("/a");
    script.put("/a", json!({ "labels": null }), false).unwrap();
    assert_eq!(*script.app("/a"), *first, "no change");
    assert!(script.engine.state().deployments.is_empty());
    assert_eq!(
        script.events(),
        [
            "group_change_success",
            "api_post_event",
            "deployment_success"
        ]
    );
    script.put("/a", json!({ "instances": 2 }), false).unwrap();
    script.run_staged();
    let scaled = script.app("/a").version_info.unwrap();
    assert!(scaled.last_scaling_at > first.version);
    assert_eq!(scaled.last_config_change_at, first.version);
    let restart = Command::RestartApp {
        app_id: AppId::absolute("/a"),
        force: false,
    };
    script.command(restart).unwrap();
    assert_eq!(script.show("/a"), "2 old RUNNING, 2 new STAGING");
    let restarted = script.app("/a").version_info.unwrap();
    assert!(restarted.last_scaling_at > scaled.last_scaling_at);
    assert_eq!(restarted.last_config_change_at, first.version);
}

#[test]
fn dependencies_are_done_before_their_dependants() {
    // contract: plan-levels
    let mut script = Script::new();
    let updates = vec![
        read(&app(
            json!({ "id": "/web", "instances": 1, "dependencies": ["/db"] }),
        )),
        read(&app(json!({ "id": "/db", "instances": 1 }))),
    ];
    script
        .command(Command::UpdateApps {
            updates,
            force: false,
        })
        .unwrap();
    assert_eq!(
        (script.tasks("/db").len(), script.tasks("/web").len()),
        (1, 0)
    );
    script.run_staged();
    assert_eq!(script.tasks("/web").len(), 1);
    script.run_staged();
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_single_failure_during_grace_shows_but_does_not_count() {
    // contract: health-grace, health-alive, event-failed_health_check_event
    // contract: event-health_status_changed_event
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1, "healthChecks": [{}] })));
    script.put("/a", update(2), false).unwrap();
    script.run_staged();
    let new = |script: &Script| {
        let version = script.app("/a").version;
        let mut tasks = script.tasks("/a").into_iter();
        tasks.rfind(|task| task.version == version).unwrap()
    };
    script.events();
    let fail = |script: &mut Script| {
        script.step(Input::Health {
            task_id: new(script).id.clone(),
            check_idx: 0,
            verdict: CheckVerdict::Unhealthy("500 Internal Server Error".to_owned()),
        });
    };
    fail(&mut script);
    assert!(script.events().is_empty());
    let result = new(&script).health[0].clone().unwrap();
    assert!(!result.alive && result.consecutive_failures == 0 && result.last_failure.is_none());
    script.answer_checks(true);
    script.end_killed();
    script.events();
    // Once it was well, grace is over for good.
    fail(&mut script);
    assert_eq!(
        script.events(),
        ["failed_health_check_event", "health_status_changed_event"]
    );
}

#[test]
fn the_end_of_a_task_that_was_given_up_is_told() {
    // contract: event-unknown_task_terminated_event
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let task = script.tasks("/a")[0].clone();
    script.delete("/a").unwrap();
    script.end_killed();
    script.events();
    script.report(&task, TaskState::Failed);
    let events = script.take_events();
    let json: Vec<String> = events
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    let expected = format!(
        r#"{{"taskId":"{}","runSpecId":"/a","status":"TASK_FAILED","timestamp":"{}","eventType":"unknown_task_terminated_event"}}"#,
        task.id, events[0].timestamp
    );
    assert_eq!(json, [expected]);
}

#[test]
fn an_apps_label_says_how_long_edges_may_hold_its_tasks() {
    for (seconds, held) in [("30", 30_000), ("1", 1_000), ("0", 0)] {
        let mut script = Script::new();
        let labels = json!({ "ZDD_DRAIN_SECONDS": seconds });
        script.deploy(app(json!({ "instances": 1, "labels": labels })));
        script.step(Input::EdgeConnected(EdgeId::new("e")));
        script.delete("/a").unwrap();
        script.tick((held - 1).max(0));
        assert_eq!(script.kills.len(), usize::from(held == 0), "{seconds}");
        script.tick(1);
        assert_eq!(script.kills.len(), 1, "{seconds}");
    }
    let mut script = Script::new();
    for text in ["3601", "-1", "1.5", "a while"] {
        let refused = script.post(app(json!({ "labels": { "ZDD_DRAIN_SECONDS": text } })));
        assert!(
            matches!(refused, Err(Refusal::Invalid(_))),
            "{text}: {refused:?}"
        );
    }
}

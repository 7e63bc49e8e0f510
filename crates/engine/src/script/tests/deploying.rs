//! What deployments tell, lock and leave behind.

use serde_json::json;
use zddcluster_model::event::EventKind;
use zddcluster_model::{AppId, TaskState};

use super::{app, strategy, update};
use crate::effect::{Answer, Refusal};
use crate::input::Command;
use crate::script::{Script, origin, read};

/// The groups named in `group_change_success` and, with `!`, in `group_change_failed` since the last look.
fn groups(script: &mut Script) -> Vec<String> {
    let events = script.take_events().into_iter();
    let named = events.filter_map(|event| match event.kind {
        EventKind::GroupChangeSuccess { group_id, .. } => Some(group_id.to_string()),
        EventKind::GroupChangeFailed {
            group_id, reason, ..
        } => {
            assert!(!reason.is_empty());
            Some(format!("!{group_id}"))
        }
        _ => None,
    });
    named.collect()
}

#[test]
fn scaling_is_told_in_order() {
    // contract: sequence-scale-up, event-add_health_check_event
    let mut script = Script::new();
    script.deploy(app(json!({"instances": 1, "healthChecks": [{}]})));
    script.put("/a", json!({"instances": 2}), false).unwrap();
    script.run_staged();
    script.answer_checks(true);
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "add_health_check_event",
            "group_change_success",
            "api_post_event",
            "TASK_STAGING",
            "TASK_RUNNING",
            "health_status_changed_event",
            "deployment_step_success",
            "deployment_success",
        ]
    );
    // contract: sequence-scale-down, task-vanishes
    script.put("/a", json!({"instances": 1}), false).unwrap();
    script.end_killed();
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "add_health_check_event",
            "group_change_success",
            "api_post_event",
            "TASK_KILLING",
            "TASK_KILLED",
            "deployment_step_success",
            "deployment_success",
        ]
    );
    assert_eq!(script.engine.state().tasks.size(), 1);
}

#[test]
fn an_update_is_told_in_order() {
    // contract: sequence-update, event-order-room, event-order-states, event-remove_health_check_event
    let mut script = Script::new();
    let definition =
        json!({"instances": 2, "healthChecks": [{}], "upgradeStrategy": strategy(0.5, 0.0)});
    script.deploy(app(definition));
    script.put("/a", update(2), false).unwrap();
    script.end_killed();
    script.run_staged();
    script.answer_checks(true);
    script.end_killed();
    script.run_staged();
    script.answer_checks(true);
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "add_health_check_event",
            "group_change_success",
            "api_post_event",
            "TASK_KILLING",
            "TASK_KILLED",
            "TASK_STAGING",
            "TASK_RUNNING",
            "health_status_changed_event",
            "TASK_KILLING",
            "TASK_KILLED",
            "TASK_STAGING",
            "TASK_RUNNING",
            "health_status_changed_event",
            "deployment_step_success",
            "deployment_success",
        ]
    );
}

#[test]
fn a_check_that_runs_is_not_announced_again() {
    // contract: sequence-check-once
    let mut script = Script::new();
    script
        .post(app(
            json!({"instances": 1, "healthChecks": [{}, {"path": "/x"}]}),
        ))
        .unwrap();
    let restarts = |events: Vec<&str>| {
        let added = events
            .iter()
            .filter(|event| **event == "add_health_check_event");
        let steps = events.iter().filter(|event| **event == "deployment_info");
        (added.count(), steps.count())
    };
    // Two steps on the same version: one event a check.
    assert_eq!(restarts(script.events()), (2, 2));
}

#[test]
fn versions_grow_on_the_path() {
    // contract: plan-version, change-groups
    let mut script = Script::new();
    for id in ["/zdd/a", "/other/b"] {
        script.post(app(json!({"id": id, "instances": 0}))).unwrap();
    }
    let version = |script: &Script, id: &str| {
        script
            .engine
            .state()
            .root
            .group(&AppId::absolute(id))
            .unwrap()
            .version
    };
    let mut latest = script.engine.state().root.version;
    let other = version(&script, "/other");
    // All of it in one millisecond; the second change changes nothing.
    for change in [json!({"instances": 1}), json!({}), update(2)] {
        script.put("/zdd/a", change, true).unwrap();
        let root = version(&script, "/");
        assert!(root > latest);
        assert_eq!(version(&script, "/zdd"), root);
        assert_eq!(version(&script, "/other"), other);
        latest = root;
    }
    assert_eq!(script.app("/zdd/a").version, latest);
}

#[test]
fn the_group_of_a_change_is_named() {
    // contract: plan-group-event, event-group_change_success, event-group_change_failed
    let mut script = Script::new();
    let definition = app(json!({"id": "/zdd/deep/a", "cpus": 5}));
    script.post(definition.clone()).unwrap();
    assert_eq!(groups(&mut script), ["/zdd/deep"]);
    // contract: id-creates-groups
    let root = &script.engine.state().root;
    assert!(root.group(&AppId::absolute("/zdd/deep")).is_some());
    let refused = script.post(definition);
    assert!(matches!(refused, Err(Refusal::AppExists(_))));
    assert_eq!(groups(&mut script), ["!/zdd/deep"]);
    let refused = script.put("/zdd/deep/a", update(2), false);
    assert!(matches!(refused, Err(Refusal::Locked(_))));
    assert_eq!(groups(&mut script), ["!/zdd/deep"]);
    let refused = script.delete("/zdd/none");
    assert!(matches!(refused, Err(Refusal::UnknownApp(_))));
    assert_eq!(groups(&mut script), ["!/zdd"]);
    let cycle = script.post(app(json!({"id": "/zdd/b", "dependencies": ["/zdd/b"]})));
    assert!(matches!(cycle, Err(Refusal::Invalid(_))));
    assert_eq!(groups(&mut script), ["!/zdd"]);
    script.delete("/zdd/deep/a").unwrap();
    assert_eq!(groups(&mut script), ["/zdd/deep"]);
}

#[test]
fn a_plan_locks_what_it_acts_on() {
    // contract: lock-affected
    let mut script = Script::new();
    script.deploy(app(json!({"id": "/b", "instances": 1})));
    script.post(app(json!({"cpus": 5}))).unwrap();
    script.put("/b", update(2), false).unwrap();
    assert_eq!(script.engine.state().deployments.size(), 2);
    // Nothing to do is in nobody's way.
    let before = script.app("/a");
    let answer = script.put("/a", json!({"instances": 4}), false);
    assert!(matches!(answer, Ok(Answer::Deployment { .. })));
    assert_eq!(script.engine.state().deployments.size(), 2);
    // contract: lock-refused
    script.events();
    let refused = script.put("/a", json!({"instances": 3}), false);
    let Err(Refusal::Locked(ids)) = refused else {
        panic!("{refused:?}")
    };
    let plans = script.engine.state().deployments_of(&before.id);
    let in_the_way: Vec<_> = plans.map(|running| running.plan.id.clone()).collect();
    assert_eq!(ids, in_the_way);
    assert_eq!(*script.app("/a"), *before);
    assert_eq!(script.events(), ["group_change_failed"]);
    // An app on its way out is locked too, though no tree has it any more.
    script.run_staged();
    script.end_killed();
    script.delete("/b").unwrap();
    let again = script.post(app(json!({"id": "/b"})));
    assert!(matches!(again, Err(Refusal::Locked(ids)) if ids.len() == 1));
}

#[test]
fn a_forced_change_takes_over() {
    // contract: lock-forced, trap-32, lock-no-rollback, event-deployment_step_failure
    let mut script = Script::new();
    let definition = json!({"upgradeStrategy": strategy(1.0, 0.5), "cpus": 1});
    script.deploy(app(definition));
    script.put("/a", json!({"cpus": 3}), false).unwrap();
    // Two may start, none fits.
    assert_eq!(script.show("/a"), "4 old RUNNING; 2 queued");
    script.events();
    script
        .put("/a", json!({"cpus": 1, "env": {"A": "1"}}), true)
        .unwrap();
    assert_eq!(script.show("/a"), "4 old RUNNING, 2 new STAGING");
    let events = script.events();
    assert_eq!(
        events[..3],
        [
            "deployment_step_failure",
            "deployment_failed",
            "deployment_info"
        ]
    );
}

#[test]
fn what_was_stored_is_taken_up_again() {
    // contract: resume-plans, resume-state
    let mut script = Script::new();
    script.post(app(json!({"cpus": 5}))).unwrap();
    let plan = script
        .engine
        .state()
        .deployments
        .keys()
        .next()
        .unwrap()
        .clone();
    let (app, root) = (script.app("/a"), script.engine.state().root.version);
    script.events();
    script.restart_master();
    assert_eq!(*script.app("/a"), *app);
    assert_eq!(script.engine.state().root.version, root);
    let plans: Vec<_> = script.engine.state().deployments.keys().cloned().collect();
    assert_eq!(plans, [plan]);
    // From the first step, which is done at once.
    assert_eq!(
        script.events(),
        [
            "deployment_info",
            "deployment_step_success",
            "deployment_info"
        ]
    );
    assert_eq!(script.show("/a"), "; 4 queued");
}

#[test]
fn all_apps_of_a_list_are_one_deployment() {
    // contract: apps-put-list, event-api_post_event
    let mut script = Script::new();
    script.deploy(app(json!({"instances": 1})));
    let updates = vec![
        read(&json!({"id": "/a", "instances": 2})),
        read(&json!({"cmd": "no id"})),
        read(&app(json!({"id": "/g/new", "instances": 1}))),
    ];
    script
        .command(Command::UpdateApps {
            updates,
            force: false,
        })
        .unwrap();
    let affected: Vec<_> = script
        .engine
        .state()
        .deployments
        .values()
        .map(|running| running.plan.affected_apps())
        .collect();
    assert_eq!(affected, [["/a", "/g/new"].map(AppId::absolute)]);
    assert!(!script.events().contains(&"api_post_event"));
    assert_eq!(script.engine.state().root.transitive_apps().len(), 2);
}

#[test]
fn a_full_update_forgets_what_it_does_not_name() {
    // contract: put-full
    let mut script = Script::new();
    script.deploy(app(json!({"env": {"A": "1"}, "labels": {"l": "1"}})));
    let full = Command::UpdateApp {
        app_id: AppId::absolute("/a"),
        update: read(&json!({"cmd": "other"})),
        is_full: true,
        force: false,
        origin: origin(),
    };
    script.command(full).unwrap();
    let app = script.app("/a");
    assert_eq!((app.instances, app.cpus), (1, 1.0));
    assert!(app.env.is_empty() && app.labels.is_empty());
    assert_eq!(app.cmd.as_deref(), Some("other"));
    // contract: trap-28
    assert_eq!(app.service_ports(), [10_000]);
}

#[test]
fn labels_alone_replace_all_tasks() {
    // contract: trap-18, chapter-blue-green, change-which
    let mut script = Script::new();
    script.deploy(app(json!({})));
    script
        .put("/a", json!({"labels": {"HAPROXY_0_PORT": "80"}}), false)
        .unwrap();
    script.run_staged();
    script.end_killed();
    assert_eq!(script.show("/a"), "4 new RUNNING");
    assert!(
        script
            .tasks("/a")
            .iter()
            .all(|task| task.state == TaskState::Running)
    );
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn unknown_dependencies_hold_nothing_up() {
    // contract: trap-34
    let mut script = Script::new();
    script.deploy(app(json!({"dependencies": ["/nowhere"]})));
    assert_eq!(script.show("/a"), "4 new RUNNING");
}

#[test]
fn so_many_apps_and_no_more() {
    // contract: other-most-apps
    let mut script = Script::new();
    script.config.max_apps = Some(1);
    script.restart_master();
    let apps = vec![
        read(&app(json!({"id": "/a"}))),
        read(&app(json!({"id": "/b"}))),
    ];
    let list = Command::UpdateApps {
        updates: apps,
        force: false,
    };
    let text = "This Marathon instance may only handle up to 1 Apps!\n(Override with command line option --max_apps)";
    let refused = script.command(list);
    let Err(Refusal::Invalid(faults)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (faults[0].path.as_str(), &faults[0].errors[..]),
        ("/", &[text.to_owned()][..])
    );
    script.deploy(app(json!({"id": "/a"})));
    let refused = script.post(app(json!({"id": "/b"})));
    assert!(matches!(refused, Err(Refusal::Invalid(_))));
    // What is there may change.
    script.put("/a", json!({"instances": 1}), false).unwrap();
}

//! Stopping a deployment, and going back from one.

use serde_json::json;
use zddcluster_model::{AppId, DeploymentId, TaskState};

use super::{app, update};
use crate::effect::{Answer, Refusal};
use crate::input::Command;
use crate::script::{Script, read};

fn deployment_id(answer: Result<Answer, Refusal>) -> DeploymentId {
    match answer {
        Ok(Answer::Deployment { deployment_id, .. }) => deployment_id,
        other => panic!("{other:?}"),
    }
}

fn roll_back(script: &mut Script, deployment_id: DeploymentId) -> DeploymentId {
    let answer = script.command(Command::RollBackDeployment { deployment_id });
    self::deployment_id(answer)
}

fn group_exists(script: &Script, id: &str) -> bool {
    let root = &script.engine.state().root;
    root.group(&AppId::absolute(id)).is_some()
}

/// Lets whatever is to end or begin do so, until nothing runs any more.
fn settle(script: &mut Script) {
    for _ in 0..20 {
        script.end_killed();
        script.run_staged();
        script.answer_checks(true);
    }
    assert!(script.engine.state().deployments.is_empty());
}

#[test]
fn a_stop_is_one_event_and_nothing_else() {
    // contract: stop-and-sweep, event-deployment_failed, lock-no-rollback
    let mut script = Script::new();
    script.deploy(app(json!({ "healthChecks": [{}] })));
    let deployment_id = deployment_id(script.put("/a", update(2), false));
    script.run_staged();
    script.events();
    let stopped = script.command(Command::CancelDeployment { deployment_id });
    assert!(matches!(stopped, Ok(Answer::Done)), "{stopped:?}");
    assert_eq!(script.events(), ["deployment_failed"]);
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new RUNNING");
}

#[test]
fn a_rollback_replaces_both_releases_by_the_first_under_a_new_version() {
    // contract: rollback-changed, rollback-sequence, trap-33, deployment-rollback
    let mut script = Script::new();
    script.deploy(app(json!({ "healthChecks": [{}] })));
    let first = script.app("/a");
    let update_id = deployment_id(script.put("/a", update(2), false));
    let second = script.app("/a");
    script.run_staged();
    script.events();
    let back_id = roll_back(&mut script, update_id.clone());
    assert_ne!(back_id, update_id);
    let events = script.events();
    assert_eq!(
        events[..4],
        [
            "deployment_failed",
            "deployment_info",
            "add_health_check_event",
            "group_change_success",
        ],
        "{events:?}"
    );
    let third = script.app("/a");
    assert_eq!(third.env, first.env);
    assert!(third.version > second.version);
    assert_eq!(third.config_version(), third.version, "a new config");
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 old KILLING");
    settle(&mut script);
    assert_eq!(script.show("/a"), "4 new RUNNING");
    let again = script.command(Command::RollBackDeployment {
        deployment_id: update_id,
    });
    assert!(matches!(again, Err(Refusal::UnknownDeployment(_))));
}

#[test]
fn a_rollback_of_a_scaling_scales_and_one_of_a_restart_leaves_the_tasks() {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 2 })));
    let first = script.app("/a");
    let scaling = deployment_id(script.put("/a", json!({ "instances": 4 }), false));
    script.run_staged();
    // Done; the next one is not.
    assert!(script.engine.state().deployments.is_empty(), "{scaling}");
    let scaling = deployment_id(script.put("/a", json!({ "instances": 6 }), false));
    roll_back(&mut script, scaling);
    let back = script.app("/a");
    assert_eq!((back.instances, back.config_version()), (4, first.version));
    assert_eq!(script.show("/a"), "4 old RUNNING, 2 old KILLING");
    settle(&mut script);

    let restart = deployment_id(script.command(Command::RestartApp {
        app_id: AppId::absolute("/a"),
        force: false,
    }));
    script.events();
    roll_back(&mut script, restart);
    // The definition is the same, so the plan back is empty; the surplus goes at once.
    assert_eq!(
        script.events(),
        [
            "deployment_failed",
            "group_change_success",
            "deployment_success",
            "TASK_KILLING",
            "TASK_KILLING",
            "TASK_KILLING",
            "TASK_KILLING",
        ]
    );
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new KILLING");
}

#[test]
fn a_rollback_removes_what_was_added_and_keeps_what_others_did() {
    // contract: rollback-added, rollback-others
    let mut script = Script::new();
    script.deploy(app(json!({ "id": "/other", "instances": 1 })));
    let added = |id: &str| read(&app(json!({ "id": id, "instances": 1 })));
    let updates = vec![added("/new/inner/a"), added("/used/b")];
    let plan = script.command(Command::UpdateApps {
        updates,
        force: false,
    });
    let plan = deployment_id(plan);
    // Meanwhile others change another app, and put one into a group that the plan has added.
    script.put("/other", update(2), false).unwrap();
    script
        .post(app(json!({ "id": "/used/mine", "instances": 1 })))
        .unwrap();
    script.restart_master();
    roll_back(&mut script, plan);
    settle(&mut script);
    let state = script.engine.state();
    let ids: Vec<&str> = state
        .root
        .transitive_apps()
        .iter()
        .map(|app| app.id.as_str())
        .collect();
    assert_eq!(ids, ["/other", "/used/mine"]);
    assert!(!group_exists(&script, "/new"), "added, and empty");
    assert!(group_exists(&script, "/used"), "added, and used by others");
    let other = script.app("/other");
    assert!(other.env.contains_key("RELEASE"));
    assert_eq!(script.show("/other"), "1 new RUNNING");
}

#[test]
fn a_removed_app_comes_back_also_when_the_master_has_died_and_it_had_ended() {
    // contract: rollback-changed
    let mut script = Script::new();
    script.deploy(app(json!({ "id": "/zdd/a", "instances": 2 })));
    let first = script.app("/zdd/a");
    let removal = deployment_id(script.delete("/zdd/a"));
    script.end_one_of_all();
    script.restart_master();
    roll_back(&mut script, removal);
    // One is on its way out; both instances come anew, beside it.
    assert_eq!(script.show("/zdd/a"), "1 old KILLING, 2 new STAGING");
    assert_eq!(script.engine.state().deployments.size(), 1);
    settle(&mut script);
    assert_eq!(script.show("/zdd/a"), "2 new RUNNING");
    let back = script.app("/zdd/a");
    assert_eq!(back.service_ports(), first.service_ports());
    assert!(back.version > first.version);
}

#[test]
fn a_removed_app_comes_back_with_its_past() {
    // contract: rollback-changed
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    script.put("/a", update(2), false).unwrap();
    settle(&mut script);
    let id = AppId::absolute("/a");
    let past = script.engine.state().versions[&id].len();
    assert_eq!(past, 2);
    let removal = deployment_id(script.delete("/a"));
    roll_back(&mut script, removal);
    settle(&mut script);
    assert_eq!(script.engine.state().versions[&id].len(), past + 1);
}

#[test]
fn the_original_wins_over_what_others_did_to_the_same_app() {
    // contract: rollback-changed
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let first = script.app("/a");
    let blocked = json!({ "cpus": 400, "env": { "RELEASE": "2" } });
    let plan = deployment_id(script.put("/a", blocked, false));
    assert_eq!(script.show("/a"), "1 old RUNNING; 1 queued");
    roll_back(&mut script, plan);
    assert_eq!(script.app("/a").cpus, first.cpus);
    assert_eq!(script.show("/a"), "1 old RUNNING, 1 new STAGING");
    settle(&mut script);
    // Nothing of the app's past is kept once it is gone.
    script.delete("/a").unwrap();
    script.end_killed();
    let id = AppId::absolute("/a");
    assert!(
        script
            .engine
            .state()
            .version_of(&id, first.version)
            .is_none()
    );
    script.restart_master();
    assert!(script.engine.state().tasks.is_empty());
}

#[test]
fn a_stopped_removal_forgets_the_app_with_its_last_task() {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let first = script.app("/a");
    let id = AppId::absolute("/a");
    let deployment_id = deployment_id(script.delete("/a"));
    script
        .command(Command::CancelDeployment { deployment_id })
        .unwrap();
    let of_task = script.engine.state().version_of(&id, first.version);
    assert!(of_task.is_some(), "its task still runs by it");
    let task = script.engine.state().tasks.values().next().unwrap().clone();
    script.report(&task, TaskState::Killed);
    assert!(
        script
            .engine
            .state()
            .version_of(&id, first.version)
            .is_none()
    );
}

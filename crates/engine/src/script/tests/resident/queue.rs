//! Resident instances in the queue: where they go, and what those are told that wait.

use serde_json::json;
use zddcluster_model::{AppId, TaskState};

use super::super::app;
use super::resident;
use crate::blocker::blockers_of_app;
use crate::input::{Command, Selection};
use crate::script::Script;
use crate::volume::CLAIMS_GATHERED;

#[test]
fn many_instances_look_once_a_step_for_what_there_is() {
    let gathered = || CLAIMS_GATHERED.replace(0);
    let mut script = Script::new();
    for host in 13..=22 {
        script.register_another(host);
    }
    gathered();
    script
        .post(resident(json!({ "instances": 200, "cpus": 0.01 })))
        .unwrap();
    script.tick(0);
    assert_eq!(script.show("/a"), "200 new STAGING");
    assert!(gathered() <= 2, "not for each of them");
    script.run_staged();
    let places = script.places();
    assert_eq!(script.engine.state().reservations.size(), 200);
    // All together start anew where they were.
    gathered();
    let selection = Selection::App {
        app_id: AppId::absolute("/a"),
        host: None,
    };
    let (scale, wipe, force) = (false, false, false);
    script
        .command(Command::KillTasks {
            selection,
            scale,
            wipe,
            force,
        })
        .unwrap();
    script.end_killed();
    let ended = gathered();
    script.tick(10_000);
    script.run_staged();
    assert_eq!(script.show("/a"), "200 new RUNNING");
    assert!(script.places() == places, "on their volumes");
    assert!(ended <= 200, "one a task that ends: {ended}");
}

#[test]
fn who_waits_for_volumes_is_told_where_they_are() {
    let mut script = Script::new();
    let port = json!({
        "instances": 1,
        "portDefinitions": [{ "port": 9000 }],
        "requirePorts": true,
    });
    script.deploy(resident(port.clone()));
    let task = script.tasks("/a")[0].clone();
    script.report(&task, TaskState::Failed);
    // Somebody else has taken its port by the time it may start again.
    let mut other = app(port);
    other["id"] = json!("/b");
    other["constraints"] = json!([["hostname", "CLUSTER", task.host]]);
    script.deploy(other);
    script.tick(2_000);
    let state = script.engine.state();
    let blockers = blockers_of_app(state, &task.app_id);
    let lines = blockers[0].lines(state, state.clock).join("\n");
    let host = &task.host;
    let words = format!("has no free volume of the app; that is on agent {host}");
    assert!(lines.ends_with(&words), "{lines}");
    assert_eq!(
        blockers[0].hint(state),
        format!(
            "free port 9000, choose another, or set requirePorts to false; \
             its data is on agent {host}, which has to take it again"
        )
    );
}

#[test]
fn who_waits_for_volumes_that_tasks_have_waits_for_their_end() {
    let mut script = Script::new();
    script.deploy(resident(json!({ "instances": 2 })));
    script.put("/a", json!({ "instances": 1 }), false).unwrap();
    script.put("/a", json!({ "instances": 2 }), true).unwrap();
    assert_eq!(script.show("/a"), "1 old RUNNING, 1 old KILLING; 1 queued");
    let state = script.engine.state();
    let blockers = blockers_of_app(state, &AppId::absolute("/a"));
    let lines = blockers[0].lines(state, state.clock).join("\n");
    let words = "has no free volume of the app, and tasks have them all";
    assert_eq!(lines.matches(words).count(), 2, "{lines}");
    assert_eq!(
        blockers[0].hint(state),
        "it goes on when a task that has one of the app's volumes has ended"
    );
    script.settle();
    assert_eq!(script.show("/a"), "1 old RUNNING, 1 new RUNNING");
}

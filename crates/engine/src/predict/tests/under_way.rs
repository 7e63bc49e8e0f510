//! Predictions that begin in the middle: other deployments run, tasks start and end, the cluster was written down.

use zddcluster_model::{EdgeId, TaskState};

use super::*;
use crate::input::Command;
use crate::predict::Cluster as Written;
use crate::script::Script;

fn request(version: &str, keys: Value, force: bool) -> Value {
    json!({ "app": "/a", "update": app(version, keys), "force": force })
}

fn app(version: &str, keys: Value) -> Value {
    let mut app = json!({
        "id": "/a", "cmd": "sleep 1", "instances": 4, "cpus": 0.1, "mem": 32,
        "env": { "VERSION": version },
    });
    let object = app.as_object_mut().expect("an object");
    object.extend(keys.as_object().cloned().unwrap_or_default());
    app
}

fn at(script: &Script) -> Cluster {
    Cluster {
        config: script.engine.config().clone(),
        state: script.engine.state().clone(),
    }
}

#[test]
fn a_locked_app_is_refused_and_a_forced_update_replaces_both_releases() {
    let mut script = Script::new();
    script.deploy(app("1", json!({})));
    script.put("/a", app("2", json!({})), false).unwrap();
    let cluster = at(&script);
    let refused = cluster.try_predict(request("3", json!({}), false));
    assert!(matches!(refused, Err(Refusal::Locked(_))), "{refused:?}");
    let timeline = cluster.predict(request("3", json!({}), true));
    assert_eq!(
        course(&timeline),
        [
            "0: 4 × 1 serving, 4 × 2 staging",
            // The new ones do not run yet, so they go first.
            "0: 4 × 1 serving, 4 × 2 killing",
            "200: 4 × 1 serving, 4 × 3 staging",
            "1200: 4 × 1 killing, 4 × 3 serving",
            "1400: 4 × 3 serving",
        ]
    );
    // Nothing of it has happened.
    assert_eq!(script.show("/a"), "4 old RUNNING, 4 new STAGING");
}

#[test]
fn what_is_under_way_goes_on_and_makes_room() {
    let mut script = Script::new();
    script.deploy(app("1", json!({ "cpus": 2.0 })));
    // All eight cores are taken until another app's tasks, which are ending, are gone.
    script.put("/a", json!({ "instances": 0 }), false).unwrap();
    let cluster = at(&script);
    let timeline = cluster.predict(json!({ "apps": [{
        "id": "/b", "cmd": "sleep 1", "instances": 2, "cpus": 2.0,
    }] }));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes);
    assert_eq!(picture(&timeline.points[1]), "; 2 waiting");
    assert_eq!(timeline.apps[0].actions.len(), 2);
}

#[test]
fn an_update_waits_for_another_one_however_slow() {
    // Twelve tasks, one after the other, each healthy only in the next round: more than any task of /b can take.
    let slow = json!({
        "instances": 12, "cpus": 0.5,
        "healthChecks": [{ "gracePeriodSeconds": 10, "intervalSeconds": 60 }],
        "upgradeStrategy": { "minimumHealthCapacity": 1, "maximumOverCapacity": 0 },
    });
    let mut script = Script::new();
    script.deploy(app("1", slow.clone()));
    let mut smaller = slow;
    smaller["cpus"] = json!(0.1);
    script.put("/a", app("2", smaller), false).unwrap();
    let timeline = at(&script).predict(json!({ "apps": [{
        "id": "/b", "cmd": "sleep 1", "instances": 2, "cpus": 3.2,
    }] }));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes, "{timeline:#?}");
    assert!(timeline.total_millis > Some(10 * 60_000));
}

#[test]
fn an_edge_holds_what_is_killed() {
    let mut script = Script::new();
    script.step(crate::Input::EdgeConnected(EdgeId::new("e")));
    script.deploy(app("1", strategy(0.0, 0.0)));
    let cluster = at(&script);
    let mut wanted = request("2", strategy(0.0, 0.0), false);
    wanted["assumptions"] = json!({ "drainSeconds": 3 });
    let timeline = cluster.predict(wanted);
    assert_eq!(
        course(&timeline),
        [
            "0: 4 × 1 serving",
            "0: 4 × 1 killing",
            "3200: 4 × 2 staging",
            "4200: 4 × 2 serving",
        ]
    );
    let capacity = timeline.apps[0].capacity;
    assert_eq!(
        (capacity.lowest, capacity.at, capacity.for_millis),
        (0, 1, 4_200)
    );
}

#[test]
fn an_agent_that_is_away_keeps_an_update_until_its_tasks_are_lost() {
    let mut script = Script::new();
    script.deploy(app("1", json!({})));
    let agent_id = script.tasks("/a")[0].agent_id.clone();
    script.lose_agent(&agent_id);
    let timeline = at(&script).predict(request("2", json!({}), false));
    // The agent's time-out, not the patience of the prediction, decides.
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes, "{timeline:#?}");
    assert_eq!(timeline.total_millis, Some(75_000 - 60_000));
}

#[test]
fn a_cluster_that_was_written_down_is_the_same_cluster() {
    let mut script = Script::new();
    let keys = json!({ "healthChecks": [{}], "upgradeStrategy": { "minimumHealthCapacity": 0.5, "maximumOverCapacity": 0 } });
    script.deploy(app("1", keys.clone()));
    let cluster = at(&script);
    let written = Written::of(&cluster.config, &cluster.state, cluster.state.clock);
    let text = serde_json::to_vec(&written).unwrap();
    let (config, state) = Written::read(&text).unwrap().restore().unwrap();
    let again = Cluster { config, state };
    let wanted = request("2", keys, false);
    assert_eq!(again.predict(wanted.clone()), cluster.predict(wanted));
    assert_eq!(
        script
            .engine
            .state()
            .launched_of(&AppId::absolute("/a"))
            .count(),
        4
    );

    // One that is no cluster is refused.
    assert!(Written::read(b"{}").is_err());
    let mut other: Value = serde_json::from_slice(&text).unwrap();
    other["format"] = json!(2);
    assert!(Written::read(other.to_string().as_bytes()).is_err());
}

#[test]
fn a_half_done_update_that_was_written_down_goes_on() {
    let mut script = Script::new();
    script.deploy(app("1", json!({})));
    script.put("/a", app("2", json!({})), false).unwrap();
    let task = script
        .tasks("/a")
        .into_iter()
        .find(|task| task.state == TaskState::Staging);
    script.report(&task.unwrap(), TaskState::Running);
    let cluster = at(&script);
    let written = Written::of(&cluster.config, &cluster.state, cluster.state.clock);
    let (config, state) = written.restore().unwrap();
    let again = Cluster { config, state };
    let timeline = again.predict(json!({ "apps": [{ "id": "/b", "cmd": "sleep 1" }] }));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes);
    // The other app's update has gone on meanwhile.
    let done = again.after(json!({ "apps": [{ "id": "/b", "cmd": "sleep 1" }] }));
    let app_id = AppId::absolute("/a");
    let running = done.state.launched_of(&app_id);
    assert!(
        running
            .filter(|task| task.state == TaskState::Running)
            .count()
            >= 4
    );
}

#[test]
fn files_that_are_being_brought_come() {
    let mut script = Script::new();
    script.deploy(app("1", json!({})));
    let update = crate::script::read(&app("2", json!({})));
    let app_id = AppId::absolute("/a");
    let download = zddcluster_model::deployment::Download {
        url: "http://files/x.tgz".to_owned(),
        path: "0/x.tgz".to_owned(),
    };
    let command = Command::UpdateApps {
        updates: vec![update],
        force: false,
    };
    let downloads = BTreeMap::from([(app_id.clone(), vec![download])]);
    let command = Box::new(command);
    script
        .command(Command::WithDownloads { downloads, command })
        .unwrap();
    assert_eq!(script.show("/a"), "4 old RUNNING");
    let cluster = at(&script);
    let done = cluster.after(json!({
        "apps": [{ "id": "/b", "cmd": "sleep 1" }], "assumptions": { "startSeconds": 5 },
    }));
    let version = done.state.root.app(&app_id).map(|app| app.version);
    let mut tasks = done.state.launched_of(&app_id);
    assert!(tasks.any(|task| Some(task.version) == version));
}

#[test]
fn what_is_asked_for_is_read_with_its_faults() {
    let fault = |body: Value| {
        let read = Request::read(body.to_string().as_bytes());
        match read.expect_err("a fault") {
            zddcluster_model::app::ReadError::Faults(faults) => {
                format!("{} {}", faults[0].path, faults[0].errors.join(", "))
            }
            other => other.to_string(),
        }
    };
    for (body, part) in [
        (json!([]), " error.expected.jsobject"),
        (json!({}), "give one of"),
        (json!({ "app": "/a" }), "/update error.path.missing"),
        (
            json!({ "app": 1, "update": {} }),
            "/app error.expected.jsstring",
        ),
        (
            json!({ "app": "/a", "update": { "cpus": "1" } }),
            "/update/cpus error",
        ),
        (json!({ "apps": {} }), "/apps error.expected.jsarray"),
        (json!({ "apps": [{}] }), "/apps(0)/id error.path.missing"),
        (
            json!({ "apps": [], "app": "/a", "update": {} }),
            "give one of",
        ),
        (
            json!({ "apps": [], "asumptions": {} }),
            "/asumptions is not known",
        ),
        (
            json!({ "apps": [], "force": 1 }),
            "/force error.expected.jsboolean",
        ),
        (
            json!({ "apps": [], "assumptions": { "x": 1 } }),
            "/assumptions unknown field `x`",
        ),
        (
            json!({ "apps": [], "assumptions": { "fails": "some" } }),
            "number of tasks, or all",
        ),
        (
            json!({ "apps": [], "assumptions": { "killSeconds": -1 } }),
            "killSeconds must be",
        ),
    ] {
        let found = fault(body.clone());
        assert!(found.contains(part), "{body}: {found}");
    }
}

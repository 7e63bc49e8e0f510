//! Plans between two trees, row by row.

use serde_json::{Value, json};
use zddcluster_model::Timestamp;
use zddcluster_model::app::{AppUpdate, Form};

use super::*;

/// A tree of apps. Each is `"/id"`, then `x2` for the instances, `r2` for a release, and paths for dependencies.
fn tree(apps: &[&str]) -> Group {
    let mut root = Group::empty(AppId::root(), Timestamp::ZERO);
    for app in apps {
        let mut words = app.split(' ');
        let mut body = json!({"cmd": "x"});
        body["id"] = words.next().into();
        let mut dependencies = Vec::new();
        for word in words {
            match word.split_at(1) {
                ("x", n) => body["instances"] = n.parse().unwrap_or(1).into(),
                ("r", release) => body["env"] = json!({"RELEASE": release}),
                _ => dependencies.push(Value::from(word)),
            }
        }
        body["dependencies"] = dependencies.into();
        root = root.with_app(Arc::new(read(&body)), Timestamp::ZERO);
    }
    root
}

fn read(body: &Value) -> App {
    let update = AppUpdate::read(body.to_string().as_bytes(), Form::Full).unwrap();
    let id = AppId::absolute(body["id"].as_str().unwrap());
    update.into_app(id, Timestamp::ZERO).unwrap()
}

/// `new` with another version for each app that differs from its former self, as a change makes it.
fn versioned(old: &Group, new: &Group) -> Group {
    let later = Timestamp::from_millis(1);
    let mut root = new.clone();
    for app in new.transitive_apps() {
        if old.app(&app.id).is_none_or(|before| before != app) {
            let mut changed = App::clone(app);
            changed.version = later;
            root = root.with_app(Arc::new(changed), later);
        }
    }
    root
}

/// The steps as `Stop /a, Stop /b; Start /c`.
fn text(steps: &[Step]) -> String {
    let step = |step: &Step| {
        let actions = step.actions.iter().map(|Action { action, app }| {
            let word = match action {
                ActionKind::ResolveArtifacts => "Resolve",
                ActionKind::StartApplication => "Start",
                ActionKind::ScaleApplication => "Scale",
                ActionKind::RestartApplication => "Restart",
                ActionKind::StopApplication => "Stop",
            };
            format!("{word} {app}")
        });
        actions.collect::<Vec<_>>().join(", ")
    };
    steps.iter().map(step).collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn check(old: &[&str], new: &[&str], expected: &str) {
    let (old, new) = (tree(old), tree(new));
    assert_eq!(text(&steps(&old, &versioned(&old, &new))), expected);
}

#[test]
fn plans_by_what_changed() {
    // contract: plan-3.1-example, plan-stop, plan-start, plan-levels, plan-actions
    check(
        &["/moved", "/a x1", "/b", "/gone"],
        &["/a x2", "/b r2 /a", "/new"],
        "Stop /gone, Stop /moved; Start /new; Scale /a, Scale /new; Restart /b",
    );
    // contract: plan-3.1-new-app
    check(&[], &["/a"], "Start /a; Scale /a");
    // contract: plan-3.1-delete
    check(&["/a"], &[], "Stop /a");
    // contract: change-none
    check(&["/a", "/b /a"], &["/a", "/b /a"], "");
    // contract: change-instances
    check(&["/a x1"], &["/a x3"], "Scale /a");
    // contract: change-anything-else
    check(&["/a r1"], &["/a r2"], "Restart /a");
    check(&["/a x1 r1"], &["/a x3 r2"], "Restart /a");
    // contract: plan-unaffected
    check(
        &["/db r1", "/web /db"],
        &["/db r2", "/web /db"],
        "Restart /db",
    );
    check(&["/db r1", "/web /db"], &["/web /db"], "Stop /db");
}

#[test]
fn levels_of_the_whole_tree() {
    // contract: plan-levels, trap-34
    check(
        &["/a r1 /b", "/b r1 /c", "/c r1", "/d r1"],
        &["/a r2 /b", "/b r2 /c", "/c r2", "/d r2"],
        "Restart /c, Restart /d; Restart /b; Restart /a",
    );
    // What stands between does not change, and still holds them apart.
    check(
        &["/a r1 /b", "/b /c", "/c r1"],
        &["/a r2 /b", "/b /c", "/c r2"],
        "Restart /c; Restart /a",
    );
    check(
        &["/web r1 /db", "/db/x r1", "/db/y r1 /db/x"],
        &["/web r2 /db", "/db/x r2", "/db/y r2 /db/x"],
        "Restart /db/x; Restart /db/y; Restart /web",
    );
    check(&["/a r1 /nowhere"], &["/a r2 /nowhere"], "Restart /a");
}

#[test]
fn everything_but_instances_restarts() {
    // contract: change-which, change-anything-else, trap-18
    let base = json!({"id": "/a", "cmd": "x", "portDefinitions": [{"name": "http-api"}]});
    let before = read(&base);
    for change in [
        json!({"labels": {"a": "b"}}),
        json!({"env": {"A": "b"}}),
        json!({"healthChecks": [{}]}),
        json!({"readinessChecks": [{}]}),
        json!({"upgradeStrategy": {"minimumHealthCapacity": 0.5}}),
        json!({"backoffSeconds": 2}),
        json!({"backoffFactor": 2}),
        json!({"maxLaunchDelaySeconds": 2}),
        json!({"dependencies": ["/b"]}),
        json!({"constraints": [["hostname", "UNIQUE"]]}),
        json!({"container": {"type": "MESOS"}}),
        json!({"cmd": "y"}),
        json!({"cpus": 2}),
        json!({"labels": {"a": "b"}, "instances": 2}),
    ] {
        let mut body = base.clone();
        for (key, value) in change.as_object().unwrap() {
            body[key] = value.clone();
        }
        let mut after = read(&body);
        after.version = Timestamp::from_millis(1);
        assert_eq!(
            super::change(&before, &after),
            Some(ActionKind::RestartApplication),
            "{change}"
        );
    }
}

#[test]
fn five_words_on_the_wire() {
    // contract: plan-json-actions
    let kinds = [
        ActionKind::StartApplication,
        ActionKind::ScaleApplication,
        ActionKind::RestartApplication,
        ActionKind::StopApplication,
        ActionKind::ResolveArtifacts,
    ];
    assert_eq!(
        serde_json::to_value(kinds).unwrap(),
        json!([
            "StartApplication",
            "ScaleApplication",
            "RestartApplication",
            "StopApplication",
            "ResolveArtifacts"
        ])
    );
}

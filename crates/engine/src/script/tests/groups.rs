//! Groups: what their changes plan, keep and give back (contract marathon §2.5, §3.1).

use serde_json::{Value, json};
use zddcluster_model::app::Fault;
use zddcluster_model::deployment::ActionKind;
use zddcluster_model::event::EventKind;
use zddcluster_model::group::GroupUpdate;
use zddcluster_model::{AppId, Timestamp};

use super::app;
use crate::effect::{Answer, Refusal};
use crate::input::Command;
use crate::script::Script;
use crate::state::VERSIONS_KEPT;

fn body(update: &Value) -> GroupUpdate {
    GroupUpdate::read(update.to_string().as_bytes()).expect("a readable group")
}

fn put_with(
    script: &mut Script,
    base: &str,
    update: Value,
    force: bool,
) -> Result<Answer, Refusal> {
    script.command(Command::UpdateGroup {
        base: AppId::absolute(base),
        update: body(&update),
        force,
    })
}

fn put(script: &mut Script, base: &str, update: Value) -> Result<Answer, Refusal> {
    put_with(script, base, update, false)
}

fn create(script: &mut Script, base: &str, update: Value) -> Result<Answer, Refusal> {
    script.command(Command::CreateGroup {
        base: AppId::absolute(base),
        update: body(&update),
        force: false,
    })
}

fn delete(script: &mut Script, group_id: &str, force: bool) -> Result<Answer, Refusal> {
    script.command(Command::DeleteGroup {
        group_id: AppId::absolute(group_id),
        force,
    })
}

/// The steps a PUT would take: `Restart /b, Scale /a`.
fn plan(script: &mut Script, base: &str, update: Value) -> Vec<String> {
    let answer = script.command(Command::PlanGroup {
        base: AppId::absolute(base),
        update: body(&update),
    });
    let Ok(Answer::Steps(steps)) = answer else {
        panic!("{update}: {answer:?}");
    };
    let words = steps.iter().map(|step| {
        let actions = step.actions.iter().map(|action| {
            let kind = format!("{:?}", action.action).replace("Application", "");
            format!("{kind} {}", action.app)
        });
        actions.collect::<Vec<_>>().join(", ")
    });
    words.collect()
}

/// Lets everything that waits run and everything killed end.
fn come_to_rest(script: &mut Script) {
    for _ in 0..10 {
        script.run_staged();
        script.end_killed();
    }
    let deployments = &script.engine.state().deployments;
    assert!(deployments.is_empty(), "{deployments:#?}");
}

fn versions(script: &Script, group_id: &str) -> Vec<Timestamp> {
    script
        .engine
        .state()
        .group_versions(&AppId::absolute(group_id))
}

/// Every app with its number of instances.
fn apps(script: &Script) -> Vec<(String, u32)> {
    let root = &script.engine.state().root;
    let apps = root.transitive_apps().into_iter();
    apps.map(|app| (app.id.to_string(), app.instances))
        .collect()
}

fn n_kept(script: &Script, kind: &str) -> usize {
    let records = script.engine.export();
    records
        .iter()
        .filter(|(key, _)| key.starts_with(kind))
        .count()
}

fn small(id: &str) -> Value {
    app(json!({ "id": id, "instances": 1 }))
}

#[test]
fn a_plan_goes_up_the_levels_and_a_dry_run_changes_nothing() {
    // contract: plan-3.1-example, plan-stop, plan-start, plan-levels, group-dry-run
    let mut script = Script::new();
    let apps = ["/moved", "/a", "/b", "/gone"].map(small);
    put(&mut script, "/", json!({ "apps": apps })).unwrap();
    come_to_rest(&mut script);
    script.events();
    let new = json!({ "apps": [
        app(json!({ "id": "a", "instances": 2 })),
        app(json!({ "id": "b", "instances": 1, "cpus": 0.2, "dependencies": ["a"] })),
        small("new"),
    ] });
    let steps = [
        "Stop /gone, Stop /moved",
        "Start /new",
        "Scale /a, Scale /new",
        "Restart /b",
    ];
    let before = script.engine.export();
    assert_eq!(plan(&mut script, "/", new.clone()), steps);
    assert!(
        script.engine.export() == before,
        "a dry run leaves no trace"
    );
    assert_eq!(script.events(), [""; 0]);
    put(&mut script, "/", new.clone()).unwrap();
    let downloads = [(AppId::absolute("/new"), Vec::new())].into();
    let command = Box::new(Command::PlanGroup {
        base: AppId::root(),
        update: body(&json!({ "scaleBy": 1 })),
    });
    let answer = script.command(Command::WithDownloads { downloads, command });
    let Ok(Answer::Steps(steps)) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(steps[0].actions[0].action, ActionKind::ResolveArtifacts);
    // It runs, and a dry run does not ask for its lock; what it has begun is not planned again.
    assert_eq!(plan(&mut script, "/", new), [""; 0]);
    come_to_rest(&mut script);
}

#[test]
fn groups_depend_on_groups() {
    // contract: group-dependencies, trap-34, plan-levels
    let mut script = Script::new();
    let update = json!({ "groups": [
        { "id": "web", "dependencies": ["../db", "/nowhere"], "apps": [small("front")],
          "groups": [{ "id": "deep", "apps": [small("api")] }] },
        { "id": "db", "apps": [small("x"), app(json!({ "id": "y", "dependencies": ["x"] }))] },
    ] });
    let steps = [
        "Start /db/x, Start /db/y, Start /web/deep/api, Start /web/front",
        "Scale /db/x",
        "Scale /db/y",
        "Scale /web/deep/api, Scale /web/front",
    ];
    assert_eq!(plan(&mut script, "/", update.clone()), steps);
    put(&mut script, "/", update).unwrap();
    // The database first, then, when it runs, the rest.
    assert_eq!(script.tasks("/db/x").len(), 1);
    assert_eq!(script.tasks("/web/front").len(), 0);
    come_to_rest(&mut script);
    assert_eq!(script.tasks("/web/front").len(), 1);
    let cycle = json!({ "groups": [{ "id": "web" }, { "id": "db", "dependencies": ["/web"] }] });
    let refused = put(&mut script, "/", cycle);
    let fault = Fault {
        path: "/".to_owned(),
        errors: vec!["Dependency graph has cyclic dependencies.".to_owned()],
    };
    assert_eq!(refused.unwrap_err(), Refusal::Invalid(vec![fault]));
}

#[test]
fn apps_that_are_as_before_stay_as_they_are() {
    // contract: plan-unaffected, group-lists-replace, group-path-versions, change-groups
    // contract: port-lowest-free, trap-28
    let mut script = Script::new();
    let update = json!({ "apps": [
        app(json!({ "id": "a", "ports": [0, 0], "constraints": [["hostname", "UNIQUE"], ["rack", "LIKE", "."]], "instances": 0 })),
        small("b"),
        app(json!({ "id": "c", "ports": [10002], "instances": 1 })),
    ] });
    create(&mut script, "/zdd", update.clone()).unwrap();
    come_to_rest(&mut script);
    let ports =
        |script: &Script| ["/zdd/a", "/zdd/b", "/zdd/c"].map(|id| script.app(id).service_ports());
    // A number that a later app of the body names is not given to an earlier one.
    assert_eq!(
        ports(&script),
        [vec![10_000, 10_001], vec![10_003], vec![10_002]]
    );
    let before = ["/zdd/a", "/zdd/b", "/zdd/c"].map(|id| script.app(id));
    let mut changed = update;
    changed["apps"][0]["constraints"]
        .as_array_mut()
        .unwrap()
        .reverse();
    changed["apps"][1]["cpus"] = json!(0.2);
    assert_eq!(
        plan(&mut script, "/zdd", changed.clone()),
        ["Restart /zdd/b"]
    );
    put(&mut script, "/zdd", changed).unwrap();
    come_to_rest(&mut script);
    let after = ["/zdd/a", "/zdd/b", "/zdd/c"].map(|id| script.app(id));
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]));
    assert!(after[1].version > before[1].version);
    assert_eq!(ports(&script)[1], [10_003]);
    let root = &script.engine.state().root;
    let zdd = root.group(&AppId::absolute("/zdd")).unwrap();
    assert_eq!(
        (root.version, zdd.version),
        (after[1].version, after[1].version)
    );
    // A missing key takes its default, not the old value.
    let bare = json!({ "apps": [{ "id": "b", "cmd": "serve" }] });
    put(&mut script, "/zdd", bare).unwrap();
    assert_eq!(script.app("/zdd/b").mem, 128.0);
}

#[test]
fn scaling_a_group_rounds_up() {
    // contract: group-scale-by, change-instances
    let mut script = Script::new();
    let update = json!({ "id": "g", "apps": [small("a"), app(json!({ "id": "b", "instances": 3 }))],
        "groups": [{ "id": "h", "apps": [app(json!({ "id": "c", "instances": 0 }))] }] });
    create(&mut script, "/", update).unwrap();
    come_to_rest(&mut script);
    let before = script.app("/g/b");
    put(&mut script, "/g", json!({ "scaleBy": 1.1 })).unwrap();
    let scaled = ["/g/a", "/g/b", "/g/h/c"]
        .map(str::to_owned)
        .into_iter()
        .zip([2, 4, 0]);
    assert_eq!(apps(&script), scaled.collect::<Vec<_>>());
    let app = script.app("/g/b");
    assert!(app.version > before.version);
    assert_eq!(app.config_version(), before.config_version());
    let deployment = script.engine.state().deployments.values().next().unwrap();
    assert_eq!(deployment.plan.steps.len(), 1);
    come_to_rest(&mut script);
    assert_eq!(plan(&mut script, "/g", json!({ "scaleBy": 1 })), [""; 0]);
    put(&mut script, "/g/h", json!({ "scaleBy": 1e12 })).unwrap();
    put(&mut script, "/g", json!({ "scaleBy": 0 })).unwrap();
    assert!(apps(&script).iter().all(|(_, instances)| *instances == 0));
}

#[test]
fn a_version_of_a_group_comes_back_after_a_restart() {
    // contract: group-versions, group-put-version, resume-state
    let mut script = Script::new();
    create(
        &mut script,
        "/g",
        json!({ "apps": [small("a"), small("b")], "groups": [{ "id": "h" }] }),
    )
    .unwrap();
    come_to_rest(&mut script);
    let first = versions(&script, "/g")[0];
    let was = script.app("/g/a");
    put(
        &mut script,
        "/g",
        json!({ "apps": [app(json!({ "id": "a", "cpus": 0.2 })), small("new")], "groups": [] }),
    )
    .unwrap();
    come_to_rest(&mut script);
    script.delete("/g/a").unwrap();
    come_to_rest(&mut script);
    // Nothing lists these definitions any more, but the trees of before.
    assert_eq!(n_kept(&script, "past/"), 3);
    let before = versions(&script, "/g");
    assert_eq!(before.len(), 3);
    assert_eq!(versions(&script, "/g/h"), [first]);
    assert_eq!(versions(&script, "/").len(), 4);
    script.restart_master();
    assert_eq!(versions(&script, "/g"), before);
    let group = script
        .engine
        .state()
        .group_at(&AppId::absolute("/g"), first)
        .unwrap();
    assert_eq!(group.apps[&was.id], was);

    put(&mut script, "/g", json!({ "version": first })).unwrap();
    assert_eq!(apps(&script), ["/g/a", "/g/b"].map(|id| (id.to_owned(), 1)));
    let root = &script.engine.state().root;
    let h = AppId::absolute("/g/h");
    assert_eq!(root.group(&h).unwrap().version, root.version);
    let now = script.app("/g/a");
    assert_eq!((now.version, now.cpus), (root.version, was.cpus));
    assert_eq!(now.service_ports(), was.service_ports());
    come_to_rest(&mut script);
    assert_eq!(script.show("/g/a"), "1 new RUNNING");
    // What is as it was then has nothing to do.
    assert_eq!(
        plan(&mut script, "/g", json!({ "version": first })),
        [""; 0]
    );
    let unknown = versions(&script, "/g")[0].plus_millis(1);
    let refused = put(&mut script, "/g", json!({ "version": unknown })).unwrap_err();
    let text = format!("Group /g not available in version {unknown}");
    assert_eq!(refused, Refusal::IllegalArgument(text));
    assert!(put(&mut script, "/other", json!({ "version": first })).is_err());
}

#[test]
fn trees_of_before_are_bounded_and_leave_nothing_behind() {
    // contract: group-versions
    let mut script = Script::new();
    for release in 0..40 {
        let id = format!("a{}", release % 3);
        put(
            &mut script,
            "/g",
            json!({ "apps": [app(json!({ "id": id, "instances": 0, "cpus": release }))] }),
        )
        .unwrap();
    }
    assert_eq!(versions(&script, "/g").len(), VERSIONS_KEPT);
    assert_eq!(n_kept(&script, "undo/"), VERSIONS_KEPT - 1);
    assert_eq!(n_kept(&script, "past/"), VERSIONS_KEPT - 1);
    let trees = versions(&script, "/g");
    let shown = |script: &Script| {
        let at = |version: &Timestamp| {
            script
                .engine
                .state()
                .group_at(&AppId::root(), *version)
                .cloned()
        };
        trees.iter().map(at).collect::<Vec<_>>()
    };
    let before = shown(&script);
    script.restart_master();
    assert_eq!(shown(&script), before);
    for _ in 0..VERSIONS_KEPT {
        put(&mut script, "/", json!({})).unwrap();
    }
    // The present app is in all of them.
    assert_eq!(
        (n_kept(&script, "past/"), n_kept(&script, "version/")),
        (0, 1)
    );
    assert!(
        script
            .engine
            .state()
            .group_at(&AppId::absolute("/g"), trees[0])
            .is_none()
    );
}

#[test]
fn a_group_is_locked_by_its_apps() {
    // contract: lock-affected, lock-refused, lock-forced, lock-defaults
    let mut script = Script::new();
    create(&mut script, "/g", json!({ "apps": [small("a")] })).unwrap();
    let refused = put(&mut script, "/g", json!({ "scaleBy": 2 }));
    assert!(
        matches!(refused, Err(Refusal::Locked(ref ids)) if ids.len() == 1),
        "{refused:?}"
    );
    let refused = delete(&mut script, "/g", false);
    assert!(matches!(refused, Err(Refusal::Locked(_))), "{refused:?}");
    // A group without apps, and a neighbour, are free.
    put(&mut script, "/g", json!({ "groups": [{ "id": "h" }] })).unwrap();
    create(&mut script, "/other", json!({ "apps": [small("a")] })).unwrap();
    script.events();
    put_with(&mut script, "/g", json!({ "scaleBy": 2 }), true).unwrap();
    let events = script.events();
    assert_eq!(
        events[..3],
        [
            "deployment_step_failure",
            "deployment_failed",
            "deployment_info"
        ]
    );
    come_to_rest(&mut script);
    assert_eq!(script.tasks("/g/a").len(), 2);
}

#[test]
fn groups_are_deleted_with_all_that_is_in_them() {
    // contract: group-delete
    let mut script = Script::new();
    let update = json!({ "dependencies": ["/x"], "apps": [small("top")],
        "groups": [{ "id": "g", "groups": [{ "id": "h", "apps": [small("a")] }] }] });
    put(&mut script, "/", update).unwrap();
    come_to_rest(&mut script);
    let refused = delete(&mut script, "/g/x", false).unwrap_err();
    assert_eq!(refused.to_string(), "Group '/g/x' does not exist");
    delete(&mut script, "/g/h", false).unwrap();
    come_to_rest(&mut script);
    let root = &script.engine.state().root;
    assert!(
        root.group(&AppId::absolute("/g"))
            .unwrap()
            .groups
            .is_empty()
    );
    assert_eq!(apps(&script), [("/top".to_owned(), 1)]);
    delete(&mut script, "/", false).unwrap();
    come_to_rest(&mut script);
    assert_eq!((apps(&script), n_kept(&script, "group/")), (Vec::new(), 1));
    assert!(script.engine.state().tasks.is_empty());
}

#[test]
fn events_name_the_group_that_was_addressed() {
    // contract: plan-group-event, event-group_change_success, event-group_change_failed
    let mut script = Script::new();
    create(&mut script, "/", json!({ "id": "a/b" })).unwrap();
    put(&mut script, "/a", json!({ "id": "c" })).unwrap();
    delete(&mut script, "/a/c", false).unwrap();
    create(&mut script, "/a", json!({ "id": "b" })).unwrap_err();
    put(&mut script, "/a", json!({ "groups": [{ "apps": [] }] })).unwrap_err();
    put(
        &mut script,
        "/a",
        json!({ "version": "2016-10-12T11:38:56.845Z" }),
    )
    .unwrap_err();
    put(&mut script, "/a", json!({ "id": "UP" })).unwrap_err();
    delete(&mut script, "/a/x", false).unwrap_err();
    let told = script
        .take_events()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::GroupChangeSuccess { group_id, .. } => Some(group_id.to_string()),
            EventKind::GroupChangeFailed {
                group_id, reason, ..
            } => Some(format!("{group_id}: {reason}")),
            _ => None,
        });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "/a/b",
            "/a/c",
            "/a",
            // The change of a group that is already there, or breaks rules, has not begun.
            "/a: No group id was given!",
            "/a: Group /a not available in version 2016-10-12T11:38:56.845Z",
            "/a: Group '/a/x' does not exist",
        ]
    );
}

#[test]
fn names_clash_and_old_ones_are_refused() {
    // contract: id-app-or-group, group-post
    let mut script = Script::new();
    script.deploy(small("/a"));
    let refused = create(&mut script, "/", json!({ "id": "a" })).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "An app with the path /a already exists."
    );
    create(&mut script, "/g", json!({})).unwrap();
    let refused = create(&mut script, "/", json!({ "id": "/g" })).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Group /g is already created. Use PUT to change this group."
    );
    let clash = |path: &str| {
        let text = "Groups and Applications may not have the same identifier.";
        Refusal::Invalid(vec![Fault {
            path: path.to_owned(),
            errors: vec![text.to_owned()],
        }])
    };
    let refused = put(&mut script, "/a", json!({})).unwrap_err();
    assert_eq!(refused, clash("/"));
    let update = json!({ "apps": [small("x")], "groups": [{ "id": "x", "apps": [small("y")] }] });
    assert_eq!(
        put(&mut script, "/g", update).unwrap_err(),
        clash("/groups(0)")
    );
    // An empty group gives its name to an app.
    script.deploy(small("/g"));
    assert!(script.engine.state().root.groups.is_empty());
}

#[test]
fn rules_that_need_the_app_as_it_was() {
    let mut script = Script::new();
    let volume = json!({ "containerPath": "data", "mode": "RW", "persistent": { "size": 10 } });
    let resident = |cpus: f64| {
        app(json!({ "id": "a", "instances": 0, "cpus": cpus,
            "container": { "type": "MESOS", "volumes": [volume] } }))
    };
    let single = app(
        json!({ "id": "b", "instances": 1, "labels": { "MARATHON_SINGLE_INSTANCE_APP": "true" },
        "upgradeStrategy": { "minimumHealthCapacity": 0, "maximumOverCapacity": 0 } }),
    );
    create(
        &mut script,
        "/g",
        json!({ "apps": [resident(0.1), single] }),
    )
    .unwrap();
    come_to_rest(&mut script);
    let fault = |path: &str, text: &str| {
        Refusal::Invalid(vec![Fault {
            path: path.to_owned(),
            errors: vec![text.to_owned()],
        }])
    };
    let refused = put(&mut script, "/g", json!({ "apps": [resident(0.2)] })).unwrap_err();
    let text = "Resident Tasks may not change resource requirements!";
    assert_eq!(refused, fault("/groups(0)/apps(0)", text));
    let refused = put(&mut script, "/g", json!({ "scaleBy": 2 })).unwrap_err();
    let text = "Single instance app may only have one instance";
    assert_eq!(refused, fault("/groups(0)/apps(1)", text));
}

//! Bodies of `/v2/groups`: what they may not say, and what they make of a group (contract marathon §1.3, §2.5).

use serde_json::{Value, json};
use zddcluster_model::app::{ReadError, RuleErrors};
use zddcluster_model::group::{GroupRequest, GroupUpdate, MissingId, place};
use zddcluster_model::id::SEGMENT_FAULT;
use zddcluster_model::{AppId, Group, Timestamp};

use crate::common::lines;

const NEW: Timestamp = Timestamp::from_millis(2);

fn read(body: &Value) -> Result<GroupUpdate, ReadError> {
    GroupUpdate::read(body.to_string().as_bytes())
}

fn check(base: &str, body: &Value) -> Result<GroupRequest, RuleErrors> {
    let update = read(body).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    update.check(&AppId::absolute(base), NEW)
}

/// What a good body makes of the group at `base`.
fn apply(base: &str, current: Option<&Group>, body: &Value) -> Result<Group, MissingId> {
    let Ok(GroupRequest::Content(content)) = check(base, body) else {
        panic!("{body}: {:?}", check(base, body));
    };
    let id = read(body).unwrap().path(&AppId::absolute(base));
    content.apply(&id, current, NEW)
}

/// Every group and app of a tree with its version: `/a@2`.
fn outline(group: &Group) -> Vec<String> {
    let mut lines = vec![format!("{}@{}", group.id, group.version.as_millis())];
    for app in group.apps.values() {
        lines.push(format!("app {}@{}", app.id, app.version.as_millis()));
    }
    for child in group.groups.values() {
        lines.extend(outline(child));
    }
    lines
}

/// `/g` with two apps and two groups, each with an app, all of version 1.
fn group() -> Group {
    let body = json!({
        "apps": [{"id": "a", "cmd": "x"}, {"id": "b", "cmd": "x"}],
        "groups": [
            {"id": "left", "apps": [{"id": "c", "cmd": "x"}], "dependencies": ["../a"]},
            {"id": "right", "apps": [{"id": "d", "cmd": "x"}]},
        ],
    });
    let Ok(GroupRequest::Content(content)) = read(&body)
        .unwrap()
        .check(&AppId::absolute("/g"), Timestamp::from_millis(1))
    else {
        panic!("a good body");
    };
    let id = AppId::absolute("/g");
    content.apply(&id, None, Timestamp::from_millis(1)).unwrap()
}

#[test]
fn bodies_that_cannot_be_read() {
    // contract: reading-paths
    for (body, wanted) in [
        (json!([]), vec![": error.expected.jsobject"]),
        (json!({"id": 1}), vec!["/id: error.expected.jsstring"]),
        (json!({"id": ""}), vec!["/id: error.minLength"]),
        (
            json!({"scaleBy": "2"}),
            vec!["/scaleBy: error.expected.jsnumber"],
        ),
        (json!({"apps": {}}), vec!["/apps: error.expected.jsarray"]),
        (
            json!({"apps": [{"cmd": "x"}, {"id": "/b", "cmd": ""}], "dependencies": ["", 1]}),
            vec![
                "/apps(0)/id: error.path.missing",
                "/apps(1)/cmd: error.minLength",
                "/dependencies(1): error.expected.jsstring",
                "/dependencies(0): error.minLength",
            ],
        ),
        (
            json!({"groups": [{"id": "g", "groups": [{"id": "h", "apps": [{"id": "a", "cmd": 1}]}]}, 7]}),
            vec![
                "/groups(0)/groups(0)/apps(0)/cmd: error.expected.jsstring",
                "/groups(1): error.expected.jsobject",
            ],
        ),
    ] {
        match read(&body) {
            Err(ReadError::Faults(faults)) => assert_eq!(lines(&faults), wanted, "{body}"),
            other => panic!("{body}: {other:?}"),
        }
    }
    for body in [
        json!({"version": "yesterday"}),
        json!({"groups": [{"id": "g", "version": "yesterday"}]}),
    ] {
        let refused = read(&body);
        assert!(
            matches!(refused, Err(ReadError::Argument(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn bodies_that_break_rules() {
    // contract: group-alone, id-direct-child, reading-paths
    let app = |id: &str| json!({"id": id, "cmd": "x"});
    let bad_id = |path: &str| format!("{path}: {SEGMENT_FAULT}");
    let alone = |path: &str| format!("{path}: not allowed in conjunction with other properties.");
    let misplaced = |path: &str, group: &str| {
        format!("{path}: Identifier is not child of {group}. Hint: use relative paths.")
    };
    let deep = vec!["x"; 32].join("/");
    for (base, body, wanted) in [
        ("/g", json!({"scaleBy": 2, "id": "h"}), vec![alone("/scaleBy")]),
        (
            "/g",
            json!({"scaleBy": 2, "version": "2016-10-12T11:38:56.845Z", "unknown": 1}),
            vec![alone("/version"), alone("/scaleBy")],
        ),
        (
            "/g",
            json!({"groups": [{"id": "h", "version": "2016-10-12T11:38:56.845Z"}]}),
            vec![alone("/groups(0)/version")],
        ),
        ("/g", json!({"scaleBy": -1}), vec!["/scaleBy: got -1.0, expected 0.0 or more".to_owned()]),
        ("/", json!({"id": "UP/per"}), vec![bad_id("/id")]),
        ("/g", json!({"apps": [app("a_b")]}), vec![bad_id("/apps(0)/id")]),
        (
            "/g",
            json!({"groups": [{"id": "h", "groups": [{"id": "-"}], "dependencies": ["a b"]}]}),
            vec![bad_id("/groups(0)/dependencies(0)"), bad_id("/groups(0)/groups(0)/id")],
        ),
        (
            "/",
            json!({"id": "/g", "apps": [app("/a"), app("b/c")], "groups": [{"id": "/h"}]}),
            vec![
                misplaced("/apps(0)/id", "/g"),
                misplaced("/apps(1)/id", "/g"),
                misplaced("/groups(0)/id", "/g"),
            ],
        ),
        (
            "/g",
            json!({"apps": [app("a"), app("/g/a")], "groups": [{"id": "h"}, {"id": "h"}]}),
            vec![
                "/apps(1)/id: /g/a is listed twice".to_owned(),
                "/groups(1)/id: /g/h is listed twice".to_owned(),
            ],
        ),
        (
            "/g",
            json!({"apps": [app("ok"), {"id": "a", "instances": -1, "cpus": -1}]}),
            vec![
                "/apps(1)/instances: got -1, expected 0 or more".to_owned(),
                "/apps(1): AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'."
                    .to_owned(),
                "/apps(1)/cpus: got -1.0, expected 0.0 or more".to_owned(),
            ],
        ),
        ("/", json!({"id": deep}), vec!["/id: must have fewer than 32 segments".to_owned()]),
    ] {
        let faults = check(base, &body).map_or_else(|RuleErrors(faults)| faults, |_| Vec::new());
        assert_eq!(lines(&faults), wanted, "{body}");
    }
}

#[test]
fn ids_are_relative_to_what_they_stand_in() {
    // contract: group-id, id-relative, field-dependencies
    for (base, id, path) in [
        ("/", Some("a/b"), "/a/b"),
        ("/a", Some("b"), "/a/b"),
        ("/a", Some("/b"), "/b"),
        ("/a", Some("."), "/a"),
        ("/a", None, "/a"),
    ] {
        let update = GroupUpdate {
            id: id.map(str::to_owned),
            ..GroupUpdate::default()
        };
        assert_eq!(update.path(&AppId::absolute(base)).as_str(), path);
    }
    let group = apply(
        "/a",
        None,
        &json!({"id": "b", "dependencies": ["../db"], "apps": [
            {"id": "c", "cmd": "x", "dependencies": ["d", "/e"]},
            {"id": "/a/b/d", "cmd": "x"},
        ], "groups": [{"id": "./f"}]}),
    )
    .unwrap();
    assert_eq!(
        outline(&group),
        ["/a/b@2", "app /a/b/c@2", "app /a/b/d@2", "/a/b/f@2"]
    );
    assert_eq!(group.dependencies, [AppId::absolute("/a/db")].into());
    let app = group.app(&AppId::absolute("/a/b/c")).unwrap();
    assert_eq!(
        app.dependencies,
        ["/a/b/d", "/e"].map(AppId::absolute).into()
    );
}

#[test]
fn lists_replace_and_absent_keys_keep() {
    // contract: group-lists-replace
    let kept = [
        "app /g/a@1",
        "app /g/b@1",
        "/g/left@1",
        "app /g/left/c@1",
        "/g/right@1",
        "app /g/right/d@1",
    ];
    for (body, wanted) in [
        (json!({}), kept.to_vec()),
        (json!({"apps": null, "groups": null}), kept.to_vec()),
        (json!({"apps": []}), kept[2..].to_vec()),
        (json!({"groups": []}), kept[..2].to_vec()),
        (
            json!({"apps": [{"id": "b", "cmd": "y"}, {"id": "new", "cmd": "x"}]}),
            [&["app /g/b@2", "app /g/new@2"], &kept[2..]].concat(),
        ),
        (
            // A listed group is merged by the same rule, another one goes.
            json!({"groups": [{"id": "left", "groups": [{"id": "deep"}]}]}),
            [
                &kept[..2],
                &["/g/left@2", "app /g/left/c@1", "/g/left/deep@2"],
            ]
            .concat(),
        ),
    ] {
        let changed = apply("/g", Some(&group()), &body).unwrap();
        let wanted = [vec!["/g@2"], wanted].concat();
        assert_eq!(outline(&changed), wanted, "{body}");
    }
    let left = AppId::absolute("/g/left");
    let listed = apply("/g", Some(&group()), &json!({"groups": [{"id": "left"}]})).unwrap();
    assert_eq!(
        listed.groups[&left].dependencies,
        [AppId::absolute("/g/a")].into()
    );
    let cleared = json!({"groups": [{"id": "left", "dependencies": []}]});
    let cleared = apply("/g", Some(&group()), &cleared).unwrap();
    assert!(cleared.groups[&left].dependencies.is_empty());
}

#[test]
fn what_stands_alone() {
    // contract: group-alone
    assert_eq!(
        check("/g", &json!({"scaleBy": 2})),
        Ok(GroupRequest::ScaleBy(2.0))
    );
    let body = json!({"version": "1970-01-01T00:00:00.007Z"});
    let version = Timestamp::from_millis(7);
    assert_eq!(check("/g", &body), Ok(GroupRequest::Restore(version)));
    for body in [
        json!({"groups": [{"apps": []}]}),
        json!({"groups": [{"id": "h", "groups": [{"scaleBy": 2}]}]}),
    ] {
        assert_eq!(apply("/g", None, &body), Err(MissingId), "{body}");
    }
    assert_eq!(MissingId.to_string(), "No group id was given!");
}

#[test]
fn places_are_named_as_faults_name_them() {
    let root = Group::empty(AppId::root(), Timestamp::ZERO).with_group(group(), NEW);
    for (id, wanted) in [
        ("/g/b", "/groups(0)/apps(1)"),
        ("/g/right/d", "/groups(0)/groups(1)/apps(0)"),
        ("/nowhere", "/"),
    ] {
        assert_eq!(place(&root, &AppId::absolute(id)), wanted);
    }
}

#[test]
fn an_emptied_group_gives_way_to_an_app() {
    let root = Group::empty(AppId::root(), Timestamp::ZERO).with_group(group(), NEW);
    let id = AppId::absolute("/g/left/c");
    let app = group().app(&id).cloned().unwrap();
    let named = std::sync::Arc::new(zddcluster_model::App {
        id: AppId::absolute("/g/left"),
        ..(*app).clone()
    });
    // As long as there is an app in it, the names clash, and the tree says so.
    let mut clashing = root.with_app(std::sync::Arc::clone(&named), NEW);
    assert!(clashing.group(&named.id).is_some());
    assert!(zddcluster_model::group::check_tree(&clashing).is_err());
    clashing = root.without_app(&id, NEW);
    let mut put = clashing.clone();
    put.put_app(std::sync::Arc::clone(&named), NEW);
    assert_eq!(put, clashing.with_app(named.clone(), NEW));
    assert!(put.group(&named.id).is_none());
    assert_eq!(put.app(&named.id), Some(&named));
}

#[test]
fn sets_of_a_whole_definition_keep_their_order() {
    let body = |constraints: Value, roles: Value| {
        crate::common::whole(
            json!({"id": "/a", "cmd": "x", "constraints": constraints, "acceptedResourceRoles": roles}),
        )
    };
    let current = body(json!([["a", "UNIQUE"], ["b", "UNIQUE"]]), json!(["x", "y"]));
    let mut same = body(json!([["b", "UNIQUE"], ["a", "UNIQUE"]]), json!(["y", "x"]));
    same.keep_order_of(&current);
    assert_eq!(same, current);
    let mut other = body(json!([["b", "UNIQUE"]]), Value::Null);
    let wanted = other.clone();
    other.keep_order_of(&current);
    assert_eq!(other, wanted);
}

use std::sync::Arc;

use super::*;
use crate::app::{AppUpdate, Form};
use crate::time::Timestamp;

/// A tree of apps written `"/a /b"`: app `/a` depends on `/b`.
fn tree(apps: &[&str]) -> Group {
    let mut root = Group::empty(AppId::root(), Timestamp::ZERO);
    for app in apps {
        let mut words = app.split(' ');
        let id = AppId::absolute(words.next().unwrap());
        let dependencies: Vec<&str> = words.collect();
        let body = serde_json::json!({"id": id, "cmd": "x", "dependencies": dependencies});
        let update = AppUpdate::read(body.to_string().as_bytes(), Form::Full).unwrap();
        let app = update.into_app(id, Timestamp::ZERO).unwrap();
        root = root.with_app(Arc::new(app), Timestamp::ZERO);
    }
    root
}

fn check_levels(apps: &[&str], wanted: &[(&str, usize)]) {
    let root = tree(apps);
    assert_eq!(check_tree(&root), Ok(()));
    let wanted = wanted
        .iter()
        .map(|(id, level)| (AppId::absolute(id), *level))
        .collect();
    assert_eq!(levels(&root), wanted);
}

fn check_faults(root: &Group, wanted: &[(&str, &str)]) {
    let faults = check_tree(root).unwrap_err();
    let faults: Vec<(&str, &str)> = faults
        .iter()
        .map(|fault| (fault.path.as_str(), fault.errors[0].as_str()))
        .collect();
    assert_eq!(faults, wanted);
}

const CYCLE: (&str, &str) = ("/", "Dependency graph has cyclic dependencies.");

#[test]
fn levels_follow_the_longest_path() {
    // contract: plan-levels, trap-34, field-dependencies
    check_levels(
        &["/a", "/b /a", "/new"],
        &[("/a", 0), ("/b", 1), ("/new", 0)],
    );
    check_levels(
        &["/a /b /c", "/b /c", "/c"],
        &[("/a", 2), ("/b", 1), ("/c", 0)],
    );
    check_levels(&["/a /nowhere"], &[("/a", 0)]);
    check_levels(
        &["/db/x /db/y", "/db/y", "/web /db"],
        &[("/db/x", 1), ("/db/y", 0), ("/web", 2)],
    );
}

#[test]
fn group_dependencies_concern_every_app_below() {
    // contract: group-dependencies, trap-34
    let mut root = tree(&["/db/x", "/web/a", "/web/deep/b"]);
    let mut web = Group::clone(root.groups.get(&AppId::absolute("/web")).unwrap());
    web.dependencies.insert(AppId::absolute("/db"));
    root.groups.insert(web.id.clone(), Arc::new(web));
    assert_eq!(check_tree(&root), Ok(()));
    let levels = levels(&root);
    let level = |id: &str| levels[&AppId::absolute(id)];
    assert_eq!(
        (level("/db/x"), level("/web/a"), level("/web/deep/b")),
        (0, 1, 1)
    );

    let mut db = Group::clone(root.groups.get(&AppId::absolute("/db")).unwrap());
    db.dependencies.insert(AppId::absolute("/web/deep"));
    root.groups.insert(db.id.clone(), Arc::new(db));
    check_faults(&root, &[CYCLE]);
}

#[test]
fn cycles_are_refused() {
    // contract: field-dependencies
    for apps in [
        &["/a /a"][..],
        &["/a /b", "/b /a"],
        &["/a /b", "/b /c", "/c /a"],
        &["/g/a /h", "/h/b /g"],
        &["/g/a /g"],
    ] {
        check_faults(&tree(apps), &[CYCLE]);
        // Levels are total all the same.
        assert_eq!(levels(&tree(apps)).len(), apps.len());
    }
}

#[test]
fn an_app_is_no_group() {
    // contract: id-app-or-group
    let text = "Groups and Applications may not have the same identifier.";
    check_faults(&tree(&["/a", "/a/b"]), &[("/", text)]);
    check_faults(&tree(&["/g/a", "/g/a/b"]), &[("/groups(0)", text)]);
}

#[test]
fn members_are_direct_children_with_legal_names() {
    // contract: id-direct-child
    let mut root = tree(&["/foo/a"]);
    let mut foo = Group::clone(root.groups.get(&AppId::absolute("/foo")).unwrap());
    let stray = Group::empty(AppId::absolute("/Bar"), Timestamp::ZERO);
    foo.groups.insert(stray.id.clone(), Arc::new(stray));
    root.groups.insert(foo.id.clone(), Arc::new(foo));
    let faults = check_tree(&root).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].path, "/groups(0)/groups(0)/id");
    let text = "Identifier is not child of /foo. Hint: use relative paths.";
    assert_eq!(faults[0].errors, [text, SEGMENT_FAULT]);
}

#[test]
fn long_chains_do_not_exhaust_the_stack() {
    let n_apps = 3_000;
    let apps: Vec<String> = (0..n_apps).map(|i| format!("/a{i} /a{}", i + 1)).collect();
    let apps: Vec<&str> = apps.iter().map(String::as_str).collect();
    let root = tree(&apps);
    assert_eq!(levels(&root)[&AppId::absolute("/a0")], n_apps - 1);
}

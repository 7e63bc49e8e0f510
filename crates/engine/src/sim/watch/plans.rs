//! Plans keep to their order: nothing is done for an app before its step, nor before what it depends on is done.

use zddcluster_model::deployment::ActionKind;
use zddcluster_model::{AppId, Group, Timestamp};

use crate::sim::mirror::{Mirror, Running};

/// A task of an app is being launched.
pub(super) fn launched(mirror: &Mirror, app_id: &AppId, version: Timestamp, root: &Group) {
    let Some(running) = mirror.plan_of(app_id) else {
        let current = root.app(app_id).map(|app| app.version);
        assert_eq!(
            current,
            Some(version),
            "{app_id}: launched in another version"
        );
        return;
    };
    let id = &running.plan.id;
    if !running.done.contains(app_id) && !is_its_turn(running, app_id) {
        // Until its turn comes it lives on as it was; what it waited for may come.
        let original = running.plan.original.app(app_id).map(|app| app.version);
        assert_eq!(
            original,
            Some(version),
            "{app_id}: launched before its step of plan {id}"
        );
        return;
    }
    let target = running.plan.target.app(app_id).map(|app| app.version);
    assert_eq!(
        target,
        Some(version),
        "{app_id}: not the version of plan {id}"
    );
    assert!(
        is_its_turn(running, app_id),
        "{app_id}: launched outside its step of plan {id}"
    );
    let needs = running.needs.get(app_id).into_iter().flatten();
    for needed in needs {
        assert!(
            running.done.contains(needed),
            "{app_id}: launched before {needed}, on which it depends, is done"
        );
    }
}

/// Whether the running step brings an app to its instances.
fn is_its_turn(running: &Running, app_id: &AppId) -> bool {
    let actions = running.step.iter().flat_map(|step| &step.actions);
    let mut own = actions.filter(|action| action.app == *app_id);
    own.any(|action| {
        matches!(
            action.action,
            ActionKind::ScaleApplication | ActionKind::RestartApplication
        )
    })
}

/// A task of an app is being killed for a plan.
pub(super) fn killed(mirror: &Mirror, app_id: &AppId) {
    let running = mirror.plan_of(app_id);
    let step = running.and_then(|running| running.step.as_ref());
    let is_its_turn =
        step.is_some_and(|step| step.actions.iter().any(|action| action.app == *app_id));
    assert!(is_its_turn, "{app_id}: killed outside its step");
}

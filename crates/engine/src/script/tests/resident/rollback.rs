//! Rollbacks of the update that gave an app its first volume.

use serde_json::json;

use super::super::app;
use crate::input::Command;
use crate::script::Script;

/// An app on its way to its first volume, with the task there that is to have it.
fn on_the_way_to_a_volume() -> Script {
    let mut script = Script::new();
    script.deploy(app(json!({ "instances": 1 })));
    let volume = json!({ "containerPath": "data", "mode": "RW", "persistent": { "size": 100 } });
    let change = json!({
        "container": { "type": "MESOS", "volumes": [volume] },
        "residency": {},
        "upgradeStrategy": { "minimumHealthCapacity": 0, "maximumOverCapacity": 0 },
    });
    script.put("/a", change, false).unwrap();
    script.end_killed();
    assert_eq!(script.engine.state().reservations.size(), 1);
    script
}

fn roll_back(script: &mut Script) {
    let mut running = script.engine.state().deployments.keys();
    let deployment_id = running.next().unwrap().clone();
    script
        .command(Command::RollBackDeployment { deployment_id })
        .unwrap();
}

#[test]
fn a_rollback_that_is_rolled_back_keeps_the_volumes() {
    let mut script = on_the_way_to_a_volume();
    let kept = |script: &Script| -> Vec<_> {
        let reservations = script.engine.state().reservations.values();
        let kept = reservations.filter(|it| !it.is_condemned);
        kept.map(|it| it.id).collect()
    };
    let before = kept(&script);
    roll_back(&mut script);
    roll_back(&mut script);
    script.settle();
    assert_eq!(script.show("/a"), "1 new RUNNING");
    assert_eq!(kept(&script), before);
    assert_eq!(script.destroyed(), Vec::<String>::new());
}

#[test]
fn going_back_does_not_wait_for_a_volume_that_is_away() {
    let mut script = on_the_way_to_a_volume();
    let lost = script.tasks("/a")[0].clone();
    script.lose_agent(&lost.agent_id);
    script.tick(100_000);
    roll_back(&mut script);
    script.settle();
    assert_eq!(script.show("/a"), "1 new RUNNING");
    script.tick(24 * 3_600_000);
    let state = script.engine.state();
    assert!(!state.tasks.contains_key(&lost.id), "forgotten");
    assert_eq!(state.reservations.size(), 0);
}

#[test]
fn going_back_to_an_app_without_volumes_frees_them() {
    let mut script = on_the_way_to_a_volume();
    roll_back(&mut script);
    assert_eq!(
        script.destroyed(),
        Vec::<String>::new(),
        "its task is there"
    );
    script.settle();
    assert_eq!(script.show("/a"), "1 new RUNNING");
    assert_eq!(script.engine.state().reservations.size(), 0);
    assert_eq!(script.destroyed().len(), 1);
}

//! How tasks end, what delays their successors, and who goes first.

use std::sync::Arc;

use serde_json::{Value, json};
use zddcluster_model::app::KillSelection;
use zddcluster_model::event::EventKind;
use zddcluster_model::{TaskState, Timestamp};

use super::{app, update};
use crate::input::{Command, Selection};
use crate::scale::{Preference, replacement_order, victims};
use crate::script::Script;
use crate::state::Task;

fn kill(script: &mut Script, selection: Selection, scale: bool) {
    let kill = Command::KillTasks {
        selection,
        scale,
        wipe: false,
        force: false,
    };
    script.command(kill).unwrap();
}

/// Tasks of these states and starts, in seconds; named by their place.
fn tasks(states: &[(TaskState, i64)]) -> Vec<Arc<Task>> {
    let mut script = Script::new();
    script.deploy(app(
        json!({"instances": states.len(), "healthChecks": [{}]}),
    ));
    script.answer_checks(true);
    let mut tasks = script.tasks("/a");
    for (task, (state, second)) in tasks.iter_mut().zip(states) {
        let task = Arc::make_mut(task);
        task.state = *state;
        task.started_at =
            (*state != TaskState::Staging).then(|| Timestamp::from_millis(second * 1000));
        task.staged_at = Timestamp::from_millis(second * 1000);
    }
    tasks
}

/// The places of `chosen` in `tasks`.
fn places(tasks: &[Arc<Task>], chosen: &[Arc<Task>]) -> Vec<usize> {
    let place = |task: &Arc<Task>| tasks.iter().position(|other| other.id == task.id).unwrap();
    chosen.iter().map(place).collect()
}

#[test]
fn who_goes_when_there_are_too_many() {
    use TaskState::{Killing, Lost, Running, Staging, Starting};
    let none = || std::collections::BTreeSet::new();
    for (states, order) in [
        // contract: kill-order-unreachable
        (&[(Running, 9), (Staging, 9), (Lost, 1)][..], &[2, 1, 0][..]),
        // contract: kill-order-staging, kill-order-starting, kill-order-running, keep-surplus
        (&[(Running, 9), (Starting, 5), (Staging, 1)], &[2, 1, 0]),
        // contract: kill-order-youngest, keep-surplus
        (&[(Running, 3), (Running, 9), (Running, 1)], &[1, 0, 2]),
        (&[(Staging, 1), (Staging, 2), (Running, 9)], &[1, 0, 2]),
        // Who is on its way out costs nothing.
        (&[(Staging, 3), (Killing, 1)], &[1, 0]),
    ] {
        let tasks = tasks(states);
        for n in 0..=tasks.len() {
            let target = u32::try_from(tasks.len() - n).unwrap();
            let chosen = victims(&tasks, target, &none(), &Preference::default());
            assert_eq!(places(&tasks, &chosen), order[..n], "{states:?}");
        }
    }
    // contract: kill-order-sentenced, scale-kill-count
    let tasks = tasks(&[(Running, 1), (Running, 2), (Staging, 3), (Running, 4)]);
    let sentenced = [0, 1].map(|place: usize| tasks[place].id.clone()).into();
    for (target, order) in [
        (4, &[1, 0][..]),
        (3, &[1, 0]),
        (2, &[1, 0]),
        (1, &[1, 0, 2]),
    ] {
        let chosen = victims(&tasks, target, &sentenced, &Preference::default());
        assert_eq!(places(&tasks, &chosen), order, "down to {target}");
    }
}

#[test]
fn the_oldest_go_first_if_the_app_prefers_that() {
    // contract: newer-kill-selection
    use TaskState::{Running, Staging};
    let tasks = tasks(&[(Running, 3), (Running, 9), (Staging, 5), (Running, 1)]);
    let preference = Preference {
        selection: KillSelection::OldestFirst,
        ..Preference::default()
    };
    let chosen = victims(&tasks, 0, &std::collections::BTreeSet::new(), &preference);
    assert_eq!(places(&tasks, &chosen), [2, 3, 0, 1]);
}

#[test]
fn who_goes_keeps_groups_balanced() {
    // contract: kill-order-group-by
    use TaskState::{Running, Staging};
    // By age alone the three on rack b would go.
    let tasks = tasks(&[
        (Running, 1),
        (Running, 2),
        (Running, 3),
        (Running, 7),
        (Running, 8),
        (Staging, 9),
    ]);
    let racks = ["a", "a", "a", "b", "b", "b"];
    let chosen = |racks: &[&str], target, sentenced: &[usize]| {
        let value = |(task, rack): (&Arc<Task>, &&str)| (task.id.clone(), Some((*rack).to_owned()));
        let preference = Preference {
            groupings: vec![tasks.iter().zip(racks).map(value).collect()],
            ..Preference::default()
        };
        let sentenced = sentenced.iter().map(|place| tasks[*place].id.clone());
        let chosen = victims(&tasks, target, &sentenced.collect(), &preference);
        places(&tasks, &chosen)
    };
    assert_eq!(chosen(&racks, 5, &[]), [5]);
    assert_eq!(chosen(&racks, 4, &[]), [5, 2]);
    assert_eq!(chosen(&racks, 2, &[]), [5, 2, 4, 1]);
    // The sentenced go anyway; who follows makes up for them.
    assert_eq!(chosen(&racks, 3, &[0, 1]), [1, 0, 5]);
    // An uneven start gets no worse.
    assert_eq!(chosen(&["a", "a", "a", "a", "a", "b"], 4, &[]), [4, 3]);
}

#[test]
fn who_is_replaced_first() {
    // contract: z-16
    use TaskState::{Killing, Running, Staging, Starting};
    let mut tasks = tasks(&[
        (Running, 2),
        (Running, 9),
        (Starting, 8),
        (Staging, 7),
        (Running, 1),
        (Killing, 9),
    ]);
    let sick = Arc::make_mut(&mut tasks[1]);
    sick.health[0].as_mut().unwrap().alive = false;
    let mut order = tasks.clone();
    replacement_order(&mut order);
    assert_eq!(places(&tasks, &order), [5, 3, 2, 1, 4, 0]);
}

#[test]
fn a_surplus_outside_of_deployments_goes() {
    // contract: keep-surplus
    let mut script = Script::new();
    script.deploy(app(json!({"instances": 2})));
    let lost = script.tasks("/a")[0].clone();
    script.lose_agent(&lost.agent_id);
    script.tick(76_000);
    assert_eq!(script.show("/a"), "1 new STAGING, 1 new RUNNING");
    script.agent_returns(&lost.agent_id, std::slice::from_ref(&lost));
    // Staging goes before running.
    assert_eq!(script.show("/a"), "2 new RUNNING, 1 new KILLING");
    let tasks = script.tasks("/a");
    let killed = tasks.iter().find(|task| task.state == TaskState::Killing);
    assert_eq!(killed.unwrap().started_at, None);
}

#[test]
fn a_deployment_keeps_the_sweep_away() {
    // contract: keep-locked
    let mut script = Script::new();
    script.deploy(app(json!({})));
    script.put("/a", update(2), false).unwrap();
    let old = script.tasks("/a")[0].clone();
    script.report(&old, TaskState::Failed);
    script.tick(600_000);
    assert_eq!(script.show("/a"), "3 old RUNNING, 4 new STAGING");
}

#[test]
fn missing_instances_come_again() {
    // contract: keep-missing
    let mut script = Script::new();
    script.deploy(app(json!({})));
    let task = script.tasks("/a")[0].clone();
    script.report(&task, TaskState::Finished);
    assert_eq!(script.show("/a"), "3 new RUNNING; 1 queued");
    script.tick(1_001);
    assert_eq!(script.show("/a"), "1 new STAGING, 3 new RUNNING");
    // What a stopped deployment left undone is found by the sweep.
    let mut script = Script::new();
    script.post(app(json!({"cpus": 5}))).unwrap();
    let deployment_id = script
        .engine
        .state()
        .deployments
        .keys()
        .next()
        .unwrap()
        .clone();
    script
        .command(Command::CancelDeployment { deployment_id })
        .unwrap();
    // contract: queue-purged, event-deployment_failed
    assert_eq!(script.show("/a"), "");
    assert_eq!(script.events().last(), Some(&"deployment_failed"));
    script.tick(300_000);
    assert_eq!(script.show("/a"), "; 4 queued");
}

#[test]
fn grace_by_the_kind_of_task() {
    for (more, millis) in [
        (json!({}), 3_000),                                // contract: kill-grace-command
        (json!({"taskKillGracePeriodSeconds": 7}), 7_000), // contract: kill-grace-set
        (
            json!({"cmd": null, "container": {"docker": {"image": "i"}}}),
            20_000,
        ), // contract: kill-grace-docker
        (
            // contract: kill-grace-set
            json!({"cmd": null, "container": {"docker": {"image": "i"}}, "taskKillGracePeriodSeconds": 1}),
            1_000,
        ),
    ] {
        let mut script = Script::new();
        script.deploy(app(more.clone()));
        script.delete("/a").unwrap();
        let graces: Vec<u64> = script.kills.iter().map(|kill| kill.grace_millis).collect();
        assert_eq!(graces, [millis; 4], "{more}");
    }
}

#[test]
fn a_kill_says_that_it_was_one() {
    // contract: task-state-killed, task-vanishes, event-status_update_event
    for end in [TaskState::Finished, TaskState::Failed, TaskState::Killed] {
        let mut script = Script::new();
        script.deploy(app(json!({"instances": 1})));
        script.delete("/a").unwrap();
        script.events();
        let task = script.engine.state().tasks.values().next().unwrap().clone();
        script.report(&task, end);
        let events = script.take_events();
        let EventKind::StatusUpdate { task_status, .. } = events[0].kind else {
            panic!("{events:?}")
        };
        assert_eq!(task_status, TaskState::Killed);
        assert!(script.engine.state().tasks.is_empty());
    }
}

#[test]
fn times_of_a_task() {
    // contract: task-times, trap-13
    let mut script = Script::new();
    script.post(app(json!({"instances": 1}))).unwrap();
    let staged = script.engine.state().clock;
    let task = script.tasks("/a")[0].clone();
    assert_eq!((task.staged_at, task.started_at), (staged, None));
    script.tick(700);
    script.report(&task, TaskState::Running);
    script.tick(700);
    script.report(&task, TaskState::Running);
    let task = script.tasks("/a")[0].clone();
    let started = Some(staged.plus_millis(700));
    assert_eq!((task.staged_at, task.started_at), (staged, started));
    assert!(task.health.is_empty());
}

#[test]
fn staging_for_a_day_is_given_up() {
    // contract: agent-staging-timeout
    let mut script = Script::new();
    script.post(app(json!({"instances": 1}))).unwrap();
    script.tick(23 * 3_600_000);
    assert_eq!(script.show("/a"), "1 new STAGING");
    script.tick(2 * 3_600_000);
    assert_eq!(script.show("/a"), "1 new KILLING");
    script.end_killed();
    assert_eq!(script.show("/a"), "1 new STAGING");
}

#[test]
fn a_stranger_is_killed_without_a_word() {
    // contract: kill-unknown
    let mut script = Script::new();
    script.deploy(app(json!({"instances": 1})));
    let task = script.tasks("/a")[0].clone();
    script.delete("/a").unwrap();
    script.end_killed();
    script.events();
    let n_kills = script.kills.len();
    let unknown = Selection::Ids(vec![task.id.clone()]);
    kill(&mut script, unknown, false);
    assert_eq!(script.kills.len(), n_kills);
    assert!(script.events().is_empty());
}

#[test]
fn scaling_waits_for_ends_and_starts() {
    // contract: scale-waits, scale-any-version, trap-27
    let mut script = Script::new();
    script.deploy(app(json!({"healthChecks": [{}]})));
    let versions = |script: &Script| -> Vec<Timestamp> {
        script.tasks("/a").iter().map(|task| task.version).collect()
    };
    let first = versions(&script);
    let config = script.app("/a").config_version();
    script.put("/a", json!({"instances": 2}), false).unwrap();
    assert_eq!(script.show("/a"), "2 old RUNNING, 2 old KILLING");
    script.end_one("/a");
    assert_eq!(script.engine.state().deployments.size(), 1);
    script.end_one("/a");
    assert!(script.engine.state().deployments.is_empty());
    assert_eq!(versions(&script), first[..2]);
    script.put("/a", json!({"instances": 3}), false).unwrap();
    assert_eq!(script.show("/a"), "2 old RUNNING, 1 new STAGING");
    assert_eq!(script.app("/a").config_version(), config);
    assert!(script.app("/a").version > config);
    script.run_staged();
    assert_eq!(
        script.engine.state().deployments.size(),
        1,
        "not healthy yet"
    );
    // contract: scale-dead-new
    let new = script.tasks("/a")[2].clone();
    script.report(&new, TaskState::Failed);
    assert_eq!(script.show("/a"), "2 old RUNNING; 1 queued");
    script.tick(1_001);
    script.run_staged();
    script.answer_checks(true);
    assert!(script.engine.state().deployments.is_empty());
    assert_eq!(script.show("/a"), "2 old RUNNING, 1 new RUNNING");
}

#[test]
fn a_kill_with_scale_counts_the_sentenced() {
    // contract: scale-kill-count, kill-scale
    let mut script = Script::new();
    script.deploy(app(json!({})));
    let ids: Vec<_> = script.tasks("/a")[1..3]
        .iter()
        .map(|task| task.id.clone())
        .collect();
    kill(&mut script, Selection::Ids(ids.clone()), true);
    assert_eq!(script.app("/a").instances, 2);
    let tasks = script.tasks("/a");
    let killed: Vec<_> = tasks
        .iter()
        .filter(|task| task.state == TaskState::Killing)
        .map(|task| task.id.clone())
        .collect();
    assert_eq!(killed, ids);
}

#[test]
fn a_kill_goes_through_a_lock() {
    // contract: z-3
    let mut script = Script::new();
    script.deploy(app(json!({})));
    script.put("/a", update(2), false).unwrap();
    let old = script.tasks("/a")[0].clone();
    let one = Selection::Ids(vec![old.id.clone()]);
    kill(&mut script, one, false);
    assert_eq!(
        script.show("/a"),
        "3 old RUNNING, 1 old KILLING, 4 new STAGING"
    );
    let value: Value = json!(old.id);
    assert_eq!(
        script.kills.last().map(|kill| json!(kill.task_id)),
        Some(value)
    );
}

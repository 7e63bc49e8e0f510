//! Resident apps: an instance's volumes and its agent are the next one's.

mod queue;
mod rollback;

use serde_json::{Value, json};
use zddcluster_model::task::LocalVolume;
use zddcluster_model::{AgentId, AppId, TaskState};

use super::{app, update};
use crate::blocker::blockers_of_app;
use crate::effect::{Answer, Effect};
use crate::input::{Command, Input, Selection};
use crate::script::Script;

fn resident(more: Value) -> Value {
    let volume =
        |path: &str| json!({ "containerPath": path, "mode": "RW", "persistent": { "size": 100 } });
    let mut app = app(json!({
        "disk": 1,
        "container": { "type": "MESOS", "volumes": [volume("data"), volume("log")] },
    }));
    let more = more.as_object().expect("an object").clone();
    app.as_object_mut().expect("an object").extend(more);
    app
}

impl Script {
    /// Where each launched instance is, and what it has there.
    fn places(&self) -> Vec<(AgentId, Vec<LocalVolume>)> {
        let tasks = self.tasks("/a").into_iter();
        let mut places: Vec<_> = tasks
            .map(|task| (task.agent_id.clone(), task.local_volumes.clone()))
            .collect();
        places.sort_by(|(_, a), (_, b)| a[0].persistence_id.cmp(&b[0].persistence_id));
        places
    }

    /// The volumes whose end was ordered since the last look.
    fn destroyed(&mut self) -> Vec<String> {
        let mut destroyed = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            if let Effect::DestroyVolumes { volume_ids, .. } = effect {
                destroyed.extend(volume_ids);
            }
        }
        destroyed.sort();
        destroyed
    }

    fn wipe(&mut self, selection: Selection) -> usize {
        let killed = self.command(Command::KillTasks {
            selection,
            scale: false,
            wipe: true,
            force: false,
        });
        match killed {
            Ok(Answer::Killed(tasks)) => tasks.len(),
            other => panic!("{other:?}"),
        }
    }

    /// Lets everything end and begin until nothing more does.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.end_killed();
            self.run_staged();
        }
    }
}

fn ids(places: &[(AgentId, Vec<LocalVolume>)]) -> Vec<String> {
    let volumes = places.iter().flat_map(|(_, volumes)| volumes);
    let mut ids: Vec<String> = volumes.map(|it| it.persistence_id.clone()).collect();
    ids.sort();
    ids
}

#[test]
fn a_resident_task_keeps_its_agent_and_its_volumes() {
    // contract: other-resident-agent
    let mut script = Script::new();
    script.deploy(resident(json!({ "instances": 3 })));
    let places = script.places();
    for (_, volumes) in &places {
        let (data, log) = (&volumes[0], &volumes[1]);
        assert!(data.persistence_id.starts_with("a#data#"), "{data:?}");
        assert_eq!(
            (&*data.container_path, &*log.container_path),
            ("data", "log")
        );
    }
    // The agents hold the disk of the volumes, too.
    let free = |script: &Script| -> f64 {
        let agents = script.engine.state().agents.values();
        agents
            .map(|agent| script.engine.state().free_on(agent).disk)
            .sum()
    };
    let left = 2.0 * 35_577.0 - 3.0 * 201.0;
    assert!((free(&script) - left).abs() < 1e-6);
    // A crash, an update, a restart, and the death of the master in it.
    let task = script.tasks("/a")[0].clone();
    script.report(&task, TaskState::Failed);
    assert!(
        (free(&script) - left).abs() < 1e-6,
        "what is reserved stays so"
    );
    script.tick(2_000);
    script.settle();
    assert_eq!(script.places(), places);
    script.put("/a", update(2), false).unwrap();
    script.settle();
    assert_eq!(script.places(), places);
    let app_id = AppId::absolute("/a");
    script
        .command(Command::RestartApp {
            app_id,
            force: false,
        })
        .unwrap();
    script.end_one("/a");
    script.restart_master();
    script.settle();
    assert_eq!(script.show("/a"), "3 new RUNNING");
    assert_eq!(script.places(), places);
    assert_eq!(script.destroyed(), Vec::<String>::new());
    // No more than one instance at a time has each.
    let launched = script
        .engine
        .state()
        .launched_of(&AppId::absolute("/a"))
        .count();
    assert_eq!(
        (launched, script.engine.state().reservations.size()),
        (3, 3)
    );
}

#[test]
fn what_is_scaled_down_is_kept_and_what_is_deleted_is_freed_when_the_plan_has_ended() {
    let mut script = Script::new();
    script.deploy(resident(json!({ "instances": 3 })));
    let before = script.places();
    // A scaling that is taken back has freed nothing.
    script.put("/a", json!({ "instances": 1 }), false).unwrap();
    script.end_one("/a");
    let deployment_id = script
        .engine
        .state()
        .deployments
        .keys()
        .next()
        .unwrap()
        .clone();
    script
        .command(Command::RollBackDeployment { deployment_id })
        .unwrap();
    script.settle();
    assert_eq!(
        (script.places(), script.destroyed()),
        (before.clone(), Vec::new())
    );
    script.put("/a", json!({ "instances": 1 }), false).unwrap();
    script.settle();
    assert_eq!((script.places().len(), script.destroyed()), (1, Vec::new()));
    assert_eq!(script.engine.state().reservations.size(), 3);
    // Scaled up again, it finds them all.
    script.put("/a", json!({ "instances": 3 }), false).unwrap();
    script.settle();
    let kept = script.places();
    assert_eq!(kept, before);
    // A removal that is taken back, after the task has ended, neither.
    script.delete("/a").unwrap();
    let id = script
        .engine
        .state()
        .deployments
        .keys()
        .next()
        .unwrap()
        .clone();
    script.restart_master();
    script
        .command(Command::RollBackDeployment { deployment_id: id })
        .unwrap();
    script.settle();
    assert_eq!(script.places(), kept);
    assert_eq!(script.destroyed(), Vec::<String>::new());
    script.delete("/a").unwrap();
    script.settle();
    assert_eq!(script.destroyed(), ids(&kept));
    assert_eq!(script.engine.state().reservations.size(), 0);
    let agents = script.engine.state().agents.values();
    let free: f64 = agents
        .map(|agent| script.engine.state().free_on(agent).disk)
        .sum();
    assert!((free - 2.0 * 35_577.0).abs() < 1e-6);
}

#[test]
fn volumes_larger_than_can_be_counted_fit_nowhere() {
    let mut script = Script::new();
    let volume =
        |path: &str| json!({ "containerPath": path, "mode": "RW", "persistent": { "size": 1e13 } });
    let container = json!({ "type": "MESOS", "volumes": [volume("data"), volume("log")] });
    script
        .post(resident(json!({ "instances": 1, "container": container })))
        .unwrap();
    script.tick(1_000);
    assert_eq!(script.show("/a"), "; 1 queued");
    assert_eq!(script.engine.state().reservations.size(), 0);
}

#[test]
fn a_kill_with_wipe_frees_the_volumes_of_its_tasks() {
    // contract: kill-wipe
    let mut script = Script::new();
    script.deploy(resident(json!({ "instances": 2 })));
    let before = script.places();
    let task = script.tasks("/a")[0].clone();
    assert_eq!(script.wipe(Selection::Ids(vec![task.id.clone()])), 1);
    assert_eq!(
        script.destroyed(),
        Vec::<String>::new(),
        "not under the task"
    );
    script.settle();
    let own: Vec<String> = task
        .local_volumes
        .iter()
        .map(|it| it.persistence_id.clone())
        .collect();
    assert_eq!(script.destroyed(), own);
    let after = script.places();
    assert_eq!(
        (after.len(), script.show("/a").as_str()),
        (2, "2 new RUNNING")
    );
    assert_eq!(
        ids(&after)
            .iter()
            .filter(|id| ids(&before).contains(id))
            .count(),
        2
    );
    // An agent that still has it is told again, with the word of a new master, and about nothing else.
    let stranger = "b#data#of-another-cluster".to_owned();
    script.volumes = [own.clone(), vec![stranger]].concat();
    script.restart_master();
    let mut again = own.clone();
    again.extend(own);
    again.sort();
    assert_eq!(
        script.destroyed(),
        again,
        "by both agents, which tell the same here"
    );
    // Until it is gone.
    script.volumes.clear();
    script.restart_master();
    script.restart_master();
    assert_eq!(script.destroyed(), Vec::<String>::new());
    assert_eq!(script.engine.state().freed.size(), 0);
}

#[test]
fn a_lost_resident_task_is_waited_for_as_long_as_it_takes() {
    // contract: lost-resident
    let mut script = Script::new();
    script.deploy(resident(json!({ "instances": 2 })));
    let places = script.places();
    let lost = script.tasks("/a")[0].clone();
    script.lose_agent(&lost.agent_id);
    script.tick(30 * 24 * 3_600_000);
    assert_eq!(script.show("/a"), "1 new RUNNING; 1 queued");
    let state = script.engine.state();
    assert_eq!(state.tasks[&lost.id].state, TaskState::Lost);
    let blockers = blockers_of_app(state, &lost.app_id);
    let lines = blockers[0].lines(state, state.clock).join("\n");
    let host = &lost.host;
    let words = format!("has no free volume of the app; that is on agent {host} (away)");
    assert!(lines.contains(&words), "{lines}");
    let hint = blockers[0].hint(state);
    assert!(
        hint.contains(&format!("start agent {host} again")),
        "{hint}"
    );
    // It comes back with the task: all is as it was.
    script.agent_returns(&lost.agent_id, std::slice::from_ref(&lost));
    assert_eq!(script.show("/a"), "2 new RUNNING");
    // Or without: the next one has its volumes.
    script.lose_agent(&lost.agent_id);
    script.tick(100_000);
    script.agent_returns(&lost.agent_id, &[]);
    script.settle();
    assert_eq!(script.places(), places);
    // Or never, and somebody gives the data up.
    let next = script
        .tasks("/a")
        .into_iter()
        .find(|task| task.agent_id == lost.agent_id);
    script.lose_agent(&lost.agent_id);
    script.tick(100_000);
    assert_eq!(
        script.wipe(Selection::Ids(vec![next.unwrap().id.clone()])),
        1
    );
    script.settle();
    assert_eq!(script.show("/a"), "2 new RUNNING");
    assert!(
        script
            .tasks("/a")
            .iter()
            .all(|task| task.agent_id != lost.agent_id)
    );
    // Its agent hears of that when it comes back.
    script.destroyed();
    script.volumes = lost
        .local_volumes
        .iter()
        .map(|it| it.persistence_id.clone())
        .collect();
    script.agent_returns(&lost.agent_id, &[]);
    assert_eq!(script.destroyed(), script.volumes);
}

#[test]
fn volumes_that_no_task_has_are_wiped_with_their_app() {
    let mut script = Script::new();
    script.deploy(resident(json!({ "instances": 1, "backoffSeconds": 3600 })));
    let task = script.tasks("/a")[0].clone();
    script.report(&task, TaskState::Failed);
    let app_id = AppId::absolute("/a");
    let of_host = |host: &str| Selection::App {
        app_id: app_id.clone(),
        host: Some(host.to_owned()),
    };
    assert_eq!(script.wipe(of_host("127.0.0.99")), 0);
    assert_eq!(script.destroyed(), Vec::<String>::new());
    assert_eq!(script.wipe(of_host(&task.host)), 0);
    assert_eq!(script.destroyed().len(), 2);
}

#[test]
fn an_app_with_an_external_volume_waits_for_ever() {
    // contract: volume-external-waits
    let mut script = Script::new();
    let volume = json!({ "containerPath": "/data", "mode": "RW", "external": { "name": "v", "provider": "dvdi" } });
    let container = json!({ "type": "MESOS", "volumes": [volume] });
    script
        .post(app(json!({ "instances": 2, "container": container })))
        .unwrap();
    script.tick(24 * 3_600_000);
    script.register_another(13);
    script.step(Input::Wake);
    assert_eq!(script.show("/a"), "; 2 queued");
    let state = script.engine.state();
    let id = state.deployments.keys().next().unwrap();
    let blockers = crate::blocker::blockers(state, id);
    let lines = blockers[0].lines(state, state.clock);
    assert_eq!(lines.len(), 4, "{lines:?}");
    let words = "cannot attach the external volume v: no volume driver (dvdi) is here";
    assert!(
        lines[1..].iter().all(|line| line.ends_with(words)),
        "{lines:?}"
    );
    assert!(blockers[0].hint(state).contains("never attached"));
    assert!(
        !script
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Launch(..)))
    );
}

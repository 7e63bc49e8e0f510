//! Persistent volumes: what a task writes there is there for the next one, until the master frees it.

use std::time::Duration;

use zddcluster_model::TaskState::{Failed, Killed, Running};
use zddcluster_model::agent::{Command, LaunchTask, MountVolume};

use crate::common::{World, shell, wait_for};

const VOLUME: &str = "db#data#1";

fn with_volume(task: &str, cmd: &str, is_new: bool) -> LaunchTask {
    LaunchTask {
        volumes: vec![MountVolume {
            container_path: "data".to_owned(),
            persistence_id: VOLUME.to_owned(),
            is_new,
        }],
        ..shell(task, cmd)
    }
}

fn destroy(volume_id: &str) -> Command {
    Command::DestroyVolumes {
        volume_ids: vec![volume_id.to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_outlives_tasks_and_agents_and_goes_when_it_is_freed() {
    let mut world = World::start().await;
    let master = world.master.clone();
    let writes = "date > data/written; echo in $(cd data; pwd -P)";
    master.launch(with_volume("db.1", writes, true));
    master
        .state("db.1", zddcluster_model::TaskState::Finished)
        .await;
    let directory = world.work_dir().join("volumes").join(VOLUME);
    assert!(directory.join("written").is_file());

    // The agent starts anew, and says what it keeps.
    world.stop_agent().await;
    world.start_agent().await;
    let registered = master.registrations().last().cloned().unwrap();
    assert_eq!(registered.volumes, [VOLUME]);
    let reads = "cat data/written && exec sleep 600";
    master.launch(with_volume("db.2", reads, false));
    master.state("db.2", Running).await;

    // Nothing is destroyed under a task, and nothing else ever.
    std::fs::create_dir(world.work_dir().join("volumes/other#data#2")).unwrap();
    master.send(&destroy(VOLUME));
    master.send(&destroy("unknown#data#3"));
    // Another task of it waits until the first has let it go; by then it is killed.
    master.launch(with_volume("db.3", "true", false));
    master.kill("db.3", Duration::ZERO);
    let message = master.state("db.3", Killed).await;
    assert_eq!(message, "Task killed before it was launched");
    assert!(directory.is_dir());
    master.kill("db.2", Duration::from_secs(1));
    master.state("db.2", Killed).await;
    wait_for("the volume to be destroyed", || match directory.exists() {
        false => Ok(()),
        true => Err("it is there".to_owned()),
    })
    .await;
    assert!(world.work_dir().join("volumes/other#data#2").is_dir());
    world.stop_agent().await;
    world.start_agent().await;
    let registered = master.registrations().last().cloned().unwrap();
    assert_eq!(registered.volumes, ["other#data#2"]);

    // A task never runs without the data it expects.
    master.launch(with_volume("db.4", "true", false));
    let message = master.state("db.4", Failed).await;
    assert!(
        message.contains("is not on this agent any more"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tasks_never_share_a_volume() {
    let world = World::start().await;
    let master = world.master.clone();
    let writes = "trap 'echo last > data/word; exit 0' TERM; echo first > data/word; while :; do sleep 0.05; done";
    master.launch(with_volume("db.1", writes, true));
    master.state("db.1", Running).await;
    world.says("db.1", "data/word", "first").await;
    master.launch(with_volume("db.2", "exec cat data/word", false));
    master.kill("db.1", Duration::from_secs(20));
    master.state("db.1", Killed).await;
    world.says("db.2", "stdout", "last").await;
}

//! What an agent finds when it starts again, and what the link to the master survives.

use std::time::Duration;

use crate::common::{World, container_id, ends, is_alive, shell, wait_for};
use zddcluster_model::TaskState::{Failed, Finished, Killed, Lost, Running};
use zddcluster_model::agent::TaskReport;

const GRACE: Duration = Duration::from_secs(20);

fn kill_9(pid: i32) {
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_task_is_adopted() {
    let mut world = World::start().await;
    world
        .master
        .launch(shell("lives.1", "echo up; while :; do sleep 0.05; done"));
    world.says("lives.1", "stdout", "up").await;
    world.master.state("lives.1", Running).await;
    let pid = world.pid("lives.1", "process.json");
    world.stop_agent().await;
    assert!(is_alive(pid));
    let found = zddcluster_agent::leftovers(&world.work_dir()).unwrap();
    assert_eq!(
        found
            .iter()
            .map(|task| task.task_id.as_str())
            .collect::<Vec<_>>(),
        ["lives.1"]
    );

    world.start_agent().await;
    let registrations = world.master.registrations();
    let [first, .., last] = registrations.as_slice() else {
        panic!("{registrations:?}")
    };
    assert_eq!((first.agent_id.clone(), first.epoch), (None, 1));
    assert_eq!(
        (last.agent_id.as_ref().unwrap().as_str(), last.epoch),
        ("M-S1", 2)
    );
    assert_eq!(
        last.tasks.iter().map(|task| task.state).collect::<Vec<_>>(),
        [Running]
    );
    assert_eq!(pid, world.pid("lives.1", "process.json"));
    world.master.kill("lives.1", GRACE);
    assert_eq!(
        world.master.state("lives.1", Killed).await,
        "Command terminated with signal Terminated"
    );
    assert!(!is_alive(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_while_away_is_told_afterwards() {
    let mut world = World::start().await;
    world.master.launch(shell(
        "ends.1",
        "while [ ! -e go ]; do sleep 0.02; done; exit 7",
    ));
    world.master.state("ends.1", Running).await;
    world.stop_agent().await;
    std::fs::write(world.sandbox("ends.1").join("go"), "").unwrap();
    let exit = world.task_dir("ends.1").join("exit.json");
    wait_for("the exit file", || {
        if exit.exists() {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
    world.start_agent().await;
    assert_eq!(
        world.master.state("ends.1", Failed).await,
        "Command exited with status 7"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_under_way_is_carried_on() {
    let mut world = World::start().await;
    world.master.launch(shell(
        "deaf.3",
        "trap '' TERM; echo up; while :; do sleep 1; done",
    ));
    world.says("deaf.3", "stdout", "up").await;
    world.master.state("deaf.3", Running).await;
    world.master.kill("deaf.3", Duration::from_millis(1500));
    let kill = world.task_dir("deaf.3").join("kill.json");
    wait_for("the kill to be written down", || {
        if kill.exists() {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
    world.stop_agent().await;
    world.start_agent().await;
    assert_eq!(
        world.master.state("deaf.3", Killed).await,
        "Command terminated with signal Killed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_executor_died_is_still_watched() {
    let mut world = World::start().await;
    world.master.launch(shell("orphan.1", "sleep 1000"));
    world.master.state("orphan.1", Running).await;
    world.stop_agent().await;
    let (executor, task) = (
        world.pid("orphan.1", "executor.json"),
        world.pid("orphan.1", "process.json"),
    );
    kill_9(executor);
    ends(executor).await;
    assert!(is_alive(task));
    world.start_agent().await;
    assert_eq!(
        world.master.registrations().last().unwrap().tasks[0].state,
        Running
    );
    kill_9(task);
    let message = world.master.state("orphan.1", Failed).await;
    assert!(message.starts_with("exit status unknown"), "{message}");
}

/// The process that made a task's executor.
fn spawner_of(world: &World, task: &str) -> i32 {
    let executor = world.pid(task, "executor.json");
    let status = std::fs::read_to_string(format!("/proc/{executor}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spawner_that_died_is_replaced() {
    let mut world = World::start().await;
    world.master.launch(shell("before.1", "sleep 1000"));
    world.master.state("before.1", Running).await;
    let spawner = spawner_of(&world, "before.1");
    kill_9(spawner);
    ends(spawner).await;
    world.master.launch(shell("after.1", "sleep 1000"));
    world.master.state("after.1", Running).await;
    assert!(is_alive(world.pid("before.1", "process.json")));
    for task in ["before.1", "after.1"] {
        world.master.kill(task, GRACE);
        assert_eq!(
            world.master.state(task, Killed).await,
            "Command terminated with signal Terminated"
        );
    }

    // And it ends with its agent, which tasks do not.
    world.master.launch(shell("last.1", "sleep 1000"));
    world.master.state("last.1", Running).await;
    let spawner = spawner_of(&world, "last.1");
    world.stop_agent().await;
    ends(spawner).await;
    assert!(is_alive(world.pid("last.1", "process.json")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_boot_ended_every_task() {
    let mut world = World::start().await;
    world.master.launch(shell("old.1", "sleep 1000"));
    world.master.state("old.1", Running).await;
    world.stop_agent().await;
    kill_9(world.pid("old.1", "executor.json"));
    kill_9(world.pid("old.1", "process.json"));
    for file in ["executor.json", "process.json"] {
        let path = world.task_dir("old.1").join(file);
        let mut record: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        record["bootId"] = "another".into();
        // A pid that is somebody else's now: it must not be touched.
        record["pid"] = std::process::id().into();
        std::fs::write(&path, record.to_string()).unwrap();
    }
    world.start_agent().await;
    let message = world.master.state("old.1", Lost).await;
    assert!(message.contains("rebooted"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_of_another_boot_is_not_carried_out_again() {
    let mut world = World::start().await;
    world
        .master
        .launch(shell("cut.1", "echo ran; exec sleep 1000"));
    world.says("cut.1", "stdout", "ran").await;
    world.stop_agent().await;
    kill_9(world.pid("cut.1", "executor.json"));
    kill_9(world.pid("cut.1", "process.json"));
    // As a power cut leaves it: what was flushed is there, of the rest nothing or an empty file.
    let file = |name: &str| world.task_dir("cut.1").join(name);
    let intent = std::fs::read_to_string(file("intent.json")).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(intent.contains(boot.trim()), "{intent}");
    std::fs::write(file("intent.json"), intent.replace(boot.trim(), "another")).unwrap();
    for gone in ["spec.json", "executor.json"] {
        std::fs::remove_file(file(gone)).unwrap();
    }
    std::fs::write(file("process.json"), "").unwrap();
    world.start_agent().await;
    let message = world.master.state("cut.1", Lost).await;
    assert!(message.contains("rebooted"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_came_to_nothing_is_ordered_anew() {
    let mut world = World::start().await;
    world.master.launch(shell("first.1", "true"));
    world.master.state("first.1", Finished).await;
    world.stop_agent().await;
    // As a crash between intent and executor leaves it.
    let intent = std::fs::read_to_string(world.task_dir("first.1").join("intent.json")).unwrap();
    std::fs::create_dir(world.task_dir("second.1")).unwrap();
    std::fs::write(
        world.task_dir("second.1").join("intent.json"),
        intent.replace("first.1", "second.1"),
    )
    .unwrap();
    world.start_agent().await;
    // The first one may stand there with its end, if the agent stopped before it read that the master has it.
    let registered = world.master.registrations().pop().unwrap();
    let lists_second = |report: &TaskReport| report.task_id.to_string() == "second.1";
    assert!(!registered.tasks.iter().any(lists_second), "{registered:?}");
    world.master.launch(shell("second.1", "true"));
    world.master.state("second.1", Finished).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_wait_for_a_master_that_cannot_store_them() {
    let mut world = World::start().await;
    world.master.set_deaf(true);
    world.master.launch(shell("mute.1", "exit 1"));
    let exit = world.task_dir("mute.1").join("exit.json");
    wait_for("the exit file", || {
        if exit.exists() {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
    world.stop_agent().await;
    world.start_agent().await;
    assert_eq!(
        world.master.registrations().last().unwrap().tasks[0].state,
        Failed
    );
    world.master.set_deaf(false);
    world.master.state("mute.1", Failed).await;
    let settled = world.task_dir("mute.1").join("acknowledged");
    wait_for("the acknowledgement", || {
        if settled.exists() {
            Ok(())
        } else {
            Err(String::new())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_leads_to_a_new_registration() {
    let world = World::start().await;
    world.master.drop_stream();
    wait_for("a second registration", || {
        match world.master.registrations().len() {
            0 | 1 => Err(String::new()),
            _ => Ok(()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_agent_stops() {
    let world = World::start().await;
    world.master.fence();
    let failure = tokio::time::timeout(GRACE, world.failure()).await.unwrap();
    assert!(format!("{failure:?}").contains("Fenced"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_not_carried_out_where_a_younger_process_works() {
    let world = World::start().await;
    let path = world.work_dir().join("agent.json");
    let mut identity: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    identity["epoch"] = 2.into();
    std::fs::write(&path, identity.to_string()).unwrap();
    world.master.launch(shell("twice.1", "true"));
    let failure = tokio::time::timeout(GRACE, world.failure()).await.unwrap();
    assert!(format!("{failure:?}").contains("TakenOver"), "{failure:?}");
    assert!(!world.task_dir("twice.1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_stopped_and_reported_as_killed() {
    let mut world = World::start().await;
    world.master.launch(shell(
        "left.2",
        "trap '' TERM; echo up; while :; do sleep 1; done",
    ));
    world.says("left.2", "stdout", "up").await;
    world.master.state("left.2", Running).await;
    let work_dir = world.work_dir();
    let stop = {
        let work_dir = work_dir.clone();
        move || zddcluster_agent::stop_leftovers(&work_dir, Duration::from_millis(200))
    };
    assert_eq!(stop().unwrap_err().kind(), std::io::ErrorKind::ResourceBusy);
    world.stop_agent().await;
    let stopped = tokio::task::spawn_blocking(stop).await.unwrap().unwrap();
    assert_eq!(stopped.len(), 1);
    assert!(zddcluster_agent::leftovers(&work_dir).unwrap().is_empty());
    world.start_agent().await;
    world.master.state("left.2", Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_last_sandboxes_are_kept() {
    let world = World::start().await;
    for n in 0..23 {
        world.master.launch(shell(&format!("many.{n}"), "true"));
    }
    for n in 0..23 {
        world.master.state(&format!("many.{n}"), Finished).await;
    }
    let kept = world
        .work_dir()
        .join("slaves/M-S1/frameworks/M-0000/executors");
    wait_for("twenty sandboxes", || {
        match std::fs::read_dir(&kept).unwrap().count() {
            20 => Ok(()),
            other => Err(other.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn state_and_files_as_a_mesos_agent_answers() {
    let world = World::start().await;
    world
        .master
        .launch(shell("web.1", "echo hello; sleep 1000"));
    world.says("web.1", "stdout", "hello").await;
    world.master.state("web.1", Running).await;
    world.master.launch(shell("done.1", "true"));
    world.master.state("done.1", Finished).await;
    let (status, body) = world.get("/slave(1)/state.json").await;
    assert_eq!(status, 200);
    let state: serde_json::Value = serde_json::from_str(&body).unwrap();
    let framework = &state["frameworks"][0];
    let executor = &framework["executors"][0];
    assert_eq!(state["id"], "M-S1");
    assert_eq!(executor["tasks"][0]["name"], "base.zdd");
    assert_eq!(
        framework["completed_executors"][0]["completed_tasks"][0]["state"],
        "TASK_FINISHED"
    );
    let directory = executor["directory"].as_str().unwrap();
    let (status, body) = world
        .get(&format!(
            "/files/read.json?path={directory}/stdout&offset=0&length=100"
        ))
        .await;
    assert_eq!(
        (status.as_u16(), body.as_str()),
        (200, r#"{"data":"hello\n","offset":0}"#)
    );
    let (status, body) = world
        .get(&format!("/files/browse.json?path={directory}/."))
        .await;
    assert_eq!(status, 200);
    assert!(body.contains("/stderr"), "{body}");
    let (status, body) = world
        .get(&format!("/files/download?path={directory}/stdout"))
        .await;
    assert_eq!((status.as_u16(), body.as_str()), (200, "hello\n"));
    let container = container_id("web.1");
    for (path, expected) in [
        (format!("{directory}/nothing"), 404),
        (format!("{directory}/../{container}/stdout"), 403),
        (
            world
                .task_dir("web.1")
                .join("intent.json")
                .display()
                .to_string(),
            404,
        ),
        (String::new(), 400),
    ] {
        assert_eq!(
            world
                .get(&format!("/files/read.json?path={path}&offset=0"))
                .await
                .0,
            expected,
            "{path}"
        );
    }
    assert_eq!(world.get("/health").await.0, 200);
    world.master.kill("web.1", Duration::from_secs(20));
    world.master.state("web.1", Killed).await;
}

//! Agents that die, containers that vanish, engines that are away or silent.

use std::time::Duration;

use zddcluster_agent::Containerizer;
use zddcluster_agent::containerizer::{Exit, KillSignal, Recovered};

use crate::engine::Door;
use crate::support::{World, file, says};

/// A shell that counts, so that a line that is lost or told twice shows.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo line $n; sleep 0.02; done";

fn assert_counts(stdout: &str) {
    for (index, line) in stdout.lines().enumerate() {
        assert_eq!(line, format!("line {}", index + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn found_again_with_every_line_once() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let order = world.shell("count.1", COUNT);
    world.containerizer.launch(&order).await.unwrap();
    for round in 1..=3 {
        if round > 1 {
            assert_eq!(
                world.containerizer.recover(&order).await.unwrap(),
                Recovered::Running
            );
        }
        let line = format!("line {}\n", round * 60);
        tokio::select! {
            exit = world.end_of(&order) => panic!("{exit:?}"),
            () = says(&order, "stdout", &line) => {}
        }
        // As kill -9: nothing is said good-bye to.
        world.restart_agent().await;
    }
    assert_eq!(
        world.containerizer.recover(&order).await.unwrap(),
        Recovered::Running
    );
    world
        .containerizer
        .kill(&order, KillSignal::Kill)
        .await
        .unwrap();
    assert_eq!(world.end_of(&order).await, Exit::Exited { status: 137 });
    let stdout = file(&order, "stdout");
    assert!(stdout.lines().count() >= 180, "{stdout}");
    assert_counts(&stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_no_agent_was_there() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let ended = world.shell("ended.1", "echo said meanwhile; exit 7");
    let removed = world.shell("removed.1", "exec sleep 1000");
    let never = world.shell("never.1", "true");
    world.containerizer.launch(&ended).await.unwrap();
    world.containerizer.launch(&removed).await.unwrap();
    world.restart_agent().await;
    world.remove_behind_its_back(&removed).await;

    let recover = async |order| world.containerizer.recover(order).await.unwrap();
    assert_eq!(recover(&ended).await, Recovered::Running);
    assert_eq!(world.end_of(&ended).await, Exit::Exited { status: 7 });
    assert_eq!(file(&ended, "stdout"), "said meanwhile\n");
    assert_eq!(recover(&removed).await, Recovered::Running);
    let gone = world.end_of(&removed).await;
    let Exit::Unknown { message } = &gone else {
        panic!("{gone:?}")
    };
    assert!(message.contains("removed by somebody else"), "{message}");
    // Its end is in the books now.
    assert_eq!(recover(&removed).await, Recovered::Ended(gone));
    assert_eq!(recover(&never).await, Recovered::NeverStarted);
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_with_the_machine() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let mut order = world.shell("boot.1", "exec sleep 1000");
    world.containerizer.launch(&order).await.unwrap();
    world.restart_agent().await;
    order.boot_id = Some("another".to_owned());
    // It runs, whenever it was ordered.
    let waiting = tokio::time::timeout(Duration::from_secs(1), world.containerizer.wait(&order));
    assert!(waiting.await.is_err(), "an end was concluded");
    world
        .containerizer
        .kill(&order, KillSignal::Kill)
        .await
        .unwrap();
    assert_eq!(world.end_of(&order).await, Exit::Rebooted);
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_behind_the_agents_back() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.shell("victim.1", "echo up; exec sleep 1000");
    world.containerizer.launch(&order).await.unwrap();
    let (exit, ()) = tokio::join!(world.end_of(&order), async {
        says(&order, "stdout", "up").await;
        world.remove_behind_its_back(&order).await;
    });
    assert_eq!(exit, Exit::Exited { status: 137 });
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_concluded_while_the_engine_is_away() {
    let mut door = Door::open();
    let Some(mut world) = World::through(&door.socket()).await else {
        return;
    };
    let (runs, ends) = (
        world.shell("runs.1", COUNT),
        world.shell("ends.1", "sleep 2; exit 5"),
    );
    world.containerizer.launch(&runs).await.unwrap();
    world.containerizer.launch(&ends).await.unwrap();
    door.go_away().await;
    assert_eq!(
        world.containerizer.recover(&runs).await.unwrap(),
        Recovered::Running
    );
    let waiting = tokio::time::timeout(Duration::from_secs(4), world.containerizer.wait(&runs));
    assert!(waiting.await.is_err(), "an end was concluded");

    // An agent that starts meanwhile concludes nothing either.
    world.restart_agent_through(&door.socket()).await;
    assert_eq!(
        world.containerizer.recover(&ends).await.unwrap(),
        Recovered::Running
    );
    let waits = async {
        tokio::join!(world.end_of(&runs), world.end_of(&ends), async {
            // The signal waits for the engine.
            world
                .containerizer
                .kill(&runs, KillSignal::Kill)
                .await
                .unwrap();
        })
    };
    let (ended, ()) = tokio::join!(waits, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        door.come_back();
    });
    assert_eq!(
        ended,
        (Exit::Exited { status: 137 }, Exit::Exited { status: 5 }, ())
    );
    assert_counts(&file(&runs, "stdout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_never_come_are_made_up_for_by_the_list() {
    let door = Door::open();
    let Some(world) = World::through(&door.socket()).await else {
        return;
    };
    let order = world.shell("unheard.1", "echo up; exec sleep 1000");
    world.containerizer.launch(&order).await.unwrap();
    let (exit, ()) = tokio::join!(world.end_of(&order), async {
        says(&order, "stdout", "up").await;
        door.freeze();
        world.remove_behind_its_back(&order).await;
    });
    let Exit::Unknown { message } = &exit else {
        panic!("{exit:?}")
    };
    assert!(message.contains("removed by somebody else"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_engine_holds_nobody_for_ever() {
    let door = Door::open();
    let Some(world) = World::through(&door.socket()).await else {
        return;
    };
    door.fall_silent();
    let socket = door.socket().display().to_string();
    let error = zddcluster_agent::docker::detect(&socket).await.unwrap_err();
    assert!(
        error.to_string().contains("did not answer within 3 s"),
        "{error}"
    );
    // A launch waits for it.
    let order = world.shell("late.1", "exit 0");
    let (exit, ()) = tokio::join!(world.run(&order), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        door.speak();
    });
    assert_eq!(exit, Exit::Exited { status: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_engine_is_waited_for() {
    let door = Door::open();
    let Some(mut world) = World::through(&door.socket()).await else {
        return;
    };
    let runs = world.shell("runs.1", COUNT);
    world.containerizer.launch(&runs).await.unwrap();
    tokio::select! {
        exit = world.end_of(&runs) => panic!("{exit:?}"),
        () = says(&runs, "stdout", "line 10\n") => {}
    }
    // As on a disk that is busy: a launch takes half a dozen answers.
    let delay = Duration::from_secs(1);
    door.slow_down(delay);
    let short = world.shell("short.1", "echo said; exit 3");
    let (exit, concluded) = tokio::join!(
        world.run(&short),
        tokio::time::timeout(Duration::from_secs(4), world.containerizer.wait(&runs)),
    );
    assert_eq!(exit, Exit::Exited { status: 3 });
    assert_eq!(file(&short, "stdout"), "said\n");
    assert!(concluded.is_err(), "an end was concluded");
    // An agent that starts meanwhile finds the task, and its kill is one.
    world.restart_agent_through(&door.socket()).await;
    assert_eq!(
        world.containerizer.recover(&runs).await.unwrap(),
        Recovered::Running
    );
    world
        .containerizer
        .kill(&runs, KillSignal::Kill)
        .await
        .unwrap();
    assert_eq!(world.end_of(&runs).await, Exit::Exited { status: 137 });
    assert_counts(&file(&runs, "stdout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_could_not_be_removed_goes_later() {
    let mut door = Door::open();
    let Some(world) = World::through(&door.socket()).await else {
        return;
    };
    let order = world.shell("stays.1", "exit 0");
    assert_eq!(world.run(&order).await, Exit::Exited { status: 0 });
    door.go_away().await;
    world.containerizer.clean(&order).await;
    assert!(world.inspect(&order).await.is_some());
    door.come_back();
    let deadline = tokio::time::Instant::now() + crate::support::LIMIT;
    while world.inspect(&order).await.is_some() {
        assert!(tokio::time::Instant::now() < deadline, "it stays");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_left_is_ended_by_its_books() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let order = world.shell(
        "left.1",
        "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
    );
    // The first thing an agent does for a task.
    std::fs::write(
        order.task_dir.join("intent.json"),
        serde_json::to_vec(&order).unwrap(),
    )
    .unwrap();
    world.containerizer.launch(&order).await.unwrap();
    tokio::select! {
        exit = world.end_of(&order) => panic!("{exit:?}"),
        () = says(&order, "stdout", "up") => {}
    }
    world.restart_agent().await;

    let work_dir = world.work_dir();
    let found = zddcluster_agent::leftovers(&work_dir).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].task_id.as_str(), "left.1");
    let stop = tokio::task::spawn_blocking(move || {
        let stopped = zddcluster_agent::stop_leftovers(&work_dir, Duration::from_secs(20)).unwrap();
        (stopped, zddcluster_agent::leftovers(&work_dir).unwrap())
    });
    assert_eq!(stop.await.unwrap(), (found, Vec::new()));
    assert_eq!(world.inspect(&order).await, None);
    assert_eq!(file(&order, "stdout"), "up\nbye\n");
    assert_eq!(
        world.containerizer.recover(&order).await.unwrap(),
        Recovered::Ended(Exit::Exited { status: 0 })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_looked_after_by_an_agent_that_uses_processes() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let order = world.shell("old.1", "echo up; exec sleep 1000");
    let work_dir = world.work_dir();
    let holds = || zddcluster_agent::docker::holds_containers(&work_dir).unwrap();
    world.containerizer.launch(&order).await.unwrap();
    assert!(holds());
    world.restart_agent_with_processes().await;
    assert_eq!(world.containerizer.name(), "process");
    assert_eq!(
        world.containerizer.recover(&order).await.unwrap(),
        Recovered::Running
    );
    let (exit, ()) = tokio::join!(world.end_of(&order), async {
        says(&order, "stdout", "up").await;
        world
            .containerizer
            .kill(&order, KillSignal::Kill)
            .await
            .unwrap();
    });
    assert_eq!(exit, Exit::Exited { status: 137 });
    world.containerizer.clean(&order).await;
    assert_eq!(world.inspect(&order).await, None);
    assert!(!holds());
    // A new task with an image is none of the engine's business.
    let refused = world
        .containerizer
        .launch(&world.shell("new.1", "true"))
        .await
        .unwrap_err();
    assert!(refused.message.contains("needs Docker"), "{refused}");
}

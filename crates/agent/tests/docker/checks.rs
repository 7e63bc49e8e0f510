//! Commands run inside a task's container for the master's health checks.

use std::time::Duration;

use zddcluster_agent::Containerizer;
use zddcluster_agent::containerizer::{KillSignal, Order};
use zddcluster_model::agent::CheckEnd;

use crate::engine::Door;
use crate::support::{World, says, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_inside_the_container_and_ends_in_time() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.shell("checked.1", "echo yes > /ready; echo up; exec sleep 1000");
    world.containerizer.launch(&order).await.unwrap();
    let waiting = world.containerizer.wait(&order);
    let checks = async {
        says(&order, "stdout", "up").await;
        let ended = async |command: &str, limit: Duration| {
            world
                .containerizer
                .check(&order, command, limit)
                .await
                .unwrap()
        };
        let long = Duration::from_secs(20);
        let inside =
            "read word < /ready && test \"$word\" = yes && test -n \"$MESOS_CONTAINER_NAME\"";
        assert_eq!(ended(inside, long).await, CheckEnd::Exited { status: 0 });
        assert_eq!(ended("exit 3", long).await, CheckEnd::Exited { status: 3 });
        let hangs = "exec sleep 1001";
        assert_eq!(
            ended(hangs, Duration::from_millis(500)).await,
            CheckEnd::TimedOut
        );
        world
            .containerizer
            .kill(&order, KillSignal::Kill)
            .await
            .unwrap();
    };
    tokio::join!(waiting, checks);
    let gone = world
        .containerizer
        .check(&order, "true", Duration::from_secs(20))
        .await
        .unwrap();
    assert!(matches!(gone, CheckEnd::NotRun { .. }), "{gone:?}");
    world.containerizer.clean(&order).await;
}

/// Whether a process of this machine runs such a command with the environment of the order's container.
fn runs(order: &Order, command: &str) -> bool {
    let marker = format!("MESOS_CONTAINER_NAME={}", order.container_name);
    let words = format!("{}\0", command.replace(' ', "\0"));
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.into_iter().any(|process| {
        let read = |name: &str| std::fs::read(process.path().join(name)).unwrap_or_default();
        read("cmdline") == words.as_bytes()
            && read("environ")
                .split(|byte| *byte == 0)
                .any(|variable| variable == marker.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_nobody_waits_for_ends() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.shell("left.1", "exec sleep 1000");
    world.containerizer.launch(&order).await.unwrap();
    let is = |running: bool| {
        let order = &order;
        move || match runs(order, "sleep 1002") == running {
            true => Ok(()),
            false => Err(format!("running is not {running}")),
        }
    };
    let long = Duration::from_secs(1000);
    tokio::select! {
        end = world.containerizer.check(&order, "exec sleep 1002", long) => panic!("{end:?}"),
        () = wait_for("the check to run", is(true)) => {}
    }
    wait_for("the check to end", is(false)).await;
    assert!(runs(&order, "sleep 1000"), "the task ended with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_away_says_nothing_of_the_tasks_health() {
    let mut door = Door::open();
    let Some(world) = World::through(&door.socket()).await else {
        return;
    };
    let order = world.shell("away.1", "exec sleep 1000");
    world.containerizer.launch(&order).await.unwrap();
    let check = || {
        let limit = Duration::from_secs(20);
        world.containerizer.check(&order, "true", limit)
    };
    door.go_away().await;
    let error = check().await.unwrap_err();
    assert!(error.to_string().contains("no Docker engine"), "{error}");
    door.come_back();
    assert_eq!(check().await.unwrap(), CheckEnd::Exited { status: 0 });
}

//! Lives of containers: start, output, exit status, signals, memory.

use zddcluster_agent::Containerizer;
use zddcluster_agent::containerizer::{Exit, KillSignal, Recovered};
use zddcluster_model::app::Parameter;

use crate::support::{World, file, says};

#[tokio::test(flavor = "multi_thread")]
async fn starts_writes_and_ends() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.shell("ok.1", "echo out; echo err >&2; env; pwd; exit 3");
    assert_eq!(world.run(&order).await, Exit::Exited { status: 3 });
    let (stdout, stderr) = (file(&order, "stdout"), file(&order, "stderr"));
    assert!(stdout.starts_with("out\n"), "{stdout}");
    for line in [
        "MESOS_SANDBOX=/mnt/mesos/sandbox",
        &format!("MESOS_CONTAINER_NAME={}", order.container_name),
        "LIBPROCESS_IP=127.0.0.1",
        "MESOS_TASK_ID=ok.1",
    ] {
        assert!(
            stdout.lines().any(|found| found == line),
            "{line} in {stdout}"
        );
    }
    assert!(
        !stdout.contains("CARGO") && !stdout.contains("ZDD_SPEED"),
        "{stdout}"
    );
    let (banner, rest) = stderr.split_once('\n').unwrap();
    let expected = "containerizer] Running docker -H unix:///var/run/docker.sock run --cpu-shares 102 --memory 33554432 -e ";
    assert!(
        banner.starts_with('I') && banner.contains(expected),
        "{banner}"
    );
    assert_eq!(rest, "err\n");

    // Its end is in the books, whoever asks.
    assert_eq!(
        world.containerizer.recover(&order).await.unwrap(),
        Recovered::Ended(Exit::Exited { status: 3 })
    );
    world.containerizer.clean(&order).await;
    assert_eq!(world.inspect(&order).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn is_limited_and_labelled() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.order("limits.1", |launch, engine| {
        launch.cmd = Some("exec sleep 1000".to_owned());
        engine.image = world.shell_image();
        engine.parameters = vec![Parameter {
            key: "ulimit".to_owned(),
            value: "nofile=99:99".to_owned(),
        }];
    });
    world.containerizer.launch(&order).await.unwrap();
    let container = world.inspect(&order).await.unwrap();
    let (host, config) = (container.host_config.unwrap(), container.config.unwrap());
    assert_eq!(host.memory, Some(32 << 20));
    assert_eq!(host.cpu_shares, Some(102));
    assert_eq!(host.network_mode.as_deref(), Some("host"));
    assert_eq!(host.ulimits.unwrap()[0].hard, Some(99));
    let labels = config.labels.unwrap();
    assert_eq!(labels["zddcluster.task"], "limits.1");
    assert_eq!(labels["zddcluster.app"], "/zdd/base");
    assert_eq!(labels["zddcluster.cluster"], world.cluster);
    assert_eq!(
        container.name.unwrap(),
        format!("/{}", order.container_name)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_first_and_sigkill_for_the_deaf() {
    let Some(world) = World::start().await else {
        return;
    };
    let tidy = world.shell(
        "tidy.1",
        "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
    );
    world.containerizer.launch(&tidy).await.unwrap();
    let end = tokio::join!(world.end_of(&tidy), async {
        says(&tidy, "stdout", "up").await;
        world
            .containerizer
            .kill(&tidy, KillSignal::Terminate)
            .await
            .unwrap();
    });
    assert_eq!(end.0, Exit::Exited { status: 0 });
    assert_eq!(file(&tidy, "stdout"), "up\nbye\n");

    let deaf = world.shell(
        "deaf.1",
        "trap 'echo no' TERM; echo up; while :; do sleep 0.05; done",
    );
    world.containerizer.launch(&deaf).await.unwrap();
    let end = tokio::join!(world.end_of(&deaf), async {
        says(&deaf, "stdout", "up").await;
        world
            .containerizer
            .kill(&deaf, KillSignal::Terminate)
            .await
            .unwrap();
        says(&deaf, "stdout", "no").await;
        world
            .containerizer
            .kill(&deaf, KillSignal::Kill)
            .await
            .unwrap();
    });
    assert_eq!(end.0, Exit::Exited { status: 137 });
    // One that is gone is fine.
    world
        .containerizer
        .kill(&deaf, KillSignal::Kill)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_ends_it() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.order("fat.1", |launch, engine| {
        // A busy engine listens for the kernel's notices only a moment after the start.
        launch.cmd = Some("sleep 1; tail /dev/zero; status=$?; sleep 1; exit $status".to_owned());
        engine.image = world.shell_image();
        // No swap, wherever the test runs.
        engine.parameters = vec![Parameter {
            key: "memory-swap".to_owned(),
            value: "32m".to_owned(),
        }];
    });
    let limit = 32 << 20;
    assert_eq!(
        world.run(&order).await,
        Exit::MemoryLimit { limit, used: limit }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_a_long_output_arrives() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.shell("long.1", "seq 1 20000; echo last >&2");
    assert_eq!(world.run(&order).await, Exit::Exited { status: 0 });
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert!(
        file(&order, "stdout") == expected,
        "the output is not whole"
    );
    assert!(file(&order, "stderr").ends_with("\nlast\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_words_for_what_cannot_start() {
    let Some(world) = World::start().await else {
        return;
    };
    let absent = world.order("absent.1", |_, engine| {
        engine.image = "127.0.0.1:1/no/such-image:7".to_owned();
    });
    let error = world
        .containerizer
        .launch(&absent)
        .await
        .unwrap_err()
        .message;
    let words = "Failed to launch container: failed to pull image '127.0.0.1:1/no/such-image:7': ";
    assert!(
        error.starts_with(words) && error.contains("refused"),
        "{error}"
    );
    let program = world.order("program.1", |launch, engine| {
        launch.args = Some(vec!["/no/such/program".to_owned()]);
        engine.image = world.shell_image();
    });
    let error = world
        .containerizer
        .launch(&program)
        .await
        .unwrap_err()
        .message;
    assert!(error.contains("/no/such/program"), "{error}");
    assert_eq!(world.inspect(&program).await, None);
    let option = world.order("option.1", |launch, engine| {
        launch.cmd = Some("true".to_owned());
        engine.image = world.shell_image();
        engine.parameters = vec![Parameter {
            key: "restart".to_owned(),
            value: "always".to_owned(),
        }];
    });
    let error = world
        .containerizer
        .launch(&option)
        .await
        .unwrap_err()
        .message;
    assert!(
        error.contains("'restart=always': it is not supported"),
        "{error}"
    );
}

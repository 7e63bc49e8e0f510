//! What an app's definition asks of its container, seen from inside the container.

use zddcluster_agent::Containerizer;
use zddcluster_agent::containerizer::{Exit, Order};
use zddcluster_model::agent::MountVolume;
use zddcluster_model::app::{Network, Parameter, PersistentVolume, Volume, VolumeMode};

use crate::registry::Registry;
use crate::support::{World, file, shell_tar};

const GOOD: Exit = Exit::Exited { status: 0 };

fn parameter(key: &str, value: &str) -> Parameter {
    Parameter {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn volume(container_path: &str, host_path: &str, mode: VolumeMode) -> Volume {
    Volume {
        container_path: container_path.to_owned(),
        host_path: Some(host_path.to_owned()),
        mode,
        persistent: None,
        external: None,
    }
}

/// Gives an order these volumes.
fn with_volumes(mut order: Order, volumes: Vec<Volume>) -> Order {
    let container = order.launch.container.as_mut().unwrap();
    container.volumes = volumes;
    order
}

#[tokio::test(flavor = "multi_thread")]
async fn host_paths_are_mounted_as_their_mode_says() {
    let Some(world) = World::start().await else {
        return;
    };
    let outside = world.work_dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("given"), "given\n").unwrap();
    let outside = outside.to_str().unwrap();
    let order = world.shell(
        "volumes.1",
        "cat /ro/given /rw/given; echo made > /rw/made; echo in > inner/made; \
         if echo no > /ro/made; then echo written; else echo read-only; fi",
    );
    let order = with_volumes(
        order,
        vec![
            volume("/ro", outside, VolumeMode::Ro),
            volume("/rw", outside, VolumeMode::Rw),
            // Relative to the sandbox, on both sides.
            volume("inner", "beside", VolumeMode::Rw),
        ],
    );
    let mut order = order;
    order.launch.cmd = order
        .launch
        .cmd
        .map(|cmd| format!("cd /mnt/mesos/sandbox && {cmd}"));
    assert_eq!(world.run(&order).await, GOOD, "{}", file(&order, "stderr"));
    assert_eq!(file(&order, "stdout"), "given\ngiven\nread-only\n");
    let made = std::fs::read_to_string(format!("{outside}/made")).unwrap();
    assert_eq!(made, "made\n");
    assert_eq!(file(&order, "beside/made"), "in\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_volume_is_the_user_s() {
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.order("kept.1", |launch, engine| {
        launch.cmd = Some("echo kept > /mnt/mesos/sandbox/data/file".to_owned());
        launch.user = Some("1234:5678".to_owned());
        launch.volumes = vec![MountVolume {
            container_path: "data".to_owned(),
            persistence_id: "kept#data#1".to_owned(),
            is_new: true,
        }];
        engine.image = world.shell_image();
    });
    let data = Volume {
        host_path: None,
        persistent: Some(PersistentVolume { size: 1.0 }),
        ..volume("data", "", VolumeMode::Rw)
    };
    let order = with_volumes(order, vec![data]);
    // As the agent makes it, its own.
    let made = order.volumes.join("kept#data#1");
    std::fs::create_dir_all(&made).unwrap();
    assert_eq!(world.run(&order).await, GOOD, "{}", file(&order, "stderr"));
    let kept = std::fs::read_to_string(made.join("file")).unwrap();
    assert_eq!(kept, "kept\n");
}

/// The line of `/proc/self/status` that begins so.
fn status(order: &Order, name: &str) -> String {
    let stdout = file(order, "stdout");
    let line = stdout.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name} in {stdout}"))
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_users_and_parameters_come_through() {
    let Some(world) = World::start().await else {
        return;
    };
    let look = "cat /proc/self/status; env; echo on $(cat /etc/hostname); \
                echo mine > /mnt/mesos/sandbox/file";
    let plain = world.shell("plain.1", look);
    let privileged = world.order("privileged.1", |launch, engine| {
        launch.cmd = Some(look.to_owned());
        engine.image = world.shell_image();
        engine.privileged = true;
    });
    let other = world.order("other.1", |launch, engine| {
        launch.cmd = Some(look.to_owned());
        launch.user = Some("1234:5678".to_owned());
        engine.image = world.shell_image();
        engine.network = Some(Network::None);
        engine.parameters = vec![
            parameter("hostname", "a.corp.org"),
            parameter("env", "GIVEN=yes"),
            parameter("cap-drop", "ALL"),
        ];
    });
    for order in [&plain, &other] {
        assert_eq!(world.run(order).await, GOOD, "{}", file(order, "stderr"));
    }
    let capabilities = |order| u64::from_str_radix(&status(order, "CapBnd:"), 16).unwrap();
    match world.containerizer.launch(&privileged).await {
        Ok(()) => {
            assert_eq!(world.end_of(&privileged).await, GOOD);
            assert!(capabilities(&privileged) > capabilities(&plain));
        }
        // An engine that has not all of them itself cannot give them; that it was asked to is seen, too.
        Err(error) => {
            let expected = "unable to apply caps: operation not permitted";
            assert!(error.message.contains(expected), "{error}");
        }
    }
    assert_eq!(capabilities(&other), 0);
    assert_eq!(status(&plain, "Uid:"), "0\t0\t0\t0");
    assert_eq!(status(&other, "Uid:"), "1234\t1234\t1234\t1234");
    assert_eq!(status(&other, "Gid:"), "5678\t5678\t5678\t5678");
    // The sandbox is the user's, whom only the number names.
    assert_eq!(file(&other, "file"), "mine\n");
    assert_eq!(status(&other, "GIVEN="), "yes");
    assert_eq!(status(&other, "on "), "a.corp.org");
    let inspected = world.inspect(&other).await.unwrap();
    let network = inspected.host_config.unwrap().network_mode;
    assert_eq!(network.as_deref(), Some("none"));
}

#[tokio::test(flavor = "multi_thread")]
async fn args_go_to_the_entrypoint() {
    // contract: command-run-args
    let Some(world) = World::start().await else {
        return;
    };
    let order = world.order("args.1", |launch, engine| {
        launch.args = Some(vec!["3".to_owned(), "5".to_owned()]);
        engine.image = world.shell_image();
        engine.parameters = vec![parameter("entrypoint", "/bin/seq")];
    });
    assert_eq!(world.run(&order).await, GOOD);
    assert_eq!(file(&order, "stdout"), "3\n4\n5\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_image_is_pulled_when_it_is_to_be() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let registry = Registry::start().await;
    let image = registry.image();
    world.images.push(image.clone());
    let tar = shell_tar();
    registry.push(&tar, "RELEASE=first");
    let order = |task: &str, pulls: bool| {
        world.order(task, |launch, engine| {
            launch.cmd = Some("echo $RELEASE".to_owned());
            engine.image = image.clone();
            engine.force_pull_image = pulls;
        })
    };
    let (absent, there) = (order("absent.2", false), order("there.1", false));
    let (forced, late) = (order("forced.1", true), order("late.1", true));
    assert_eq!(world.run(&absent).await, GOOD);
    assert_eq!(file(&absent, "stdout"), "first\n");
    let n_pulls = registry.n_pulls();
    assert!(n_pulls > 0);

    // It loses its name to the next one, and is to be taken away all the same.
    let first = world.docker.inspect_image(&image).await.unwrap();
    world.images.push(first.id.unwrap());

    registry.push(&tar, "RELEASE=second");
    assert_eq!(world.run(&there).await, GOOD);
    assert_eq!(file(&there, "stdout"), "first\n");
    assert_eq!(registry.n_pulls(), n_pulls);
    assert_eq!(world.run(&forced).await, GOOD);
    assert_eq!(file(&forced, "stdout"), "second\n");

    // It is there, and cannot be pulled: the task fails in the engine's words, as it would under Mesos.
    drop(registry);
    let error = world.containerizer.launch(&late).await.unwrap_err().message;
    let expected = format!("Failed to launch container: failed to pull image '{image}': ");
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains("connection refused"), "{error}");
    assert_eq!(world.inspect(&late).await, None);
}

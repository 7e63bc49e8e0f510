//! Built-in images: made of this very executable, which then runs in the container as a small service.

use std::io::{Read, Write};

use bollard::query_parameters::{
    CommitContainerOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zddcluster_agent::Containerizer;
use zddcluster_agent::containerizer::{Exit, KillSignal};

use crate::support::{World, file, says};

/// What the container runs: a built-in image's entrypoint is this executable with the word `simpleservice`, which the test
/// harness takes for a filter.
#[test]
fn simpleservice() {
    let Ok(task) = std::env::var("MESOS_TASK_ID") else {
        return;
    };
    let port = std::env::var("PORT0").ok();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "speed {}",
        std::env::var("ZDD_SPEED").unwrap_or_default()
    )
    .unwrap();
    let Some(port) = port else { return };
    let listener = std::net::TcpListener::bind(format!("0.0.0.0:{port}")).unwrap();
    writeln!(out, "serving").unwrap();
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let _ = connection.read(&mut [0; 16]);
        let _ = connection.write_all(task.as_bytes());
    }
}

/// What the service at a port says.
pub(crate) async fn ask(port: u16) -> Option<String> {
    let mut connection = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .ok()?;
    connection.write_all(b"hello").await.ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn made_once_without_a_registry() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let image = format!("mhausenblas/simpleservice:{}", world.cluster);
    world.images.push(image.clone());
    let order = |task: &str| {
        world.order(task, |launch, engine| {
            launch.mem = 128.0;
            engine.image = image.clone();
            engine.force_pull_image = true;
        })
    };
    let (first, second) = (order("first.1"), order("second.1"));
    let both = tokio::join!(world.run(&first), world.run(&second));
    assert_eq!(
        both,
        (Exit::Exited { status: 0 }, Exit::Exited { status: 0 })
    );
    says(&first, "stdout", "speed 1\n").await;
    for order in [&first, &second] {
        let stderr = file(order, "stderr");
        assert_eq!(
            stderr.matches("(forcePullImage is ignored").count(),
            1,
            "{stderr}"
        );
    }

    let made = world.docker.inspect_image(&image).await.unwrap();
    let labels = made.config.unwrap().labels.unwrap();
    assert_eq!(labels["zddcluster.role"], "simpleservice");
    assert_eq!(labels["zddcluster.digest"].len(), 64);

    // A new agent with the same executable finds it good.
    world.restart_agent().await;
    let third = world.order("third.1", |launch, engine| {
        launch.mem = 128.0;
        engine.image = image.clone();
    });
    assert_eq!(world.run(&third).await, Exit::Exited { status: 0 });
    assert_eq!(
        world.docker.inspect_image(&image).await.unwrap().id,
        made.id
    );
}

/// Makes an image out of a container, with a label.
async fn commit(world: &World, image: &str, label: Option<&str>) {
    let base = world.shell(&format!("base.{}", label.is_some()), "true");
    world.run(&base).await;
    let (repo, tag) = image.rsplit_once(':').unwrap();
    let options = CommitContainerOptionsBuilder::new()
        .container(&base.container_name)
        .repo(repo)
        .tag(tag)
        .build();
    let labels = label.map(|label| [(label.to_owned(), "00".to_owned())].into());
    let config = bollard::models::ContainerConfig {
        labels: Some(labels.unwrap_or_default()),
        cmd: Some(vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            "echo foreign".to_owned(),
        ]),
        ..Default::default()
    };
    world
        .docker
        .commit_container(options, config)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn made_anew_when_it_is_another_ones() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let image = format!("mhausenblas/simpleservice:{}", world.cluster);
    world.images.push(image.clone());
    commit(&world, &image, Some("zddcluster.digest")).await;
    let old = world
        .docker
        .inspect_image(&image)
        .await
        .unwrap()
        .id
        .unwrap();
    let order = world.order("anew.1", |launch, engine| {
        launch.mem = 128.0;
        engine.image = image.clone();
    });
    assert_eq!(world.run(&order).await, Exit::Exited { status: 0 });
    assert!(
        file(&order, "stdout").contains("speed 1"),
        "{}",
        file(&order, "stdout")
    );
    assert_ne!(
        world
            .docker
            .inspect_image(&image)
            .await
            .unwrap()
            .id
            .unwrap(),
        old
    );
    assert!(
        world.docker.inspect_image(&old).await.is_err(),
        "the old image stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_one_is_used_as_it_is() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let image = format!("mhausenblas/simpleservice:{}", world.cluster);
    world.images.push(image.clone());
    let (repo, tag) = image.rsplit_once(':').unwrap();
    let options = TagImageOptionsBuilder::new().repo(repo).tag(tag).build();
    world
        .docker
        .tag_image(&world.shell_image(), Some(options))
        .await
        .unwrap();
    let order = world.order("real.1", |launch, engine| {
        launch.cmd = Some("echo foreign".to_owned());
        engine.image = image.clone();
    });
    assert_eq!(world.run(&order).await, Exit::Exited { status: 0 });
    assert_eq!(file(&order, "stdout"), "foreign\n");
    let stderr = file(&order, "stderr");
    assert!(stderr.contains("the built-in one is not used"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_taken_away_is_made_again() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let image = format!("mhausenblas/simpleservice:{}", world.cluster);
    world.images.push(image.clone());
    for task in ["before.1", "after.1"] {
        let order = world.order(task, |launch, engine| {
            launch.mem = 128.0;
            engine.image = image.clone();
        });
        assert_eq!(
            world.run(&order).await,
            Exit::Exited { status: 0 },
            "{task}"
        );
        world
            .containerizer
            .kill(&order, KillSignal::Kill)
            .await
            .unwrap();
        world.containerizer.clean(&order).await;
        world
            .docker
            .remove_image(&image, None::<RemoveImageOptions>, None)
            .await
            .unwrap();
    }
}

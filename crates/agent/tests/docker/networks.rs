//! Containers in networks of their own: their ports, and the address they are told to have.

use std::time::Duration;

use zddcluster_agent::Containerizer;
use zddcluster_agent::containerizer::{Addresses, KillSignal, Order, Recovered};
use zddcluster_model::app::{Network, PortMapping};

use crate::engine::Door;
use crate::support::{World, file};

/// What the engine says.
async fn inspected(world: &World, order: &Order, network: &str) -> Addresses {
    let container = world.inspect(order).await.unwrap();
    let networks = container.network_settings.unwrap().networks.unwrap();
    let address = networks[network].ip_address.as_deref().unwrap_or_default();
    Addresses::Own(vec![address.parse().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridged_port_answers_at_the_agents_address() {
    let Some(mut world) = World::start().await else {
        return;
    };
    if !world.has_bridge().await {
        return;
    }
    let image = format!("mhausenblas/simpleservice:{}", world.cluster);
    world.images.push(image.clone());
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let order = world.order("bridge.1", |launch, engine| {
        launch.ports = vec![port];
        launch.mem = 128.0;
        launch.env.insert("PORT0".to_owned(), "8080".to_owned());
        engine.image = image;
        engine.network = Some(Network::Bridge);
        engine.port_mappings = Some(vec![PortMapping {
            container_port: 8080,
            host_port: Some(0),
            service_port: 10_000,
            protocol: "tcp".to_owned(),
            name: None,
            labels: Default::default(),
        }]);
    });
    world.containerizer.launch(&order).await.unwrap();
    assert_eq!(
        world.containerizer.addresses(&order).await,
        inspected(&world, &order, "bridge").await
    );
    let deadline = tokio::time::Instant::now() + crate::support::LIMIT;
    loop {
        let answer = crate::images::ask(port).await;
        if answer.as_deref() == Some("bridge.1") {
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{answer:?} {}",
            file(&order, "stderr")
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_its_own_is_known_while_the_engine_is_away() {
    let mut door = Door::open();
    let Some(mut world) = World::through(&door.socket()).await else {
        return;
    };
    let Some(network) = world.make_network().await else {
        return;
    };
    let in_network = |task: &str| {
        world.order(task, |launch, engine| {
            launch.cmd = Some("exec sleep 1000".to_owned());
            launch.network_name = Some(network.clone());
            engine.image = world.shell_image();
            engine.network = Some(Network::User);
        })
    };
    let (noted, new, host) = (
        in_network("noted.1"),
        in_network("new.1"),
        world.shell("host.1", "exec sleep 1000"),
    );
    for order in [&noted, &new, &host] {
        world.containerizer.launch(order).await.unwrap();
    }
    let expected = inspected(&world, &noted, &network).await;
    assert_eq!(world.containerizer.addresses(&noted).await, expected);
    assert_eq!(
        world.containerizer.addresses(&host).await,
        Addresses::OfAgent
    );

    door.go_away().await;
    world.restart_agent_through(&door.socket()).await;
    assert_eq!(
        world.containerizer.recover(&noted).await.unwrap(),
        Recovered::Running
    );
    assert_eq!(world.containerizer.addresses(&noted).await, expected);
    // Of the other one nobody had asked before its agent died. Nothing is made up.
    let asked = tokio::time::timeout(
        Duration::from_millis(500),
        world.containerizer.addresses(&new),
    );
    assert!(asked.await.is_err(), "an address was made up");
    door.come_back();
    assert_eq!(
        world.containerizer.addresses(&new).await,
        inspected(&world, &new, &network).await
    );
    // One that ends is told with where it was.
    let ended = tokio::join!(world.containerizer.wait(&noted), async {
        let killed = world.containerizer.kill(&noted, KillSignal::Kill);
        killed.await.unwrap();
    });
    assert_eq!(
        world.containerizer.recover(&noted).await.unwrap(),
        Recovered::Ended(ended.0)
    );
    world.containerizer.clean(&noted).await;
    assert_eq!(
        world.containerizer.last_addresses(&noted).await,
        Some(expected)
    );
    assert_eq!(world.containerizer.last_addresses(&host).await, None);
    world.remove_behind_its_back(&new).await;
    assert_eq!(
        world.containerizer.addresses(&new).await,
        Addresses::Own(Vec::new())
    );
}

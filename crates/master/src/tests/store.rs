//! What happens when the store fails.

use http::{Method, StatusCode};

use super::cluster::Cluster;

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    // contract: error-503-unavailable, event-scheduler_disconnected_event
    let cluster = Cluster::with_agent().await;
    let mut events = cluster.handle.shared.bus.observe();
    cluster
        .deploy(r#"{"id": "/a", "cmd": "true", "instances": 2}"#)
        .await;
    cluster.store.fill();
    for _ in 0..2 {
        let refused = cluster
            .call(Method::PUT, "/v2/apps/a", r#"{"instances": 3}"#)
            .await;
        assert_eq!(
            refused.status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{}",
            refused.text
        );
        assert!(
            refused.body["message"].as_str().unwrap().contains("stored"),
            "{}",
            refused.text
        );
    }
    let shown = cluster.get("/v2/apps/a").await.body;
    assert_eq!(
        (&shown["app"]["instances"], &shown["app"]["tasksRunning"]),
        (&2.into(), &2.into())
    );
    cluster.store.free();
    let deadline = tokio::time::Instant::now() + super::cluster::PATIENCE;
    loop {
        let answer = cluster
            .call(Method::PUT, "/v2/apps/a", r#"{"instances": 3}"#)
            .await;
        if answer.status == StatusCode::OK {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.text);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    cluster.until_idle().await;
    assert_eq!(
        cluster.get("/v2/apps/a").await.body["app"]["tasksRunning"],
        3
    );
    let told = std::iter::from_fn(|| events.try_recv().ok());
    let told: Vec<&str> = told
        .map(|event| event.name())
        .filter(|name| name.starts_with("scheduler_"))
        .collect();
    let expected = [
        "scheduler_disconnected_event",
        "scheduler_reregistered_event",
    ];
    assert_eq!(told, expected);
    cluster.stop().await;

    let again = Cluster::start_on(cluster.store.clone()).await;
    let app = again.get("/v2/apps/a").await.body["app"].clone();
    assert_eq!(app["instances"], 3);
    let id = again.get("/metadata").await.body["CLUSTER_ID"].clone();
    assert!(
        app["tasks"][0]["slaveId"]
            .as_str()
            .unwrap()
            .starts_with(id.as_str().unwrap())
    );
    again.stop().await;
}

#[tokio::test]
async fn a_clock_set_back_does_not_stand_still() {
    let ahead = Cluster::start_at(zddcluster_store::MemoryStore::new(), 3_600_000).await;
    ahead
        .call(Method::POST, "/v2/apps", r#"{"id": "/a", "cmd": "true"}"#)
        .await;
    ahead.stop().await;
    let again = Cluster::start_on(ahead.store.clone()).await;
    let state = again.handle.state();
    // What is due in a second must not be due in an hour and a second.
    assert!(again.handle.shared.clock.now() >= state.clock);
    again.stop().await;
}

#[tokio::test]
async fn a_master_starts_and_shows_its_apps_on_a_full_disk() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    cluster.stop().await;
    cluster.store.fill();
    let again = Cluster::start_on(cluster.store.clone()).await;
    assert_eq!(again.get("/v2/apps/a").await.body["app"]["id"], "/a");
    let refused = again
        .call(Method::PUT, "/v2/apps/a", r#"{"instances": 3}"#)
        .await;
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        refused.text
    );
    again.stop().await;
}

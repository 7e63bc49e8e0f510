//! Predictions over HTTP.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_engine::predict::Cluster as Written;

use super::cluster::Cluster;

const APP: &str = r#"{"id": "/a", "cmd": "serve", "instances": 4, "cpus": 0.1, "mem": 32, "env": {"VERSION": "1"}}"#;

async fn plan(cluster: &Cluster, body: &Value) -> super::cluster::Answer {
    let body = body.to_string();
    cluster.call(Method::POST, "/zdd/v1/plan", &body).await
}

#[tokio::test]
async fn a_plan_tells_the_course_and_changes_nothing() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(APP).await;
    let before = cluster.get("/v2/apps/a").await.body;
    let wanted = json!({ "app": "/a", "update": { "env": { "VERSION": "2" } } });
    let answer = plan(&cluster, &wanted).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let timeline = &answer.body;
    assert_eq!(timeline["verdict"]["outcome"], "finishes", "{timeline:#}");
    assert_eq!(
        timeline["steps"][0]["actions"][0]["action"],
        "RestartApplication"
    );
    assert_eq!(timeline["speed"], 20.0);
    let points = timeline["points"].as_array().unwrap();
    assert_eq!(
        points[0]["apps"][0]["tasks"],
        json!([{ "version": "1", "isNew": false, "standing": "serving", "count": 4 }])
    );
    assert_eq!(
        points[1]["apps"][0]["tasks"][1],
        json!({ "version": "2", "isNew": true, "standing": "staging", "count": 4 })
    );
    assert_eq!(timeline["apps"][0]["capacity"]["lowest"], 4);
    // The very same app, its version, tasks and deployments included.
    assert_eq!(cluster.get("/v2/apps/a").await.body, before);
    assert_eq!(cluster.get("/v2/deployments").await.body, json!([]));
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_short_is_named() {
    let cluster = Cluster::with_agent().await;
    let wanted = json!({ "apps": [{ "id": "/large", "cmd": "serve", "cpus": 5 }] });
    let answer = plan(&cluster, &wanted).await;
    let verdict = &answer.body["verdict"];
    assert_eq!(verdict["outcome"], "cannotFinish", "{}", answer.text);
    assert_eq!(verdict["reasons"][0]["kind"], "resources");
    let text = verdict["reasons"][0]["text"].as_str().unwrap();
    assert!(
        text.contains("127.0.0.11") && text.contains("cpus"),
        "{text}"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn refusals_are_those_of_the_update_itself() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(APP).await;
    for (body, status, part) in [
        (
            json!({ "app": "/a", "update": { "cpus": "x" } }),
            400,
            "/update/cpus",
        ),
        (
            json!({ "app": "/a", "update": { "instances": -1 } }),
            422,
            "/instances",
        ),
        (json!({ "app": "/b", "update": {} }), 422, "cmd"),
        (
            json!({ "app": "/a", "update": {}, "assumptions": { "fails": -1 } }),
            400,
            "/assumptions",
        ),
    ] {
        let answer = plan(&cluster, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text);
        assert!(answer.text.contains(part), "{body}: {}", answer.text);
    }
    let answer = cluster.call(Method::POST, "/zdd/v1/plan", "{").await;
    assert_eq!(answer.body["message"], "Invalid JSON");
    let answer = cluster.get("/zdd/v1/plan").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    cluster.stop().await;
}

#[tokio::test]
async fn the_cluster_that_is_told_predicts_the_same() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(APP).await;
    let told = cluster.get("/zdd/v1/cluster").await;
    let (config, state) = Written::read(told.text.as_bytes())
        .unwrap()
        .restore()
        .unwrap();
    assert_eq!(config.speed, 20.0);
    let known = cluster.handle.state();
    assert_eq!(state.root, known.root);
    assert_eq!(
        state.tasks.keys().collect::<Vec<_>>(),
        known.tasks.keys().collect::<Vec<_>>()
    );
    assert!(state.agents.values().all(|agent| agent.is_connected));
    cluster.stop().await;
}

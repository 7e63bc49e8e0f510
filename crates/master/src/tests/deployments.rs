//! Running plans through the API: stopping one, and going back from one.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::cluster::{Cluster, keys};

const BASE: &str =
    r#"{"id": "/zdd/base", "cmd": "sleep 1000", "instances": 2, "cpus": 0.1, "mem": 32}"#;

/// An update that no agent can run.
const TOO_BIG: &str = r#"{"cpus": 400, "env": {"RELEASE": "2"}}"#;

/// The ids of the running plans.
async fn running(cluster: &Cluster) -> Vec<Value> {
    let deployments = cluster.get("/v2/deployments").await.body;
    let deployments = deployments.as_array().unwrap();
    deployments.iter().map(|plan| plan["id"].clone()).collect()
}

#[tokio::test]
async fn a_plan_is_rolled_back_also_by_the_next_master() {
    // contract: deployment-rollback, rollback-sequence, trap-33, error-404-deployment, resume-plans
    let cluster = Cluster::with_agent().await;
    let created = cluster.deploy(BASE).await;
    let put = cluster
        .call(Method::PUT, "/v2/apps/zdd/base", TOO_BIG)
        .await;
    let update_id = put.body["deploymentId"].clone();
    assert_eq!(running(&cluster).await, std::slice::from_ref(&update_id));
    cluster.stop().await;

    let again = Cluster::start_on(cluster.store.clone()).await;
    again.add_agent("127.0.0.12").await;
    assert_eq!(running(&again).await, std::slice::from_ref(&update_id));
    let path = format!("/v2/deployments/{}", update_id.as_str().unwrap());
    let back = again.call(Method::DELETE, &path, "").await;
    assert_eq!(back.status, StatusCode::OK, "{}", back.text);
    assert_eq!(keys(&back.body), ["version", "deploymentId"]);
    assert_ne!(back.body["deploymentId"], update_id);
    let header = back.headers["marathon-deployment-id"].to_str().unwrap();
    assert_eq!(back.body["deploymentId"], header);

    again.until_idle().await;
    let app = again.get("/v2/apps/zdd/base").await.body["app"].clone();
    assert_eq!((&app["cpus"], &app["env"]), (&json!(0.1), &json!({})));
    assert_eq!(app["version"], back.body["version"]);
    assert_ne!(app["version"], created.body["version"]);
    assert_eq!(app["tasksRunning"], 2);

    let over = again.call(Method::DELETE, &path, "").await;
    let message = format!(
        "DeploymentPlan {} does not exist",
        update_id.as_str().unwrap()
    );
    assert_eq!(
        (over.status, over.body),
        (StatusCode::NOT_FOUND, json!({"message": message}))
    );
    again.stop().await;
}

#[tokio::test]
async fn a_plan_is_stopped_with_an_empty_answer() {
    // contract: deployment-stop, trap-11, lock-no-rollback, queue-purged
    let cluster = Cluster::with_agent().await;
    cluster.deploy(BASE).await;
    let put = cluster
        .call(Method::PUT, "/v2/apps/zdd/base", TOO_BIG)
        .await;
    let id = put.body["deploymentId"].as_str().unwrap();
    let path = format!("/v2/deployments/{id}?force=true");
    let stopped = cluster.call(Method::DELETE, &path, "").await;
    assert_eq!(
        (stopped.status, stopped.text.as_str()),
        (StatusCode::ACCEPTED, "")
    );
    assert!(running(&cluster).await.is_empty());
    // The new definition stays, and so do the tasks.
    let app = cluster.get("/v2/apps/zdd/base").await.body["app"].clone();
    assert_eq!(
        (&app["cpus"], &app["tasksRunning"]),
        (&json!(400), &json!(2))
    );
    assert_eq!(cluster.get("/v2/queue").await.body, json!({"queue": []}));
    let again = cluster.call(Method::DELETE, &path, "").await;
    assert_eq!(again.status, StatusCode::NOT_FOUND);
    cluster.stop().await;
}

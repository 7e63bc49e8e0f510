//! What answers to checks mean, and what is said of a task that cannot be asked (contract marathon §6.2, §6.5).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use http::Method;
use serde_json::{Value, json};

use super::cluster::Cluster;

#[tokio::test]
async fn answers_by_their_status() {
    // contract: health-http
    let cluster = Cluster::start().await;
    let answer = Arc::new(AtomicU16::new(302));
    cluster
        .add_serving_agent("127.77.1.8", Arc::clone(&answer))
        .await;
    let app = r#"{"id": "/a", "cmd": "x", "healthChecks": [
        {"intervalSeconds": 2, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 0}]}"#;
    // A redirect is an answer, and not followed.
    cluster.deploy(app).await;
    for (status, cause) in [
        (404, Some("404 Not Found")),
        (200, None),
        (503, Some("503 Service Unavailable")),
        (399, None),
        (400, Some("400 Bad Request")),
    ] {
        answer.store(status, Ordering::SeqCst);
        cluster
            .until(&format!("the answer {status} is judged"), |state| {
                let results = state
                    .tasks
                    .values()
                    .flat_map(|task| task.health.iter().flatten());
                let mut told = results.map(|result| match cause {
                    Some(cause) => {
                        !result.alive && result.last_failure_cause.as_deref() == Some(cause)
                    }
                    None => result.alive,
                });
                told.next() == Some(true)
            })
            .await;
    }
    cluster.stop().await;
}

#[tokio::test]
async fn readiness_of_a_task_that_cannot_be_asked() {
    // contract: ready-not-asked, ready-waits, plan-json-readiness
    let cluster = Cluster::start().await;
    cluster.add_agent("127.77.1.9").await;
    let app = |keeps: bool| {
        json!({"id": "/a", "cmd": "x", "portDefinitions": [{"name": "api"}], "readinessChecks": [
            {"path": "/ready", "portName": "api", "intervalSeconds": 4, "timeoutSeconds": 2,
             "preserveLastResponse": keeps}]})
    };
    let results = async |keeps: bool| -> Value {
        let path = "/v2/apps?force=true";
        let list = json!([app(keeps)]).to_string();
        let answer = cluster.call(Method::PUT, path, &list).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let version: zddcluster_model::Timestamp =
            answer.body["version"].as_str().unwrap().parse().unwrap();
        cluster
            .until("an answer is there", |state| {
                let mut plans = state.deployments.values();
                plans.any(|plan| {
                    plan.plan.version == version
                        && plan.actions.iter().any(|action| {
                            action
                                .readiness
                                .iter()
                                .any(|one| one.last_response.is_some() == keeps)
                        })
                })
            })
            .await;
        let plans = cluster.get("/v2/deployments").await.body;
        plans[0]["currentActions"][0]["readinessCheckResults"].clone()
    };
    let kept = results(true).await;
    let task = cluster.get("/v2/tasks").await.body["tasks"][0].clone();
    let url = format!("http://127.77.1.9:{}/ready", task["ports"][0]);
    let response = &kept[0]["lastResponse"];
    assert_eq!(
        (&kept[0]["ready"], &response["status"]),
        (&json!(false), &json!(504))
    );
    assert_eq!(response["contentType"], "text/plain");
    let body = response["body"].as_str().unwrap();
    let expected = format!("Marathon could not query {url}: ");
    assert!(
        body.starts_with(&expected) && body.len() > expected.len(),
        "{body}"
    );
    let unkept = results(false).await;
    assert!(unkept[0].get("lastResponse").is_none(), "{unkept}");
    cluster.stop().await;
}

//! Health and readiness checks against tasks that answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use http::Method;
use serde_json::json;

use super::cluster::{Cluster, keys};

#[tokio::test]
async fn health_checks_find_tasks_well_and_kill_sick_ones() {
    // contract: health-result, health-http, shown-last-failure, count-healthy, check-path
    // contract: task-json-health
    let cluster = Cluster::start().await;
    let answer = Arc::new(AtomicU16::new(200));
    cluster
        .add_serving_agent("127.77.1.1", Some(Arc::clone(&answer)))
        .await;
    let app = r#"{"id": "/a", "cmd": "true", "healthChecks": [
        {"path": "/health", "intervalSeconds": 2, "timeoutSeconds": 20, "gracePeriodSeconds": 0,
         "maxConsecutiveFailures": 2}]}"#;
    cluster.deploy(app).await;
    let shown = cluster.get("/v2/apps/a").await.body["app"].clone();
    assert_eq!(
        (&shown["tasksHealthy"], &shown["tasksUnhealthy"]),
        (&json!(1), &json!(0))
    );
    let result = &shown["tasks"][0]["healthCheckResults"][0];
    let expected = [
        "alive",
        "consecutiveFailures",
        "firstSuccess",
        "lastFailure",
        "lastSuccess",
        "lastFailureCause",
        "taskId",
    ];
    assert_eq!(
        (keys(result), &result["alive"]),
        (expected.to_vec(), &json!(true))
    );
    let first = shown["tasks"][0]["id"].clone();

    answer.store(500, Ordering::SeqCst);
    cluster
        .until("the sick task is replaced", |state| {
            !state.tasks.keys().any(|task_id| *task_id.as_str() == first) && !state.tasks.is_empty()
        })
        .await;
    let failure = cluster.get("/v2/apps/a").await.body["app"]["lastTaskFailure"].clone();
    assert_eq!(
        (&failure["taskId"], &failure["state"]),
        (&first, &json!("TASK_KILLED"))
    );
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("500 Internal Server Error"), "{message}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_deployment_waits_for_readiness() {
    // contract: ready-codes, ready-waits, plan-json-readiness, shown-readiness, embed-parts
    let cluster = Cluster::start().await;
    let answer = Arc::new(AtomicU16::new(503));
    cluster
        .add_serving_agent("127.77.1.2", Some(Arc::clone(&answer)))
        .await;
    let app = r#"{"id": "/a", "cmd": "true",
        "portDefinitions": [{"port": 0, "name": "api", "protocol": "tcp"}],
        "readinessChecks": [{"path": "/ready", "portName": "api", "intervalSeconds": 4,
                             "timeoutSeconds": 2, "preserveLastResponse": true}]}"#;
    let created = cluster.call(Method::POST, "/v2/apps", app).await;
    assert_eq!(created.status, 201, "{}", created.text);
    cluster
        .until("a first answer is there", |state| {
            let mut actions = state.deployments.values().flat_map(|plan| &plan.actions);
            actions.any(|action| {
                action
                    .readiness
                    .iter()
                    .any(|one| one.last_response.is_some())
            })
        })
        .await;
    let deployments = cluster.get("/v2/deployments").await.body;
    let results = deployments[0]["currentActions"][0]["readinessCheckResults"].clone();
    let task_id = cluster.get("/v2/tasks").await.body["tasks"][0]["id"].clone();
    let expected = json!([{
        "name": "readinessCheck",
        "taskId": task_id,
        "ready": false,
        "lastResponse": {"status": 503, "contentType": "text/plain", "body": "as told"},
    }]);
    assert_eq!(results, expected);
    let embedded = cluster.get("/v2/apps/a?embed=app.readiness").await.body;
    assert_eq!(embedded["app"]["readinessCheckResults"], expected);
    answer.store(200, Ordering::SeqCst);
    cluster.until_idle().await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_task_that_does_not_listen_is_unhealthy() {
    // contract: health-refused
    let cluster = Cluster::start().await;
    cluster.add_agent("127.77.1.3").await;
    let app = r#"{"id": "/a", "cmd": "true", "healthChecks": [
        {"intervalSeconds": 2, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 0},
        {"protocol": "TCP", "intervalSeconds": 2, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 0}]}"#;
    cluster.call(Method::POST, "/v2/apps", app).await;
    cluster
        .until("both checks have a result", |state| {
            state
                .tasks
                .values()
                .any(|task| task.health.iter().flatten().count() == 2)
        })
        .await;
    let task = cluster.get("/v2/tasks").await.body["tasks"][0].clone();
    let at = format!("127.77.1.3:{}", task["ports"][0]);
    let results = &task["healthCheckResults"];
    let cause = format!("ConnectionAttemptFailedException: Connection attempt to {at} failed");
    assert_eq!(results[0]["lastFailureCause"], cause);
    assert_eq!(
        results[1]["lastFailureCause"],
        "ConnectException: Connection refused"
    );
    assert_eq!(results[0]["alive"], false);
    cluster.stop().await;
}

#[tokio::test]
async fn a_task_that_never_answers_is_not_asked_without_end() {
    // contract: health-timeout
    let cluster = Cluster::with_agent().await;
    // At the test's speed a round comes every 50 ms.
    let app = r#"{"id": "/a", "cmd": "true", "healthChecks": [{"intervalSeconds": 1, "timeoutSeconds": 60}]}"#;
    cluster.call(Method::POST, "/v2/apps", app).await;
    cluster
        .until("the task runs", |state| {
            state.tasks.values().any(|task| task.started_at.is_some())
        })
        .await;
    let state = cluster.handle.state();
    let task = state.tasks.values().next().unwrap();
    let listener = tokio::net::TcpListener::bind((task.host.as_str(), task.ports[0]))
        .await
        .unwrap();
    let quiet = std::time::Duration::from_secs(1);
    let mut held = Vec::new();
    while let Ok(accepted) = tokio::time::timeout(quiet, listener.accept()).await {
        held.push(accepted.unwrap());
        assert!(held.len() <= 16, "asked again and again");
    }
    assert!(held.len() > 1, "rounds overlap");
    cluster.stop().await;
}

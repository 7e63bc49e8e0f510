//! Health checks that the task's agent makes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use zddcluster_model::agent::{Check, CheckEnd, CheckPort, RunCheck};

use super::super::cluster::{Cluster, PATIENCE};

/// Has an agent's API answer the master's questions.
pub(super) async fn serve_checks(
    cluster: &Cluster,
    host: &str,
    answer: impl Fn(RunCheck) -> Response + Clone + Send + Sync + 'static,
) {
    let check = async move |axum::Json(question): axum::Json<RunCheck>| answer(question);
    let router = axum::Router::new().route("/zdd/v1/tasks/{id}/check", axum::routing::post(check));
    // Where the agent says that its API is.
    let listener = tokio::net::TcpListener::bind((host, 5051)).await.unwrap();
    let token = cluster.tasks.token().clone();
    cluster.tasks.spawn(
        "agent-api",
        zddcluster_runtime::OnFailure::Log,
        zddcluster_runtime::serve(listener, router, token),
    );
}

/// Waits until the check of this index has a result, and that is it.
async fn until_result(cluster: &Cluster, check_idx: usize, alive: bool, cause: Option<&str>) {
    let what = format!("check {check_idx} to be {alive} for {cause:?}");
    cluster
        .until(&what, |state| {
            let mut tasks = state.tasks.values();
            tasks.any(|task| {
                let result = task.health.get(check_idx).and_then(Option::as_ref);
                result.is_some_and(|result| {
                    let told = result.last_failure_cause.as_deref();
                    result.alive == alive && (cause.is_none() || told == cause)
                })
            })
        })
        .await;
}

#[tokio::test]
async fn checks_of_mesos_are_made_by_the_tasks_agent() {
    // contract: check-where, z-7, health-http, check-ignore-1xx
    let cluster = Cluster::start().await;
    // None of its tasks listens anywhere.
    cluster.add_agent("127.77.1.11").await;
    let ends = Arc::new(Mutex::new(CheckEnd::Answered { status: 302 }));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (told, seen) = (Arc::clone(&ends), Arc::clone(&asked));
    serve_checks(&cluster, "127.77.1.11", move |question| {
        let answer = match &question.check {
            Check::Tcp { .. } => CheckEnd::Connected,
            Check::Http { .. } | Check::Command(_) => told.lock().unwrap().clone(),
        };
        seen.lock().unwrap().push(question);
        axum::Json(answer).into_response()
    })
    .await;
    let app = r#"{"id": "/a", "cmd": "true", "ports": [0, 0], "healthChecks": [
        {"protocol": "MESOS_HTTPS", "path": "/health", "portIndex": 1, "intervalSeconds": 2, "timeoutSeconds": 7,
         "gracePeriodSeconds": 0, "maxConsecutiveFailures": 0, "ignoreHttp1xx": true},
        {"protocol": "MESOS_TCP", "port": 99, "intervalSeconds": 2, "timeoutSeconds": 8}]}"#;
    // A redirect is an answer.
    cluster.deploy(app).await;
    until_result(&cluster, 0, true, None).await;
    until_result(&cluster, 1, true, None).await;
    let second = cluster.handle.state().tasks.values().next().unwrap().ports[1];
    let expected = [
        RunCheck {
            check: Check::Http {
                is_https: true,
                path: "/health".to_owned(),
                port: CheckPort {
                    own: second,
                    shared: second,
                },
            },
            timeout_millis: 7_000,
        },
        RunCheck {
            check: Check::Tcp {
                port: CheckPort {
                    own: 99,
                    shared: 99,
                },
            },
            timeout_millis: 8_000,
        },
    ];
    let questions = asked.lock().unwrap().clone();
    assert!(
        questions.iter().all(|question| expected.contains(question)),
        "{questions:?}"
    );
    assert!(
        expected.iter().all(|question| questions.contains(question)),
        "{questions:?}"
    );

    let told = |end: CheckEnd| *ends.lock().unwrap() = end;
    told(CheckEnd::Answered { status: 500 });
    until_result(&cluster, 0, false, Some("500 Internal Server Error")).await;
    let cause = "AskTimeoutException: Ask timed out on 10.0.0.1:80 after [7000 ms]";
    told(CheckEnd::NotAnswered {
        cause: cause.to_owned(),
    });
    until_result(&cluster, 0, false, Some(cause)).await;
    told(CheckEnd::Answered { status: 204 });
    until_result(&cluster, 0, true, None).await;
    // Which changes nothing.
    told(CheckEnd::Answered { status: 102 });
    let n_asked = || asked.lock().unwrap().len();
    let n_before = n_asked();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while n_asked() < n_before + 6 {
        assert!(tokio::time::Instant::now() < deadline, "not asked again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until_result(&cluster, 0, true, None).await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_command_is_run_by_the_tasks_agent() {
    // contract: health-command, check-where

    let cluster = Cluster::start().await;
    cluster.add_agent("127.77.1.5").await;
    let ends = Arc::new(Mutex::new(CheckEnd::Exited { status: 0 }));
    let told = Arc::clone(&ends);
    serve_checks(&cluster, "127.77.1.5", move |question| {
        let expected = RunCheck {
            check: Check::Command("test -f ready".to_owned()),
            timeout_millis: 7_000,
        };
        assert_eq!(question, expected);
        axum::Json(told.lock().unwrap().clone()).into_response()
    })
    .await;
    let app = r#"{"id": "/a", "cmd": "true", "healthChecks": [
        {"protocol": "COMMAND", "command": {"value": "test -f ready"}, "intervalSeconds": 2,
         "timeoutSeconds": 7, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 0}]}"#;
    cluster.deploy(app).await;
    let cause = async |end: CheckEnd, expected: &str| {
        *ends.lock().unwrap() = end;
        cluster
            .until(expected, |state| {
                let mut results = state
                    .tasks
                    .values()
                    .flat_map(|task| task.health.iter().flatten());
                results.any(|result| {
                    !result.alive && result.last_failure_cause.as_deref() == Some(expected)
                })
            })
            .await;
    };
    cause(
        CheckEnd::Exited { status: 3 },
        "Command returned: exited with status 3",
    )
    .await;
    cause(
        CheckEnd::TimedOut,
        "Command has not returned after 7secs; aborting",
    )
    .await;
    cluster.stop().await;
}

//! Health and readiness checks against tasks that answer.

mod by_agent;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::IntoResponse as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::json;

use self::by_agent::serve_checks;
use super::cluster::{Cluster, PATIENCE, keys};

#[tokio::test]
async fn health_checks_find_tasks_well_and_kill_sick_ones() {
    // contract: health-result, health-http, shown-last-failure, count-healthy, check-path
    // contract: task-json-health
    let cluster = Cluster::start().await;
    let answer = Arc::new(AtomicU16::new(200));
    cluster
        .add_serving_agent("127.77.1.1", Arc::clone(&answer))
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
    let counted = async |result: &str| {
        let name = format!("marathon_health_checks_total{{result=\"{result}\"}}");
        metric(&cluster, &name).await
    };
    assert!(counted("healthy").await >= 1.0);
    assert!(counted("unhealthy").await >= 2.0);
    let killed = metric(
        &cluster,
        "marathon_tasks_ended_total{state=\"TASK_KILLED\"}",
    )
    .await;
    assert_eq!(killed, 1.0);
    cluster.stop().await;
}

/// A number as Prometheus reads it.
async fn metric(cluster: &Cluster, name: &str) -> f64 {
    let request = Request::get(cluster.url("/metrics"))
        .header("accept", "text/plain")
        .body(Bytes::new())
        .unwrap();
    let text = cluster.request(request).await.text;
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.parse().unwrap()
}

#[tokio::test]
async fn a_deployment_waits_for_readiness() {
    // contract: ready-codes, ready-waits, plan-json-readiness, shown-readiness, embed-parts
    let cluster = Cluster::start().await;
    let answer = Arc::new(AtomicU16::new(503));
    cluster
        .add_serving_agent("127.77.1.2", Arc::clone(&answer))
        .await;
    let app = r#"{"id": "/a", "cmd": "true",
        "portDefinitions": [{"port": 0, "name": "api", "protocol": "tcp"}],
        "readinessChecks": [{"path": "/ready", "portName": "api", "intervalSeconds": 4,
                             "timeoutSeconds": 2, "preserveLastResponse": true}]}"#;
    let created = cluster.call(Method::POST, "/v2/apps", app).await;
    assert_eq!(created.status, 201, "{}", created.text);
    until_a_first_answer(&cluster).await;
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
    assert!(metric(&cluster, "marathon_deployment_oldest_seconds").await > 0.0);
    answer.store(200, Ordering::SeqCst);
    cluster.until_idle().await;
    let ready = "marathon_readiness_checks_total{result=\"ready\"}";
    assert_eq!(metric(&cluster, ready).await, 1.0);
    let not_ready = "marathon_readiness_checks_total{result=\"not_ready\"}";
    assert!(metric(&cluster, not_ready).await >= 1.0);
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
    let quiet = Duration::from_secs(1);
    let mut held = Vec::new();
    while let Ok(accepted) = tokio::time::timeout(quiet, listener.accept()).await {
        held.push(accepted.unwrap());
        assert!(held.len() <= 16, "asked again and again");
    }
    assert!(held.len() > 1, "rounds overlap");
    cluster.stop().await;
}

/// A server on the first port of the app's one task, once that runs.
async fn bind_task(cluster: &Cluster) -> tokio::net::TcpListener {
    cluster
        .until("the task runs", |state| {
            state.tasks.values().any(|task| task.started_at.is_some())
        })
        .await;
    let state = cluster.handle.state();
    let task = state.tasks.values().next().unwrap();
    tokio::net::TcpListener::bind((task.host.as_str(), task.ports[0]))
        .await
        .unwrap()
}

#[tokio::test]
async fn https_is_asked_whatever_the_certificate() {
    // contract: health-http, check-protocol, check-where, z-7
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::{ServerConfig, crypto::ring};

    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));

    let cluster = Cluster::start().await;
    cluster.add_agent("127.77.1.4").await;
    // One of the first agents, which knows commands only: the master asks the task instead.
    serve_checks(&cluster, "127.77.1.4", |_| {
        StatusCode::UNPROCESSABLE_ENTITY.into_response()
    })
    .await;
    let app = r#"{"id": "/a", "cmd": "true",
        "portDefinitions": [{"port": 0, "name": "api", "protocol": "tcp"}],
        "healthChecks": [
            {"protocol": "HTTPS", "path": "/health", "intervalSeconds": 2},
            {"protocol": "MESOS_HTTPS", "path": "/health", "intervalSeconds": 2}],
        "readinessChecks": [{"protocol": "HTTPS", "path": "/ready", "portName": "api",
                             "intervalSeconds": 4, "timeoutSeconds": 2}]}"#;
    cluster.call(Method::POST, "/v2/apps", app).await;
    let listener = bind_task(&cluster).await;
    let token = cluster.tasks.token().clone();
    let server = async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = [0; 1024];
            let n = stream.read(&mut head).await.unwrap();
            assert!(head[..n].starts_with(b"GET /"));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            let _ = stream.shutdown().await;
        }
        Ok(())
    };
    cluster
        .tasks
        .spawn("tls-task", zddcluster_runtime::OnFailure::Log, async move {
            token.run_until_cancelled(server).await.unwrap_or(Ok(()))
        });
    cluster.until_idle().await;
    cluster
        .until("both checks are good", |state| {
            let mut tasks = state.tasks.values();
            tasks.any(|task| task.health.iter().flatten().filter(|one| one.alive).count() == 2)
        })
        .await;
    cluster.stop().await;
}

/// Waits until a deployment shows what one of its tasks said of its readiness.
async fn until_a_first_answer(cluster: &Cluster) {
    cluster
        .until("a first answer is there", |state| {
            let mut actions = state.deployments.values().flat_map(|plan| &plan.actions);
            actions.any(|action| {
                let mut results = action.readiness.iter();
                results.any(|one| one.last_response.is_some())
            })
        })
        .await;
}

/// Questions that tasks are being asked.
#[derive(Default)]
struct Asked {
    open: AtomicUsize,
    /// How many there were at most.
    most: AtomicUsize,
}

/// One of them, until it is answered or given up.
struct Question(Arc<Asked>);

impl Question {
    fn new(asked: &Arc<Asked>) -> Self {
        let n = asked.open.fetch_add(1, Ordering::SeqCst) + 1;
        asked.most.fetch_max(n, Ordering::SeqCst);
        Self(Arc::clone(asked))
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_round_of_many_tasks_asks_a_bounded_number_at_once() {
    // Further rounds come soon, since the first one may find few tasks running; nothing is given up meanwhile.
    let checks = r#""healthChecks": [{"intervalSeconds": 3, "timeoutSeconds": 600}]"#;
    ask_many("127.77.1.6", checks).await;
}

#[tokio::test]
async fn new_tasks_of_one_app_are_asked_a_bounded_number_at_once() {
    let checks = r#""readinessChecks": [
        {"portName": "api", "path": "/", "intervalSeconds": 700, "timeoutSeconds": 600}]"#;
    ask_many("127.77.1.10", checks).await;
}

/// Has many tasks of one app asked, none of which answers before as many are asked as may be.
async fn ask_many(host: &str, checks: &str) {
    use crate::health::MOST_OF_A_CHECK;

    /// More than are asked at once.
    const N_TASKS: usize = 150;

    let cluster = Cluster::start().await;
    let asked = Arc::<Asked>::default();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (seen, turns) = (Arc::clone(&asked), Arc::clone(&gate));
    let router = axum::Router::new().fallback(async move || {
        let _question = Question::new(&seen);
        let _turn = turns.acquire().await;
        StatusCode::OK
    });
    cluster.add_agent_with(host, Some(router)).await;
    let app = format!(
        r#"{{"id": "/a", "cmd": "true", "cpus": 0.01, "mem": 1, "instances": {N_TASKS},
             "portDefinitions": [{{"port": 0, "name": "api"}}], {checks}}}"#
    );
    let created = cluster.call(Method::POST, "/v2/apps", &app).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let open = || asked.open.load(Ordering::SeqCst);
    let deadline = tokio::time::Instant::now() + PATIENCE * 6;
    while open() < MOST_OF_A_CHECK {
        let is_late = tokio::time::Instant::now() > deadline;
        assert!(!is_late, "{} are asked at once, not more", open());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Whoever comes too many comes soon.
    tokio::time::sleep(Duration::from_millis(300)).await;
    gate.add_permits(N_TASKS);
    // Many connections on a busy machine, some of them in a later round.
    let all_had_their_turn = cluster
        .handle
        .wait_until(|state| state.deployments.is_empty());
    let waited = tokio::time::timeout(PATIENCE * 6, all_had_their_turn).await;
    let state = cluster.handle.state();
    let waits: Vec<_> = state
        .deployments
        .keys()
        .flat_map(|id| zddcluster_engine::blockers(&state, id))
        .collect();
    let n_open = open();
    assert_eq!(waited.ok(), Some(true), "{n_open} are asked; {waits:?}");
    assert_eq!(asked.most.load(Ordering::SeqCst), MOST_OF_A_CHECK);
    cluster.stop().await;
}

#[tokio::test]
async fn a_task_that_cannot_be_asked_is_not_ready() {
    // contract: ready-not-asked
    let cluster = Cluster::start().await;
    cluster.add_agent("127.77.1.7").await;
    let app = r#"{"id": "/a", "cmd": "true",
        "portDefinitions": [{"port": 0, "name": "api", "protocol": "tcp"}],
        "readinessChecks": [{"protocol": "HTTPS", "path": "/ready", "portName": "api",
                             "intervalSeconds": 4, "timeoutSeconds": 2, "preserveLastResponse": true}]}"#;
    cluster.call(Method::POST, "/v2/apps", app).await;
    until_a_first_answer(&cluster).await;
    let deployments = cluster.get("/v2/deployments").await.body;
    let result = &deployments[0]["currentActions"][0]["readinessCheckResults"][0];
    let port = &cluster.get("/v2/tasks").await.body["tasks"][0]["ports"][0];
    let at = format!("127.77.1.7:{port}");
    let body = format!(
        "Marathon could not query https://{at}/ready: \
         ConnectionAttemptFailedException: Connection attempt to {at} failed"
    );
    let expected = json!({"status": 504, "contentType": "text/plain", "body": body});
    assert_eq!(
        (&result["ready"], &result["lastResponse"]),
        (&json!(false), &expected)
    );
    cluster.stop().await;
}

//! `/system/v1/…/logs/…`: ranges and streams of the master's own log and of a task's files.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Instant;
use zddcluster_client::Lines;
use zddcluster_runtime::{LogTail, OnFailure, serve};
use zddcluster_store::MemoryStore;

use super::cluster::{Cluster, PATIENCE};

#[tokio::test]
async fn the_masters_own_log() {
    const STEP: usize = 64 << 10;
    const PARTS: usize = 15;

    let log = LogTail::default();
    log.append(b"one\ntwo\nthree\n");
    let shown = log.clone();
    let configure = |config: &mut crate::Config| config.log_tail = shown;
    let cluster = Cluster::start_configured(MemoryStore::new(), configure).await;
    for (path, status, body) in [
        (
            "leader/mesos/logs/v1/range/?skip_prev=2",
            200,
            "two\nthree\n",
        ),
        (
            "leader/marathon/logs/v1/range/?skip_prev=99",
            200,
            "one\ntwo\nthree\n",
        ),
        ("leader/mesos/logs/v1/range/", 200, "one\ntwo\nthree\n"),
        (
            "leader/mesos/logs/v2/component/dcos-mesos-master.service?skip=-1",
            200,
            "three\n",
        ),
        ("leader/mesos/logs/v1/range/?skip_prev=0", 204, ""),
        (
            "leader/mesos/logs/v1/range/?skip=-9223372036854775808",
            200,
            "one\ntwo\nthree\n",
        ),
    ] {
        let answer = cluster.get(&format!("/system/v1/{path}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (status, body),
            "{path}"
        );
    }
    for path in [
        "system/v1/leader/mesos/logs/v1/other/",
        "system/v1/leader/somebody/logs/v1/range/",
        "system/v1/agent/nobody/logs/v1/range/",
        "system/v1/agent/nobody/metrics/v0/node",
        "system/v1/logs/v2/task/nothing/file/stdout",
        "system/health/v1/nodes",
        "system/health/v1/report",
    ] {
        let answer = cluster.get(&format!("/{path}")).await;
        assert_eq!(answer.status.as_u16(), 404, "{path}");
        assert!(
            answer.body["message"].is_string(),
            "{path}: {}",
            answer.text
        );
    }
    let url = cluster.url("/system/v1/leader/mesos/logs/v1/stream/?skip_prev=1");
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let mut lines = cluster.lines(request).await;
    let mut message = async || message(&mut lines).await;
    assert_eq!(message().await, "three");
    log.append(b"four\nfi");
    assert_eq!(message().await, "four");
    log.append(b"ve\n");
    assert_eq!(message().await, "five");
    // What is no text counts as many bytes as it has.
    log.append(b"\xff\xfe\xfd\n");
    assert_eq!(message().await, "???");
    log.append(b"six\n");
    assert_eq!(message().await, "six");
    // A line without end comes in parts, at once.
    log.append(&vec![b'x'; PARTS * STEP + 1]);
    let began = Instant::now();
    for _ in 0..PARTS {
        assert_eq!(message().await.len(), STEP);
    }
    // A look a second would take as many seconds.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "with pauses: {took:?}");
    log.append(b"\nend\n");
    assert_eq!(message().await, "x");
    assert_eq!(message().await, "end");
    cluster.stop().await;
}

/// An agent's API that knows one task's sandbox; what is in its `grows` may change.
async fn serve_agent(cluster: &Cluster, host: &str, task: &str, grows: Arc<Mutex<String>>) {
    let listener = TcpListener::bind((host, 5051)).await.unwrap();
    let executor = json!({ "id": task, "directory": "/sand/box" });
    let state = json!({ "frameworks": [{ "executors": [], "completed_executors": [executor] }] });
    let read = async move |query: Query<std::collections::BTreeMap<String, String>>| {
        let content = match query["path"].as_str() {
            "/sand/box/stdout" => "a\nb\nc\n".to_owned(),
            "/sand/box/stderr" => "oh\n".to_owned(),
            "/sand/box/grows" => grows.lock().unwrap().clone(),
            other => panic!("{other}"),
        };
        let offset = query["offset"].parse::<usize>().ok();
        let piece = match offset.filter(|offset| *offset < content.len()) {
            Some(offset) => json!({ "data": &content[offset..], "offset": offset }),
            None => json!({ "data": "", "offset": content.len() }),
        };
        Json(piece)
    };
    let router = Router::new()
        .route("/state", get(async move || Json(state)))
        .route("/files/read", get(read));
    let token = cluster.tasks.token().clone();
    let served = serve(listener, router, token);
    cluster.tasks.spawn("agent-api", OnFailure::Log, served);
}

#[tokio::test]
async fn files_of_a_task() {
    // No other test has an agent there.
    const HOST: &str = "127.77.5.11";
    let cluster = Cluster::start().await;
    cluster.add_agent(HOST).await;
    cluster
        .deploy(r#"{"id": "/a", "cmd": "x", "cpus": 0.1, "mem": 32}"#)
        .await;
    let task = cluster.get("/v2/tasks").await.body["tasks"][0].clone();
    let (id, agent) = (
        task["id"].as_str().unwrap(),
        task["slaveId"].as_str().unwrap(),
    );
    let grows = Arc::new(Mutex::new("a long first line\n".to_owned()));
    serve_agent(&cluster, HOST, id, Arc::clone(&grows)).await;
    let v1 = format!("agent/{agent}/logs/v1/range/framework/f/executor/{id}/container/c");
    for (path, body) in [
        (
            format!("logs/v2/task/{id}/file/stdout?cursor=END&skip=-2"),
            "b\nc\n",
        ),
        (format!("logs/v2/task/{id}?skip=-1"), "c\n"),
        (format!("logs/v2/task/{id}/file/stderr"), "oh\n"),
        (format!("{v1}?skip_prev=1&filter=STREAM:STDOUT"), "c\n"),
        (format!("{v1}?skip_prev=9&filter=STREAM:STDERR"), "oh\n"),
    ] {
        let answer = cluster.get(&format!("/system/v1/{path}")).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (200, body),
            "{path}"
        );
    }
    // Of a file that was moved aside and begun anew nothing is left out.
    let url = cluster.url(&format!("/system/v1/logs/v2/task/{id}/file/grows"));
    let stream = Request::get(url).header("accept", "text/event-stream");
    let mut lines = cluster.lines(stream.body(Bytes::new()).unwrap()).await;
    assert_eq!(message(&mut lines).await, "a long first line");
    *grows.lock().unwrap() = "anew\n".to_owned();
    assert_eq!(message(&mut lines).await, "anew");
    grows.lock().unwrap().push_str("on\n");
    assert_eq!(message(&mut lines).await, "on");
    cluster.stop().await;
}

/// The next line of a stream.
async fn message(lines: &mut Lines) -> String {
    loop {
        let line = lines.next(PATIENCE).await.unwrap().unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data).unwrap();
            assert!(event["realtime_timestamp"].is_number());
            return event["fields"]["MESSAGE"].as_str().unwrap().to_owned();
        }
    }
}

//! The event stream: framing byte for byte, filters, order.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use zddcluster_client::Lines;
use zddcluster_model::event::EventKind;

use super::cluster::{Cluster, PATIENCE};
use crate::admin;

fn request(uri: &str) -> Request<Bytes> {
    Request::get(uri)
        .header("accept", "text/event-stream")
        .body(Bytes::new())
        .unwrap()
}

/// The next event: its type and data.
async fn next(lines: &mut Lines) -> (String, Value) {
    loop {
        let line = lines.next(PATIENCE).await.unwrap().unwrap();
        let Some(name) = line.strip_prefix("event: ") else {
            assert_eq!(line, "");
            continue;
        };
        let data = lines.next(PATIENCE).await.unwrap().unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        return (name.to_owned(), data);
    }
}

#[tokio::test]
async fn frames_are_marathons_bytes() {
    // contract: stream-answer, stream-frames, stream-heartbeat, stream-attached
    // contract: event-event_stream_attached, invariant-3.10-10, trap-36, trap-37, trap-40
    let cluster = Cluster::start().await;
    let router = admin::router(Arc::clone(&cluster.handle.shared));
    let asked = request("/v2/events").map(axum::body::Body::from);
    let response = router.oneshot(asked).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream;charset=UTF-8");
    assert_eq!(headers["connection"], "close");
    assert!(!headers.contains_key("content-length"));
    let mut body = response.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    let (head, rest) = first.split_once("\r\n").unwrap();
    assert_eq!(head, "event: event_stream_attached");
    let json = rest
        .strip_prefix("data: ")
        .unwrap()
        .strip_suffix("\r\n\r\n")
        .unwrap();
    let expected =
        r#"{"remoteAddress":"127.0.0.1","eventType":"event_stream_attached","timestamp":""#;
    assert!(
        json.starts_with(expected) && json.ends_with("Z\"}"),
        "{json}"
    );

    tokio::time::pause();
    let mut beats = Vec::new();
    for _ in 0..3 {
        let beat = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(&*beat, b"\r\n");
        beats.push(tokio::time::Instant::now());
    }
    for pair in beats.windows(2) {
        // The timer counts in milliseconds.
        assert_eq!(((pair[1] - pair[0]).as_secs_f64() * 100.0).round(), 1000.0);
    }
}

#[tokio::test]
async fn a_deployment_is_told_in_order() {
    // contract: stream-attached, event-order-step, event-order-shown, trap-40
    let cluster = Cluster::with_agent().await;
    let mut lines = cluster.lines(request(&cluster.url("/v2/events"))).await;
    assert_eq!(next(&mut lines).await.0, "event_stream_attached");
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    let mut told = Vec::new();
    loop {
        let (name, data) = next(&mut lines).await;
        assert_eq!(data["eventType"], name);
        let what = match name.as_str() {
            "status_update_event" => data["taskStatus"].as_str().unwrap().to_owned(),
            _ => name.clone(),
        };
        told.push(what);
        if name == "deployment_success" {
            assert!(data["plan"]["original"].is_object());
            // What was told is shown.
            let shown = cluster.get("/v2/apps/a").await.body;
            assert_eq!(shown["app"]["tasksRunning"], 1);
            break;
        }
    }
    told.retain(|name| name != "api_post_event" && name != "group_change_success");
    assert_eq!(
        told,
        [
            "deployment_info",
            "deployment_step_success",
            "deployment_info",
            "TASK_STAGING",
            "TASK_RUNNING",
            "deployment_step_success",
            "deployment_success",
        ]
    );
    cluster.stop().await;
}

#[tokio::test]
async fn streams_choose_types_and_light_plans() {
    // contract: stream-filter, event-event_stream_detached, z-21
    let cluster = Cluster::with_agent().await;
    let url = cluster.url(
        "/service/marathon/v2/events?event_type=deployment_success&event_type=event_stream_detached\
         &plan-format=light&unknown=1",
    );
    let mut lines = cluster.lines(request(&url)).await;
    let other = cluster.lines(request(&cluster.url("/v2/events"))).await;
    drop(other);
    let (name, data) = next(&mut lines).await;
    assert_eq!(
        (name.as_str(), &data["remoteAddress"]),
        ("event_stream_detached", &json!("127.0.0.1"))
    );
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    let (name, data) = next(&mut lines).await;
    assert_eq!(name, "deployment_success");
    assert_eq!(
        super::cluster::keys(&data["plan"]),
        ["id", "steps", "version"]
    );
    cluster.stop().await;
    assert!(matches!(lines.next(PATIENCE).await, Ok(None | Some(_))));
}

/// The next event of a stream with ids: its id, type and data.
async fn next_with_id(lines: &mut Lines) -> (String, String, Value) {
    loop {
        let line = lines.next(PATIENCE).await.unwrap().unwrap();
        let Some(id) = line.strip_prefix("id: ") else {
            assert_eq!(line, "");
            continue;
        };
        let (name, data) = next(lines).await;
        return (id.to_owned(), name, data);
    }
}

fn resumed(cluster: &Cluster, uri: &str, id: &str) -> Request<Bytes> {
    let mut request = request(&cluster.url(uri));
    let headers = request.headers_mut();
    headers.insert("last-event-id", id.parse().unwrap());
    request
}

#[tokio::test]
async fn a_reader_comes_back_and_goes_on() {
    let cluster = Cluster::with_agent().await;
    let uri = "/v2/events?event_type=deployment_success&event_type=event_stream_attached";
    let first = request(&cluster.url(&format!("{uri}&ids=true")));
    let mut lines = cluster.lines(first).await;
    let (id, name, _) = next_with_id(&mut lines).await;
    assert_eq!(name, "event_stream_attached");
    drop(lines);
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    let mut lines = cluster.lines(resumed(&cluster, uri, &id)).await;
    let (same, name, _) = next_with_id(&mut lines).await;
    assert_eq!((&same, &*name), (&id, "event_stream_attached"));
    let (id, name, data) = loop {
        let event = next_with_id(&mut lines).await;
        if event.1 != "event_stream_attached" {
            break event;
        }
    };
    assert_eq!(name, "deployment_success");
    assert!(data["plan"]["steps"].is_array());
    cluster.stop().await;

    // The memory ends with the master; ids go on growing.
    let again = Cluster::start_on(cluster.store.clone()).await;
    let mut lines = again.lines(resumed(&again, uri, &id)).await;
    let (newer, name, data) = next_with_id(&mut lines).await;
    assert_eq!(
        (&*name, &data["lastEventId"]),
        ("zdd_events_lost", &json!(id))
    );
    assert!(newer.parse::<u64>().unwrap() > id.parse().unwrap());
    again.stop().await;
}

#[tokio::test]
async fn a_stuck_reader_is_cut_and_the_api_goes_on() {
    // contract: stream-slow-reader
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let cluster = Cluster::start().await;
    let front = cluster.handle.front();
    let mut stuck = tokio::net::TcpStream::connect(front).await.unwrap();
    let head =
        format!("GET /v2/events HTTP/1.1\r\nHost: {front}\r\nAccept: text/event-stream\r\n\r\n");
    stuck.write_all(head.as_bytes()).await.unwrap();
    stuck.read_u8().await.unwrap();
    let bus = &cluster.handle.shared.bus;
    let large = EventKind::AppTerminated {
        app_id: zddcluster_model::AppId::absolute(&"a".repeat(1 << 20)),
    };
    // More than the queue and any socket hold.
    let mut n_told = 0;
    while bus.counts().cut_off == 0 {
        assert!(n_told < 200, "{:?}", bus.counts());
        bus.tell(large.clone());
        n_told += 1;
        assert_eq!(cluster.get("/v2/apps").await.status, StatusCode::OK);
    }
    let read = async {
        let mut rest = vec![0; 1 << 16];
        while stuck.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("its connection is closed");
    assert_eq!(bus.counts().streams, 0);
    cluster.stop().await;
}

//! The event stream: framing byte for byte, filters, order.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use zddcluster_client::Lines;

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

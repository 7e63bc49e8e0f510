use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

const SOON: Duration = Duration::from_secs(5);

/// Serves `router`; ends when the set is dropped.
async fn serve(router: Router) -> (String, JoinSet<()>) {
    let (listener, address) = listen().await;
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (format!("http://{address}"), serving)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn request(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn json_goes_there_and_back() {
    let echo = async |axum::Json(body): axum::Json<Value>| axum::Json(json!({ "got": body }));
    let (url, _serving) = serve(Router::new().route("/", post(echo).get(async || "[1]"))).await;
    let client = HttpClient::new();
    let numbers: Vec<u32> = client.get_json(&url).await.unwrap();
    assert_eq!(numbers, [1]);
    let got: Value = client
        .send_json(Method::POST, &url, &json!({"a": 1}))
        .await
        .unwrap();
    assert_eq!(got, json!({"got": {"a": 1}}));
}

#[tokio::test]
async fn a_refusal_carries_status_and_body() {
    let refuse = async || (StatusCode::CONFLICT, "{\"message\":\n\"locked\"}");
    let (url, _serving) = serve(Router::new().route("/", get(refuse))).await;
    let client = HttpClient::new();
    let error = client.get_json::<Value>(&url).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::CONFLICT));
    assert_eq!(
        error.to_string(),
        "answered 409 Conflict: {\"message\": \"locked\"}"
    );
    // Whole answers are the caller's business, whatever their status.
    assert_eq!(
        client.send(request(&url), SOON).await.unwrap().status(),
        409
    );
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_an_error_of_its_own() {
    let (url, _serving) = serve(Router::new().route("/", get(async || "<html>"))).await;
    let error = HttpClient::new().get_json::<Value>(&url).await.unwrap_err();
    assert!(matches!(error, HttpError::Decode { .. }), "{error:?}");
}

#[tokio::test]
async fn a_port_without_a_listener_is_told_from_other_failures() {
    let (listener, address) = listen().await;
    drop(listener);
    let url = format!("http://{address}/x");
    let error = HttpClient::new()
        .send(request(&url), SOON)
        .await
        .unwrap_err();
    assert!(error.is_connect(), "{error:?}");
    assert_eq!(error.to_string(), format!("cannot connect to {url}"));
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer_fails_the_exchange() {
    let (listener, address) = listen().await;
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let error = HttpClient::new()
        .send(request(&format!("http://{address}/")), SOON)
        .await;
    assert!(
        matches!(error, Err(HttpError::Exchange { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_silent_server_meets_the_time_limit() {
    let (_listener, address) = listen().await;
    let url = format!("http://{address}/");
    let client = HttpClient::new();
    let limit = Duration::from_millis(50);
    for error in [
        client
            .send(request(&url), limit)
            .await
            .map(drop)
            .unwrap_err(),
        client
            .open(request(&url), limit)
            .await
            .map(drop)
            .unwrap_err(),
    ] {
        assert!(matches!(error, HttpError::Timeout { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            format!("no answer from {url} within 0.05 s")
        );
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_refused_before_anything_is_sent() {
    let client = HttpClient::new();
    for url in ["https://127.0.0.1/", "/v2/apps", "not an address", ""] {
        let error = client.get_json::<Value>(url).await.unwrap_err();
        assert!(
            matches!(error, HttpError::Address { .. }),
            "{url}: {error:?}"
        );
    }
}

#[test]
fn long_refusals_are_shown_in_part() {
    let text = shown("é".repeat(SHOWN_BODY).as_bytes());
    assert_eq!(text, format!("{}…", "é".repeat(SHOWN_BODY / 2)));
}

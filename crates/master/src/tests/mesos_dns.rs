//! `/mesos_dns/…`: handed to the DNS role, or said not to be.

use axum::Router;
use http::{Method, StatusCode, Uri};
use serde_json::json;
use tokio::net::TcpListener;
use zddcluster_runtime::{OnFailure, Tasks, serve};
use zddcluster_store::MemoryStore;

use super::cluster::{Cluster, PATIENCE};

#[tokio::test]
async fn calls_are_handed_on_as_they_came() {
    let tasks = Tasks::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let echo = async |method: Method, uri: Uri, headers: http::HeaderMap| {
        let knows_secret = headers.contains_key("authorization");
        let accept = headers
            .get("accept")
            .map(|it| it.to_str().unwrap().to_owned());
        axum::Json(json!([
            method.as_str(),
            uri.to_string(),
            accept,
            knows_secret
        ]))
    };
    let router = Router::new().fallback(echo);
    let token = tasks.token().clone();
    tasks.spawn("dns", OnFailure::Log, serve(listener, router, token));
    let cluster = Cluster::start_configured(MemoryStore::new(), |config| {
        config.mesos_dns = Some(address);
        config.token = Some(zddcluster_runtime::Token::parse("0123456789abcdef").unwrap());
    })
    .await;
    for (path, handed_on) in [
        (
            "/mesos_dns/v1/hosts/leader.mesos.",
            "/v1/hosts/leader.mesos.",
        ),
        (
            "/mesos_dns/v1/hosts/blue%2Dzdd.mesos?a=b",
            "/v1/hosts/blue%2Dzdd.mesos?a=b",
        ),
        ("/mesos_dns/", "/"),
    ] {
        let answer = cluster.get(path).await;
        assert_eq!(
            answer.body,
            json!(["GET", handed_on, null, false]),
            "{path}"
        );
        assert_eq!(answer.headers["content-type"], "application/json");
    }
    let head = cluster
        .call(Method::HEAD, "/mesos_dns/v1/version", "")
        .await;
    assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
    cluster.stop().await;
    tasks.shut_down(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn who_is_not_there_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    for (mesos_dns, status, word) in [
        (None, StatusCode::SERVICE_UNAVAILABLE, "--mesos-dns"),
        (Some(address), StatusCode::BAD_GATEWAY, "zddcluster dns"),
    ] {
        let configure = |config: &mut crate::Config| config.mesos_dns = mesos_dns;
        let cluster = Cluster::start_configured(MemoryStore::new(), configure).await;
        let answer = cluster.get("/mesos_dns/v1/hosts/leader.mesos").await;
        assert_eq!(answer.status, status);
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(word), "{message}");
        cluster.stop().await;
    }
}

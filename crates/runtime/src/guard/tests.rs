use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::*;

/// Sends `POST http://evil/ Host: a, Origin: b` written as `("POST", "/", &[("host", "a"), ("origin", "b")])` and
/// returns the status and the body.
async fn answer(method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let guard = Guard::new([
        "Lab.Example.".to_owned(),
        "192.0.2.7:8080".to_owned(),
        "::2".to_owned(),
    ]);
    let router = guard.wrap(Router::new().route("/", any(async || "in")));
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.headers().get("access-control-allow-origin"), None);
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn status(method: &str, headers: &[(&str, &str)]) -> u16 {
    answer(method, "/", headers).await.0
}

#[tokio::test]
async fn names_that_cannot_be_a_strangers_are_let_in() {
    for host in [
        "127.0.0.1:8080",
        "127.0.0.1",
        "127.3.2.1:1",
        "localhost:65535",
        "LOCALHOST.",
        "[::1]:8080",
        "[::1]",
        "[::ffff:127.0.0.1]:80",
        "master.mesos",
        "leader.Mesos.:5050",
        "marathon-lb.marathon.mesos:9090",
        "lab.example:1234",
        "192.0.2.7",
        "[::2]:8080",
    ] {
        assert_eq!(status("GET", &[("host", host)]).await, 200, "{host}");
        assert_eq!(status("POST", &[("host", host)]).await, 200, "{host}");
    }
}

#[tokio::test]
async fn foreign_hosts_are_refused_also_for_reads() {
    for host in [
        "rebound.example:8080",
        "127.0.0.1.rebound.example",
        "localhost.rebound.example",
        "mesos",
        ".mesos",
        "mesos.example",
        "192.0.2.8",
        "0.0.0.0:8080",
        "[::3]:8080",
        "::1",
        "user@127.0.0.1",
        "127.0.0.1:port",
        "[::1",
        "",
    ] {
        for method in ["GET", "HEAD", "OPTIONS", "POST", "DELETE"] {
            // A bare address is what users may allow, and equals the bracketed one.
            let expected = if host == "::1" { 200 } else { 403 };
            assert_eq!(
                status(method, &[("host", host)]).await,
                expected,
                "{method} {host}"
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_is_told_as_marathon_would() {
    let (status, body) = answer("GET", "/", &[("host", "rebound.example")]).await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let message =
        "the host of the request is not one of this cluster's; hint: --allow-host permits it";
    assert_eq!(
        (status, body),
        (403, serde_json::json!({ "message": message }))
    );
}

#[tokio::test]
async fn no_host_or_two_are_refused() {
    assert_eq!(status("GET", &[]).await, 403);
    assert_eq!(
        status("GET", &[("host", "localhost"), ("host", "localhost")]).await,
        403
    );
}

#[tokio::test]
async fn the_host_in_an_absolute_address_counts_too() {
    let local = [("host", "localhost")];
    assert_eq!(
        answer("GET", "http://rebound.example/", &local).await.0,
        403
    );
    assert_eq!(answer("GET", "http://localhost:8080/", &local).await.0, 200);
    assert_eq!(
        answer("GET", "http://localhost/", &[("host", "rebound.example")])
            .await
            .0,
        403
    );
    assert_eq!(answer("GET", "http://localhost/", &[]).await.0, 200);
}

#[tokio::test]
async fn writes_come_from_tools_or_from_the_same_origin() {
    for (host, origin, expected) in [
        ("127.0.0.1:8080", "http://127.0.0.1:8080", 200),
        ("localhost:8080", "http://LOCALHOST:8080", 200),
        ("master.mesos", "http://master.mesos", 200),
        ("master.mesos", "http://master.mesos:80", 200),
        ("master.mesos:443", "https://master.mesos", 200),
        ("127.0.0.1:8080", "http://evil.example", 403),
        ("127.0.0.1:8080", "https://evil.example:8080", 403),
        // A task's page must not deploy tasks.
        ("127.0.0.1:8080", "http://127.0.0.1:1765", 403),
        ("127.0.0.1:8080", "http://localhost:8080", 403),
        ("127.0.0.1:8080", "null", 403),
        ("127.0.0.1:8080", "", 403),
        ("127.0.0.1:8080", "file://127.0.0.1:8080", 403),
        ("evil.example", "http://evil.example", 403),
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "PURGE"] {
            let headers = [("host", host), ("origin", origin)];
            assert_eq!(
                status(method, &headers).await,
                expected,
                "{method} {host} {origin}"
            );
        }
    }
}

#[tokio::test]
async fn reads_with_a_foreign_origin_get_no_cors_headers() {
    let headers = [
        ("host", "127.0.0.1:8080"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(answer("GET", "/", &headers).await, (200, "in".to_owned()));
}

#[tokio::test]
async fn unknown_paths_are_guarded_too() {
    assert_eq!(
        answer("GET", "/nothing", &[("host", "rebound.example")])
            .await
            .0,
        403
    );
    assert_eq!(
        answer("GET", "/nothing", &[("host", "localhost")]).await.0,
        404
    );
}

//! HTTP/2 over TLS, by a client that speaks nothing else, and by curl.

#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[path = "support/encrypted.rs"]
mod encrypted;
mod support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use axum::Router;
use bytes::Bytes;
use encrypted::connect;
use futures_util::future::join_all;
use h2::Reason;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::json;
use support::{SOON, Server, World, labelled, until};
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{OnFailure, Tasks};

/// Speaks HTTP/2 with an edge that it asked for this name.
async fn speak(address: SocketAddr, name: &str) -> SendRequest<Bytes> {
    let stream = connect(address, name, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = client::handshake(stream).await.unwrap();
    Tasks::new().spawn("client", OnFailure::Log, async {
        // Ends with the edge.
        let _ = connection.await;
        Ok(())
    });
    sender.ready().await.unwrap()
}

/// Asks, with all of `body` as room is made for it.
async fn ask(
    sender: &SendRequest<Bytes>,
    method: Method,
    uri: &str,
    lines: &[(&'static str, &str)],
    body: Option<Bytes>,
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().unwrap();
    for (name, value) in lines {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let mut sender = sender.clone().ready().await.unwrap();
    let (answer, mut upload) = sender.send_request(request, body.is_none()).unwrap();
    let sending = async {
        let Some(mut left) = body else { return };
        while !left.is_empty() {
            upload.reserve_capacity(left.len());
            let room = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await;
            let room = room.unwrap().unwrap().min(left.len());
            upload.send_data(left.split_to(room), false).unwrap();
        }
        upload.send_data(Bytes::new(), true).unwrap();
    };
    let reading = async {
        let (head, mut body) = answer.await.unwrap().into_parts();
        let mut bytes = Vec::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            bytes.extend_from_slice(&data);
        }
        (head.status, head.headers, bytes.into())
    };
    let both = async { tokio::join!(sending, reading).1 };
    tokio::time::timeout(SOON, both)
        .await
        .expect("it is answered")
}

async fn get(sender: &SendRequest<Bytes>, uri: &str) -> (StatusCode, HeaderMap, Bytes) {
    ask(sender, Method::GET, uri, &[], None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_http2_are_requests_like_others() {
    // contract: lb-http2
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let auth = "the realm:me:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1";
    let world = World::start(vec![
        labelled(
            "/a",
            10000,
            &a,
            &[
                ("VHOST", "a.example,other.example"),
                ("HTTP_BACKEND_REDIR", "/start"),
            ],
        ),
        labelled("/b", 10001, &b, &[("VHOST", "b.example"), ("AUTH", auth)]),
    ])
    .await;
    world.listening(10001, true).await;
    let https = world.edge.addresses().https.unwrap();
    let of_a = speak(https, "a.example").await;

    let cookies = [("cookie", "x=1"), ("cookie", "y=2")];
    let (status, _, body) = ask(&of_a, Method::GET, "https://a.example/head", &cookies, None).await;
    let body = String::from_utf8(body.to_vec()).unwrap();
    assert_eq!(status, StatusCode::OK);
    for line in [
        "host: a.example",
        "cookie: x=1; y=2",
        "x-forwarded-proto: https",
    ] {
        assert!(body.lines().any(|it| it == line), "{body}");
    }
    let sent: Bytes = (0..3_000_000_u32)
        .map(|n| n as u8)
        .collect::<Vec<_>>()
        .into();
    let echo = "https://a.example/echo";
    let (status, _, body) = ask(&of_a, Method::POST, echo, &[], Some(sent.clone())).await;
    assert!(
        status == StatusCode::OK && body == sent,
        "{status}: {} bytes",
        body.len()
    );
    let (status, head, body) = ask(&of_a, Method::HEAD, "https://a.example/x", &[], None).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b""[..]));
    assert_eq!(head["content-length"], "1");
    let (status, head, _) = get(&of_a, "https://a.example/").await;
    assert_eq!(
        (status, &head["location"]),
        (StatusCode::MOVED_PERMANENTLY, &"/start".parse().unwrap())
    );

    // The name of the connection counts; only what is another vhost's is sent to a connection of its own.
    for (uri, expected) in [
        ("https://a.example/x", StatusCode::OK),
        ("https://other.example/x", StatusCode::OK),
        ("https://elsewhere/x", StatusCode::OK),
        ("https://b.example/x", StatusCode::MISDIRECTED_REQUEST),
    ] {
        assert_eq!(get(&of_a, uri).await.0, expected, "{uri}");
    }
    let of_b = speak(https, "b.example").await;
    let (status, head, _) = get(&of_b, "https://b.example/x").await;
    assert_eq!(
        (status, &head["www-authenticate"]),
        (
            StatusCode::UNAUTHORIZED,
            &"Basic realm=\"the realm\"".parse().unwrap()
        )
    );
    let password = [("authorization", "Basic bWU6c2VjcmV0")];
    let (status, _, body) = ask(&of_b, Method::GET, "https://b.example/x", &password, None).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"b"[..]));
    let nobody = speak(https, "nobody.example").await;
    let (status, _, body) = get(&nobody, "https://nobody.example/").await;
    assert!(
        status == StatusCode::SERVICE_UNAVAILABLE && body.starts_with(b"<html>"),
        "{status}"
    );

    // Many at once over one connection.
    let before = a.count();
    let many = (0..250).map(|_| get(&of_a, "https://a.example/x"));
    for (status, _, body) in join_all(many).await {
        assert_eq!((status, &body[..]), (StatusCode::OK, &b"a"[..]));
    }
    assert_eq!(a.count() - before, 250);
    let rows = world.csv().await;
    let row = rows
        .iter()
        .find(|row| row[0] == "marathon_https_in")
        .unwrap();
    assert_eq!(
        (row[7].as_str(), row[40].as_str()),
        ("3", "257"),
        "sessions and 2xx: {row:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_hold_back_the_word_and_resets_do_not() {
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let gated = Router::new().fallback(async move || {
        opened.cancelled().await;
        "done"
    });
    let silent = Router::new().fallback(std::future::pending::<&'static str>);
    let (a, b) = (Server::start(gated).await, Server::start(silent).await);
    let world = World::start(vec![
        labelled("/a", 10000, &a, &[("VHOST", "a.example")]),
        labelled("/b", 10001, &b, &[("VHOST", "b.example")]),
    ])
    .await;
    world.listening(10001, true).await;
    let https = world.edge.addresses().https.unwrap();
    let (of_a, of_b) = (
        speak(https, "a.example").await,
        speak(https, "b.example").await,
    );

    let given_up = Request::get("https://b.example/").body(()).unwrap();
    let (answer, mut stream) = of_b.clone().send_request(given_up, true).unwrap();
    until("the request is there", async || b.count() == 1).await;
    world.marathon.drain("b.0").await;
    world.listening(10001, false).await;
    assert!(!world.marathon.noted("drained b.0"));
    stream.send_reset(Reason::CANCEL);
    drop(answer);
    world.marathon.drained("b.0").await;
    // The connection is none the worse.
    assert_eq!(
        get(&of_b, "https://b.example/").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );

    let control = async {
        until("the request is there", async || a.count() == 1).await;
        world.marathon.drain("a.0").await;
        world.listening(10000, false).await;
        // The edge ends besides, and tells so: what is in flight is still answered.
        world.tasks.token().cancel();
        until("nothing more is to be asked", async || {
            of_a.clone().ready().await.is_err()
        })
        .await;
        assert!(!world.marathon.noted("drained a.0"));
        gate.cancel();
    };
    let (answered, ()) = tokio::join!(get(&of_a, "https://a.example/"), control);
    assert_eq!(
        (answered.0, &answered.2[..]),
        (StatusCode::OK, &b"done"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_speaks_http2_and_a_tcp_service_does_not() {
    let (http, tcp) = (Server::named("h").await, Server::named("t").await);
    let mut tcp_app = labelled("/t", 10001, &tcp, &[("SSL_CERT", "/nothing/there.pem")]);
    tcp_app["labels"]["HAPROXY_0_MODE"] = json!("tcp");
    let world = World::start(vec![
        labelled("/h", 10000, &http, &[("SSL_CERT", "/nothing/there.pem")]),
        tcp_app,
    ])
    .await;
    world.listening(10000, true).await;
    world.listening(10001, true).await;
    let stream = connect(world.at(10001), "t", &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let stream = connect(world.at(10000), "h", &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let curl = |args: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--http2", "--max-time", "20"]).args(args);
        curl.stdin(Stdio::null()).output()
    };
    let Ok(version) = curl(&["--version"]) else {
        eprintln!("skipped: curl is not installed");
        return;
    };
    if !String::from_utf8_lossy(&version.stdout).contains("HTTP2") {
        eprintln!("skipped: this curl knows no HTTP/2");
        return;
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    let sent: Vec<u8> = (0..2_000_000_u32).map(|n| (n / 7) as u8).collect();
    std::fs::write(file.path(), &sent).unwrap();
    let output = tokio::task::spawn_blocking({
        let (body, echo) = (
            format!("@{}", file.path().display()),
            format!("https://{}/echo", world.at(10000)),
        );
        let version = "%{stderr}%{http_version} %{http_code}".to_owned();
        move || {
            Command::new("curl")
                .args([
                    "-sk",
                    "--http2",
                    "--max-time",
                    "20",
                    "--data-binary",
                    &body,
                    "-w",
                    &version,
                    &echo,
                ])
                .output()
        }
    });
    let output = output.await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "2 200");
    assert!(output.stdout == sent, "{} bytes", output.stdout.len());
}

//! The edge's own health checks, and what they mean for traffic; intervals of a second are 50 ms here.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};
use support::{Server, World, app, get_from, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zddcluster_runtime::{OnFailure, Tasks};

/// An app whose tasks Marathon calls healthy, with a check every second.
fn checked(id: &str, port: u16, protocol: &str, servers: &[std::net::SocketAddr]) -> Value {
    let mode = if protocol == "HTTP" { "http" } else { "tcp" };
    let mut app = app(id, port, mode, servers);
    app["healthChecks"] = json!([{"protocol": protocol, "path": "/health", "intervalSeconds": 1, "timeoutSeconds": 5,
        "maxConsecutiveFailures": 3}]);
    for task in app["tasks"].as_array_mut().unwrap() {
        task["healthCheckResults"] = json!([{"alive": true}]);
    }
    app
}

/// The status, last check and code of each server of a backend, in order of their ports.
async fn servers(world: &World, backend: &str) -> Vec<[String; 3]> {
    let rows = world.csv().await;
    let rows = rows
        .iter()
        .filter(|row| row[0] == backend && !["FRONTEND", "BACKEND"].contains(&row[1].as_str()));
    rows.map(|row| [row[17].clone(), row[36].clone(), row[37].clone()])
        .collect()
}

/// A server whose health has a status of its own.
async fn with_health(name: &'static str) -> (Server, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let health = Arc::clone(&status);
    let health = get(async move || StatusCode::from_u16(health.load(Ordering::SeqCst)).unwrap());
    let router = Router::new()
        .route("/health", health)
        .fallback(async move || name);
    (Server::start(router).await, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_takes_no_traffic_until_it_is_well() {
    // contract: lb-check-failing, lb-check-new, lb-check-kind, lb-503, lb-follow-away
    let (a, health_of_a) = with_health("a").await;
    let (b, health_of_b) = with_health("b").await;
    let world = World::start(vec![checked("/a", 10000, "HTTP", &[a.address, b.address])]).await;
    world.listening(10000, true).await;
    let at_of = |server: &Server| {
        usize::from(server.address.port() == a.address.port().max(b.address.port()))
    };
    let is = async |server: &Server, word: &str, code: &str| {
        let found = servers(&world, "a_10000").await;
        let [status, _, number] = &found[at_of(server)];
        status == word && number == code
    };
    until("both are UP", async || {
        is(&a, "UP", "200").await && is(&b, "UP", "200").await
    })
    .await;

    // Marathon is gone and knows nothing of it.
    world.stop_marathon();
    health_of_a.store(500, Ordering::SeqCst);
    until("a is DOWN", async || is(&a, "DOWN", "500").await).await;
    for _ in 0..6 {
        assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "b");
    }
    health_of_b.store(503, Ordering::SeqCst);
    until("b is DOWN", async || is(&b, "DOWN", "503").await).await;
    assert_eq!(
        get_from(world.at(10000), "/", &[]).await.status(),
        503,
        "it listens on"
    );
    let backend = world
        .csv()
        .await
        .into_iter()
        .find(|row| row[0] == "a_10000" && row[1] == "BACKEND")
        .unwrap();
    assert_eq!((backend[17].as_str(), backend[19].as_str()), ("DOWN", "0"));

    health_of_a.store(302, Ordering::SeqCst);
    until("a is UP", async || is(&a, "UP", "302").await).await;
    assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_refuses_is_down_whatever_marathon_says() {
    let closed = support::refusing().await;
    let tcp = checked("/tcp", 10001, "TCP", &[closed]);
    let world = World::start(vec![checked("/a", 10000, "HTTP", &[closed]), tcp]).await;
    for backend in ["a_10000", "tcp_10001"] {
        let expected = ["DOWN", "L4CON", ""].map(str::to_owned);
        until("refused", async || {
            servers(&world, backend).await == [expected.clone()]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_checked_says_so() {
    // contract: lb-check-which, lb-exactly-up
    let server = Server::named("a").await;
    let mut by_command = checked("/command", 10001, "HTTP", &[server.address]);
    by_command["healthChecks"] = json!([{"protocol": "COMMAND"}]);
    let unchecked = app("/none", 10000, "http", &[server.address]);
    let world = World::start(vec![unchecked, by_command]).await;
    for backend in ["none_10000", "command_10001"] {
        assert_eq!(
            servers(&world, backend).await,
            [["no check", "", ""].map(str::to_owned)]
        );
    }
    world.listening(10000, true).await;
    assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_survives_a_new_table() {
    // contract: lb-check-reload, lb-change-counters
    let (a, health) = with_health("a").await;
    let service = checked("/a", 10000, "HTTP", &[a.address]);
    let world = World::start(vec![service.clone()]).await;
    health.store(500, Ordering::SeqCst);
    until("a is DOWN", async || {
        servers(&world, "a_10000").await[0][0] == "DOWN"
    })
    .await;
    // A new task behind the same address; the state is the name's.
    let mut next = service;
    next["tasks"][0]["id"] = json!("a.next");
    next["labels"]["HAPROXY_0_VHOST"] = json!("x");
    world.marathon.put(next);
    until("the new table", async || {
        get_from(world.edge.addresses().http.unwrap(), "/", &["Host: x"])
            .await
            .status()
            == 503
            && world.stats("/_haproxy_getvhostmap").await.text() == "x a_10000\n"
    })
    .await;
    assert_eq!(servers(&world, "a_10000").await[0][0], "DOWN");
}

/// Answers raw bytes by what the request says; returns the address and the first request seen.
async fn raw(
    answer: fn(&str) -> &'static str,
) -> (std::net::SocketAddr, Arc<std::sync::Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let first = Arc::new(std::sync::Mutex::new(String::new()));
    let seen = Arc::clone(&first);
    Tasks::new().spawn("raw", OnFailure::Log, async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = vec![0; 1024];
            let n = stream.read(&mut bytes).await?;
            let request = String::from_utf8_lossy(&bytes[..n]).into_owned();
            stream.write_all(answer(&request).as_bytes()).await?;
            let mut seen = seen.lock().unwrap();
            if seen.is_empty() {
                *seen = request;
            }
        }
        Ok(())
    });
    (address, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_old_http_and_new_http_for_who_wants_that() {
    // contract: lb-check-kind
    let (old, seen) = raw(|_| "HTTP/1.0 204 No Content\r\n\r\n").await;
    let (new, _) = raw(|request| {
        let is_new = request.contains("HTTP/1.1") && request.contains("Host: ");
        if is_new {
            "HTTP/1.1 200 OK\r\n\r\n"
        } else {
            "HTTP/1.1 400 Bad Request\r\n\r\n"
        }
    })
    .await;
    let (rubbish, _) = raw(|_| "SSH-2.0\r\n").await;
    let world = World::start(vec![
        checked("/old", 10000, "HTTP", &[old]),
        checked("/new", 10001, "HTTP", &[new]),
        checked("/rubbish", 10002, "HTTP", &[rubbish]),
    ])
    .await;
    for (backend, status, check, code) in [
        ("old_10000", "UP", "L7OK", "204"),
        ("new_10001", "UP", "L7OK", "200"),
        ("rubbish_10002", "DOWN", "L7RSP", ""),
    ] {
        let expected = [status, check, code].map(str::to_owned);
        until(backend, async || {
            servers(&world, backend).await == [expected.clone()]
        })
        .await;
    }
    assert_eq!(*seen.lock().unwrap(), "GET /health HTTP/1.0\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_server_is_not_checked() {
    // contract: lb-check-maint, lb-maint-stays
    let hits = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&hits);
    let health = get(async move || {
        counter.fetch_add(1, Ordering::SeqCst);
        "well"
    });
    let old = Server::start(
        Router::new()
            .route("/health", health)
            .fallback(async || "old"),
    )
    .await;
    let new = Server::named("new").await;
    let in_group = |id: &str, server: &Server, started: &str| {
        let mut app = checked(id, 10000, "HTTP", &[server.address]);
        app["instances"] = json!(1);
        app["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = json!("svc");
        app["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = json!(started);
        app
    };
    let world = World::start(vec![in_group("/blue", &old, "2016-01-01")]).await;
    until("blue is UP", async || {
        servers(&world, "svc_10000").await[0][0] == "UP"
    })
    .await;
    world.marathon.put(in_group("/green", &new, "2016-01-02"));
    until("blue drains", async || {
        let found = servers(&world, "svc_10000").await;
        found.len() == 2 && found.contains(&["MAINT", "", ""].map(str::to_owned))
    })
    .await;
    let before = hits.load(Ordering::SeqCst);
    until("green is checked", async || {
        servers(&world, "svc_10000")
            .await
            .iter()
            .any(|server| server[0] == "UP")
    })
    .await;
    assert!(
        hits.load(Ordering::SeqCst) <= before + 1,
        "at most what was under way"
    );
    for _ in 0..4 {
        assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "new");
    }
}

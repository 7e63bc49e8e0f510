//! What is counted, in the statistics and the measurements alike.

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use serde_json::json;
use support::{Server, World, app, get_from, read_text, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use zddcluster_runtime::{OnFailure, Tasks};

/// How long a server takes for a part of its answer.
const PAUSE: Duration = Duration::from_millis(30);

/// Fields of a row by their names; a server is `SERVER`.
async fn fields(world: &World, proxy: &str, kind: &str, names: &[&str]) -> Vec<u64> {
    let text = world.stats("/haproxy?stats;csv").await.text();
    let mut lines = text.lines().map(|line| line.split(','));
    let titles: Vec<_> = lines.next().unwrap().collect();
    let row = lines.map(Iterator::collect::<Vec<_>>).find(|row| {
        let is_kind = match kind {
            "SERVER" => row[32] == "2",
            _ => row[1] == kind,
        };
        row[0] == proxy && is_kind
    });
    let row = row.unwrap_or_else(|| panic!("no {proxy}/{kind} in {text}"));
    let field = |name: &&str| {
        let at = titles
            .iter()
            .position(|title| title.trim_start_matches("# ") == *name);
        row[at.unwrap()].parse().unwrap()
    };
    names.iter().map(field).collect()
}

async fn measured(world: &World, line: &str) -> String {
    let metrics = world.stats("/metrics").await.text();
    let found = metrics.lines().find_map(|it| it.strip_prefix(line));
    found
        .unwrap_or_else(|| panic!("no {line} in {metrics}"))
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_kept_out_is_counted() {
    // contract: lb-csv-counts
    let server = Server::named("a").await;
    let shut = |id: &str, port: u16, mode: &str| {
        let mut app = app(id, port, mode, &[server.address]);
        app["labels"]["HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL"] = json!("10.0.0.0/8");
        app
    };
    let world = World::start(vec![
        shut("/http", 10000, "http"),
        shut("/tcp", 10001, "tcp"),
    ])
    .await;
    world.listening(10000, true).await;
    for _ in 0..3 {
        assert_eq!(get_from(world.at(10000), "/", &[]).await.status(), 403);
    }
    let mut tcp = TcpStream::connect(world.at(10001)).await.unwrap();
    assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0);
    for (proxy, n) in [("http_10000", 3), ("tcp_10001", 1)] {
        for kind in ["FRONTEND", "BACKEND"] {
            assert_eq!(
                fields(&world, proxy, kind, &["dreq", "dresp"]).await,
                [n, 0]
            );
            let line = format!(
                "haproxy_{}_requests_denied_total{{proxy=\"{proxy}\"}}",
                kind.to_lowercase()
            );
            assert_eq!(measured(&world, &line).await, n.to_string());
        }
    }
    // Requests, and the most in a second.
    let rates = fields(
        &world,
        "http_10000",
        "FRONTEND",
        &["req_tot", "req_rate_max"],
    )
    .await;
    assert!(rates[0] == 3 && (1..=3).contains(&rates[1]), "{rates:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_averages() {
    // contract: lb-csv-counts
    // One part of the answer each: the head, then the body.
    let (parts, receiver) = mpsc::unbounded_channel::<()>();
    let receiver = Arc::new(Mutex::new(receiver));
    let answer = get(async move || {
        receiver.lock().await.recv().await;
        let late = futures_util::stream::once(async move {
            receiver.lock().await.recv().await;
            Ok::<_, std::io::Error>("done")
        });
        Body::from_stream(late)
    });
    let server = Server::start(Router::new().route("/", answer)).await;
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    let names = ["qtime", "ctime", "rtime", "ttime"];
    let mut client = TcpStream::connect(world.at(10000)).await.unwrap();
    for n in 1..=3 {
        let request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        client.write_all(request).await.unwrap();
        until("the request is there", async || server.count() == n).await;
        for end in ["\r\n\r\n", "0\r\n\r\n"] {
            tokio::time::sleep(PAUSE).await;
            parts.send(()).unwrap();
            read_text(&mut client, |text| text.ends_with(end)).await;
        }
    }
    let times = fields(&world, "a_10000", "SERVER", &names).await;
    let pause = PAUSE.as_millis() as u64;
    let [queue, connect, response, total] = times[..] else {
        panic!("{times:?}")
    };
    assert!(queue == 0 && response >= pause, "{times:?}");
    // Rounded down.
    assert!(total + 2 >= connect + response + pause, "{times:?}");
    // The only server's are the backend's.
    assert_eq!(fields(&world, "a_10000", "BACKEND", &names).await, times);
    let line = "haproxy_backend_total_time_average_seconds{proxy=\"a_10000\"}";
    let seconds: f64 = measured(&world, line).await.parse().unwrap();
    assert_eq!((seconds * 1000.0) as u64, total);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_off_is_counted() {
    // contract: lb-csv-counts
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Begins an answer, and goes away itself if it is asked to.
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn("half", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            connections.spawn("connection", OnFailure::Log, async move {
                let mut bytes = [0; 1024];
                let n = stream.read(&mut bytes).await?;
                let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nx";
                stream.write_all(head).await?;
                while bytes[..n].starts_with(b"GET /flood") {
                    stream.write_all(&[b'x'; 65536]).await?;
                }
                Ok(())
            });
        }
    });
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let names = ["cli_abrt", "srv_abrt", "eresp"];
    assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "x");
    let mut client = TcpStream::connect(world.at(10000)).await.unwrap();
    client
        .write_all(b"GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
    drop(client);
    for kind in ["SERVER", "BACKEND"] {
        until("both are counted", async || {
            fields(&world, "a_10000", kind, &names).await == [1, 1, 1]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_of_a_backend_are_counted() {
    // contract: lb-csv-counts
    let server = Server::named("a").await;
    let mut checked = app("/a", 10000, "http", &[server.address]);
    checked["healthChecks"] = json!([{"protocol": "TCP", "intervalSeconds": 1, "timeoutSeconds": 5,
        "maxConsecutiveFailures": 0}]);
    checked["tasks"][0]["healthCheckResults"] = json!([{"alive": true}]);
    let world = World::start(vec![checked]).await;
    let chkdown = async || fields(&world, "a_10000", "BACKEND", &["chkdown"]).await[0];
    assert_eq!(chkdown().await, 0);
    server.token.cancel();
    until("it is down", async || chkdown().await == 1).await;
    let line = "haproxy_backend_check_up_down_total{proxy=\"a_10000\"}";
    assert_eq!(measured(&world, line).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_count_their_own_bytes() {
    // contract: lb-csv-counts
    let world = World::start(vec![]).await;
    let answer = world.stats("/_haproxy_health_check").await;
    let size = (answer.head.len() + 4 + answer.body.len()) as u64;
    let bytes = fields(&world, "stats", "FRONTEND", &["bin", "bout"]).await;
    // But for what is said about the connection.
    assert!(bytes[1].abs_diff(size) < 30, "{bytes:?}, {answer:?}");
    assert!((50..200).contains(&bytes[0]), "{bytes:?}");
}

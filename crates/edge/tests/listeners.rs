//! Who listens where, what leads where, and what becomes of it when the configuration changes.

mod support;

use std::net::SocketAddr;

use serde_json::json;
use support::{Server, World, app, exchange, get_from, read_text, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zddcluster_runtime::{OnFailure, Tasks};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_on_the_vhost_port_gets_what_is_left() {
    // contract: lb-own-ports, lb-listener-80
    let (named, rest) = (Server::named("named").await, Server::named("rest").await);
    let mut vhost = app("/named", 10000, "http", &[named.address]);
    vhost["labels"]["HAPROXY_0_VHOST"] = json!("x");
    let mut service = app("/rest", 10001, "http", &[rest.address]);
    service["labels"]["HAPROXY_0_PORT"] = json!("80");
    let world = World::start(vec![vhost, service]).await;
    world.listening(10000, true).await;
    let http = world.edge.addresses().http.unwrap();
    for _ in 0..4 {
        assert_eq!(get_from(http, "/", &["Host: x"]).await.text(), "named");
        assert_eq!(get_from(http, "/", &["Host: y"]).await.text(), "rest");
    }
    let config = world.stats("/_haproxy_getconfig").await.text();
    assert!(
        config.contains("\n# warning: /rest HAPROXY_0_PORT: port 80 is shared"),
        "{config}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn app_ids_lead_to_services() {
    // contract: lb-listener-9091
    let server = Server::named("a").await;
    let mut two = app("/two", 10000, "http", &[server.address]);
    two["ports"] = json!([10000, 10001]);
    two["tasks"][0]["ports"] = json!([server.address.port(), server.address.port()]);
    let mut second = two.clone();
    second["id"] = json!("/second");
    second["ports"] = json!([10002, 10003]);
    second["labels"] = json!({"HAPROXY_GROUP": "external", "HAPROXY_1_MODE": "http"});
    let mut grouped = app("/grouped-blue", 10004, "http", &[server.address]);
    grouped["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = json!("grouped");
    let tcp = app("/tcp", 10005, "tcp", &[server.address]);
    let world = World::start(vec![two, second, grouped, tcp]).await;
    for port in 10000..=10005 {
        world.listening(port, true).await;
    }
    let at = world.edge.addresses().app_id;
    for (app_id, status) in [
        ("/two", 200),
        ("/TWO", 200),
        // A group stands for its apps.
        ("/grouped", 200),
        ("/grouped-blue", 503),
        ("two", 503),
        // The first port counts, and it speaks no HTTP.
        ("/second", 503),
        ("/tcp", 503),
        ("/other", 503),
    ] {
        let line = format!("X-Marathon-App-Id: {app_id}");
        assert_eq!(
            get_from(at, "/", &[&line]).await.status(),
            status,
            "{app_id}"
        );
    }
    assert_eq!(get_from(at, "/", &[]).await.status(), 503);
}

/// Sends back what it gets over a connection, also after it was asked to leave HTTP.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn("echo", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            connections.spawn("connection", OnFailure::Log, async move {
                let mut bytes = [0; 1024];
                loop {
                    let said = match stream.read(&mut bytes).await? {
                        0 => return Ok(()),
                        n => &bytes[..n],
                    };
                    let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
                    let is_request = said.starts_with(b"GET");
                    stream.write_all(if is_request { head } else { said }).await?;
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_outlives_its_service() {
    // contract: lb-change-listener, lb-change-tunnels
    let address = echo().await;
    let world = World::start(vec![
        app("/http", 10000, "http", &[address]),
        app("/tcp", 10001, "tcp", &[address]),
    ])
    .await;
    let mut open = Vec::new();
    let upgrade = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n";
    for (port, hello, end) in [(10000, upgrade, "\r\n\r\n"), (10001, "hello", "hello")] {
        world.listening(port, true).await;
        let mut stream = TcpStream::connect(world.at(port)).await.unwrap();
        stream.write_all(hello.as_bytes()).await.unwrap();
        read_text(&mut stream, |text| text.ends_with(end)).await;
        open.push(stream);
    }
    let say = async |stream: &mut TcpStream, text: &str| {
        stream.write_all(text.as_bytes()).await.unwrap();
        assert_eq!(read_text(stream, |it| it.len() == text.len()).await, text);
    };
    // Another server instead of theirs, then none at all.
    let other = Server::named("other").await;
    for (id, port, mode) in [("/http", 10000, "http"), ("/tcp", 10001, "tcp")] {
        world.marathon.put(app(id, port, mode, &[other.address]));
    }
    // Not asked before it is there: the first one would keep the connection.
    let name = format!("127_0_0_1_{}", other.address.port());
    until("the other server has taken over", async || {
        let rows = world.csv().await;
        rows.iter().filter(|row| row[1] == name).count() == 2
    })
    .await;
    for port in [10000, 10001] {
        assert_eq!(get_from(world.at(port), "/", &[]).await.text(), "other");
    }
    for stream in &mut open {
        say(stream, "still here").await;
    }
    for id in ["/http", "/tcp"] {
        world.marathon.remove(id);
    }
    for (port, stream) in [10000, 10001].into_iter().zip(&mut open) {
        world.listening(port, false).await;
        say(stream, "and still").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_go_on_over_changes() {
    // contract: lb-change-counters
    let (a, b) = (Server::named("a").await, Server::named("b").await);
    let world = World::start(vec![app("/a", 10000, "http", &[a.address])]).await;
    world.listening(10000, true).await;
    for _ in 0..3 {
        get_from(world.at(10000), "/", &[]).await;
    }
    let name = format!("127_0_0_1_{}", a.address.port());
    let shown = async || {
        let rows = world.csv().await;
        let of = |name: &str| {
            let row = rows
                .iter()
                .find(|row| row[0] == "a_10000" && row[1] == name);
            row.map(|row| (row[8].clone(), row[40].clone()))
        };
        ["FRONTEND", "BACKEND", &name].map(of)
    };
    let before = shown().await;
    for row in &before {
        let (bytes_in, answers) = row.as_ref().unwrap();
        assert!(bytes_in != "0" && answers == "3", "{before:?}");
    }
    world
        .marathon
        .put(app("/a", 10000, "http", &[a.address, b.address]));
    until("b is there", async || world.csv().await.len() == 5 + 4).await;
    assert_eq!(shown().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn frontends_share_the_turn_of_a_backend() {
    // contract: lb-turns, lb-listener-80, lb-listener-9091
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(Server::named("any").await);
    }
    servers.sort_by_key(|server| server.address.port());
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut service = app("/a", 10000, "http", &addresses);
    service["labels"]["HAPROXY_0_VHOST"] = json!("x");
    let world = World::start(vec![service]).await;
    world.listening(10000, true).await;
    let addresses = world.edge.addresses();
    let frontends = [
        (world.at(10000), "A: b"),
        (addresses.http.unwrap(), "Host: x"),
        (addresses.app_id, "X-Marathon-App-Id: /a"),
        (world.at(10000), "A: b"),
    ];
    for (n, (frontend, line)) in frontends.iter().cycle().take(12).enumerate() {
        assert_eq!(get_from(*frontend, "/", &[line]).await.status(), 200);
        for (at, server) in servers.iter().enumerate() {
            assert_eq!(server.count(), (n + 3 - at) / 3, "server {at}, request {n}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_tell_where_a_request_came_from() {
    // contract: lb-header-host, lb-header-for, lb-header-port, lb-header-proto
    let server = Server::named("a").await;
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    let lines = [
        "Host: 52.25.126.14:10080",
        "X-Forwarded-For: 9.9.9.9",
        "X-Forwarded-For: 8.8.8.8",
        "X-Forwarded-Port: 1",
        "X-Forwarded-Proto: https",
    ];
    // Sorted there.
    let seen = get_from(world.at(10000), "/head", &lines).await.text();
    assert_eq!(
        seen,
        "host: 52.25.126.14:10080\nx-forwarded-for: 127.0.0.1\nx-forwarded-for: 8.8.8.8\n\
         x-forwarded-for: 9.9.9.9\nx-forwarded-port: 10000\nx-forwarded-proto: https"
    );
    let bare = exchange(world.at(10000), b"GET /head HTTP/1.0\r\n\r\n").await;
    assert_eq!(
        bare.text(),
        "connection: close\nx-forwarded-for: 127.0.0.1\nx-forwarded-port: 10000"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_without_a_server_ends_without_a_byte() {
    // contract: lb-answer-tcp
    let closed = support::refusing().await;
    let mut down = app("/a", 10000, "tcp", &[closed]);
    down["healthChecks"] = json!([{"protocol": "TCP", "intervalSeconds": 1, "timeoutSeconds": 5,
        "maxConsecutiveFailures": 0}]);
    down["tasks"][0]["healthCheckResults"] = json!([{"alive": true}]);
    let world = World::start(vec![down]).await;
    until("it is DOWN", async || {
        let rows = world.csv().await;
        rows.iter()
            .any(|row| row[1] == "BACKEND" && row[17] == "DOWN" && row[0] == "a_10000")
    })
    .await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"");
}

//! Where requests go: ports, vhosts, app ids, shares, retries; and what the admin port says about it.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use support::{Server, World, app, exchange, get_from, refusing, serve, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{OnFailure, Tasks};

#[tokio::test(flavor = "multi_thread")]
async fn ports_vhosts_and_app_ids() {
    // contract: lb-vhost-url, lb-listener-80, lb-listener-9091, lb-listener-service, lb-header-host, lb-header-for
    let blue = Server::named("blue").await;
    let mut service = app("/zdd/blue", 10080, "http", &[blue.address]);
    service["labels"]["HAPROXY_0_VHOST"] = json!("http://Ec2-52-25.example.com");
    let world = World::start(vec![service]).await;
    world.listening(10080, true).await;

    assert_eq!(get_from(world.at(10080), "/", &[]).await.text(), "blue");
    let addresses = world.edge.addresses();
    let http = addresses.http.unwrap();
    let by_host = get_from(http, "/", &["Host: EC2-52-25.example.com:80"]).await;
    assert_eq!(by_host.text(), "blue");
    assert_eq!(get_from(http, "/", &["Host: other"]).await.status(), 503);
    let by_id = get_from(addresses.app_id, "/", &["X-Marathon-App-Id: /ZDD/blue"]).await;
    assert_eq!(by_id.text(), "blue");
    assert_eq!(get_from(addresses.app_id, "/", &[]).await.status(), 503);

    let head = get_from(
        world.at(10080),
        "/head",
        &["Host: 52.25.126.14:10080", "X-Forwarded-For: 9.9.9.9"],
    )
    .await;
    assert_eq!(
        head.text(),
        "host: 52.25.126.14:10080\nx-forwarded-for: 127.0.0.1\nx-forwarded-for: 9.9.9.9\nx-forwarded-port: 10080"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_is_the_originals_answer() {
    // contract: lb-answer-503, lb-answer-form, lb-503
    let world = World::start(vec![]).await;
    let answer = get_from(world.edge.addresses().http.unwrap(), "/", &[]).await;
    assert_eq!(
        answer.text(),
        "<html><body><h1>503 Service Unavailable</h1>\nNo server is available to handle this request.\n</body></html>\n"
    );
    assert_eq!(answer.body.len(), 107);
    assert!(
        answer.head.contains("Cache-Control: no-cache"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("Content-Type: text/html"),
        "{}",
        answer.head
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_are_exact() {
    // contract: lb-turns
    let servers = [
        Server::named("a").await,
        Server::named("b").await,
        Server::named("c").await,
    ];
    let addresses = servers.each_ref().map(|server| server.address);
    let world = World::start(vec![app("/a", 10000, "http", &addresses)]).await;
    world.listening(10000, true).await;
    let requests = (0..30).map(|_| get_from(world.at(10000), "/", &[]));
    futures_util::future::join_all(requests).await;
    assert_eq!(servers.each_ref().map(Server::count), [10, 10, 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_apps_on_one_port_share_it() {
    // contract: lb-same-port, lb-run-none
    let (blue, green) = (Server::named("blue").await, Server::named("green").await);
    let world = World::start(vec![
        app("/blue", 10080, "http", &[blue.address]),
        app("/green", 10080, "http", &[green.address]),
    ])
    .await;
    world.listening(10080, true).await;
    let mut answers = BTreeMap::new();
    for _ in 0..20 {
        let answer = get_from(world.at(10080), "/", &[]).await;
        *answers.entry(answer.text()).or_insert(0) += 1;
    }
    // The probes of `listening` take turns too.
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(
        answers.values().all(|n| (9..=11).contains(n)),
        "{answers:?}"
    );

    world.marathon.put(app("/blue", 10080, "http", &[]));
    until("blue is gone", async || {
        world.csv().await.iter().all(|row| row[0] != "blue_10080")
    })
    .await;
    for _ in 0..5 {
        assert_eq!(get_from(world.at(10080), "/", &[]).await.text(), "green");
    }
    world.marathon.put(app("/green", 10080, "http", &[]));
    world.listening(10080, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_share_a_port_and_a_vhost_exactly() {
    // contract: lb-weight
    let weighted = |id: &str, server: &Server, weight: &str| {
        let mut app = app(id, 10080, "http", &[server.address]);
        app["labels"]["HAPROXY_0_VHOST"] = json!("x");
        app["labels"]["ZDD_0_WEIGHT"] = json!(weight);
        app
    };
    let (blue, green) = (Server::named("blue").await, Server::named("green").await);
    let world = World::start(vec![
        weighted("/blue", &blue, "80"),
        weighted("/green", &green, "20"),
    ])
    .await;
    world.listening(10080, true).await;
    let http = world.edge.addresses().http.unwrap();
    let count = async |address, fresh: bool| {
        let (before, n) = ([blue.count(), green.count()], 20);
        if fresh {
            for _ in 0..n {
                get_from(address, "/", &["Host: x"]).await;
            }
        } else {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(n - 1)
                + "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        }
        [blue.count() - before[0], green.count() - before[1]]
    };
    // Each request has its turn, on connections of its own and on a kept one.
    for address in [world.at(10080), http] {
        for fresh in [true, false] {
            assert_eq!(count(address, fresh).await, [16, 4], "{address} {fresh}");
        }
    }
    world.marathon.put(weighted("/green", &green, "0"));
    until("green takes nothing", async || {
        count(http, true).await == [20, 0]
    })
    .await;
    world.marathon.put(weighted("/blue", &blue, "50"));
    world.marathon.put(weighted("/green", &green, "50"));
    until("half and half", async || {
        count(http, true).await == [10, 10]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_moves_to_the_other_app() {
    let (blue, green) = (Server::named("blue").await, Server::named("green").await);
    let world = World::start(vec![app("/blue", 10080, "http", &[blue.address])]).await;
    world.listening(10080, true).await;
    let mut stream = TcpStream::connect(world.at(10080)).await.unwrap();
    let ask = async |stream: &mut TcpStream| {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let mut bytes = vec![0; 1024];
        let n = stream.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..n])
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(ask(&mut stream).await, "blue");
    world
        .marathon
        .put(app("/green", 10080, "http", &[green.address]));
    world.marathon.drain("blue.0").await;
    world.marathon.drained("blue.0").await;
    until("green has the port", async || {
        world.csv().await.iter().any(|row| row[0] == "green_10080")
    })
    .await;
    assert_eq!(ask(&mut stream).await, "green");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusing_server_is_passed_over() {
    // contract: lb-redispatch
    let (good, bad) = (Server::named("good").await, refusing().await);
    let world = World::start(vec![app("/a", 10000, "http", &[bad, good.address])]).await;
    world.listening(10000, true).await;
    let start = Instant::now();
    for _ in 0..6 {
        assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "good");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "moved on at once");
    // A body is no obstacle: nothing of it had been sent.
    for _ in 0..2 {
        let post = b"POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(exchange(world.at(10000), post).await.text(), "hello");
    }
    let rows = world.csv().await;
    let row = rows
        .iter()
        .find(|row| row[0] == "a_10000" && row[1] == "BACKEND")
        .unwrap();
    let [connect_errors, retries] = [13, 15].map(|at| row[at].parse::<u64>().unwrap());
    assert!(connect_errors > 0 && retries == connect_errors, "{row:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_refusing_server_gives_503_after_three_retries() {
    // contract: lb-single-refused, lb-503
    let world = World::start(vec![app("/a", 10000, "http", &[refusing().await])]).await;
    world.listening(10000, true).await;
    let start = Instant::now();
    assert_eq!(get_from(world.at(10000), "/", &[]).await.status(), 503);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(3) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

/// A server that reads a request and ends the connection without an answer.
async fn rude() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let n_requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_requests);
    Tasks::new().spawn("rude", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).await? > 0 {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, n_requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_sent_again_only_if_harmless() {
    // contract: lb-retries, lb-answer-502
    let (rude, n_requests) = rude().await;
    let good = Server::named("good").await;
    let world = World::start(vec![
        app("/alone", 10001, "http", &[rude]),
        app("/both", 10002, "http", &[rude, good.address]),
    ])
    .await;
    world.listening(10002, true).await;
    world.listening(10001, true).await;
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(exchange(world.at(10001), post).await.status(), 502);
    assert_eq!(n_requests.load(Ordering::SeqCst), 1);
    assert_eq!(get_from(world.at(10001), "/", &[]).await.status(), 502);
    assert_eq!(n_requests.load(Ordering::SeqCst), 2);
    for _ in 0..4 {
        assert_eq!(get_from(world.at(10002), "/", &[]).await.text(), "good");
    }
    let empty_post =
        b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let statuses = [
        exchange(world.at(10002), empty_post).await.status(),
        exchange(world.at(10002), empty_post).await.status(),
    ];
    assert!(
        statuses.contains(&502) && statuses.contains(&200),
        "{statuses:?}"
    );
}

/// An edge that covers nothing up does not use a connection again either: if that breaks, only another attempt can help.
#[tokio::test(flavor = "multi_thread")]
async fn without_resending_each_request_has_a_connection_of_its_own() {
    // contract: lb-server-connections
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let n_requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&n_requests);
    // Answers once on each connection, and breaks off over the next request.
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn("once", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let counter = Arc::clone(&counter);
            connections.spawn("connection", OnFailure::Log, async move {
                for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""] {
                    if stream.read(&mut [0; 1024]).await? > 0 {
                        counter.fetch_add(1, Ordering::SeqCst);
                        stream.write_all(answer.as_bytes()).await?;
                    }
                }
                Ok(())
            });
        }
    });
    let apps = || vec![app("/a", 10000, "http", &[address])];
    for (env, n_sent) in [(&[("ZDD_NO_RESEND", "1")][..], 4), (&[], 4 + 3)] {
        n_requests.store(0, Ordering::SeqCst);
        let world = World::start_in(env, true, apps()).await;
        world.listening(10000, true).await;
        let mut client = TcpStream::connect(world.at(10000)).await.unwrap();
        for _ in 0..4 {
            client
                .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                .await
                .unwrap();
            let mut bytes = [0; 1024];
            let n = client.read(&mut bytes).await.unwrap();
            assert!(bytes[..n].ends_with(b"\r\n\r\nok"), "{:?}", &bytes[..n]);
        }
        assert_eq!(n_requests.load(Ordering::SeqCst), n_sent, "{env:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_server_connection_that_was_closed_harms_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Promises to keep the connection, and closes it.
    Tasks::new().spawn("one answer", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).await? > 0 {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await?;
            }
        }
    });
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    for n in 0..50 {
        assert_eq!(
            get_from(world.at(10000), "/", &[]).await.text(),
            "ok",
            "request {n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_servers_has_no_listener() {
    // contract: lb-no-listener
    let server = Server::named("a").await;
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    world.marathon.put(app("/a", 10000, "http", &[]));
    world.listening(10000, false).await;
    world
        .marathon
        .put(app("/a", 10000, "http", &[server.address]));
    world.listening(10000, true).await;
    world.marathon.remove("/a");
    world.listening(10000, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_holds_up_nobody_and_is_tried_again() {
    // contract: lb-taken-port
    let server = Server::named("a").await;
    let world = World::start(vec![]).await;
    let taken = TcpListener::bind(world.at(10001)).await.unwrap();
    world
        .marathon
        .put(app("/taken", 10001, "http", &[server.address]));
    world
        .marathon
        .put(app("/free", 10002, "http", &[server.address]));
    world.listening(10002, true).await;
    drop(taken);
    world.listening(10001, true).await;
    assert_eq!(get_from(world.at(10001), "/", &[]).await.text(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_labels_harm_only_their_service() {
    // contract: lb-users-bad-app
    let server = Server::named("a").await;
    let with_port = |id: &str, port: u16, label: &str| {
        let mut app = app(id, port, "http", &[server.address]);
        app["labels"]["HAPROXY_0_PORT"] = json!(label);
        app
    };
    let stats = 9090;
    let world = World::start(vec![
        with_port("/large", 10001, "70000"),
        with_port("/text", 10002, "abc"),
        with_port("/alt", 10003, "8080"),
        with_port("/tls", 10004, "443"),
        json!({"id": "/odd", "ports": "none"}),
    ])
    .await;
    assert_ne!(
        world.edge.addresses().stats.port(),
        stats,
        "any free port in tests"
    );
    for port in [10001, 10002, 8080] {
        world.listening(port, true).await;
        assert_eq!(
            get_from(world.at(port), "/", &[]).await.text(),
            "a",
            "{port}"
        );
    }
    world.listening(10004, false).await;
    world.listening(443, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_table_serves_while_marathon_is_away() {
    // contract: lb-follow-away, lb-follow-refetch, lb-run-away
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let mut world = World::start(vec![app("/a", 10000, "http", &[old.address])]).await;
    world.listening(10000, true).await;
    let config = world.stats("/_haproxy_getconfig").await.text();
    world.stop_marathon();
    for _ in 0..20 {
        assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "old");
    }
    assert_eq!(world.stats("/_haproxy_getconfig").await.text(), config);
    // What happens meanwhile is seen at once when it is back.
    world.marathon.put(app("/a", 10000, "http", &[new.address]));
    world.restart_marathon().await;
    until("the new server serves", async || {
        get_from(world.at(10000), "/", &[]).await.text() == "new"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_answers() {
    // contract: lb-health-page, lb-getvhostmap, lb-getappmap, lb-signals, lb-elsewhere, lb-stats-order, lb-csv-form
    let server = Server::named("a").await;
    let mut checked = app("/zdd/blue", 10080, "http", &[server.address]);
    checked["healthChecks"] = json!([{"protocol": "HTTP"}]);
    checked["tasks"][0]["healthCheckResults"] = json!([{"alive": true}]);
    checked["labels"]["HAPROXY_0_VHOST"] = json!("http://lab");
    let world = World::start(vec![checked, app("/tcp", 10001, "tcp", &[server.address])]).await;
    world.listening(10080, true).await;
    get_from(world.at(10080), "/", &[]).await;

    let health = world.stats("/_haproxy_health_check").await;
    assert_eq!(
        health.text(),
        "<html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n"
    );
    assert_eq!((health.status(), health.body.len()), (200, 58));
    assert_eq!(
        world.stats("/_haproxy_getpids").await.text(),
        std::process::id().to_string()
    );
    assert_eq!(
        world.stats("/_haproxy_getvhostmap").await.text(),
        "http://lab zdd_blue_10080\n"
    );
    assert_eq!(
        world.stats("/_haproxy_getappmap").await.text(),
        "/zdd/blue zdd_blue_10080\n"
    );
    assert_eq!(
        world.stats("/_mlb_signal/hup").await.text(),
        "Sent SIGHUP signal to marathon-lb"
    );
    assert_eq!(
        world.stats("/_mlb_signal/usr1").await.text(),
        "Sent SIGUSR1 signal to marathon-lb"
    );
    assert_eq!(world.stats("/else").await.status(), 503);
    let foreign = get_from(
        world.edge.addresses().stats,
        "/haproxy?stats;csv",
        &["Host: evil.example"],
    )
    .await;
    assert_eq!(foreign.status(), 403);

    until("the first check", async || {
        let rows = world.csv().await;
        rows.iter()
            .any(|row| row[0] == "zdd_blue_10080" && row[36] == "L7OK")
    })
    .await;
    let csv = world.stats("/haproxy?stats;csv").await.text();
    assert!(
        csv.starts_with("# pxname,svname,qcur,qmax,scur,") && csv.ends_with(",\n"),
        "{csv}"
    );
    for line in csv.lines() {
        assert_eq!(line.matches(',').count(), 62, "{line}");
        assert!(!line.contains(['"', '\'']), "{line}");
    }
    let rows = world.csv().await;
    let server_name = |server: &Server| format!("127_0_0_1_{}", server.address.port());
    let names: Vec<_> = rows
        .iter()
        .map(|row| format!("{}/{}", row[0], row[1]))
        .collect();
    let blue = format!("zdd_blue_10080/{}", server_name(&server));
    assert_eq!(
        names,
        [
            "stats/FRONTEND",
            "stats/BACKEND",
            "marathon_http_in/FRONTEND",
            "marathon_http_appid_in/FRONTEND",
            "marathon_https_in/FRONTEND",
            "tcp_10001/FRONTEND",
            "zdd_blue_10080/FRONTEND",
            &format!("tcp_10001/{}", server_name(&server)),
            "tcp_10001/BACKEND",
            &blue,
            "zdd_blue_10080/BACKEND",
        ]
    );
    let row = rows
        .iter()
        .find(|row| format!("{}/{}", row[0], row[1]) == blue)
        .unwrap();
    assert_eq!(
        (row[17].as_str(), row[7].as_str(), row[40].as_str()),
        ("UP", "1", "1"),
        "{row:?}"
    );
    assert!(
        row[8].parse::<u64>().unwrap() > 0 && row[9].parse::<u64>().unwrap() > 0,
        "{row:?}"
    );
    check_shape(&rows, &blue);
    let unchecked = rows
        .iter()
        .find(|row| row[0] == "tcp_10001" && row[32] == "2")
        .unwrap();
    assert_eq!(unchecked[17], "no check");

    let metrics = world.stats("/metrics").await.text();
    let name = server_name(&server);
    for line in [
        "zddcluster_edge_attached 1".to_owned(),
        format!("haproxy_server_sessions_total{{proxy=\"zdd_blue_10080\",server=\"{name}\"}} 1"),
        format!("haproxy_server_up{{proxy=\"zdd_blue_10080\",server=\"{name}\"}} 1"),
        "haproxy_backend_http_responses_total{proxy=\"zdd_blue_10080\",code=\"2xx\"} 1".to_owned(),
        "haproxy_backend_active_servers{proxy=\"zdd_blue_10080\"} 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    }
}

/// Which fields are filled is as in rows recorded from the original.
fn check_shape(rows: &[Vec<String>], server: &str) {
    for (name, recorded) in [
        (
            "zdd_blue_10080/FRONTEND",
            ",,,0,0,10000,0,0,0,0,0,0,,,,,OPEN,,,,,,,,,1,6,0,,,,0,0,0,0,,,,0,0,0,0,0,0,,0,0,0,,,0,0,0,0,,,,,,,,",
        ),
        (
            server,
            ",0,0,0,0,,0,0,0,,0,,0,0,0,0,UP,1,1,0,0,0,199,0,,1,7,1,,0,,2,0,,0,L7OK,200,4100,0,0,0,0,0,0,0,,,,0,0,,,,,-1,OK,,0,0,0,0,",
        ),
        (
            "zdd_blue_10080/BACKEND",
            ",0,0,0,0,1000,0,0,0,0,0,,0,0,0,0,UP,4,4,0,,0,197,0,,1,7,0,,0,,1,0,,0,,,,0,0,0,0,0,0,,,,,0,0,0,0,0,0,-1,,,0,0,0,0,",
        ),
    ] {
        let row = rows
            .iter()
            .find(|row| format!("{}/{}", row[0], row[1]) == name)
            .unwrap();
        // The recorded rows are given without their two names.
        let filled = |fields: &[String]| fields.iter().map(|f| !f.is_empty()).collect::<Vec<_>>();
        let recorded: Vec<_> = recorded.split(',').skip(1).map(str::to_owned).collect();
        assert_eq!(filled(&row[2..]), filled(&recorded), "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marathon_without_drains_will_do() {
    let server = Server::named("a").await;
    let world = World::start_with(false, vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    assert_eq!(get_from(world.at(10000), "/", &[]).await.text(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_lets_requests_finish() {
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let slow = axum::Router::new().fallback(async move || {
        opened.cancelled().await;
        "done"
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, slow, CancellationToken::new());
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let (answer, ended, ()) = tokio::join!(
        get_from(world.at(10000), "/", &[]),
        async {
            until("the request is there", async || {
                world
                    .csv()
                    .await
                    .iter()
                    .any(|row| row[0] == "a_10000" && row[1] == "BACKEND" && row[4] == "1")
            })
            .await;
            world.edge.shut_down().await
        },
        async {
            // It listens until the end begins, which may be at once.
            world.listening(10000, false).await;
            gate.cancel();
        }
    );
    assert_eq!(answer.text(), "done");
    assert_eq!(ended, Ok(()));
}

//! What the admin port shows of a table with everything in it.

#![expect(clippy::print_stderr, reason = "a test that cannot run says why")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Server, World, app, get_from, until};

/// Apps with every label that the edge acts on, one that it does not, and a swap in the middle.
async fn full() -> (World, Vec<Server>) {
    let servers = vec![Server::named("a").await, Server::named("b").await];
    let closed = support::refusing().await;
    let check =
        json!([{"protocol": "HTTP", "path": "/health", "intervalSeconds": 1, "timeoutSeconds": 5}]);
    let checked = |mut app: Value| {
        app["healthChecks"] = check.clone();
        for task in app["tasks"].as_array_mut().unwrap() {
            task["healthCheckResults"] = json!([{"alive": true}]);
        }
        app
    };
    let mut all = checked(app(
        "/all",
        10000,
        "http",
        &[servers[0].address, servers[1].address, closed],
    ));
    for (label, value) in [
        ("VHOST", "http://x.example,y.example"),
        ("PATH", "-i /api /it's"),
        ("AUTH", "the realm:me:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"),
        ("REDIRECT_TO_HTTPS", "true"),
        ("BALANCE", "leastconn"),
        ("STICKY", "true"),
        ("USE_HSTS", "true"),
        ("BACKEND_NETWORK_ALLOWED_ACL", "127.0.0.0/8 ::1"),
        ("HTTP_BACKEND_REDIR", "/start"),
        ("HTTP_BACKEND_PROXYPASS_PATH", "/api"),
        ("HTTP_BACKEND_REVPROXY_PATH", "/api/"),
        ("BACKEND_HEAD", "  option\nx"),
    ] {
        all["labels"][format!("HAPROXY_0_{label}")] = json!(value);
    }
    let mut tcp = app("/tcp", 10001, "tcp", &[servers[0].address]);
    tcp["labels"]["HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL"] = json!("127.0.0.1");
    tcp["healthChecks"] = json!([{"protocol": "TCP", "port": servers[0].address.port()}]);
    tcp["tasks"][0]["healthCheckResults"] = json!([{"alive": true}]);
    let in_group = |name: &str, server: &Server, started: &str| {
        let mut app = app(name, 10080, "http", &[server.address]);
        app["instances"] = json!(1);
        app["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = json!("svc");
        app["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = json!(started);
        app
    };
    let blue = in_group("/svc-blue", &servers[0], "2016-01-01");
    let green = in_group("/svc-green", &servers[1], "2016-01-02");
    let world = World::start(vec![all, tcp, blue, green]).await;
    until("every check has ended", async || {
        let rows = world.csv().await;
        let of = |word: &str| {
            rows.iter()
                .filter(|row| row[0] == "all_10000" && row[17] == word)
                .count()
        };
        of("UP") == 3 && of("DOWN") == 1
    })
    .await;
    (world, servers)
}

/// The names of the page's tables.
fn tables(page: &str) -> Vec<&str> {
    page.split("<th class=\"name\"><a id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect()
}

const FIXED: [&str; 4] = [
    "stats",
    "marathon_http_in",
    "marathon_http_appid_in",
    "marathon_https_in",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_edge_has_four_tables() {
    // contract: lb-run-idle, lb-maxconn
    let world = World::start(vec![]).await;
    let page = world.stats("/haproxy?stats").await.text();
    assert_eq!(tables(&page), FIXED);
    assert_eq!(page.matches(">10\u{2009}000</td>").count(), 4, "{page}");
    assert_eq!(page.matches(">1\u{2009}000</td>").count(), 1, "{page}");
    let csv = world.stats("/haproxy?stats;csv").await.text();
    assert!(csv.ends_with(",\n"), "{csv}");
    for line in csv.lines() {
        assert_eq!(line.matches(',').count(), 62, "{line}");
    }
    assert_eq!(csv.lines().count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_haproxys_layout() {
    // contract: lb-stats-page, lb-states
    let (world, servers) = full().await;
    let page = world.stats("/haproxy?stats").await.text();
    assert!(
        page.contains("<title>Statistics Report for HAProxy</title>"),
        "{page}"
    );
    assert!(page.contains(&format!(
        "<h2>Statistics Report for pid {}</h2>",
        std::process::id()
    )));
    let pairs = ["all_10000", "svc_10080", "tcp_10001"];
    assert_eq!(tables(&page), [&FIXED[..], &pairs, &pairs].concat());
    let row = |name: &str| {
        page.lines()
            .find(|line| line.contains(&format!("a id=\"{name}\">")))
            .unwrap_or_default()
    };
    let server = |at: usize| format!("127_0_0_1_{}", servers[at].address.port());
    let up = row(&format!("all_10000/{}", server(0)));
    assert!(
        up.starts_with("<tr class=\"up\">")
            && up.contains("s UP</td>")
            && up.contains(">L7OK/200 in "),
        "{up}"
    );
    let down = page
        .lines()
        .find(|line| line.starts_with("<tr class=\"down\">"))
        .unwrap();
    assert!(
        down.contains("s DOWN</td>") && down.contains("title=\"Connection refused\""),
        "{down}"
    );
    let draining = row(&format!("svc_10080/{}", server(0)));
    assert!(
        draining.starts_with("<tr class=\"maintenance\">") && draining.contains("s MAINT</td>"),
        "{draining}"
    );
    let unchecked = row(&format!("svc_10080/{}", server(1)));
    assert!(
        unchecked.starts_with("<tr class=\"unchecked\">") && unchecked.contains("<i>no check</i>")
    );
    assert!(
        row("all_10000/FRONTEND").contains(">OPEN</td>")
            && row("all_10000/FRONTEND").contains(">10\u{2009}000</td>")
    );
    // Each row has a cell for each of the 31 columns.
    for line in page
        .lines()
        .filter(|line| line.contains("<td class=\"title\">"))
    {
        let spans = line
            .split("colspan=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse::<usize>().unwrap() - 1);
        assert_eq!(
            line.matches("<td").count() + spans.sum::<usize>(),
            31,
            "{line}"
        );
    }

    let hidden = world.stats("/haproxy?stats;up").await.text();
    assert!(!hidden.contains("<tr class=\"down\">") && hidden.contains("Show all servers"));
    let scoped = world
        .stats("/haproxy?stats;norefresh;scope=svc")
        .await
        .text();
    assert_eq!(scoped.matches("<th class=\"name\">").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_are_in_the_order_of_rules_and_nothing_is_to_be_kept() {
    // contract: lb-getvhostmap, lb-elsewhere
    let server = Server::named("a").await;
    let vhost = |id: &str, port: u16, vhost: &str, weight: &str| {
        let mut app = app(id, port, "http", &[server.address]);
        app["labels"]["HAPROXY_0_VHOST"] = json!(vhost);
        app["labels"]["HAPROXY_0_BACKEND_WEIGHT"] = json!(weight);
        app
    };
    let world = World::start(vec![
        vhost("/a", 10000, "a.example,other", "0"),
        vhost("/b", 10001, "b.example", "5"),
        vhost("/c", 10002, "c.example", "-1"),
    ])
    .await;
    let map = world.stats("/_haproxy_getvhostmap").await.text();
    let expected = "b.example b_10001\na.example a_10000\nother a_10000\nc.example c_10002\n";
    assert_eq!(map, expected);
    for path in [
        "/haproxy?stats",
        "/haproxy?stats;csv",
        "/_haproxy_health_check",
        "/_haproxy_getconfig",
        "/_haproxy_getpids",
        "/_haproxy_getvhostmap",
        "/_haproxy_getappmap",
        "/_mlb_signal/usr1",
        "/metrics",
        "/zdd/v1/status",
        "/nothing",
    ] {
        let answer = world.stats(path).await;
        let head = answer.head.to_lowercase();
        assert!(
            head.contains("\r\ncache-control: no-cache\r\n"),
            "{path}: {head}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_odd_about_apps_is_told_while_it_is() {
    // contract: lb-warnings
    let server = Server::named("a").await;
    let mut odd = app("/odd", 10000, "http", &[server.address]);
    odd["labels"]["HAPROXY_0_BALANCE"] = json!("first");
    odd["labels"]["HAPROXY_0_VHOTS"] = json!("x");
    let world = World::start(vec![odd]).await;
    let told = async || {
        let text = world.stats("/zdd/v1/status").await.text();
        let status: Value = serde_json::from_str(&text).unwrap();
        let addresses = world.edge.addresses();
        assert_eq!(status["http"], json!(addresses.http));
        assert_eq!(status["https"], json!(addresses.https));
        assert_eq!(status["attached"], true);
        let warnings = status["warnings"].as_array().unwrap().iter();
        let told = warnings.map(|it| format!("{} {}: {}", it["appId"], it["subject"], it["text"]));
        told.map(|line| line.replace('"', "")).collect::<Vec<_>>()
    };
    let warnings = told().await;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("/odd HAPROXY_0_BALANCE: "));
    assert!(warnings[1].starts_with("/odd HAPROXY_0_VHOTS: ") && warnings[1].contains("VHOST"));
    world
        .marathon
        .put(app("/odd", 10000, "http", &[server.address]));
    until("nothing is odd", async || told().await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_one_that_haproxy_takes() {
    // contract: lb-getconfig, lb-unsupported
    let (world, _servers) = full().await;
    let config = world.stats("/_haproxy_getconfig").await.text();
    assert!(
        config.contains("\n# warning: /all HAPROXY_0_BACKEND_HEAD: not supported: "),
        "{config}"
    );
    assert!(
        config.contains("\n# warning: /all HAPROXY_0_VHOST: "),
        "{config}"
    );
    assert!(
        !config.contains("$1$"),
        "a password is nobody's business: {config}"
    );
    assert!(
        config.contains("\nbackend svc_10080\n  balance roundrobin\n"),
        "{config}"
    );
    assert_eq!(
        config
            .lines()
            .filter(|line| line.ends_with(" disabled"))
            .count(),
        1,
        "{config}"
    );
    let file = std::env::temp_dir().join(format!("zddcluster-haproxy-{}.cfg", std::process::id()));
    std::fs::write(&file, &config).unwrap();
    let checked = Command::new("haproxy")
        .arg("-c")
        .arg("-f")
        .arg(&file)
        .output();
    let _ = std::fs::remove_file(&file);
    match checked {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{said}\n{config}");
            assert!(!said.contains("[WARNING]"), "{said}\n{config}");
        }
        Err(error) => eprintln!("not held against HAProxy: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn measurements_have_the_exporters_names() {
    // contract: lb-metrics
    let (world, servers) = full().await;
    get_from(world.at(10080), "/", &[]).await;
    let metrics = world.stats("/metrics").await.text();
    let up = |proxy: &str, at: usize, value: u8| {
        let port = servers[at].address.port();
        format!("haproxy_server_up{{proxy=\"{proxy}\",server=\"127_0_0_1_{port}\"}} {value}")
    };
    for line in [
        up("all_10000", 0, 1),
        up("svc_10080", 0, 0),
        up("svc_10080", 1, 1),
        "haproxy_backend_up{proxy=\"all_10000\"} 1".to_owned(),
        "haproxy_backend_active_servers{proxy=\"all_10000\"} 2".to_owned(),
        "haproxy_frontend_http_requests_total{proxy=\"svc_10080\"} 1".to_owned(),
        "haproxy_server_check_failures_total{proxy=\"all_10000\"".to_owned(),
        "haproxy_server_downtime_seconds_total{proxy=\"all_10000\"".to_owned(),
    ] {
        assert!(
            metrics.lines().any(|it| it.starts_with(&line)),
            "{line} in {metrics}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_of_a_draining_server_show_as_three_pids() {
    // contract: lb-pids, lb-zdd-drain
    let gate = tokio_util::sync::CancellationToken::new();
    let opened = gate.clone();
    let slow = axum::Router::new().fallback(async move || {
        opened.cancelled().await;
        "old"
    });
    let (old, new) = (Server::start(slow).await, Server::named("new").await);
    let in_group = |name: &str, server: &Server, started: &str| {
        let mut app = app(name, 10080, "http", &[server.address]);
        app["instances"] = json!(1);
        app["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = json!("svc");
        app["labels"]["HAPROXY_DEPLOYMENT_STARTED_AT"] = json!(started);
        app
    };
    let world = World::start(vec![in_group("/svc-blue", &old, "1")]).await;
    world.listening(10080, true).await;
    let pids = async || world.stats("/_haproxy_getpids").await.text();
    let (answer, ()) = tokio::join!(get_from(world.at(10080), "/", &[]), async {
        until("the request is there", async || old.count() == 1).await;
        assert_eq!(pids().await.split(' ').count(), 1);
        world.marathon.put(in_group("/svc-green", &new, "2"));
        until("three pids", async || pids().await.split(' ').count() == 3).await;
        let row = world
            .csv()
            .await
            .into_iter()
            .find(|row| row[0] == "svc_10080" && row[17] == "MAINT")
            .unwrap();
        assert_eq!(row[4], "1", "an honest scur");
        assert_eq!(get_from(world.at(10080), "/", &[]).await.text(), "new");
        gate.cancel();
    });
    assert_eq!(answer.text(), "old", "what was open is let finish");
    until("one pid", async || {
        pids().await == std::process::id().to_string()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_ready_is_routed_without_an_event() {
    // contract: lb-readiness
    let server = Server::named("a").await;
    let mut unready = app("/a", 10000, "http", &[server.address]);
    unready["readinessCheckResults"] = json!([{"taskId": "a.0", "ready": false}]);
    let world = World::start(vec![unready.clone()]).await;
    assert!(world.csv().await.iter().all(|row| row[0] != "a_10000"));
    unready["readinessCheckResults"] = json!([]);
    world.marathon.put_silently(unready);
    world.listening(10000, true).await;
}

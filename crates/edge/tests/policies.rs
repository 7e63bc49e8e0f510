//! What labels do to requests and answers.

mod support;

use std::collections::BTreeSet;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use serde_json::{Value, json};
use support::{Answer, Server, World, app, get_from};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// `me:secret`.
const AUTH: &str = "the realm:me:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1";
const CREDENTIALS: &str = "Authorization: Basic bWU6c2VjcmV0";

/// An app on 10000 with these labels (after `HAPROXY_0_`).
fn labelled(server: &Server, labels: &[(&str, &str)]) -> Value {
    support::labelled("/a", 10000, server, labels)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines
        .filter(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhost_with_a_password() {
    // contract: lb-auth, lb-vhost-only, lb-answer-401
    let server = Server::named("a").await;
    let world = World::start(vec![labelled(&server, &[("VHOST", "x"), ("AUTH", AUTH)])]).await;
    world.listening(10000, true).await;
    let addresses = world.edge.addresses();
    let http = addresses.http.unwrap();
    let refused = get_from(http, "/", &["Host: x"]).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(
        header(&refused, "WWW-Authenticate"),
        ["Basic realm=\"the realm\""]
    );
    assert!(
        refused
            .text()
            .starts_with("<html><body><h1>401 Unauthorized</h1>\n"),
        "{}",
        refused.text()
    );
    assert_eq!(
        get_from(http, "/", &["Host: x", CREDENTIALS]).await.text(),
        "a"
    );
    // The service port and the port for app ids ask for nothing.
    assert_eq!(
        get_from(world.at(10000), "/", &["Host: x"]).await.text(),
        "a"
    );
    assert_eq!(
        get_from(addresses.app_id, "/", &["X-Marathon-App-Id: /a"])
            .await
            .text(),
        "a"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vhost_that_is_only_served_with_tls() {
    // contract: lb-redirect-to-https, lb-vhost-only, lb-answer-redirect
    let server = Server::named("a").await;
    let labels = [
        ("VHOST", "x"),
        ("PATH", "/safe"),
        ("REDIRECT_TO_HTTPS", "true"),
    ];
    let world = World::start(vec![labelled(&server, &labels)]).await;
    world.listening(10000, true).await;
    let http = world.edge.addresses().http.unwrap();
    let moved = get_from(http, "/safe/a?b=c", &["Host: x"]).await;
    assert_eq!((moved.status(), moved.text().as_str()), (301, ""));
    let https = world.edge.addresses().https.unwrap().port();
    assert_eq!(
        header(&moved, "Location"),
        [format!("https://x:{https}/safe/a?b=c")]
    );
    assert_eq!(get_from(http, "/other", &["Host: x"]).await.status(), 503);
    assert_eq!(
        get_from(world.at(10000), "/safe", &["Host: x"])
            .await
            .text(),
        "a"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_that_are_kept_out() {
    // contract: lb-network-acl, lb-answer-403
    let server = Server::named("a").await;
    const LABEL: &str = "BACKEND_NETWORK_ALLOWED_ACL";
    let shut = labelled(&server, &[("VHOST", "x"), (LABEL, "10.0.0.0/8 ::1")]);
    let mut tcp = app("/tcp", 10001, "tcp", &[server.address]);
    tcp["labels"][format!("HAPROXY_0_{LABEL}")] = json!("10.0.0.0/8");
    let mut open = app("/open", 10002, "http", &[server.address]);
    open["labels"][format!("HAPROXY_0_{LABEL}")] = json!("127.0.0.0/8");
    let world = World::start(vec![shut, tcp, open]).await;
    for port in [10000, 10001, 10002] {
        world.listening(port, true).await;
    }
    for address in [world.at(10000), world.edge.addresses().http.unwrap()] {
        let answer = get_from(address, "/", &["Host: x"]).await;
        assert_eq!(answer.status(), 403);
        assert!(
            answer
                .text()
                .starts_with("<html><body><h1>403 Forbidden</h1>\n")
        );
    }
    let mut stream = TcpStream::connect(world.at(10001)).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"", "closed without a byte");
    assert_eq!(get_from(world.at(10002), "/", &[]).await.text(), "a");
    assert_eq!(server.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_stay_with_a_server_by_cookie() {
    // contract: lb-sticky, lb-use-hsts
    let servers = [Server::named("a").await, Server::named("b").await];
    let addresses = servers.each_ref().map(|server| server.address);
    let mut sticky = app("/a", 10000, "http", &addresses);
    sticky["labels"]["HAPROXY_0_STICKY"] = json!("true");
    sticky["labels"]["HAPROXY_0_USE_HSTS"] = json!("true");
    let world = World::start(vec![sticky.clone()]).await;
    world.listening(10000, true).await;
    let first = get_from(world.at(10000), "/", &["Cookie: other=1"]).await;
    assert_eq!(header(&first, "Cache-Control"), ["private"]);
    assert_eq!(
        header(&first, "Strict-Transport-Security"),
        ["max-age=15768000"]
    );
    let given = header(&first, "Set-Cookie");
    let (pair, path) = given[0].split_once("; ").unwrap();
    assert_eq!(path, "path=/");
    assert_eq!(
        pair.strip_prefix("mesosphere_server_id=").unwrap().len(),
        10
    );
    let cookie = format!("Cookie: z=1; {pair}; y=2");
    for _ in 0..4 {
        let answer = get_from(world.at(10000), "/", &[&cookie]).await;
        assert_eq!(answer.text(), first.text());
        assert_eq!(header(&answer, "Set-Cookie"), [""; 0]);
    }
    let head = get_from(world.at(10000), "/head", &[&cookie]).await.text();
    assert!(head.contains("cookie: z=1; y=2\n"), "{head}");
    let alone = format!("Cookie: {pair}");
    assert!(
        !get_from(world.at(10000), "/head", &[&alone])
            .await
            .text()
            .contains("cookie")
    );

    // Its server goes; another one takes the client over.
    let task = sticky["tasks"].as_array().unwrap().iter().position(|task| {
        let at = usize::from(first.text() == "b");
        task["ports"][0] == addresses[at].port()
    });
    let gone = sticky["tasks"]
        .as_array_mut()
        .unwrap()
        .remove(task.unwrap());
    world.marathon.put(sticky);
    support::until("the server is gone", async || {
        let name = format!("127_0_0_1_{}", gone["ports"][0]);
        world.csv().await.iter().all(|row| row[1] != name)
    })
    .await;
    let moved = get_from(world.at(10000), "/", &[&cookie]).await;
    assert_ne!(moved.text(), first.text());
    assert_ne!(header(&moved, "Set-Cookie"), given);
    assert_eq!(header(&moved, "Set-Cookie").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_change_on_the_way() {
    // contract: lb-proxypass, lb-revproxy, lb-redir
    let router = Router::new()
        .route("/moved", get(async || Redirect::temporary("/login?x")))
        .route(
            "/away",
            get(async || Redirect::temporary("http://elsewhere/login")),
        )
        .fallback(get(async |request: axum::extract::Request| {
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            format!("{host} {}", request.uri())
        }));
    let server = Server::start(router).await;
    let labels = [
        ("VHOST", "x,y"),
        ("HTTP_BACKEND_PROXYPASS_PATH", "/api"),
        ("HTTP_BACKEND_REVPROXY_PATH", "/api"),
        ("HTTP_BACKEND_REDIR", "/api/start"),
    ];
    let world = World::start(vec![labelled(&server, &labels)]).await;
    world.listening(10000, true).await;
    let get = |path| get_from(world.at(10000), path, &["Host: y"]);
    assert_eq!(get("/api/v1?q").await.text(), "x /v1?q");
    assert_eq!(get("/other").await.text(), "x /other");
    assert_eq!(
        header(&get("/api/moved").await, "Location"),
        ["/api/login?x"]
    );
    assert_eq!(
        header(&get("/api/away").await, "Location"),
        ["http://elsewhere/login"]
    );
    let root = get("/").await;
    assert_eq!(
        (root.status(), header(&root, "Location")),
        (301, vec!["/api/start"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_always_meets_the_same_server() {
    // contract: lb-balance
    let servers = [
        Server::named("a").await,
        Server::named("b").await,
        Server::named("c").await,
    ];
    let addresses = servers.each_ref().map(|server| server.address);
    let mut app = app("/a", 10000, "http", &addresses);
    app["labels"]["HAPROXY_0_BALANCE"] = json!("source");
    let world = World::start(vec![app]).await;
    world.listening(10000, true).await;
    let mut answers = BTreeSet::new();
    for _ in 0..9 {
        answers.insert(get_from(world.at(10000), "/", &[]).await.text());
    }
    assert_eq!(answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_tells_who_the_client_is() {
    // contract: lb-users-trust
    let server = Server::named("a").await;
    let labels = [
        ("VHOST", "x"),
        ("REDIRECT_TO_HTTPS", "true"),
        ("BACKEND_NETWORK_ALLOWED_ACL", "10.1.0.0/16"),
    ];
    let apps = || vec![labelled(&server, &labels)];
    let lines = [
        "X-Forwarded-For: 1.1.1.1, 10.1.2.3",
        "X-Forwarded-Port: 443",
        "X-Forwarded-Proto: https",
    ];
    // Who is not trusted is himself, whatever he says.
    let world = World::start(apps()).await;
    world.listening(10000, true).await;
    let refused = get_from(world.at(10000), "/", &lines).await;
    assert_eq!(refused.status(), 403);
    let trust = |config: &mut zddcluster_edge::Config| {
        config.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let world = World::start_as(trust, &[], true, apps()).await;
    world.listening(10000, true).await;
    let seen = get_from(world.at(10000), "/head", &lines).await;
    assert_eq!(seen.status(), 200, "{}", seen.head);
    let text = seen.text();
    let forwarded: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("x-forwarded"))
        .collect();
    assert_eq!(
        forwarded,
        [
            "x-forwarded-for: 1.1.1.1, 10.1.2.3",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
        ]
    );
    let other = ["X-Forwarded-For: 10.2.0.1"];
    assert_eq!(get_from(world.at(10000), "/", &other).await.status(), 403);
    // The client has TLS with the other proxy: it is not sent round in circles.
    let http = world.edge.addresses().http.unwrap();
    let mut of_vhost = lines.to_vec();
    of_vhost.push("Host: x");
    assert_eq!(get_from(http, "/", &of_vhost).await.status(), 200);
    assert_eq!(get_from(http, "/", &["Host: x"]).await.status(), 301);
}

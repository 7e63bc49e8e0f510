//! Gateways: what the API takes, and where requests go then.

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{Answer, Server, World, app, exchange, get_from, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zddcluster_runtime::Token;

const PORT: u16 = 10_099;
const TOKEN: &str = "a-token-of-the-cluster";

/// Asks the admin port of an edge.
async fn call(stats: SocketAddr, method: &str, path: &str, body: &str, more: &str) -> Answer {
    let n = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {stats}\r\nConnection: close\r\nContent-Length: {n}\r\n{more}\r\n{body}"
    );
    exchange(stats, request.as_bytes()).await
}

/// Puts a gateway.
async fn put(world: &World, name: &str, gateway: &Value) -> Answer {
    let path = format!("/zdd/v1/gateways/{name}");
    let stats = world.edge.addresses().stats;
    call(stats, "PUT", &path, &gateway.to_string(), "").await
}

/// An app in no group, so that labels expose nothing of it.
fn hidden(id: &str, servers: &[&Server]) -> Value {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut app = app(id, 10_500, "http", &addresses);
    app["labels"] = json!({});
    app
}

fn route(name: &str, weight: u32, to: Value) -> Value {
    json!({"name": name, "weight": weight, "to": to})
}

fn to_app(id: &str) -> Value {
    json!({"app": {"id": id}})
}

/// Two versions on the port.
fn two(old: u32, new: u32) -> Value {
    json!({"listen": {"port": PORT},
           "routes": [route("old", old, to_app("/old")), route("new", new, to_app("/new"))]})
}

async fn two_versions() -> World {
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    World::start(vec![hidden("/old", &[&old]), hidden("/new", &[&new])]).await
}

/// What `n` requests over fresh connections are answered.
async fn ask(address: SocketAddr, n: usize, headers: &[&str]) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..n {
        answers.push(get_from(address, "/", headers).await.text());
    }
    answers
}

fn count(answers: &[String], name: &str) -> usize {
    answers.iter().filter(|answer| *answer == name).count()
}

/// A kept connection.
struct Kept(TcpStream);

impl Kept {
    async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    /// The body of the next answer, which has as many bytes as a version's name.
    async fn ask(&mut self) -> String {
        self.0
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"old") && !bytes.ends_with(b"new") {
            let mut piece = [0; 512];
            let n = self.0.read(&mut piece).await.unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&bytes));
            bytes.extend_from_slice(&piece[..n]);
        }
        String::from_utf8_lossy(&bytes[bytes.len() - 3..]).into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_are_exact_over_connections_of_all_kinds() {
    // contract: lb-gateway-weights, lb-gateway-change
    let world = two_versions().await;
    assert_eq!(put(&world, "shop", &two(80, 20)).await.status(), 201);
    world.listening(PORT, true).await;
    let address = world.at(PORT);
    let mut kept = Kept::open(address).await;
    let mut answers = Vec::new();
    for n in 0..100 {
        match n % 3 {
            0 => answers.push(kept.ask().await),
            _ => answers.extend(ask(address, 1, &[]).await),
        }
    }
    for five in answers.windows(5) {
        assert_eq!(count(five, "old"), 4, "{answers:?}");
    }
    // The connection that was open all the time follows the change.
    assert_eq!(put(&world, "shop", &two(0, 100)).await.status(), 200);
    for _ in 0..5 {
        assert_eq!(kept.ask().await, "new");
    }
    assert_eq!(put(&world, "shop", &two(50, 50)).await.status(), 200);
    let answers = ask(address, 10, &[]).await;
    assert_eq!((count(&answers, "old"), count(&answers, "new")), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_leaves_weights_alone_leaves_the_turn_alone() {
    let world = two_versions().await;
    put(&world, "shop", &two(80, 20)).await;
    world.listening(PORT, true).await;
    let address = world.at(PORT);
    let mut answers = Vec::new();
    for n in 0..50 {
        answers.extend(ask(address, 1, &[]).await);
        let mut same = two(80, 20);
        same["listen"]["vhosts"] = json!([format!("h{n}")]);
        assert_eq!(put(&world, "shop", &same).await.status(), 200);
    }
    for five in answers.windows(5) {
        assert_eq!(count(five, "old"), 4, "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_come_first_and_have_a_strength() {
    // contract: lb-gateway-condition
    let world = two_versions().await;
    let mut gateway = two(100, 0);
    gateway["routes"][1]["condition"] =
        json!({"header": {"name": "User-Agent", "is": {"contains": "Firefox"}}});
    put(&world, "shop", &gateway).await;
    world.listening(PORT, true).await;
    let address = world.at(PORT);
    let firefox = ["User-Agent: Mozilla/5.0 Firefox/130"];
    assert_eq!(count(&ask(address, 6, &firefox).await, "new"), 6);
    assert_eq!(count(&ask(address, 6, &["User-Agent: x"]).await, "old"), 6);
    assert_eq!(count(&ask(address, 6, &[]).await, "old"), 6);
    // Of what meets it a quarter; the rest goes by weight.
    gateway["routes"][1]["strength"] = json!(25);
    put(&world, "shop", &gateway).await;
    let answers = ask(address, 40, &firefox).await;
    assert_eq!((count(&answers, "new"), count(&answers, "old")), (10, 30));
    // By cookie and by path.
    gateway["routes"][1]["strength"] = json!(100);
    gateway["routes"][1]["condition"] = json!({"all": [
        {"cookie": {"name": "beta", "is": {"equals": "yes"}}},
        {"not": {"path": {"is": {"startsWith": "/old"}}}}]});
    put(&world, "shop", &gateway).await;
    let beta = ["Cookie: a=1; beta=yes"];
    assert_eq!(get_from(address, "/", &beta).await.text(), "new");
    assert_eq!(get_from(address, "/old", &beta).await.text(), "old");
    assert_eq!(
        get_from(address, "/", &["Cookie: beta=no"]).await.text(),
        "old"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_there_is_passed_over() {
    // contract: lb-gateway-absent
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let world = World::start(vec![hidden("/old", &[&old])]).await;
    put(&world, "shop", &two(80, 20)).await;
    world.listening(PORT, true).await;
    let address = world.at(PORT);
    assert_eq!(count(&ask(address, 10, &[]).await, "old"), 10);
    world.marathon.put(hidden("/new", &[&new]));
    until("the other takes its part", async || {
        ask(address, 1, &[]).await == ["new"]
    })
    .await;
    let answers = ask(address, 10, &[]).await;
    assert_eq!((count(&answers, "old"), count(&answers, "new")), (8, 2));
    // A task that drains takes nothing more, and its route's part goes to the other.
    world.marathon.drain("old.0").await;
    until("it is drained", async || {
        world.marathon.noted("drained old.0")
    })
    .await;
    assert_eq!(count(&ask(address, 10, &[]).await, "new"), 10);
    world.marathon.remove("/new");
    until("nobody is left", async || {
        get_from(address, "/", &[]).await.status() == 503
    })
    .await;
    // All weights 0 are nobody too.
    world.marathon.put(hidden("/new", &[&new]));
    until("it is back", async || ask(address, 1, &[]).await == ["new"]).await;
    put(&world, "shop", &two(0, 0)).await;
    assert_eq!(get_from(address, "/", &[]).await.status(), 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_costs_nobody_an_answer() {
    let new = Server::named("new").await;
    let world = World::start(vec![hidden("/new", &[&new])]).await;
    let refusing = support::refusing().await;
    let gateway = json!({"listen": {"port": PORT}, "routes": [
        route("old", 50, json!({"servers": [refusing]})), route("new", 50, to_app("/new"))]});
    put(&world, "shop", &gateway).await;
    world.listening(PORT, true).await;
    assert_eq!(count(&ask(world.at(PORT), 10, &[]).await, "new"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_paths_and_other_gateways_lead_to_it() {
    // contract: lb-gateway-listen, lb-gateway-target
    let (old, new, labelled) = (
        Server::named("old").await,
        Server::named("new").await,
        Server::named("labelled").await,
    );
    let mut exposed = app("/exposed", 10_080, "http", &[labelled.address]);
    exposed["labels"]["HAPROXY_0_VHOST"] = json!("shop.example");
    let world = World::start(vec![hidden("/old", &[&old]), exposed]).await;
    world.listening(10_080, true).await;
    let http = world.edge.addresses().http.unwrap();
    let shop = ["Host: Shop.example:8000"];
    assert_eq!(get_from(http, "/a", &shop).await.text(), "labelled");
    // The inner one has neither port nor hosts.
    let inner = json!({"routes": [
        route("old", 1, to_app("/old")), route("new", 1, json!({"servers": [new.address]}))]});
    assert_eq!(put(&world, "a/inner", &inner).await.status(), 201);
    let outer = json!({"listen": {"vhosts": ["shop.example"], "paths": ["/a"]},
        "routes": [route("in", 1, json!({"gateway": "a/inner"})),
                   route("labels", 1, json!({"backend": "exposed_10080"}))]});
    assert_eq!(put(&world, "outer", &outer).await.status(), 201);
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(get_from(http, "/a/b", &shop).await.text());
    }
    let counts = ["old", "new", "labelled"].map(|name| count(&answers, name));
    assert_eq!(counts, [2, 2, 4]);
    // What it does not claim is as before, and the app is told of the rest.
    assert_eq!(get_from(http, "/b", &shop).await.text(), "labelled");
    let config = world.stats("/_haproxy_getconfig").await.text();
    assert!(
        config.contains("# warning: /exposed vhost shop.example: is that of the gateway outer too"),
        "{config}"
    );
    let stats = world.edge.addresses().stats;
    let one = call(stats, "GET", "/zdd/v1/gateways/a%2Finner", "", "").await;
    assert_eq!(one.status(), 200);
    let gone = call(stats, "DELETE", "/zdd/v1/gateways/outer", "", "").await;
    assert_eq!(gone.status(), 204);
    assert_eq!(get_from(http, "/a/b", &shop).await.text(), "labelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_dealt_out_too() {
    let world = two_versions().await;
    let mut gateway = two(3, 1);
    gateway["listen"]["mode"] = json!("tcp");
    put(&world, "shop", &gateway).await;
    world.listening(PORT, true).await;
    // The probes that waited for the listener had turns of their own.
    put(
        &world,
        "shop",
        &json!({"listen": {"port": PORT, "mode": "tcp"}, "routes": [
        route("old", 6, to_app("/old")), route("new", 2, to_app("/new"))]}),
    )
    .await;
    let answers = ask(world.at(PORT), 8, &[]).await;
    assert_eq!((count(&answers, "old"), count(&answers, "new")), (6, 2));
    let stats = world.edge.addresses().stats;
    call(stats, "DELETE", "/zdd/v1/gateways/shop", "", "").await;
    world.listening(PORT, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_fail_closed_hold_for_gateways() {
    // contract: lb-gateway-target
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let mut open = hidden("/old", &[&old]);
    open["labels"] = json!({"HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8"});
    let mut withheld = hidden("/new", &[&new]);
    withheld["labels"] = json!({"HAPROXY_0_BACKEND_NETWORK_ALLOWED_ACL": "nonsense"});
    let world = World::start(vec![open, withheld]).await;
    put(&world, "shop", &two(0, 1)).await;
    world.listening(PORT, true).await;
    assert_eq!(get_from(world.at(PORT), "/", &[]).await.status(), 503);
    let config = world.stats("/_haproxy_getconfig").await.text();
    assert!(config.contains("# warning: /new gateway shop:"), "{config}");
    put(&world, "shop", &two(1, 0)).await;
    assert_eq!(get_from(world.at(PORT), "/", &[]).await.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_s_port_is_its_own() {
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let world = World::start(vec![
        app("/labelled", PORT, "http", &[old.address]),
        hidden("/new", &[&new]),
    ])
    .await;
    world.listening(PORT, true).await;
    assert_eq!(ask(world.at(PORT), 1, &[]).await, ["old"]);
    put(&world, "shop", &two(0, 1)).await;
    assert_eq!(count(&ask(world.at(PORT), 4, &[]).await, "new"), 4);
    let config = world.stats("/_haproxy_getconfig").await.text();
    let warning =
        "# warning: /labelled port 10099: is that of the gateway shop: the app is not served there";
    assert!(config.contains(warning), "{config}");
    let stats = world.edge.addresses().stats;
    call(stats, "DELETE", "/zdd/v1/gateways/shop", "", "").await;
    assert_eq!(ask(world.at(PORT), 1, &[]).await, ["old"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_seen() {
    // contract: lb-gateway-seen
    let world = two_versions().await;
    put(&world, "a/shop", &two(80, 20)).await;
    world.listening(PORT, true).await;
    let n_before = world.csv().await.len();
    assert_eq!(count(&ask(world.at(PORT), 5, &[]).await, "old"), 4);
    let rows = world.csv().await;
    let named = |name: &str| -> Vec<String> {
        let of = rows.iter().filter(|row| row[0] == name);
        of.map(|row| row[1].clone()).collect()
    };
    assert_eq!(named("gateway:a_shop"), ["FRONTEND"]);
    assert_eq!(named("gateway:a_shop:old").last().unwrap(), "BACKEND");
    assert_eq!(named("gateway:a_shop:old").len(), 2);
    let total = |name: &str, row: &str| {
        let found = rows.iter().find(|it| it[0] == name && it[1] == row);
        found.unwrap()[7].parse::<u64>().unwrap()
    };
    assert_eq!(total("gateway:a_shop:new", "BACKEND"), 1);
    assert_eq!(rows.len(), n_before);
    let metrics = world.stats("/metrics").await.text();
    for line in [
        r#"haproxy_frontend_http_requests_total{proxy="gateway:a_shop"} 5"#,
        r#"haproxy_backend_http_responses_total{proxy="gateway:a_shop:old",code="2xx"} 4"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let config = world.stats("/_haproxy_getconfig").await.text();
    let lines = "# gateway a/shop, on port 10099:\n#   old, weight 80: gateway:a_shop:old\n";
    assert!(config.contains(lines), "{config}");
    let page = world.stats("/haproxy?stats").await.text();
    assert!(page.contains("gateway:a_shop:new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_and_changes_nothing() {
    // contract: lb-gateway-refused
    let world = two_versions().await;
    let stats = world.edge.addresses().stats;
    assert_eq!(put(&world, "shop", &two(80, 20)).await.status(), 201);
    let all = call(stats, "GET", "/zdd/v1/gateways", "", "").await.text();
    let own = world.edge.addresses().http.unwrap().port();
    let mut expression = two(1, 1);
    expression["routes"][0]["condition"] = json!({"path": {"is": {"matches": "("}}});
    for (name, gateway, status, reason) in [
        ("shop", json!([1]), 400, "the body is not as it should be: "),
        (
            "shop",
            json!({"routes": []}),
            400,
            "the gateway \\\"shop\\\" has no routes",
        ),
        (
            "shop",
            json!({"name": "x", "routes": []}),
            400,
            "the body is about the gateway",
        ),
        (
            "shop",
            expression,
            400,
            "the condition of the route \\\"old\\\" cannot be used",
        ),
        (
            "other",
            two(1, 1),
            409,
            "the port 10099 is that of the gateway",
        ),
        (
            "shop",
            json!({"listen": {"port": own}, "routes": two(1, 1)["routes"]}),
            409,
            "is the edge's own",
        ),
        (
            "shop",
            json!({"listen": {"port": stats.port()}, "routes": two(1, 1)["routes"]}),
            409,
            "is the edge's own",
        ),
        (
            "shop",
            json!({"routes": [route("r", 1, json!({"gateway": "shop"}))]}),
            409,
            "leads to itself",
        ),
    ] {
        let answer = put(&world, name, &gateway).await;
        assert_eq!(answer.status(), status, "{gateway}: {}", answer.text());
        assert!(answer.text().contains(reason), "{}", answer.text());
        assert!(
            answer.text().starts_with("{\"message\":"),
            "{}",
            answer.text()
        );
    }
    for method in ["GET", "DELETE"] {
        let unknown = call(stats, method, "/zdd/v1/gateways/nope", "", "").await;
        assert_eq!(unknown.status(), 404, "{}", unknown.text());
    }
    // A page that the user happens to see.
    let page = call(
        stats,
        "DELETE",
        "/zdd/v1/gateways/shop",
        "",
        "Origin: http://evil.example\r\n",
    );
    assert_eq!(page.await.status(), 403);
    // All or nothing.
    let both = json!({"gateways": [{"name": "a", "routes": two(1, 1)["routes"]}, {"name": "b", "routes": []}]});
    let refused = call(stats, "PUT", "/zdd/v1/gateways", &both.to_string(), "").await;
    assert_eq!(refused.status(), 400);
    assert_eq!(
        call(stats, "GET", "/zdd/v1/gateways", "", "").await.text(),
        all
    );
    let none = call(stats, "PUT", "/zdd/v1/gateways", r#"{"gateways": []}"#, "").await;
    assert_eq!(
        (none.status(), none.text().as_str()),
        (200, r#"{"gateways":[]}"#)
    );
    world.listening(PORT, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_who_has_it_may_see_and_change_them() {
    let token = Token::parse(TOKEN).unwrap();
    let world = World::start_as(|config| config.token = Some(token), &[], true, vec![]).await;
    let stats = world.edge.addresses().stats;
    for more in ["", "Authorization: Bearer another-token-of-mine\r\n"] {
        let refused = call(stats, "GET", "/zdd/v1/gateways", "", more).await;
        assert_eq!(refused.status(), 401, "{}", refused.text());
    }
    let shown = format!("Authorization: Bearer {TOKEN}\r\n");
    let read = call(stats, "GET", "/zdd/v1/gateways", "", &shown).await;
    assert_eq!(read.status(), 200);
    // The original's own pages stay open.
    assert_eq!(world.stats("/haproxy?stats;csv").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_file_they_outlive_the_edge() {
    // contract: lb-gateway-kept
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateways.json");
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let apps = vec![hidden("/old", &[&old]), hidden("/new", &[&new])];
    let start = async |path: std::path::PathBuf| {
        let apps = apps.clone();
        World::start_as(|config| config.gateways = Some(path), &[], true, apps).await
    };
    let world = start(path.clone()).await;
    assert_eq!(put(&world, "shop", &two(0, 1)).await.status(), 201);
    drop(world);
    let world = start(path).await;
    world.listening(PORT, true).await;
    assert_eq!(ask(world.at(PORT), 2, &[]).await, ["new", "new"]);
    // What cannot be written is not done.
    let world = start(directory.path().join("nowhere/gateways.json")).await;
    let refused = put(&world, "shop", &two(1, 0)).await;
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(refused.text().contains("nothing has changed"));
    let stats = world.edge.addresses().stats;
    let all = call(stats, "GET", "/zdd/v1/gateways", "", "").await;
    assert_eq!(all.text(), r#"{"gateways":[]}"#);
}

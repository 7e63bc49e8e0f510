//! The HTTP API against the exchanges recorded from the original.

use axum::body::Bytes;
use http::{Method, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use support::master::Master;
use tokio::net::{TcpListener, UdpSocket};
use zddcluster_client::HttpClient;
use zddcluster_dns::{Handle, HttpConfig, start};
use zddcluster_runtime::Tasks;

mod support;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);

/// Exchanges that are ours on purpose.
const DIFFERENT: [(&str, &str); 1] = [(
    "/v1/services/_nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn5._tcp.marathon.mesos",
    "a task whose label does not fit in a message has a shorter one, over HTTP too",
)];

#[derive(Deserialize)]
struct Exchange {
    profile: String,
    method: String,
    path: String,
    #[serde(default)]
    request_headers: std::collections::BTreeMap<String, String>,
    status: u16,
    headers: std::collections::BTreeMap<String, String>,
    body: Option<String>,
    json: Option<Value>,
    order: Option<String>,
}

async fn dns(profile: &str, master: &Master, tasks: &Tasks) -> Handle {
    let mut config = support::server(profile, &master.url()).await;
    config.http = Some(HttpConfig {
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        allowed_hosts: Vec::new(),
        enumeration_on: profile != "notruncate",
    });
    config.forward = support::forward(profile);
    config.file = Some("PATH".to_owned());
    let dns = start(config, tasks).expect("a good configuration");
    tokio::time::timeout(LIMIT, dns.ready())
        .await
        .expect("a first state");
    dns
}

async fn send(dns: &Handle, exchange: &Exchange) -> (u16, String, String) {
    let address = dns.http_address().expect("it has one");
    let mut request = Request::builder()
        .method(Method::from_bytes(exchange.method.as_bytes()).expect("a method"))
        .uri(format!("http://{address}{}", exchange.path));
    for (name, value) in &exchange.request_headers {
        request = request.header(name, value);
    }
    let request = request.body(Bytes::new()).expect("a request");
    let answer = HttpClient::new().send(request, LIMIT).await.expect("sent");
    let content_type = answer.headers()["content-type"].to_str().expect("text");
    let content_type = content_type.to_owned();
    let status = answer.status().as_u16();
    let body = String::from_utf8(answer.into_body().to_vec()).expect("text");
    (status, content_type, body)
}

/// What is another value here than where it was recorded: our ports, our version.
fn neutral(body: &str) -> String {
    let ours = ["\"Port\"", "\"HttpPort\"", "\"Version\""];
    let lines = body
        .lines()
        .filter(|line| !ours.iter().any(|key| line.trim_start().starts_with(key)));
    lines.collect::<Vec<_>>().join("\n")
}

fn sorted(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list");
    let mut list: Vec<String> = list.iter().map(Value::to_string).collect();
    list.sort();
    list
}

#[tokio::test]
async fn every_recorded_exchange() {
    let exchanges: Vec<Exchange> =
        serde_json::from_str(include_str!("data/mesos-dns-http-golden.json")).expect("JSON");
    let master = Master::start(support::state_document()).await;
    let mut n_checked = 0;
    for profile in ["lab", "defaults", "forward", "notruncate"] {
        let tasks = Tasks::new();
        let dns = dns(profile, &master, &tasks).await;
        for exchange in exchanges.iter().filter(|e| e.profile == profile) {
            n_checked += 1;
            let (status, content_type, body) = send(&dns, exchange).await;
            let what = format!("{} {} of {profile}", exchange.method, exchange.path);
            assert_eq!(status, exchange.status, "{what}");
            assert_eq!(content_type, exchange.headers["content-type"], "{what}");
            let is_different =
                |(path, _): &(&str, &str)| exchange.path == *path || what.ends_with(path);
            if DIFFERENT.iter().any(is_different) {
                assert_ne!(Some(&body), exchange.body.as_ref(), "{what} is as recorded");
                continue;
            }
            if let Some(expected) = &exchange.body {
                assert_eq!(neutral(&body), neutral(expected), "{what}");
            } else if let Some(expected) = &exchange.json {
                assert_eq!(exchange.order.as_deref(), Some("any"), "{what}");
                let body: Value = serde_json::from_str(&body).expect("JSON");
                assert_eq!(sorted(&body), sorted(expected), "{what}");
            }
        }
        tasks.shut_down(LIMIT).await.expect("all ends");
    }
    assert_eq!(n_checked, exchanges.len());
    master.stop().await;
}

#[tokio::test]
async fn what_can_be_listed_is_what_is_served() {
    let master = Master::start(support::state_document()).await;
    let tasks = Tasks::new();
    let dns = dns("lab", &master, &tasks).await;
    let get = async |path: &str| {
        let exchange = Exchange {
            profile: String::new(),
            method: "GET".to_owned(),
            path: path.to_owned(),
            request_headers: [].into(),
            status: 200,
            headers: [].into(),
            body: None,
            json: None,
            order: None,
        };
        let (status, _, body) = send(&dns, &exchange).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    };
    let parsed = |body: String| -> Value { serde_json::from_str(&body).expect("JSON") };
    let recorded: Value =
        serde_json::from_str(include_str!("data/mesos-dns-records.json")).expect("JSON");

    let axfr = parsed(get("/v1/axfr").await);
    let theirs = &recorded["lab"]["axfr"];
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().expect("a map").keys().cloned().collect()
    };
    assert_eq!(keys(&axfr), keys(theirs));
    for key in ["TTL", "RefreshSeconds", "Mname", "Rname", "Domain"] {
        assert_eq!(axfr[key], theirs[key], "{key}");
    }
    let name = "_green-zdd._tcp.marathon.mesos.";
    assert_eq!(
        sorted(&axfr["Records"]["SRVs"][name]),
        sorted(&theirs["Records"]["SRVs"][name])
    );
    let enumerated = parsed(get("/v1/enumerate").await);
    let first = |value: &Value| value["frameworks"][0]["tasks"][0].clone();
    assert_eq!(first(&enumerated), first(&recorded["lab"]["enumerate"]));

    // A pattern that leaves nothing makes the original fail.
    assert_eq!(
        parsed(get("/v1/hosts/.*").await),
        json!([{"host": "", "ip": ""}])
    );
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    // A query of its id, for the SRV records of x.mesos, and one for a type that hardly anybody asks for.
    for qtype in [33, 99] {
        let head = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let question = [&b"\x01x\x05mesos\0\0"[..], &[qtype, 0, 1]].concat();
        let packet = [&head[..], &question].concat();
        socket
            .send_to(&packet, dns.udp_address().expect("bound"))
            .await
            .expect("sent");
        let answer = tokio::time::timeout(LIMIT, socket.recv(&mut [0; 512])).await;
        answer.expect("an answer").expect("received");
    }
    let metrics = get("/metrics").await;
    for line in [
        "zddcluster_dns_master_up 1",
        "zddcluster_dns_zones_total 1",
        "zddcluster_dns_queries_total{type=\"A\"} 0",
        "zddcluster_dns_queries_total{type=\"SRV\"} 1",
        "zddcluster_dns_queries_total{type=\"other\"} 1",
        // To a type that it does not know Mesos-DNS says nothing, but not that it is wrong.
        "zddcluster_dns_responses_total{protocol=\"udp\",rcode=\"NOERROR\"} 1",
        "zddcluster_dns_responses_total{protocol=\"udp\",rcode=\"NXDOMAIN\"} 1",
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}

#[tokio::test]
async fn without_dns_the_names_are_told_over_http_alone() {
    let master = Master::start(support::state_document()).await;
    let tasks = Tasks::new();
    let mut config = support::server("lab", &master.url()).await;
    (config.udp, config.tcp) = (None, None);
    config.http = Some(HttpConfig {
        listener: TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        allowed_hosts: Vec::new(),
        enumeration_on: true,
    });
    let dns = start(config, &tasks).expect("a good configuration");
    let ready = tokio::time::timeout(LIMIT, dns.ready()).await;
    ready.expect("a first state");
    assert_eq!((dns.udp_address(), dns.tcp_address()), (None, None));
    let address = dns.http_address().expect("it has one");
    let client = HttpClient::new();
    let at = |path: &str| format!("http://{address}/v1/{path}");
    let config: Value = client.get_json(&at("config")).await.expect("an answer");
    assert_eq!(
        (&config["DnsOn"], &config["Port"]),
        (&json!(false), &json!(0))
    );
    let hosts: Value = client
        .get_json(&at("hosts/web.marathon.mesos"))
        .await
        .expect("an answer");
    assert_eq!(hosts[0]["ip"], json!("10.0.4.63"));
    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}

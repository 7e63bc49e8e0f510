//! The edge's gateways as weights of services, from the edge's API to the answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use hickory_server::proto::rr::RData;
use serde_json::{Value, json};
use support::ask::{HEADER, LIMIT, Server, Transport, query};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zddcluster_dns::ZoneConfig;

mod support;

/// The admin port of an edge whose gateways one can change.
struct Edge {
    address: SocketAddr,
    gateways: Arc<Mutex<Value>>,
    stopped: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

impl Edge {
    async fn start(gateways: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let gateways = Arc::new(Mutex::new(gateways));
        let router = Router::new()
            .route("/zdd/v1/gateways", get(list))
            .with_state(Arc::clone(&gateways));
        let stopped = CancellationToken::new();
        let token = stopped.clone();
        #[expect(clippy::disallowed_methods, reason = "the test owns and joins it")]
        let server = tokio::spawn(async move {
            let served = zddcluster_runtime::serve(listener, router, token);
            served.await.expect("serving");
        });
        Self {
            address,
            gateways,
            stopped,
            server,
        }
    }

    async fn stop(self) {
        self.stopped.cancel();
        self.server.await.expect("no panic");
    }
}

async fn list(State(gateways): State<Arc<Mutex<Value>>>) -> String {
    gateways.lock().expect("no panic").to_string()
}

/// A gateway between blue and green, of which each has four instances.
fn blue_green(blue: u32, green: u32) -> Value {
    json!({"gateways": [{
        "name": "zdd",
        "listen": {"port": 10099},
        "routes": [
            {"name": "blue", "weight": blue, "to": {"app": {"id": "/zdd/blue"}}},
            {"name": "green", "weight": green, "to": {"app": {"id": "/zdd/green"}}},
        ],
    }]})
}

/// The weights under a name, sorted.
async fn weights(server: &Server, name: &str) -> Vec<u16> {
    let packet = query(HEADER, name, 33);
    let answer = server.asked(&packet, Transport::Tcp).await;
    let weight = |record: &hickory_server::proto::rr::Record| match &record.data {
        RData::SRV(srv) => srv.weight,
        other => panic!("{other} was not asked for"),
    };
    let mut weights: Vec<u16> = answer.answers.iter().map(weight).collect();
    weights.sort_unstable();
    weights
}

async fn until(server: &Server, name: &str, expected: &[u16]) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let weights = weights(server, name).await;
        if weights == expected {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{name} has the weights {weights:?}"
        );
        sleep(std::time::Duration::from_millis(20)).await;
    }
}

const GATEWAY: &str = "_zdd._tcp.gateway.mesos";
const BLUE: &str = "_blue-zdd._tcp.marathon.mesos";
const GREEN: &str = "_green-zdd._tcp.marathon.mesos";

#[tokio::test]
async fn weights_follow_the_edge() {
    let edge = Edge::start(blue_green(80, 20)).await;
    let zone = ZoneConfig {
        extras: true,
        gateways_url: Some(format!("http://{}/", edge.address)),
        ..support::config("lab")
    };
    let server = Server::start(support::state_document(), zone).await;
    let (blue, green) = (65535, 16384);
    let both = [green, green, green, green, blue, blue, blue, blue];
    until(&server, GATEWAY, &both).await;
    assert_eq!(weights(&server, BLUE).await, [blue; 4]);
    assert_eq!(weights(&server, GREEN).await, [green; 4]);
    assert_eq!(weights(&server, "_web._tcp.marathon.mesos").await, [0]);

    // All to green: nobody who follows the gateway's name goes to blue.
    *edge.gateways.lock().expect("no panic") = blue_green(0, 100);
    until(&server, GATEWAY, &[65535; 4]).await;
    assert_eq!(weights(&server, BLUE).await, [0; 4]);

    // What was said last holds while the edge is away.
    let serial = server.dns.zone().expect("ready").serial();
    edge.stop().await;
    sleep(std::time::Duration::from_millis(2500)).await;
    assert_eq!(weights(&server, GATEWAY).await, [65535; 4]);
    assert_eq!(server.dns.zone().expect("ready").serial(), serial);
    server.stop().await;
}

#[tokio::test]
async fn without_extras_the_edge_is_not_asked() {
    let edge = Edge::start(blue_green(80, 20)).await;
    let zone = ZoneConfig {
        gateways_url: Some(format!("http://{}", edge.address)),
        ..support::config("lab")
    };
    let server = Server::start(support::state_document(), zone).await;
    assert_eq!(weights(&server, GATEWAY).await, [0; 0]);
    assert_eq!(weights(&server, BLUE).await, [0; 4]);
    edge.stop().await;
    server.stop().await;
}

/// Names of addresses, over a socket: those of the recorded state.
#[tokio::test]
async fn addresses_have_names() {
    let zone = ZoneConfig {
        extras: true,
        ..support::config("defaults")
    };
    let server = Server::start(support::state_document(), zone).await;
    // `dual-cni` has an address of its own in each family, and 10.0.3.192 is an agent's.
    for (name, expected) in [
        ("192.3.0.10.in-addr.arpa", "slave.mesos."),
        (
            "131.1.0.9.in-addr.arpa",
            "dual-cni-yb3wj-s1.marathon.mesos.",
        ),
        (
            "2.0.0.0.0.0.0.8.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.0.0.0.1.0.d.f.ip6.arpa",
            "dual-cni-yb3wj-s1.marathon.mesos.",
        ),
    ] {
        let answer = server.asked(&query(HEADER, name, 12), Transport::Udp).await;
        let names: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
        assert_eq!(names, [expected], "{name}");
        assert!(answer.metadata.authoritative);
    }
    server.stop().await;
}

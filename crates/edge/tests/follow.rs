//! Following Marathon when it is late, elsewhere, away or busy.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use serde_json::{Value, json};
use support::{Server, app, get_from, refusing, serve, until};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use zddcluster_edge::{Config, Handle, Ports};
use zddcluster_runtime::Tasks;

/// An edge that follows the Marathons at these addresses, in an address of its own.
async fn edge(n: u8, marathons: &[SocketAddr]) -> (Handle, SocketAddr) {
    let [a, b] = [std::process::id() as u8, (std::process::id() >> 8) as u8];
    let ip = std::net::IpAddr::from([127, 200 + n, a, b.max(1)]);
    let urls: Vec<_> = marathons
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let args = format!("sse -m {} --group external", urls.join(" "));
    let env = |key: &str| (key == "HOST").then(|| ip.to_string());
    let mut config = Config::from_args(args.split(' ').map(str::to_owned), None, env).unwrap();
    config.ports = Ports::ANY;
    // The tasks live as long as the test's process.
    let edge = zddcluster_edge::start(config, &Tasks::new()).await.unwrap();
    (edge, SocketAddr::new(ip, 10000))
}

/// A Marathon of one app whose list takes a while.
struct Slow {
    address: SocketAddr,
    events: broadcast::Sender<String>,
    n_fetches: Arc<AtomicUsize>,
}

impl Slow {
    async fn start(app: Value, takes: Duration) -> Self {
        let (events, n_fetches) = (
            broadcast::Sender::<String>::new(64),
            Arc::new(AtomicUsize::new(0)),
        );
        let (counted, subscribed) = (Arc::clone(&n_fetches), events.clone());
        let answer = move |body: Value| {
            let counted = Arc::clone(&counted);
            async move {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(takes).await;
                axum::Json(body)
            }
        };
        let (all, one) = (json!({"apps": [app]}), json!({"app": app}));
        let (of_all, of_one) = (answer.clone(), answer);
        let router = Router::new()
            .route("/v2/apps", get(move || of_all(all)))
            .route("/v2/apps/{*id}", get(move || of_one(one)))
            .route(
                "/v2/events",
                get(move || {
                    let receiver = subscribed.subscribe();
                    async move {
                        let lines = futures_util::stream::unfold(receiver, |mut receiver| async {
                            let line = receiver.recv().await.ok()?;
                            Some((Ok::<_, std::io::Error>(line), receiver))
                        });
                        let first = futures_util::stream::iter([Ok("\n".to_owned())]);
                        Body::from_stream(futures_util::StreamExt::chain(first, lines))
                    }
                }),
            );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        serve(listener, router, CancellationToken::new());
        Self {
            address,
            events,
            n_fetches,
        }
    }

    fn n_fetches(&self) -> usize {
        self.n_fetches.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_marathon_the_admin_port_answers() {
    // contract: lb-follow-first
    let (edge, service) = edge(0, &[refusing().await]).await;
    let stats = edge.addresses().stats;
    assert_eq!(
        get_from(stats, "/_haproxy_health_check", &[])
            .await
            .status(),
        200
    );
    let csv = get_from(stats, "/haproxy?stats;csv", &[]).await.text();
    let names: Vec<_> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "stats",
            "stats",
            "marathon_http_in",
            "marathon_http_appid_in",
            "marathon_https_in"
        ]
    );
    assert_eq!(
        get_from(edge.addresses().http.unwrap(), "/", &[])
            .await
            .status(),
        503
    );
    assert!(tokio::net::TcpStream::connect(service).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_marathon_that_answers_is_followed() {
    // contract: lb-follow-several
    let server = Server::named("a").await;
    let nonsense = Server::named("this is no list").await;
    let good = Slow::start(app("/a", 10000, "http", &[server.address]), Duration::ZERO).await;
    let (edge, service) = edge(1, &[refusing().await, nonsense.address, good.address]).await;
    tokio::time::timeout(support::SOON, edge.attached())
        .await
        .unwrap();
    until("the service listens", async || {
        tokio::net::TcpStream::connect(service).await.is_ok()
    })
    .await;
    assert_eq!(get_from(service, "/", &[]).await.text(), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_events_is_one_more_fetch() {
    // contract: lb-follow-coalescing, lb-follow-refetch
    let server = Server::named("a").await;
    let slow = Slow::start(
        app("/a", 10000, "http", &[server.address]),
        Duration::from_millis(300),
    )
    .await;
    let (edge, _) = edge(2, &[slow.address]).await;
    tokio::time::timeout(support::SOON, edge.attached())
        .await
        .unwrap();
    assert_eq!(slow.n_fetches(), 1, "everything, once, at the attach");
    let event = json!({"eventType": "status_update_event", "appId": "/a"});
    let other = json!({"eventType": "deployment_info", "appId": "/a"});
    slow.events.send(format!("data: {event}\n\n")).unwrap();
    until("the first event is acted on", async || {
        slow.n_fetches() == 2
    })
    .await;
    for _ in 0..20 {
        slow.events.send(format!("data: {event}\n\n")).unwrap();
        slow.events.send(format!("data: {other}\n\n")).unwrap();
    }
    until("the others are one more", async || slow.n_fetches() == 3).await;
    // What was left over would come before this one.
    get_from(edge.addresses().stats, "/_mlb_signal/hup", &[]).await;
    until("everything is fetched", async || slow.n_fetches() >= 4).await;
    assert_eq!(slow.n_fetches(), 4);
}

//! A small world around an edge: a Marathon that says what the test tells it, tiny servers, a plain client.

#![allow(dead_code, reason = "each test binary uses the parts it needs")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use zddcluster_edge::{Config, Handle, Ports};
use zddcluster_runtime::{OnFailure, Tasks};

/// How long anything may take that should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Reads until what has come is complete.
pub(crate) async fn read_text(
    stream: &mut TcpStream,
    is_complete: impl Fn(&str) -> bool,
) -> String {
    let mut text = String::new();
    let read = async {
        while !is_complete(&text) {
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).await.unwrap();
            assert!(n > 0, "ended too early: {text:?}");
            text += &String::from_utf8_lossy(&bytes[..n]);
        }
    };
    let in_time = tokio::time::timeout(SOON, read).await.is_ok();
    assert!(in_time, "no more came: {text:?}");
    text
}

/// An address no other test uses: service ports are fixed numbers, so each edge needs one of its own.
fn private_address() -> IpAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    let [a, b] = [pid as u8, (pid >> 8) as u8];
    IpAddr::V4(Ipv4Addr::new(127, 100 + (n as u8 % 100), a, b.max(1)))
}

/// Waits until `check` holds.
pub(crate) async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(SOON, wait).await.is_ok(),
        "never: {what}"
    );
}

/// What the fake Marathon says.
#[derive(Debug)]
pub(crate) struct Marathon {
    apps: Mutex<Vec<Value>>,
    events: broadcast::Sender<String>,
    drains: broadcast::Sender<String>,
    /// Whether the drain protocol is known.
    knows_drains: bool,
    /// Edges with an open drain stream.
    attached: watch::Sender<usize>,
    /// Everything that happened, in order, for tests that care.
    pub(crate) log: Mutex<Vec<String>>,
}

impl Marathon {
    fn new(knows_drains: bool, apps: Vec<Value>) -> Arc<Self> {
        Arc::new(Self {
            apps: Mutex::new(apps),
            events: broadcast::Sender::new(64),
            drains: broadcast::Sender::new(64),
            knows_drains,
            attached: watch::Sender::new(0),
            log: Mutex::default(),
        })
    }

    pub(crate) fn note(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    pub(crate) fn noted(&self, what: &str) -> bool {
        self.log.lock().unwrap().iter().any(|entry| entry == what)
    }

    /// Replaces or adds an app; the news is still to come.
    pub(crate) fn put_silently(&self, app: Value) {
        let mut apps = self.apps.lock().unwrap();
        apps.retain(|other| other["id"] != app["id"]);
        apps.push(app);
    }

    /// Replaces or adds an app and tells about it.
    pub(crate) fn put(&self, app: Value) {
        let id = app["id"].as_str().unwrap().to_owned();
        self.put_silently(app);
        self.publish(json!({"eventType": "status_update_event", "appId": id}));
    }

    pub(crate) fn remove(&self, id: &str) {
        self.apps.lock().unwrap().retain(|app| app["id"] != id);
        self.publish(json!({"eventType": "app_terminated_event", "appId": id}));
    }

    fn publish(&self, event: Value) {
        // Nobody may be listening.
        let _ = self.events.send(format!("event: x\ndata: {event}\n\n"));
    }

    /// Orders the edge to drain a task; waits for it to be attached.
    pub(crate) async fn drain(&self, task_id: &str) {
        let mut attached = self.attached.subscribe();
        tokio::time::timeout(SOON, attached.wait_for(|n| *n > 0))
            .await
            .unwrap()
            .unwrap();
        self.drains
            .send(format!("{}\n", json!({"taskId": task_id})))
            .unwrap();
    }

    pub(crate) async fn drained(&self, task_id: &str) {
        let ack = format!("drained {task_id}");
        until(&ack, async || self.noted(&ack)).await;
    }

    /// Serves until `token` is cancelled; then every connection is cut.
    fn serve(self: &Arc<Self>, listener: TcpListener, token: CancellationToken) {
        let router = Router::new()
            .route("/v2/apps", get(list))
            .route("/v2/apps/{*id}", get(one))
            .route("/v2/events", get(events))
            .route("/zdd/v1/edges/{edge}/drains", get(drains))
            .route("/zdd/v1/edges/{edge}/drained", post(drained))
            .with_state(Arc::clone(self));
        serve(listener, router, token);
    }
}

async fn list(State(marathon): State<Arc<Marathon>>) -> Response {
    axum::Json(json!({"apps": *marathon.apps.lock().unwrap()})).into_response()
}

async fn one(State(marathon): State<Arc<Marathon>>, Path(id): Path<String>) -> Response {
    let apps = marathon.apps.lock().unwrap();
    let id = format!("/{}", id.trim_start_matches('/'));
    match apps.iter().find(|app| app["id"] == *id) {
        Some(app) => axum::Json(json!({"app": app})).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn stream(receiver: broadcast::Receiver<String>) -> Body {
    let messages = futures_util::stream::unfold(receiver, |mut receiver| async {
        let message = receiver.recv().await.ok()?;
        Some((Ok::<_, std::io::Error>(message), receiver))
    });
    // The first blank line makes the head go out.
    Body::from_stream(futures_util::stream::iter([Ok("\n".to_owned())]).chain(messages))
}

async fn events(State(marathon): State<Arc<Marathon>>) -> Response {
    stream(marathon.events.subscribe()).into_response()
}

async fn drains(State(marathon): State<Arc<Marathon>>) -> Response {
    if !marathon.knows_drains {
        return StatusCode::NOT_FOUND.into_response();
    }
    let body = stream(marathon.drains.subscribe());
    marathon.attached.send_modify(|n| *n += 1);
    body.into_response()
}

async fn drained(
    State(marathon): State<Arc<Marathon>>,
    axum::Json(body): axum::Json<Value>,
) -> StatusCode {
    for id in body["taskIds"].as_array().unwrap() {
        marathon.note(format!("drained {}", id.as_str().unwrap()));
    }
    StatusCode::NO_CONTENT
}

/// Serves until `token` is cancelled; then the listener and every connection are closed at once.
pub(crate) fn serve(listener: TcpListener, router: Router, token: CancellationToken) {
    let tasks = Tasks::new();
    let served = async move {
        tokio::select! {
            () = token.cancelled() => {}
            served = axum::serve(listener, router).into_future() => served?,
        }
        Ok(())
    };
    tasks.spawn("server", OnFailure::Log, served);
}

/// A server behind the edge.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) token: CancellationToken,
    pub(crate) n_requests: Arc<AtomicUsize>,
}

impl Server {
    /// Serves `router` with a counter of requests.
    pub(crate) async fn start(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (token, n_requests) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&n_requests);
        let count = axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
            counter.fetch_add(1, Ordering::SeqCst);
            next.run(request)
        });
        serve(listener, router.layer(count), token.clone());
        Self {
            address,
            token,
            n_requests,
        }
    }

    /// Answers every GET with `name`, the request's head on `/head`, and a body with itself.
    pub(crate) async fn named(name: &'static str) -> Self {
        let head = |request: axum::extract::Request| async move {
            let mut lines: Vec<String> = Vec::new();
            for (name, value) in request.headers() {
                lines.push(format!("{name}: {}", value.to_str().unwrap()));
            }
            lines.sort();
            lines.join("\n")
        };
        let router = Router::new()
            .route("/head", get(head))
            .route("/echo", post(async |body: Body| body))
            .fallback(async move || name);
        Self::start(router).await
    }

    pub(crate) fn count(&self) -> usize {
        self.n_requests.load(Ordering::SeqCst)
    }
}

/// A port on which nobody listens.
pub(crate) async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// An app in the edge's group on one service port, with a task for each address.
pub(crate) fn app(id: &str, port: u16, mode: &str, servers: &[SocketAddr]) -> Value {
    let task = |(n, address): (usize, &SocketAddr)| {
        json!({"id": format!("{}.{n}", &id[1..]), "host": address.ip().to_string(), "ports": [address.port()],
               "state": "TASK_RUNNING", "appId": id})
    };
    json!({
        "id": id, "version": "2016-10-12T11:38:56.845Z", "ports": [port],
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_MODE": mode},
        "tasks": servers.iter().enumerate().map(task).collect::<Vec<_>>(),
    })
}

/// The same with one server and these labels (after `HAPROXY_0_`).
pub(crate) fn labelled(id: &str, port: u16, server: &Server, labels: &[(&str, &str)]) -> Value {
    let mut app = app(id, port, "http", &[server.address]);
    for (label, value) in labels {
        app["labels"][format!("HAPROXY_0_{label}")] = json!(value);
    }
    app
}

/// An edge that follows a fake Marathon.
pub(crate) struct World {
    pub(crate) marathon: Arc<Marathon>,
    pub(crate) edge: Handle,
    pub(crate) tasks: Tasks,
    marathon_address: SocketAddr,
    marathon_token: CancellationToken,
    ip: IpAddr,
}

impl World {
    pub(crate) async fn start(apps: Vec<Value>) -> Self {
        Self::start_with(true, apps).await
    }

    pub(crate) async fn start_with(knows_drains: bool, apps: Vec<Value>) -> Self {
        Self::start_in(&[], knows_drains, apps).await
    }

    /// With more in the edge's environment.
    pub(crate) async fn start_in(
        more: &[(&str, &str)],
        knows_drains: bool,
        apps: Vec<Value>,
    ) -> Self {
        Self::start_as(|_| {}, more, knows_drains, apps).await
    }

    /// With another configuration.
    pub(crate) async fn start_as(
        adjust: impl FnOnce(&mut Config),
        more: &[(&str, &str)],
        knows_drains: bool,
        apps: Vec<Value>,
    ) -> Self {
        let marathon = Marathon::new(knows_drains, apps);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let marathon_address = listener.local_addr().unwrap();
        let marathon_token = CancellationToken::new();
        marathon.serve(listener, marathon_token.clone());
        let ip = private_address();
        let args = format!(
            "sse -m http://{marathon_address} --health-check --haproxy-map --group external"
        );
        let env = |key: &str| match key {
            "HOST" => Some(ip.to_string()),
            "MESOS_TASK_ID" => Some("marathon-lb.1".to_owned()),
            // A check every 50 ms instead of every second.
            "ZDD_SPEED" => Some("20".to_owned()),
            _ => {
                let found = more.iter().find(|(name, _)| *name == key);
                found.map(|(_, value)| (*value).to_owned())
            }
        };
        let mut config = Config::from_args(args.split(' ').map(str::to_owned), None, env).unwrap();
        config.ports = Ports::ANY;
        adjust(&mut config);
        let tasks = Tasks::new();
        let edge = zddcluster_edge::start(config, &tasks).await.unwrap();
        tokio::time::timeout(SOON, edge.attached())
            .await
            .expect("the edge attaches");
        Self {
            marathon,
            edge,
            tasks,
            marathon_address,
            marathon_token,
            ip,
        }
    }

    /// The address of a service port on the edge.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }

    /// Waits until a port of the edge listens, or does not.
    pub(crate) async fn listening(&self, port: u16, listens: bool) {
        let address = self.at(port);
        let what = format!("port {port} listens: {listens}");
        until(&what, async || {
            TcpStream::connect(address).await.is_ok() == listens
        })
        .await;
    }

    pub(crate) fn stop_marathon(&self) {
        self.marathon_token.cancel();
    }

    /// Starts the same Marathon again where it was.
    pub(crate) async fn restart_marathon(&mut self) {
        self.marathon_token = CancellationToken::new();
        let mut listener = None;
        until("Marathon's port is free", async || {
            listener = TcpListener::bind(self.marathon_address).await.ok();
            listener.is_some()
        })
        .await;
        self.marathon
            .serve(listener.unwrap(), self.marathon_token.clone());
    }

    pub(crate) async fn stats(&self, path: &str) -> Answer {
        get_from(self.edge.addresses().stats, path, &[]).await
    }

    /// The CSV's data rows, split.
    pub(crate) async fn csv(&self) -> Vec<Vec<String>> {
        let text = self.stats("/haproxy?stats;csv").await.text();
        text.lines()
            .skip(1)
            .map(|row| row.split(',').map(str::to_owned).collect())
            .collect()
    }
}

/// An answer as it came over the wire.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends raw bytes on a fresh connection and returns everything that comes back, taken apart. The request must ask for
/// `Connection: close`.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut bytes = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    let at = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let body = Bytes::copy_from_slice(bytes.get(at + 4..).unwrap_or_default());
    Answer { head, body }
}

/// GETs `path` on a fresh connection, with header lines besides `Host`.
pub(crate) async fn get_from(address: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    let mut request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|line| line.starts_with("Host:")) {
        request += &format!("Host: {address}\r\n");
    }
    for line in headers {
        request += &format!("{line}\r\n");
    }
    exchange(address, format!("{request}\r\n").as_bytes()).await
}

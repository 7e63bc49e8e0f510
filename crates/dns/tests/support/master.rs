//! A Mesos master of a state one can change: `/master/state` and the operator API's `SUBSCRIBE`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// A running master. Dropping it ends it and its streams.
pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    stopped: CancellationToken,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    state: Mutex<Value>,
    /// How often the state was read.
    n_read: watch::Sender<usize>,
    events: broadcast::Sender<Bytes>,
    stopped: CancellationToken,
}

impl Master {
    pub(crate) async fn start(state: Value) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), state).await
    }

    pub(crate) async fn start_on(address: SocketAddr, state: Value) -> Self {
        let listener = TcpListener::bind(address).await.expect("an address");
        let address = listener.local_addr().expect("bound");
        let stopped = CancellationToken::new();
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            n_read: watch::Sender::new(0),
            events: broadcast::Sender::new(1024),
            stopped: stopped.clone(),
        });
        let router = Router::new()
            .route("/master/state", get(read_state))
            .route("/api/v1", post(subscribe))
            .with_state(Arc::clone(&shared));
        let token = stopped.clone();
        #[expect(clippy::disallowed_methods, reason = "the test owns and joins it")]
        let server = tokio::spawn(async move {
            zddcluster_runtime::serve(listener, router, token)
                .await
                .expect("serving");
        });
        Self {
            address,
            shared,
            stopped,
            server,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the state without telling anyone.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.shared.state.lock().expect("no panic"));
    }

    /// Tells all that have subscribed.
    pub(crate) fn tell(&self, event: &Value) {
        // Nobody may be listening yet.
        let _ = self.shared.events.send(record(event));
    }

    /// Whether anyone has subscribed.
    pub(crate) fn is_followed(&self) -> bool {
        self.shared.events.receiver_count() > 0
    }

    /// How often the state was read.
    pub(crate) fn n_read(&self) -> usize {
        *self.shared.n_read.borrow()
    }

    /// Waits until it was read that often.
    pub(crate) async fn until_read(&self, n_read: usize) {
        let mut reads = self.shared.n_read.subscribe();
        let read = reads.wait_for(|&n| n >= n_read);
        let limit = std::time::Duration::from_secs(20);
        let waited = tokio::time::timeout(limit, read).await;
        waited.expect("it is asked").expect("we hold the sender");
    }

    pub(crate) async fn stop(self) {
        self.stopped.cancel();
        self.server.await.expect("no panic");
    }
}

async fn read_state(State(shared): State<Arc<Shared>>) -> String {
    let state = shared.state.lock().expect("no panic").to_string();
    shared.n_read.send_modify(|n| *n += 1);
    state
}

async fn subscribe(State(shared): State<Arc<Shared>>, request: String) -> Body {
    assert_eq!(request, r#"{"type":"SUBSCRIBE"}"#);
    let events = shared.events.subscribe();
    let first = record(&json!({
        "type": "SUBSCRIBED",
        "subscribed": {"get_state": {}, "heartbeat_interval_seconds": 15},
    }));
    let stopped = shared.stopped.clone();
    let stream = futures_util::stream::unfold((Some(first), events), move |(first, mut events)| {
        let stopped = stopped.clone();
        async move {
            let record = match first {
                Some(first) => first,
                None => stopped.run_until_cancelled(events.recv()).await?.ok()?,
            };
            Some((Ok::<_, std::io::Error>(record), (None, events)))
        }
    });
    Body::from_stream(stream)
}

fn record(event: &Value) -> Bytes {
    let json = event.to_string();
    Bytes::from(format!("{}\n{json}", json.len()))
}

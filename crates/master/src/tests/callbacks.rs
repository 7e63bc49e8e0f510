//! Event callbacks against servers that take them, refuse them, or hang.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use zddcluster_runtime::{OnFailure, Tasks, serve};
use zddcluster_store::{Change, MemoryStore, Store as _};

use super::cluster::{Cluster, PATIENCE};
use crate::callbacks::MOST;

/// A subscriber: what it got, and what it answers.
#[derive(Clone)]
struct Subscriber {
    url: String,
    got: Arc<Mutex<Vec<Value>>>,
    answer: Arc<AtomicU16>,
}

impl Subscriber {
    async fn start(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let this = Self {
            url,
            got: Arc::default(),
            answer: Arc::new(AtomicU16::new(200)),
        };
        let server = this.clone();
        let router = axum::Router::new().fallback(async move |body: Bytes| {
            server
                .got
                .lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap());
            StatusCode::from_u16(server.answer.load(Ordering::SeqCst)).unwrap()
        });
        let token = cluster.tasks.token().clone();
        cluster
            .tasks
            .spawn("subscriber", OnFailure::Log, serve(listener, router, token));
        this
    }

    fn query(&self) -> String {
        let value: String = url::form_urlencoded::byte_serialize(self.url.as_bytes()).collect();
        format!("/v2/eventSubscriptions?callbackUrl={value}")
    }

    fn types(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|event| event["eventType"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Waits until it got what is looked for.
    async fn until(&self, what: &str, is_met: impl Fn(&[String]) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !is_met(&self.types()) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: {:?}",
                self.types()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn subscribers_get_what_the_stream_has_also_after_a_restart() {
    // contract: callbacks, subscriptions, event-subscribe_event, z-14
    let cluster = Cluster::with_agent().await;
    let subscriber = Subscriber::start(&cluster).await;
    let mut seen = cluster.handle.shared.bus.observe();
    let answer = cluster.call(Method::POST, &subscriber.query(), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.body["eventType"], "subscribe_event");
    assert_eq!(answer.body["callbackUrl"], subscriber.url);
    assert_eq!(
        cluster.get("/v2/eventSubscriptions").await.body,
        json!({"callbackUrls": [subscriber.url]})
    );
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    let is_over = |types: &[String]| types.iter().any(|name| name == "deployment_success");
    subscriber.until("the deployment is over", is_over).await;
    let mut expected = Vec::new();
    while let Ok(event) = seen.try_recv() {
        expected.push(serde_json::to_value(&event).unwrap());
    }
    assert_eq!(*subscriber.got.lock().unwrap(), expected);
    assert_eq!(expected[0]["eventType"], "subscribe_event");
    cluster.stop().await;

    let again = Cluster::start_on(cluster.store.clone()).await;
    assert_eq!(
        again.get("/v2/eventSubscriptions").await.body,
        json!({"callbackUrls": [subscriber.url]})
    );
    let answer = again.call(Method::DELETE, &subscriber.query(), "").await;
    assert_eq!(answer.body["eventType"], "unsubscribe_event");
    again.stop().await;
    let third = Cluster::start_on(again.store.clone()).await;
    assert_eq!(
        third.get("/v2/eventSubscriptions").await.body,
        json!({"callbackUrls": []})
    );
    third.stop().await;
}

#[tokio::test]
async fn a_bad_subscriber_is_left_alone_for_a_while_and_holds_nobody_up() {
    // contract: callbacks
    let cluster = Cluster::with_agent().await;
    // It accepts connections and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hanging = format!(
        "/v2/eventSubscriptions?callbackUrl=http://{}/",
        hanging.local_addr().unwrap()
    );
    cluster.call(Method::POST, &hanging, "").await;
    let refusing = Subscriber::start(&cluster).await;
    refusing.answer.store(500, Ordering::SeqCst);
    let good = Subscriber::start(&cluster).await;
    for subscriber in [&refusing, &good] {
        cluster.call(Method::POST, &subscriber.query(), "").await;
    }
    let began = tokio::time::Instant::now();
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    let is_over = |types: &[String]| types.iter().any(|name| name == "deployment_success");
    good.until("the deployment is over", is_over).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a bad subscriber was waited for"
    );
    // One failure, and two seconds of silence.
    refusing
        .until("it was asked once", |types| !types.is_empty())
        .await;
    let n_before = refusing.types().len();
    assert_eq!(n_before, 1, "{:?}", refusing.types());
    refusing.answer.store(200, Ordering::SeqCst);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while refusing.types().len() == n_before {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it is never asked again"
        );
        cluster.call(Method::POST, &good.query(), "").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        began.elapsed() >= Duration::from_millis(1_900),
        "it was not left alone"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn only_urls_that_can_be_called_are_taken() {
    // contract: subscriptions, error-422-argument, error-503-unavailable
    let cluster = Cluster::start().await;
    for bad in [
        "",
        "?callbackUrl=",
        "?callbackUrl=nonsense",
        "?callbackUrl=http:%2F%2F",
        "?callbackUrl=ftp:%2F%2Fx%2F",
        "?callbackUrl=http:%2F%2Fa%20b%2F",
    ] {
        for method in [Method::POST, Method::DELETE] {
            let answer = cluster
                .call(method, &format!("/v2/eventSubscriptions{bad}"), "")
                .await;
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
            assert_eq!(answer.body["details"][0]["path"], "/callbackUrl", "{bad}");
        }
    }
    // What could not be stored is not acknowledged, and gone.
    cluster.store.fill();
    let query = "/v2/eventSubscriptions?callbackUrl=http://127.0.0.1:9/";
    let refused = cluster.call(Method::POST, query, "").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        cluster.get("/v2/eventSubscriptions").await.body,
        json!({"callbackUrls": []})
    );
    cluster.store.free();
    cluster.stop().await;
}

#[tokio::test]
async fn no_more_are_called_than_may_be_however_they_come() {
    // contract: subscriptions
    let cluster = Cluster::start().await;
    // All at once, so that none of them sees what the others have led to.
    let shared = &cluster.handle.shared;
    let wanted = (0..MOST + 3).map(|n| {
        let url = format!("http://127.0.0.1:9/{n}");
        shared.subscribe(url, true, "127.0.0.1".to_owned())
    });
    let answers = futures_util::future::join_all(wanted).await;
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!((refused, shared.callbacks.urls().len()), (3, MOST));
    let post = async |n: usize| {
        let path = format!("/v2/eventSubscriptions?callbackUrl=http://127.0.0.1:9/{n}");
        cluster.call(Method::POST, &path, "").await
    };
    let refused = post(MOST + 7).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.text.contains("hint: DELETE"), "{}", refused.text);
    // Whoever is there already may say so again.
    assert_eq!(post(7).await.status, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test]
async fn subscriptions_that_cannot_be_read_are_neither_forgotten_nor_overwritten() {
    let mut store = MemoryStore::new();
    let (key, damaged) = ("master/callbacks".to_owned(), b"{".to_vec());
    let change = Change::Put(key.clone(), damaged.clone());
    store.commit(vec![change]).unwrap();
    let tasks = Tasks::new();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mesos = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = crate::Config::new(front, mesos, Box::new(store.clone()));
    let started = crate::start(config, &tasks).await;
    let error = started.err().expect("it does not start");
    assert!(matches!(error, crate::StartError::Callbacks(_)), "{error}");
    assert!(store.load().unwrap().contains(&(key, damaged)));
}

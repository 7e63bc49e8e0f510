//! Whatever is sent to the API: an answer with a message, never a fault of our own.
//!
//! Some hundred requests go through the router of one running master; `ZDD_FUZZ_CASES=100000` sends that many.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::cluster::Cluster;
use crate::admin;

/// Requests sent unless told otherwise: a few seconds.
const CASES: u32 = 500;

const WORDS: [&str; 16] = [
    "/a",
    "b",
    "../c",
    "/g/a",
    "",
    "*",
    "x",
    "DOCKER",
    "BRIDGE",
    "USER",
    "HTTP",
    "tcp",
    "UNIQUE",
    "hostname",
    "RW",
    "2016-10-12T11:38:56.845Z",
];

const KEYS: [&str; 32] = [
    "id",
    "cmd",
    "args",
    "env",
    "instances",
    "cpus",
    "constraints",
    "uris",
    "fetch",
    "uri",
    "container",
    "docker",
    "image",
    "network",
    "portMappings",
    "volumes",
    "healthChecks",
    "portIndex",
    "dependencies",
    "upgradeStrategy",
    "minimumHealthCapacity",
    "labels",
    "ipAddress",
    "ports",
    "portDefinitions",
    "version",
    "networks",
    "apps",
    "groups",
    "scaleBy",
    "ids",
    "name",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-2_i64..70_000).prop_map(Value::from),
        ".{0,4}".prop_map(Value::from),
        prop::sample::select(WORDS.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let keys = prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..6)
                .prop_map(|map: BTreeMap<String, Value>| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A good body with one key replaced, so that most of what is sent comes further than the reader.
fn nearly_good() -> impl Strategy<Value = Value> {
    let app = json!({"id": "/g/a", "cmd": "x", "instances": 2, "cpus": 0.1, "ports": [0], "env": {"A": "1"},
        "healthChecks": [{"path": "/"}], "upgradeStrategy": {"minimumHealthCapacity": 0.5}, "labels": {"l": "1"}});
    let group = json!({"id": "/g", "apps": [app], "groups": [{"id": "h", "apps": []}], "dependencies": ["/x"]});
    let good = prop::sample::select(vec![
        app.clone(),
        group.clone(),
        json!([app]),
        json!({"groups": [group]}),
        json!({"ids": ["g_a.x"]}),
        json!({"scaleBy": 2}),
    ]);
    (
        good,
        prop::sample::select(KEYS.to_vec()),
        any_json(),
        any::<bool>(),
    )
        .prop_map(|(mut good, key, value, is_changed)| {
            if let Some(object) = good.as_object_mut().filter(|_| is_changed) {
                object.insert(key.to_owned(), value);
            }
            good
        })
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Method, path with query, and body.
fn any_request() -> impl Strategy<Value = (&'static str, String, String)> {
    let body = prop_oneof![
        any_json().prop_map(|value| value.to_string()),
        nearly_good().prop_map(|value| value.to_string()),
        nearly_good().prop_map(|value| value.to_string()),
        ".{0,40}",
    ];
    let write = prop::sample::select(vec![
        ("POST", "/v2/apps?force=true"),
        ("PUT", "/v2/apps?force=true"),
        ("PUT", "/v2/apps/g/a?force=TRUE"),
        ("PUT", "/v2/apps/g/a?partialUpdate=false&force=true"),
        ("PATCH", "/v2/apps/x"),
        ("POST", "/v2/groups?force=true"),
        ("PUT", "/v2/groups?force=true"),
        ("PUT", "/v2/groups/g?force=true"),
        ("PUT", "/v2/groups/g?dryRun=true"),
        ("POST", "/v2/tasks/delete"),
        ("POST", "/v2/tasks/delete?scale=true"),
    ]);
    let write = (write, body).prop_map(|((method, path), body)| (method, path.to_owned(), body));
    let selector = "[a-c]{0,2} ?(==|!=|in|notin|=|,|)? ?[(]?[a-c, ]{0,5}[)]?.{0,2}";
    let read = prop_oneof![
        selector.prop_map(|text| format!("/v2/apps?label={}", encoded(&text))),
        ".{0,12}".prop_map(|text| format!("/v2/apps?label={}", encoded(&text))),
        ("[a-z]{1,6}", ".{0,12}")
            .prop_map(|(key, text)| format!("/v2/apps?{key}={}", encoded(&text))),
        ".{0,12}".prop_map(|text| format!("/v2/apps/{}", encoded(&text))),
        ".{0,12}".prop_map(|text| format!("/v2/apps/g/a/versions/{}", encoded(&text))),
        ".{0,12}".prop_map(|text| format!(
            "/v2/groups/{}?embed={}",
            encoded(&text),
            encoded(&text)
        )),
        ".{0,12}".prop_map(|text| format!("/v2/tasks?status={}", encoded(&text))),
        ".{0,12}".prop_map(|text| format!("/{}", encoded(&text))),
    ];
    let read = read.prop_map(|path| ("GET", path, String::new()));
    let delete = ".{0,8}".prop_map(|text| {
        (
            "DELETE",
            format!("/v2/apps/{}", encoded(&text)),
            String::new(),
        )
    });
    prop_oneof![4 => write, 3 => read, 1 => delete]
}

async fn send(router: axum::Router, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[test]
fn no_request_is_our_fault() {
    let cases = std::env::var("ZDD_FUZZ_CASES").ok();
    let config = ProptestConfig {
        cases: cases.and_then(|n| n.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start());
    let router = admin::router(Arc::clone(&cluster.handle.shared));
    let n_done = Cell::new(0);
    let outcome = TestRunner::new(config).run(&any_request(), |(method, path, body)| {
        let (status, answer) = runtime.block_on(send(router.clone(), method, &path, &body));
        prop_assert!(
            !status.is_server_error(),
            "{method} {path} {body}: {status} {answer}"
        );
        let is_write = method != "GET" && status.is_success();
        n_done.set(n_done.get() + u32::from(is_write));
        if status.is_client_error() && path.starts_with("/v2/") {
            prop_assert!(
                answer["message"].is_string(),
                "{method} {path} {body}: {status} {answer}"
            );
        }
        Ok(())
    });
    let apps = runtime.block_on(cluster.get("/v2/apps"));
    runtime.block_on(cluster.stop());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    assert_eq!(apps.status, StatusCode::OK, "it still answers");
    let n_done = n_done.get();
    assert!(n_done > 0, "no write came through: the bodies are too bad");
}

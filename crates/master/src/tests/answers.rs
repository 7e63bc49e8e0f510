//! Answers of the API, row by row of contract marathon §2.1 to §2.3: who is answered what, and in which order it is refused.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::cluster::{Answer, Cluster, keys};

/// An app that no agent has room for.
const TOO_BIG: &str = r#"{"id": "/big", "cmd": "x", "cpus": 400}"#;

#[tokio::test]
async fn put_creates_what_is_missing() {
    // contract: app-put-creates, app-put, z-1, z-2, z-8, trap-5, trap-16
    let cluster = Cluster::with_agent().await;
    for (method, path, id, status) in [
        (Method::PUT, "/v2/apps/zdd/base", "/zdd/base", 201),
        (Method::PUT, "/v2/apps//zdd/base", "/zdd/base", 200),
        (Method::PATCH, "/v2/apps/%2Fzdd%2Fbase", "/zdd/base", 200),
        (Method::PATCH, "/v2/apps/zdd/other/", "/zdd/other", 201),
    ] {
        let answer = cluster.call(method, path, r#"{"cmd": "x"}"#).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(keys(&answer.body), ["version", "deploymentId"], "{path}");
        let deployment_id = answer.body["deploymentId"].as_str().unwrap();
        assert_eq!(answer.headers["marathon-deployment-id"], deployment_id);
        let location = answer.headers.get("location");
        let expected = format!("http://{}/v2/apps{id}", cluster.handle.front());
        let expected = (status == 201).then_some(expected);
        assert_eq!(
            location.map(|text| text.to_str().unwrap().to_owned()),
            expected
        );
        cluster.until_idle().await;
    }
    // contract: apps-put-list, z-8
    for method in [Method::PUT, Method::PATCH] {
        let list = r#"[{"id": "/zdd/base", "labels": {"a": "1"}}, {"id": "/zdd/new", "cmd": "x"}, {"cmd": "no id"}]"#;
        let answer = cluster.call(method, "/v2/apps", list).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(keys(&answer.body), ["version", "deploymentId"]);
        cluster.until_idle().await;
    }
    let apps = cluster.get("/v2/apps").await.body;
    let ids: Vec<&Value> = apps["apps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|app| &app["id"])
        .collect();
    // contract: id-sorted
    assert_eq!(ids, ["/zdd/base", "/zdd/new", "/zdd/other"]);
    // contract: put-full
    let body = r#"{"cmd": "y"}"#;
    let full = "/v2/apps/zdd/base?partialUpdate=false";
    cluster.call(Method::PUT, full, body).await;
    cluster.until_idle().await;
    let app = cluster.get("/v2/apps/zdd/base").await.body["app"].clone();
    assert_eq!((&app["cmd"], &app["labels"]), (&json!("y"), &json!({})));
    // contract: id-routes-apart, id-creates-groups, error-404-app
    let group = cluster.get("/v2/apps/zdd").await;
    assert_eq!(
        (group.status, group.body),
        (
            StatusCode::NOT_FOUND,
            json!({"message": "App '/zdd' does not exist"})
        )
    );
    assert_eq!(
        cluster.get("/v2/groups/zdd/base").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(cluster.get("/v2/groups/zdd").await.body["id"], "/zdd");
    cluster.stop().await;
}

#[tokio::test]
async fn refused_in_this_order() {
    // contract: http-order-of-checks
    let cluster = Cluster::with_agent().await;
    cluster.call(Method::POST, "/v2/apps", TOO_BIG).await;
    let ask = async |method: Method, path: &str, content_type: &str, body: &str| -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(cluster.url(path))
            .header("content-type", content_type)
            .body(body.to_owned().into())
            .unwrap();
        cluster.request(request).await
    };
    let media = "application/json";
    // Each body has the fault of its row and those of all rows below.
    for (what, method, path, content_type, body, status) in [
        ("route", Method::PUT, "/v2/nothing", "text/plain", "{", 404),
        (
            "media type",
            Method::PUT,
            "/v2/apps/big",
            "text/plain",
            "{",
            415,
        ),
        (
            "JSON",
            Method::PUT,
            "/v2/apps/big",
            media,
            r#"{"cpus": "x", "mem": -1"#,
            400,
        ),
        (
            "reading",
            Method::PUT,
            "/v2/apps/big",
            media,
            r#"{"cpus": "x", "mem": -1}"#,
            400,
        ),
        (
            "rules",
            Method::PUT,
            "/v2/apps/big",
            media,
            r#"{"mem": -1}"#,
            422,
        ),
        (
            "rules first",
            Method::POST,
            "/v2/apps",
            media,
            r#"{"id": "/big", "cmd": "x", "mem": -1}"#,
            422,
        ),
        ("existence", Method::POST, "/v2/apps", media, TOO_BIG, 409),
        (
            "tree",
            Method::PUT,
            "/v2/apps/big",
            media,
            r#"{"dependencies": ["/big"]}"#,
            422,
        ),
        (
            "lock",
            Method::PUT,
            "/v2/apps/big",
            media,
            r#"{"mem": 1}"#,
            409,
        ),
    ] {
        let answer = ask(method, path, content_type, body).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        // contract: trap-6
        assert!(answer.body["message"].is_string(), "{what}");
        // contract: trap-7, error-409-lock
        let is_lock = what == "lock";
        assert_eq!(answer.body.get("deployments").is_some(), is_lock, "{what}");
    }
    // contract: http-media-type
    let request = Request::put(cluster.url("/v2/apps/a")).body(Bytes::from(r#"{"cmd": "x"}"#));
    let answer = cluster.request(request.unwrap()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    // contract: http-booleans
    for (n, (force, status)) in [
        ("true", 200),
        ("TRUE", 200),
        ("yes", 409),
        ("1", 409),
        ("", 409),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/v2/apps/big?force={force}");
        let body = json!({"disk": n + 1}).to_string();
        let answer = ask(Method::PUT, &path, media, &body).await;
        assert_eq!(answer.status, status, "{force}: {}", answer.text);
    }
    // contract: lock-defaults, app-delete, trap-20
    let refused = ask(Method::DELETE, "/v2/apps/big?force=false", media, "").await;
    assert_eq!(refused.status, 409);
    let deleted = ask(Method::DELETE, "/v2/apps/big", media, "").await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    assert_eq!(cluster.get("/v2/apps/big").await.status, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn arguments_that_mean_nothing() {
    // contract: error-422-argument
    let cluster = Cluster::start().await;
    cluster
        .call(Method::POST, "/v2/apps", r#"{"id": "/a", "cmd": "x"}"#)
        .await;
    let argument = async |method: Method, path: &str, body: &str, part: &str| {
        let answer = cluster.call(method, path, body).await;
        assert_eq!(answer.status, 422, "{path}: {}", answer.text);
        assert_eq!(keys(&answer.body), ["message"], "{path}");
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(part), "{message}");
    };
    // contract: selector-error
    let path = "/v2/apps?label=k%3Dv";
    argument(Method::GET, path, "", "Can not parse label selector").await;
    let path = "/v2/apps/a/versions/yesterday";
    argument(Method::GET, path, "", "yesterday").await;
    // contract: field-version, put-version-alone
    let body = r#"{"version": "yesterday"}"#;
    argument(Method::PUT, "/v2/apps/a", body, "yesterday").await;
    let body = r#"{"version": "2016-10-12T11:38:56.845Z", "cpus": 1}"#;
    let part = "The 'version' field may only be combined with the 'id' field.";
    argument(Method::PUT, "/v2/apps/a", body, part).await;
    // contract: put-version
    let unknown = r#"{"version": "2016-10-12T11:38:56.845Z"}"#;
    let answer = cluster.call(Method::PUT, "/v2/apps/a", unknown).await;
    assert_eq!(
        (answer.status, answer.body),
        (
            StatusCode::NOT_FOUND,
            json!({"message": "App '/a' does not exist"})
        )
    );
    // contract: reading-ignored, apps-filters
    let list = cluster.get("/v2/apps?nothing=1&embed=nothing&id=A").await;
    assert_eq!(list.body["apps"].as_array().map(Vec::len), Some(1));
    assert_eq!(cluster.get("/v2/apps?cmd=X&id=a").await.body, {
        cluster.get("/v2/apps").await.body
    });
    assert_eq!(
        cluster.get("/v2/apps?cmd=y&id=a").await.body,
        json!({"apps": []})
    );
    cluster.stop().await;
}

#[tokio::test]
async fn parts_of_an_app() {
    // contract: embed-parts, embed-tasks, embed-failures, embed-prefixes
    let cluster = Cluster::with_agent().await;
    cluster.deploy(r#"{"id": "/a", "cmd": "x"}"#).await;
    let shown = async |embeds: &[&str]| -> Vec<String> {
        let query: Vec<String> = embeds
            .iter()
            .map(|embed| format!("embed={embed}"))
            .collect();
        let path = format!("/v2/groups?embed=group.apps&{}", query.join("&"));
        let root = cluster.get(&path).await.body;
        let app = root["apps"][0].clone();
        let definition = keys(&app)
            .iter()
            .position(|key| *key == "versionInfo")
            .unwrap();
        keys(&app)[definition + 1..]
            .iter()
            .map(|key| (*key).to_owned())
            .collect()
    };
    let counts = [
        "tasksStaged",
        "tasksRunning",
        "tasksHealthy",
        "tasksUnhealthy",
    ];
    assert_eq!(shown(&[]).await, Vec::<String>::new());
    assert_eq!(shown(&["group.apps.counts"]).await, counts);
    assert_eq!(shown(&["group.apps.deployments"]).await, ["deployments"]);
    assert_eq!(
        shown(&["group.apps.readiness"]).await,
        ["readinessCheckResults"]
    );
    assert_eq!(shown(&["group.apps.taskStats"]).await, ["taskStats"]);
    assert_eq!(shown(&["group.apps.tasks"]).await, ["deployments", "tasks"]);
    // There is no failure to be shown.
    assert_eq!(
        shown(&["group.apps.failures"]).await,
        ["deployments", "tasks"]
    );
    assert_eq!(
        shown(&["group.apps.lastTaskFailure"]).await,
        Vec::<String>::new()
    );
    // contract: trap-8
    for prefix in ["", "app.", "apps.", "group.apps."] {
        let path = format!("/v2/apps/?embed={prefix}tasks&embed={prefix}taskStats");
        let app = cluster.get(&path).await.body["apps"][0].clone();
        assert!(app["tasks"].is_array() && app["taskStats"].is_object());
    }
    // contract: shown-readiness
    let app = cluster.get("/v2/apps/a?embed=readiness").await.body;
    assert_eq!(app["app"]["readinessCheckResults"], json!([]));
    cluster.stop().await;
}

#[tokio::test]
async fn the_queue_and_the_leader() {
    let cluster = Cluster::start().await;
    cluster.call(Method::POST, "/v2/apps", TOO_BIG).await;
    cluster
        .until("it waits", |state| !state.queue.is_empty())
        .await;
    // contract: queue-list, trap-2, trap-31
    let item = cluster.get("/v2/queue").await.body["queue"][0].clone();
    let mut shown = keys(&item);
    shown.sort_unstable();
    assert_eq!(shown, ["app", "count", "delay"]);
    assert_eq!(item["app"]["id"], "/big");
    // contract: queue-delay, error-404-queue
    let reset = cluster
        .call(Method::DELETE, "/v2/queue/big/delay", "")
        .await;
    assert_eq!((reset.status.as_u16(), reset.text.as_str()), (204, ""));
    // contract: leader-show
    let leader = cluster.get("/v2/leader").await.body;
    let front = cluster.handle.front().to_string();
    assert_eq!(leader, json!({"leader": front}));
    // contract: http-pods, trap-9
    for method in [Method::GET, Method::HEAD] {
        let pods = cluster.call(method, "/v2/pods", "").await;
        assert_eq!(pods.status, StatusCode::NOT_FOUND);
    }
    cluster.stop().await;
}

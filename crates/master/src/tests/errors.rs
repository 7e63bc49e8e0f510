//! Error bodies and headers of contract marathon §2.1, and who may ask at all.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::json;

use super::cluster::Cluster;

#[tokio::test]
async fn refusals_have_marathons_bodies() {
    // contract: http-headers, http-json, http-unknown-route, http-wrong-method, error-404-app
    // contract: error-404-task, error-404-deployment, error-404-queue, error-409-exists
    // contract: error-400-message, error-400-fields, error-422-rules, kill-scale-and-wipe
    // contract: kill-bad-id, kill-no-ids, stream-accept, trap-6, trap-7
    let cluster = Cluster::start().await;
    cluster
        .call(Method::POST, "/v2/apps", r#"{"id": "/a", "cmd": "true"}"#)
        .await;
    let app = |id: &str| json!({"message": format!("App '{id}' does not exist")});
    let check =
        async |method: Method, path: &str, body: &str, status: u16, expected: serde_json::Value| {
            let answer = cluster.call(method.clone(), path, body).await;
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
            assert_eq!(answer.body, expected, "{method} {path}");
            assert!(
                answer.headers["content-type"]
                    .to_str()
                    .unwrap()
                    .contains("application/json")
            );
            assert_eq!(
                answer.headers["cache-control"],
                "no-cache, no-store, must-revalidate"
            );
            assert_eq!(answer.headers["pragma"], "no-cache");
            assert_eq!(answer.headers["expires"], "0");
            let leader = format!("http://{}", cluster.handle.front());
            assert_eq!(answer.headers["x-marathon-leader"], leader);
        };
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    check(get.clone(), "/v2/apps/x", "", 404, app("/x")).await;
    check(delete.clone(), "/v2/apps/x", "", 404, app("/x")).await;
    check(post.clone(), "/v2/apps/x/restart", "", 404, app("/x")).await;
    check(get.clone(), "/v2/apps/x/tasks", "", 404, app("/x")).await;
    check(get.clone(), "/v2/apps/x/versions", "", 404, app("/x")).await;
    let none = json!({"message": "Task 'a.b' does not exist"});
    check(delete.clone(), "/v2/apps/a/tasks/a.b", "", 404, none).await;
    let none = json!({"message": "DeploymentPlan x does not exist"});
    check(
        delete.clone(),
        "/v2/deployments/x?force=true",
        "",
        404,
        none.clone(),
    )
    .await;
    check(delete.clone(), "/v2/deployments/x", "", 404, none).await;
    let none = json!({"message": "Application /x not found in tasks queue."});
    check(delete.clone(), "/v2/queue//x/delay", "", 404, none).await;
    let none = json!({"message": "URI not found: /v2/foo"});
    check(get.clone(), "/v2/foo", "", 404, none.clone()).await;
    check(get.clone(), "/service/marathon/v2/foo", "", 404, none).await;
    check(
        get.clone(),
        "/v2/pods",
        "",
        404,
        json!({"message": "URI not found: /v2/pods"}),
    )
    .await;
    let wrong = json!({"message": "Method Not Allowed"});
    check(put.clone(), "/v2/info", "", 405, wrong.clone()).await;
    check(get.clone(), "/v2/events", "", 405, wrong.clone()).await;
    check(get.clone(), "/v2/tasks/delete", "", 405, wrong).await;
    let exists = json!({"message": "An app with id [/a] already exists."});
    check(
        post.clone(),
        "/v2/apps",
        r#"{"id": "/a", "cmd": "true"}"#,
        409,
        exists,
    )
    .await;
    let both = json!({"message": "You cannot use scale and wipe at the same time."});
    check(
        post.clone(),
        "/v2/tasks/delete?scale=true&wipe=true",
        r#"{"ids": []}"#,
        400,
        both,
    )
    .await;
    let bad = json!({"message": "Invalid task id 'x'."});
    check(
        post.clone(),
        "/v2/tasks/delete",
        r#"{"ids": ["x"]}"#,
        400,
        bad,
    )
    .await;
    let missing = json!({
        "message": "Invalid JSON",
        "details": [{"path": "/ids", "errors": ["error.path.missing"]}],
    });
    check(post.clone(), "/v2/tasks/delete", "{}", 400, missing).await;
    let missing = json!({
        "message": "Invalid JSON",
        "details": [{"path": "/id", "errors": ["error.path.missing"]}],
    });
    check(post.clone(), "/v2/apps", r#"{"cmd": "true"}"#, 400, missing).await;
    let rules = json!({
        "message": "Object is not valid",
        "details": [{
            "path": "/upgradeStrategy/minimumHealthCapacity",
            "errors": ["got 1.2, expected between 0.0 and 1.0"],
        }],
    });
    let body = r#"{"id": "/b", "cmd": "true", "upgradeStrategy": {"minimumHealthCapacity": 1.2}}"#;
    check(post, "/v2/apps", body, 422, rules).await;
    cluster.stop().await;
}

#[tokio::test]
async fn bodies_must_be_json_and_not_too_large() {
    // contract: http-media-type, error-400-syntax, error-400-empty, trap-6
    let cluster = Cluster::start().await;
    let post = |content_type: &str, body: Bytes| {
        Request::post(cluster.url("/v2/apps"))
            .header("content-type", content_type)
            .body(body)
            .unwrap()
    };
    let answer = cluster.request(post("text/plain", "{}".into())).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(answer.body, json!({"message": "Unsupported Media Type"}));
    let answer = cluster
        .request(post("application/json; charset=UTF-8", "{".into()))
        .await;
    assert_eq!(
        (answer.status, &answer.body["message"]),
        (StatusCode::BAD_REQUEST, &json!("Invalid JSON"))
    );
    assert!(answer.body["details"].is_string(), "{}", answer.text);
    let answer = cluster.call(Method::POST, "/v2/apps", "").await;
    assert_eq!(answer.body["message"], "Please specify data in JSON format");
    let large = vec![b' '; crate::http::BODY_LIMIT + 1];
    let answer = cluster
        .request(post("application/json", large.into()))
        .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body["message"].is_string());
    cluster.stop().await;
}

#[tokio::test]
async fn foreign_pages_and_names_are_refused() {
    let cluster = Cluster::start().await;
    let body = r#"{"id": "/evil", "cmd": "true"}"#;
    for (name, value) in [
        ("host", "evil.example"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
    ] {
        let request = Request::post(cluster.url("/v2/apps"))
            .header(name, value)
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap();
        let answer = cluster.request(request).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {value}");
        assert!(answer.body["message"].is_string());
    }
    assert_eq!(cluster.get("/v2/apps").await.body, json!({"apps": []}));
    cluster.stop().await;
}

#[tokio::test]
async fn the_front_door_has_what_clients_look_for() {
    // contract: ping, http-pods, trap-9
    let cluster = Cluster::start().await;
    let ok = async |path: &str| {
        let answer = cluster.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer
    };
    assert_eq!(ok("/ping").await.text, "pong\n");
    assert_eq!(ok("/acs/api/v1/auth/providers").await.body, json!({}));
    assert_eq!(
        ok("/dcos-metadata/dcos-version.json").await.body["version"],
        "1.8.4"
    );
    ok("/exhibitor/").await;
    ok("/metrics").await;
    ok("/v2/plugins").await;
    assert!(ok("/").await.text.contains("/zdd/start.js"));
    ok("/zdd/start.js").await;
    let head = cluster
        .call(Method::HEAD, "/pkgpanda/active.buildinfo.full.json", "")
        .await;
    assert_eq!(head.status, StatusCode::OK);
    let head = cluster
        .call(Method::HEAD, "/service/marathon/v2/pods", "")
        .await;
    assert_eq!(head.status, StatusCode::NOT_FOUND);
    // The client written in Go asks so first, and takes a redirection for the cluster's address.
    let head = cluster.call(Method::HEAD, "/", "").await;
    assert_eq!(head.status, StatusCode::OK);
    let strategy = ok("/dcos-metadata/ui-config.json").await.body;
    assert_eq!(
        strategy["uiConfiguration"]["plugins"]["mesos"]["logging-strategy"],
        "logrotate"
    );
    assert_eq!(ok("/metadata").await.body["PUBLIC_IPV4"], "127.0.0.1");
    for path in [
        "/mesos/state",
        "/mesos/state.json",
        "/mesos/master/state.json",
    ] {
        assert!(ok(path).await.body["frameworks"].is_array(), "{path}");
    }
    for path in ["/mesos/state-summary", "/mesos/master/state-summary"] {
        assert!(ok(path).await.body["cluster"].is_string(), "{path}");
    }
    // Whoever still has a token from elsewhere sends it along.
    let with_token = Request::get(cluster.url("/mesos/state-summary"))
        .header("authorization", "token=of-another-cluster")
        .body(Bytes::new())
        .unwrap();
    assert_eq!(cluster.request(with_token).await.status, StatusCode::OK);
    for path in [
        "/cluster/v1/links",
        "/nothing",
        "/package/search",
        "/ca/dcos-ca.crt",
        "/system/health/v1/nodes/127.0.0.1/units",
        "/system/health/v1/report/diagnostics/list/all",
        "/system/v1/agent/S0/metrics/v0/node",
        "/system/v1/agent/S0/metrics/v0/containers/c",
        "/service/metronome/v1/jobs",
    ] {
        assert_eq!(
            cluster.get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let id = ok("/metadata").await.body["CLUSTER_ID"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
    let info = ok("/v2/info").await.body;
    assert_eq!(info["frameworkId"], format!("{id}-0000"));
    assert_eq!(info["leader"], ok("/v2/leader").await.body["leader"]);
    cluster.stop().await;
    let again = Cluster::start_on(cluster.store.clone()).await;
    assert_eq!(again.get("/metadata").await.body["CLUSTER_ID"], id);
    again.stop().await;
}

//! Bad requests, each with the status and body of Marathon, and the cluster unharmed by them.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_tests::{Bystander, ClusterSandbox, eventually};

/// Posts a good app with `changes`, which has to be refused with this status and body.
async fn check_post(
    cluster: &ClusterSandbox,
    changes: Value,
    status: u16,
    expected: Value,
) -> anyhow::Result<()> {
    let mut app = json!({"id": "/bad/app", "cmd": "exec sleep 100000", "cpus": 0.1, "mem": 16});
    for (key, value) in changes.as_object().into_iter().flatten() {
        app[key] = value.clone();
    }
    let answer = cluster
        .send(Method::POST, "/v2/apps", app.to_string())
        .await?;
    assert_eq!(
        (answer.0.as_u16(), answer.1),
        (status, expected),
        "{changes}"
    );
    Ok(())
}

fn unreadable(path: &str, error: &str) -> Value {
    json!({"message": "Invalid JSON", "details": [{"path": path, "errors": [error]}]})
}

fn against_the_rules(path: &str, error: &str) -> Value {
    json!({"message": "Object is not valid", "details": [{"path": path, "errors": [error]}]})
}

/// Each of these, sent as a body, is no JSON: 400, and the details are the parser's words.
fn broken_json() -> Vec<(&'static str, String)> {
    let nested = |open: &str, inside: &str, close: &str| {
        format!("{}{inside}{}", open.repeat(100_000), close.repeat(100_000))
    };
    let deep = nested("[", "", "]");
    vec![
        ("cut off", "{\"id\": \"/x\", ".to_owned()),
        ("not JSON", "id=/x".to_owned()),
        (
            "text after the end",
            "{\"id\": \"/x\", \"cmd\": \"true\"} }".to_owned(),
        ),
        ("brackets never closed", "[".repeat(100_000)),
        ("lists 100,000 deep", deep.clone()),
        ("objects 100,000 deep", nested("{\"a\":", "1", "}")),
        (
            "a good app with a deep value",
            format!("{{\"id\": \"/x\", \"cmd\": \"true\", \"more\": {deep}}}"),
        ),
        (
            "a good app with a deep label",
            format!("{{\"id\": \"/x\", \"cmd\": \"true\", \"labels\": {{\"a\": {deep}}}}}"),
        ),
    ]
}

#[tokio::test]
async fn broken_json_is_refused() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    for (what, body) in broken_json() {
        for (method, path) in [
            (Method::POST, "/v2/apps"),
            (Method::PUT, "/v2/apps//x"),
            (Method::PUT, "/v2/apps"),
            (Method::POST, "/v2/tasks/delete"),
        ] {
            let (status, answer) = cluster.send(method.clone(), path, body.clone()).await?;
            assert_eq!(
                status,
                StatusCode::BAD_REQUEST,
                "{what}, {method} {path}: {answer}"
            );
            assert_eq!(answer["message"], "Invalid JSON", "{what}, {method} {path}");
            assert!(
                answer["details"].is_string(),
                "{what}, {method} {path}: {answer}"
            );
        }
    }
    let (status, answer) = cluster.send(Method::POST, "/v2/apps", "").await?;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["message"], "Please specify data in JSON format");
    bystander.is_unharmed(&cluster).await
}

#[tokio::test]
async fn bad_definitions_are_refused() -> anyhow::Result<()> {
    const ID_RULE: &str = r"must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'";
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    for (changes, path, error) in [
        (json!({"id": 7}), "/id", "error.expected.jsstring"),
        (json!({"id": ""}), "/id", "error.minLength"),
        (json!({"cmd": ["a"]}), "/cmd", "error.expected.jsstring"),
        (json!({"cpus": "1"}), "/cpus", "error.expected.jsnumber"),
        (json!({"labels": []}), "/labels", "error.expected.jsobject"),
        (
            json!({"constraints": {}}),
            "/constraints",
            "error.expected.jsarray",
        ),
        (
            json!({"requirePorts": "yes"}),
            "/requirePorts",
            "error.expected.jsboolean",
        ),
        (
            json!({"instances": "three"}),
            "/instances",
            "error.expected.jsnumber",
        ),
        (
            json!({"instances": 0.1}),
            "/instances",
            "error.expected.int",
        ),
        (
            json!({"instances": 2_147_483_648_u32}),
            "/instances",
            "error.expected.int",
        ),
    ] {
        check_post(&cluster, changes, 400, unreadable(path, error)).await?;
    }
    let capacity = json!({"minimumHealthCapacity": 1.2});
    let name_rule = "name must not contain '=' or NUL characters";
    for (changes, path, error) in [
        (json!({"id": "/Zdd/UPPER"}), "/id", ID_RULE),
        (
            json!({"instances": -1}),
            "/instances",
            "got -1, expected 0 or more",
        ),
        (
            json!({"cpus": -0.5}),
            "/cpus",
            "got -0.5, expected 0.0 or more",
        ),
        (
            json!({"upgradeStrategy": capacity}),
            "/upgradeStrategy/minimumHealthCapacity",
            "got 1.2, expected between 0.0 and 1.0",
        ),
        (json!({"env": {"A\u{0}B": "x"}}), "/env(A\u{0}B)", name_rule),
        (json!({"env": {"A=B": "x"}}), "/env(A=B)", name_rule),
        (
            json!({"env": {"A": "x\u{0}"}}),
            "/env(A)",
            "must not contain NUL characters",
        ),
        (
            json!({"cmd": "echo \u{0}"}),
            "/cmd",
            "must not contain NUL characters",
        ),
        (
            json!({"labels": {"A": "x\u{0}"}}),
            "/labels(A)",
            "must not contain NUL characters",
        ),
        (
            json!({"cmd": null, "args": ["sleep", "1\u{0}"]}),
            "/args(1)",
            "must not contain NUL characters",
        ),
    ] {
        check_post(&cluster, changes, 422, against_the_rules(path, error)).await?;
    }
    check_post(
        &cluster,
        json!({"id": "/bystander"}),
        409,
        json!({"message": "An app with id [/bystander] already exists."}),
    )
    .await?;

    // The same by PUT, on an app that is there.
    let change = json!({"instances": -1, "env": {"A=B": ""}}).to_string();
    let (status, body) = cluster
        .send(Method::PUT, "/v2/apps//bystander", change)
        .await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    // Nothing of it came through.
    let apps = cluster.get("/v2/apps").await?;
    assert_eq!(apps["apps"].as_array().map(Vec::len), Some(1), "{apps}");
    bystander.is_unharmed(&cluster).await
}

#[tokio::test]
async fn what_is_not_there_is_404() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    let app = "App '/nowhere' does not exist";
    for (method, path, message) in [
        (Method::GET, "/v2/apps//nowhere", app),
        (Method::GET, "/v2/apps//nowhere/versions", app),
        (Method::GET, "/v2/apps//nowhere/tasks", app),
        (Method::DELETE, "/v2/apps//nowhere", app),
        (Method::DELETE, "/v2/apps//nowhere/tasks", app),
        (Method::POST, "/v2/apps//nowhere/restart", app),
        (
            Method::GET,
            "/v2/groups//nowhere",
            "Group '/nowhere' does not exist",
        ),
        (
            Method::DELETE,
            "/v2/queue//nowhere/delay",
            "Application /nowhere not found in tasks queue.",
        ),
        (Method::GET, "/v2/nowhere", "URI not found: /v2/nowhere"),
    ] {
        let answer = cluster.send(method.clone(), path, "").await?;
        let expected = (StatusCode::NOT_FOUND, json!({"message": message}));
        assert_eq!(answer, expected, "{method} {path}");
    }
    let output = cluster
        .dcos(&["marathon", "app", "show", "/nowhere"], "")
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(app), "{said}");
    bystander.is_unharmed(&cluster).await
}

#[tokio::test]
async fn a_locked_app_is_changed_by_force_only() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    // A deployment that waits for ever.
    let app = json!({"id": "/locked", "cmd": "exec sleep 100000", "cpus": 100, "mem": 16});
    cluster.post_app(&app).await?;
    let first = running_deployment(&cluster).await?;
    let refusal = json!({
        "message": "App is locked by one or more deployments. Override with the option '?force=true'. \
                    View details at '/v2/deployments/<DEPLOYMENT_ID>'.",
        "deployments": [{"id": first}],
    });
    let change = json!({"cpus": 0.1}).to_string();
    for (method, path, body) in [
        (Method::PUT, "/v2/apps//locked", change.clone()),
        (Method::PUT, "/v2/apps//locked?force=false", change.clone()),
        (Method::POST, "/v2/apps//locked/restart", String::new()),
    ] {
        let answer = cluster.send(method.clone(), path, body).await?;
        assert_eq!(
            answer,
            (StatusCode::CONFLICT, refusal.clone()),
            "{method} {path}"
        );
    }
    assert_eq!(running_deployment(&cluster).await?, first);
    let output = cluster
        .dcos(&["marathon", "app", "update", "/locked", "cpus=0.1"], "")
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--force"), "{said}");

    let path = "/v2/apps//locked?force=true";
    let (status, body) = cluster.send(Method::PUT, path, change).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_ne!(body["deploymentId"], first, "{body}");
    eventually("the forced change to be carried out", || async {
        match cluster.get("/v2/apps//locked").await {
            Ok(app) if app["app"]["tasksRunning"] == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.settled().await;
    bystander.is_unharmed(&cluster).await
}

/// The id of the one deployment that runs.
async fn running_deployment(cluster: &ClusterSandbox) -> anyhow::Result<Value> {
    let running = cluster.get("/v2/deployments").await?;
    assert_eq!(running.as_array().map(Vec::len), Some(1), "{running}");
    Ok(running[0]["id"].clone())
}

//! Bad input, each with the status and body of Marathon, and the cluster unharmed by it.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use zddcluster_tests::{ClusterSandbox, eventually};

/// Sends a request and returns status and body; JSON if it is JSON, else text as a JSON string.
async fn send(
    cluster: &ClusterSandbox,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> (StatusCode, Value) {
    send_with(cluster, method, path, body, &[]).await
}

async fn send_with(
    cluster: &ClusterSandbox,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
    headers: &[(&str, &str)],
) -> (StatusCode, Value) {
    let mut request = Request::builder()
        .method(method)
        .uri(cluster.url(path))
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body.into()).expect("a valid request");
    let response = cluster
        .http()
        .send(request, Duration::from_secs(20))
        .await
        .expect("it answers");
    let text = String::from_utf8_lossy(response.body()).into_owned();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (response.status(), body)
}

/// Posts an app made of a sleeping one with `changes`, which has to be refused with this status and something that contains `part`.
async fn check_post(cluster: &ClusterSandbox, changes: Value, status: u16, part: &str) {
    let mut app = json!({"id": "/bad/app", "cmd": "exec sleep 100000", "cpus": 0.1, "mem": 16, "instances": 0});
    for (key, value) in changes.as_object().expect("changes are an object") {
        app[key] = value.clone();
    }
    let (found, body) = send(cluster, Method::POST, "/v2/apps", app.to_string()).await;
    assert_eq!(found.as_u16(), status, "{changes}: {body}");
    assert!(body.to_string().contains(part), "{changes}: {body}");
}

#[tokio::test]
async fn refusals_are_marathons_and_harm_nothing() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let good = json!({"id": "/good", "cmd": "exec sleep 100000", "cpus": 0.1, "mem": 16});
    assert_eq!(
        send(&cluster, Method::POST, "/v2/apps", good.to_string())
            .await
            .0,
        StatusCode::CREATED
    );
    cluster.settled().await;
    let before = cluster.tasks("/good").await?;

    let (status, body) = send(&cluster, Method::POST, "/v2/apps", "{\"id\": \"/x\", ").await;
    assert_eq!(
        (status.as_u16(), &body["message"]),
        (400, &json!("Invalid JSON"))
    );
    assert!(body["details"].is_string(), "{body}");
    let (status, _) = send(&cluster, Method::POST, "/v2/apps", "[".repeat(100_000)).await;
    assert_eq!(status.as_u16(), 400);
    let (status, body) = send(&cluster, Method::POST, "/v2/apps", "").await;
    assert_eq!(
        (status.as_u16(), &body["message"]),
        (400, &json!("Please specify data in JSON format"))
    );

    check_post(&cluster, json!({"id": 7}), 400, "error.expected.jsstring").await;
    check_post(&cluster, json!({"instances": "three"}), 400, "/instances").await;
    check_post(
        &cluster,
        json!({"instances": 0.1}),
        400,
        "error.expected.int",
    )
    .await;
    check_post(
        &cluster,
        json!({"instances": -1}),
        422,
        "got -1, expected 0 or more",
    )
    .await;
    check_post(&cluster, json!({"id": "/Zdd/UPPER"}), 422, "/id").await;
    check_post(
        &cluster,
        json!({"upgradeStrategy": {"minimumHealthCapacity": 1.2}}),
        422,
        "got 1.2, expected between 0.0 and 1.0",
    )
    .await;
    check_post(&cluster, json!({"env": {"A\u{0}B": "x"}}), 422, "env").await;
    check_post(&cluster, json!({"env": {"A=B": "x"}}), 422, "env").await;
    check_post(&cluster, json!({"cmd": "echo \u{0}"}), 422, "cmd").await;
    check_post(
        &cluster,
        json!({"id": "/good"}),
        409,
        "An app with id [/good] already exists.",
    )
    .await;

    let (status, body) = send(&cluster, Method::GET, "/v2/apps//nowhere", "").await;
    assert_eq!(
        (status.as_u16(), body),
        (404, json!({"message": "App '/nowhere' does not exist"}))
    );

    // Nothing of it came through.
    assert_eq!(
        cluster.get("/v2/apps").await?["apps"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let after = cluster.tasks("/good").await?;
    assert_eq!(before[0]["id"], after[0]["id"]);
    Ok(())
}

#[tokio::test]
async fn foreign_pages_are_kept_out() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let app = json!({"id": "/x", "cmd": "true"}).to_string();
    let origin = [("origin", "http://evil.example")];
    let (status, _) = send_with(&cluster, Method::POST, "/v2/apps", app.clone(), &origin).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = send_with(
        &cluster,
        Method::POST,
        "/v2/apps",
        app,
        &[("origin", "null")],
    )
    .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    for path in ["/v2/apps", "/v2/info", "/ping", "/mesos/master/state"] {
        let (status, _) =
            send_with(&cluster, Method::GET, path, "", &[("host", "evil.example")]).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(cluster.get("/v2/apps").await?["apps"], json!([]));
    Ok(())
}

#[tokio::test]
async fn impossible_numbers_of_instances_wait_with_a_reason() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let app = json!({"id": "/many", "cmd": "exec sleep 100000", "cpus": 3, "mem": 16, "instances": 2_147_483_647});
    let (status, body) = send(&cluster, Method::POST, "/v2/apps", app.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    // Two private agents have room for one each.
    eventually("what fits to run and the rest to wait", || async {
        let queue = cluster
            .get("/v2/queue")
            .await
            .map_err(|error| error.to_string())?;
        let n_tasks = cluster
            .tasks("/many")
            .await
            .map_err(|error| error.to_string())?
            .len();
        let waiting = queue["queue"][0]["count"].as_u64();
        if n_tasks == 2 && waiting == Some(2_147_483_645) {
            Ok(())
        } else {
            Err(queue.to_string())
        }
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_command_that_ends_at_once_backs_off() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let app = json!({"id": "/fails", "cmd": "exit 3", "cpus": 0.1, "mem": 16});
    let (status, body) = send(&cluster, Method::POST, "/v2/apps", app.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    eventually("a delay in the queue", || async {
        let queue = cluster
            .get("/v2/queue")
            .await
            .map_err(|error| error.to_string())?;
        let delay = &queue["queue"][0]["delay"];
        if delay["overdue"] == json!(false) && delay["timeLeftSeconds"].as_u64() > Some(1) {
            Ok(())
        } else {
            Err(queue.to_string())
        }
    })
    .await;
    let app = cluster
        .get("/v2/apps//fails?embed=apps.lastTaskFailure&embed=app.lastTaskFailure")
        .await?;
    assert_eq!(
        app["app"]["lastTaskFailure"]["state"], "TASK_FAILED",
        "{app}"
    );
    Ok(())
}

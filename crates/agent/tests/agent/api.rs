//! The agent's own API: what a Mesos agent answers, measurements, and the ways out of a sandbox that must not be.

use std::os::unix::fs::symlink;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use zddcluster_client::HttpClient;
use zddcluster_model::TaskState::{Finished, Running};

use crate::common::{World, container_id, shell, wait_for};

fn parsed(answer: (StatusCode, String)) -> Value {
    assert_eq!(answer.0, StatusCode::OK, "{}", answer.1);
    serde_json::from_str(&answer.1).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_and_measurements_of_a_running_task() {
    let world = World::start().await;
    // Uses a third of a second of processor time, then sleeps; ends with the test.
    let spin = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo spun; sleep 1000";
    world.master.launch(shell("busy.1", spin));
    world.master.launch(shell("done.1", "true"));
    world.master.state("busy.1", Running).await;
    world.master.state("done.1", Finished).await;
    world.says("busy.1", "stdout", "spun").await;

    for path in ["/monitor/statistics", "/slave(1)/monitor/statistics.json"] {
        let all = parsed(world.get(path).await);
        assert_eq!(all.as_array().map(Vec::len), Some(1), "{path}: {all}");
        assert_eq!(all[0]["executor_id"], "busy.1");
        let statistics = &all[0]["statistics"];
        assert_eq!(statistics["cpus_limit"], 0.1);
        assert_eq!(statistics["mem_limit_bytes"], 32 << 20);
        let number = |key: &str| statistics[key].as_f64().unwrap();
        assert!(number("cpus_user_time_secs") > 0.01, "{statistics}");
        assert!(number("mem_rss_bytes") > 10_000.0, "{statistics}");
        assert!(number("processes") >= 1.0, "{statistics}");
    }
    let containers = parsed(world.get("/containers").await);
    let container = &containers[0];
    assert_eq!(container["container_id"], container_id("busy.1"));
    let address = &container["status"]["network_infos"][0]["ip_addresses"][0]["ip_address"];
    assert_eq!(address, "127.0.0.1");
    assert!(container["statistics"]["mem_rss_bytes"].is_number());

    let snapshot = parsed(world.get("/metrics/snapshot").await);
    for (name, expected) in [
        ("slave/registered", 1.0),
        ("slave/tasks_running", 1.0),
        ("slave/tasks_finished", 1.0),
        ("slave/tasks_failed", 0.0),
        ("slave/cpus_total", 4.0),
        ("slave/cpus_used", 0.1),
        ("slave/mem_used", 32.0),
    ] {
        assert_eq!(snapshot[name], expected, "{name}");
    }
    let (status, text) = world.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "zddcluster_agent_registered 1",
        "zddcluster_agent_tasks{state=\"TASK_RUNNING\"} 1",
        "zddcluster_agent_resources_used{resource=\"mem\"} 32",
        "zddcluster_task_memory_limit_bytes{app=\"/zdd/base\",task=\"busy.1\"} 33554432",
    ] {
        assert!(text.lines().any(|it| it == line), "{line} in {text}");
    }
    assert!(text.contains(
        "zddcluster_task_cpu_seconds_total{app=\"/zdd/base\",task=\"busy.1\",mode=\"user\"}"
    ));

    for (path, key, expected) in [
        ("/version", "version", json!("1.0.1")),
        ("/version.json", "version", json!("1.0.1")),
        (
            "/flags",
            "flags",
            parsed(world.get("/state").await)["flags"].clone(),
        ),
    ] {
        assert_eq!(parsed(world.get(path).await)[key], expected, "{path}");
    }
    for path in [
        "/nothing",
        "/slave(1)/nothing",
        "/zdd/v1/nothing",
        "/state/x",
    ] {
        let (status, text) = world.get(path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(text.contains("URI not found"), "{path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_the_operator_api() {
    let world = World::start().await;
    world.master.launch(shell("up.1", "echo hello; sleep 1000"));
    world.master.state("up.1", Running).await;
    world.says("up.1", "stdout", "hello").await;
    let send = async |body: &str, content_type: &str| {
        let request = Request::post(world.url("/api/v1"))
            .header("content-type", content_type)
            .body(body.to_owned().into())
            .unwrap();
        let limit = Duration::from_secs(10);
        let answer = HttpClient::new().send(request, limit).await.unwrap();
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        (answer.status(), body)
    };
    let get = async |kind: &str| {
        let body = json!({ "type": kind }).to_string();
        let mut answer = parsed(send(&body, "application/json").await);
        assert_eq!(answer["type"], kind);
        answer[kind.to_lowercase()].take()
    };
    assert_eq!(get("GET_HEALTH").await, json!({"healthy": true}));
    assert_eq!(get("GET_VERSION").await["version_info"]["version"], "1.0.1");
    let state = get("GET_STATE").await;
    let task = &state["get_tasks"]["launched_tasks"][0];
    assert_eq!(task["task_id"]["value"], "up.1");
    assert_eq!(get("GET_TASKS").await, state["get_tasks"]);
    assert_eq!(get("GET_EXECUTORS").await, state["get_executors"]);
    assert_eq!(get("GET_FRAMEWORKS").await, state["get_frameworks"]);
    let containers = get("GET_CONTAINERS").await;
    let statistics = &containers["containers"][0]["resource_statistics"];
    assert!(statistics["mem_rss_bytes"].is_number(), "{containers}");
    assert!(get("GET_METRICS").await["metrics"].is_array());
    assert!(get("GET_FLAGS").await["flags"].is_array());
    let path = world.sandbox("up.1").join("stdout");
    let read = json!({"type": "READ_FILE", "read_file": {"path": path, "offset": 1, "length": 3}});
    let read = parsed(send(&read.to_string(), "application/json").await);
    assert_eq!(read["read_file"], json!({"data": "ZWxs", "size": 6}));
    let path = world.sandbox("up.1").join("raw");
    std::fs::write(&path, b"\xff\n").unwrap();
    let read = json!({"type": "READ_FILE", "read_file": {"path": path, "offset": 0}});
    let read = parsed(send(&read.to_string(), "application/json").await);
    assert_eq!(read["read_file"], json!({"data": "/wo=", "size": 2}));

    for (body, content_type, status) in [
        ("{", "application/json", StatusCode::BAD_REQUEST),
        ("{}", "application/json", StatusCode::BAD_REQUEST),
        (
            r#"{"type": "MAKE_COFFEE"}"#,
            "application/json",
            StatusCode::BAD_REQUEST,
        ),
        (
            r#"{"type": "LIST_FILES"}"#,
            "application/json",
            StatusCode::BAD_REQUEST,
        ),
        (
            r#"{"type": "LAUNCH_NESTED_CONTAINER_SESSION"}"#,
            "application/json",
            StatusCode::NOT_IMPLEMENTED,
        ),
        (
            r#"{"type": "GET_HEALTH"}"#,
            "application/x-protobuf",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            r#"{"type": "READ_FILE", "read_file": {"path": "/etc/passwd", "offset": 0}}"#,
            "application/json",
            StatusCode::NOT_FOUND,
        ),
    ] {
        let (is, text) = send(body, content_type).await;
        assert_eq!(is, status, "{body}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_as_the_dcos_client_asks_for_them() {
    // Traps of contract dcos-cli §10 and T18.
    let world = World::start().await;
    world.master.launch(shell(
        "a.1",
        "printf '0123456789zw\\303\\266lf'; sleep 1000",
    ));
    world.master.state("a.1", Running).await;
    world.says("a.1", "stdout", "wölf").await;
    let sandbox = world.sandbox("a.1").display().to_string();
    for (query, data, offset) in [
        ("offset=-1&length=0", "", 16),
        ("offset=0&length=4", "0123", 0),
        ("offset=10&length=3", "zw", 10),
        ("offset=10&length=4", "zwö", 10),
        ("offset=14&length=-1", "lf", 14),
        ("offset=16&length=-1", "", 16),
        ("offset=99&length=10", "", 16),
    ] {
        for (name, path) in [("read", "stdout"), ("read.json", "./stdout")] {
            let url = format!("/files/{name}?path={sandbox}/{path}&{query}");
            let answer = parsed(world.get(&url).await);
            assert_eq!(answer, json!({"data": data, "offset": offset}), "{query}");
        }
    }
    let listed = parsed(
        world
            .get(&format!("/files/browse.json?path={sandbox}/."))
            .await,
    );
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [format!("{sandbox}/stderr"), format!("{sandbox}/stdout")]
    );
    let whole = world
        .get(&format!("/files/download?path={sandbox}/stdout"))
        .await;
    assert_eq!(whole.1, "0123456789zwölf");

    let log = parsed(
        world
            .get("/files/read?path=/slave/log&offset=-1&length=0")
            .await,
    );
    assert_eq!(log["data"], "");
    let listed = parsed(world.get("/files/browse?path=/slave").await);
    assert_eq!(listed[0]["path"], "/slave/log");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_a_sandbox() {
    let world = World::start().await;
    for task in ["a.1", "b.1"] {
        world.master.launch(shell(task, "echo secret; sleep 1000"));
        world.master.state(task, Running).await;
        world.says(task, "stdout", "secret").await;
    }
    let (ours, other) = (world.sandbox("a.1"), world.sandbox("b.1"));
    let beside = other
        .strip_prefix(world.work_dir())
        .unwrap()
        .display()
        .to_string();
    symlink("/etc/passwd", ours.join("absolute")).unwrap();
    symlink(&other, ours.join("neighbour")).unwrap();
    symlink("/proc/self/root", ours.join("root")).unwrap();
    symlink(
        format!("../../../../../../../../{beside}/stdout"),
        ours.join("relative"),
    )
    .unwrap();
    std::fs::write(world.work_dir().join("secret"), "secret").unwrap();
    let sandbox = ours.display().to_string();
    let work_dir = world.work_dir().display().to_string();
    let up = "../".repeat(8);
    let up_encoded = "%2e%2e%2f".repeat(8);
    for path in [
        "/etc/passwd".to_owned(),
        "%2Fetc%2Fpasswd".to_owned(),
        "etc/passwd".to_owned(),
        "/".to_owned(),
        work_dir.clone(),
        format!("{work_dir}/secret"),
        format!("{work_dir}/meta"),
        format!("{sandbox}/../../../../../../../../secret"),
        format!("{sandbox}/{up}secret"),
        format!("{sandbox}/{up_encoded}secret"),
        format!("{sandbox}/%2e%2e/%2e%2e/c1/stdout"),
        format!("{sandbox}/x/../stdout"),
        format!("{sandbox}/absolute"),
        format!("{sandbox}/relative"),
        format!("{sandbox}/neighbour/stdout"),
        format!("{sandbox}/root/etc/passwd"),
        format!("{sandbox}/stdout%00"),
        format!("{sandbox}%00/stdout"),
        format!("{sandbox}/%00"),
        "/slave/../slave/log".to_owned(),
        "/slave/log/../../etc/passwd".to_owned(),
        "/slave/log%00".to_owned(),
    ] {
        for verb in ["read", "read.json", "browse", "browse.json", "download"] {
            let (status, text) = world
                .get(&format!("/files/{verb}?path={path}&offset=0"))
                .await;
            let is_refused = status == StatusCode::FORBIDDEN || status == StatusCode::NOT_FOUND;
            assert!(is_refused, "{verb} {path}: {status} {text}");
            assert!(
                !text.contains("secret") && !text.contains("root:"),
                "{verb} {path}: {text}"
            );
        }
    }
    for query in ["", "?path=", "?path=/x&offset=-2", "?path=/x&length=many"] {
        let (status, _) = world.get(&format!("/files/read{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
    }
    wait_for("the tasks to be as before", || {
        match world.file("b.1", "stdout").as_str() {
            "secret\n" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await;
}

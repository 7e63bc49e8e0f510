//! What a Mesos master shows beside its state: lists, numbers, its log, and what it refuses.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_runtime::LogTail;
use zddcluster_store::MemoryStore;

use super::cluster::{Cluster, keys};

const APP: &str = r#"{"id": "/a", "cmd": "sleep 100", "cpus": 0.5, "mem": 64, "instances": 3}"#;

fn ids(answer: &Value) -> Vec<&str> {
    let tasks = answer["tasks"].as_array().unwrap();
    tasks.iter().map(|it| it["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn tasks_come_in_pages_newest_first() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(APP).await;
    cluster.call(Method::DELETE, "/v2/apps/a", "").await;
    cluster
        .until("all have ended", |it| it.tasks.is_empty())
        .await;
    cluster.deploy(&APP.replace("3", "1")).await;
    let get = async |query: &str| {
        cluster
            .get(&format!("/mesos/master/tasks{query}"))
            .await
            .body
    };
    let all = get("").await;
    let all = ids(&all);
    let states = get("").await;
    let states: Vec<&Value> = states["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["state"])
        .collect();
    assert_eq!(states[0], "TASK_RUNNING");
    assert!(states[1..].iter().all(|state| *state == "TASK_KILLED"));
    assert_eq!(all.len(), 4);
    let oldest_first: Vec<&str> = all.iter().rev().copied().collect();
    for (query, expected) in [
        ("?limit=2", &all[..2]),
        ("?limit=2&offset=1", &all[1..3]),
        ("?offset=3", &all[3..]),
        ("?offset=99", &all[4..]),
        ("?limit=0", &all[4..]),
        ("?limit=many&offset=-1", &all[..]),
        ("?order=desc", &all[..]),
        ("?order=asc", &oldest_first[..]),
        ("?order=asc&limit=1", &oldest_first[..1]),
        (".json?limit=1", &all[..1]),
    ] {
        assert_eq!(ids(&get(query).await), expected, "{query}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn summaries_count() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(APP).await;
    let summary = cluster.get("/mesos/state-summary").await.body;
    let (agent, framework) = (&summary["slaves"][0], &summary["frameworks"][0]);
    for counted in [agent, framework] {
        assert_eq!(counted["TASK_RUNNING"], 3);
        assert_eq!(counted["TASK_KILLED"], 0);
        assert_eq!(counted["used_resources"]["cpus"], 1.5);
    }
    assert_eq!(agent["framework_ids"], json!([framework["id"]]));
    assert_eq!(framework["slave_ids"], json!([agent["id"]]));
    assert_eq!(framework["tasks"], Value::Null);
    assert_eq!(
        agent["unreserved_resources"]["cpus"],
        agent["resources"]["cpus"]
    );

    let roles = cluster.get("/mesos/roles").await.body;
    let role = &roles["roles"][1];
    assert_eq!(
        (&role["name"], &role["resources"]["mem"]),
        (&json!("slave_public"), &json!(192.0))
    );
    assert_eq!(role["frameworks"], json!([framework["id"]]));
    assert_eq!(
        cluster.get("/mesos/frameworks").await.body["frameworks"][0]["tasks"]
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    cluster.stop().await;
}

#[tokio::test]
async fn the_snapshot_has_numbers_of_this_cluster() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(APP).await;
    cluster.call(Method::DELETE, "/v2/apps/a", "").await;
    cluster
        .until("all have ended", |it| it.tasks.is_empty())
        .await;
    cluster.deploy(&APP.replace("3", "2")).await;
    let snapshot = cluster.get("/mesos/metrics/snapshot").await.body;
    for (name, expected) in [
        ("master/elected", 1.0),
        ("master/slaves_active", 1.0),
        ("master/slaves_inactive", 0.0),
        ("master/frameworks_active", 1.0),
        ("master/tasks_running", 2.0),
        ("master/tasks_staging", 0.0),
        ("master/tasks_killed", 3.0),
        ("master/tasks_failed", 0.0),
        ("master/cpus_total", 4.0),
        ("master/cpus_used", 1.0),
        ("master/cpus_percent", 0.25),
        ("master/mem_used", 128.0),
    ] {
        assert_eq!(snapshot[name], expected, "{name}");
    }
    for name in [
        "master/uptime_secs",
        "system/mem_total_bytes",
        "system/cpus_total",
    ] {
        assert!(snapshot[name].as_f64().unwrap() > 0.0, "{name}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn the_log_is_the_one_file() {
    let log = LogTail::default();
    log.append("0123456789\nzwölf\n".as_bytes());
    let shown = log.clone();
    let cluster =
        Cluster::start_configured(MemoryStore::new(), |config| config.log_tail = shown).await;
    let get = async |path: &str| cluster.get(&format!("/mesos/files/{path}")).await;
    for (query, data, offset) in [
        ("offset=-1&length=0", "", 18),
        ("length=5", "", 18),
        ("offset=0&length=4", "0123", 0),
        ("offset=8&length=-1", "89\nzwölf\n", 8),
        ("offset=11&length=3", "zw", 11),
        ("offset=18&length=-1", "", 18),
        ("offset=99&length=9", "", 18),
    ] {
        for name in ["read", "read.json"] {
            let answer = get(&format!("{name}?path=/master/log&{query}")).await;
            assert_eq!(
                answer.body,
                json!({"data": data, "offset": offset}),
                "{query}"
            );
        }
    }
    for (path, status) in [
        ("read", 400),
        ("read?path=", 400),
        ("read?path=/master/log&offset=-2", 400),
        ("read?path=/master/log&offset=x", 400),
        ("read?path=/etc/passwd", 404),
        ("read?path=/master/../master/log", 404),
        ("read?path=/master/log%00", 404),
        ("browse?path=/etc", 404),
        ("browse?path=/master/log", 404),
        ("download?path=/etc/passwd", 404),
        ("nothing?path=/master/log", 404),
    ] {
        assert_eq!(get(path).await.status.as_u16(), status, "{path}");
    }
    let listed = get("browse?path=/master").await.body;
    assert_eq!(
        (&listed[0]["path"], &listed[0]["size"]),
        (&json!("/master/log"), &json!(18))
    );
    let whole = get("download?path=/master/log").await;
    assert_eq!(whole.text, "0123456789\nzwölf\n");
    assert_eq!(keys(&get("debug").await.body), ["/master/log"]);
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let cluster = Cluster::start().await;
    let id = cluster.get("/mesos/state").await.body["frameworks"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let post = async |path: &str, body: &str| cluster.call(Method::POST, path, body).await;
    for (body, status, word) in [
        ("", StatusCode::BAD_REQUEST, "frameworkId"),
        (
            "frameworkId=nobody",
            StatusCode::BAD_REQUEST,
            "No framework",
        ),
        (
            &format!("frameworkId={id}"),
            StatusCode::NOT_IMPLEMENTED,
            "zddcluster down",
        ),
    ] {
        let answer = post("/mesos/master/teardown", body).await;
        assert_eq!(answer.status, status, "{body}");
        let message = answer.body["message"].as_str().unwrap();
        assert!(message.contains(word), "{message}");
    }
    for (path, status) in [
        ("/mesos/master/reserve", StatusCode::NOT_IMPLEMENTED),
        (
            "/mesos/master/maintenance/schedule",
            StatusCode::NOT_IMPLEMENTED,
        ),
        ("/mesos/master/state", StatusCode::METHOD_NOT_ALLOWED),
        ("/mesos/master/nothing", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(post(path, "").await.status, status, "{path}");
    }
    let redirect = cluster.get("/mesos/redirect").await;
    assert_eq!(redirect.status, StatusCode::TEMPORARY_REDIRECT);
    let leader = format!("//{}", cluster.handle.mesos());
    assert_eq!(redirect.headers["location"], leader.as_str());
    for path in [
        "state",
        "tasks",
        "roles",
        "metrics/snapshot",
        "health",
        "version",
        "flags",
    ] {
        let path = format!("/mesos/master/{path}");
        let head = cluster.call(Method::HEAD, &path, "").await;
        assert_eq!(
            (head.status, head.text.as_str()),
            (StatusCode::OK, ""),
            "{path}"
        );
    }
    cluster.stop().await;
}

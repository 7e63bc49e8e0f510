//! Lists of tasks, as JSON and as text, and killing (contract marathon §2.4, §4.3).

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::cluster::{Cluster, keys, registration};

async fn text(cluster: &Cluster, path: &str) -> String {
    let request = Request::get(cluster.url(path)).header("accept", "text/plain");
    let answer = cluster.request(request.body(Bytes::new()).unwrap()).await;
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    answer.text
}

/// An agent that takes orders and never says a word, so that its tasks stay staging.
async fn silent_agent(cluster: &Cluster) -> hyper::body::Incoming {
    let agent = serde_json::to_string(&registration("127.0.0.21", 5051)).unwrap();
    let registered = cluster
        .call(Method::POST, "/zdd/v1/agents/register", &agent)
        .await;
    let id = registered.body["agentId"].as_str().unwrap().to_owned();
    let url = cluster.url(&format!("/zdd/v1/agents/{id}/commands?epoch=1"));
    cluster
        .open(Request::get(url).body(Bytes::new()).unwrap())
        .await
}

#[tokio::test]
async fn tasks_without_a_word_from_them() {
    // contract: z-13, tasks-list, count-staged, task-json-ip-addresses, task-times, trap-13, trap-26
    let cluster = Cluster::start().await;
    let commands = silent_agent(&cluster).await;
    let app = r#"{"id": "/a", "cmd": "x", "healthChecks": [{}]}"#;
    cluster.call(Method::POST, "/v2/apps", app).await;
    cluster
        .until("it is staged", |state| !state.tasks.is_empty())
        .await;
    for path in [
        "/v2/tasks?status=staging",
        "/v2/tasks?status[]=staging",
        "/v2/tasks?status=x",
    ] {
        let tasks = cluster.get(path).await.body["tasks"].clone();
        assert_eq!(tasks.as_array().map(Vec::len), Some(1), "{path}");
        assert_eq!(
            (&tasks[0]["state"], &tasks[0]["startedAt"]),
            (&json!("TASK_STAGING"), &Value::Null)
        );
        assert!(tasks[0]["stagedAt"].is_string());
        for key in ["ipAddresses", "healthCheckResults"] {
            assert!(tasks[0].get(key).is_none(), "{key}");
        }
    }
    let running = cluster.get("/v2/tasks?status=running").await.body;
    assert_eq!(running, json!({"tasks": []}));
    let both = "/v2/tasks?status=running&status=staging";
    assert_eq!(
        cluster.get(both).await.body["tasks"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    let counts = async || {
        let app = cluster.get("/v2/apps/a").await.body["app"].clone();
        [
            "tasksStaged",
            "tasksRunning",
            "tasksHealthy",
            "tasksUnhealthy",
        ]
        .map(|key| app[key].as_u64().unwrap())
    };
    assert_eq!(counts().await, [1, 0, 0, 0]);
    // Told to end, it is no longer staged, nor was it ever running.
    cluster
        .call(Method::DELETE, "/v2/apps/a/tasks?scale=false", "")
        .await;
    assert_eq!(counts().await, [0, 0, 0, 0]);
    let tasks = cluster.get("/v2/apps/a/tasks").await.body;
    assert_eq!(tasks["tasks"][0]["state"], "TASK_KILLING");
    // contract: tasks-text-ports
    assert_eq!(text(&cluster, "/v2/tasks").await, "a\t10000\t\n");
    drop(commands);
    cluster.stop().await;
}

#[tokio::test]
async fn the_text_listing() {
    let cluster = Cluster::with_agent().await;
    cluster
        .deploy(r#"{"id": "/zdd/batch", "cmd": "x", "cpus": 0.1, "ports": [], "instances": 2}"#)
        .await;
    cluster
        .deploy(r#"{"id": "/a", "cmd": "x", "ports": [0, 9999]}"#)
        .await;
    // Not Docker: left out.
    cluster
        .deploy(r#"{"id": "/ip", "cmd": "x", "ipAddress": {}}"#)
        .await;
    let user = r#"{"id": "/user", "cpus": 0.1, "container": {"docker": {"image": "i", "network": "USER",
        "portMappings": [{"containerPort": 80}, {"containerPort": 81, "hostPort": 0}]}}, "ipAddress": {"networkName": "n"}}"#;
    cluster.deploy(user).await;
    let tasks = cluster.get("/v2/apps/a/tasks").await.body["tasks"].clone();
    let (first, second) = (&tasks[0]["ports"][0], &tasks[0]["ports"][1]);
    // contract: tasks-text-ports, tasks-text-no-ports, tasks-text-ip, http-json, trap-15
    let a = format!("a\t10000\t127.0.0.11:{first}\t\na\t9999\t127.0.0.11:{second}\t\n");
    let batch = "zdd_batch\t \t127.0.0.11 127.0.0.11 \n";
    let tasks = cluster.get("/v2/apps/user/tasks").await.body["tasks"].clone();
    let held = &tasks[0]["ports"][0];
    let user = format!("user\t10001\t127.0.0.11:80\t\nuser\t10002\t127.0.0.11:{held}\t\n");
    assert_eq!(
        text(&cluster, "/v2/tasks").await,
        format!("{a}{user}{batch}")
    );
    assert_eq!(text(&cluster, "/v2/apps/a/tasks").await, a);
    assert_eq!(text(&cluster, "/v2/apps/zdd/*/tasks").await, batch);
    // contract: app-tasks, tasks-list
    let of_group = cluster.get("/v2/apps/zdd/*/tasks").await.body;
    assert_eq!(of_group["tasks"].as_array().map(Vec::len), Some(2));
    let none = cluster.get("/v2/apps/none/*/tasks").await;
    assert_eq!(none.body["message"], "Group '/none' does not exist");
    // contract: app-star, error-404-group
    let all = cluster.get("/v2/apps/*").await.body;
    assert_eq!(all["*"].as_array().map(Vec::len), Some(4));
    assert_eq!(cluster.get("/v2/apps/none/*").await.status, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn killing() {
    let cluster = Cluster::start().await;
    cluster.add_agent("127.0.0.11").await;
    cluster.add_agent("127.0.0.12").await;
    cluster
        .deploy(r#"{"id": "/a", "cmd": "x", "instances": 4}"#)
        .await;
    let settled = async |n: usize| {
        cluster
            .until("the tasks run", |state| {
                let mut tasks = state.tasks.values();
                state.tasks.size() == n && tasks.all(|task| task.is_serving())
            })
            .await;
    };
    // contract: kill-app-tasks, task-json-app-id
    for (host, n) in [("127.0.0.11", 2), ("127.0.0.99", 0), ("*", 4)] {
        let path = format!("/v2/apps/a/tasks?host={host}");
        let killed = cluster.call(Method::DELETE, &path, "").await;
        let tasks = killed.body["tasks"].as_array().unwrap().clone();
        assert_eq!((killed.status, tasks.len()), (StatusCode::OK, n), "{host}");
        for task in &tasks {
            assert!(host == "*" || task["host"] == host);
            assert!(task.get("appId").is_none());
        }
        settled(4).await;
    }
    let none = cluster
        .call(Method::DELETE, "/v2/apps/none/tasks", "")
        .await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    // contract: kill-one
    let empty = cluster
        .call(Method::DELETE, "/v2/apps/a/tasks/a.x?scale=true", "")
        .await;
    assert_eq!(keys(&empty.body), ["version", "deploymentId"]);
    let app = cluster.get("/v2/apps/a").await.body["app"].clone();
    assert_eq!(app["instances"], 4);
    // contract: kill-ids
    let unknown = r#"{"ids": ["a.x", "b_c.y"]}"#;
    let empty = cluster
        .call(Method::POST, "/v2/tasks/delete?scale=true", unknown)
        .await;
    assert_eq!(keys(&empty.body), ["version", "deploymentId"]);
    // contract: kill-bad-id
    let id = app["tasks"][0]["id"].as_str().unwrap();
    let mixed = json!({"ids": [id, "nothing"]}).to_string();
    let refused = cluster.call(Method::POST, "/v2/tasks/delete", &mixed).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    settled(4).await;
    assert!(
        cluster
            .handle
            .state()
            .tasks
            .keys()
            .any(|task| task.as_str() == id)
    );
    // contract: kill-ids, kill-scale-and-wipe
    let one = json!({"ids": [id]}).to_string();
    let killed = cluster
        .call(Method::POST, "/v2/tasks/delete?scale=false&wipe=true", &one)
        .await;
    assert_eq!(killed.body["tasks"][0]["appId"], "/a");
    settled(4).await;
    // contract: kill-scale, trap-35
    let scaled = cluster
        .call(
            Method::DELETE,
            "/v2/apps/a/tasks?scale=true&host=127.0.0.11",
            "",
        )
        .await;
    assert_eq!(keys(&scaled.body), ["version", "deploymentId"]);
    cluster.until_idle().await;
    settled(2).await;
    let app = cluster.get("/v2/apps/a").await.body["app"].clone();
    assert_eq!(app["instances"], 2);
    // contract: kill-scale-no-tasks
    cluster
        .deploy(r#"{"id": "/empty", "cmd": "x", "instances": 0}"#)
        .await;
    let nobody = cluster
        .call(Method::DELETE, "/v2/apps/empty/tasks?scale=true", "")
        .await;
    assert_eq!(
        (nobody.status, nobody.body),
        (
            StatusCode::NOT_FOUND,
            json!({"message": "App '/empty' does not exist"})
        )
    );
    cluster.stop().await;
}

#[tokio::test]
async fn volumes_of_resident_tasks_and_their_end() {
    // contract: task-json-local-volumes, kill-wipe
    let cluster = Cluster::with_agent().await;
    let volume = r#"{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}"#;
    cluster
        .deploy(&format!(
            r#"{{"id": "/db", "cmd": "x", "container": {{"type": "MESOS", "volumes": [{volume}]}}}}"#
        ))
        .await;
    cluster.deploy(r#"{"id": "/a", "cmd": "x"}"#).await;
    let of = async |path: &str| cluster.get(path).await.body["tasks"][0].clone();
    let plain = of("/v2/apps/a/tasks").await;
    assert!(plain.get("localVolumes").is_none(), "{plain}");
    let task = of("/v2/apps/db/tasks").await;
    let position = |key: &str| keys(&task).iter().position(|other| *other == key);
    assert_eq!(
        position("localVolumes"),
        position("ipAddresses").map(|at| at + 1)
    );
    let volumes = &task["localVolumes"];
    assert_eq!(volumes.as_array().map(Vec::len), Some(1));
    assert_eq!(keys(&volumes[0]), ["containerPath", "persistenceId"]);
    let id = volumes[0]["persistenceId"].as_str().unwrap().to_owned();
    let uuid = id.strip_prefix("db#data#").unwrap();
    assert!(uuid.parse::<uuid::Uuid>().is_ok(), "{id}");
    // Killed, its successor has the same; with wipe another.
    let mut last = id;
    for (query, is_same) in [("", true), ("?wipe=false", true), ("?wipe=true", false)] {
        let task_id = of("/v2/apps/db/tasks").await["id"].clone();
        let ids = json!({ "ids": [task_id] }).to_string();
        let path = format!("/v2/tasks/delete{query}");
        let killed = cluster.call(Method::POST, &path, &ids).await;
        assert_eq!(
            killed.body["tasks"][0]["localVolumes"][0]["persistenceId"],
            last
        );
        cluster
            .until("its successor runs", |state| {
                let mut tasks = state.tasks.values();
                tasks.any(|task| {
                    task.app_id.as_str() == "/db"
                        && *task.id.as_str() != task_id
                        && task.is_serving()
                })
            })
            .await;
        let next = of("/v2/apps/db/tasks").await["localVolumes"][0]["persistenceId"].clone();
        assert_eq!(next == last, is_same, "{query}");
        last = next.as_str().unwrap().to_owned();
    }
    cluster.stop().await;
}

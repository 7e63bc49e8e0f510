//! The calls of the v1 operator API.

use bytes::Bytes;
use data_encoding::BASE64;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use zddcluster_client::HttpClient;
use zddcluster_model::AgentId;
use zddcluster_runtime::LogTail;
use zddcluster_store::MemoryStore;

use super::cluster::{Answer, Cluster, PATIENCE, keys, registration};

const APP: &str = r#"{"id": "/zdd/a", "cmd": "sleep 100", "cpus": 0.5, "mem": 64}"#;

fn request(cluster: &Cluster, body: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::post(format!("http://{}/api/v1", cluster.handle.mesos()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.to_owned().into()).unwrap()
}

const JSON: (&str, &str) = ("content-type", "application/json");

async fn call(cluster: &Cluster, body: &str) -> Answer {
    cluster.request(request(cluster, body, &[JSON])).await
}

/// Calls and returns the member that has the call's name.
async fn get(cluster: &Cluster, kind: &str) -> Value {
    let answer = call(cluster, &json!({ "type": kind }).to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{kind}: {}", answer.text);
    let name = kind.to_lowercase();
    assert_eq!(keys(&answer.body), ["type", &*name]);
    assert_eq!(answer.body["type"], kind);
    answer.body[&name].clone()
}

#[tokio::test]
async fn every_call_that_reads() {
    let log = LogTail::default();
    log.append(b"a line\n");
    let cluster =
        Cluster::start_configured(MemoryStore::new(), |config| config.log_tail = log).await;
    cluster.add_agent("127.0.0.11").await;
    cluster.deploy(APP).await;
    assert_eq!(get(&cluster, "GET_HEALTH").await, json!({"healthy": true}));
    let version = get(&cluster, "GET_VERSION").await;
    assert_eq!(version["version_info"]["version"], "1.0.1");
    let state = get(&cluster, "GET_STATE").await;
    for (kind, list) in [
        ("GET_TASKS", "tasks"),
        ("GET_AGENTS", "agents"),
        ("GET_FRAMEWORKS", "frameworks"),
    ] {
        let part = get(&cluster, kind).await;
        assert_eq!(part[list].as_array().map(Vec::len), Some(1), "{kind}");
        assert_eq!(part, state[kind.to_lowercase()], "{kind}");
    }
    let task = &state["get_tasks"]["tasks"][0];
    assert_eq!(
        (&task["name"], &task["state"]),
        (&json!("a.zdd"), &json!("TASK_RUNNING"))
    );
    let agent = &state["get_agents"]["agents"][0];
    assert_eq!(agent["agent_info"]["id"], task["agent_id"]);
    let cpus = |resources: &Value| resources[0]["scalar"]["value"].clone();
    assert_eq!(cpus(&agent["total_resources"]), 4.0);
    assert_eq!(cpus(&agent["allocated_resources"]), 0.5);
    let framework = &state["get_frameworks"]["frameworks"][0];
    assert_eq!(framework["framework_info"]["id"], task["framework_id"]);
    assert_eq!(cpus(&framework["allocated_resources"]), 0.5);

    let roles = get(&cluster, "GET_ROLES").await;
    assert_eq!(
        roles["roles"][1]["frameworks"],
        json!([task["framework_id"]])
    );
    let master = get(&cluster, "GET_MASTER").await;
    let mesos = cluster.handle.mesos();
    assert_eq!(master["master_info"]["address"]["port"], mesos.port());
    assert_eq!(master["master_info"]["ip"], 0x0100_007f);
    let named = async |kind: &str, list: &str, name: &str| {
        let answer = get(&cluster, kind).await;
        let all = answer[list].as_array().unwrap().clone();
        let found = all.into_iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}"))["value"].clone()
    };
    assert_eq!(
        named("GET_METRICS", "metrics", "master/tasks_running").await,
        1.0
    );
    assert_eq!(named("GET_FLAGS", "flags", "cluster").await, "zddcluster");
    for kind in [
        "GET_EXECUTORS",
        "GET_WEIGHTS",
        "GET_QUOTA",
        "GET_LOGGING_LEVEL",
        "GET_MAINTENANCE_STATUS",
        "GET_MAINTENANCE_SCHEDULE",
    ] {
        assert!(get(&cluster, kind).await.is_object(), "{kind}");
    }
    let files = r#"{"type": "LIST_FILES", "list_files": {"path": "/master"}}"#;
    let files = call(&cluster, files).await.body;
    assert_eq!(files["list_files"]["file_infos"][0]["size"], 7);
    let read =
        r#"{"type": "READ_FILE", "read_file": {"path": "/master/log", "offset": 2, "length": 4}}"#;
    let read = call(&cluster, read).await.body;
    let expected = json!({"data": BASE64.encode(b"line"), "size": 7});
    assert_eq!(read["read_file"], expected);
    cluster.stop().await;
}

#[tokio::test]
async fn a_file_is_read_as_it_is_as_far_as_it_is_kept() {
    const KEPT: usize = 1 << 20;

    let log = LogTail::default();
    log.append(b"\xff\xfe");
    let shown = log.clone();
    let configure = |config: &mut crate::Config| config.log_tail = shown;
    let cluster = Cluster::start_configured(MemoryStore::new(), configure).await;
    let read = async |offset: usize| {
        let arguments = json!({ "path": "/master/log", "offset": offset, "length": 2 });
        let body = json!({ "type": "READ_FILE", "read_file": arguments });
        call(&cluster, &body.to_string()).await
    };
    let raw = json!({ "data": BASE64.encode(b"\xff\xfe"), "size": 2 });
    assert_eq!(read(0).await.body["read_file"], raw);
    log.append(&vec![b'x'; KEPT]);
    let kept = json!({ "data": BASE64.encode(b"xx"), "size": KEPT + 2 });
    assert_eq!(read(2).await.body["read_file"], kept);
    let dropped = read(1).await;
    assert_eq!(dropped.status, StatusCode::BAD_REQUEST, "{}", dropped.text);
    assert!(dropped.text.contains("begins at 2"), "{}", dropped.text);
    let past = json!({ "data": "", "size": KEPT + 2 });
    assert_eq!(read(KEPT + 9).await.body["read_file"], past);
    cluster.stop().await;
}

#[tokio::test]
async fn calls_that_are_not_answered() {
    let cluster = Cluster::start().await;
    for (body, status) in [
        ("", StatusCode::BAD_REQUEST),
        ("{", StatusCode::BAD_REQUEST),
        ("[]", StatusCode::BAD_REQUEST),
        ("{}", StatusCode::BAD_REQUEST),
        (r#"{"type": 7}"#, StatusCode::BAD_REQUEST),
        (r#"{"type": "get_health"}"#, StatusCode::BAD_REQUEST),
        (r#"{"type": "MAKE_COFFEE"}"#, StatusCode::BAD_REQUEST),
        (r#"{"type": "LIST_FILES"}"#, StatusCode::BAD_REQUEST),
        (
            r#"{"type": "READ_FILE", "read_file": {"path": "/master/log"}}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            r#"{"type": "READ_FILE", "read_file": {"path": "/etc/passwd", "offset": 0}}"#,
            StatusCode::NOT_FOUND,
        ),
        (
            r#"{"type": "LIST_FILES", "list_files": {"path": "/"}}"#,
            StatusCode::NOT_FOUND,
        ),
        (
            r#"{"type": "MARK_AGENT_GONE"}"#,
            StatusCode::NOT_IMPLEMENTED,
        ),
        (r#"{"type": "TEARDOWN"}"#, StatusCode::NOT_IMPLEMENTED),
        (r#"{"type": "SET_QUOTA"}"#, StatusCode::NOT_IMPLEMENTED),
    ] {
        let answer = call(&cluster, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(answer.body["message"].is_string(), "{body}");
    }
    let health = r#"{"type": "GET_HEALTH"}"#;
    let protobuf = "application/x-protobuf";
    for (body, headers, status) in [
        (health, &[][..], 415),
        (health, &[("content-type", protobuf)], 415),
        (health, &[JSON, ("accept", protobuf)], 406),
        (health, &[JSON, ("accept", "text/html, */*;q=0.1")], 200),
        (
            health,
            &[("content-type", "application/json; charset=utf-8")],
            200,
        ),
        (
            r#"{"type": "SUBSCRIBE"}"#,
            &[JSON, ("accept", protobuf)],
            406,
        ),
        (
            r#"{"type": "SUBSCRIBE"}"#,
            &[
                JSON,
                ("accept", "application/recordio"),
                ("message-accept", protobuf),
            ],
            406,
        ),
    ] {
        let answer = cluster.request(request(&cluster, body, headers)).await;
        assert_eq!(answer.status.as_u16(), status, "{body} {headers:?}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_subscriber_is_told_of_agents_in_the_frame_it_asked_for() {
    let cluster = Cluster::start().await;
    let subscribe = r#"{"type": "SUBSCRIBE"}"#;
    for (accept, content_type, message_type) in [
        ("application/json", "application/json", None),
        (
            "application/recordio",
            "application/recordio",
            Some("application/json"),
        ),
    ] {
        let headers = [JSON, ("accept", accept)];
        let request = request(&cluster, subscribe, &headers);
        let answer = HttpClient::new().open(request, PATIENCE).await.unwrap();
        assert_eq!(answer.headers()["content-type"], content_type);
        let given = answer.headers().get("message-content-type");
        assert_eq!(given.map(|it| it.to_str().unwrap()), message_type);
    }
    let headers = [JSON, ("accept", "*/*")];
    let mut body = cluster.open(request(&cluster, subscribe, &headers)).await;
    let mut text = String::new();
    let mut is_added = false;
    while !text.contains("AGENT_ADDED") {
        if text.contains("SUBSCRIBED") && !is_added {
            cluster.add_agent("127.0.0.11").await;
            is_added = true;
        }
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    let records = records(&text);
    assert_eq!(records[0]["type"], "SUBSCRIBED");
    let agents = &records[0]["subscribed"]["get_state"]["get_agents"]["agents"];
    assert_eq!(agents, &json!([]));
    let added = records
        .iter()
        .find(|it| it["type"] == "AGENT_ADDED")
        .unwrap();
    let agent = &added["agent_added"]["agent"];
    assert_eq!(agent["agent_info"]["hostname"], "127.0.0.11");
    assert_eq!(agent["active"], true);
    assert_eq!(agent["total_resources"][0]["scalar"]["value"], 4.0);
    cluster.stop().await;
}

/// The records of a `SUBSCRIBE` stream from `text`, as far as they are whole.
fn records(text: &str) -> Vec<Value> {
    text.lines()
        // A record ends where the length of the next one begins.
        .map(|line| line.trim_end_matches(|c: char| c.is_ascii_digit()))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[tokio::test]
async fn an_agent_that_stays_away_is_removed_unless_a_task_names_it() {
    // At this speed agents are waited for no longer than 1.5 s.
    let cluster = Cluster::start_configured(MemoryStore::new(), |config| config.speed = 50.0).await;
    let mut streams = Vec::new();
    for hostname in ["127.77.3.1", "127.77.3.2"] {
        let registration = serde_json::to_string(&registration(hostname, 5051)).unwrap();
        let path = "/zdd/v1/agents/register";
        let registered = cluster.call(Method::POST, path, &registration).await.body;
        let id = registered["agentId"].as_str().unwrap().to_owned();
        let commands = cluster.url(&format!("/zdd/v1/agents/{id}/commands?epoch=1"));
        let commands = Request::get(commands).body(Bytes::new()).unwrap();
        streams.push((id, cluster.open(commands).await));
    }
    // One is given a task.
    let app =
        r#"{"id": "/a", "cmd": "true", "constraints": [["hostname", "CLUSTER", "127.77.3.1"]]}"#;
    cluster.call(Method::POST, "/v2/apps", app).await;
    cluster
        .until("there is a task", |state| !state.tasks.is_empty())
        .await;
    let (named, nameless) = (streams[0].0.clone(), streams[1].0.clone());

    let headers = [JSON, ("accept", "*/*")];
    let subscribe = request(&cluster, r#"{"type": "SUBSCRIBE"}"#, &headers);
    let mut body = cluster.open(subscribe).await;
    let mut text = String::new();
    let mut read_until = async |kind: &str| {
        loop {
            let found = records(&text).into_iter().find(|it| it["type"] == kind);
            if let Some(record) = found {
                return record;
            }
            let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
            let data = frame.unwrap().unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
    };
    let subscribed = read_until("SUBSCRIBED").await;
    let agents = &subscribed["subscribed"]["get_state"]["get_agents"]["agents"];
    assert_eq!(agents.as_array().map(Vec::len), Some(2));
    drop(streams);
    let removed = read_until("AGENT_REMOVED").await;
    assert_eq!(
        removed["agent_removed"],
        json!({ "agent_id": { "value": nameless } })
    );

    let listed = |document: &Value| -> Vec<(String, bool)> {
        let slaves = document["slaves"].as_array().unwrap().iter();
        let slave = |it: &Value| (it["id"].as_str().unwrap().to_owned(), it["active"] == true);
        slaves.map(slave).collect()
    };
    for path in ["state", "state-summary", "slaves"] {
        let document = cluster.get(&format!("/mesos/master/{path}")).await.body;
        assert_eq!(listed(&document), [(named.clone(), false)], "{path}");
    }
    let state = cluster.get("/mesos/master/state.json").await.body;
    let count = |what: &str| state[format!("{what}_slaves")].clone();
    assert_eq!(
        ["activated", "deactivated", "unreachable"].map(count),
        [0, 1, 1]
    );
    // It may come back, as what it was.
    let mut back = registration("127.77.3.2", 5051);
    back.agent_id = Some(AgentId::new(&nameless));
    back.epoch = 2;
    let back = serde_json::to_string(&back).unwrap();
    cluster
        .call(Method::POST, "/zdd/v1/agents/register", &back)
        .await;
    let state = cluster.get("/mesos/master/state.json").await.body;
    assert_eq!(listed(&state), [(named, false), (nameless, true)]);
    cluster.stop().await;
}

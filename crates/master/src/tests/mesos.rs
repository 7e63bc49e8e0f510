//! The Mesos master API.

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::cluster::{Cluster, PATIENCE, registration};

const APP: &str = r#"{"id": "/zdd/blue", "cmd": "sleep 1000", "cpus": 0.1, "mem": 32,
    "portDefinitions": [{"port": 0, "name": "web", "protocol": "tcp"}]}"#;

#[tokio::test]
async fn the_state_has_what_dns_and_dcos_read() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(APP).await;
    let task = cluster.get("/v2/tasks").await.body["tasks"][0].clone();
    let answer = cluster.get("/mesos/master/state.json").await;
    let state = &answer.body;
    assert_eq!(state["pid"], format!("master@{}", cluster.handle.mesos()));
    assert_eq!(
        (&state["hostname"], &state["leader"]),
        (&json!("127.0.0.1"), &state["pid"])
    );
    let agent = &state["slaves"][0];
    assert_eq!(agent["pid"], "slave(1)@127.0.0.11:5051");
    assert_eq!(agent["resources"]["ports"], "[1025-32000]");
    assert!(answer.text.contains(r#""mem":14861.0"#), "{}", answer.text);
    let framework = &state["frameworks"][0];
    assert_eq!(framework["completed_tasks"], json!([]));
    let shown = &framework["tasks"][0];
    let port = &task["ports"][0];
    assert_eq!(
        (&shown["id"], &shown["slave_id"]),
        (&task["id"], &task["slaveId"])
    );
    assert_eq!(shown["name"], "blue.zdd");
    assert_eq!(shown["resources"]["ports"], format!("[{port}-{port}]"));
    assert_eq!(
        shown["discovery"],
        json!({
            "visibility": "FRAMEWORK",
            "name": "blue.zdd",
            "ports": {"ports": [{"number": port, "protocol": "tcp", "name": "web"}]},
        })
    );
    let status = &shown["statuses"][0];
    assert_eq!(status["state"], "TASK_RUNNING");
    assert_eq!(
        status["container_status"]["network_infos"][0]["ip_addresses"][0]["ip_address"],
        "127.0.0.11"
    );
    for path in ["/mesos/state", "/mesos/master/state", "/mesos/state.json"] {
        assert_eq!(cluster.get(path).await.body["id"], state["id"], "{path}");
    }
    for path in ["/mesos/state-summary", "/mesos/master/state-summary"] {
        let summary = cluster.get(path).await.body;
        for key in [
            "id",
            "hostname",
            "pid",
            "active",
            "resources",
            "used_resources",
        ] {
            let shown = &summary["slaves"][0][key];
            assert_eq!(shown, &state["slaves"][0][key], "{key} of {path}");
        }
    }

    cluster
        .call(http::Method::DELETE, "/v2/apps/zdd/blue", "")
        .await;
    cluster
        .until("it has ended", |state| state.tasks.is_empty())
        .await;
    let state = cluster.get("/mesos/master/state.json").await.body;
    let completed = &state["frameworks"][0]["completed_tasks"][0];
    assert_eq!(
        (&completed["id"], &completed["state"]),
        (&task["id"], &json!("TASK_KILLED"))
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_subscriber_sees_tasks_come_and_go() {
    let cluster = Cluster::with_agent().await;
    let url = format!("http://{}/api/v1", cluster.handle.mesos());
    let body = Bytes::from_static(br#"{"type":"SUBSCRIBE"}"#);
    let request = Request::post(url)
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let mut body = cluster.open(request).await;
    let mut buffer = Vec::new();
    let mut seen: Vec<(String, Value)> = Vec::new();
    cluster.deploy(APP).await;
    cluster
        .call(http::Method::DELETE, "/v2/apps/zdd/blue", "")
        .await;
    while !seen.iter().any(|(kind, event)| {
        kind == "TASK_UPDATED" && event["task_updated"]["state"] == "TASK_KILLED"
    }) {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
        buffer.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
        while let Some(event) = take_record(&mut buffer) {
            seen.push((event["type"].as_str().unwrap().to_owned(), event));
        }
    }
    let kinds: Vec<&str> = seen.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds[0], "SUBSCRIBED");
    let state = &seen[0].1["subscribed"]["get_state"];
    assert_eq!(
        state["get_agents"]["agents"][0]["agent_info"]["hostname"],
        "127.0.0.11"
    );
    assert_eq!(state["get_tasks"]["tasks"], json!([]));
    let states: Vec<&Value> = seen
        .iter()
        .filter(|(kind, _)| kind == "TASK_UPDATED")
        .map(|(_, event)| &event["task_updated"]["state"])
        .collect();
    assert_eq!(states, ["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]);
    let added = seen.iter().find(|(kind, _)| kind == "TASK_ADDED").unwrap();
    assert_eq!(added.1["task_added"]["task"]["name"], "blue.zdd");
    cluster.stop().await;
}

#[tokio::test]
async fn an_end_by_memory_is_told_with_its_reason() {
    let cluster = Cluster::start().await;
    let agent = serde_json::to_string(&registration("127.0.0.22", 5051)).unwrap();
    let registered = cluster
        .call(http::Method::POST, "/zdd/v1/agents/register", &agent)
        .await;
    let id = registered.body["agentId"].as_str().unwrap().to_owned();
    let url = cluster.url(&format!("/zdd/v1/agents/{id}/commands?epoch=1"));
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let _commands = cluster.open(request).await;
    let url = format!("http://{}/api/v1", cluster.handle.mesos());
    let body = Bytes::from_static(br#"{"type":"SUBSCRIBE"}"#);
    let request = Request::post(url).header("content-type", "application/json");
    let mut events = cluster.open(request.body(body).unwrap()).await;
    cluster
        .call(
            http::Method::POST,
            "/v2/apps",
            r#"{"id": "/fat", "cmd": "x"}"#,
        )
        .await;
    cluster
        .until("it is staged", |state| !state.tasks.is_empty())
        .await;
    let task_id = cluster.get("/v2/tasks").await.body["tasks"][0]["id"].clone();
    let message = "Memory limit exceeded: Requested: 32MB Maximum Used: 32MB";
    let reason = "REASON_CONTAINER_LIMITATION_MEMORY";
    let status = json!([{
        "seq": 1, "taskId": task_id, "state": "TASK_FAILED", "message": message, "reason": reason, "ipAddresses": [],
    }]);
    let path = format!("/zdd/v1/agents/{id}/statuses?epoch=1");
    let told = cluster
        .call(http::Method::POST, &path, &status.to_string())
        .await;
    assert_eq!(told.status, 200, "{}", told.text);

    let mut buffer = Vec::new();
    let updated = loop {
        let frame = tokio::time::timeout(PATIENCE, events.frame())
            .await
            .unwrap();
        buffer.extend_from_slice(&frame.unwrap().unwrap().into_data().unwrap());
        let mut records = std::iter::from_fn(|| take_record(&mut buffer));
        if let Some(event) = records.find(|event| event["type"] == "TASK_UPDATED") {
            break event["task_updated"]["status"].clone();
        }
    };
    assert_eq!(
        (&updated["state"], &updated["reason"], &updated["message"]),
        (&json!("TASK_FAILED"), &json!(reason), &json!(message))
    );
    let state = cluster.get("/mesos/master/state.json").await.body;
    let completed = &state["frameworks"][0]["completed_tasks"][0];
    assert_eq!(
        (&completed["id"], &completed["statuses"][0]["reason"]),
        (&task_id, &json!(reason))
    );
    // Marathon has no such word.
    let failure = cluster.get("/v2/apps/fat").await.body["app"]["lastTaskFailure"].clone();
    assert_eq!(failure["message"], message);
    assert!(failure.get("reason").is_none(), "{failure}");
    cluster.stop().await;
}

/// Takes the first whole record, `<length>\n<bytes>`, off a buffer.
fn take_record(buffer: &mut Vec<u8>) -> Option<Value> {
    let at = buffer.iter().position(|byte| *byte == b'\n')?;
    let length: usize = std::str::from_utf8(&buffer[..at]).unwrap().parse().unwrap();
    let record = buffer.get(at + 1..at + 1 + length)?;
    let event = serde_json::from_slice(record).unwrap();
    buffer.drain(..at + 1 + length);
    Some(event)
}

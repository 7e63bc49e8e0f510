//! Agents and edges as they attach and leave.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use zddcluster_model::AgentId;
use zddcluster_model::agent::Registration;
use zddcluster_runtime::{OnFailure, serve};

use super::cluster::{Answer, Cluster, PATIENCE, registration};

async fn register(cluster: &Cluster, registration: &Registration) -> Answer {
    let body = serde_json::to_string(registration).unwrap();
    cluster
        .call(Method::POST, "/zdd/v1/agents/register", &body)
        .await
}

fn get(url: String) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn an_agent_is_let_in_once_and_the_newest_wins() {
    let cluster = Cluster::start().await;
    let mut agent = registration("127.77.2.1", 5051);
    agent.protocol = 99;
    assert_eq!(
        register(&cluster, &agent).await.status,
        StatusCode::BAD_REQUEST
    );
    agent.protocol = zddcluster_model::agent::PROTOCOL;
    agent.epoch = 5;
    let registered = register(&cluster, &agent).await.body;
    let id = registered["agentId"].as_str().unwrap().to_owned();
    assert_eq!(
        registered["frameworkId"],
        cluster.handle.state().framework_id()
    );
    agent.agent_id = Some(AgentId::new(&id));
    agent.epoch = 4;
    assert_eq!(
        register(&cluster, &agent).await.status,
        StatusCode::CONFLICT
    );

    let commands = format!("/zdd/v1/agents/{id}/commands");
    let other_epoch = cluster.get(&format!("{commands}?epoch=4")).await;
    assert_eq!(other_epoch.status, StatusCode::CONFLICT);
    assert_eq!(cluster.get(&commands).await.status, StatusCode::BAD_REQUEST);
    let first = cluster
        .open(get(cluster.url(&format!("{commands}?epoch=5"))))
        .await;
    let twice = cluster.get(&format!("{commands}?epoch=5")).await;
    assert_eq!(
        twice.status,
        StatusCode::CONFLICT,
        "a second stream needs a second registration"
    );

    // Registered again, the old stream ends and says nothing about the new one.
    agent.epoch = 5;
    assert_eq!(register(&cluster, &agent).await.status, StatusCode::OK);
    let second = cluster
        .open(get(cluster.url(&format!("{commands}?epoch=5"))))
        .await;
    let mut first = zddcluster_client::Lines::new(first);
    assert_eq!(first.next(PATIENCE).await.unwrap(), None);
    let is_connected = |state: &zddcluster_engine::State| {
        state
            .agents
            .get(&AgentId::new(&id))
            .is_some_and(|agent| agent.is_connected)
    };
    assert!(is_connected(&cluster.handle.state()));
    let statuses = cluster
        .call(
            Method::POST,
            &format!("/zdd/v1/agents/{id}/statuses?epoch=4"),
            "[]",
        )
        .await;
    assert_eq!(statuses.status, StatusCode::CONFLICT);
    let keep_alive = format!("/zdd/v1/agents/{id}/statuses?epoch=5");
    let heard = cluster.call(Method::POST, &keep_alive, "[]").await;
    assert_eq!(heard.status, StatusCode::OK);
    drop(second);
    cluster
        .until("the agent is away", |state| !is_connected(state))
        .await;
    let unheard = cluster.call(Method::POST, &keep_alive, "[]").await;
    assert_eq!(
        unheard.status,
        StatusCode::NOT_FOUND,
        "it has to register again"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_task_is_drained_before_it_is_killed() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    let mut drains = cluster
        .lines(get(cluster.url("/zdd/v1/edges/e1/drains")))
        .await;
    cluster
        .until("the edge is attached", |state| state.edges.len() == 1)
        .await;
    let attached = cluster.get("/zdd/v1/edges").await;
    assert_eq!(attached.body, json!({"edges": ["e1"]}));
    cluster.call(Method::DELETE, "/v2/apps/a", "").await;
    let order: Value =
        serde_json::from_str(&drains.next(PATIENCE).await.unwrap().unwrap()).unwrap();
    let state = cluster.handle.state();
    let task = state.tasks.values().next().unwrap();
    assert_eq!(order, json!({"taskId": task.id}));
    assert!(
        task.killing
            .as_ref()
            .is_some_and(|killing| !killing.is_signalled)
    );
    let body = json!({"taskIds": [task.id]}).to_string();
    let drained = cluster
        .call(Method::POST, "/zdd/v1/edges/e1/drained", &body)
        .await;
    assert_eq!(drained.status, StatusCode::NO_CONTENT);
    cluster
        .until("the task has ended", |state| state.tasks.is_empty())
        .await;
    drop(drains);
    cluster
        .until("the edge is gone", |state| state.edges.is_empty())
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn an_edge_that_comes_back_is_still_waited_for() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    let url = cluster.url("/zdd/v1/edges/e1/drains");
    let mut first = cluster.lines(get(url.clone())).await;
    cluster
        .until("the edge is attached", |state| state.edges.len() == 1)
        .await;
    cluster.call(Method::DELETE, "/v2/apps/a", "").await;
    let order = first.next(PATIENCE).await.unwrap().unwrap();
    let mut second = cluster.lines(get(url)).await;
    let again = second.next(PATIENCE).await.unwrap().unwrap();
    assert_eq!(again, order);
    let state = cluster.handle.state();
    let task = state.tasks.values().next().expect("it is not killed yet");
    let killing = task.killing.as_ref().unwrap();
    assert!(!killing.is_signalled);
    let body = json!({"taskIds": [task.id]}).to_string();
    cluster
        .call(Method::POST, "/zdd/v1/edges/e1/drained", &body)
        .await;
    cluster
        .until("the task has ended", |state| state.tasks.is_empty())
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn the_front_door_reaches_agents() {
    let cluster = Cluster::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = axum::Router::new()
        .fallback(async |uri: http::Uri| (StatusCode::IM_A_TEAPOT, uri.to_string()));
    let token = cluster.tasks.token().clone();
    cluster.tasks.spawn(
        "fake-agent-api",
        OnFailure::Log,
        serve(listener, router, token),
    );
    let registered = register(&cluster, &registration("127.0.0.1", port))
        .await
        .body;
    let id = registered["agentId"].as_str().unwrap();
    for door in ["slave", "agent"] {
        let answer = cluster
            .get(&format!(
                "/{door}/{id}/files/read.json?path=/a%20b&length=-1"
            ))
            .await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(answer.text, "/files/read.json?path=%2Fa+b&length=-1");
    }
    // Not to what only the master may ask, with its token.
    for path in ["zdd/v1/tasks/t/check", "/zdd/v1/tasks/t/check"] {
        let path = format!("/agent/{id}/{path}");
        let answer = cluster.call(Method::POST, &path, "{}").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
    }
    let unknown = cluster.get("/slave/none/state.json").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(
        unknown.body,
        json!({"message": "No slave found with ID \"none\"."})
    );
    cluster.stop().await;
}

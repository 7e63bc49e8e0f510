//! Who is let in where others than this machine can connect, and where not.

use http::Request;
use tokio::net::TcpListener;
use zddcluster_client::HttpClient;
use zddcluster_runtime::{Tasks, Token};
use zddcluster_store::MemoryStore;

use super::cluster::PATIENCE;
use crate::start::StartError;
use crate::{Config, start};

const SECRET: &str = "0123456789abcdef";

async fn config(address: &str) -> Config {
    let bind = async || TcpListener::bind((address, 0)).await.unwrap();
    Config::new(bind().await, bind().await, Box::new(MemoryStore::new()))
}

#[tokio::test]
async fn no_master_for_all_without_a_token() {
    let tasks = Tasks::new();
    let refused = start(config("0.0.0.0").await, &tasks).await;
    assert!(matches!(refused.err(), Some(StartError::NoToken)));
}

/// Starts a master that listens on `address` and has a token; checks which requests it answers without one, and all with it.
async fn check(address: &str, is_answered: &[&str], is_refused: &[&str]) {
    let tasks = Tasks::new();
    let mut config = config(address).await;
    let ports = [&config.front, &config.mesos].map(|it| it.local_addr().unwrap().port());
    config.token = Some(Token::parse(SECRET).unwrap());
    start(config, &tasks).await.unwrap().wait_ready().await;
    let status = async |what: &str, token: Option<&str>| {
        let [method, api, path] = what.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{what}")
        };
        let port = if api == "front" { ports[0] } else { ports[1] };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{port}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let request = request.body(bytes::Bytes::new()).unwrap();
        let answer = HttpClient::new().send(request, PATIENCE).await.unwrap();
        answer.status().as_u16()
    };
    for what in is_refused {
        assert_eq!(status(what, None).await, 401, "{what}");
        assert_eq!(status(what, Some("Bearer 0123456789abcdeX")).await, 401);
    }
    for what in is_answered {
        assert_ne!(status(what, None).await, 401, "{what}");
    }
    for what in is_answered.iter().chain(is_refused) {
        for token in [format!("Bearer {SECRET}"), format!("token={SECRET}")] {
            assert_ne!(status(what, Some(&token)).await, 401, "{what}");
        }
    }
    tasks.shut_down(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn for_all_everything_wants_the_token() {
    let refused = [
        "GET front /v2/apps",
        "GET front /",
        "GET front /nothing",
        "DELETE front /v2/apps/a",
        "POST front /zdd/v1/agents/register",
        "GET mesos /master/state",
        "GET mesos /nothing",
    ];
    check("0.0.0.0", &[], &refused).await;
}

#[tokio::test]
async fn on_loopback_agents_and_edges_do() {
    let refused = [
        "POST front /zdd/v1/agents/register",
        "POST front /zdd/v1/%61gents/register",
        "GET front /zdd/v1/agents/a/commands?epoch=1",
        "GET front /zdd/v1/edges",
        "POST front /zdd/v1/edges/e/drained",
    ];
    let answered = [
        "GET front /v2/apps",
        "DELETE front /v2/apps/a",
        "GET front /zdd/v1/queue",
        "GET mesos /master/state",
    ];
    check("127.0.0.1", &answered, &refused).await;
}

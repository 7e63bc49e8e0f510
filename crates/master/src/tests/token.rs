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

/// A master for all: status, challenge and body of a request at its front door.
async fn ask(token: Option<&str>, what: &str, body: &str) -> (u16, String, serde_json::Value) {
    let tasks = Tasks::new();
    let mut config = config("0.0.0.0").await;
    let port = config.front.local_addr().unwrap().port();
    config.token = Some(Token::parse(SECRET).unwrap());
    start(config, &tasks).await.unwrap().wait_ready().await;
    let (method, path) = what.split_once(' ').unwrap();
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1:{port}{path}"))
        .header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header("authorization", format!("token={token}"));
    }
    let request = request.body(body.to_owned().into()).unwrap();
    let answer = HttpClient::new().send(request, PATIENCE).await.unwrap();
    let challenge = answer.headers().get("www-authenticate");
    let challenge = challenge.map(|it| it.to_str().unwrap().to_owned());
    let body = serde_json::from_slice(answer.body()).unwrap_or_default();
    let status = answer.status().as_u16();
    tasks.shut_down(PATIENCE).await.unwrap();
    (status, challenge.unwrap_or_default(), body)
}

#[tokio::test]
async fn clients_of_dcos_find_out_how_to_log_in() {
    const BUILD_INFO: &str = "HEAD /pkgpanda/active.buildinfo.full.json";
    const LOGIN: &str = "POST /acs/api/v1/auth/login";
    let right = format!(r#"{{"uid": "anybody", "password": "{SECRET}"}}"#);
    let pasted = format!(r#"{{"token": "{SECRET}\n"}}"#);
    for (token, what, body, status) in [
        (None, BUILD_INFO, "", 401),
        (Some("0123456789abcdeX"), BUILD_INFO, "", 401),
        (Some(SECRET), BUILD_INFO, "", 200),
        (None, "GET /exhibitor/", "", 401),
        (None, "GET /v2/apps", "", 401),
        (None, "GET /acs/api/v1/users", "", 401),
        (None, "GET /metadata/", "", 401),
        (None, "GET /%6detadata", "", 401),
        (None, "GET /metadata", "", 200),
        (None, "GET /dcos-metadata/dcos-version.json", "", 200),
        (None, "GET /acs/api/v1/auth/providers", "", 200),
        (
            None,
            "GET /login?redirect_uri=urn:ietf:wg:oauth:2.0:oob",
            "",
            200,
        ),
        (None, LOGIN, &right, 200),
        (None, LOGIN, &pasted, 200),
        (
            None,
            LOGIN,
            r#"{"uid": "a", "password": "0123456789abcdeX"}"#,
            401,
        ),
        (None, LOGIN, "{}", 401),
        (None, LOGIN, "", 400),
        (None, "GET /acs/api/v1/auth/login", "", 405),
    ] {
        let (is, challenge, answer) = ask(token, what, body).await;
        assert_eq!(is, status, "{what} {body}: {answer}");
        assert_eq!(
            challenge.starts_with("oauthjwt,"),
            status == 401,
            "{what}: {challenge}"
        );
        if what == LOGIN && status == 200 {
            assert_eq!(answer, serde_json::json!({ "token": SECRET }));
        }
        if what.ends_with("providers") {
            let method = &answer["dcos-users"]["client-method"];
            assert_eq!(method, "dcos-usercredential-post-receive-authtoken");
        }
    }
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

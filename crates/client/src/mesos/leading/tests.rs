use std::net::Ipv4Addr;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;
use crate::HttpClient;

const SOON: Duration = Duration::from_secs(20);

/// Asks a master that serves `router`, where `AT` in the expected answer is its address.
async fn ask(router: Router) -> Result<Leading, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let master = MesosMaster::new(HttpClient::new(), &format!("http://{address}"));
    let asked = master.state_if_leading(SOON).await;
    asked.map_err(|error| error.to_string())
}

fn state(leader: &str) -> Leading {
    Leading::Itself(State {
        leader: leader.to_owned(),
        ..State::default()
    })
}

fn other(leader: &str) -> Leading {
    Leading::Other(leader.to_owned())
}

fn at(path: &str, document: Value) -> Router {
    Router::new().route(path, get(async move || document.to_string()))
}

#[tokio::test]
async fn who_leads_is_told_by_the_state() {
    let (a, b) = ("master@10.0.0.1:5050", "master@10.0.0.2:5050");
    for (document, expected) in [
        (json!({"pid": a, "leader": a}), Ok(state(a))),
        (json!({"pid": a, "leader": b}), Ok(other("10.0.0.2:5050"))),
        // One that does not say who it is goes by the address it was asked at.
        (json!({"leader": b}), Ok(other("10.0.0.2:5050"))),
        (json!({"pid": a}), Err(MesosError::NoLeader.to_string())),
        (
            json!({"pid": a, "leader": ""}),
            Err(MesosError::NoLeader.to_string()),
        ),
        (json!("words"), Err(MesosError::NoLeader.to_string())),
    ] {
        assert_eq!(ask(at("/master/state", document)).await, expected);
    }
}

#[tokio::test]
async fn the_older_path_is_tried_where_there_is_no_newer_one() {
    let a = "master@10.0.0.1:5050";
    let document = json!({"pid": a, "leader": a});
    assert_eq!(ask(at("/master/state.json", document)).await, Ok(state(a)));
    ask(Router::new()).await.expect_err("no path");
}

#[tokio::test]
async fn redirects_name_the_leader() {
    for (location, expected) in [
        ("//10.0.0.2:5050/master/state", Some("10.0.0.2:5050")),
        ("http://10.0.0.2:5050", Some("10.0.0.2:5050")),
        ("https://10.0.0.2:5050/master/state", None),
        ("/elsewhere", None),
    ] {
        let redirect = async move || {
            let status = StatusCode::TEMPORARY_REDIRECT;
            (status, [(LOCATION, location)])
        };
        let asked = ask(Router::new().route("/master/state", get(redirect))).await;
        match expected {
            Some(leader) => assert_eq!(asked, Ok(other(leader))),
            None => assert!(asked.expect_err(location).contains(location)),
        }
    }
}

#[tokio::test]
async fn what_is_no_state_is_an_error() {
    for body in ["<html>", "", "{"] {
        let router = Router::new().route("/master/state", get(async move || body));
        ask(router).await.expect_err(body);
    }
    let refuse = async || (StatusCode::SERVICE_UNAVAILABLE, "not elected");
    let refused = ask(Router::new().route("/master/state", get(refuse))).await;
    assert!(refused.expect_err("refused").contains("503"));
}

//! Web pages of strangers, which can reach a loopback address through a browser, are kept out of every API.

use std::net::Ipv4Addr;

use http::{Method, StatusCode};
use serde_json::json;
use zddcluster_tests::{Bystander, ClusterSandbox, Options};

const FOREIGN_ORIGIN: &str = "the request comes from a web page of another origin";

/// Something to read on every listener that has an API: address, port, path.
fn readable(cluster: &ClusterSandbox) -> Vec<(Ipv4Addr, u16, &'static str)> {
    let (master, public, private) = (cluster.host(1), cluster.host(2), cluster.host(11));
    vec![
        (master, 8080, "/"),
        (master, 8080, "/ping"),
        (master, 8080, "/v2/apps"),
        (master, 8080, "/v2/info"),
        (master, 8080, "/service/marathon/v2/apps"),
        (master, 8080, "/mesos/master/state"),
        (master, 8080, "/zdd/v1/queue"),
        (master, 8080, "/nowhere"),
        (master, 5050, "/master/state"),
        (private, 5051, "/state.json"),
        (public, 5051, "/state.json"),
        (public, 9090, "/haproxy?stats;csv"),
        (public, 9090, "/_haproxy_health_check"),
        (public, 9090, "/_mlb_signal/hup"),
    ]
}

/// Something to write, wherever something may be written.
fn writable(cluster: &ClusterSandbox) -> Vec<(Method, String)> {
    let (master, private) = (cluster.host(1), cluster.host(11));
    vec![
        (Method::POST, cluster.url("/v2/apps")),
        (Method::PUT, cluster.url("/v2/apps//bystander")),
        (Method::DELETE, cluster.url("/v2/apps//bystander")),
        (Method::POST, cluster.url("/v2/apps//bystander/restart")),
        (Method::POST, cluster.url("/service/marathon/v2/apps")),
        (Method::POST, cluster.url("/v2/tasks/delete")),
        (Method::POST, format!("http://{master}:5050/api/v1")),
        (Method::POST, format!("http://{private}:5051/api/v1")),
    ]
}

#[tokio::test]
async fn foreign_pages_are_kept_out() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start_with(Options::args(&["--with", "marathon-lb"])).await?;
    cluster.settled().await;
    let bystander = Bystander::start(&cluster).await?;

    for (address, port, path) in readable(&cluster) {
        let url = format!("http://{address}:{port}{path}");
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "mesos",
        ] {
            let headers = [("host", host)];
            let (status, body) = cluster.send_to(Method::GET, &url, "", &headers).await?;
            assert_eq!(status, StatusCode::FORBIDDEN, "{host} at {url}: {body}");
            let message = body["message"].as_str().unwrap_or_default();
            assert!(
                message.contains("hint: --allow-host"),
                "{host} at {url}: {body}"
            );
        }
        // What this host is called here.
        for host in [
            "localhost:8080".to_owned(),
            "marathon.mesos".to_owned(),
            format!("{address}:{port}"),
        ] {
            let headers = [("host", host.as_str())];
            let (status, body) = cluster.send_to(Method::GET, &url, "", &headers).await?;
            assert_ne!(status, StatusCode::FORBIDDEN, "{host} at {url}: {body}");
        }
    }

    let app = json!({"id": "/evil", "cmd": "true", "instances": 0, "env": {"A": "1"}}).to_string();
    for (method, url) in writable(&cluster) {
        for origin in [
            "http://evil.example",
            "https://127.0.0.1.evil.example",
            "null",
        ] {
            let headers = [("origin", origin)];
            let answer = cluster
                .send_to(method.clone(), &url, app.clone(), &headers)
                .await?;
            let expected = (StatusCode::FORBIDDEN, json!({"message": FOREIGN_ORIGIN}));
            assert_eq!(answer, expected, "{origin}: {method} {url}");
        }
    }

    let apps = cluster.get("/v2/apps?id=evil").await?;
    assert_eq!(apps["apps"], json!([]));
    bystander.is_unharmed(&cluster).await
}

#[tokio::test]
async fn hosts_that_were_allowed_come_in() -> anyhow::Result<()> {
    let args = ["--with", "marathon-lb", "--allow-host", "box.example"];
    let cluster = ClusterSandbox::start_with(Options::args(&args)).await?;
    cluster.settled().await;
    for (address, port, path) in readable(&cluster) {
        let url = format!("http://{address}:{port}{path}");
        let headers = [("host", "box.example:8080")];
        let (status, body) = cluster.send_to(Method::GET, &url, "", &headers).await?;
        assert_ne!(status, StatusCode::FORBIDDEN, "{url}: {body}");
        let headers = [("host", "other.example")];
        let (status, body) = cluster.send_to(Method::GET, &url, "", &headers).await?;
        assert_eq!(status, StatusCode::FORBIDDEN, "{url}: {body}");
    }
    Ok(())
}

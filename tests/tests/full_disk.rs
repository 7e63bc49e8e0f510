//! A full disk under a running cluster: writes are refused with the reason, reads go on, and space again makes it whole.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::json;
use zddcluster_tests::{Bystander, ClusterSandbox, Options, eventually};

/// Puts the app with this revision; its size makes each write need space.
async fn put(cluster: &ClusterSandbox, revision: u32) -> (StatusCode, String) {
    let app = json!({
        "id": "/kept", "cmd": "true", "instances": 0,
        "env": {"REVISION": revision.to_string(), "WEIGHT": "x".repeat(50_000)},
    });
    let request = Request::builder()
        .method(Method::PUT)
        .uri(cluster.url("/v2/apps//kept?force=true"))
        .header("content-type", "application/json")
        .body(Bytes::from(app.to_string()))
        .expect("a valid request");
    let response = cluster
        .http()
        .send(request, Duration::from_secs(20))
        .await
        .expect("it answers");
    (
        response.status(),
        String::from_utf8_lossy(response.body()).into_owned(),
    )
}

async fn revision(cluster: &ClusterSandbox) -> anyhow::Result<u32> {
    let app = cluster.get("/v2/apps//kept").await?;
    Ok(app["app"]["env"]["REVISION"]
        .as_str()
        .unwrap_or_default()
        .parse()?)
}

#[tokio::test]
async fn writes_are_refused_until_there_is_space_and_nothing_is_lost() -> anyhow::Result<()> {
    let options = Options {
        disk_megabytes: Some(24),
        ..Options::default()
    };
    let mut cluster = match ClusterSandbox::start_with(options).await {
        Err(error) if error.to_string().contains("cannot mount") => {
            let _ = writeln!(std::io::stderr(), "skipped: {error:#}");
            return Ok(());
        }
        started => started?,
    };
    assert!(put(&cluster, 1).await.0.is_success());
    let bystander = Bystander::start(&cluster).await?;

    let ballast = cluster.data_dir().join("ballast");
    let mut file = File::create(&ballast)?;
    while file.write_all(&[0; 64 * 1024]).is_ok() {}
    let mut acknowledged = 1;
    let refusal = loop {
        let (status, body) = put(&cluster, acknowledged + 1).await;
        if !status.is_success() {
            break (status, body);
        }
        acknowledged += 1;
        assert!(acknowledged < 500, "the disk never filled up");
    };
    assert_eq!(refusal.0, StatusCode::SERVICE_UNAVAILABLE, "{}", refusal.1);
    assert!(refusal.1.contains("no space left"), "{}", refusal.1);
    assert_eq!(revision(&cluster).await?, acknowledged);
    bystander.runs_on(&cluster).await?;

    std::fs::remove_file(&ballast)?;
    drop(file);
    let last = acknowledged + 1;
    eventually("writes to be taken again", || async {
        let (status, body) = put(&cluster, last).await;
        if status.is_success() {
            Ok(())
        } else {
            Err(body)
        }
    })
    .await;
    bystander.is_unharmed(&cluster).await?;
    cluster.kill()?;
    cluster.up().await?;
    assert_eq!(revision(&cluster).await?, last);
    bystander.is_unharmed(&cluster).await
}

//! A clock that is set back: versions still grow, deployments still end, tasks stay.

use serde_json::{Value, json};
use zddcluster_tests::ClusterSandbox;

const APP: &str = "/clock/app";

fn app(revision: u32) -> String {
    json!({
        "id": APP, "cmd": "exec sleep 100000", "instances": 2, "cpus": 0.1, "mem": 16,
        "env": {"REVISION": revision.to_string()},
    })
    .to_string()
}

async fn shown(cluster: &ClusterSandbox) -> anyhow::Result<Value> {
    Ok(cluster.get(&format!("/v2/apps/{APP}")).await?["app"].take())
}

#[tokio::test]
async fn an_hour_back_harms_nothing() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    cluster
        .dcos_ok(&["marathon", "app", "add"], &app(1))
        .await?;
    cluster.settled().await;
    let before = shown(&cluster).await?;

    cluster.kill()?;
    cluster.set_args(&["--clock-offset-seconds", "-3600"]);
    cluster.up().await?;
    let after = shown(&cluster).await?;
    let ids = |app: &Value| -> Vec<String> {
        let tasks = app["tasks"].as_array().cloned().unwrap_or_default();
        tasks.iter().map(|task| task["id"].to_string()).collect()
    };
    assert_eq!(ids(&before), ids(&after));

    cluster
        .dcos_ok(&["marathon", "app", "update", APP], &app(2))
        .await?;
    cluster.settled().await;
    let updated = shown(&cluster).await?;
    assert_eq!(updated["env"]["REVISION"], "2");
    assert!(
        updated["version"].as_str() > before["version"].as_str(),
        "{updated}"
    );
    assert_eq!(updated["tasksRunning"], 2);
    assert!(
        ids(&updated).iter().all(|id| !ids(&before).contains(id)),
        "{updated}"
    );
    Ok(())
}

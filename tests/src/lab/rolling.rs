//! The lab's first chapter: rolling upgrades, with the lab's own files and commands.

use std::fs;

use serde_json::{Value, json};

use crate::sandbox::examples;
use crate::{ClusterSandbox, eventually};

/// The text of an example.
fn example(path: &str) -> String {
    let path = examples().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The example with its service at another version.
fn at_version(example: &str, version: &str) -> String {
    let mut app: Value = serde_json::from_str(example).expect("examples are JSON");
    app["env"]["SIMPLE_SERVICE_VERSION"] = json!(version);
    app.to_string()
}

/// What every task of an app says its version is, once so many of them answer.
async fn versions(cluster: &ClusterSandbox, app_id: &str, n_tasks: usize) -> Vec<String> {
    eventually(
        &format!("{n_tasks} answering tasks of {app_id}"),
        || async {
            let tasks = cluster
                .tasks(app_id)
                .await
                .map_err(|error| format!("{error:?}"))?;
            if tasks.len() != n_tasks {
                return Err(format!("{} tasks", tasks.len()));
            }
            let mut versions = Vec::new();
            for task in &tasks {
                let host = task["host"].as_str().unwrap_or_default();
                let url = format!("http://{host}:{}/endpoint0", task["ports"][0]);
                let answer: Value = cluster
                    .http()
                    .get_json(&url)
                    .await
                    .map_err(|error| format!("{url}: {error:?}"))?;
                versions.push(answer["version"].as_str().unwrap_or_default().to_owned());
            }
            Ok(versions)
        },
    )
    .await
}

/// Adds the first example, updates it and scales it.
pub async fn base(cluster: &ClusterSandbox) -> anyhow::Result<()> {
    let base = example("default/base.json");
    cluster
        .dcos_ok(&["marathon", "app", "add", "default/base.json"], "")
        .await?;
    cluster.settled().await;
    assert_eq!(versions(cluster, "/zdd/base", 4).await, ["0.9"; 4]);
    // Only the list of all tasks shows service ports.
    let all = cluster.get("/v2/tasks").await?;
    let tasks = all["tasks"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(tasks.len(), 4);
    assert!(
        tasks
            .iter()
            .all(|task| task["servicePorts"] == json!([10000])),
        "{all}"
    );
    let listed = cluster
        .dcos_ok(&["marathon", "task", "list", "/zdd/base"], "")
        .await?;
    assert_eq!(
        listed
            .lines()
            .filter(|line| line.contains("/zdd/base"))
            .count(),
        4,
        "{listed}"
    );

    cluster
        .dcos_ok(
            &["marathon", "app", "update", "/zdd/base"],
            &at_version(&base, "1.0"),
        )
        .await?;
    cluster.settled().await;
    assert_eq!(versions(cluster, "/zdd/base", 4).await, ["1.0"; 4]);

    cluster
        .dcos_ok(
            &["marathon", "app", "update", "/zdd/base", "instances=5"],
            "",
        )
        .await?;
    cluster.settled().await;
    assert_eq!(versions(cluster, "/zdd/base", 5).await, ["1.0"; 5]);
    Ok(())
}

/// Adds the example and updates it to 1.0; at every look on the way, `count` of the app is its number of instances or more.
pub async fn update_without_a_gap(
    cluster: &ClusterSandbox,
    path: &str,
    app_id: &str,
    count: &str,
) -> anyhow::Result<()> {
    let app = example(path);
    cluster
        .dcos_ok(&["marathon", "app", "add", path], "")
        .await?;
    cluster.settled().await;
    assert_eq!(versions(cluster, app_id, 4).await, ["0.9"; 4]);

    cluster
        .dcos_ok(
            &["marathon", "app", "update", app_id],
            &at_version(&app, "1.0"),
        )
        .await?;
    eventually("the update to end", || async {
        let running = cluster
            .get("/v2/deployments")
            .await
            .map_err(|error| format!("{error:?}"))?;
        let shown = cluster
            .get(&format!("/v2/apps/{app_id}"))
            .await
            .map_err(|error| format!("{error:?}"))?;
        // Old ones go only as new ones take over.
        assert!(shown["app"][count].as_u64() >= Some(4), "{shown}");
        if running == json!([]) {
            Ok(())
        } else {
            Err(running.to_string())
        }
    })
    .await;
    assert_eq!(versions(cluster, app_id, 4).await, ["1.0"; 4]);
    Ok(())
}

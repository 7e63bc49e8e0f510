//! The lab's first chapter: rolling upgrades, with the lab's own files and commands.

use zddcluster_tests::lab::rolling::{base, update_without_a_gap};
use zddcluster_tests::{ClusterSandbox, Options};

async fn update(path: &str, app_id: &str, count: &str) -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start_with(Options::args(&["--speed", "10"])).await?;
    update_without_a_gap(&cluster, path, app_id, count).await
}

#[tokio::test]
async fn base_is_added_updated_and_scaled() -> anyhow::Result<()> {
    base(&ClusterSandbox::start().await?).await
}

#[tokio::test]
async fn base_health_keeps_four_healthy_tasks() -> anyhow::Result<()> {
    // contract: chapter-base-health
    update(
        "default/base-health.json",
        "/zdd/base-health",
        "tasksHealthy",
    )
    .await
}

#[tokio::test]
async fn base_ready_keeps_four_running_tasks() -> anyhow::Result<()> {
    // contract: chapter-base-ready
    update("default/base-ready.json", "/zdd/base-ready", "tasksRunning").await
}

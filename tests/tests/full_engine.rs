//! An engine whose disk is full: what cannot start fails with the engine's own words, what runs goes on, and space mends it all.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use zddcluster_tests::{Bystander, ClusterSandbox, Engine, eventually};

/// Enough for one image made of an executable with its debug information, twice: as it is packed and unpacked.
const DISK_MEGABYTES: u32 = 1500;

const APP: &str = "/full";

/// The system's words, which the engine passes on.
const FULL: &str = "no space left on device";

/// An app of the lab's image; each tag is an image of its own.
fn app(tag: &str, instances: u32) -> Value {
    json!({
        "id": APP, "instances": instances, "cpus": 0.1, "mem": 32,
        "container": {"type": "DOCKER", "docker": {
            "image": format!("mhausenblas/simpleservice:{tag}"), "network": "HOST"}},
    })
}

/// Fills the engine's disk to its last page; removed, the file gives all of it back.
fn fill(root: &Path) -> anyhow::Result<File> {
    let mut ballast = File::create(root.join("ballast"))?;
    for size in [1 << 20, 1 << 12] {
        let chunk = vec![0; size];
        while ballast.write_all(&chunk).is_ok() {}
    }
    Ok(ballast)
}

/// Waits until the last of the app's tasks that failed says this, and returns all of its words.
async fn failure(cluster: &ClusterSandbox, says: &str) -> String {
    eventually(&format!("a task that failed with {says:?}"), || async {
        let app = cluster.get(&format!("/v2/apps{APP}")).await;
        let app = app.map_err(|error| format!("{error:?}"))?;
        let failure = &app["app"]["lastTaskFailure"];
        match (failure["state"].as_str(), failure["message"].as_str()) {
            (Some("TASK_FAILED"), Some(message)) if message.contains(says) => {
                Ok(message.to_owned())
            }
            _ => Err(app["app"].to_string()),
        }
    })
    .await
}

/// Waits until the app has its tasks running, each a container of its own, and no more.
async fn runs(engine: &Engine, cluster: &ClusterSandbox, n_tasks: usize) {
    eventually("the app to run", || async {
        let tasks = cluster.tasks(APP).await;
        let tasks = tasks.map_err(|error| format!("{error:?}"))?;
        let containers = engine.containers(&cluster.data_dir());
        let containers = containers.map_err(|error| format!("{error:#}"))?;
        let running = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING");
        let living = running.filter(|task| {
            let its = containers
                .iter()
                .filter(|container| task["id"] == container.task_id.as_str() && container.pid > 0);
            its.count() == 1
        });
        // With the bystander's two.
        match living.count() == n_tasks && containers.len() == n_tasks + 2 {
            true => Ok(()),
            false => Err(format!("{tasks:?}, {containers:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_start_fails_with_the_engines_words_until_there_is_space() -> anyhow::Result<()>
{
    let Some(engine) = Engine::on_a_disk(DISK_MEGABYTES) else {
        return Ok(());
    };
    let mut cluster = ClusterSandbox::start_with(engine.options(&["--speed", "10"])).await?;
    // Its image is there when the disk fills up.
    let bystander = Bystander::start(&cluster).await?;
    let root = engine.data_root()?;

    // Containers cannot be made of an image that is there.
    let ballast = fill(&root)?;
    cluster.post_app(&app("0.4.0", 2)).await?;
    let words = failure(&cluster, FULL).await;
    assert!(words.starts_with("Failed to launch container: "), "{words}");
    bystander.runs_on(&cluster).await?;
    // Nothing is half there: each try leaves no container.
    let of_bystander = engine.containers(&cluster.data_dir())?;
    assert_eq!(of_bystander.len(), 2, "{of_bystander:?}");

    drop(ballast);
    std::fs::remove_file(root.join("ballast"))?;
    runs(&engine, &cluster, 2).await;
    cluster.settled().await;

    // Nor can an image be made.
    let ballast = fill(&root)?;
    cluster.put_app(APP, &app("0.5.0", 2)).await?;
    let words = failure(&cluster, "simpleservice:0.5.0").await;
    assert!(words.contains(FULL), "{words}");
    bystander.runs_on(&cluster).await?;
    drop(ballast);
    std::fs::remove_file(root.join("ballast"))?;
    cluster.settled().await;
    runs(&engine, &cluster, 2).await;
    bystander.is_unharmed(&cluster).await?;
    cluster.stop().await?;
    assert_eq!(engine.containers(&cluster.data_dir())?, []);
    Ok(())
}

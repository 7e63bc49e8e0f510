//! Starting and ending a cluster.

use std::io::Write as _;
use std::time::Duration;

use zddcluster_tests::{ClusterSandbox, Options, eventually, zddcluster};

/// What the design promises, for a release build on an idle laptop.
const READY: Duration = Duration::from_secs(1);

/// What a debug build may take on a machine that runs all other tests at the same time.
const READY_UNDER_LOAD: Duration = Duration::from_secs(10);

#[tokio::test]
async fn it_is_ready_soon_and_says_where_everything_is() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let said = cluster.announcement();
    for part in [
        format!("http://{}:8080/v2", cluster.host(1)),
        format!("http://{}:5050", cluster.host(1)),
        format!("{}, {}", cluster.host(11), cluster.host(12)),
        cluster.host(2).to_string(),
        "zddcluster env".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} is not in:\n{said}");
    }
    let limit = if cfg!(debug_assertions) {
        READY_UNDER_LOAD
    } else {
        READY
    };
    assert!(cluster.took() < limit, "ready after {:?}", cluster.took());
    let _ = writeln!(std::io::stderr(), "ready after {:?}", cluster.took());
    assert_eq!(
        cluster.get("/v2/apps").await?["apps"],
        serde_json::json!([])
    );
    Ok(())
}

#[tokio::test]
async fn down_ends_it_well_and_up_starts_it_again() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    cluster.stop().await?;
    cluster.up().await?;
    cluster.stop().await
}

#[tokio::test]
async fn a_second_up_names_the_first() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let pid = cluster.pid().expect("it runs").to_string();

    // The same data directory.
    let output = cluster
        .command(&["up", "--net", "127.93.0.0/24"])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains(&format!("another zddcluster (pid {pid})")),
        "{said}"
    );

    // The same addresses.
    let dir = tempfile::tempdir()?;
    let net = format!("{}/24", cluster.host(0));
    let output = std::process::Command::new(zddcluster())
        .args(["up", "--net", &net, "--data-dir"])
        .arg(dir.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains(&format!("another cluster (pid {pid}")),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
async fn two_clusters_run_side_by_side() -> anyhow::Result<()> {
    let (one, two) = tokio::try_join!(ClusterSandbox::start(), ClusterSandbox::start())?;
    assert_ne!(
        one.get("/v2/info").await?["frameworkId"],
        two.get("/v2/info").await?["frameworkId"]
    );
    Ok(())
}

#[tokio::test]
async fn with_marathon_lb_the_edge_is_an_app() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start_with(Options::args(&["--with", "marathon-lb"])).await?;
    cluster.settled().await;
    let app = cluster.get("/v2/apps//marathon-lb").await?;
    assert_eq!(app["app"]["tasksRunning"], 1);
    assert_eq!(app["app"]["tasks"][0]["host"], cluster.host(2).to_string());

    // It is there already the next time.
    let version = app["app"]["version"].clone();
    cluster.stop().await?;
    cluster.up().await?;
    assert_eq!(
        cluster.get("/v2/apps//marathon-lb").await?["app"]["version"],
        version
    );
    Ok(())
}

#[tokio::test]
async fn down_ends_what_a_killed_up_left() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    cluster
        .dcos_ok(&["marathon", "app", "add", "default/base.json"], "")
        .await?;
    cluster.settled().await;
    let tasks = cluster.tasks("/zdd/base").await?;
    let url = format!(
        "http://{}:{}/endpoint0",
        tasks[0]["host"].as_str().unwrap_or_default(),
        tasks[0]["ports"][0]
    );
    let answers = || cluster.http().get_json::<serde_json::Value>(&url);
    eventually("the task to answer", answers).await;

    cluster.kill()?;
    let answers = || cluster.http().get_json::<serde_json::Value>(&url);
    answers().await?;
    let status = cluster.command(&["status"]).output()?;
    assert!(
        String::from_utf8_lossy(&status.stderr).contains("zdd_base"),
        "{status:?}"
    );
    let output = cluster.command(&["down"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ended 4 tasks"), "{said}");
    assert!(answers().await.is_err());

    // The apps come back.
    cluster.up().await?;
    cluster.settled().await;
    eventually("four new tasks", || async {
        let tasks = cluster
            .tasks("/zdd/base")
            .await
            .map_err(|error| format!("{error:?}"))?;
        let running = tasks
            .iter()
            .filter(|task| task["state"] == "TASK_RUNNING")
            .count();
        if running == 4 {
            Ok(())
        } else {
            Err(format!("{tasks:?}"))
        }
    })
    .await;
    Ok(())
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_its_snapshot_taken_up() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    cluster
        .dcos_ok(&["marathon", "app", "add", "default/base.json"], "")
        .await?;
    cluster.settled().await;
    let version = cluster.get("/v2/apps//zdd/base").await?["app"]["version"].clone();
    cluster.stop().await?;
    // The snapshot is of the last start.
    cluster.up().await?;
    cluster.stop().await?;

    let store = cluster.data_dir().join("store");
    std::fs::remove_file(store.join("db/conf"))?;
    let net = format!("{}/24", cluster.host(0));
    let output = cluster.command(&["up", "--net", &net]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    let saved = cluster.data_dir().join("store.damaged");
    let snapshot = saved.join("snapshot.json");
    let hint = format!("zddcluster up --restore {}", snapshot.display());
    assert!(said.contains("damaged") && said.contains(&hint), "{said}");

    std::fs::rename(&store, &saved)?;
    cluster.set_args(&["--restore", &snapshot.to_string_lossy()]);
    cluster.up().await?;
    assert_eq!(
        cluster.get("/v2/apps//zdd/base").await?["app"]["version"],
        version
    );
    cluster.settled().await;
    Ok(())
}

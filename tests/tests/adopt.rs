//! Another executable takes a cluster over from the one that started it: its tasks go on as they are, each counted once.

#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use zddcluster_tests::{ClusterSandbox, Engine, Options, eventually, variable_of, zddcluster};

const SERVICE: &str = "/adopted/service";
const COMMAND: &str = "/adopted/command";
const IMAGE: &str = "mhausenblas/simpleservice:0.4.0";

/// Puts an executable of other bytes where one is, or none yet, as a package manager does.
fn install(path: &Path, version: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::copy(zddcluster(), &new)?;
    // After its end an ELF file may hold what it likes.
    File::options()
        .append(true)
        .open(&new)?
        .write_all(version.as_bytes())?;
    Ok(fs::rename(&new, path)?)
}

/// A cluster of an executable of its own, with tasks, one of which runs that executable.
async fn start(options: Options) -> anyhow::Result<(TempDir, PathBuf, ClusterSandbox)> {
    let dir = TempDir::with_prefix("zdd-adopt-")?;
    let binary = dir.path().join("zddcluster");
    install(&binary, "the old one")?;
    let mut options = options;
    options.binary = Some(binary.clone());
    let cluster = ClusterSandbox::start_with(options).await?;
    let service = json!({
        "id": SERVICE, "instances": 3, "cpus": 0.1, "mem": 32,
        "container": {"type": "DOCKER", "docker": {"image": IMAGE, "network": "HOST"}},
        "healthChecks": [{"path": "/health", "intervalSeconds": 1, "gracePeriodSeconds": 5}],
    });
    let command = json!({
        "id": COMMAND, "instances": 2, "cpus": 0.1, "mem": 16, "cmd": "exec sleep 100000",
    });
    for app in [service, command] {
        cluster.post_app(&app).await?;
    }
    cluster.settled().await;
    Ok((dir, binary, cluster))
}

/// The tasks of both apps that the API shows, all of them running, with the time each began.
async fn tasks(cluster: &ClusterSandbox) -> anyhow::Result<BTreeMap<String, String>> {
    let mut tasks = BTreeMap::new();
    for app_id in [SERVICE, COMMAND] {
        for task in cluster.tasks(app_id).await? {
            assert_eq!(task["state"], "TASK_RUNNING", "{task}");
            let text = |key: &str| task[key].as_str().unwrap_or_default().to_owned();
            tasks.insert(text("id"), text("startedAt"));
        }
    }
    Ok(tasks)
}

/// Processes that have a task's environment, by the task's id.
fn processes(cluster: &ClusterSandbox) -> BTreeMap<String, u32> {
    let pids = cluster.processes().into_keys();
    pids.filter_map(|pid| Some((variable_of(pid, "MESOS_TASK_ID")?, pid)))
        .collect()
}

/// The other one starts, and finds everything as it was.
async fn take_over(
    cluster: &mut ClusterSandbox,
    binary: &Path,
    before: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    cluster.kill()?;
    install(binary, "the new one, which is longer")?;
    cluster.up().await?;
    assert_eq!(tasks(cluster).await?, *before);
    for (app_id, expected) in [(SERVICE, 3), (COMMAND, 2)] {
        let app = cluster.get(&format!("/v2/apps{app_id}")).await?;
        assert_eq!(app["app"]["tasksRunning"], expected, "{app}");
        assert_eq!(app["app"]["lastTaskFailure"], Value::Null, "{app}");
    }
    let state = cluster.get("/mesos/master/state.json").await?;
    let shown = state["frameworks"][0]["tasks"].as_array().map(Vec::len);
    assert_eq!(shown, Some(before.len()), "{state}");
    // One more is the new one's.
    let more = json!({"instances": 4});
    cluster.put_app(SERVICE, &more).await?;
    cluster.settled().await;
    let after = tasks(cluster).await?;
    assert_eq!(after.len(), before.len() + 1);
    assert!(
        before.iter().all(|task| after.contains_key(task.0)),
        "{before:?}, {after:?}"
    );
    // Its checks go on for those that are not its own.
    eventually("four healthy tasks", || async {
        let app = cluster.get(&format!("/v2/apps{SERVICE}")).await;
        let app = app.map_err(|error| format!("{error:?}"))?;
        match app["app"]["tasksHealthy"] == 4 {
            true => Ok(()),
            false => Err(app.to_string()),
        }
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_executable_adopts_the_processes_of_the_old_one() -> anyhow::Result<()> {
    let (_dir, binary, mut cluster) = start(Options::args(&["--speed", "10"])).await?;
    let before = tasks(&cluster).await?;
    let pids = processes(&cluster);
    assert_eq!((before.len(), pids.len()), (5, 5), "{before:?}, {pids:?}");
    take_over(&mut cluster, &binary, &before).await?;

    let now = processes(&cluster);
    assert!(
        pids.iter().all(|(id, pid)| now.get(id) == Some(pid)),
        "{pids:?}, now {now:?}"
    );
    assert_eq!(now.len(), 6, "{now:?}");
    // What runs is what was started: the old ones' program is gone from the disk.
    let programs: BTreeMap<&String, PathBuf> = now
        .iter()
        .filter_map(|(id, pid)| Some((id, fs::read_link(format!("/proc/{pid}/exe")).ok()?)))
        .filter(|(_, program)| program.to_string_lossy().contains("zddcluster"))
        .collect();
    assert_eq!(programs.len(), 4, "{programs:?}");
    for (id, program) in programs {
        assert_eq!(
            program == binary,
            !pids.contains_key(id),
            "{}",
            program.display()
        );
    }
    cluster.stop().await?;
    assert_eq!(cluster.processes(), BTreeMap::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_executable_adopts_the_containers_of_the_old_one() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    if !engine.is_own() {
        // Another cluster's tasks would be started from our image.
        eprintln!("skipped: others use this engine, too");
        return Ok(());
    }
    let (_dir, binary, mut cluster) = start(engine.options(&["--speed", "10"])).await?;
    let before = tasks(&cluster).await?;
    let containers = engine.containers(&cluster.data_dir())?;
    let image = engine.inspect(IMAGE)?;
    assert_eq!((before.len(), containers.len()), (5, 3), "{containers:?}");
    let commands = processes(&cluster);
    take_over(&mut cluster, &binary, &before).await?;

    let now = engine.containers(&cluster.data_dir())?;
    assert!(
        containers.iter().all(|container| now.contains(container)),
        "{now:?}"
    );
    assert_eq!(now.len(), 4, "{now:?}");
    let of_now = processes(&cluster);
    assert!(
        commands.iter().all(|(id, pid)| of_now.get(id) == Some(pid)),
        "{commands:?}, now {of_now:?}"
    );
    // The image is made of the new executable; what ran goes on with the old one.
    let anew = engine.inspect(IMAGE)?;
    let digest = |image: &Value| image["Config"]["Labels"]["zddcluster.digest"].clone();
    assert_ne!(digest(&anew), digest(&image));
    for container in &now {
        let inspected = engine.inspect(&container.id)?;
        let made_of = match containers.contains(container) {
            true => &image["Id"],
            false => &anew["Id"],
        };
        assert_eq!(&inspected["Image"], made_of, "{inspected}");
    }
    let running: BTreeSet<_> = now.iter().map(|container| &container.task_id).collect();
    assert_eq!(running.len(), 4, "each counted once");
    cluster.stop().await?;
    assert_eq!(engine.containers(&cluster.data_dir())?, []);
    assert_eq!(cluster.processes(), BTreeMap::new());
    Ok(())
}

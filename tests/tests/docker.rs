//! The lab with containers of a Docker engine. Without one each test says that it was skipped.

#![expect(clippy::print_stderr, reason = "a skipped part says why")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use zddcluster_tests::lab::blue_green::{Load, switch};
use zddcluster_tests::lab::{min_over, rolling};
use zddcluster_tests::{ClusterSandbox, Engine, eventually, seconds};

/// Where a task listens that has no host port.
const IN_ITS_NETWORK: u64 = 9000;

/// Requests a second that the prober has to have sent.
const AT_LEAST: f64 = 200.0;

/// All containers of the cluster are gone.
async fn is_empty(engine: &Engine, cluster: &ClusterSandbox) {
    eventually("no container to be left", || async {
        match engine.containers(&cluster.data_dir()) {
            Ok(left) if left.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn base_runs_in_containers_like_the_lab_s() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let began = seconds();
    let mut cluster = ClusterSandbox::start_with(engine.options(&[])).await?;
    rolling::base(&cluster).await?;

    let tasks = cluster.tasks("/zdd/base").await?;
    let containers = engine.containers(&cluster.data_dir())?;
    let of_tasks: BTreeSet<_> = tasks
        .iter()
        .filter_map(|task| task["id"].as_str())
        .collect();
    let of_containers: BTreeSet<_> = containers
        .iter()
        .map(|container| container.task_id.as_str())
        .collect();
    assert_eq!((of_tasks.len(), containers.len()), (5, 5));
    assert_eq!(of_containers, of_tasks);
    for container in &containers {
        let task = tasks
            .iter()
            .find(|task| task["id"] == container.task_id.as_str())
            .expect("they are the same");
        check(&engine.inspect(&container.id)?, task);
    }

    let pulled = engine.events(began, &["type=image", "event=pull"])?;
    if engine.is_own() {
        assert_eq!(pulled, "");
        let images = engine.docker(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
        let expected = BTreeSet::from(["mhausenblas/simpleservice:0.4.0"]);
        assert_eq!(images.lines().collect::<BTreeSet<_>>(), expected);
    } else {
        assert!(!pulled.contains("simpleservice"), "{pulled}");
    }
    let image = engine.inspect("mhausenblas/simpleservice:0.4.0")?;
    assert!(
        image["Config"]["Labels"]["zddcluster.digest"].is_string(),
        "{image}"
    );

    cluster.stop().await?;
    assert_eq!(engine.containers(&cluster.data_dir())?, []);
    assert_eq!(cluster.processes(), BTreeMap::new());
    Ok(())
}

/// As the lab's log has it: `docker run --cpu-shares 102 --memory 33554432 -e … -v …:/mnt/mesos/sandbox --net host`.
fn check(container: &Value, task: &Value) {
    let host = &container["HostConfig"];
    assert_eq!(host["Memory"], 33_554_432, "{container}");
    assert_eq!(host["CpuShares"], 102, "{container}");
    assert_eq!(host["NetworkMode"], "host", "{container}");
    let name = container["Name"].as_str().unwrap_or_default();
    assert!(name.starts_with("/mesos-"), "{name}");
    let mounts = container["Mounts"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    assert!(
        mounts
            .iter()
            .any(|mount| mount["Destination"] == "/mnt/mesos/sandbox"),
        "{container}"
    );

    let env: BTreeMap<&str, &str> = container["Config"]["Env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|variable| variable.as_str()?.split_once('='))
        .collect();
    let text = |key: &str| task[key].as_str().unwrap_or_default();
    let port = task["ports"][0].to_string();
    for (variable, expected) in [
        ("MARATHON_APP_VERSION", text("version")),
        ("HOST", text("host")),
        ("MARATHON_APP_RESOURCE_CPUS", "0.1"),
        ("SIMPLE_SERVICE_VERSION", "1.0"),
        ("MARATHON_APP_RESOURCE_GPUS", "0"),
        ("HEALTH_MAX", "5000"),
        (
            "MARATHON_APP_DOCKER_IMAGE",
            "mhausenblas/simpleservice:0.4.0",
        ),
        ("PORT_10000", port.as_str()),
        ("MESOS_TASK_ID", text("id")),
        ("PORT", port.as_str()),
        ("MARATHON_APP_RESOURCE_MEM", "32.0"),
        ("PORTS", port.as_str()),
        ("MARATHON_APP_RESOURCE_DISK", "0.0"),
        ("HEALTH_MIN", "1000"),
        ("MARATHON_APP_LABELS", ""),
        ("MARATHON_APP_ID", "/zdd/base"),
        ("PORT0", port.as_str()),
        ("LIBPROCESS_IP", text("host")),
        ("MESOS_SANDBOX", "/mnt/mesos/sandbox"),
        ("MESOS_CONTAINER_NAME", name.trim_start_matches('/')),
    ] {
        assert_eq!(env.get(variable), Some(&expected), "{variable}: {env:?}");
    }
}

/// An update of chapter 1, in containers.
async fn update(path: &str, app_id: &str, count: &str) -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let mut cluster = ClusterSandbox::start_with(engine.options(&["--speed", "10"])).await?;
    rolling::update_without_a_gap(&cluster, path, app_id, count).await?;
    assert_eq!(engine.containers(&cluster.data_dir())?.len(), 4);
    cluster.stop().await?;
    is_empty(&engine, &cluster).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn base_health_keeps_four_healthy_tasks() -> anyhow::Result<()> {
    update(
        "default/base-health.json",
        "/zdd/base-health",
        "tasksHealthy",
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn base_ready_keeps_four_running_tasks() -> anyhow::Result<()> {
    update("default/base-ready.json", "/zdd/base-ready", "tasksRunning").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minimal_overcapacity_replays_the_recording() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let events = min_over::record(engine.options(&[]), true).await?;
    min_over::check(&events, true);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_blue_becomes_green() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let (report, at_end) = switch(Load::Quick, engine.options(&[])).await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(at_end, "1.0");
    let rate = report.sent as f64 * 1000.0 / report.elapsed_ms;
    assert!(rate >= AT_LEAST, "{}", report.table());
    assert!(report.by_version.contains_key("0.9") && report.by_version.contains_key("1.0"));
    Ok(())
}

/// An app whose tasks are in a network of their own.
fn networked(app_id: &str, docker: Value, ip_address: Value) -> Value {
    json!({
        "id": app_id, "instances": 2, "cpus": 0.1, "mem": 32,
        "container": {"type": "DOCKER", "docker": docker},
        "ipAddress": ip_address,
    })
}

/// Tasks of an app that run and answer, with the addresses the API shows, each checked against the engine.
async fn addresses(
    engine: &Engine,
    cluster: &ClusterSandbox,
    app_id: &str,
    network: &str,
) -> anyhow::Result<BTreeMap<String, Value>> {
    cluster.settled().await;
    let mut addresses = BTreeMap::new();
    let containers = engine.containers(&cluster.data_dir())?;
    for task in cluster.tasks(app_id).await? {
        let id = task["id"].as_str().unwrap_or_default();
        let container = containers.iter().find(|found| found.task_id == id);
        let container = engine.inspect(&container.expect("each has one").id)?;
        let address = &container["NetworkSettings"]["Networks"][network]["IPAddress"];
        assert_eq!(task["state"], "TASK_RUNNING", "{task}");
        assert_eq!(
            task["ipAddresses"],
            json!([{"ipAddress": address, "protocol": "IPv4"}]),
            "{container}"
        );
        let port = match task["ports"][0].as_u64() {
            // In the bridge it listens on the number of its host port, which leads there, too.
            Some(port) => {
                let host = task["host"].as_str().unwrap_or_default();
                answers(cluster, &format!("http://{host}:{port}/endpoint0")).await;
                port
            }
            None => IN_ITS_NETWORK,
        };
        let address = address.as_str().unwrap_or_default();
        answers(cluster, &format!("http://{address}:{port}/endpoint0")).await;
        addresses.insert(id.to_owned(), task["ipAddresses"].clone());
    }
    assert_eq!(addresses.len(), 2, "{addresses:?}");

    // And so does Mesos, the master as the agents.
    let master = cluster.get("/mesos/master/state.json").await?;
    let agents = [11, 12].map(|host| format!("http://{}:5051/state.json", cluster.host(host)));
    let mut states = vec![("tasks", master["frameworks"][0]["tasks"].clone())];
    for agent in agents {
        let state: Value = cluster.http().get_json(&agent).await?;
        for executor in state["frameworks"][0]["executors"]
            .as_array()
            .into_iter()
            .flatten()
        {
            states.push(("agent", executor["tasks"].clone()));
        }
    }
    let mut n_told = BTreeMap::new();
    for (who, tasks) in states {
        for task in tasks.as_array().into_iter().flatten() {
            let Some(expected) = task["id"].as_str().and_then(|id| addresses.get(id)) else {
                continue;
            };
            let statuses = task["statuses"].as_array().map_or(&[][..], Vec::as_slice);
            let last = statuses.last().unwrap_or(&Value::Null);
            let told = &last["container_status"]["network_infos"][0]["ip_addresses"][0];
            assert_eq!(
                told["ip_address"], expected[0]["ipAddress"],
                "{who}: {task}"
            );
            *n_told.entry(who).or_insert(0) += 1;
        }
    }
    assert_eq!(n_told, BTreeMap::from([("tasks", 2), ("agent", 2)]));
    Ok(addresses)
}

async fn answers(cluster: &ClusterSandbox, url: &str) {
    eventually(&format!("an answer at {url}"), || {
        cluster.http().get_json::<Value>(url)
    })
    .await;
}

/// A network of the engine, taken away when dropped, with what is still in it when a test fails.
struct OwnNetwork<'a> {
    engine: &'a Engine,
    name: String,
}

impl<'a> OwnNetwork<'a> {
    fn make(engine: &'a Engine, name: &str) -> anyhow::Result<Self> {
        engine.docker(&["network", "create", name])?;
        Ok(Self {
            engine,
            name: name.to_owned(),
        })
    }

    fn take_away(&self) -> anyhow::Result<()> {
        let left = self.engine.docker(&[
            "ps",
            "--all",
            "--quiet",
            "--filter",
            &format!("network={}", self.name),
        ])?;
        for id in left.split_whitespace() {
            self.engine.docker(&["rm", "--force", "--volumes", id])?;
        }
        self.engine.docker(&["network", "rm", &self.name])?;
        Ok(())
    }
}

impl Drop for OwnNetwork<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.take_away() {
            eprintln!("the network {} is left: {error:#}", self.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_in_a_network_of_its_own_shows_its_own_address() -> anyhow::Result<()> {
    // contract: task-json-ip-own
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let network = format!("zddtest-{}", std::process::id());
    let mut apps = vec![("/user", network.as_str())];
    match engine.bridge() {
        Ok(_) => apps.push(("/bridge", "bridge")),
        Err(why) => eprintln!("the bridge is skipped: {why:#}"),
    }
    // Before the cluster, so that it goes after it.
    let _own = OwnNetwork::make(&engine, &network)?;
    let mut cluster = ClusterSandbox::start_with(engine.options(&["--speed", "10"])).await?;
    let image = "mhausenblas/simpleservice:0.4.0";
    for (app_id, _) in &apps {
        let app = match *app_id {
            "/user" => networked(
                app_id,
                json!({"image": image, "network": "USER", "portMappings": [{"containerPort": IN_ITS_NETWORK}]}),
                json!({"networkName": network}),
            ),
            _ => networked(
                app_id,
                json!({"image": image, "network": "BRIDGE", "portMappings": [{"containerPort": 0}]}),
                Value::Null,
            ),
        };
        cluster.post_app(&app).await?;
    }
    let mut before = Vec::new();
    for (app_id, network) in &apps {
        before.push(addresses(&engine, &cluster, app_id, network).await?);
    }
    cluster.kill()?;
    cluster.up().await?;
    for ((app_id, network), before) in apps.iter().zip(before) {
        assert_eq!(addresses(&engine, &cluster, app_id, network).await?, before);
    }
    cluster.stop().await?;
    is_empty(&engine, &cluster).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_of_mesos_are_made_in_the_container_s_network() -> anyhow::Result<()> {
    // contract: z-7, check-where
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    if let Err(why) = engine.bridge() {
        eprintln!("skipped: {why:#}");
        return Ok(());
    }
    let mut cluster = ClusterSandbox::start_with(engine.options(&["--speed", "10"])).await?;
    // Nobody but the container has that port: asked at the task's host it is refused.
    let mapping = json!({"containerPort": IN_ITS_NETWORK, "hostPort": 0});
    let docker = json!({
        "image": "mhausenblas/simpleservice:0.4.0", "network": "BRIDGE", "portMappings": [mapping],
    });
    let mut app = networked("/inside", docker, Value::Null);
    // Else it listens at the number of the host port.
    app["env"] = json!({"PORT0": IN_ITS_NETWORK.to_string()});
    let check = |protocol: &str, at: Value| {
        let mut check =
            json!({"protocol": protocol, "intervalSeconds": 10, "gracePeriodSeconds": 60});
        if protocol == "MESOS_HTTP" {
            check["path"] = json!("/health");
        }
        for (key, value) in at.as_object().into_iter().flatten() {
            check[key] = value.clone();
        }
        check
    };
    app["healthChecks"] = json!([
        check("MESOS_HTTP", json!({"port": IN_ITS_NETWORK})),
        check("MESOS_HTTP", json!({"portIndex": 0})),
        check("MESOS_TCP", json!({"port": IN_ITS_NETWORK})),
        check("TCP", json!({"port": IN_ITS_NETWORK})),
    ]);
    cluster.post_app(&app).await?;
    eventually("all checks to have a result", || async {
        let tasks = cluster
            .tasks("/inside")
            .await
            .map_err(|error| error.to_string())?;
        let all = tasks.iter().all(|task| {
            let results = task["healthCheckResults"].as_array();
            let alive = results
                .into_iter()
                .flatten()
                .map(|result| result["alive"].as_bool());
            alive.eq([Some(true), Some(true), Some(true), Some(false)])
        });
        match all && tasks.len() == 2 {
            true => Ok(()),
            false => Err(format!("{tasks:?}")),
        }
    })
    .await;
    cluster.stop().await?;
    is_empty(&engine, &cluster).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_in_a_container() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let mut cluster = ClusterSandbox::start_with(engine.options(&["--speed", "10"])).await?;
    cluster
        .dcos_ok(&["marathon", "app", "add", "default/base.json"], "")
        .await?;
    cluster.settled().await;
    let tasks = cluster.tasks("/zdd/base").await?;
    let id = tasks[0]["id"].as_str().unwrap_or_default();
    let exec = |verb: &[&str], command: &[&str]| {
        let mut exec = cluster.command(verb);
        exec.arg(id).args(command).envs(engine.env()).output()
    };
    // The image holds nothing but this program.
    let output = exec(&["exec"], &["/usr/bin/zddcluster", "--version"])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.starts_with("zddcluster "),
        "{output:?}"
    );
    let output = exec(&["exec"], &["/usr/bin/zddcluster", "--bogus"])?;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // The original enters no container of Docker's.
    let output = exec(&["dcos", "task", "exec"], &["/usr/bin/zddcluster"])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("This command is only supported for tasks launched by the Universal Container Runtime (UCR).")
            && said.contains(&format!("zddcluster exec {id}")),
        "{said}"
    );
    cluster.stop().await
}

//! Packages from end to end: installed by `dcos package`, the edge serves; removed, it is gone.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use zddcluster_tests::{Bystander, ClusterSandbox, Engine, Options, eventually};

/// Where the edge tells of itself, at the public agent's address.
const STATS: u16 = 9090;

/// Images whose work is to be built in, and is not yet.
const NOT_YET: [&str; 3] = [
    "magneticio/vamp:0.9.1",
    "magneticio/vamp-gateway-agent:0.9.1",
    "mesos/elasticsearch-scheduler:1.0.1",
];

/// An app of one instance that the edge of `group` serves at `port`.
fn service(app_id: &str, group: &str, port: u16) -> Value {
    json!({
        "id": app_id, "cpus": 0.1, "mem": 32,
        "env": {"SIMPLE_SERVICE_VERSION": "0.9"},
        "container": {
            "type": "DOCKER",
            "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"},
        },
        "ports": [0],
        "cmd": null,
        "labels": {"HAPROXY_GROUP": group, "HAPROXY_0_PORT": port.to_string()},
    })
}

async fn listens(host: Ipv4Addr, port: u16) -> bool {
    tokio::net::TcpStream::connect((host, port)).await.is_ok()
}

/// Waits until somebody listens at a port, or nobody does.
async fn until(host: Ipv4Addr, port: u16, is_wanted: bool) {
    let what = match is_wanted {
        true => format!("{host}:{port} to be served"),
        false => format!("{host}:{port} to be closed"),
    };
    eventually(&what, || async {
        match listens(host, port).await == is_wanted {
            true => Ok(()),
            false => Err(!is_wanted),
        }
    })
    .await;
}

/// The app of the package, without what differs from one installation to the next.
async fn definition(cluster: &ClusterSandbox) -> anyhow::Result<Value> {
    let mut app = cluster.get("/v2/apps//marathon-lb").await?["app"].take();
    let fields = app.as_object_mut().expect("an app is an object");
    for changing in [
        "version",
        "versionInfo",
        "tasks",
        "deployments",
        "lastTaskFailure",
    ] {
        fields.shift_remove(changing);
    }
    fields.retain(|key, _| !key.starts_with("tasks"));
    Ok(app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_comes_and_goes_with_its_package() -> anyhow::Result<()> {
    // contract: lb-package-install, lb-package-ours, lb-package-uninstall
    // Both are the same app, whoever installs it.
    let options = Options::args(&["--with", "marathon-lb"]);
    let (mut cluster, other) =
        tokio::try_join!(ClusterSandbox::start(), ClusterSandbox::start_with(options))?;
    let edge = cluster.host(2);
    let bystander = Bystander::start(&cluster).await?;
    let before = cluster.processes();
    assert!(!listens(edge, STATS).await);
    let none = cluster.dcos(&["package", "list"], "").await?;
    assert_eq!(none.status.code(), Some(1));

    let installed = cluster
        .dcos_ok(&["package", "install", "marathon-lb"], "yes\n")
        .await?;
    let lines: Vec<&str> = installed.lines().collect();
    assert_eq!(
        lines,
        [
            "We recommend a minimum of 0.5 CPUs and 256 MB of RAM available for the Marathon-LB DCOS Service.",
            "Continue installing? [yes/no] Installing Marathon app for package [marathon-lb] version [1.4.1]",
            "Marathon-lb DC/OS Service has been successfully installed!",
            "See https://github.com/mesosphere/marathon-lb for documentation.",
        ]
    );
    assert_eq!(definition(&cluster).await?, definition(&other).await?);
    drop(other);
    cluster.settled().await;
    until(edge, STATS, true).await;
    let tasks = cluster.tasks("/marathon-lb").await?;
    assert_eq!(
        (tasks.len(), &tasks[0]["host"]),
        (1, &json!(edge.to_string()))
    );
    cluster
        .post_app(&service("/zdd/blue", "external", 10080))
        .await?;
    cluster.settled().await;
    let url = format!("http://{edge}:10080/endpoint0");
    let answer = eventually("blue behind the edge", || {
        cluster.http().get_json::<Value>(&url)
    })
    .await;
    assert_eq!(answer["version"], "0.9", "{answer}");
    let listed = cluster.dcos_ok(&["package", "list", "--json"], "").await?;
    let listed: Value = serde_json::from_str(&listed)?;
    assert_eq!(listed[0]["apps"], json!(["/marathon-lb"]));

    // Also after the master was away.
    cluster.kill()?;
    cluster.up().await?;
    let again = cluster
        .dcos(&["package", "install", "--yes", "marathon-lb"], "")
        .await?;
    assert!(
        String::from_utf8_lossy(&again.stderr).starts_with("Package is already installed\n"),
        "{again:?}"
    );

    let removed = cluster
        .dcos(&["package", "uninstall", "marathon-lb"], "")
        .await?;
    assert_eq!(
        String::from_utf8(removed.stderr)?,
        "Uninstalled package [marathon-lb] version [1.4.1]\n\
         Marathon-lb DC/OS Service has been uninstalled and will no longer run.\n"
    );
    for port in [STATS, 9091, 10080] {
        until(edge, port, false).await;
    }
    cluster.settled().await;
    let none = cluster.dcos(&["package", "list"], "").await?;
    assert_eq!(none.status.code(), Some(1), "{none:?}");
    // All others are as they were, and of the edge nothing is left.
    bystander.is_unharmed(&cluster).await?;
    assert_eq!(cluster.tasks("/zdd/blue").await?.len(), 1);
    cluster
        .dcos_ok(&["marathon", "app", "remove", "/zdd/blue"], "")
        .await?;
    eventually("the edge's processes to be gone", || async {
        let left = cluster.processes();
        let task_of = |processes: &BTreeMap<u32, String>| {
            let lines = processes.values().filter(|line| line.contains(" edge"));
            lines.cloned().collect::<Vec<_>>()
        };
        match task_of(&left) == task_of(&before) {
            true => Ok(()),
            false => Err(left),
        }
    })
    .await;
    cluster.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_is_what_its_options_say() -> anyhow::Result<()> {
    // contract: lb-dont-bind, lb-package-options
    let cluster = ClusterSandbox::start().await?;
    let edge = cluster.host(2);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("options.json");
    let file_name = file.to_string_lossy().into_owned();
    let install = async |options: Value| {
        std::fs::write(&file, options.to_string())?;
        let args = [
            "package",
            "install",
            "--yes",
            "--options",
            &file_name,
            "marathon-lb",
        ];
        cluster.dcos(&args, "").await
    };
    for (options, words) in [
        (
            json!({"marathon-lb": {"cpus": "2"}}),
            "Error: Options JSON failed validation\nFound: string\nExpected: integer,number\nPath: marathon-lb.cpus\n",
        ),
        (
            json!({"marathon-lb": {"template-url": "http://x"}}),
            "option 'marathon-lb.template-url' is not supported here: ",
        ),
        (
            json!({"marathon-lb": {"name": "Not An Id"}}),
            "Object is not valid\n/id: ",
        ),
    ] {
        let refused = install(options).await?;
        let said = String::from_utf8(refused.stderr)?;
        assert!(said.starts_with(words), "{said}");
        assert_eq!(refused.status.code(), Some(1));
    }

    let installed = install(json!({"marathon-lb": {
        "name": "lb/inner", "haproxy-group": "internal", "bind-http-https": false,
    }}))
    .await?;
    assert!(installed.status.success(), "{installed:?}");
    cluster
        .post_app(&service("/outer", "external", 10081))
        .await?;
    cluster
        .post_app(&service("/inner", "internal", 10082))
        .await?;
    cluster.settled().await;
    until(edge, 10082, true).await;
    for port in [10081, 80, 8000, 443] {
        assert!(!listens(edge, port).await, "{port}");
    }
    let app = cluster.get("/v2/apps//lb/inner").await?;
    assert_eq!(app["app"]["tasksHealthy"], 1, "{app}");
    let task = &cluster.tasks("/lb/inner").await?[0];
    let log = cluster
        .dcos_ok(
            &[
                "task",
                "log",
                "--lines",
                "200",
                task["id"].as_str().unwrap_or_default(),
                "stderr",
            ],
            "",
        )
        .await?;
    assert!(log.contains("HAPROXY_SYSCTL_PARAMS is ignored"), "{log}");
    cluster
        .dcos_ok(
            &[
                "package",
                "uninstall",
                "--app-id",
                "lb/inner",
                "marathon-lb",
            ],
            "",
        )
        .await?;
    until(edge, 10082, false).await;
    Ok(())
}

/// Each image that is to be built in fails its task with words that say so, and nothing is pulled.
async fn fail_saying_so(cluster: &ClusterSandbox) -> anyhow::Result<()> {
    for (at, image) in NOT_YET.into_iter().enumerate() {
        let app_id = format!("/not-yet-{at}");
        let app = json!({
            "id": app_id, "cpus": 0.1, "mem": 32,
            "container": {"type": "DOCKER", "docker": {"image": image, "forcePullImage": true}},
        });
        cluster.post_app(&app).await?;
        let failure = eventually("the task to fail", || async {
            match cluster.get(&format!("/v2/apps/{app_id}")).await {
                Ok(mut app) if !app["app"]["lastTaskFailure"].is_null() => {
                    Ok(app["app"]["lastTaskFailure"].take())
                }
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
        let words = format!("the image {image} is to be built in and is not yet; it is not pulled");
        let message = failure["message"].as_str().unwrap_or_default();
        assert!(message.contains(&words), "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn images_that_are_not_built_in_yet_say_so() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    fail_saying_so(&cluster).await?;
    bystander.is_unharmed(&cluster).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_is_a_container_of_an_engine() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let mut cluster = ClusterSandbox::start_with(engine.options(&[])).await?;
    fail_saying_so(&cluster).await?;
    for at in 0..NOT_YET.len() {
        let app_id = format!("/not-yet-{at}");
        cluster
            .dcos_ok(&["marathon", "app", "remove", &app_id], "")
            .await?;
    }
    cluster
        .dcos_ok(&["package", "install", "--yes", "marathon-lb"], "")
        .await?;
    cluster.settled().await;
    until(cluster.host(2), STATS, true).await;
    let containers = engine.containers(&cluster.data_dir())?;
    let tasks = cluster.tasks("/marathon-lb").await?;
    assert_eq!(containers.len(), 1, "{containers:?}");
    assert_eq!(tasks[0]["id"], containers[0].task_id.as_str());
    cluster
        .dcos_ok(&["package", "uninstall", "marathon-lb"], "")
        .await?;
    until(cluster.host(2), STATS, false).await;
    eventually("its container to be gone", || async {
        match engine.containers(&cluster.data_dir()) {
            Ok(left) if left.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.stop().await
}

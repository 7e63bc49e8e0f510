//! Agents with attributes, roles and resources of their own, given by flags: tasks go where their app says.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use zddcluster_tests::{ClusterSandbox, Options, eventually};

/// The last bytes of the hosts that the app's tasks run on, once there are so many.
async fn hosts(
    cluster: &ClusterSandbox,
    id: &str,
    n_tasks: usize,
    constraints: Value,
) -> anyhow::Result<Vec<String>> {
    cluster
        .post_app(&json!({
            "id": id, "cmd": "exec sleep 100000", "cpus": 0.1, "mem": 16, "instances": n_tasks,
            "constraints": constraints,
        }))
        .await?;
    let tasks = eventually("its tasks to run", || async {
        let tasks = cluster.tasks(id).await;
        let tasks = tasks.map_err(|error| format!("{error:?}"))?;
        let n_running = tasks.iter().filter(|task| task["state"] == "TASK_RUNNING");
        match n_running.count() == n_tasks {
            true => Ok(tasks),
            false => Err(format!("{tasks:?}")),
        }
    })
    .await;
    let mut hosts: Vec<_> = tasks
        .iter()
        .filter_map(|task| task["host"].as_str()?.rsplit('.').next())
        .map(str::to_owned)
        .collect();
    hosts.sort();
    Ok(hosts)
}

#[tokio::test]
async fn tasks_go_where_their_constraints_say() -> anyhow::Result<()> {
    let args = [
        "--agents",
        "4",
        "--attributes",
        "rack:a;level:1.50",
        "--attributes",
        "rack:b",
        "--resources",
        "cpus:1;mem:512",
    ];
    let cluster = ClusterSandbox::start_with(Options::args(&args)).await?;
    // Racks in turn: .11 and .13 are a, .12 and .14 are b.
    let on_b = hosts(&cluster, "/on-b", 4, json!([["rack", "CLUSTER", "b"]])).await?;
    let distinct: BTreeSet<_> = on_b.iter().map(String::as_str).collect();
    assert_eq!(distinct, BTreeSet::from(["12", "14"]));
    // As text, a scalar without zeros at its end.
    let on_level = hosts(&cluster, "/level", 2, json!([["level", "LIKE", "1\\.5"]])).await?;
    assert_eq!(on_level, ["11", "13"]);
    let spread = hosts(&cluster, "/spread", 4, json!([["rack", "GROUP_BY", "2"]])).await?;
    let on_a = spread
        .iter()
        .filter(|host| ["11", "13"].contains(&host.as_str()));
    assert_eq!(on_a.count(), 2, "{spread:?}");

    let slaves = cluster.get("/mesos/master/slaves").await?;
    let slaves = slaves["slaves"].as_array().cloned().unwrap_or_default();
    assert_eq!(slaves.len(), 5);
    for slave in &slaves {
        let is_public = slave["attributes"]["public_ip"] == "true";
        let rack = slave["attributes"]["rack"].as_str();
        assert_eq!(rack.is_none(), is_public, "{slave}");
        assert_eq!(slave["resources"]["cpus"].as_f64(), Some(1.0), "{slave}");
        assert_eq!(slave["resources"]["mem"].as_f64(), Some(512.0), "{slave}");
    }

    // More than any agent has: it waits, and each agent says why.
    let app = json!({"id": "/large", "cmd": "true", "cpus": 1.5, "mem": 16});
    cluster.post_app(&app).await?;
    eventually("the reason why it waits", || async {
        let queue = cluster.get("/zdd/v1/queue").await;
        let queue = queue.map_err(|error| format!("{error:?}"))?.to_string();
        match queue.contains("cpus free, 1.5 wanted") {
            true => Ok(()),
            false => Err(queue),
        }
    })
    .await;

    // The public agent takes those only that accept its role.
    cluster
        .post_app(&json!({
            "id": "/public", "cmd": "exec sleep 100000", "cpus": 0.1, "mem": 16, "instances": 2,
            "acceptedResourceRoles": ["slave_public"],
        }))
        .await?;
    let public = eventually("it to run on the public agent", || async {
        let tasks = cluster.tasks("/public").await;
        let tasks = tasks.map_err(|error| format!("{error:?}"))?;
        match tasks.len() == 2 {
            true => Ok(tasks),
            false => Err(format!("{tasks:?}")),
        }
    })
    .await;
    let host = cluster.host(2).to_string();
    assert!(
        public.iter().all(|task| task["host"] == host.as_str()),
        "{public:?}"
    );
    Ok(())
}

//! An app that has nothing to do with the harm under test, and must not notice any.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::{ClusterSandbox, eventually};

const APP_ID: &str = "/bystander";

/// Two tasks of the test service that have to stay as they are.
#[derive(Debug)]
pub struct Bystander {
    /// Id and URL of each task.
    tasks: Vec<(String, String)>,
}

impl Bystander {
    /// Starts the app and waits until its tasks answer.
    pub async fn start(cluster: &ClusterSandbox) -> anyhow::Result<Self> {
        cluster
            .post_app(&json!({
                "id": APP_ID, "instances": 2, "cpus": 0.1, "mem": 32,
                "container": {
                    "type": "DOCKER",
                    "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"},
                },
            }))
            .await?;
        let tasks = eventually("the bystander to run", || async {
            let tasks = running(cluster)
                .await
                .map_err(|error| format!("{error:#}"))?;
            for (_, url) in &tasks {
                let answer = cluster.http().get_json::<Value>(url).await;
                answer.map_err(|error| format!("{url}: {error:?}"))?;
            }
            if tasks.len() == 2 {
                Ok(tasks)
            } else {
                Err(format!("{tasks:?}"))
            }
        })
        .await;
        Ok(Self { tasks })
    }

    /// The bystander's tasks run as before and answer.
    pub async fn runs_on(&self, cluster: &ClusterSandbox) -> anyhow::Result<()> {
        let tasks = running(cluster).await?;
        ensure!(tasks == self.tasks, "{tasks:?}, before {:?}", self.tasks);
        for (_, url) in &tasks {
            let answer: Value = cluster.http().get_json(url).await.context("bystander")?;
            ensure!(answer["result"] == "all is well", "{answer}");
        }
        Ok(())
    }

    /// The same, and the cluster takes a write and carries it out.
    pub async fn is_unharmed(&self, cluster: &ClusterSandbox) -> anyhow::Result<()> {
        self.runs_on(cluster).await?;
        let newcomer =
            json!({"id": "/newcomer", "cmd": "exec sleep 100000", "cpus": 0.01, "mem": 8});
        cluster.post_app(&newcomer).await?;
        eventually("a new app to run", || async {
            let app = cluster.get("/v2/apps//newcomer").await;
            match app {
                Ok(app) if app["app"]["tasksRunning"] == 1 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let path = "/v2/apps//newcomer";
        let (status, body) = cluster.send(http::Method::DELETE, path, "").await?;
        ensure!(status.is_success(), "{status}: {body}");
        let is_it = |running: &&Value| running["id"] == body["deploymentId"];
        eventually("the new app to be gone", || async {
            let running = cluster.get("/v2/deployments").await;
            let running = running.map_err(|error| format!("{error:?}"))?;
            match running.as_array().and_then(|all| all.iter().find(is_it)) {
                None => Ok(()),
                Some(deployment) => Err(deployment.to_string()),
            }
        })
        .await;
        Ok(())
    }
}

async fn running(cluster: &ClusterSandbox) -> anyhow::Result<Vec<(String, String)>> {
    let tasks = cluster.tasks(APP_ID).await?;
    let mut running: Vec<_> = tasks
        .iter()
        .filter(|task| task["state"] == "TASK_RUNNING")
        .map(|task| {
            let id = task["id"].as_str().unwrap_or_default();
            let host = task["host"].as_str().unwrap_or_default();
            let url = format!("http://{host}:{}/endpoint0", task["ports"][0]);
            (id.to_owned(), url)
        })
        .collect();
    running.sort();
    Ok(running)
}

//! The swaps themselves.

use std::process::{Output, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{EDGE, INSTANCES, KILLS, STATS, Stage};
use crate::{LIMIT, eventually};

/// How long to wait after a refusal, for the master to come back or a deployment to end.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one request to the master may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Stage {
    /// The first version, with all of its tasks behind the edge.
    pub(super) async fn first_deploy(&self, origin: &str) -> anyhow::Result<()> {
        self.blue_green(origin, 0).await?;
        self.all_serve().await;
        *self.counts() = Default::default();
        Ok(())
    }

    pub(super) async fn swaps(&self, n_swaps: u64, origin: &str) -> anyhow::Result<()> {
        for version in 1..=n_swaps {
            self.kills_left.store(KILLS, Relaxed);
            if version % 2 == 1 {
                self.note(&format!("blue-green to {version}"));
                self.blue_green(origin, version).await?;
                self.counts().blue_green += 1;
            } else {
                self.note(&format!("rolling to {version}"));
                self.rolling(version).await?;
                self.counts().rolling += 1;
            }
            self.note(&format!("at {version}"));
        }
        Ok(())
    }

    /// `zddcluster zdd`, and again with `--resume` as often as it is broken off.
    async fn blue_green(&self, origin: &str, version: u64) -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), Self::app(origin, version).to_string())?;
        let path = file.path().display().to_string();
        let deadline = Instant::now() + 2 * LIMIT;
        let text = json!(version.to_string());
        loop {
            let apps = self.group().await?;
            let is_new = |app: &&Value| app["env"]["VERSION"] == text;
            let how: &[&str] = match (apps.iter().find(is_new), apps.len()) {
                (Some(_), 1) if self.is_quiet().await? => return Ok(()),
                (Some(_), 1) => {
                    sleep(PAUSE).await;
                    continue;
                }
                (Some(_), _) => {
                    self.counts().resumed += 1;
                    &["--resume"]
                }
                (None, _) => &[],
            };
            let output = self.zdd(&path, how).await?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                self.note(&format!("zdd {how:?}: {}: {said}", output.status));
                ensure!(Instant::now() < deadline, "zdd does not end: {said}");
                sleep(PAUSE).await;
            }
        }
    }

    async fn zdd(&self, path: &str, how: &[&str]) -> anyhow::Result<Output> {
        let mut command = {
            let apart = self.apart();
            let stats = apart.url(EDGE, STATS, "");
            let words = ["zdd", path, "-m", &self.front, "-l", &stats, "--force"];
            let mut command = apart.command(&words.map(str::to_owned));
            command.args(["--step-delay", "0.1"]).args(how);
            command
        };
        command.stdin(Stdio::null());
        Ok(tokio::task::spawn_blocking(move || command.output()).await??)
    }

    /// A `PUT` of another version to the only app, until it is taken, and until all its tasks are of it.
    async fn rolling(&self, version: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + 2 * LIMIT;
        let text = json!(version.to_string());
        loop {
            let apps = self.group().await?;
            let [app] = &apps[..] else {
                anyhow::bail!("{} apps after a swap", apps.len())
            };
            let is_new = app["env"]["VERSION"] == text;
            if is_new && self.is_quiet().await? {
                return Ok(());
            }
            if !is_new {
                let id = app["id"].as_str().context("no id")?;
                let mut env = app["env"].clone();
                env["VERSION"] = text.clone();
                let change = json!({ "env": env }).to_string();
                let request = Request::put(format!("{}/v2/apps{id}", self.front))
                    .header("content-type", "application/json")
                    .body(Bytes::from(change))?;
                match self.http.send(request, PATIENCE).await {
                    Ok(answer) if answer.status().is_success() => {}
                    refused => self.note(&format!("PUT: {refused:?}")),
                }
            }
            ensure!(
                Instant::now() < deadline,
                "the rolling update does not end: {app}"
            );
            sleep(PAUSE).await;
        }
    }

    /// The apps of the group; waits for the master if need be.
    async fn group(&self) -> anyhow::Result<Vec<Value>> {
        let mut answer = self.get("/v2/apps?embed=apps.tasks").await;
        let apps = answer["apps"].take();
        let apps = apps.as_array().context("no apps")?.iter();
        let of_group = apps.filter(|app| !app["labels"]["HAPROXY_DEPLOYMENT_GROUP"].is_null());
        Ok(of_group.cloned().collect())
    }

    /// No deployment, and as many healthy tasks as there are to be.
    async fn is_quiet(&self) -> anyhow::Result<bool> {
        let running = self.get("/v2/deployments").await;
        let apps = self.group().await?;
        let are_healthy = apps.iter().all(|app| app["tasksHealthy"] == INSTANCES);
        Ok(running.as_array().is_some_and(Vec::is_empty) && are_healthy)
    }

    /// Asks the master until it answers.
    pub(super) async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.front);
        eventually("the master to answer", || async {
            self.http
                .get_json::<Value>(&url)
                .await
                .map_err(|error| format!("{error:?}"))
        })
        .await
    }
}

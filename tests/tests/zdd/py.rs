//! zdd.py of Marathon-LB, as far as a cluster sees it.
//!
//! Source: contract marathon-lb §5.2-§5.4; zdd.py of Marathon-LB 1.15.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use zddcluster_tests::ClusterSandbox;

/// A row of the statistics, by zdd.py's reading: columns by name, which have to be plain names, and as many in each row.
fn rows(csv: &str) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
    let mut lines = csv.lines();
    let names = lines
        .next()
        .context("no first line")?
        .trim_start_matches(['#', ' '])
        .trim_end_matches([',', '\n']);
    let names: Vec<&str> = names.split(',').collect();
    for name in &names {
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        ensure!(
            is_plain && !name.is_empty(),
            "{name:?} is no name for a field"
        );
    }
    let mut rows = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        ensure!(cells.len() == names.len() + 1, "{line}");
        rows.push(
            names
                .iter()
                .zip(cells)
                .map(|(name, cell)| ((*name).to_owned(), cell.to_owned()))
                .collect(),
        );
    }
    Ok(rows)
}

/// zdd.py's calls, in its order and with its conditions, for a swap of the group `zdd`; the file is `app`.
pub(crate) struct ZddPy<'a> {
    pub(crate) cluster: &'a ClusterSandbox,
    /// Every change it asked for.
    pub(crate) changes: Vec<String>,
}

impl ZddPy<'_> {
    async fn call(&mut self, method: Method, path: &str, body: Value) -> anyhow::Result<Value> {
        if method != Method::GET {
            self.changes.push(format!("{method} {path}"));
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (status, answer) = self.cluster.send(method.clone(), path, body).await?;
        ensure!(status.is_success(), "{method} {path}: {status}: {answer}");
        Ok(answer)
    }

    async fn stats(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("http://{}:9090{path}", self.cluster.host(2));
        let (status, answer) = self.cluster.send_to(Method::GET, &url, "", &[]).await?;
        ensure!(status.is_success(), "{url}: {status}");
        Ok(answer
            .as_str()
            .map_or_else(|| answer.to_string(), str::to_owned))
    }

    async fn app(&mut self, id: &str) -> anyhow::Result<Value> {
        Ok(self
            .call(Method::GET, &format!("/v2/apps{id}"), Value::Null)
            .await?["app"]
            .clone())
    }

    pub(crate) async fn swap(&mut self, mut app: Value) -> anyhow::Result<()> {
        let apps = self.call(Method::GET, "/v2/apps", Value::Null).await?;
        let is_last = |app: &&Value| app["labels"]["HAPROXY_DEPLOYMENT_GROUP"] == "zdd";
        let last = apps["apps"]
            .as_array()
            .context("no apps")?
            .iter()
            .find(is_last)
            .cloned();
        let id = app["id"].as_str().context("no id")?.to_owned();
        let colour = match &last {
            Some(last) if last["labels"]["HAPROXY_DEPLOYMENT_COLOUR"] == "blue" => "green",
            _ => "blue",
        };
        let is_alt = last.as_ref().is_some_and(|last| last["ports"][0] == 10080);
        app["ports"] = json!([if is_alt { 10081 } else { 10080 }]);
        let target = last.as_ref().map_or_else(
            || app["instances"].clone(),
            |last| last["instances"].clone(),
        );
        if last.is_some() {
            app["instances"] = json!(1);
        }
        app["id"] = json!(format!("{id}-{colour}"));
        app["labels"]["HAPROXY_GROUP"] = json!("external");
        for (name, value) in [
            ("GROUP", "zdd".to_owned()),
            ("ALT_PORT", "10081".to_owned()),
            ("COLOUR", colour.to_owned()),
            (
                "STARTED_AT",
                format!("2016-10-12T11:38:56.{:06}", self.changes.len()),
            ),
            ("TARGET_INSTANCES", target.to_string()),
            ("NEW_INSTANCES", "0".to_owned()),
        ] {
            app["labels"][format!("HAPROXY_DEPLOYMENT_{name}")] = json!(value);
        }
        app["labels"]["HAPROXY_0_PORT"] = json!("10080");
        let new = app["id"].as_str().context("no id")?.to_owned();
        self.call(Method::POST, "/v2/apps", app).await?;
        if let Some(last) = last {
            let old = last["id"].as_str().context("no id")?.to_owned();
            while !self.step(&old, &new).await? {}
        }
        Ok(())
    }

    /// One turn; true when it was the last.
    async fn step(&mut self, old: &str, new: &str) -> anyhow::Result<bool> {
        const DELAY: Duration = Duration::from_millis(200);
        let (old, new) = (self.app(old).await?, self.app(new).await?);
        if new["deployments"]
            .as_array()
            .is_none_or(|list| !list.is_empty())
        {
            sleep(DELAY).await;
            return Ok(false);
        }
        let number = |value: &Value| value.as_u64().context("no number");
        let (n_old, n_new) = (number(&old["instances"])?, number(&new["instances"])?);
        let target: u64 = new["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"]
            .as_str()
            .context("no target")?
            .parse()?;
        // The limit is the test's: zdd.py waits 300 s, and then goes on as if all were well.
        let end = Instant::now() + Duration::from_secs(60);
        let kill = loop {
            ensure!(
                Instant::now() < end,
                "nothing drains: {}",
                self.stats("/haproxy?stats;csv").await?
            );
            sleep(DELAY).await;
            if self
                .stats("/_haproxy_getpids")
                .await?
                .split_whitespace()
                .count()
                > 1
            {
                continue;
            }
            let rows = rows(&self.stats("/haproxy?stats;csv").await?)?;
            let is_server = |row: &&BTreeMap<String, String>| {
                row["pxname"] == "zdd_10080"
                    && !["FRONTEND", "BACKEND"].contains(&row["svname"].as_str())
            };
            let servers: Vec<_> = rows.iter().filter(is_server).collect();
            let n_up = servers.iter().filter(|row| row["status"] == "UP").count() as u64;
            let is_drained = |row: &&&BTreeMap<String, String>| {
                row["status"] == "MAINT" && row["qcur"] == "0" && row["scur"] == "0"
            };
            let drained: Vec<&str> = servers
                .iter()
                .filter(is_drained)
                .map(|row| row["svname"].as_str())
                .collect();
            if servers.len() as u64 != n_old + n_new || n_up < target || drained.is_empty() {
                continue;
            }
            let is_drained = |task: &&Value| {
                let host = task["host"].as_str().unwrap_or_default().replace('.', "_");
                drained.contains(&format!("{host}_{}", task["ports"][0]).as_str())
            };
            let tasks = old["tasks"]
                .as_array()
                .context("no tasks")?
                .iter()
                .filter(is_drained);
            break tasks.map(|task| task["id"].clone()).collect::<Vec<_>>();
        };
        let old_path = format!("/v2/apps{}", old["id"].as_str().unwrap_or_default());
        if n_new == target && kill.len() as u64 == n_old {
            self.call(Method::DELETE, &old_path, Value::Null).await?;
            return Ok(true);
        }
        if !kill.is_empty() {
            self.call(
                Method::POST,
                "/v2/tasks/delete?scale=true",
                json!({"ids": kill}),
            )
            .await?;
        }
        if n_new < target {
            let next = n_new + n_new.div_ceil(2);
            let next = if next >= n_old { target } else { next };
            // At once, while the other app is still being changed.
            let path = format!("/v2/apps{}", new["id"].as_str().unwrap_or_default());
            self.call(Method::PUT, &path, json!({"instances": next}))
                .await?;
        }
        Ok(false)
    }
}

//! What a cluster's tasks say, and how they end.

use std::fs::{self, ReadDir};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{ClusterSandbox, eventually};

/// How much of a long output a failure shows, and is searched for a text.
const TAIL: usize = 400;

impl ClusterSandbox {
    /// Waits until the end of a stdout of one of the app's tasks, there or gone, holds a text; returns its sandbox.
    pub async fn says(&self, app_id: &str, text: &str) -> PathBuf {
        let prefix = format!("{}.", app_id.trim_start_matches('/').replace('/', "_"));
        eventually(&format!("{app_id} to say {text:?}"), || async {
            let mut said = String::new();
            for sandbox in self.sandboxes(&prefix) {
                let stdout = fs::read(sandbox.join("stdout")).unwrap_or_default();
                let tail = &stdout[stdout.len().saturating_sub(TAIL)..];
                let tail = String::from_utf8_lossy(tail).into_owned();
                if tail.contains(text) {
                    return Ok(sandbox);
                }
                let stderr = fs::read_to_string(sandbox.join("stderr")).unwrap_or_default();
                said.push_str(&format!("{}: {tail} {stderr}\n", sandbox.display()));
            }
            Err(said)
        })
        .await
    }

    /// Waits for a failure of the app and returns the last one.
    pub async fn failure(&self, app_id: &str) -> Value {
        eventually(&format!("{app_id} to fail"), || async {
            let app = self.get(&format!("/v2/apps{app_id}")).await;
            let mut app = app.map_err(|error| format!("{error:?}"))?;
            match app["app"]["lastTaskFailure"].take() {
                Value::Null => Err(app.to_string()),
                failure => Ok(failure),
            }
        })
        .await
    }

    /// Sandboxes of tasks whose ids begin like this: `<agent's directory>/slaves/*/frameworks/*/executors/<task>/runs/*`.
    fn sandboxes(&self, prefix: &str) -> Vec<PathBuf> {
        let executors = entries(&self.data_dir())
            .flat_map(|agent| entries(&agent.join("slaves")))
            .flat_map(|agent| entries(&agent.join("frameworks")))
            .flat_map(|framework| entries(&framework.join("executors")));
        executors
            .filter(|task| {
                let name = task.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with(prefix))
            })
            .flat_map(|task| entries(&task.join("runs")))
            .collect()
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries: Option<ReadDir> = fs::read_dir(directory).ok();
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

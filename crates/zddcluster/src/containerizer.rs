//! Who runs the tasks: what was asked for, what there is, and why.
//!
//! `auto` takes Docker when an engine answers, else plain processes; either way the log says which and why. Containers that an
//! earlier run left are looked after whatever is chosen now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use zddcluster_agent::docker;
use zddcluster_agent::{DockerConfig, DockerContainerizer, NewImages, ProcessContainerizer};
use zddcluster_cli::Containerizer;
use zddcluster_runtime::Tasks;

use crate::fault::Fault;

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// `docker` or `process`.
    pub(crate) name: &'static str,
    /// For the log: which, and why.
    pub(crate) note: String,
    /// Where the engine listens, if one is used: for all new images, or for what is left of an earlier run.
    docker: Option<(String, NewImages)>,
}

/// Decides for the agents that keep their books in `work_dirs`.
///
/// # Errors
/// When Docker was asked for and no engine answers; the message says what to do.
pub(crate) async fn choose(wanted: Containerizer, work_dirs: &[PathBuf]) -> Result<Choice, Fault> {
    let docker_host = std::env::var("DOCKER_HOST").ok();
    let socket = docker::socket(docker_host.as_deref());
    match wanted {
        Containerizer::Docker => {
            let socket = socket.map_err(|error| Fault::settings(anyhow!("{error}")))?;
            match docker::detect(&socket).await {
                Ok(version) => Ok(with_docker(socket, &version, "as asked for")),
                Err(error) => {
                    let hint = docker::hint(&error);
                    Err(Fault::settings(anyhow!(
                        "--containerizer docker: {error}; hint: {hint}"
                    )))
                }
            }
        }
        Containerizer::Auto => {
            let detected = match &socket {
                Ok(socket) => docker::detect(socket)
                    .await
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.clone()),
            };
            match (socket, detected) {
                (Ok(socket), Ok(version)) => Ok(with_docker(
                    socket,
                    &version,
                    "--containerizer process for plain processes",
                )),
                (socket, Err(why)) => with_processes(&why, socket.ok(), work_dirs).await,
                (Err(why), Ok(_)) => with_processes(&why, None, work_dirs).await,
            }
        }
        Containerizer::Process => with_processes("as asked for", socket.ok(), work_dirs).await,
    }
}

fn with_docker(socket: String, version: &str, why: &str) -> Choice {
    Choice {
        name: "docker",
        note: format!(
            "tasks with an image run as containers of the Docker engine {version} at {socket} ({why})"
        ),
        docker: Some((socket, NewImages::AsContainers)),
    }
}

async fn with_processes(
    why: &str,
    socket: Option<String>,
    work_dirs: &[PathBuf],
) -> Result<Choice, Fault> {
    let mut note = format!("tasks run as plain processes ({why})");
    let dirs = work_dirs.to_vec();
    let holds = move || {
        dirs.iter()
            .try_fold(false, |any, dir| Ok(any || docker::holds_containers(dir)?))
    };
    let holds: std::io::Result<bool> = tokio::task::spawn_blocking(holds)
        .await
        .context("cannot look for containers")?;
    let docker = match holds {
        Ok(true) => {
            note.push_str("; containers of an earlier run are looked after");
            socket.map(|socket| (socket, NewImages::AsProcesses))
        }
        Ok(false) => None,
        // The agent itself will say what is wrong with its books.
        Err(error) => {
            tracing::warn!(%error, "cannot look for containers of an earlier run");
            None
        }
    };
    Ok(Choice {
        name: "process",
        note,
        docker,
    })
}

impl Choice {
    /// Makes the containerizer for all agents of this process.
    pub(crate) async fn make(
        &self,
        executable: &Path,
        built_in_env: BTreeMap<String, String>,
        tasks: &Tasks,
    ) -> Result<Arc<dyn zddcluster_agent::Containerizer>, Fault> {
        let processes = {
            let (executable, env) = (executable.to_owned(), built_in_env.clone());
            tokio::task::spawn_blocking(move || ProcessContainerizer::new(executable, env))
                .await
                .context("cannot find out how to limit processes")?
        };
        let Some((socket, images)) = self.docker.clone() else {
            return Ok(Arc::new(processes));
        };
        let config = DockerConfig {
            socket,
            executable: executable.to_owned(),
            built_in_env,
            images,
        };
        Ok(Arc::new(DockerContainerizer::start(
            config, processes, tasks,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn processes_say_why() {
        let directory = tempfile::tempdir().unwrap();
        let dirs = [directory.path().to_owned()];
        let choice = choose(Containerizer::Process, &dirs).await.unwrap();
        assert_eq!(choice.name, "process");
        assert_eq!(choice.note, "tasks run as plain processes (as asked for)");
        assert_eq!(choice.docker, None);

        // Something was left in an engine.
        let task = directory.path().join("meta/tasks/a.1");
        std::fs::create_dir_all(&task).unwrap();
        std::fs::write(task.join("container"), "/var/run/docker.sock").unwrap();
        let choice = choose(Containerizer::Process, &dirs).await.unwrap();
        assert!(
            choice.note.contains("containers of an earlier run"),
            "{}",
            choice.note
        );
        assert_eq!(choice.docker.unwrap().1, NewImages::AsProcesses);
    }
}

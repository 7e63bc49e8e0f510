//! The Docker engine as we use it: a call has a deadline, and an error says whether the engine said no or was not there.
//!
//! The connection is made at the first call and agreed anew after the engine was away: it may come back with another
//! version. Only a local socket is spoken to, since sandboxes are mounted from this machine.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStatsResponse, EventMessage,
    ImageInspect, SystemVersion,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, EventsOptionsBuilder,
    ImportImageOptions, KillContainerOptionsBuilder, ListContainersOptionsBuilder, LogsOptions,
    RemoveContainerOptionsBuilder, RemoveImageOptions, StatsOptionsBuilder,
};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::sync::Mutex;

/// Where the engine listens unless `DOCKER_HOST` says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// For questions: an engine under load answers them in milliseconds, one that swaps in seconds.
pub(super) const ASK_LIMIT: Duration = Duration::from_secs(20);

/// For the first word: an engine that does not answer it within this is taken for absent.
const PING_LIMIT: Duration = Duration::from_secs(3);

/// For calls that set up file systems and networks; dozens at once on a slow disk take their time.
const WORK_LIMIT: Duration = Duration::from_secs(90);

/// For an image of a hundred megabytes on a slow disk.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// The longest silence of a registry while it is pulled from.
const PULL_SILENCE: Duration = Duration::from_secs(60);

/// The client's own limit on the head of an answer; above all of ours, which are the ones that count.
const CLIENT_LIMIT: Duration = Duration::from_secs(900);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody listens.
    #[error("no Docker engine answers at {socket}: {why}")]
    Away {
        /// The socket's path.
        socket: String,
        /// The system's words.
        why: String,
    },
    /// Somebody listens and does not answer.
    #[error("the Docker engine did not {what} within {} s", limit.as_secs())]
    Slow {
        /// What was asked.
        what: &'static str,
        /// For how long it was waited.
        limit: Duration,
    },
    /// The engine's own words.
    #[error("{message}")]
    Refused {
        /// The HTTP status; 0 for words in the middle of a stream.
        status: u16,
        /// As the engine put it.
        message: String,
    },
}

impl EngineError {
    /// There is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// It is in another state than the call needs.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// The engine may come back, and then the answer would be another one.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Away { .. } | Self::Slow { .. } => true,
            // It is shutting down, or its own parts are.
            Self::Refused { status, .. } => *status == 503,
        }
    }
}

/// An engine, connected or not.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: String,
    client: Mutex<Option<Docker>>,
}

impl Engine {
    pub(crate) fn new(socket: impl Into<String>) -> Self {
        Self {
            socket: socket.into(),
            client: Mutex::new(None),
        }
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> &str {
        &self.socket
    }

    /// Whether it answers, and as what.
    pub(crate) async fn version(&self) -> Result<SystemVersion, EngineError> {
        self.call("answer", PING_LIMIT, |docker| async move {
            docker.version().await
        })
        .await
    }

    /// One container, by name.
    pub(crate) async fn inspect(
        &self,
        name: &str,
    ) -> Result<ContainerInspectResponse, EngineError> {
        let name = name.to_owned();
        self.call("describe the container", ASK_LIMIT, |docker| async move {
            docker.inspect_container(&name, None).await
        })
        .await
    }

    /// What a container uses now.
    pub(crate) async fn stats(&self, name: &str) -> Result<ContainerStatsResponse, EngineError> {
        let name = name.to_owned();
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true);
        self.call("measure the container", ASK_LIMIT, |docker| async move {
            let mut stats = docker.stats(&name, Some(options.build())).boxed();
            match stats.next().await {
                Some(stats) => stats,
                None => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            }
        })
        .await
    }

    /// Makes a container and returns its id.
    pub(crate) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        self.call("create the container", WORK_LIMIT, |docker| async move {
            docker.create_container(Some(options), body).await
        })
        .await
        .map(|created| created.id)
    }

    /// Starts a container; one that runs already is fine.
    pub(crate) async fn start(&self, name: &str) -> Result<(), EngineError> {
        let name = name.to_owned();
        self.call("start the container", WORK_LIMIT, |docker| async move {
            docker.start_container(&name, None).await
        })
        .await
    }

    /// Signals the main process of a container.
    pub(crate) async fn kill(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        let name = name.to_owned();
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        self.call("signal the container", ASK_LIMIT, |docker| async move {
            docker.kill_container(&name, Some(options)).await
        })
        .await
    }

    /// Ends and takes away a container with its nameless volumes; one that is gone is fine.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let name = name.to_owned();
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let removed = self
            .call("remove the container", WORK_LIMIT, |docker| async move {
                docker.remove_container(&name, Some(options)).await
            })
            .await;
        match removed {
            // 409: its removal is in progress.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other,
        }
    }

    /// The names of the running containers that bear a label.
    pub(crate) async fn running(&self, label: &str) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new()
            .filters(&filters)
            .build();
        let found = self
            .call("list its containers", ASK_LIMIT, |docker| async move {
                docker.list_containers(Some(options)).await
            })
            .await?;
        let names = found
            .into_iter()
            .filter_map(|container| container.names)
            .flatten();
        Ok(names
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect())
    }

    /// What happens to containers that bear a label, from `since` (seconds since 1970) on. Ends when the engine does.
    pub(crate) async fn events(
        &self,
        label: &str,
        since: Option<i64>,
    ) -> Result<BoxStream<'static, Result<EventMessage, EngineError>>, EngineError> {
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("event", vec!["die", "destroy"]),
            ("label", vec![label]),
        ]);
        let mut options = EventsOptionsBuilder::new().filters(&filters);
        if let Some(since) = since {
            options = options.since(&since.to_string());
        }
        let docker = self.client(ASK_LIMIT).await?;
        let socket = self.socket.clone();
        Ok(docker
            .events(Some(options.build()))
            .map(move |event| event.map_err(|error| sorted(&socket, &error)))
            .boxed())
    }

    /// A container's output.
    pub(crate) async fn logs(
        &self,
        name: &str,
        options: LogsOptions,
    ) -> Result<BoxStream<'static, Result<LogOutput, EngineError>>, EngineError> {
        let docker = self.client(ASK_LIMIT).await?;
        let socket = self.socket.clone();
        Ok(docker
            .logs(name, Some(options))
            .map(move |output| output.map_err(|error| sorted(&socket, &error)))
            .boxed())
    }

    /// One image, by name or id.
    pub(crate) async fn image(&self, image: &str) -> Result<ImageInspect, EngineError> {
        let image = image.to_owned();
        self.call("describe the image", ASK_LIMIT, |docker| async move {
            docker.inspect_image(&image).await
        })
        .await
    }

    /// Takes away an image nobody uses.
    pub(crate) async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        let image = image.to_owned();
        self.call("remove the image", WORK_LIMIT, |docker| async move {
            docker
                .remove_image(&image, None::<RemoveImageOptions>, None)
                .await
        })
        .await
        .map(|_| ())
    }

    /// Takes in an image in `docker save`'s form.
    pub(crate) async fn load<S>(&self, tar: S) -> Result<(), EngineError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        self.call("load the image", LOAD_LIMIT, |docker| async move {
            let body = bollard::body_try_stream(tar);
            let mut answers = docker
                .import_image(ImportImageOptions::default(), body, None)
                .boxed();
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok(())
        })
        .await
    }

    /// Fetches an image from its registry.
    pub(crate) async fn pull(&self, image: &str) -> Result<(), EngineError> {
        let (name, tag) = split_tag(image);
        let mut options = CreateImageOptionsBuilder::new().from_image(name);
        // With a digest there is no tag; without both, the engine would fetch every tag there is.
        if !name.contains('@') {
            options = options.tag(tag.unwrap_or("latest"));
        }
        let docker = self.client(ASK_LIMIT).await?;
        let mut answers = docker
            .create_image(Some(options.build()), None, None)
            .boxed();
        loop {
            match tokio::time::timeout(PULL_SILENCE, answers.next()).await {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(sorted(&self.socket, &error)),
                Ok(None) => return Ok(()),
                Err(_) => {
                    return Err(EngineError::Slow {
                        what: "hear from the registry",
                        limit: PULL_SILENCE,
                    });
                }
            }
        }
    }

    pub(super) async fn call<T, F>(
        &self,
        what: &'static str,
        limit: Duration,
        ask: impl FnOnce(Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        let work = async {
            let docker = self.client(limit).await?;
            ask(docker)
                .await
                .map_err(|error| sorted(&self.socket, &error))
        };
        let answer = tokio::time::timeout(limit, work)
            .await
            .unwrap_or(Err(EngineError::Slow { what, limit }));
        if let Err(EngineError::Away { .. }) = answer {
            *self.client.lock().await = None;
        }
        answer
    }

    /// The connection; agrees on a version if there is none yet.
    async fn client(&self, limit: Duration) -> Result<Docker, EngineError> {
        let mut kept = self.client.lock().await;
        if let Some(docker) = &*kept {
            return Ok(docker.clone());
        }
        let connect = async {
            Docker::connect_with_unix(
                &self.socket,
                CLIENT_LIMIT.as_secs(),
                bollard::API_DEFAULT_VERSION,
            )?
            .negotiate_version()
            .await
        };
        let docker = match tokio::time::timeout(limit, connect).await {
            Ok(connected) => connected.map_err(|error| sorted(&self.socket, &error))?,
            Err(_) => {
                return Err(EngineError::Slow {
                    what: "answer",
                    limit,
                });
            }
        };
        *kept = Some(docker.clone());
        Ok(docker)
    }
}

/// `name` and `tag`; the colon of a registry's port is none of a tag.
fn split_tag(image: &str) -> (&str, Option<&str>) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !image.contains('@') => (name, Some(tag)),
        Some(_) | None => (image, None),
    }
}

/// Whose fault it was.
fn sorted(socket: &str, error: &bollard::errors::Error) -> EngineError {
    use bollard::errors::Error;
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => EngineError::Refused {
            status: *status_code,
            message: message.trim().to_owned(),
        },
        Error::DockerStreamError { error } => EngineError::Refused {
            status: 0,
            message: error.trim().to_owned(),
        },
        // An answer we cannot read: it says no more the second time.
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } => EngineError::Refused {
            status: 0,
            message: format!(
                "the Docker engine answered in a way this version does not understand: {error}"
            ),
        },
        other => EngineError::Away {
            socket: socket.to_owned(),
            why: innermost(other),
        },
    }
}

/// An error's innermost cause: hyper's own layers say nothing a user could use.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_ports() {
        for (image, expected) in [
            ("nginx", ("nginx", None)),
            ("nginx:1.9", ("nginx", Some("1.9"))),
            ("registry:5000/nginx", ("registry:5000/nginx", None)),
            (
                "registry:5000/nginx:1.9",
                ("registry:5000/nginx", Some("1.9")),
            ),
            ("nginx@sha256:00ff", ("nginx@sha256:00ff", None)),
        ] {
            assert_eq!(split_tag(image), expected, "{image}");
        }
    }

    #[tokio::test]
    async fn nobody_there() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("none.sock").display().to_string();
        let error = Engine::new(socket.as_str()).version().await.unwrap_err();
        assert!(error.is_passing(), "{error}");
        assert!(error.to_string().contains(&socket), "{error}");
        // A socket that a dead engine left.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        let error = Engine::new(socket).version().await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

//! From a launch to a command line: what runs for `cmd`, `args` and images, and with which environment.
//!
//! Pure. Source: contract marathon §4.4; images that are built in are answered by our own executable whatever the tag.

use std::collections::BTreeMap;
use std::path::Path;

use zddcluster_model::app::{Container, ContainerKind, Docker};

use super::user::User;
use crate::containerizer::{LaunchError, Order};

/// What tasks find commands in: Debian's default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A locale every system has, with UTF-8.
const LANG: &str = "C.UTF-8";

/// What an image name stands for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// A role of this executable.
    BuiltIn(&'static str),
    /// Meant to be built in, and not yet.
    NotYet,
    /// Only a container engine can run it.
    Foreign,
}

impl Image {
    /// By the name without registry, tag and digest.
    pub(crate) fn of(image: &str) -> Self {
        let name = image.split('@').next().unwrap_or(image);
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            Some(_) | None => name,
        };
        let name = name
            .strip_prefix("docker.io/")
            .or_else(|| name.strip_prefix("index.docker.io/"))
            .unwrap_or(name);
        match name {
            "mhausenblas/simpleservice" => Self::BuiltIn("simpleservice"),
            "mesosphere/marathon-lb" => Self::BuiltIn("edge"),
            "mesos/elasticsearch-scheduler" => Self::NotYet,
            other if other.starts_with("magneticio/") => Self::NotYet,
            _ => Self::Foreign,
        }
    }
}

/// Why there is no task of an image that is meant to be built in.
pub(crate) fn not_yet(image: &str) -> LaunchError {
    LaunchError::new(format!(
        "the image {image} is to be built in and is not yet; it is not pulled"
    ))
}

/// What is to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// Whether our own role runs, which gets the agent's extra environment.
    pub(crate) is_built_in: bool,
    /// What of the definition has no meaning for a process; said in the task's log.
    pub(crate) notes: Vec<String>,
}

/// Decides what is executed for a launch.
pub(crate) fn command_line(order: &Order, executable: &Path) -> Result<CommandLine, LaunchError> {
    let launch = &order.launch;
    let mut line = CommandLine {
        argv: Vec::new(),
        is_built_in: false,
        notes: Vec::new(),
    };
    let args = || launch.args.clone().unwrap_or_default();
    let shell = |cmd: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), cmd.to_owned()];
    let Some(container) = &launch.container else {
        line.argv = match &launch.cmd {
            Some(cmd) => shell(cmd),
            None => args(),
        };
        return non_empty(line);
    };
    if container.appc.is_some() {
        return Err(LaunchError::new(
            "AppC images are not supported; this agent runs tasks as processes",
        ));
    }
    let Some(docker) = &container.docker else {
        // Mesos' own containerizer without an image: a plain command, if nothing else was asked for.
        if has_other_volumes(container) {
            return Err(LaunchError::new(
                "volumes that are not persistent need a Docker engine, and this agent runs tasks as processes; \
                 start a Docker engine and run the agent with --containerizer docker",
            ));
        }
        debug_assert_eq!(
            container.kind,
            ContainerKind::Mesos,
            "a DOCKER container has an image"
        );
        line.argv = launch.cmd.as_deref().map_or_else(args, shell);
        return non_empty(line);
    };
    let image = docker.image();
    let role = match Image::of(image) {
        Image::BuiltIn(role) => role,
        Image::NotYet => {
            return Err(not_yet(image));
        }
        Image::Foreign => {
            return Err(LaunchError::new(format!(
                "image {image} needs Docker, and this agent runs tasks as processes; \
                 start a Docker engine and run the agent with --containerizer docker"
            )));
        }
    };
    line.is_built_in = true;
    line.argv = match &launch.cmd {
        Some(cmd) => shell(cmd),
        None => [executable.display().to_string(), role.to_owned()]
            .into_iter()
            .chain(args())
            .collect(),
    };
    if has_other_volumes(container) {
        line.notes
            .push("volumes that are not persistent are not mounted".to_owned());
    }
    if let Docker::Engine(engine) = docker {
        if !engine.parameters.is_empty() {
            line.notes.push("docker parameters are ignored".to_owned());
        }
        if engine.force_pull_image {
            line.notes.push("forcePullImage is ignored".to_owned());
        }
    }
    non_empty(line)
}

/// Whether there are volumes other than those that are linked into the sandbox.
fn has_other_volumes(container: &Container) -> bool {
    container
        .volumes
        .iter()
        .any(|volume| volume.persistent.is_none())
}

fn non_empty(line: CommandLine) -> Result<CommandLine, LaunchError> {
    if line.argv.is_empty() {
        return Err(LaunchError::new(
            "the app has neither cmd nor args nor an image",
        ));
    }
    Ok(line)
}

/// The whole environment of a task: nothing of the agent's own comes through.
pub(crate) fn environment(
    order: &Order,
    user: Option<&User>,
    built_in_env: Option<&BTreeMap<String, String>>,
) -> BTreeMap<String, String> {
    let sandbox = order.sandbox.display().to_string();
    let home = user.map_or_else(|| sandbox.clone(), |user| user.home.clone());
    let mut env: BTreeMap<String, String> = [("PATH", PATH), ("LANG", LANG), ("HOME", &home)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    env.extend(
        built_in_env
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    env.extend(
        order
            .launch
            .env
            .iter()
            .map(|(key, value)| (key.clone(), value.clone())),
    );
    // Set by the executor whatever the app says: the container's name finds the task's processes again.
    env.extend(
        [
            ("MESOS_SANDBOX", sandbox.as_str()),
            ("MESOS_CONTAINER_NAME", &order.container_name),
            ("LIBPROCESS_IP", &order.ip),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_by_name_whatever_the_tag() {
        for (image, expected) in [
            (
                "mhausenblas/simpleservice:0.4.0",
                Image::BuiltIn("simpleservice"),
            ),
            ("mhausenblas/simpleservice", Image::BuiltIn("simpleservice")),
            (
                "docker.io/mesosphere/marathon-lb:v1.4.1",
                Image::BuiltIn("edge"),
            ),
            ("magneticio/vamp:0.9.1", Image::NotYet),
            ("magneticio/vamp-gateway-agent", Image::NotYet),
            (
                "docker.io/mesos/elasticsearch-scheduler:1.0.1",
                Image::NotYet,
            ),
            ("mesos/elasticsearch-executor", Image::Foreign),
            ("magneticio", Image::Foreign),
            ("registry:5000/mhausenblas/simpleservice", Image::Foreign),
            ("nginx", Image::Foreign),
            ("nginx@sha256:00ff", Image::Foreign),
        ] {
            assert_eq!(Image::of(image), expected, "{image}");
        }
    }
}

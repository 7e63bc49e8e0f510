//! From an order to what is asked of the engine, and the `docker run` line that would ask the same.
//!
//! Pure. Sources: contract marathon §1.4, §1.6, §4.4; Mesos 1.0 `docker.cpp`, whose own line stands in the lab's log:
//! `docker … run --cpu-shares 102 --memory 33554432 -e … -v <sandbox>:/mnt/mesos/sandbox --net host --name mesos-… image`.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
};
use zddcluster_model::app::{Docker, DockerEngine, Network, PortMapping, Volume, VolumeMode};

use super::image::Present;
use super::parameters;
use crate::banner::quoted;
use crate::containerizer::{LaunchError, Order};
use crate::executor::cgroup::Limits;
use crate::process::command::Image;

/// Where a container finds its sandbox.
pub(crate) const SANDBOX: &str = "/mnt/mesos/sandbox";

/// In the environment of built-in roles: the file with the cluster's token, if it has one.
const TOKEN_FILE: &str = "ZDD_TOKEN_FILE";

/// In the environment of built-in roles: where to listen, if not at `HOST`.
const BIND: &str = "ZDD_BIND";

/// On every container of ours: its name in the cluster's terms. Also what they are found by.
pub(crate) const TASK_LABEL: &str = "zddcluster.task";

/// The engine keeps two files of this size for each container; we follow them into the sandbox.
const ENGINE_LOG_SIZE: &str = "10m";

/// A container to be made.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For the engine.
    pub(crate) body: ContainerCreateBody,
    /// For the first line of the task's stderr.
    pub(crate) line: String,
}

/// Decides how a task's container is made of an image that is there.
pub(crate) fn plan(
    order: &Order,
    image: &Present,
    built_in_env: &BTreeMap<String, String>,
    socket: &str,
) -> Result<Plan, LaunchError> {
    let refused = |why: String| LaunchError::new(format!("Failed to launch container: {why}"));
    let launch = &order.launch;
    let container = launch.container.as_ref();
    let volumes = container.map_or(&[][..], |container| container.volumes.as_slice());
    let engine = match container.and_then(|container| container.docker.as_ref()) {
        Some(Docker::Engine(engine)) => Some(engine),
        // `type: MESOS` with a Docker image: the engine runs it, with the host's network as Mesos would.
        Some(Docker::Image(_)) | None => None,
    };
    let limits = Limits::new(launch.cpus, launch.mem);
    let mut host = HostConfig {
        cpu_shares: Some(signed(limits.shares)),
        memory: Some(signed(limits.memory)),
        mounts: Some(mounts(order, image, built_in_env)),
        binds: Some(
            volumes
                .iter()
                .map(|volume| bind(order, volume))
                .collect::<Result<_, _>>()
                .map_err(refused)?,
        ),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from(
                [("max-size", ENGINE_LOG_SIZE), ("max-file", "2")]
                    .map(|(key, value)| (key.to_owned(), value.to_owned())),
            )),
        }),
        // Our own roles need no more than what every container may, however marathon-lb's app is written.
        privileged: Some(!image.is_built_in && engine.is_some_and(|engine| engine.privileged)),
        network_mode: Some(network(engine, launch.network_name.as_deref()).map_err(refused)?),
        ..HostConfig::default()
    };
    let mut exposed = None;
    if let Some(mappings) = engine.and_then(bridged) {
        let ports = published(mappings, &launch.ports, &order.ip);
        exposed = Some(ports.iter().map(|(port, _)| port.clone()).collect());
        host.port_bindings = Some(
            ports
                .into_iter()
                .map(|(port, binding)| (port, Some(vec![binding])))
                .collect(),
        );
    }
    let mut body = ContainerCreateBody {
        image: Some(image.reference.clone()),
        cmd: command(order, image).map_err(refused)?,
        user: launch.user.clone(),
        env: Some(environment(
            order,
            image.is_built_in.then_some(built_in_env),
        )),
        labels: Some(labels(order)),
        exposed_ports: exposed,
        stop_timeout: Some(signed(launch.grace_millis.div_ceil(1000))),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    };
    if let Some(engine) = engine {
        parameters::apply(&engine.parameters, &mut body).map_err(refused)?;
    }
    let line = line(
        order,
        &body,
        image,
        engine.map_or(&[][..], |engine| &engine.parameters),
        socket,
    );
    Ok(Plan { body, line })
}

/// The engine's name for the network; `name` is what the app calls one of the user's.
fn network(engine: Option<&DockerEngine>, name: Option<&str>) -> Result<String, String> {
    // Says the same as the name, and goes before it.
    if let Some(parameter) = engine.and_then(network_parameter) {
        return Ok(parameter.to_owned());
    }
    match (engine.and_then(|engine| engine.network), name) {
        (Some(Network::Bridge), _) => Ok("bridge".to_owned()),
        (Some(Network::None), _) => Ok("none".to_owned()),
        (Some(Network::User), Some(name)) => Ok(name.to_owned()),
        (Some(Network::User), None) => Err(
            "network USER needs the network's name: \"ipAddress\": {\"networkName\": NAME}"
                .to_owned(),
        ),
        // Mesos' default.
        (Some(Network::Host) | None, _) => Ok("host".to_owned()),
    }
}

/// The network of a `docker run --net`, which is the last one given.
fn network_parameter(engine: &DockerEngine) -> Option<&str> {
    let names_one = |key: &str| ["net", "network"].contains(&key.trim_start_matches('-'));
    let mut parameters = engine.parameters.iter().rev();
    let parameter = parameters.find(|parameter| names_one(&parameter.key))?;
    Some(&parameter.value)
}

/// Whether the order's container is given an address by the engine.
pub(crate) fn has_own_network(order: &Order) -> bool {
    let Some(Docker::Engine(engine)) = order
        .launch
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref())
    else {
        return false;
    };
    match network_parameter(engine) {
        Some(name) => !["host", "none"].contains(&name) && !name.starts_with("container:"),
        None => matches!(engine.network, Some(Network::Bridge | Network::User)),
    }
}

/// The mappings that mean something.
fn bridged(engine: &DockerEngine) -> Option<&[PortMapping]> {
    match engine.network {
        Some(Network::Bridge | Network::User) => engine.port_mappings.as_deref(),
        Some(Network::Host | Network::None) | None => None,
    }
}

/// `8080/tcp` and where it is reached, for each mapping that has a host port. Host ports come in the order of the mappings.
fn published(mappings: &[PortMapping], host_ports: &[u16], ip: &str) -> Vec<(String, PortBinding)> {
    let mut ports = Vec::new();
    let with_host_port = mappings
        .iter()
        .filter(|mapping| mapping.host_port.is_some());
    for (mapping, &host_port) in with_host_port.zip(host_ports) {
        let inside = match mapping.container_port {
            0 => host_port,
            port => port,
        };
        for protocol in mapping.protocol.split(',') {
            ports.push((
                format!("{inside}/{protocol}"),
                PortBinding {
                    // The agent's own address: agents of one machine share its ports otherwise.
                    host_ip: Some(ip.to_owned()),
                    host_port: Some(host_port.to_string()),
                },
            ));
        }
    }
    ports
}

/// A volume as `docker run -v` takes it; relative paths are in the sandbox, as in Mesos.
fn bind(order: &Order, volume: &Volume) -> Result<String, String> {
    let container_path = &volume.container_path;
    let kept = |name: &str| {
        let kept = order.volume_at(name)?;
        Some(order.volume_path(kept))
    };
    let (host_path, outside) = match (&volume.host_path, &volume.persistent) {
        (_, Some(_)) => {
            let outside = kept(container_path);
            let outside = outside.ok_or("the master has named no persistent volume for it")?;
            (container_path, outside)
        }
        // Perhaps a persistent volume that is mounted a second time: in Mesos it is in the sandbox, too.
        (Some(host_path), None) => {
            let outside = kept(host_path).unwrap_or_else(|| order.sandbox.join(host_path));
            (host_path, outside)
        }
        (None, None) => return Err("external volumes are not supported".to_owned()),
    };
    if host_path.contains(':') || volume.container_path.contains(':') {
        return Err(format!("the volume path '{host_path}' cannot hold a colon"));
    }
    let inside = match volume.container_path.starts_with('/') {
        true => volume.container_path.clone(),
        false => format!("{SANDBOX}/{}", volume.container_path),
    };
    let mode = match volume.mode {
        VolumeMode::Ro => "ro",
        VolumeMode::Rw => "rw",
    };
    Ok(format!("{}:{inside}:{mode}", outside.display()))
}

/// What comes after the image: `cmd` replaces its CMD, `args` go after its ENTRYPOINT.
fn command(order: &Order, image: &Present) -> Result<Option<Vec<String>>, String> {
    match (&order.launch.cmd, &order.launch.args) {
        (Some(_), _) if image.is_built_in => Err(format!(
            "cmd needs a shell, and the built-in image {} holds none; leave cmd out, or use args",
            image.reference
        )),
        (Some(cmd), _) => Ok(Some(vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            cmd.clone(),
        ])),
        (None, args) => Ok(args.clone()),
    }
}

/// The sandbox; and for an edge the file with the cluster's token, where its environment says.
fn mounts(order: &Order, image: &Present, built_in_env: &BTreeMap<String, String>) -> Vec<Mount> {
    let sandbox = Mount {
        typ: Some(MountType::BIND),
        source: Some(order.sandbox.display().to_string()),
        target: Some(SANDBOX.to_owned()),
        ..Mount::default()
    };
    let is_edge = image.is_built_in && Image::of(&image.reference) == Image::BuiltIn("edge");
    let token = built_in_env
        .get(TOKEN_FILE)
        .filter(|_| is_edge)
        .map(|path| Mount {
            typ: Some(MountType::BIND),
            source: Some(path.clone()),
            target: Some(path.clone()),
            read_only: Some(true),
            ..Mount::default()
        });
    [sandbox].into_iter().chain(token).collect()
}

fn environment(order: &Order, built_in_env: Option<&BTreeMap<String, String>>) -> Vec<String> {
    let mut env: BTreeMap<&str, &str> = BTreeMap::new();
    if built_in_env.is_some() && has_own_network(order) {
        // The agent's address, which `HOST` says, is not there.
        env.insert(BIND, "0.0.0.0");
    }
    let own = built_in_env.into_iter().flatten().chain(&order.launch.env);
    env.extend(own.map(|(key, value)| (key.as_str(), value.as_str())));
    // Set by the executor whatever the app says.
    env.extend([
        ("MESOS_SANDBOX", SANDBOX),
        ("MESOS_CONTAINER_NAME", &order.container_name),
        ("LIBPROCESS_IP", &order.ip),
    ]);
    env.into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

fn labels(order: &Order) -> HashMap<String, String> {
    let launch = &order.launch;
    // `<cluster>-S<n>`.
    let agent = launch.agent_id.as_str();
    let cluster = agent
        .rsplit_once("-S")
        .map_or(agent, |(cluster, _)| cluster);
    [
        (TASK_LABEL, launch.task_id.as_str()),
        ("zddcluster.app", &launch.app_id.to_string()),
        ("zddcluster.agent", agent),
        ("zddcluster.cluster", cluster),
        ("zddcluster.framework", &launch.framework_id),
        ("zddcluster.sandbox", &order.sandbox.display().to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// What would be typed to start the same container.
fn line(
    order: &Order,
    body: &ContainerCreateBody,
    image: &Present,
    parameters: &[zddcluster_model::app::Parameter],
    socket: &str,
) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut option = |name: &str, value: &str| {
        words.push(name.to_owned());
        words.push(quoted(value));
    };
    option("Running docker -H", &format!("unix://{socket}"));
    let host = body.host_config.as_ref();
    let of_host = |value: Option<i64>| value.unwrap_or_default().to_string();
    option(
        "run --cpu-shares",
        &of_host(host.and_then(|host| host.cpu_shares)),
    );
    option("--memory", &of_host(host.and_then(|host| host.memory)));
    for variable in body.env.iter().flatten() {
        option("-e", variable);
    }
    option("-v", &format!("{}:{SANDBOX}", order.sandbox.display()));
    for bind in host
        .and_then(|host| host.binds.as_ref())
        .into_iter()
        .flatten()
    {
        option("-v", bind);
    }
    option(
        "--net",
        host.and_then(|host| host.network_mode.as_deref())
            .unwrap_or_default(),
    );
    if let Some(ports) = host.and_then(|host| host.port_bindings.as_ref()) {
        let ports: BTreeMap<_, _> = ports.iter().collect();
        for (inside, bindings) in ports {
            for binding in bindings.iter().flatten() {
                let part = |text: &Option<String>| text.clone().unwrap_or_default();
                option(
                    "-p",
                    &format!(
                        "{}:{}:{inside}",
                        part(&binding.host_ip),
                        part(&binding.host_port)
                    ),
                );
            }
        }
    }
    if let Some(user) = &body.user {
        option("--user", user);
    }
    if host.and_then(|host| host.privileged) == Some(true) {
        words.push("--privileged".to_owned());
    }
    let said = [
        "e",
        "env",
        "v",
        "volume",
        "net",
        "network",
        "u",
        "user",
        "privileged",
    ];
    for parameter in parameters {
        let key = parameter.key.trim_start_matches('-');
        if !said.contains(&key) {
            words.push(quoted(&format!("--{key}={}", parameter.value)));
        }
    }
    words.push(format!("--name {}", order.container_name));
    words.push(image.reference.clone());
    words.extend(body.cmd.iter().flatten().map(|word| quoted(word)));
    for note in &image.notes {
        words.push(format!("({note})"));
    }
    if image.is_built_in && is_privileged(order) {
        words.push("(privileged is ignored: the image is built in and does without)".to_owned());
    }
    words.join(" ")
}

fn is_privileged(order: &Order) -> bool {
    let docker = order
        .launch
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref());
    matches!(docker, Some(Docker::Engine(engine)) if engine.privileged)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "create/tests.rs"]
mod tests;

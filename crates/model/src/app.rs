//! The app definition: its parts, and how it is read, merged, validated and printed.
//!
//! Source: contract marathon §1; Marathon 1.3.

mod checks;
mod container;
mod definition;
mod merge;
mod networks;
mod parts;
mod print;
mod read;
mod rules;
mod update;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::AppId;
use crate::number::whole_or_shortest;
use crate::time::Timestamp;

pub(crate) use read::merge as merge_faults;
pub use update::{AppUpdate, Fault, Form, ReadError, RuleErrors, validate};

/// A whole app definition with every default filled in, as it is stored and printed.
///
/// Printed by `Serialize` in the key order of contract marathon §1.11 and read back from exactly that form by
/// `Deserialize` (used by the store). What users send is read by [`AppUpdate`], which reports faults as Marathon does.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Absolute path.
    pub id: AppId,
    /// Run as `/bin/sh -c cmd`.
    pub cmd: Option<String>,
    /// Arguments.
    pub args: Option<Vec<String>>,
    /// User to run as.
    pub user: Option<String>,
    /// Environment.
    pub env: BTreeMap<String, EnvValue>,
    /// Wanted number of tasks.
    pub instances: u32,
    /// Cores for each task.
    pub cpus: f64,
    /// Memory for each task, MiB.
    pub mem: f64,
    /// Disk for each task, MiB.
    pub disk: f64,
    /// GPUs for each task.
    pub gpus: u32,
    /// `""`, `//cmd` or a path.
    pub executor: String,
    /// Placement constraints, without duplicates.
    pub constraints: Vec<Constraint>,
    /// What to fetch into the sandbox (`uris` is printed from it).
    pub fetch: Vec<Fetch>,
    /// Kept and echoed.
    pub store_urls: Vec<String>,
    /// First back-off delay, seconds.
    pub backoff_seconds: u64,
    /// Growth of the delay.
    pub backoff_factor: f64,
    /// Longest delay, seconds.
    pub max_launch_delay_seconds: u64,
    /// Container, if any.
    pub container: Option<Container>,
    /// Health checks, without duplicates.
    pub health_checks: Vec<HealthCheck>,
    /// Readiness checks, at most one.
    pub readiness_checks: Vec<ReadinessCheck>,
    /// Apps or groups that must be up first, absolute.
    pub dependencies: BTreeSet<AppId>,
    /// Bounds of a rolling restart.
    pub upgrade_strategy: UpgradeStrategy,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Roles whose resources may be used; `None` means `["*"]`.
    pub accepted_resource_roles: Option<Vec<String>>,
    /// IP-per-task.
    pub ip_address: Option<AppIpAddress>,
    /// When the definition was last changed in any way.
    pub version: Timestamp,
    /// Only with persistent volumes.
    pub residency: Option<Residency>,
    /// Name to source; must be empty (feature off).
    pub secrets: BTreeMap<String, Secret>,
    /// Seconds between SIGTERM and SIGKILL.
    pub task_kill_grace_period_seconds: Option<u64>,
    /// Service ports with names; 0 means "to be assigned". Empty if `ip_address` is set.
    pub port_definitions: Vec<PortDefinition>,
    /// Host port must equal service port.
    pub require_ports: bool,
    /// Set when the app is stored.
    pub version_info: Option<VersionInfo>,
}

impl App {
    /// The service ports, in order: those of the port mappings if there are any, else of the port definitions.
    pub fn service_ports(&self) -> Vec<u16> {
        match self.port_mappings() {
            Some(mappings) => mappings
                .iter()
                .map(|mapping| mapping.service_port)
                .collect(),
            None => self
                .port_definitions
                .iter()
                .map(|definition| definition.port)
                .collect(),
        }
    }

    /// The port mappings, if the network is one that has them and they were given.
    pub fn port_mappings(&self) -> Option<&[PortMapping]> {
        match self.container.as_ref()?.docker.as_ref()? {
            Docker::Engine(engine) => engine.port_mappings.as_deref(),
            Docker::Image(_) => None,
        }
    }

    /// The container image, if there is one.
    pub fn image(&self) -> Option<&str> {
        let container = self.container.as_ref()?;
        match (&container.docker, &container.appc) {
            (Some(docker), _) => Some(docker.image()),
            (None, Some(appc)) => Some(&appc.image),
            (None, None) => None,
        }
    }

    /// True if the app keeps its tasks on their agents: it has persistent volumes.
    pub const fn is_resident(&self) -> bool {
        self.residency.is_some()
    }

    /// The version under which back-off and constraints count, `lastConfigChangeAt`.
    pub fn config_version(&self) -> Timestamp {
        self.version_info
            .map_or(self.version, |info| info.last_config_change_at)
    }
}

/// When an app was last scaled and last changed otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionInfo {
    /// Last change of any kind, a restart too.
    pub last_scaling_at: Timestamp,
    /// Last change of anything but `instances`.
    pub last_config_change_at: Timestamp,
}

/// A value in `env`: text, or a reference to a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum EnvValue {
    /// Plain text.
    Text(String),
    /// `{"secret": name}`.
    Secret {
        /// The name in `secrets`.
        secret: String,
    },
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The source.
    pub source: String,
}

/// `[field, OPERATOR]` or `[field, OPERATOR, value]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// `hostname` or an agent attribute.
    pub field: String,
    /// What must hold.
    pub operator: Operator,
    /// The operator's value.
    pub value: Option<String>,
}

/// A constraint's operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// No two tasks with the same value.
    Unique,
    /// The value matches the regex.
    Like,
    /// All tasks with one value.
    Cluster,
    /// Spread evenly.
    GroupBy,
    /// The value does not match the regex.
    Unlike,
    /// At most n tasks a value.
    MaxPer,
}

/// A file to fetch into the sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetch {
    /// Where from.
    pub uri: String,
    /// Unpack archives.
    pub extract: bool,
    /// Make it executable.
    pub executable: bool,
    /// Keep it in the agent's cache.
    pub cache: bool,
    /// Name in the sandbox, if not the URI's last part.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub output_file: Option<String>,
}

/// A container: `type, volumes`, then `docker` or `appc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// The runtime.
    #[serde(rename = "type")]
    pub kind: ContainerKind,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// Docker image (with either runtime).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub docker: Option<Docker>,
    /// AppC image (MESOS only).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub appc: Option<AppC>,
}

/// A container's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ContainerKind {
    /// The Docker engine.
    Docker,
    /// Mesos' own containerizer.
    Mesos,
}

/// The `docker` part of a container. The DOCKER and the MESOS runtime use different keys of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Docker {
    /// For `type: DOCKER`: `image, network, portMappings, privileged, parameters, forcePullImage`.
    Engine(DockerEngine),
    /// For `type: MESOS`: `image, credential, forcePullImage`.
    Image(DockerImage),
}

impl Docker {
    /// The image's name.
    pub fn image(&self) -> &str {
        match self {
            Self::Engine(engine) => &engine.image,
            Self::Image(image) => &image.image,
        }
    }
}

/// How the Docker engine is to run an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DockerEngine {
    /// The image.
    pub image: String,
    /// The network, `null` if unset.
    pub network: Option<Network>,
    /// Mappings, only with BRIDGE and USER; else `null`.
    pub port_mappings: Option<Vec<PortMapping>>,
    /// All capabilities.
    pub privileged: bool,
    /// `docker run` options.
    pub parameters: Vec<Parameter>,
    /// Pull even if present.
    pub force_pull_image: bool,
}

/// A Docker image run by Mesos' own containerizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DockerImage {
    /// The image.
    pub image: String,
    /// Registry credential.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<Credential>,
    /// Pull even if present.
    pub force_pull_image: bool,
}

/// A registry credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Who.
    pub principal: String,
    /// The secret, if any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub secret: Option<String>,
}

/// An AppC image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppC {
    /// The image.
    pub image: String,
    /// `sha512-…`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<String>,
    /// Image labels.
    pub labels: BTreeMap<String, String>,
    /// Pull even if present.
    pub force_pull_image: bool,
}

/// A `docker run` option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Option name without dashes.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A Docker network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Network {
    /// The host's.
    Host,
    /// Docker's bridge.
    Bridge,
    /// None.
    None,
    /// A user network.
    User,
}

/// A container port and the host port it is reached by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortMapping {
    /// Port in the container; 0 = same as the host port.
    pub container_port: u16,
    /// Port on the host; 0 = from the offer; absent only with USER.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host_port: Option<u16>,
    /// Service port; 0 = to be assigned.
    pub service_port: u16,
    /// `tcp`, `udp` or both.
    pub protocol: String,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A service port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortDefinition {
    /// The service port; 0 = to be assigned.
    pub port: u16,
    /// `tcp`, `udp` or both.
    pub protocol: String,
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume: `containerPath, hostPath?, mode, persistent?, external?`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Path in the container.
    pub container_path: String,
    /// Path on the host.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host_path: Option<String>,
    /// `RO` or `RW`.
    pub mode: VolumeMode,
    /// Kept on the agent over restarts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub persistent: Option<PersistentVolume>,
    /// From a volume driver.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external: Option<ExternalVolume>,
}

/// How a volume may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VolumeMode {
    /// Read only.
    Ro,
    /// Read and write.
    Rw,
}

/// A volume that stays on its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersistentVolume {
    /// MiB.
    #[serde(serialize_with = "whole_or_shortest")]
    pub size: f64,
}

/// A volume of a driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalVolume {
    /// GiB.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u64>,
    /// Volume name.
    pub name: String,
    /// `dvdi`.
    pub provider: String,
    /// Driver options.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// A health check: `path?, protocol, portIndex?, command?, gracePeriodSeconds, …, port?` (contract marathon §1.8).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Request path; `/` is asked if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// How to ask.
    pub protocol: HealthProtocol,
    /// Which of the app's ports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_index: Option<u32>,
    /// COMMAND only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<CommandCheck>,
    /// Failures do not count before the first success while the task is younger.
    pub grace_period_seconds: u64,
    /// Time between two rounds.
    pub interval_seconds: u64,
    /// Time to answer.
    pub timeout_seconds: u64,
    /// Failure number this + 1 kills; 0 = never.
    pub max_consecutive_failures: u32,
    /// A 1xx answer changes nothing.
    pub ignore_http1xx: bool,
    /// A fixed port instead of an index.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
}

/// The command of a COMMAND check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommandCheck {
    /// `/bin/sh -c` text.
    pub value: String,
}

/// How a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum HealthProtocol {
    Http,
    Https,
    Tcp,
    Command,
    MesosHttp,
    MesosHttps,
    MesosTcp,
}

/// A readiness check, keys in printed order (contract marathon §1.9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheck {
    /// Name.
    pub name: String,
    /// `HTTP` or `HTTPS`.
    pub protocol: HealthProtocol,
    /// Request path.
    pub path: String,
    /// Name of one of the app's ports.
    pub port_name: String,
    /// Time between two questions.
    pub interval_seconds: u64,
    /// Time to answer; less than the interval.
    pub timeout_seconds: u64,
    /// Answers that mean ready.
    pub http_status_codes_for_ready: Vec<u16>,
    /// Show the last answer in the deployment.
    pub preserve_last_response: bool,
}

/// Bounds of a rolling restart, both 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpgradeStrategy {
    /// Share of instances kept at least.
    #[serde(serialize_with = "whole_or_shortest")]
    pub minimum_health_capacity: f64,
    /// Share of instances added at most.
    #[serde(serialize_with = "whole_or_shortest")]
    pub maximum_over_capacity: f64,
}

/// IP-per-task settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppIpAddress {
    /// Network groups.
    pub groups: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Published ports.
    pub discovery: Discovery,
    /// Network name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub network_name: Option<String>,
}

/// Ports published for IP-per-task.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Discovery {
    /// The ports.
    pub ports: Vec<DiscoveryPort>,
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryPort {
    /// Number.
    pub number: u16,
    /// Name.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What happens to a resident task whose agent is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    /// Seconds.
    pub relaunch_escalation_timeout_seconds: u64,
    /// `WAIT_FOREVER` or `RELAUNCH_AFTER_TIMEOUT`.
    pub task_lost_behavior: String,
}

//! The app definition: its parts, and how it is read, merged, validated and printed.
//!
//! Source: contract marathon §1; Marathon 1.3.

mod checks;
mod container;
mod merge;
mod networks;
mod parts;
mod ports;
mod print;
mod read;
mod rules;
mod update;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::AppId;
use crate::number::whole_or_shortest;
use crate::time::Timestamp;

pub use checks::{CommandCheck, HealthCheck, HealthProtocol, ReadinessCheck};
pub use container::{
    AppC, Container, ContainerKind, Credential, Docker, DockerEngine, DockerImage, ExternalVolume,
    Network, Parameter, PersistentVolume, PortMapping, Volume, VolumeMode,
};
pub use ports::{AppIpAddress, Discovery, DiscoveryPort, PortDefinition};
pub(crate) use read::{Faults, Object, merge as merge_faults};
pub(crate) use update::parse;
pub use update::{AppUpdate, Fault, Form, ReadError, RuleErrors, validate, validate_change};

/// The JSON schema (draft 4) of an app, as `/v2/schemas/app` shows it. For editors and clients; the server checks by its own rules.
pub const SCHEMA: &str = include_str!("app/schema.json");

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
    /// Who goes first when the app is scaled down. Of Marathon 1.5, so never printed; the store keeps it besides.
    pub kill_selection: KillSelection,
}

impl App {
    /// Whether its tasks have to pass any check before they count.
    pub const fn is_checked(&self) -> bool {
        !(self.health_checks.is_empty() && self.readiness_checks.is_empty())
    }

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

    /// The volumes that stay on an agent over restarts, with their sizes in MiB.
    pub fn persistent_volumes(&self) -> impl Iterator<Item = (&Volume, f64)> {
        let sized = |volume: &PersistentVolume| volume.size;
        self.volumes()
            .filter_map(move |volume| Some((volume, volume.persistent.as_ref().map(sized)?)))
    }

    /// The label that says how long a task that is to be killed may be held at most until every edge has let it go, seconds.
    pub const DRAIN_LABEL: &str = "ZDD_DRAIN_SECONDS";

    /// The longest hold, an hour.
    pub(crate) const MAX_DRAIN_SECONDS: u32 = 3600;

    /// What [`Self::DRAIN_LABEL`] says, if it is there and keeps the rule.
    pub fn drain_seconds(&self) -> Option<u32> {
        let text = self.labels.get(Self::DRAIN_LABEL)?;
        let seconds = text.parse().ok()?;
        (seconds <= Self::MAX_DRAIN_SECONDS).then_some(seconds)
    }

    /// The version under which back-off and constraints count, `lastConfigChangeAt`.
    pub fn config_version(&self) -> Timestamp {
        self.version_info
            .map_or(self.version, |info| info.last_config_change_at)
    }
}

/// Which tasks go first when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KillSelection {
    /// Those that started last, as before Marathon 1.5.
    #[default]
    YoungestFirst,
    /// Those that started first.
    OldestFirst,
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

/// What happens to a resident task whose agent is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Residency {
    /// Seconds.
    pub relaunch_escalation_timeout_seconds: u64,
    /// `WAIT_FOREVER` or `RELAUNCH_AFTER_TIMEOUT`.
    pub task_lost_behavior: String,
}

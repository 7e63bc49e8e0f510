//! Containers: images, networks, port mappings and volumes (contract marathon §1.6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::number::whole_or_shortest;

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

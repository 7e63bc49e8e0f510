//! Reading containers, networks and IP-per-task settings.
//!
//! Source: contract marathon §1.6 (containers), §1.13 (networks of newer definitions), §1.2 (`ipAddress`).

use std::collections::BTreeSet;

use super::{Faults, Object};
use crate::app::{
    AppC, AppIpAddress, Container, ContainerKind, Credential, Discovery, DiscoveryPort, Docker,
    DockerEngine, DockerImage, ExternalVolume, Network, Parameter, PersistentVolume, PortMapping,
    Volume, VolumeMode,
};

/// A container as written: newer definitions keep the port mappings outside the `docker` part.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::app) struct GivenContainer {
    /// The container in 1.3 form.
    pub(in crate::app) container: Container,
    /// `container.portMappings`.
    pub(in crate::app) port_mappings: Option<Vec<PortMapping>>,
}

/// One item of `networks`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::app) struct GivenNetwork {
    /// `mode`.
    pub(in crate::app) mode: NetworkMode,
    /// `name`.
    pub(in crate::app) name: Option<String>,
    /// `labels`.
    pub(in crate::app) labels: std::collections::BTreeMap<String, String>,
}

/// The modes of newer definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) enum NetworkMode {
    /// `host`.
    Host,
    /// `container/bridge`.
    Bridge,
    /// `container`.
    Container,
}

pub(in crate::app) fn read_network(
    object: Object<'_>,
    faults: &mut Faults,
) -> Option<GivenNetwork> {
    let parse = |word: &str| match word {
        "host" => Some(NetworkMode::Host),
        "container/bridge" => Some(NetworkMode::Bridge),
        "container" => Some(NetworkMode::Container),
        _ => None,
    };
    let mode = if object.has("mode") {
        object.word("mode", faults, parse, "is not a valid network mode")?
    } else {
        NetworkMode::Container
    };
    let name = object.string("name", faults);
    let labels = object.string_map("labels", faults).unwrap_or_default();
    Some(GivenNetwork { mode, name, labels })
}

pub(in crate::app) fn read_container(
    object: Object<'_>,
    faults: &mut Faults,
) -> Option<GivenContainer> {
    let parse = |word: &str| match word {
        "DOCKER" => Some(ContainerKind::Docker),
        "MESOS" => Some(ContainerKind::Mesos),
        _ => None,
    };
    let kind = if object.has("type") {
        object.word("type", faults, parse, "is not a valid container type")?
    } else {
        ContainerKind::Docker
    };
    let volumes = object
        .objects("volumes", faults, read_volume)
        .unwrap_or_default();
    let port_mappings = object.objects("portMappings", faults, read_port_mapping);
    let (docker, appc) = match kind {
        ContainerKind::Docker => {
            object.required("docker", faults)?;
            let engine = object.object("docker", faults, read_engine)?;
            (Some(Docker::Engine(engine)), None)
        }
        ContainerKind::Mesos if object.has("docker") => {
            let image = object.object("docker", faults, read_image)?;
            (Some(Docker::Image(image)), None)
        }
        ContainerKind::Mesos => (None, object.object("appc", faults, read_appc)),
    };
    Some(GivenContainer {
        container: Container {
            kind,
            volumes,
            docker,
            appc,
        },
        port_mappings,
    })
}

fn read_engine(docker: Object<'_>, faults: &mut Faults) -> Option<DockerEngine> {
    let parse = |word: &str| match word {
        "HOST" => Some(Network::Host),
        "BRIDGE" => Some(Network::Bridge),
        "NONE" => Some(Network::None),
        "USER" => Some(Network::User),
        _ => None,
    };
    let image = docker.required_string("image", faults);
    let network = docker.word("network", faults, parse, "is not a valid network type");
    let port_mappings = docker.objects("portMappings", faults, read_port_mapping);
    let privileged = docker.boolean("privileged", faults).unwrap_or(false);
    let parameters = docker
        .objects("parameters", faults, read_parameter)
        .unwrap_or_default();
    let force_pull_image = docker.boolean("forcePullImage", faults).unwrap_or(false);
    Some(DockerEngine {
        image: image?,
        network,
        port_mappings,
        privileged,
        parameters,
        force_pull_image,
    })
}

fn read_image(docker: Object<'_>, faults: &mut Faults) -> Option<DockerImage> {
    let image = docker.required_string("image", faults);
    let credential = docker.object("credential", faults, |object, faults| {
        let principal = object.required_string("principal", faults);
        let secret = object.string("secret", faults);
        Some(Credential {
            principal: principal?,
            secret,
        })
    });
    let force_pull_image = docker.boolean("forcePullImage", faults).unwrap_or(false);
    Some(DockerImage {
        image: image?,
        credential,
        force_pull_image,
    })
}

fn read_appc(appc: Object<'_>, faults: &mut Faults) -> Option<AppC> {
    let image = appc.required_string("image", faults);
    let id = appc.string("id", faults);
    let labels = appc.string_map("labels", faults).unwrap_or_default();
    let force_pull_image = appc.boolean("forcePullImage", faults).unwrap_or(false);
    Some(AppC {
        image: image?,
        id,
        labels,
        force_pull_image,
    })
}

fn read_parameter(object: Object<'_>, faults: &mut Faults) -> Option<Parameter> {
    let key = object.required_string("key", faults);
    let value = object.required_string("value", faults);
    Some(Parameter {
        key: key?,
        value: value?,
    })
}

fn read_port_mapping(object: Object<'_>, faults: &mut Faults) -> Option<PortMapping> {
    Some(PortMapping {
        container_port: object.port("containerPort", faults).unwrap_or(0),
        host_port: object.port("hostPort", faults),
        service_port: object.port("servicePort", faults).unwrap_or(0),
        protocol: object
            .string("protocol", faults)
            .unwrap_or_else(|| "tcp".to_owned()),
        name: object.string("name", faults),
        labels: object.string_map("labels", faults).unwrap_or_default(),
    })
}

fn read_volume(object: Object<'_>, faults: &mut Faults) -> Option<Volume> {
    let parse = |word: &str| match word {
        "RO" => Some(VolumeMode::Ro),
        "RW" => Some(VolumeMode::Rw),
        _ => None,
    };
    let container_path = object.required_string("containerPath", faults);
    let host_path = object.string("hostPath", faults);
    object.required("mode", faults);
    let mode = object.word("mode", faults, parse, "is not a valid mode");
    let persistent = object.object("persistent", faults, |object, faults| {
        object.required("size", faults);
        Some(PersistentVolume {
            size: object.double("size", faults)?,
        })
    });
    let external = object.object("external", faults, |object, faults| {
        let size = object.count("size", faults).map(u64::from);
        let name = object.required_string("name", faults);
        let provider = object.required_string("provider", faults);
        let options = object.string_map("options", faults).unwrap_or_default();
        Some(ExternalVolume {
            size,
            name: name?,
            provider: provider?,
            options,
        })
    });
    if !object.has("persistent") && !object.has("external") {
        object.required("hostPath", faults);
    }
    Some(Volume {
        container_path: container_path?,
        host_path,
        mode: mode?,
        persistent,
        external,
    })
}

pub(in crate::app) fn read_ip_address(
    object: Object<'_>,
    faults: &mut Faults,
) -> Option<AppIpAddress> {
    let groups = object.strings("groups", faults).unwrap_or_default();
    let labels = object.string_map("labels", faults).unwrap_or_default();
    let discovery = object
        .object("discovery", faults, read_discovery)
        .unwrap_or_default();
    let network_name = object.string("networkName", faults);
    Some(AppIpAddress {
        groups,
        labels,
        discovery,
        network_name,
    })
}

fn read_discovery(object: Object<'_>, faults: &mut Faults) -> Option<Discovery> {
    let ports = object
        .objects("ports", faults, read_discovery_port)
        .unwrap_or_default();
    let mut names = BTreeSet::new();
    if !ports.iter().all(|port| names.insert(&port.name)) {
        faults.read(object.at("ports"), "Port names are not unique.");
    }
    let mut numbers = BTreeSet::new();
    if !ports
        .iter()
        .all(|port| numbers.insert((port.number, &port.protocol)))
    {
        let text = "There may be only one port with a particular port number/protocol combination.";
        faults.read(object.at("ports"), text);
    }
    Some(Discovery { ports })
}

fn read_discovery_port(object: Object<'_>, faults: &mut Faults) -> Option<DiscoveryPort> {
    object.required("number", faults);
    let number = object.port("number", faults);
    let name = object.required_string("name", faults);
    let protocol = object.required_string("protocol", faults);
    if protocol
        .as_deref()
        .is_some_and(|word| word != "tcp" && word != "udp")
    {
        let text = "Invalid protocol. Only 'udp' or 'tcp' are allowed.";
        faults.read(object.at("protocol"), text);
    }
    let labels = object.string_map("labels", faults).unwrap_or_default();
    Some(DiscoveryPort {
        number: number?,
        name: name?,
        protocol: protocol?,
        labels,
    })
}

//! Bringing newer networks and port mappings into 1.3 form, and port definitions into step with port mappings.
//!
//! Source: contract marathon §1.5 (padding), §1.13 (`networks`, `container.portMappings`).

use std::collections::BTreeMap;

use super::read::{GivenContainer, GivenNetwork, NetworkMode};
use super::{
    App, AppIpAddress, Discovery, Docker, DockerEngine, Fault, Network, PortDefinition, PortMapping,
};

/// Sets the app's container, its Docker network and `ipAddress` from whichever API the body used.
pub(super) fn settle_networks(
    app: &mut App,
    container: Option<GivenContainer>,
    networks: Option<Vec<GivenNetwork>>,
    ip_address: Option<AppIpAddress>,
    faults: &mut Vec<Fault>,
) {
    let mut rule = |path: &str, text: &str| {
        faults.push(Fault {
            path: path.to_owned(),
            errors: vec![text.to_owned()],
        });
    };
    let mut given_network = None;
    let mut mappings = None;
    if let Some(GivenContainer {
        container,
        port_mappings,
    }) = container
    {
        mappings = port_mappings;
        app.container = Some(container);
        let engine = engine(app);
        given_network = engine.as_ref().and_then(|engine| engine.network);
        if mappings.is_some() && engine.is_some_and(|engine| engine.port_mappings.is_some()) {
            rule(
                "/container/portMappings",
                "cannot specify both portMappings and docker.portMappings",
            );
        }
    }
    if let Some(networks) = networks {
        if networks.len() > 1 {
            rule("/networks", "only one network is supported");
        }
        let given_any = !networks.is_empty();
        let (network, canonical) = match networks.into_iter().next() {
            None
            | Some(GivenNetwork {
                mode: NetworkMode::Host,
                ..
            }) => (Network::Host, None),
            Some(GivenNetwork {
                mode: NetworkMode::Bridge,
                ..
            }) => (Network::Bridge, None),
            Some(GivenNetwork {
                mode: NetworkMode::Container,
                name,
                labels,
            }) => {
                let groups = Vec::new();
                let discovery = Discovery::default();
                let address = AppIpAddress {
                    groups,
                    labels,
                    discovery,
                    network_name: name,
                };
                (Network::User, Some(address))
            }
        };
        let is_mixed = given_any && ip_address.is_some()
            || given_network.is_some_and(|given| given != network);
        if is_mixed {
            rule("/", "cannot mix deprecated and canonical network APIs");
        }
        app.ip_address = canonical;
        if let Some(engine) = engine(app) {
            engine.network = Some(network);
            if network == Network::Bridge && mappings.is_none() && engine.port_mappings.is_none() {
                mappings = Some(vec![default_mapping()]);
            }
        }
    }
    if ip_address.is_some() {
        app.ip_address = ip_address;
    }
    if let Some(engine) = engine(app) {
        settle_mappings(engine, mappings);
    }
}

/// Mappings exist with BRIDGE and USER only; BRIDGE needs a host port.
fn settle_mappings(engine: &mut DockerEngine, canonical: Option<Vec<PortMapping>>) {
    match engine.network {
        Some(Network::Bridge | Network::User) => {}
        Some(Network::Host | Network::None) | None => {
            engine.port_mappings = None;
            return;
        }
    }
    if canonical.is_some() {
        engine.port_mappings = canonical;
    }
    if engine.network == Some(Network::Bridge) {
        for mapping in engine.port_mappings.iter_mut().flatten() {
            mapping.host_port.get_or_insert(0);
        }
    }
}

/// Sets the port definitions: none with `ipAddress`, as many as there are mappings, and with their numbers.
pub(super) fn settle_ports(
    app: &mut App,
    given: Option<Vec<PortDefinition>>,
    had_ip_address: bool,
) {
    match given {
        Some(definitions) => app.port_definitions = definitions,
        None if app.ip_address.is_some() => app.port_definitions.clear(),
        // Back from IP-per-task: the default again.
        None if had_ip_address => app.port_definitions = vec![PortDefinition::plain(0)],
        None => {}
    }
    if app.ip_address.is_some() {
        // Not printed there, so it must not make a difference either.
        app.require_ports = false;
        return;
    }
    if app.port_definitions.is_empty() {
        return;
    }
    if let Some(ports) = app.port_mappings().map(|_| app.service_ports()) {
        app.port_definitions
            .resize_with(ports.len(), || PortDefinition::plain(0));
        for (definition, port) in app.port_definitions.iter_mut().zip(ports) {
            definition.port = port;
        }
    }
}

/// What bridged networking maps when nothing is said.
fn default_mapping() -> PortMapping {
    PortMapping {
        container_port: 0,
        host_port: Some(0),
        service_port: 0,
        protocol: "tcp".to_owned(),
        name: Some("default".to_owned()),
        labels: BTreeMap::new(),
    }
}

fn engine(app: &mut App) -> Option<&mut DockerEngine> {
    match app.container.as_mut()?.docker.as_mut()? {
        Docker::Engine(engine) => Some(engine),
        Docker::Image(_) => None,
    }
}

impl App {
    /// Gives the app its service ports, in the mappings if there are any and in the port definitions.
    ///
    /// `ports` is as long as [`App::service_ports`]; what is missing stays as it is.
    pub fn set_service_ports(&mut self, ports: &[u16]) {
        if let Some(mappings) = engine(self).and_then(|engine| engine.port_mappings.as_mut()) {
            for (mapping, port) in mappings.iter_mut().zip(ports) {
                mapping.service_port = *port;
            }
        }
        for (definition, port) in self.port_definitions.iter_mut().zip(ports) {
            definition.port = *port;
        }
    }
}

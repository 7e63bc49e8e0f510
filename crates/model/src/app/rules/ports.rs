//! Rules of port definitions, port mappings and IP-per-task (contract marathon §1.5, §1.2).

use std::collections::BTreeSet;

use super::Broken;
use crate::app::read::has_repeated_port;
use crate::app::{App, Docker, Network};

pub(super) fn check(app: &App, broken: &mut Broken) {
    let definitions = &app.port_definitions;
    if has_repeated_port(definitions.iter().map(|definition| definition.port)) {
        broken.add("/portDefinitions", "Ports must be unique.");
    }
    if has_repeated_name(
        definitions
            .iter()
            .filter_map(|definition| definition.name.as_deref()),
    ) {
        broken.add("/portDefinitions", "Port names must be unique.");
    }
    for (idx, definition) in definitions.iter().enumerate() {
        let path = format!("/portDefinitions({idx})");
        check_name(definition.name.as_deref(), &path, broken);
        if !is_protocol(&definition.protocol) {
            broken.add(format!("{path}/protocol"), "is not one of (tcp,udp)");
        }
    }
    if let Some(mappings) = app.port_mappings() {
        if has_repeated_name(
            mappings
                .iter()
                .filter_map(|mapping| mapping.name.as_deref()),
        ) {
            broken.add("/container/portMappings", "Port names must be unique.");
        }
        for (idx, mapping) in mappings.iter().enumerate() {
            let path = format!("/container/portMappings({idx})");
            check_name(mapping.name.as_deref(), &path, broken);
            check_mapping_protocol(&mapping.protocol, &format!("{path}/protocol"), broken);
        }
    }
    check_ip_address(app, broken);
}

fn check_ip_address(app: &App, broken: &mut Broken) {
    let Some(ip_address) = &app.ip_address else {
        return;
    };
    if !app.port_definitions.is_empty() {
        broken.add("/", "You cannot specify both an IP address and ports");
    }
    let docker = app
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref());
    let network = match docker {
        Some(Docker::Engine(engine)) => engine.network,
        Some(Docker::Image(_)) | None => None,
    };
    let is_mapped = matches!(network, Some(Network::Bridge | Network::User));
    if is_mapped && !ip_address.discovery.ports.is_empty() {
        let text = "ipAddress/discovery is not allowed for Docker containers using BRIDGE or USER networks";
        broken.add("/ipAddress", text);
    }
}

fn has_repeated_name<'a>(names: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = BTreeSet::new();
    let mut names = names;
    names.any(|name| !seen.insert(name))
}

fn check_name(name: Option<&str>, path: &str, broken: &mut Broken) {
    let is_legal = |name: &str| {
        let is_legal_byte = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !name.is_empty() && name.bytes().all(is_legal_byte)
    };
    if name.is_some_and(|name| !is_legal(name)) {
        let text = "must fully match regular expression '^[a-z0-9-]+$'";
        broken.add(format!("{path}/name"), text);
    }
}

fn is_protocol(protocol: &str) -> bool {
    ["tcp", "udp", "tcp,udp", "udp,tcp"].contains(&protocol)
}

fn check_mapping_protocol(protocol: &str, path: &str, broken: &mut Broken) {
    if protocol
        .split(',')
        .any(|word| word != "tcp" && word != "udp")
    {
        broken.add(path, "is not one of (tcp,udp)");
    } else if !is_protocol(protocol) {
        broken.add(path, "protocols must be unique.");
    }
}

//! The environment of a task, but for what its executor adds.
//!
//! Later wins: context, then HOST and ports, then the app's own `env`. Source: contract marathon §4.4.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::app::{App, EnvValue, PortMapping};

use crate::state::Task;

/// Labels with a longer name or value are left out (Marathon's `maxVariableLength` less the prefix).
const LABEL_KEY_LIMIT: usize = 493;
const LABEL_VALUE_LIMIT: usize = 512;

/// All variables of a task of `app`.
pub(crate) fn environment(app: &App, task: &Task) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    context(app, task, &mut env);
    ports(app, task, &mut env);
    for (name, value) in &app.env {
        match value {
            EnvValue::Text(text) => env.insert(name.clone(), text.clone()),
            // Validation refuses secrets: the feature is off.
            EnvValue::Secret { .. } => None,
        };
    }
    env
}

fn context(app: &App, task: &Task, env: &mut BTreeMap<String, String>) {
    let mut set = |name: &str, value: String| {
        env.insert(name.to_owned(), value);
    };
    set("MESOS_TASK_ID", task.id.to_string());
    set("MARATHON_APP_ID", app.id.to_string());
    set("MARATHON_APP_VERSION", app.version.to_string());
    if let Some(image) = app.image() {
        set("MARATHON_APP_DOCKER_IMAGE", image.to_owned());
    }
    set("MARATHON_APP_RESOURCE_CPUS", format!("{:?}", app.cpus));
    set("MARATHON_APP_RESOURCE_MEM", format!("{:?}", app.mem));
    set("MARATHON_APP_RESOURCE_DISK", format!("{:?}", app.disk));
    set("MARATHON_APP_RESOURCE_GPUS", app.gpus.to_string());
    let mut names = Vec::new();
    for (key, value) in &app.labels {
        if key.len() < LABEL_KEY_LIMIT && value.len() < LABEL_VALUE_LIMIT {
            let name = escaped(key);
            set(&format!("MARATHON_APP_LABEL_{name}"), value.clone());
            names.push(name);
        }
    }
    set("MARATHON_APP_LABELS", names.join(" "));
}

/// Each run of characters outside `[a-zA-Z0-9_]` becomes one `_`; upper case.
fn escaped(key: &str) -> String {
    let mut name = String::with_capacity(key.len());
    let mut is_in_run = false;
    for c in key.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            name.push(c.to_ascii_uppercase());
            is_in_run = false;
        } else if !is_in_run {
            name.push('_');
            is_in_run = true;
        }
    }
    name
}

fn ports(app: &App, task: &Task, env: &mut BTreeMap<String, String>) {
    env.insert("HOST".to_owned(), task.host.clone());
    // (host or container port to show, port as defined, name), by index.
    let shown: Vec<(u16, u16, Option<&str>)> = match app.port_mappings() {
        Some(mappings) => {
            let mut host_ports = task.ports.iter().copied();
            mappings
                .iter()
                .zip(container_ports(mappings, task))
                .map(|(mapping, container_port)| {
                    let port = match mapping.host_port {
                        Some(_) => host_ports.next().unwrap_or(0),
                        None => container_port,
                    };
                    (port, mapping.container_port, mapping.name.as_deref())
                })
                .collect()
        }
        None => app
            .port_definitions
            .iter()
            .zip(&task.ports)
            .map(|(definition, port)| (*port, definition.port, definition.name.as_deref()))
            .collect(),
    };
    let Some((first, ..)) = shown.first() else {
        return;
    };
    env.insert("PORT".to_owned(), first.to_string());
    let all: Vec<String> = shown.iter().map(|(port, ..)| port.to_string()).collect();
    env.insert("PORTS".to_owned(), all.join(","));
    for (idx, (port, defined, name)) in shown.iter().enumerate() {
        env.insert(format!("PORT{idx}"), port.to_string());
        let defined = if *defined == 0 { *port } else { *defined };
        env.insert(format!("PORT_{defined}"), port.to_string());
        if let Some(name) = name {
            env.insert(format!("PORT_{}", name.to_uppercase()), port.to_string());
        }
    }
}

/// The port in the container of each mapping: where the definition leaves it open, the host port; without one a random port.
///
/// The same for a task whenever it is asked: the random port comes of the container's own UUID.
/// Source: contract marathon §4.4.
pub(crate) fn container_ports(mappings: &[PortMapping], task: &Task) -> Vec<u16> {
    const LOWEST: u16 = 1025;
    let mut host_ports = task.ports.iter().copied();
    let mut taken: BTreeSet<u16> = mappings.iter().map(|one| one.container_port).collect();
    let seed = uuid::Uuid::parse_str(&task.container_id).map_or(0, |id| id.as_u128());
    let n_ports = u128::from(u16::MAX - LOWEST) + 1;
    let mut random = (0..n_ports).map(|step| {
        let offset = (seed % n_ports + step) % n_ports;
        LOWEST + u16::try_from(offset).unwrap_or(0)
    });
    mappings
        .iter()
        .map(|mapping| {
            let host_port = mapping.host_port.and_then(|_| host_ports.next());
            match (mapping.container_port, host_port) {
                (0, Some(host_port)) => host_port,
                (0, None) => {
                    let port = random.find(|port| taken.insert(*port));
                    port.unwrap_or(LOWEST)
                }
                (port, _) => port,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;

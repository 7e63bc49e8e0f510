//! Where a task listens, form by form of its app's ports: seen from outside, as the master asks it, and from inside, as its agent
//! does.
//!
//! | | outside | inside |
//! |---|---|---|
//! | `port` | that, at the task's host | that, where the task is |
//! | `portIndex`, a mapping with a host port | the host port | the container's, or the host port if there is no container |
//! | `portIndex`, a mapping without | the container's, at the task's own address | the container's |
//! | `portIndex`, discovery ports | that, at the task's own address | that |
//! | `portIndex`, else | the host port | the host port |
//!
//! Source: contract marathon §1.8, §6.2; Marathon 1.4 `HealthCheck.scala`, whose MESOS_* checks prefer the container's port to the
//! host's, and the others the host's.

use zddcluster_engine::state::Task;
use zddcluster_model::App;
use zddcluster_model::agent::CheckPort;
use zddcluster_model::app::PortMapping;

/// Where a check of this app asks: the fixed port, else the one of this index; at the task's own address if it has no
/// host port (IP-per-task, user networks).
pub(super) fn outside<'a>(
    app: &App,
    task: &'a Task,
    port_index: Option<u32>,
    port: Option<u16>,
) -> Option<(&'a str, u16)> {
    let own = task
        .ip_addresses
        .first()
        .map_or(task.host.as_str(), |own| own.ip_address.as_str());
    let host = if app.ip_address.is_some() {
        own
    } else {
        task.host.as_str()
    };
    if let Some(port) = port {
        return Some((host, port));
    }
    let i = usize::try_from(port_index.unwrap_or(0)).ok()?;
    match (app.port_mappings(), &app.ip_address) {
        (Some(mappings), _) => {
            let mapping = mappings.get(i)?;
            if mapping.host_port.is_none() {
                return Some((own, mapping.container_port));
            }
            // A task holds host ports of those mappings only that ask for one.
            let is_held = |mapping: &&PortMapping| mapping.host_port.is_some();
            let held = mappings[..i].iter().filter(is_held).count();
            Some((&task.host, *task.ports.get(held)?))
        }
        (None, Some(address)) => Some((own, address.discovery.ports.get(i)?.number)),
        (None, None) => Some((host, *task.ports.get(i)?)),
    }
}

/// The same for the agent, which knows whether the task has a network of its own.
pub(super) fn inside(
    app: &App,
    task: &Task,
    port_index: Option<u32>,
    port: Option<u16>,
) -> Option<CheckPort> {
    let mappings = app.port_mappings();
    let i = match (port, mappings) {
        (None, _) => usize::try_from(port_index.unwrap_or(0)).ok()?,
        (Some(port), None) => {
            return Some(CheckPort {
                own: port,
                shared: port,
            });
        }
        // A fixed port of the container, which has another number where there is none.
        (Some(port), Some(mappings)) => {
            let is_meant = |mapping: &PortMapping| mapping.container_port == port;
            let Some(i) = mappings.iter().position(is_meant) else {
                return Some(CheckPort {
                    own: port,
                    shared: port,
                });
            };
            i
        }
    };
    let index = u32::try_from(i).ok();
    let (_, shared) = outside(app, task, index, None)?;
    // 0 stands for the host port's number.
    let own = mappings.map_or(0, |mappings| mappings[i].container_port);
    let own = if own == 0 { shared } else { own };
    Some(CheckPort { own, shared })
}

#[cfg(test)]
mod tests;

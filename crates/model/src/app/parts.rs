//! Small answers about an app and its parts that reading and rules share.

use super::{App, PortDefinition, Residency, Volume};
use std::collections::BTreeMap;

/// Marathon's `relaunchEscalationTimeoutSeconds`: an hour.
const RELAUNCH_ESCALATION_TIMEOUT_SECONDS: u64 = 3600;

impl App {
    /// The container's volumes.
    pub fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.container
            .iter()
            .flat_map(|container| &container.volumes)
    }

    /// How many ports a check can address: mappings, else the published ports of `ipAddress`, else definitions.
    pub fn port_count(&self) -> usize {
        match (self.port_mappings(), &self.ip_address) {
            (Some(mappings), _) => mappings.len(),
            (None, Some(address)) => address.discovery.ports.len(),
            (None, None) => self.port_definitions.len(),
        }
    }

    /// The names of the ports a check can address, in order, nameless ones left out.
    pub fn port_names(&self) -> Vec<&str> {
        match (self.port_mappings(), &self.ip_address) {
            (Some(mappings), _) => mappings
                .iter()
                .filter_map(|port| port.name.as_deref())
                .collect(),
            (None, Some(address)) => address
                .discovery
                .ports
                .iter()
                .map(|port| port.name.as_str())
                .collect(),
            (None, None) => self
                .port_definitions
                .iter()
                .filter_map(|port| port.name.as_deref())
                .collect(),
        }
    }
}

impl PortDefinition {
    /// What a bare number in `ports` means.
    pub fn plain(port: u16) -> Self {
        Self {
            port,
            protocol: "tcp".to_owned(),
            name: None,
            labels: BTreeMap::new(),
        }
    }
}

impl Default for Residency {
    fn default() -> Self {
        Self {
            relaunch_escalation_timeout_seconds: RELAUNCH_ESCALATION_TIMEOUT_SECONDS,
            task_lost_behavior: "WAIT_FOREVER".to_owned(),
        }
    }
}

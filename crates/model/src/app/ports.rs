//! Service ports and IP-per-task settings (contract marathon §1.5, §1.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

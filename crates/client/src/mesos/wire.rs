//! What both dialects write alike.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::lenient::{list, or_default};
use super::{Discovery, DiscoveryPort, Status};

#[derive(Deserialize)]
pub(super) struct WireDiscovery {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    ports: WirePorts,
}

#[derive(Deserialize, Default)]
struct WirePorts {
    #[serde(default, deserialize_with = "list")]
    ports: Vec<WirePort>,
}

#[derive(Deserialize)]
struct WirePort {
    number: u64,
    #[serde(default, deserialize_with = "or_default")]
    protocol: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
}

#[derive(Deserialize)]
pub(super) struct WireStatus {
    /// Only v1 tells it.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) task_id: Id,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) state: String,
    #[serde(default, deserialize_with = "or_default")]
    timestamp: f64,
    #[serde(default, deserialize_with = "labels")]
    labels: Vec<WireLabel>,
    #[serde(default, deserialize_with = "or_default")]
    container_status: WireContainerStatus,
}

/// An identifier as protobuf in JSON has it.
#[derive(Deserialize, Default)]
pub(super) struct Id {
    pub(super) value: String,
}

#[derive(Deserialize)]
struct WireLabel {
    key: String,
    #[serde(default, deserialize_with = "or_default")]
    value: String,
}

#[derive(Deserialize, Default)]
struct WireContainerStatus {
    #[serde(default, deserialize_with = "list")]
    network_infos: Vec<WireNetwork>,
}

#[derive(Deserialize)]
struct WireNetwork {
    #[serde(default, deserialize_with = "list")]
    ip_addresses: Vec<WireAddress>,
    /// Where Mesos before 0.26 put the only address.
    #[serde(default, deserialize_with = "or_default")]
    ip_address: Option<String>,
}

#[derive(Deserialize)]
struct WireAddress {
    #[serde(default, deserialize_with = "or_default")]
    ip_address: Option<String>,
}

/// Reads the labels, which v1 puts into an object of their own.
fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<WireLabel>, D::Error> {
    let labels = match Value::deserialize(deserializer)? {
        Value::Object(mut object) => object.remove("labels").unwrap_or_default(),
        labels => labels,
    };
    list(labels).map_err(serde::de::Error::custom)
}

impl From<WireDiscovery> for Discovery {
    fn from(discovery: WireDiscovery) -> Self {
        let WireDiscovery { name, ports } = discovery;
        Self {
            name,
            ports: ports
                .ports
                .into_iter()
                .map(|port| {
                    let WirePort {
                        number,
                        protocol,
                        name,
                    } = port;
                    DiscoveryPort {
                        number,
                        protocol,
                        name,
                    }
                })
                .collect(),
        }
    }
}

impl From<WireStatus> for Status {
    fn from(status: WireStatus) -> Self {
        let WireStatus {
            task_id: _,
            state,
            timestamp,
            labels,
            container_status,
        } = status;
        Self {
            state,
            timestamp,
            labels: labels
                .into_iter()
                .map(|label| (label.key, label.value))
                .collect(),
            networks: networks(container_status),
        }
    }
}

fn networks(status: WireContainerStatus) -> Vec<Vec<String>> {
    status
        .network_infos
        .into_iter()
        .map(|network| {
            if network.ip_addresses.is_empty() {
                network.ip_address.into_iter().collect()
            } else {
                network
                    .ip_addresses
                    .into_iter()
                    .filter_map(|address| address.ip_address)
                    .collect()
            }
        })
        .collect()
}

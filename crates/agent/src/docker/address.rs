//! Where a container is reached: at its agent's address, or at one the engine gave it.
//!
//! An address stays the same while the container runs, so it is noted beside the task's books: an agent that starts while the
//! engine is away still knows it. Source: contract marathon §4.3; Mesos 1.0 `docker/executor.cpp`, which reports what
//! `docker inspect` says after the start.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, EndpointSettings};
use zddcluster_runtime::Backoff;

use super::create;
use super::engine::Engine;
use crate::containerizer::{Addresses, Order};

/// In a task's directory: the address as text.
const ADDRESS: &str = "address";

/// First and longest pause between two questions to an engine that is away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// The addresses of a container that was started.
///
/// Waits for an engine that is away, unless it has told them before. Cancel-safe.
pub(super) async fn addresses(engine: &Engine, order: &Order) -> Addresses {
    if !create::has_own_network(order) {
        return Addresses::OfAgent;
    }
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
    loop {
        match engine.inspect(&order.container_name).await {
            Ok(container) => {
                let found = address_of(&container);
                if let Some(address) = found {
                    note(order, address).await;
                }
                return Addresses::Own(found.into_iter().collect());
            }
            Err(error) if error.is_passing() => {
                if let Some(address) = noted(order).await {
                    return Addresses::Own(vec![address]);
                }
                tokio::time::sleep(backoff.next()).await;
            }
            // It is gone: there is nothing to be reached.
            Err(error) => {
                tracing::debug!(container = order.container_name, %error, "it has no address");
                return Addresses::Own(Vec::new());
            }
        }
    }
}

/// Where an ended container was reached, if it had an address of its own and somebody asked for it while it ran.
pub(super) async fn last(order: &Order) -> Option<Addresses> {
    if !create::has_own_network(order) {
        return None;
    }
    let address = noted(order).await?;
    Some(Addresses::Own(vec![address]))
}

/// The address in the network it was started in, IPv4 first; none once it has ended.
fn address_of(container: &ContainerInspectResponse) -> Option<IpAddr> {
    let networks = container.network_settings.as_ref()?.networks.as_ref()?;
    let mode = container
        .host_config
        .as_ref()
        .and_then(|host| host.network_mode.as_deref());
    let mut names: Vec<&String> = networks.keys().collect();
    // `false` comes first: the network that was asked for.
    names.sort_by_key(|name| (Some(name.as_str()) != mode, name.as_str()));
    let address = |text: Option<&String>| text.and_then(|text| text.parse().ok());
    let in_network = |network: &EndpointSettings| {
        address(network.ip_address.as_ref())
            .or_else(|| address(network.global_ipv6_address.as_ref()))
    };
    names
        .into_iter()
        .find_map(|name| in_network(&networks[name]))
}

/// Not flushed: without it, the engine is asked.
async fn note(order: &Order, address: IpAddr) {
    let path = order.task_dir.join(ADDRESS);
    let written = tokio::task::spawn_blocking(move || std::fs::write(path, address.to_string()));
    if let Err(error) = written.await.map_err(io::Error::other).flatten() {
        tracing::debug!(container = order.container_name, %error, "its address is not noted");
    }
}

async fn noted(order: &Order) -> Option<IpAddr> {
    let path = order.task_dir.join(ADDRESS);
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path));
    read.await.ok()?.ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(mode: &str, networks: &str) -> ContainerInspectResponse {
        let text = format!(
            r#"{{"HostConfig": {{"NetworkMode": "{mode}"}}, "NetworkSettings": {{"Networks": {networks}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_address_of_the_network_that_was_asked_for() {
        let check = |mode: &str, networks: &str, expected: Option<&str>| {
            let expected = expected.map(|address| address.parse().unwrap());
            assert_eq!(
                address_of(&container(mode, networks)),
                expected,
                "{networks}"
            );
        };
        let both = r#"{"a": {"IPAddress": "10.0.0.2"}, "lab": {"IPAddress": "10.1.0.2"}}"#;
        check("lab", both, Some("10.1.0.2"));
        check("0123abcd", both, Some("10.0.0.2"));
        check(
            "default",
            r#"{"bridge": {"IPAddress": "172.17.0.2"}}"#,
            Some("172.17.0.2"),
        );
        let v6 = r#"{"lab": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}"#;
        check("lab", v6, Some("fd00::2"));
        check(
            "lab",
            r#"{"lab": {"IPAddress": "", "GlobalIPv6Address": ""}}"#,
            None,
        );
        check("host", r#"{"host": {"IPAddress": ""}}"#, None);
    }
}

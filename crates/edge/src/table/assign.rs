//! Service ports for apps that name none because each of their tasks has an address of its own.
//!
//! The edge gives them numbers out of a range, if it is told one: enough to be routed to by vhost, and to have a name. Where the SHA-1
//! digest of the app's id and the task's port points to in the range is the number. One that is taken, because the edge, another
//! app's definition or label, or another of these ports has it, leads on to the next one, and from the last to the first. Apps have
//! their turn by id and ports in their order, so the same apps always have the same numbers, in each edge and after each restart.
//!
//! Source: contract marathon-lb §1.2.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use sha1::{Digest as _, Sha1};
use zddcluster_client::marathon::{App, PortMapping};

use super::build::has_own_address;
use crate::labels::{HTTP, Policy, service_ports};

/// The numbers given, by app id.
#[derive(Debug, Default)]
pub(super) struct Assigned<'a> {
    ports: BTreeMap<&'a str, Vec<i64>>,
    /// Apps with a port that there was no number for.
    short: BTreeSet<&'a str>,
}

impl<'a> Assigned<'a> {
    /// Gives numbers of `range` to those of `apps` that need them.
    pub(super) fn new(apps: &[&'a App], range: &RangeInclusive<u16>, policy: &Policy) -> Self {
        let mut assigned = Self::default();
        let mut taken: BTreeSet<i64> = policy.reserved.iter().copied().map(i64::from).collect();
        taken.extend(
            policy
                .http_port
                .iter()
                .copied()
                .chain([HTTP])
                .map(i64::from),
        );
        for app in apps {
            taken.extend(service_ports(app));
            let of_labels = app
                .labels
                .iter()
                .filter(|(label, _)| label.starts_with("HAPROXY_") && label.ends_with("_PORT"));
            taken.extend(of_labels.filter_map(|(_, value)| value.trim().parse::<i64>().ok()));
        }
        let mut needy: Vec<&'a App> = apps.to_vec();
        needy.retain(|app| service_ports(app).is_empty() && has_own_address(app));
        needy.sort_by(|a, b| a.id.cmp(&b.id));
        for app in needy {
            for port in task_ports(app) {
                match number(range, digest(&app.id, port), &taken) {
                    Some(number) => {
                        taken.insert(number);
                        assigned.ports.entry(&app.id).or_default().push(number);
                    }
                    None => {
                        assigned.short.insert(&app.id);
                    }
                }
            }
        }
        assigned
    }

    /// The numbers of an app, one for each of its tasks' ports.
    pub(super) fn of(&self, app_id: &str) -> &[i64] {
        self.ports.get(app_id).map_or(&[], Vec::as_slice)
    }

    /// Whether there was no number left for a port of the app.
    pub(super) fn is_short(&self, app_id: &str) -> bool {
        self.short.contains(app_id)
    }
}

/// The ports that each task of an app has at its own address: those it is found at, else its container's; 0 where that
/// names none.
pub(super) fn task_ports(app: &App) -> Vec<i64> {
    let discovered = app.ip_address.as_ref().map(|it| &it["discovery"]["ports"]);
    let discovered = discovered.and_then(|ports| ports.as_array());
    let numbers: Vec<i64> = discovered
        .into_iter()
        .flatten()
        .filter_map(|port| port["number"].as_i64())
        .collect();
    if !numbers.is_empty() {
        return numbers;
    }
    let container = app.container.as_ref();
    let of_docker = container.and_then(|it| it.docker.as_ref()?.port_mappings.as_ref());
    let mappings = of_docker.or_else(|| container?.port_mappings.as_ref());
    let mappings = mappings.into_iter().flatten();
    let port = |mapping: &PortMapping| mapping.container_port.unwrap_or_default();
    mappings.map(port).collect()
}

/// The first number that is not taken, from where `digest` points to in the range and round its end.
fn number(range: &RangeInclusive<u16>, digest: u64, taken: &BTreeSet<i64>) -> Option<i64> {
    let (first, last) = (u64::from(*range.start()), u64::from(*range.end()));
    let n = (last + 1).checked_sub(first).filter(|n| *n > 0)?;
    let numbers = (0..n).map(|step| first + (digest % n + step) % n);
    let mut numbers = numbers.filter_map(|number| i64::try_from(number).ok());
    numbers.find(|number| !taken.contains(number))
}

fn digest(app_id: &str, port: i64) -> u64 {
    let digest = Sha1::digest(format!("{app_id} {port}").as_bytes());
    let first = digest.first_chunk().expect("it has 20 bytes");
    u64::from_be_bytes(*first)
}

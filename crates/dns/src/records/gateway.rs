//! What the edge's gateways make of the records: the weights of an app's instances, and a name for each gateway.
//!
//! ```text
//!   _N._proto.F.D        SRV  the instances of one app; each with the weight of its app in its gateway
//!   _G._tcp.gateway.D    SRV  the instances of all apps of gateway G ─▶ C.F.D
//! ```
//!
//! A client such as HAProxy's `server-template` follows one name, so only the second one lets it divide requests among apps. For
//! that reason an app without weight is not there: HAProxy makes 1 of the weight 0. Only routes to apps count, against the sum of
//! the gateway's routes to apps.
//!
//! The weight of an instance is its app's, divided by the number of the app's instances. The largest one of a gateway is written as
//! 65535 and all others in proportion, at least 1: HAProxy keeps the upper 8 of the 16 bits, so smaller numbers would lose the
//! proportion as soon as there are some dozens of instances.

use std::collections::HashMap;

use zddcluster_client::mesos::{State, Task};
use zddcluster_model::gateway::{self as model, Target};
use zddcluster_model::{AppId, TaskId};

use super::Records;
use crate::config::ZoneConfig;
use crate::label;

/// A gateway of the edge, as far as it concerns names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// As the edge calls it.
    pub name: String,
    /// Whom it deals requests out to: each app and port once.
    pub shares: Vec<Share>,
}

/// An app's part of a gateway's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The app.
    pub app: AppId,
    /// Which of its ports, counted from 0.
    pub port: usize,
    /// Its part, against the sum of all.
    pub weight: u64,
}

impl Gateway {
    /// Takes from a gateway what concerns names.
    pub fn of(gateway: &model::Gateway) -> Self {
        let mut shares: Vec<Share> = Vec::new();
        for route in &gateway.routes {
            let Target::App(to) = &route.to else {
                continue;
            };
            let (app, weight) = (AppId::absolute(&to.id), u64::from(route.weight));
            match shares
                .iter_mut()
                .find(|share| share.app == app && share.port == to.port)
            {
                Some(share) => share.weight += weight,
                None => shares.push(Share {
                    app,
                    port: to.port,
                    weight,
                }),
            }
        }
        Self {
            name: gateway.name.clone(),
            shares,
        }
    }
}

/// What is written for each instance of an app that is in a gateway.
#[derive(Debug, Default)]
pub(super) struct Weights {
    apps: HashMap<AppId, AppWeights>,
}

#[derive(Debug)]
pub(super) struct AppWeights {
    /// Under the app's own names; that in the first gateway it is in.
    pub(super) own: u16,
    pub(super) gateways: Vec<InGateway>,
}

/// A service under a gateway's name.
#[derive(Debug)]
pub(super) struct InGateway {
    pub(super) name: String,
    /// The app's port, counted from 0.
    pub(super) port: usize,
    pub(super) weight: u16,
}

impl Weights {
    /// The weights of the apps whose tasks `is_published` says are.
    pub(super) fn of(
        gateways: &[Gateway],
        state: &State,
        is_published: impl Fn(&Task) -> bool,
    ) -> Self {
        if gateways.is_empty() {
            return Self::default();
        }
        let mut n_instances: HashMap<AppId, u64> = HashMap::new();
        let tasks = state.frameworks.iter().flat_map(|of| &of.tasks);
        for app in tasks.filter(|task| is_published(task)).filter_map(app_of) {
            *n_instances.entry(app).or_default() += 1;
        }
        let mut weights = Self::default();
        for gateway in gateways {
            weights.add(gateway, &n_instances);
        }
        weights
    }

    fn add(&mut self, gateway: &Gateway, n_instances: &HashMap<AppId, u64>) {
        let parts: Vec<(&Share, Part)> = gateway
            .shares
            .iter()
            .filter_map(|share| {
                let n = *n_instances.get(&share.app)?;
                let weight = share.weight;
                Some((share, Part { weight, n }))
            })
            .collect();
        let Some(largest) = parts.iter().map(|(_, part)| *part).reduce(Part::larger) else {
            return;
        };
        for (share, part) in parts {
            let weight = part.in_65535ths(largest);
            let app = self.apps.entry(share.app.clone());
            let app = app.or_insert_with(|| AppWeights {
                own: weight,
                gateways: Vec::new(),
            });
            if weight > 0 {
                app.gateways.push(InGateway {
                    name: gateway.name.clone(),
                    port: share.port,
                    weight,
                });
            }
        }
    }

    /// What is written for a task.
    pub(super) fn of_task(&self, task: &Task) -> Option<&AppWeights> {
        if self.apps.is_empty() {
            return None;
        }
        self.apps.get(&app_of(task)?)
    }
}

fn app_of(task: &Task) -> Option<AppId> {
    TaskId::new(&task.id).app_id()
}

/// One instance's part of a gateway: its app's weight divided by their number, which is not 0.
#[derive(Debug, Clone, Copy)]
struct Part {
    weight: u64,
    n: u64,
}

impl Part {
    fn larger(self, other: Self) -> Self {
        let (one, two) = (self.times(other.n), other.times(self.n));
        if two > one { other } else { self }
    }

    fn times(self, factor: u64) -> u128 {
        u128::from(self.weight) * u128::from(factor)
    }

    /// `65535 · self / largest`, rounded; 0 only for nothing.
    fn in_65535ths(self, largest: Self) -> u16 {
        if self.weight == 0 {
            return 0;
        }
        let (part, whole) = (self.times(largest.n), largest.times(self.n));
        let rounded = (2 * u128::from(u16::MAX) * part + whole) / (2 * whole);
        u16::try_from(rounded).unwrap_or(u16::MAX).max(1)
    }
}

/// The gateways that get a name, each with it. Of two that are written alike the second one has none, and is skipped.
pub(super) fn named(
    records: &mut Records,
    gateways: &[Gateway],
    config: &ZoneConfig,
    origin: &str,
) -> Vec<Gateway> {
    let mut named: Vec<Gateway> = Vec::new();
    for gateway in gateways {
        let label = config.label_rule.mangle(&gateway.name);
        let label = label::service_that_fits(&label);
        let name = format!("_{label}._tcp.gateway.{origin}");
        let reason = if label.is_empty() {
            "its name has no usable character"
        } else if named.iter().any(|other| other.name == name) {
            "another gateway's name is written like its own"
        } else {
            let shares = gateway.shares.clone();
            named.push(Gateway { name, shares });
            continue;
        };
        records.skip(&format!("gateway {}", gateway.name), reason);
    }
    named
}

/// The port of a task by its place among its app's ports: as it tells others, else of those it has on its agent.
pub(super) fn port_of(task: &Task, at: usize) -> Option<u64> {
    let mut numbers: Vec<u64> = Vec::new();
    // One for both protocols is there twice.
    for port in task.discovery.iter().flat_map(|discovery| &discovery.ports) {
        if !numbers.contains(&port.number) {
            numbers.push(port.number);
        }
    }
    if numbers.is_empty() {
        let mut host_ports = task.ports.iter().flat_map(|r| r.begin..=r.end);
        return host_ports.nth(at);
    }
    numbers.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instances_weight_is_in_proportion() {
        let part = |weight, n| Part { weight, n };
        let weights = |parts: &[Part]| {
            let largest = parts.iter().copied().reduce(Part::larger).expect("one");
            let weights: Vec<u16> = parts.iter().map(|p| p.in_65535ths(largest)).collect();
            weights
        };
        assert_eq!(weights(&[part(80, 1), part(20, 1)]), [65535, 16384]);
        assert_eq!(weights(&[part(80, 4), part(20, 1)]), [65535, 65535]);
        assert_eq!(weights(&[part(80, 500), part(20, 500)]), [65535, 16384]);
        assert_eq!(weights(&[part(100, 2), part(0, 2)]), [65535, 0]);
        assert_eq!(weights(&[part(0, 2)]), [0]);
        assert_eq!(weights(&[part(1_000_000, 1), part(1, 1000)]), [65535, 1]);
    }

    #[test]
    fn routes_to_the_same_port_are_one() {
        let gateway = serde_json::json!({"name": "shop", "routes": [
            {"name": "a", "weight": 50, "to": {"app": {"id": "/shop/old"}}},
            {"name": "b", "weight": 30, "to": {"app": {"id": "/shop/old"}}},
            {"name": "c", "weight": 20, "to": {"app": {"id": "/shop/old", "port": 1}}},
            {"name": "d", "weight": 20, "to": {"servers": ["127.0.0.1:1"]}},
        ]});
        let gateway: model::Gateway = serde_json::from_value(gateway).expect("a gateway");
        let share = |port, weight| Share {
            app: AppId::absolute("/shop/old"),
            port,
            weight,
        };
        assert_eq!(Gateway::of(&gateway).shares, [share(0, 80), share(1, 20)]);
    }
}

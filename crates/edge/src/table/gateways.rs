//! Gateways in the table: what their routes lead to at the moment.
//!
//! | a route to | leads to |
//! |---|---|
//! | an app | the backend that its labels have made of the port, or else one of the gateway's own with the app's tasks |
//! | a backend | that, while the table has it |
//! | a gateway | that, while there is one |
//! | servers | a backend of the gateway's own |
//!
//! The labels of an app hold whoever leads to it: a port that fails closed has no servers here either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use zddcluster_client::marathon::App;
use zddcluster_model::TaskId;
use zddcluster_model::gateway::{self, AppPort, Target};

use super::build::{Found, Rules, Wanted, servers};
use super::deployment::{Exposed, members};
use super::{Backend, Server, Table, server_name};
use crate::gateways::{self, proxy_name};
use crate::labels::{Options, Policy, Warning, service_ports, services};

/// A gateway of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gateway {
    /// As it was asked for.
    pub(crate) spec: Arc<gateways::Gateway>,
    /// What its routes lead to, at their positions.
    pub(crate) goals: Vec<Goal>,
}

/// What a route leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The backend at this position.
    Backend(usize),
    /// The gateway of this name.
    Gateway(String),
    /// Nobody, for now.
    Nobody,
}

/// A gateway's hosts, and which of their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The gateway.
    pub(crate) gateway: String,
    /// Prefixes, of which one must match; none: any path.
    pub(crate) paths: Vec<String>,
}

/// Puts the gateways into a table that has everything that labels say, and says what apps lose by them.
pub(super) fn add<'a>(
    table: &mut Table,
    apps: &BTreeMap<&str, &'a App>,
    found: &Found,
    rules: &Rules<'a>,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let n_by_labels = table.backends.len();
    for (name, gateway) in rules.gateways {
        let mut goals = Vec::new();
        for route in &gateway.spec.routes {
            let own = Own {
                gateway: &gateway.spec,
                route,
            };
            let backend = match &route.to {
                Target::Gateway(other) => {
                    let is_there = rules.gateways.contains_key(other);
                    goals.push(match is_there {
                        true => Goal::Gateway(other.clone()),
                        false => Goal::Nobody,
                    });
                    continue;
                }
                Target::Backend(name) => {
                    let mut by_labels = table.backends[..n_by_labels].iter();
                    let at = by_labels.position(|backend| backend.name == *name);
                    goals.push(at.map_or(Goal::Nobody, Goal::Backend));
                    continue;
                }
                Target::App(AppPort { id, port }) => {
                    if let Some(at) = found.get(&(id.clone(), *port)) {
                        goals.push(Goal::Backend(*at));
                        continue;
                    }
                    match apps.get(id.as_str()) {
                        Some(app) => own.of_app(app, *port, rules),
                        None => Ok(own.backend(Vec::new())),
                    }
                }
                Target::Servers(addresses) => {
                    Ok(own.backend(addresses.iter().copied().map(outside).collect()))
                }
            };
            goals.push(match backend {
                Ok(backend) => {
                    table.backends.push(Arc::new(backend));
                    Goal::Backend(table.backends.len() - 1)
                }
                Err(warning) => {
                    warnings.push(warning);
                    Goal::Nobody
                }
            });
        }
        claim(table, &gateway.spec, &mut warnings);
        let gateway = Gateway {
            spec: Arc::clone(gateway),
            goals,
        };
        table.gateways.insert(name.clone(), gateway);
    }
    for claims in table.claims.values_mut() {
        // What is restricted to paths is tried before what is not.
        claims.sort_by_key(|claim| claim.paths.is_empty());
    }
    warnings
}

/// Gives a gateway its port and hosts.
fn claim(table: &mut Table, gateway: &gateway::Gateway, warnings: &mut Vec<Warning>) {
    let name = &gateway.name;
    if let Some(port) = gateway.listen.port {
        for &at in table.ports.get(&port).into_iter().flatten() {
            warnings.push(Warning {
                app_id: table.backends[at].app_id.clone(),
                subject: format!("port {port}"),
                text: format!("is that of the gateway {name}: the app is not served there"),
            });
        }
        table.gateway_ports.insert(port, name.clone());
    }
    let vhosts = gateway.listen.vhosts.iter();
    let vhosts: BTreeSet<String> = vhosts.map(|vhost| vhost.to_ascii_lowercase()).collect();
    for vhost in vhosts {
        for rule in table.rules.iter().filter(|rule| rule.vhost == vhost) {
            warnings.push(Warning {
                app_id: table.backends[rule.backend].app_id.clone(),
                subject: format!("vhost {vhost}"),
                text: format!("is that of the gateway {name} too, which is asked first"),
            });
        }
        table.claims.entry(vhost).or_default().push(Claim {
            gateway: name.clone(),
            paths: gateway.listen.paths.clone(),
        });
    }
}

/// A backend of a gateway's own.
struct Own<'a> {
    gateway: &'a gateway::Gateway,
    route: &'a gateway::Route,
}

impl Own<'_> {
    /// With the tasks of an app, at its port number `index`.
    fn of_app(&self, app: &App, index: usize, rules: &Rules<'_>) -> Result<Backend, Warning> {
        let exposed = Exposed {
            id: app.id.clone(),
            app,
            tasks: members(app, &[]),
        };
        let named = service_ports(app);
        if !named.is_empty() && index >= named.len() {
            let wanted = Wanted {
                indices: &[index],
                check: None,
                is_sticky: false,
            };
            return Ok(self.backend(servers(&exposed, &wanted, rules)));
        }
        // As an edge would read it that takes every app, and has no ports that an app could claim.
        let policy = Policy {
            groups: BTreeSet::from(["*".to_owned()]),
            strict_mode: false,
            reserved: BTreeSet::new(),
            ..rules.policy.clone()
        };
        // Some number for each port of an app that names none, so that their labels are read.
        let made_up: Vec<i64> = (1..).take(index + 1).collect();
        let (services, _) = services(app, &made_up, &policy);
        let service = services.into_iter().find(|it| it.indices.contains(&index));
        let service = service.ok_or_else(|| Warning {
            app_id: app.id.clone(),
            subject: format!("gateway {}", self.gateway.name),
            text: format!("labels withhold the port {index}: its route leads to nobody"),
        })?;
        let wanted = Wanted {
            indices: &[index],
            check: service.check.as_ref(),
            is_sticky: service.options.is_sticky,
        };
        Ok(Backend {
            check: service.check.clone(),
            options: service.options.clone(),
            ..self.backend(servers(&exposed, &wanted, rules))
        })
    }

    fn backend(&self, servers: Vec<Server>) -> Backend {
        let listen = &self.gateway.listen;
        Backend {
            name: proxy_name(&self.gateway.name, Some(&self.route.name)),
            app_id: match &self.route.to {
                Target::App(app) => app.id.clone(),
                Target::Backend(_) | Target::Gateway(_) | Target::Servers(_) => String::new(),
            },
            port: listen.port.unwrap_or_default(),
            mode: listen.mode.into(),
            is_of_gateway: true,
            share: None,
            check: None,
            options: Options::default(),
            vhosts: Vec::new(),
            vhost_texts: Vec::new(),
            servers,
        }
    }
}

/// A server that is no task.
fn outside(address: SocketAddr) -> Server {
    Server {
        name: server_name(&address.ip().to_string(), address),
        task_id: TaskId::new(&address.to_string()),
        address,
        check_address: address,
        cookie: String::new(),
        weight: 1,
        is_draining: false,
    }
}

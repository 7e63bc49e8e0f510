//! Which agent takes the next instance of an app, and on which ports.
//!
//! Spreads: fewest tasks of the app first, then most free, then agent id. Each agent that refuses says why.
//! Source: contract marathon §1.5, §1.7, §4.1.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::AgentId;
use zddcluster_model::app::App;

use crate::constraint;
use crate::state::{Agent, State, Usage};
use crate::turn::millionths;

/// An agent that takes an instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placement {
    pub(crate) agent: Arc<Agent>,
    /// Host ports, in the order of the definition.
    pub(crate) ports: Vec<u16>,
}

/// Tasks on one agent at most, since some take nothing of what an agent offers: as many as it has dynamic ports for. Each is
/// a process with an executor of 2 MB.
const TASKS_ON_AN_AGENT: usize = 1000;

/// Finds an agent and ports for one more task of `app`, of which each agent has `own` launched; `random` chooses where in the agent's ranges ports are looked for.
///
/// `Err` holds the reason of each agent that refused; it is empty if there is no agent at all.
pub(crate) fn place(
    state: &State,
    app: &App,
    own: &BTreeMap<AgentId, usize>,
    random: u32,
) -> Result<Placement, Vec<(AgentId, String)>> {
    let unused = Usage::default();
    let mut candidates = Vec::new();
    let mut refusals = Vec::new();
    for agent in state.agents.values() {
        let usage = state.usage.get(&agent.id).map_or(&unused, |usage| usage);
        match fits(state, agent, usage, app) {
            Ok(()) => {
                let own = own.get(&agent.id).copied().unwrap_or_default();
                let free_cpus = millionths(agent.resources.cpus) - usage.cpus;
                let free_mem = millionths(agent.resources.mem) - usage.mem;
                let rank = (own, Reverse(free_cpus), Reverse(free_mem), agent.id.clone());
                candidates.push((rank, agent, usage));
            }
            Err(reason) => refusals.push((agent.id.clone(), reason)),
        }
    }
    candidates.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    for (_, agent, usage) in candidates {
        match ports(agent, usage, app, random) {
            Ok(ports) => {
                return Ok(Placement {
                    agent: Arc::clone(agent),
                    ports,
                });
            }
            Err(reason) => refusals.push((agent.id.clone(), reason)),
        }
    }
    Err(refusals)
}

fn fits(state: &State, agent: &Agent, usage: &Usage, app: &App) -> Result<(), String> {
    if !agent.is_connected {
        return Err("the agent is away".to_owned());
    }
    let default_roles = ["*".to_owned()];
    let roles = app
        .accepted_resource_roles
        .as_deref()
        .unwrap_or(&default_roles);
    if !roles.contains(&agent.role) {
        return Err(format!(
            "role {} is not one of {}",
            agent.role,
            roles.join(", ")
        ));
    }
    let offered = &agent.resources;
    let enough = |name: &str, wanted: f64, total: f64, used: i64| {
        let free = millionths(total) - used;
        if millionths(wanted) <= free {
            Ok(())
        } else {
            let free = free as f64 / 1e6;
            Err(format!("{name}: {wanted} wanted, {free} of {total} free"))
        }
    };
    enough("cpus", app.cpus, offered.cpus, usage.cpus)?;
    enough("mem", app.mem, offered.mem, usage.mem)?;
    enough("disk", app.disk, offered.disk, usage.disk)?;
    if usage.tasks >= TASKS_ON_AN_AGENT {
        return Err(format!("{} tasks are there already", usage.tasks));
    }
    if app.gpus > offered.gpus {
        return Err(format!("gpus: {} wanted, {} there", app.gpus, offered.gpus));
    }
    for wanted in &app.constraints {
        constraint::holds(state, agent, app, wanted)?;
    }
    Ok(())
}

/// Host ports on this agent, in the order of the app's definition.
fn ports(agent: &Agent, usage: &Usage, app: &App, random: u32) -> Result<Vec<u16>, String> {
    let wanted: Vec<u16> = match app.port_mappings() {
        // A mapping without host port takes none; a number asks for that one.
        Some(mappings) => mappings
            .iter()
            .filter_map(|mapping| mapping.host_port)
            .collect(),
        None if app.ip_address.is_some() => Vec::new(),
        None if app.require_ports => app.service_ports(),
        None => vec![0; app.port_definitions.len()],
    };
    let mut taken = BTreeSet::new();
    for port in wanted.iter().copied().filter(|port| *port != 0) {
        let is_offered = agent
            .resources
            .ports
            .iter()
            .any(|(begin, end)| (*begin..=*end).contains(&port));
        if !is_offered {
            return Err(format!("port {port} is not among the agent's ports"));
        }
        if usage.ports.contains(&port) || !taken.insert(port) {
            return Err(format!("port {port} is taken by another task"));
        }
    }
    let n_dynamic = wanted.iter().filter(|port| **port == 0).count();
    let mut dynamic = free_ports(agent, usage, &taken, random)
        .into_iter()
        .take(n_dynamic);
    wanted
        .into_iter()
        .map(|port| match port {
            0 => dynamic
                .next()
                .ok_or_else(|| format!("ports: {n_dynamic} wanted, fewer free")),
            port => Ok(port),
        })
        .collect()
}

/// Free dynamic ports of an agent, beginning at a random place and running round.
fn free_ports<'a>(
    agent: &'a Agent,
    usage: &'a Usage,
    taken: &'a BTreeSet<u16>,
    random: u32,
) -> impl IntoIterator<Item = u16> + 'a {
    let all = || {
        agent
            .resources
            .dynamic_ports
            .iter()
            .flat_map(|(begin, end)| *begin..=*end)
    };
    let total = all().count().max(1);
    all()
        .cycle()
        .skip(random as usize % total)
        .take(total)
        .filter(|port| !usage.ports.contains(port) && !taken.contains(port))
}

//! Placement as the contract words it, written down a second time: whether an agent can take one more task of an app.
//!
//! Knows nothing of the engine's indexes: it counts the tasks there are. Source: contract marathon §1.5, §1.7, §4.1.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use zddcluster_model::app::{App, Constraint, Operator};
use zddcluster_model::{AgentId, AppId, Timestamp};

use crate::state::Agent;

/// What a task holds at its agent.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) app_id: AppId,
    pub(super) agent_id: AgentId,
    pub(super) version: Timestamp,
    pub(super) ports: Vec<u16>,
    /// Cores, MiB of memory, MiB of disk; millionths. Nothing for a task of a resident app: what it has is [`Kept`].
    pub(super) amounts: [i64; 3],
}

/// What an instance of a resident app keeps at its agent, with or without a task.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) app_id: AppId,
    pub(super) agent_id: AgentId,
    /// As of a task, with the volumes.
    pub(super) amounts: [i64; 3],
    /// No task has it, and the next one may.
    pub(super) is_free: bool,
    /// It goes with its task.
    pub(super) is_condemned: bool,
}

/// What an instance of an app takes, millionths.
pub(super) fn amounts(app: &App) -> [i64; 3] {
    let volumes = app
        .volumes()
        .filter_map(|volume| volume.persistent.as_ref());
    let volumes: f64 = volumes.map(|volume| volume.size).sum();
    [app.cpus, app.mem, app.disk + volumes].map(|amount| (amount * 1e6).round() as i64)
}

/// Why an agent cannot take one more task of `app` beside the launched tasks; `None` if it can. Lost tasks, which may come back,
/// only keep their ports from other agents of their host. What is `kept` is in use whoever has it.
pub(super) fn refusal<'a>(
    agent: &Agent,
    agents: impl Fn(&AgentId) -> Option<&'a Agent>,
    app: &App,
    launched: &[&Held],
    lost: &[&Held],
    kept: &[Kept],
) -> Option<&'static str> {
    if !agent.is_connected {
        return Some("away");
    }
    let is_accepted = match &app.accepted_resource_roles {
        None => agent.role == "*",
        Some(roles) => roles.contains(&agent.role),
    };
    if !is_accepted {
        return Some("role");
    }
    let here: Vec<&&Held> = launched
        .iter()
        .filter(|held| held.agent_id == agent.id)
        .collect();
    if app.volumes().any(|volume| volume.external.is_some()) {
        return Some("external volume");
    }
    // A free volume first; a new one only while not every instance has its own.
    let own = kept.iter().filter(|kept| kept.app_id == app.id);
    let has_free = own
        .clone()
        .any(|kept| kept.is_free && kept.agent_id == agent.id);
    let n_own = own.filter(|kept| !kept.is_condemned).count();
    if app.residency.is_some() && !has_free && n_own >= app.instances as usize {
        return Some("volume");
    }
    let offered = [
        agent.resources.cpus,
        agent.resources.mem,
        agent.resources.disk,
    ];
    for (idx, wanted) in amounts(app).into_iter().enumerate() {
        let used: i64 = here.iter().map(|held| held.amounts[idx]).sum();
        let kept = kept.iter().filter(|kept| kept.agent_id == agent.id);
        let used = used + kept.map(|kept| kept.amounts[idx]).sum::<i64>();
        if !has_free && used + wanted > (offered[idx] * 1e6).round() as i64 {
            return Some("resources");
        }
    }
    if app.gpus > agent.resources.gpus {
        return Some("gpus");
    }
    // A port belongs to the host, whichever of its agents has the task.
    let on_host = |held: &&&Held| {
        agents(&held.agent_id).is_some_and(|other| other.hostname == agent.hostname)
    };
    let is_elsewhere =
        |held: &&&Held| agents(&held.agent_id).is_some_and(|other| other.port != agent.port);
    let lost = lost.iter().filter(on_host).filter(is_elsewhere);
    let beside: Vec<&&Held> = launched.iter().filter(on_host).chain(lost).collect();
    let is_taken = |port: u16| beside.iter().any(|held| held.ports.contains(&port));
    let mut fixed = BTreeSet::new();
    let mut n_dynamic = 0;
    for port in wanted_ports(app) {
        match port {
            Some(port) => {
                let is_offered = agent
                    .resources
                    .ports
                    .iter()
                    .any(|(first, last)| *first <= port && port <= *last);
                if !is_offered || is_taken(port) || !fixed.insert(port) {
                    return Some("port");
                }
            }
            None => n_dynamic += 1,
        }
    }
    let n_free = agent
        .resources
        .dynamic_ports
        .iter()
        .flat_map(|(first, last)| *first..=*last)
        .filter(|port| !is_taken(*port) && !fixed.contains(port))
        .count();
    if n_free < n_dynamic {
        return Some("ports");
    }
    let counted: Vec<&Agent> = launched
        .iter()
        .filter(|held| held.app_id == app.id && held.version >= app.config_version())
        .filter_map(|held| agents(&held.agent_id))
        .collect();
    let is_broken = |constraint: &&Constraint| !allows(constraint, agent, &counted);
    app.constraints.iter().find(is_broken).map(|_| "constraint")
}

/// The host ports a task of `app` asks for, in order; `None` for any.
pub(super) fn wanted_ports(app: &App) -> Vec<Option<u16>> {
    if let Some(mappings) = app.port_mappings() {
        let asked = mappings.iter().filter_map(|mapping| mapping.host_port);
        return asked.map(|port| (port != 0).then_some(port)).collect();
    }
    let definitions = app.port_definitions.iter();
    definitions
        .map(|definition| app.require_ports.then_some(definition.port))
        .collect()
}

/// Whether a constraint lets one more task onto `agent`; `counted` has the agent of each task that counts.
fn allows(constraint: &Constraint, agent: &Agent, counted: &[&Agent]) -> bool {
    let value_at = |agent: &Agent| match constraint.field.as_str() {
        "hostname" => Some(agent.hostname.clone()),
        name => agent.attributes.get(name).cloned(),
    };
    let Some(here) = value_at(agent) else {
        return constraint.operator == Operator::Unlike;
    };
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for value in counted.iter().filter_map(|agent| value_at(agent)) {
        *counts.entry(value).or_default() += 1;
    }
    let n_here = counts.get(&here).copied().unwrap_or(0);
    let number = || constraint.value.as_deref().and_then(|n| n.parse().ok());
    let matches = || {
        let pattern = constraint.value.as_deref().unwrap_or_default();
        let found = Regex::new(pattern).ok().and_then(|regex| {
            let all = regex.find(&here)?;
            Some(all.range() == (0..here.len()))
        });
        found == Some(true)
    };
    match constraint.operator {
        Operator::Unique => n_here == 0,
        Operator::Cluster => match &constraint.value {
            Some(value) => *value == here,
            None => counts.keys().all(|value| *value == here),
        },
        Operator::GroupBy => {
            let has_enough = counts.len() >= number().unwrap_or(0);
            n_here == 0 || (has_enough && counts.values().all(|n| n_here <= *n))
        }
        Operator::Like => matches(),
        Operator::Unlike => !matches(),
        Operator::MaxPer => number().is_some_and(|most| n_here < most),
    }
}

mod property;

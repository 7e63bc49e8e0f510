//! Which agent takes the next instance of an app, and on which ports.
//!
//! Spreads: fewest tasks of the app first, then most free, then agent id. If none takes it, each says why.
//! Source: contract marathon §1.5, §1.7, §4.1.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use zddcluster_model::AgentId;
use zddcluster_model::app::App;

use crate::constraint::{Constraints, field_of};
use crate::reason::{AGENTS_KEPT, Declined, Reason, Refused, Resource, Unplaced};
use crate::state::{Agent, State, Task, Usage};
use crate::turn::millionths;
use crate::volume::{Claims, Reservation, disk_of};

/// An agent that takes an instance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placement {
    pub(crate) agent: Arc<Agent>,
    /// Host ports, in the order of the definition.
    pub(crate) ports: Vec<u16>,
    /// What an earlier instance left there, for an app that keeps something on agents; else it is made.
    pub(crate) reservation: Option<Arc<Reservation>>,
}

/// Tasks on one agent at most, since some take nothing of what an agent offers: as many as it has dynamic ports for. Each is
/// a process with an executor of 2 MB.
const TASKS_ON_AN_AGENT: usize = 1000;

/// What is known of an app's launched tasks, and goes along while more of them are placed.
pub(crate) struct Fellows<'a> {
    /// How many of them each agent has.
    own: BTreeMap<AgentId, usize>,
    constraints: Constraints<'a>,
    /// What they have left on agents, for an app that keeps something there.
    claims: Option<Claims>,
}

impl<'a> Fellows<'a> {
    /// The launched tasks of an app as they are.
    pub(crate) fn of(state: &State, app: &'a App) -> Self {
        let mut own: BTreeMap<AgentId, usize> = BTreeMap::new();
        for task in state.launched_of(&app.id) {
            *own.entry(task.agent_id.clone()).or_default() += 1;
        }
        Self {
            own,
            constraints: Constraints::of(state, app),
            claims: state.claims_of(app),
        }
    }

    /// One more was launched on this agent.
    pub(crate) fn count(&mut self, agent: &Agent) {
        *self.own.entry(agent.id.clone()).or_default() += 1;
        self.constraints.count(agent);
        if let Some(claims) = &mut self.claims {
            claims.take(&agent.id);
        }
    }
}

/// Finds an agent and ports for one more task of `app` beside its `fellows`; `random` chooses where in the agent's ranges ports
/// are looked for.
///
/// `None` if no agent takes it; [`unplaced`] says why.
pub(crate) fn place(
    state: &State,
    app: &App,
    fellows: &Fellows<'_>,
    random: u32,
) -> Option<Placement> {
    let Fellows {
        own,
        constraints,
        claims,
    } = fellows;
    let unused = Usage::default();
    let free_on = |agent: &Agent| claims.as_ref()?.free_on(&agent.id);
    let mut candidates = Vec::new();
    for agent in state.agents.values() {
        let usage = state.usage.get(&agent.id).map_or(&unused, |usage| usage);
        let fits = examine(agent, usage, app, constraints, claims.as_ref(), &mut |_| {
            ControlFlow::Break(())
        });
        if fits.is_continue() {
            let own = own.get(&agent.id).copied().unwrap_or_default();
            let free_cpus = millionths(agent.resources.cpus) - usage.cpus;
            let free_mem = millionths(agent.resources.mem) - usage.mem;
            // What is there already goes before what would have to be made.
            let is_new = free_on(agent).is_none();
            let free = (Reverse(free_cpus), Reverse(free_mem));
            let rank = (is_new, own, free, agent.id.clone());
            candidates.push((rank, agent, usage));
        }
    }
    candidates.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    candidates.into_iter().find_map(|(_, agent, usage)| {
        let beside = taken_beside(state, agent);
        let ports = ports(agent, usage, app, random, &beside).ok()?;
        let agent = Arc::clone(agent);
        let reservation = free_on(&agent).map(Arc::clone);
        Some(Placement {
            agent,
            ports,
            reservation,
        })
    })
}

/// Why no agent takes one more task of `app`: all that speaks against each. Only asked when [`place`] has failed.
pub(crate) fn unplaced(state: &State, app: &App, fellows: &Fellows<'_>) -> Unplaced {
    let unused = Usage::default();
    // Looked up again, for their hosts.
    let claims = state.claims_of(app);
    let mut refusals = Vec::new();
    let mut declined = Declined::default();
    for agent in state.agents.values() {
        let usage = state.usage.get(&agent.id).map_or(&unused, |usage| usage);
        let mut reasons = Vec::new();
        let constraints = &fellows.constraints;
        let _ = examine(
            agent,
            usage,
            app,
            constraints,
            claims.as_ref(),
            &mut |reason| {
                reasons.push(reason());
                ControlFlow::Continue(())
            },
        );
        if agent.is_connected
            && let Err(reason) = ports(agent, usage, app, 0, &BTreeSet::new())
        {
            reasons.push(reason);
        }
        if reasons.is_empty()
            && let Err(reason) = ports(agent, usage, app, 0, &taken_beside(state, agent))
        {
            reasons.push(reason);
        }
        reasons.sort_by_key(Reason::of_offer);
        if let Some(first) = reasons.first().and_then(Reason::of_offer) {
            declined[first as usize] += 1;
        }
        if !reasons.is_empty() && refusals.len() < AGENTS_KEPT {
            let agent_id = agent.id.clone();
            refusals.push(Refused { agent_id, reasons });
        }
    }
    Unplaced {
        refusals: refusals.into(),
        declined,
    }
}

/// Looks for what speaks against one more task of `app` on an agent, ports aside; cheap questions first. `refuse` gets what
/// makes each reason, and says whether to go on.
fn examine(
    agent: &Agent,
    usage: &Usage,
    app: &App,
    constraints: &Constraints<'_>,
    claims: Option<&Claims>,
    refuse: &mut dyn FnMut(&dyn Fn() -> Reason) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if !agent.is_connected {
        let _ = refuse(&|| Reason::Away);
        return ControlFlow::Break(());
    }
    let default_roles = ["*".to_owned()];
    let roles = app
        .accepted_resource_roles
        .as_deref()
        .unwrap_or(&default_roles);
    if !roles.contains(&agent.role) {
        refuse(&|| Reason::Role {
            offered: agent.role.clone(),
            accepted: roles.to_vec(),
        })?;
    }
    if let Some(volume) = app.volumes().find(|volume| volume.external.is_some()) {
        refuse(&|| Reason::ExternalVolume {
            name: volume
                .external
                .as_ref()
                .map(|it| it.name.clone())
                .unwrap_or_default(),
        })?;
    }
    let has_reserved = claims.is_some_and(|claims| claims.free_on(&agent.id).is_some());
    if let Some(claims) = claims.filter(|claims| !has_reserved && !claims.may_reserve()) {
        refuse(&|| Reason::Volume {
            hosts: Arc::clone(&claims.hosts),
            away: Arc::clone(&claims.away),
        })?;
    }
    let offered = &agent.resources;
    let disk = disk_of(app) as f64 / 1e6;
    for (resource, wanted, total, used) in [
        (Resource::Cpus, app.cpus, offered.cpus, usage.cpus),
        (Resource::Mem, app.mem, offered.mem, usage.mem),
        (Resource::Disk, disk, offered.disk, usage.disk),
        (Resource::Gpus, app.gpus.into(), offered.gpus.into(), 0),
    ] {
        let free = millionths(total) - used;
        // Of what is reserved for it nothing can be missing.
        if millionths(wanted) > free && !has_reserved {
            refuse(&|| Reason::Resource {
                resource,
                wanted,
                free: free as f64 / 1e6,
                total,
            })?;
        }
    }
    if usage.tasks >= TASKS_ON_AN_AGENT {
        refuse(&|| Reason::Tasks {
            most: TASKS_ON_AN_AGENT,
        })?;
    }
    for constraint in constraints.broken_on(agent) {
        refuse(&|| Reason::Constraint {
            constraint: constraint.clone(),
            value: field_of(agent, &constraint.field).map(str::to_owned),
        })?;
    }
    ControlFlow::Continue(())
}

/// Ports that tasks of other agents have on the same host, as under `--single-address`; lost ones may still be there.
fn taken_beside(state: &State, agent: &Agent) -> BTreeSet<u16> {
    let is_beside = |other: &Agent| other.id != agent.id && other.hostname == agent.hostname;
    let launched = state
        .agents
        .values()
        .filter(|other| is_beside(other))
        .filter_map(|other| state.usage.get(&other.id))
        .flat_map(|usage| usage.ports.iter().copied());
    // Not those of an agent whose address this one has now: they are dead.
    let is_elsewhere = |task: &&Arc<Task>| {
        let other = state.agents.get(&task.agent_id);
        other.is_some_and(|other| is_beside(other) && other.port != agent.port)
    };
    let lost = state
        .lost
        .iter()
        .filter_map(|id| state.tasks.get(id))
        .filter(is_elsewhere)
        .flat_map(|task| task.ports.iter().copied());
    launched.chain(lost).collect()
}

/// Host ports on this agent, in the order of the app's definition; `beside` are those of other agents' tasks on its host.
fn ports(
    agent: &Agent,
    usage: &Usage,
    app: &App,
    random: u32,
    beside: &BTreeSet<u16>,
) -> Result<Vec<u16>, Reason> {
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
    // An app may name a port twice, as for tcp and udp: its task has that port once.
    let mut taken: BTreeSet<u16> = wanted.iter().copied().filter(|port| *port != 0).collect();
    for port in taken.iter().copied() {
        let is_offered = agent
            .resources
            .ports
            .iter()
            .any(|(begin, end)| (*begin..=*end).contains(&port));
        if !is_offered {
            return Err(Reason::PortNotOffered { port });
        }
        if usage.ports.contains(&port) || beside.contains(&port) {
            return Err(Reason::PortTaken { port });
        }
    }
    taken.extend(beside);
    let n_dynamic = wanted.iter().filter(|port| **port == 0).count();
    let dynamic: Vec<u16> = free_ports(agent, usage, &taken, random)
        .into_iter()
        .take(n_dynamic)
        .collect();
    if dynamic.len() < n_dynamic {
        return Err(Reason::Ports {
            wanted: n_dynamic,
            free: dynamic.len(),
        });
    }
    let mut dynamic = dynamic.into_iter();
    let chosen = wanted.into_iter().map(|port| match port {
        0 => dynamic.next().unwrap_or_default(),
        port => port,
    });
    Ok(chosen.collect())
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

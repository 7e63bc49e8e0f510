//! What must hold after every step, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::AgentId;

use crate::blocker;
use crate::state::{State, Usage};
use crate::turn::millionths;
use crate::volume::Reservation;

/// Panics, saying what is broken, if an invariant does not hold.
pub(crate) fn check(state: &State) {
    let mut usage: BTreeMap<AgentId, Usage> = BTreeMap::new();
    let mut ports: BTreeSet<(String, u16)> = BTreeSet::new();
    for task in state.tasks.values() {
        assert!(
            state
                .by_app
                .get(&task.app_id)
                .is_some_and(|ids| ids.contains(&task.id)),
            "{}: not in the index of its app",
            task.id
        );
        let is_dying = state.killing.contains(&task.id);
        assert_eq!(
            task.is_launched() && task.killing.is_some(),
            is_dying,
            "{}: kill index",
            task.id
        );
        if let Some(killing) = task.killing.as_ref().filter(|_| is_dying) {
            let signal = (killing.next_signal, task.id.clone());
            assert!(state.signals.contains(&signal), "{}: signal index", task.id);
        }
        assert_eq!(
            !task.is_launched(),
            state.lost.contains(&task.id),
            "{}: lost index",
            task.id
        );
        if !task.is_launched() {
            continue;
        }
        let used = usage.entry(task.agent_id.clone()).or_default();
        if task.reservation.is_none() {
            used.cpus += task.cpus;
            used.mem += task.mem;
            used.disk += task.disk;
        }
        used.tasks += 1;
        used.ports.extend(task.ports.iter().copied());
        // A task may have named one of its own twice, as for tcp and udp.
        for port in task.ports.iter().copied().collect::<BTreeSet<u16>>() {
            assert!(
                ports.insert((task.host.clone(), port)),
                "{}: port {port} twice on {}",
                task.id,
                task.host
            );
        }
    }
    let known = state.tasks.values().chain(state.completed.iter());
    let named: BTreeSet<&AgentId> = known.map(|task| &task.agent_id).collect();
    for agent_id in state.agents.keys() {
        let is_named = named.contains(agent_id);
        assert_eq!(state.has_tasks_of(agent_id), is_named, "{agent_id}: tasks");
    }
    reservations(state, &mut usage);
    for (agent_id, used) in &usage {
        let indexed = state
            .usage
            .get(agent_id)
            .map(|usage| (**usage).clone())
            .unwrap_or_default();
        assert_eq!(*used, indexed, "{agent_id}: usage index");
        let agent = state.agents.get(agent_id).expect("a task's agent is known");
        let offered = &agent.resources;
        assert!(
            used.cpus <= millionths(offered.cpus),
            "{agent_id}: more cpus used than offered"
        );
        assert!(
            used.mem <= millionths(offered.mem),
            "{agent_id}: more mem used than offered"
        );
        assert!(
            used.disk <= millionths(offered.disk),
            "{agent_id}: more disk used than offered"
        );
    }
    assert_eq!(state.signals.size(), state.killing.size(), "signal index");
    let mut n_locks = 0;
    for (id, deployment) in state.deployments.iter() {
        for app_id in deployment.plan.affected_apps() {
            n_locks += 1;
            assert_eq!(state.locks.get(&app_id), Some(id), "{app_id}: its lock");
        }
        assert_eq!(
            deployment.actions.are_done(),
            deployment.actions.iter().all(|action| action.is_done),
            "{id}: index of what is left to do"
        );
        assert!(
            !(state.is_resumed && deployment.actions.are_done()),
            "{id}: has nothing left to do and runs"
        );
        for action in deployment.actions.iter().filter(|action| !action.is_done) {
            let blockers = blocker::blockers_of_action(state, deployment, action);
            assert!(
                !blockers.is_empty(),
                "{id}: {:?} waits for nothing it can name",
                action.action
            );
        }
    }
    assert_eq!(
        state.locks.size(),
        n_locks,
        "locks of deployments that are over"
    );
    let mut n_untried = 0;
    for (app_id, entry) in state.queue.iter() {
        assert!(entry.count > 0, "{app_id}: an empty queue entry");
        if entry.is_tried {
            let delay = entry.delayed_until;
            assert_eq!(delay, None, "{app_id}: tried, and delayed");
        } else {
            n_untried += 1;
            let due = (entry.delayed_until, app_id.clone());
            assert!(state.untried.contains(&due), "{app_id}: index of the queue");
        }
    }
    assert_eq!(state.untried.size(), n_untried, "index of the queue");
}

/// What is kept on agents, which is in use there whether or not a task holds it.
fn reservations(state: &State, usage: &mut BTreeMap<AgentId, Usage>) {
    for reservation in state.reservations.values() {
        let Reservation {
            id,
            app_id,
            agent_id,
            volumes,
            cpus,
            mem,
            disk,
            is_made: _,
            is_condemned: _,
        } = &**reservation;
        let used = usage.entry(agent_id.clone()).or_default();
        used.cpus += cpus;
        used.mem += mem;
        used.disk += disk;
        let ids = state.reserved_by.get(app_id);
        assert!(
            ids.is_some_and(|ids| ids.contains(id)),
            "{id}: not in the index of its app"
        );
        for volume in volumes {
            let volume_id = &volume.persistence_id;
            assert!(
                !state.freed.contains_key(volume_id),
                "{volume_id}: kept, and freed"
            );
        }
    }
    let indexed: usize = state.reserved_by.values().map(|ids| ids.size()).sum();
    assert_eq!(indexed, state.reservations.size(), "index of reservations");
    let mut holders = BTreeMap::new();
    for task in state.tasks.values() {
        let Some(id) = task.reservation else { continue };
        let other = holders.insert(id, &task.id);
        assert_eq!(other, None, "{}: holds what another task holds", task.id);
        let reservation = state.reservations.get(&id);
        let reservation = reservation.unwrap_or_else(|| panic!("{}: holds nothing", task.id));
        assert!(
            reservation.agent_id == task.agent_id
                && reservation.app_id == task.app_id
                && reservation.volumes == task.local_volumes,
            "{}: holds what is elsewhere",
            task.id
        );
    }
}

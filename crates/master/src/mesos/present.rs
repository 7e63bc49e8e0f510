//! Which agents the Mesos API tells of.
//!
//! Mesos removes an agent that has been away for longer than its tasks are waited for. The engine keeps it, for it may come
//! back with its volumes; here it is not listed any more. As long as a known task names it, ended ones among them, it stays:
//! dcos clients 0.4 end with an error at a task whose agent is not there (contract dcos-cli §9).

use std::time::Duration;

use zddcluster_engine::State;
use zddcluster_engine::state::Agent;
use zddcluster_model::Timestamp;

use crate::shared::Shared;

/// The agents that are listed, in the order of their ids. Asked for each event of a stream: looks at tasks only of agents that are
/// away for too long.
pub(super) fn agents<'a>(shared: &Shared, state: &'a State) -> impl Iterator<Item = &'a Agent> {
    let now = shared.clock.now();
    let limit = limit_millis(shared);
    state
        .agents
        .values()
        .map(|agent| &**agent)
        .filter(move |agent| {
            removed_at(agent, limit).is_none_or(|at| now < at) || state.has_tasks_of(&agent.id)
        })
}

/// How long it is until the next one leaves the list; `None` if none is about to.
pub(super) fn until_next_leaves(shared: &Shared, state: &State) -> Option<Duration> {
    let now = shared.clock.now();
    let limit = limit_millis(shared);
    let due = state
        .agents
        .values()
        .filter_map(|agent| Some((removed_at(agent, limit)?, agent)))
        .filter(|(at, agent)| now < *at && !state.has_tasks_of(&agent.id))
        .map(|(at, _)| at)
        .min()?;
    let millis = u64::try_from(due.millis_since(now)).unwrap_or_default();
    Some(Duration::from_millis(millis))
}

fn limit_millis(shared: &Shared) -> i64 {
    let config = &shared.engine_config;
    (config.agent_timeout_millis as f64 / config.speed) as i64
}

/// When an agent that is away has been so for too long.
fn removed_at(agent: &Agent, limit_millis: i64) -> Option<Timestamp> {
    let since = agent.away_since.filter(|_| !agent.is_connected)?;
    Some(since.plus_millis(limit_millis))
}

//! Blockers in words, each with what can be done about it.

use std::collections::BTreeSet;

use zddcluster_model::app::Operator;
use zddcluster_model::secret::without_password;
use zddcluster_model::{AgentId, AppId, TaskId, Timestamp};

use super::Blocker;
use crate::reason::{AGENTS_KEPT, Reason};
use crate::state::State;

impl Blocker {
    /// A word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::BackOff { .. } => "backOff",
            Self::Agent { .. } => "agent",
            Self::Start { .. } => "start",
            Self::Health { .. } => "health",
            Self::Readiness { .. } => "readiness",
            Self::Download { .. } => "download",
            Self::End { .. } => "end",
            Self::Sweep { .. } => "sweep",
        }
    }

    /// What is waited for, in sentences without a full stop: the first says it, further ones give details.
    pub fn lines(&self, state: &State, now: Timestamp) -> Vec<String> {
        let host = |id: &AgentId| host_of(state, id);
        match self {
            Self::BackOff {
                app_id,
                count,
                until,
            } => {
                let mut lines = vec![format!(
                    "{} of {app_id} to be launched in {}: its tasks ended by themselves",
                    instances(*count),
                    length(until.millis_since(now)),
                )];
                lines.extend(state.failures.get(app_id).map(|failure| {
                    let (state, message) = (failure.state.as_str(), &failure.message);
                    let task_id = &failure.task_id;
                    format!("the last one, {task_id}, was {state}: {message}")
                }));
                lines
            }
            Self::Agent {
                app_id,
                count,
                since,
            } => {
                let (n, waits) = (instances(*count), length(now.millis_since(*since)));
                let mut lines = vec![format!("{n} of {app_id} to find an agent, since {waits}")];
                lines.extend(refusals(state, app_id));
                lines
            }
            Self::Start {
                task_id,
                agent_id,
                since,
            } => {
                let waits = length(now.millis_since(*since));
                let host = host(agent_id);
                vec![format!("{task_id} to start on agent {host}, since {waits}")]
            }
            Self::Health {
                task_id,
                since,
                last_cause,
            } => {
                let waits = length(now.millis_since(*since));
                let cause = match last_cause {
                    Some(cause) => format!("the last check said: {cause}"),
                    None => "no counted check has failed so far".to_owned(),
                };
                let first = format!("{task_id} to become healthy, running since {waits}");
                vec![first, cause]
            }
            Self::Download { app_id, urls } => {
                let mut lines = vec![format!(
                    "the files of {app_id} to be copied into the artifact store"
                )];
                lines.extend(urls.iter().map(|url| without_password(url)));
                lines
            }
            Self::Readiness { task_id, since } => {
                let waits = length(now.millis_since(*since));
                let mut lines = vec![format!(
                    "{task_id} to say that it is ready, running since {waits}"
                )];
                lines.extend(last_answer(state, task_id));
                lines
            }
            Self::Sweep {
                app_id,
                missing,
                at,
            } => {
                let n = u32::try_from(missing.unsigned_abs()).unwrap_or(u32::MAX);
                let what = if *missing > 0 {
                    format!("{} of {app_id} to be started", instances(n))
                } else {
                    format!("{} too many of {app_id} to be ended", instances(n))
                };
                let waits = length(at.millis_since(now));
                vec![format!("{what} at the next look at all apps, in {waits}")]
            }
            Self::End {
                task_id,
                agent_id,
                since,
                reason,
                draining,
                next_signal,
            } => {
                let waits = length(now.millis_since(*since));
                let mut lines = vec![format!("{task_id} to end, decided {waits} ago: {reason}")];
                if !draining.is_empty() {
                    let edges: Vec<&str> = draining.iter().map(|edge| edge.as_str()).collect();
                    lines.push(format!(
                        "SIGTERM waits for requests through edge {}, at most {} more",
                        edges.join(", "),
                        length(next_signal.millis_since(now)),
                    ));
                } else if !is_connected(state, agent_id) {
                    lines.push(format!("agent {} is away", host(agent_id)));
                }
                lines
            }
        }
    }

    /// What can be done about it.
    pub fn hint(&self, state: &State) -> String {
        match self {
            Self::BackOff { app_id, .. } => format!(
                "see why it ends with `dcos task log --completed` or GET /v2/apps{app_id} (lastTaskFailure); \
                 DELETE /v2/queue{app_id}/delay launches at once"
            ),
            Self::Agent { app_id, .. } => agent_hint(state, app_id),
            Self::Start { agent_id, .. } if !is_connected(state, agent_id) => {
                format!("start agent {} again", host_of(state, agent_id))
            }
            Self::Start { task_id, .. } => {
                format!("an image may still be pulled; see `dcos task log {task_id} stderr`")
            }
            Self::Health { task_id, .. } => format!(
                "ask the task at the check's path yourself, and see `dcos task log {task_id}`; \
                 rounds come every intervalSeconds"
            ),
            Self::Download { .. } => {
                "look at the servers of these files, or stop with `dcos marathon deployment rollback`"
                    .to_owned()
            }
            Self::Readiness { task_id, .. } => format!(
                "readiness is asked until it comes: see `dcos task log {task_id}`, \
                 or stop with `dcos marathon deployment rollback`"
            ),
            Self::Sweep { .. } => {
                "a stopped deployment leaves its apps as they are until then; an update of the app goes on at once"
                    .to_owned()
            }
            Self::End { draining, .. } if !draining.is_empty() => {
                "it goes on by itself when these requests are answered".to_owned()
            }
            Self::End { agent_id, .. } if !is_connected(state, agent_id) => {
                format!("start agent {} again", host_of(state, agent_id))
            }
            Self::End { .. } => "a process that ignores SIGTERM is killed after its grace; \
                 taskKillGracePeriodSeconds sets it"
                .to_owned(),
        }
    }
}

fn host_of(state: &State, id: &AgentId) -> String {
    let agent = state.agents.get(id);
    agent.map_or_else(|| id.to_string(), |agent| agent.hostname.clone())
}

fn is_connected(state: &State, id: &AgentId) -> bool {
    state.agents.get(id).is_some_and(|agent| agent.is_connected)
}

/// What each agent says against one more instance.
fn refusals(state: &State, app_id: &AppId) -> Vec<String> {
    let Some(entry) = state.queue.get(app_id) else {
        return Vec::new();
    };
    let mut lines: Vec<String> = entry
        .refusals
        .iter()
        .map(|refused| {
            let reasons: Vec<String> = refused.reasons.iter().map(Reason::to_string).collect();
            let host = host_of(state, &refused.agent_id);
            format!("agent {host} {}", reasons.join("; "))
        })
        .collect();
    if lines.len() == AGENTS_KEPT && state.agents.size() > AGENTS_KEPT {
        lines.push(format!("so do {} more", state.agents.size() - AGENTS_KEPT));
    }
    lines
}

/// What would let one more instance be placed: one piece of advice for each kind of reason, each agent's first counting.
fn agent_hint(state: &State, app_id: &AppId) -> String {
    let Some(entry) = state.queue.get(app_id) else {
        return String::new();
    };
    if state.agents.is_empty() {
        return "no agent has registered: start one with `zddcluster agent`".to_owned();
    }
    if entry.refusals.is_empty() {
        return "it has not been tried yet".to_owned();
    }
    let firsts = entry.refusals.iter().filter_map(|it| it.reasons.first());
    let mut advice: BTreeSet<(u8, String)> = BTreeSet::new();
    // The most there is of a resource that is short everywhere it counts.
    for reason in firsts {
        let (rank, text) = match reason {
            Reason::Resource {
                resource,
                wanted,
                total,
                ..
            } if wanted > total => {
                let name = resource.as_str();
                (
                    1,
                    format!(
                        "no agent of that size: lower {name}, or start agents with more (--resources)"
                    ),
                )
            }
            Reason::Resource { resource, .. } => {
                let name = resource.as_str();
                (
                    0,
                    format!("lower {name}, stop or scale down what runs there, or add an agent"),
                )
            }
            Reason::Ports { .. } | Reason::Tasks { .. } => (
                0,
                "stop or scale down what runs there, or add an agent".to_owned(),
            ),
            Reason::PortTaken { port } => (
                1,
                format!("free port {port}, choose another, or set requirePorts to false"),
            ),
            Reason::PortNotOffered { port } => (
                1,
                format!("choose another port than {port}, or set requirePorts to false"),
            ),
            Reason::Constraint { constraint, .. } => {
                let field = &constraint.field;
                let text = match constraint.operator {
                    Operator::Unique | Operator::MaxPer => format!(
                        "{field} {} allows no more: lower instances, or add an agent",
                        constraint.operator.as_str()
                    ),
                    Operator::Cluster | Operator::GroupBy | Operator::Like | Operator::Unlike => {
                        format!("change the constraint on {field}, or add an agent that meets it")
                    }
                };
                (2, text)
            }
            Reason::Volume { hosts, away } => (2, volume_advice(app_id, hosts, away)),
            Reason::ExternalVolume { .. } => (
                5,
                "external volumes are accepted and never attached: use a persistent volume or a hostPath"
                    .to_owned(),
            ),
            Reason::Away => (3, "start the agents that are away again".to_owned()),
            Reason::Role { offered, .. } => (
                4,
                format!("agents of role {offered} need it in acceptedResourceRoles"),
            ),
        };
        advice.insert((rank, text));
    }
    let advice: Vec<String> = advice.into_iter().map(|(_, text)| text).collect();
    advice.join("; ")
}

/// What would free a volume of an app: those that are waited for are on `hosts`, and on hosts whose agents are `away`.
fn volume_advice(app_id: &AppId, hosts: &[String], away: &[String]) -> String {
    let mut advice = Vec::new();
    if !hosts.is_empty() {
        let hosts = hosts.join(", ");
        advice.push(format!(
            "its data is on agent {hosts}, which has to take it again"
        ));
    }
    if !away.is_empty() {
        let away = away.join(", ");
        advice.push(format!(
            "its data is there: start agent {away} again, or give the data up with \
             DELETE /v2/apps{app_id}/tasks?wipe=true&host=HOST"
        ));
    }
    if advice.is_empty() {
        return "it goes on when a task that has one of the app's volumes has ended".to_owned();
    }
    advice.join("; ")
}

/// What a task last said of its readiness, where that is kept.
fn last_answer(state: &State, task_id: &TaskId) -> Option<String> {
    let results = state
        .deployments
        .values()
        .flat_map(|deployment| deployment.actions.iter())
        .flat_map(|action| &action.readiness);
    let result = results
        .into_iter()
        .find(|result| result.task_id == *task_id)?;
    let response = result.last_response.as_ref()?;
    Some(format!(
        "it last answered {}: {}",
        response.status, response.body
    ))
}

fn instances(n: u32) -> String {
    if n == 1 {
        "1 instance".to_owned()
    } else {
        format!("{n} instances")
    }
}

/// A length of time for people, at most two units.
fn length(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

//! Why a deployment stands still, with what is missing named.

use std::collections::BTreeMap;
use std::sync::Arc;

use zddcluster_model::app::{HealthCheck, HealthProtocol};
use zddcluster_model::{App, AppId, DeploymentId, TaskState};

use super::record::standing;
use super::timeline::{Hindrance, Reason, Standing};
use super::world::{Fate, World};
use crate::blocker::blockers_of_action;
use crate::reason::{AGENTS_KEPT, Reason as Cause};
use crate::state::{RunningAction, State, Task};

/// Host names told one by one; the rest are counted.
const HOSTS_TOLD: usize = 5;

/// Everything that keeps this deployment from its end now. Never empty.
pub(super) fn reasons(world: &World<'_>, id: &DeploymentId) -> Vec<Reason> {
    let state = world.state();
    let mut reasons = Vec::new();
    let Some(deployment) = state.deployments.get(id) else {
        return reasons;
    };
    for running in deployment.actions.iter().filter(|running| !running.is_done) {
        let app_id = &running.action.app;
        let n_before = reasons.len();
        waiting(state, app_id, &mut reasons);
        if let Some(app) = deployment.plan.target.app(app_id) {
            unfit(world, app, running, &mut reasons);
        }
        undead(state, app_id, &mut reasons);
        if reasons.len() == n_before {
            let blockers = blockers_of_action(state, deployment, running);
            reasons.extend(blockers.iter().map(|blocker| {
                let what = blocker.lines(state, world.now).swap_remove(0);
                let text = format!("it waits for {what}");
                reason(app_id, Hindrance::Other, text)
            }));
        }
    }
    reasons
}

const fn singular(n: usize, one: &'static str, more: &'static str) -> &'static str {
    if n == 1 { one } else { more }
}

fn reason(app_id: &AppId, kind: Hindrance, text: String) -> Reason {
    Reason {
        app: app_id.clone(),
        kind,
        text,
    }
}

/// Instances that no agent takes: what each agent lacks, agents that lack the same together.
fn waiting(state: &State, app_id: &AppId, reasons: &mut Vec<Reason>) {
    let Some(entry) = state.queue.get(app_id) else {
        return;
    };
    let n = entry.count;
    let instances = format!(
        "{n} {} to be placed",
        singular(n as usize, "instance waits", "instances wait")
    );
    if state.agents.is_empty() {
        let text = format!("{instances}, and there is no agent");
        reasons.push(reason(app_id, Hindrance::Agent, text));
        return;
    }
    let mut by_cause: BTreeMap<String, (Hindrance, Vec<&str>)> = BTreeMap::new();
    for refused in entry.refusals.iter() {
        let causes: Vec<String> = refused.reasons.iter().map(Cause::to_string).collect();
        let kind = refused.reasons.first().map_or(Hindrance::Other, kind_of);
        let agent = state.agents.get(&refused.agent_id);
        let host = agent.map_or(refused.agent_id.as_str(), |agent| &agent.hostname);
        let known = by_cause.entry(causes.join(" and "));
        known.or_insert_with(|| (kind, Vec::new())).1.push(host);
    }
    for (cause, (kind, hosts)) in by_cause {
        let each = singular(hosts.len(), "", "each of ");
        let text = format!("{instances}: {each}{} {cause}", told(&hosts));
        reasons.push(reason(app_id, kind, text));
    }
    let n_more = state.agents.size().saturating_sub(AGENTS_KEPT);
    if entry.refusals.len() == AGENTS_KEPT && n_more > 0 {
        let take = singular(
            n_more,
            "agent does not take them",
            "agents do not take them",
        );
        let text = format!("{instances}: {n_more} more {take} either");
        reasons.push(reason(app_id, Hindrance::Agent, text));
    }
}

/// Host names in a row, of many only the first.
fn told(hosts: &[&str]) -> String {
    match hosts.split_at_checked(HOSTS_TOLD) {
        Some((first, rest)) if rest.len() > 1 => {
            format!("{} and {} more agents", first.join(", "), rest.len())
        }
        Some(_) | None => hosts.join(", "),
    }
}

const fn kind_of(cause: &Cause) -> Hindrance {
    match cause {
        Cause::Away => Hindrance::Agent,
        Cause::Volume { .. } | Cause::ExternalVolume { .. } => Hindrance::Volume,
        Cause::Role { .. } => Hindrance::Role,
        Cause::Constraint { .. } => Hindrance::Constraint,
        Cause::Resource { .. } | Cause::Tasks { .. } => Hindrance::Resources,
        Cause::PortNotOffered { .. } | Cause::PortTaken { .. } | Cause::Ports { .. } => {
            Hindrance::Ports
        }
    }
}

/// New tasks that run and never come to count, or never stay.
fn unfit(world: &World<'_>, app: &App, running: &RunningAction, reasons: &mut Vec<Reason>) {
    let state = world.state();
    let new: Vec<&Arc<Task>> = state
        .launched_of(&app.id)
        .filter(|task| task.version == app.version)
        .collect();
    let wanted = wanted(app, running);
    let n_crashing = crashes(world, app, &new);
    if n_crashing > 0 {
        let text = format!(
            "{n_crashing} of {wanted} new {} by {} as soon as they run, and are started again after longer and longer delays",
            singular(wanted, "task ends", "tasks end"),
            singular(n_crashing, "itself", "themselves"),
        );
        reasons.push(reason(&app.id, Hindrance::Crash, text));
    }
    let unhealthy: Vec<&&Arc<Task>> = new
        .iter()
        .filter(|task| !task.has_been_healthy() && world.fate(&task.id) != Fate::Crashes)
        .collect();
    if !app.health_checks.is_empty() && !unhealthy.is_empty() {
        let checks: Vec<String> = app
            .health_checks
            .iter()
            .enumerate()
            .filter(|(idx, _)| unhealthy.iter().all(|task| !has_passed(task, *idx)))
            .map(|(_, check)| described(check))
            .collect();
        let killed = app
            .health_checks
            .iter()
            .any(|check| check.max_consecutive_failures > 0);
        let fate = if killed {
            "; after their grace period such tasks are killed and replaced, again and again"
        } else {
            ""
        };
        let text = format!(
            "{} of {wanted} new tasks never {} {}{fate}",
            unhealthy.len(),
            singular(unhealthy.len(), "passes", "pass"),
            checks.join(", "),
        );
        reasons.push(reason(&app.id, Hindrance::Health, text));
    }
    let n_unready = new
        .iter()
        .filter(|task| {
            task.has_been_healthy() && standing(task, Some(running)) == Standing::Running
        })
        .filter(|task| {
            running.progress.asked.contains(&task.id) && !running.progress.ready.contains(&task.id)
        })
        .count();
    if let Some(check) = app.readiness_checks.first().filter(|_| n_unready > 0) {
        let codes: Vec<String> = check
            .http_status_codes_for_ready
            .iter()
            .map(u16::to_string)
            .collect();
        let text = format!(
            "{n_unready} of {wanted} new tasks never {} the readiness check {} ({}) with {}; it is asked for ever",
            singular(n_unready, "answers", "answer"),
            check.name,
            check.path,
            codes.join(" or "),
        );
        reasons.push(reason(&app.id, Hindrance::Readiness, text));
    }
}

/// How many new tasks there are to be; scaling brings only what is missing.
fn wanted(app: &App, running: &RunningAction) -> usize {
    let of_scaling = running.progress.scaling.as_ref();
    let wanted = of_scaling.and_then(|scaling| scaling.wanted);
    let wanted = wanted.unwrap_or_else(|| i64::from(app.instances));
    usize::try_from(wanted).unwrap_or(0)
}

/// New tasks that end by themselves: those that run, and those whose successors wait for their delay.
fn crashes(world: &World<'_>, app: &App, new: &[&Arc<Task>]) -> usize {
    let running = new
        .iter()
        .filter(|task| world.fate(&task.id) == Fate::Crashes)
        .count();
    let state = world.state();
    let is_delayed = state
        .queue
        .get(&app.id)
        .is_some_and(|entry| entry.delayed_until.is_some());
    let delayed = if is_delayed {
        state.queued_of(&app.id)
    } else {
        0
    };
    running + delayed as usize
}

fn has_passed(task: &Task, check_idx: usize) -> bool {
    let standing = task.health.get(check_idx).and_then(Option::as_ref);
    standing.is_some_and(|result| result.first_success.is_some())
}

/// `the health check HTTP /health`.
fn described(check: &HealthCheck) -> String {
    let what = match check.protocol {
        HealthProtocol::Http | HealthProtocol::MesosHttp => "HTTP",
        HealthProtocol::Https | HealthProtocol::MesosHttps => "HTTPS",
        HealthProtocol::Tcp | HealthProtocol::MesosTcp => "TCP",
        HealthProtocol::Command => "COMMAND",
    };
    let detail = match (&check.command, &check.path) {
        (Some(command), _) => format!(" {}", command.value),
        (None, Some(path)) => format!(" {path}"),
        (None, None) => String::new(),
    };
    format!("the health check {what}{detail}")
}

/// Tasks that were told to end and cannot be, since their agent is away.
fn undead(state: &State, app_id: &AppId, reasons: &mut Vec<Reason>) {
    let killing = state
        .launched_of(app_id)
        .filter(|task| task.state == TaskState::Killing);
    let mut hosts: Vec<&str> = killing
        .filter(|task| {
            let agent = state.agents.get(&task.agent_id);
            agent.is_none_or(|agent| !agent.is_connected)
        })
        .map(|task| task.host.as_str())
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    if !hosts.is_empty() {
        let text = format!(
            "tasks on {} cannot be ended: the agent is away",
            hosts.join(", ")
        );
        reasons.push(reason(app_id, Hindrance::Agent, text));
    }
}

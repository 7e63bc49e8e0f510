//! `GET /zdd/v1/explain`, `GET /zdd/v1/explain/{appId}`: what is waited for, in words and in parts.
//!
//! ```text
//!   {"text", "isWaiting", "deployments": [{"id", "step", "steps", "actions": [{"action", "app"}], "waitsFor": [..], "more"}],
//!    "apps": [{"appId", "waitsFor": [..], "more"}]}                    apps no deployment acts on
//!   {"appId", "text", "isWaiting", "instances", "tasksRunning", "tasksStaged", "deployments": [as above],
//!    "waitsFor": [..], "more", "queue": as in /zdd/v1/queue or null}   one app; 404 if there is none
//!
//!   waitsFor: {"kind": download | backOff | agent | start | health | readiness | end | sweep, "text", "details": [..], "hint"}
//! ```
//!
//! `more` counts what is left out of a long list. Pure reads of a snapshot: the engine knows the reasons and the words.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use zddcluster_engine::state::Deployment;
use zddcluster_engine::{Blocker, State, blockers, blockers_of_app};
use zddcluster_model::deployment::ActionKind;
use zddcluster_model::{AppId, TaskState, Timestamp};

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::render::waiting_json;
use crate::shared::Shared;

/// Things waited for that are listed of one deployment or app; a rolling restart of hundreds is not read task by task.
const MOST_LISTED: usize = 100;
/// The same in the text.
const MOST_TOLD: usize = 10;

/// What one deployment or app waits for, with the words made.
struct Waits {
    told: Vec<Wait>,
    /// Those not among them.
    more: usize,
}

struct Wait {
    kind: &'static str,
    text: String,
    details: Vec<String>,
    hint: String,
}

pub(crate) fn route(shared: &Shared, call: &Call, app: &[&str]) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let state = shared.state();
    let now = shared.clock.now();
    if app.is_empty() {
        return Ok(ok(&everything(&state, now)));
    }
    let app_id = AppId::absolute(&app.join("/"));
    match of_app(&state, &app_id, now) {
        Some(explanation) => Ok(ok(&explanation)),
        None => Err(ApiError::unknown_app(&app_id)),
    }
}

/// Everything that waits.
fn everything(state: &State, now: Timestamp) -> Value {
    let mut text = String::new();
    let deployments: Vec<Value> = state
        .deployments
        .values()
        .map(|deployment| {
            let waits = Waits::of(state, now, blockers(state, &deployment.plan.id));
            tell_deployment(&mut text, deployment, &waits);
            deployment_json(deployment, &waits)
        })
        .collect();
    let mut apps = Vec::new();
    let queued = state.queue.keys();
    let ending = state
        .tasks
        .values()
        .filter(|task| task.killing.is_some())
        .map(|task| &task.app_id);
    let ids: BTreeSet<&AppId> = queued.chain(ending).collect();
    for app_id in ids {
        if state.deployments_of(app_id).next().is_some() {
            continue;
        }
        let waits = Waits::of(state, now, blockers_of_app(state, app_id));
        if !waits.told.is_empty() {
            tell(&mut text, &format!("{app_id} waits for"), &waits);
            apps.push(json!({ "appId": app_id, "waitsFor": waits.json(), "more": waits.more }));
        }
    }
    let is_waiting = !text.is_empty();
    if !is_waiting {
        text.push_str("nothing is waited for\n");
    }
    json!({
        "text": text.trim_end(),
        "isWaiting": is_waiting,
        "deployments": deployments,
        "apps": apps,
    })
}

/// What one app waits for; `None` if there is no such app, and none that still ends.
fn of_app(state: &State, app_id: &AppId, now: Timestamp) -> Option<Value> {
    let app = state.root.app(app_id);
    let deployments: Vec<_> = state.deployments_of(app_id).collect();
    if app.is_none() && deployments.is_empty() && state.tasks_of(app_id).next().is_none() {
        return None;
    }
    let count = |wanted: TaskState| {
        let tasks = state.launched_of(app_id);
        tasks.filter(|task| task.state == wanted).count()
    };
    let instances = app.map_or(0, |app| app.instances);
    let n_running = count(TaskState::Running);
    let mut text = match app {
        Some(_) => format!("{app_id}: {n_running} of {instances} instances run\n"),
        None => format!("{app_id} has been deleted\n"),
    };
    let mut shown = Vec::new();
    let mut is_waiting = !deployments.is_empty();
    for deployment in &deployments {
        let mut all = blockers(state, &deployment.plan.id);
        // Of a plan over many apps the one that was asked about comes first.
        all.sort_by_key(|blocker| !blocker.is_of(app_id));
        let waits = Waits::of(state, now, all);
        tell_deployment(&mut text, deployment, &waits);
        shown.push(deployment_json(deployment, &waits));
    }
    let waits = if is_waiting {
        // Whatever the app waits for, its deployment does.
        Waits::of(state, now, Vec::new())
    } else {
        Waits::of(state, now, blockers_of_app(state, app_id))
    };
    if !waits.told.is_empty() {
        is_waiting = true;
        tell(&mut text, "waits for", &waits);
    }
    if !is_waiting {
        text.push_str("nothing is waited for\n");
    }
    let queue = state.queue.get(app_id);
    Some(json!({
        "appId": app_id,
        "text": text.trim_end(),
        "isWaiting": is_waiting,
        "instances": instances,
        "tasksRunning": n_running,
        "tasksStaged": count(TaskState::Staging),
        "deployments": shown,
        "waitsFor": waits.json(),
        "more": waits.more,
        "queue": queue.map(|entry| waiting_json(state, entry, now)),
    }))
}

fn deployment_json(deployment: &Deployment, waits: &Waits) -> Value {
    let step = deployment.plan.steps.get(deployment.step_idx);
    json!({
        "id": deployment.plan.id,
        "step": deployment.step_idx + 1,
        "steps": deployment.plan.steps.len(),
        "actions": step.map(|step| &step.actions),
        "waitsFor": waits.json(),
        "more": waits.more,
    })
}

fn tell_deployment(text: &mut String, deployment: &Deployment, waits: &Waits) {
    let plan = &deployment.plan;
    let actions = plan
        .steps
        .get(deployment.step_idx)
        .map(|step| &step.actions);
    let n_actions = actions.map_or(0, Vec::len);
    let told = actions.into_iter().flatten().take(MOST_TOLD);
    let mut actions: Vec<String> = told
        .map(|action| format!("{} {}", verb(action.action), action.app))
        .collect();
    if n_actions > MOST_TOLD {
        actions.push(format!("and {} more", n_actions - MOST_TOLD));
    }
    let head = format!(
        "deployment {}, step {} of {} ({}), waits for",
        plan.id,
        deployment.step_idx + 1,
        plan.steps.len(),
        actions.join(", "),
    );
    tell(text, &head, waits);
}

const fn verb(action: ActionKind) -> &'static str {
    match action {
        ActionKind::ResolveArtifacts => "fetches for",
        ActionKind::StartApplication => "sets up",
        ActionKind::ScaleApplication => "scales",
        ActionKind::RestartApplication => "restarts",
        ActionKind::StopApplication => "stops",
    }
}

fn tell(text: &mut String, head: &str, waits: &Waits) {
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes everything");
    line(format!("{head}:"));
    let mut hints: Vec<&str> = Vec::new();
    for wait in waits.told.iter().take(MOST_TOLD) {
        line(format!("  {}", wait.text));
        for detail in &wait.details {
            line(format!("    {detail}"));
        }
        // What holds for many is said once.
        if !hints.contains(&wait.hint.as_str()) {
            hints.push(&wait.hint);
            line(format!("    hint: {}", wait.hint));
        }
    }
    let more = waits.told.len().saturating_sub(MOST_TOLD) + waits.more;
    if more > 0 {
        line(format!("  and {more} more"));
    }
}

impl Waits {
    fn of(state: &State, now: Timestamp, blockers: Vec<Blocker>) -> Self {
        let more = blockers.len().saturating_sub(MOST_LISTED);
        let told = blockers.iter().take(MOST_LISTED).map(|blocker| {
            let mut lines = blocker.lines(state, now).into_iter();
            Wait {
                kind: blocker.kind(),
                text: lines.next().unwrap_or_default(),
                details: lines.collect(),
                hint: blocker.hint(state),
            }
        });
        Self {
            told: told.collect(),
            more,
        }
    }

    fn json(&self) -> Value {
        let told = self.told.iter().map(|wait| {
            let Wait {
                kind,
                text,
                details,
                hint,
            } = wait;
            json!({ "kind": kind, "text": text, "details": details, "hint": hint })
        });
        told.collect()
    }
}

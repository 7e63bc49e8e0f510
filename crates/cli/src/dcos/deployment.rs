//! `dcos marathon deployment …`.
//!
//! `watch` prints what the original prints; on a terminal it keeps one line up to date instead of clearing the screen.

use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::Value;
use zddcluster_model::{AppId, Timestamp};

use super::Context;
use crate::args::DeploymentVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{app_path, path_segment};
use crate::table::{Align, Table};
use crate::text::printable;

pub(super) async fn run(
    verb: DeploymentVerb,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    match verb {
        DeploymentVerb::List { json, ids, app_id } => {
            list(json, ids, app_id.as_deref(), context).await
        }
        DeploymentVerb::Rollback { deployment_id } => rollback(&deployment_id, context).await,
        DeploymentVerb::Stop { deployment_id } => stop(&deployment_id, context).await,
        DeploymentVerb::Watch {
            max_count,
            interval,
            deployment_id,
        } => {
            watch(
                &deployment_id,
                max_count,
                Duration::from_secs(interval),
                context,
            )
            .await
        }
    }
}

/// A deployment as the tables read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deployment {
    pub(super) id: String,
    #[serde(default)]
    affected_apps: Vec<String>,
    #[serde(default)]
    affected_pods: Vec<String>,
    #[serde(default)]
    pub(super) current_actions: Vec<Action>,
    current_step: i64,
    total_steps: i64,
}

/// One thing a deployment does now.
#[derive(Debug, Deserialize)]
pub(super) struct Action {
    pub(super) action: String,
    pub(super) app: Option<String>,
}

/// What the original calls an action; one it does not know is shown as it is.
pub(super) fn action_word(action: &str) -> &str {
    match action {
        "ResolveArtifacts" => "artifacts",
        "ScaleApplication" => "scale",
        "StartApplication" => "start",
        "StopApplication" => "stop",
        "RestartApplication" => "restart",
        "KillAllOldTasksOf" => "kill-tasks",
        other => other,
    }
}

async fn list(
    json: bool,
    ids: bool,
    app_id: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let mut deployments: Vec<Value> = context.front.read("v2/deployments").await?;
    if let Some(app_id) = app_id {
        let app_id = AppId::absolute(app_id);
        deployments.retain(|deployment| {
            let affected = deployment["affectedApps"].as_array();
            affected.is_some_and(|apps| apps.iter().any(|id| *id == app_id.as_str()))
        });
    }
    if context.wants_json(json) {
        context.printer.json(&deployments)?;
        return Ok(ExitStatus::Success);
    }
    if deployments.is_empty() {
        let of_app = app_id
            .map(|app_id| format!(" for '{app_id}'"))
            .unwrap_or_default();
        return Err(Failure::stated(format!("There are no deployments{of_app}")));
    }
    if context.wants_ids(ids) {
        return context.ids(deployments.iter().filter_map(|one| one["id"].as_str()));
    }
    let mut table = Table::new([
        ("APP", Align::Left),
        ("POD", Align::Left),
        ("ACTION", Align::Left),
        ("PROGRESS", Align::Center),
        ("ID", Align::Left),
    ]);
    for deployment in deployments {
        table.row(row(&read(deployment)?));
    }
    context.table(table.sorted())
}

fn read(deployment: Value) -> Result<Deployment, Failure> {
    serde_json::from_value(deployment)
        .map_err(|error| Failure::stated(format!("A deployment cannot be read: {error}")))
}

fn row(deployment: &Deployment) -> [String; 5] {
    let joined = |ids: &[String]| match ids {
        [] => "-".to_owned(),
        ids => ids.join("\n"),
    };
    [
        joined(&deployment.affected_apps),
        joined(&deployment.affected_pods),
        actions(deployment, "\n"),
        format!("{}/{}", deployment.current_step - 1, deployment.total_steps),
        deployment.id.clone(),
    ]
}

/// The current actions; with their apps if there are several of these.
fn actions(deployment: &Deployment, between: &str) -> String {
    let actions = &deployment.current_actions;
    let has_several_apps = actions.windows(2).any(|pair| pair[0].app != pair[1].app);
    let shown = actions.iter().map(|action| match &action.app {
        None => "N/A".to_owned(),
        Some(app) if has_several_apps => format!("{} {app}", action_word(&action.action)),
        Some(_) => action_word(&action.action).to_owned(),
    });
    shown.collect::<Vec<_>>().join(between)
}

/// Goes back from a deployment; prints the answer, as the original does.
async fn rollback(deployment_id: &str, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let path = format!("v2/deployments/{}", path_segment(deployment_id));
    let answer = context.front.marathon(Method::DELETE, &path, None).await?;
    context.printer.json(&answer)?;
    Ok(ExitStatus::Success)
}

/// Stops a deployment; prints nothing, as the original does.
async fn stop(deployment_id: &str, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let id = path_segment(deployment_id);
    let path = format!("v2/deployments/{id}?force=true");
    context.front.marathon(Method::DELETE, &path, None).await?;
    Ok(ExitStatus::Success)
}

async fn watch(
    deployment_id: &str,
    max_count: Option<u64>,
    interval: Duration,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let is_watched = context.printer.is_terminal() && !context.printer.is_json();
    let live = is_watched.then(|| context.printer.live_line()).flatten();
    let mut n_seen: u64 = 0;
    while max_count.is_none_or(|max_count| n_seen < max_count) {
        let deployments: Vec<Value> = context.front.read("v2/deployments").await?;
        let found = deployments
            .into_iter()
            .find(|deployment| deployment["id"] == deployment_id);
        let Some(found) = found else {
            if let Some(live) = live {
                live.finish_and_clear();
            }
            if n_seen == 0 {
                let talk = "No such deployment runs: it is done, or never was.";
                context.printer.talk(talk);
            } else if context.printer.is_terminal() {
                context
                    .printer
                    .talk(&format!("Deployment {deployment_id} is done."));
            }
            return Ok(ExitStatus::Success);
        };
        match &live {
            Some(live) => {
                live.set_message(printable(&progress(read(found)?, context).await));
                live.tick();
            }
            None if context.printer.is_json() => context.printer.json(&found)?,
            None => {
                let now = now().to_string();
                let now = now.get(..19).unwrap_or(&now).replace('T', " ");
                context
                    .printer
                    .data(&format!("Deployment update time: {now} \n"))?;
                context.printer.json(&found)?;
            }
        }
        n_seen += 1;
        tokio::time::sleep(interval).await;
    }
    if let Some(live) = live {
        live.finish_and_clear();
    }
    Ok(ExitStatus::Success)
}

/// One line: the step, what it does, and how many tasks of its apps run and are healthy.
async fn progress(deployment: Deployment, context: &Context<'_>) -> String {
    let (step, steps) = (deployment.current_step, deployment.total_steps);
    let mut line = format!("step {step}/{steps}");
    for action in &deployment.current_actions {
        let Some(app_id) = &action.app else { continue };
        line.push_str(&format!(" · {} {app_id}", action_word(&action.action)));
        // An app that is being removed is no longer there; the line does without.
        let Ok(answer) = context.front.read::<Value>(&app_path(app_id)).await else {
            continue;
        };
        let app = &answer["app"];
        let count = |key: &str| app[key].as_u64().unwrap_or(0);
        let (running, wanted) = (count("tasksRunning"), count("instances"));
        line.push_str(&format!(": {running} running for {wanted}"));
        if app["healthChecks"]
            .as_array()
            .is_some_and(|checks| !checks.is_empty())
        {
            line.push_str(&format!(", {} healthy", count("tasksHealthy")));
        }
        if count("tasksStaged") > 0 {
            line.push_str(&format!(", {} starting", count("tasksStaged")));
        }
    }
    line
}

/// The time on this machine.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    });
    Timestamp::from_millis(millis)
}

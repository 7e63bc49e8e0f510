//! `dcos marathon task …`: tasks as Marathon knows them.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use zddcluster_model::AppId;

use super::Context;
use crate::args::MarathonTaskVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::text::{python, python_repr};

pub(super) async fn run(
    verb: MarathonTaskVerb,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    match verb {
        MarathonTaskVerb::List { json, ids, app_id } => {
            list(json, ids, app_id.as_deref(), context).await
        }
        MarathonTaskVerb::Show { task_id } => {
            let tasks = tasks(context).await?;
            print_one(tasks, &task_id, context)
        }
        MarathonTaskVerb::Stop { wipe, task_id } => {
            let path = if wipe {
                "v2/tasks/delete?wipe=true"
            } else {
                "v2/tasks/delete"
            };
            let ids = json!({ "ids": [task_id] });
            let mut answer = context
                .front
                .marathon(Method::POST, path, Some(&ids))
                .await?;
            print_one(take_tasks(&mut answer), &task_id, context)
        }
        MarathonTaskVerb::Kill {
            scale,
            wipe,
            json,
            task_ids,
        } => kill(&task_ids, scale, wipe, json, context).await,
    }
}

async fn kill(
    task_ids: &[String],
    scale: bool,
    wipe: bool,
    json: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let mut query = Vec::new();
    query.extend(scale.then_some("scale=true"));
    query.extend(wipe.then_some("wipe=true"));
    let separator = if query.is_empty() { "" } else { "?" };
    let path = format!("v2/tasks/delete{separator}{}", query.join("&"));
    let ids = json!({ "ids": task_ids });
    let mut answer = context
        .front
        .marathon(Method::POST, &path, Some(&ids))
        .await?;
    let wants_json = context.wants_json(json);
    if wants_json {
        context.printer.json(&answer)?;
    }
    if scale {
        if !wants_json {
            let id = Context::deployment_of(&answer)?;
            context.printer.data(&format!("Created deployment: {id}"))?;
        }
        return Ok(ExitStatus::Success);
    }
    let tasks = take_tasks(&mut answer);
    if !wants_json {
        let ids: Value = tasks.iter().map(|task| task["id"].clone()).collect();
        let ids = python_repr(&ids);
        context.printer.data(&format!("Killed tasks: {ids}"))?;
    }
    if tasks.is_empty() {
        return Err(Failure::stated(
            "Failed to kill tasks. task-ids seems to be unknown",
        ));
    }
    Ok(ExitStatus::Success)
}

async fn tasks(context: &Context<'_>) -> Result<Vec<Value>, Failure> {
    let mut answer = context
        .front
        .marathon(Method::GET, "v2/tasks", None)
        .await?;
    Ok(take_tasks(&mut answer))
}

fn take_tasks(answer: &mut Value) -> Vec<Value> {
    match answer.get_mut("tasks").map(Value::take) {
        Some(Value::Array(tasks)) => tasks,
        _ => Vec::new(),
    }
}

fn print_one(
    tasks: Vec<Value>,
    task_id: &str,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let Some(task) = tasks.into_iter().find(|task| task["id"] == task_id) else {
        return Err(Failure::stated(format!("Task '{task_id}' does not exist")));
    };
    context.printer.json(&task)?;
    Ok(ExitStatus::Success)
}

async fn list(
    json: bool,
    ids: bool,
    app_id: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let mut tasks = tasks(context).await?;
    if let Some(app_id) = app_id {
        let app_id = AppId::absolute(app_id);
        tasks.retain(|task| task["appId"] == app_id.as_str());
    }
    if context.wants_json(json) {
        context.printer.json(&tasks)?;
        return Ok(ExitStatus::Success);
    }
    if context.wants_ids(ids) {
        return context.ids(tasks.iter().filter_map(|task| task["id"].as_str()));
    }
    let mut table = Table::new([
        ("APP", Align::Left),
        ("HEALTHY", Align::Center),
        ("STARTED", Align::Center),
        ("HOST", Align::Center),
        ("ID", Align::Left),
    ]);
    for task in tasks {
        table.row(row(task)?);
    }
    context.table(table.sorted())
}

fn row(task: Value) -> Result<[String; 5], Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Task {
        id: String,
        app_id: String,
        host: String,
        started_at: Option<String>,
        #[serde(default)]
        health_check_results: Vec<HealthCheckResult>,
    }
    #[derive(Deserialize)]
    struct HealthCheckResult {
        alive: bool,
    }
    let task: Task = serde_json::from_value(task)
        .map_err(|error| Failure::stated(format!("A task cannot be read: {error}")))?;
    // Without checks, and before the first result, a task counts as healthy: the lab shows exactly that.
    let is_healthy = task.health_check_results.iter().all(|result| result.alive);
    Ok([
        task.app_id,
        python(&is_healthy.into()),
        task.started_at.unwrap_or_else(|| "N/A".to_owned()),
        task.host,
        task.id,
    ])
}

//! `dcos marathon app …`.

use std::collections::BTreeMap;

use http::Method;
use serde::Deserialize;
use serde_json::{Number, Value, json};
use zddcluster_model::AppId;

use super::deployment::{Deployment, action_word};
use super::{Context, forced, package, property};
use crate::args::{AppVerb, VersionVerb};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{app_path, path_segment, query_value};
use crate::table::{Align, Table};
use crate::text::{python, python_repr, quoted, shortened};

/// Stands for nothing.
const NONE: &str = "---";
/// The widest CMD.
const CMD_WIDTH: usize = 35;

pub(super) async fn run(verb: AppVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        AppVerb::Add { app_resource } => add(app_resource.as_deref(), context).await,
        AppVerb::List { json, ids } => list(json, ids, context).await,
        AppVerb::Show {
            app_id,
            app_version,
        } => show(&app_id, app_version.as_deref(), context).await,
        AppVerb::Update {
            force,
            app_id,
            properties,
        } => update(&app_id, &properties, force, context).await,
        AppVerb::Remove { force, app_id } => {
            let path = forced(app_path(&app_id), force);
            context.front.marathon(Method::DELETE, &path, None).await?;
            Ok(ExitStatus::Success)
        }
        AppVerb::Start {
            force,
            app_id,
            instances,
        } => start(&app_id, instances.unwrap_or(1), force, context).await,
        AppVerb::Stop { force, app_id } => stop(&app_id, force, context).await,
        AppVerb::Restart { force, app_id } => restart(&app_id, force, context).await,
        AppVerb::Kill {
            scale,
            host,
            app_id,
        } => kill(&app_id, scale, host.as_deref(), context).await,
        AppVerb::Version(VersionVerb::List { max_count, app_id }) => {
            let mut versions = versions(&app_id, context).await?;
            versions.truncate(max_count.unwrap_or(usize::MAX));
            context.printer.json(&versions)?;
            Ok(ExitStatus::Success)
        }
    }
}

/// An app as `app list` reads it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct App {
    id: String,
    mem: Number,
    cpus: Number,
    instances: u64,
    #[serde(default)]
    tasks_running: u64,
    #[serde(default)]
    tasks_healthy: u64,
    #[serde(default)]
    health_checks: Vec<Value>,
    #[serde(default)]
    deployments: Vec<DeploymentRef>,
    container: Option<Container>,
    cmd: Option<String>,
    args: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct DeploymentRef {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Container {
    #[serde(rename = "type")]
    kind: String,
}

async fn add(resource: Option<&str>, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let example = "E.g.: dcos marathon app add < app_resource.json";
    let definition = context.resource(resource, example).await?;
    let Some(id) = definition["id"].as_str() else {
        return Err(Failure::with_hint(
            "The definition has no \"id\".",
            "an app needs one, for instance \"id\": \"/zdd/base\"",
        ));
    };
    // Whatever is wrong here, the POST will say it better.
    if context
        .front
        .marathon(Method::GET, &app_path(id), None)
        .await
        .is_ok()
    {
        let id = AppId::absolute(id);
        return Err(Failure::with_hint(
            format!("Application '{id}' already exists"),
            format!("to change it: dcos marathon app update {id} < FILE"),
        ));
    }
    let answer = context
        .front
        .marathon(Method::POST, "v2/apps", Some(&definition))
        .await?;
    let status = context.created(&Context::deployment_of(&answer)?)?;
    package::hint_at_edge(&definition, context).await;
    Ok(status)
}

async fn list(json: bool, ids: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let apps = context.front.marathon(Method::GET, "v2/apps", None).await?;
    if context.wants_json(json) {
        context.printer.json(&apps["apps"])?;
        return Ok(ExitStatus::Success);
    }
    if context.wants_ids(ids) {
        let apps = apps["apps"].as_array().into_iter().flatten();
        return context.ids(apps.filter_map(|app| app["id"].as_str()));
    }
    let apps: Vec<App> = serde_json::from_value(apps["apps"].clone())
        .map_err(|error| Failure::stated(format!("The list of apps cannot be read: {error}")))?;
    let deployments: Vec<Deployment> = context.front.read("v2/deployments").await?;
    let deployments = deployments.into_iter().map(|d| (d.id.clone(), d)).collect();
    let queue = context
        .front
        .marathon(Method::GET, "v2/queue", None)
        .await?;
    let mut table = Table::new([
        ("ID", Align::Left),
        ("MEM", Align::Center),
        ("CPUS", Align::Center),
        ("TASKS", Align::Center),
        ("HEALTH", Align::Center),
        ("DEPLOYMENT", Align::Center),
        ("WAITING", Align::Left),
        ("CONTAINER", Align::Center),
        ("CMD", Align::Left),
    ]);
    for app in apps {
        table.row(row(&app, &deployments, &queue));
    }
    context.table(table.sorted())
}

fn row(app: &App, deployments: &BTreeMap<String, Deployment>, queue: &Value) -> [String; 9] {
    let health = match app.health_checks.is_empty() {
        true => NONE.to_owned(),
        false => format!("{}/{}", app.tasks_healthy, app.tasks_running),
    };
    let deployments = app
        .deployments
        .iter()
        .filter_map(|d| deployments.get(&d.id));
    let actions = deployments.flat_map(|deployment| &deployment.current_actions);
    let actions: Vec<&str> = actions
        .filter(|action| action.app.as_deref() == Some(&app.id))
        .map(|action| action_word(&action.action))
        .collect();
    let deployment = match actions.as_slice() {
        [] => NONE.to_owned(),
        [one] => (*one).to_owned(),
        many => format!("({})", many.join(", ")),
    };
    let queued = queue["queue"].as_array().into_iter().flatten();
    let mut queued = queued.filter(|item| item["app"]["id"].as_str() == Some(&app.id));
    let is_waiting = queued.any(|item| item["delay"]["overdue"].as_bool() == Some(true));
    let command = match (&app.cmd, &app.args) {
        (Some(cmd), _) => cmd.clone(),
        (None, args) => python(args.as_ref().unwrap_or(&Value::Null)),
    };
    [
        app.id.clone(),
        app.mem.to_string(),
        app.cpus.to_string(),
        format!("{}/{}", app.tasks_running, app.instances),
        health,
        deployment,
        python(&is_waiting.into()),
        app.container
            .as_ref()
            .map_or_else(|| "mesos".to_owned(), |c| c.kind.clone()),
        shortened(&command, CMD_WIDTH),
    ]
}

async fn show(
    app_id: &str,
    version: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let app = match version {
        None => app(app_id, context).await?,
        Some(version) => {
            let version = absolute_version(app_id, version, context).await?;
            let path = format!("{}/versions/{}", app_path(app_id), path_segment(&version));
            context.front.marathon(Method::GET, &path, None).await?
        }
    };
    context.printer.json(&app)?;
    Ok(ExitStatus::Success)
}

async fn app(app_id: &str, context: &Context<'_>) -> Result<Value, Failure> {
    let mut answer = context
        .front
        .marathon(Method::GET, &app_path(app_id), None)
        .await?;
    Ok(answer["app"].take())
}

async fn versions(app_id: &str, context: &Context<'_>) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Versions {
        versions: Vec<String>,
    }
    let versions: Versions = context
        .front
        .read(&format!("{}/versions", app_path(app_id)))
        .await?;
    Ok(versions.versions)
}

/// `-N` is the Nth version before the current one; anything else that is no number is a version itself.
async fn absolute_version(
    app_id: &str,
    version: &str,
    context: &Context<'_>,
) -> Result<String, Failure> {
    let Ok(number) = version.parse::<i64>() else {
        return Ok(version.to_owned());
    };
    let steps = match usize::try_from(number.unsigned_abs()) {
        Ok(steps) if number < 0 => steps,
        _ => {
            let message = format!("Relative versions must be negative: {version}");
            return Err(Failure::stated(message));
        }
    };
    let versions = versions(app_id, context).await?;
    versions.get(steps).cloned().ok_or_else(|| {
        let app_id = quoted(app_id);
        Failure::stated(format!(
            "Application {app_id} only has {} version(s).",
            versions.len()
        ))
    })
}

async fn update(
    app_id: &str,
    properties: &[String],
    force: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    // An app that is not there is not created, although Marathon would.
    app(app_id, context).await?;
    let changes = match properties {
        [] => {
            let example = "E.g. dcos marathon app update your-app-id < app_update.json";
            context.definition_on_stdin(example)?
        }
        properties => Value::Object(property::object(properties)?),
    };
    let status = put(app_id, &changes, force, context).await?;
    package::hint_at_edge(&changes, context).await;
    Ok(status)
}

async fn put(
    app_id: &str,
    changes: &Value,
    force: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let path = forced(app_path(app_id), force);
    let answer = context
        .front
        .marathon(Method::PUT, &path, Some(changes))
        .await?;
    context.created(&Context::deployment_of(&answer)?)
}

async fn start(
    app_id: &str,
    instances: i64,
    force: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let running = instances_of(&app(app_id, context).await?);
    if running > 0 {
        let app_id = quoted(app_id);
        let message = format!("Application {app_id} already started: {running} instances.");
        context.printer.data(&message)?;
        return Ok(ExitStatus::Failure);
    }
    if instances <= 0 {
        let message = format!("The number of instances must be positive: {instances}.");
        context.printer.data(&message)?;
        return Ok(ExitStatus::Failure);
    }
    put(
        app_id,
        &json!({ "id": app_id, "instances": instances }),
        force,
        context,
    )
    .await
}

async fn stop(app_id: &str, force: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let running = instances_of(&app(app_id, context).await?);
    if running <= 0 {
        let app_id = quoted(app_id);
        let message = format!("Application {app_id} already stopped: {running} instances.");
        context.printer.data(&message)?;
        return Ok(ExitStatus::Failure);
    }
    put(app_id, &json!({ "instances": 0 }), force, context).await
}

async fn restart(app_id: &str, force: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    if instances_of(&app(app_id, context).await?) <= 0 {
        let app_id = quoted(AppId::absolute(app_id).as_str());
        context.printer.data(&format!(
            "Unable to perform rolling restart of application {app_id} because it has no running tasks"
        ))?;
        return Ok(ExitStatus::Failure);
    }
    let path = forced(format!("{}/restart", app_path(app_id)), force);
    let answer = context.front.marathon(Method::POST, &path, None).await?;
    context.created(&Context::deployment_of(&answer)?)
}

async fn kill(
    app_id: &str,
    scale: bool,
    host: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let mut query = Vec::new();
    query.extend(host.map(|host| format!("host={}", query_value(host))));
    query.extend(scale.then(|| "scale=true".to_owned()));
    let mut path = format!("{}/tasks", app_path(app_id));
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    let answer = context.front.marathon(Method::DELETE, &path, None).await?;
    if context.printer.is_json() {
        context.printer.json(&answer)?;
    } else if scale {
        context
            .printer
            .data(&format!("Started deployment: {}", python_repr(&answer)))?;
    } else {
        let tasks = answer
            .get("tasks")
            .map_or_else(|| "[]".to_owned(), python_repr);
        context.printer.data(&format!("Killed tasks: {tasks}"))?;
    }
    let nothing_killed = !scale && answer["tasks"].as_array().is_none_or(Vec::is_empty);
    Ok(if nothing_killed {
        ExitStatus::Failure
    } else {
        ExitStatus::Success
    })
}

fn instances_of(app: &Value) -> i64 {
    app["instances"].as_i64().unwrap_or(0)
}

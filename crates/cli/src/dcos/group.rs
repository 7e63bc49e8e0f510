//! `dcos marathon group …`.

use http::Method;
use serde_json::{Value, json};
use zddcluster_model::AppId;

use super::{Context, forced, package, property};
use crate::args::GroupVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{group_path, path_segment};
use crate::table::{Align, Table};

pub(super) async fn run(verb: GroupVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        GroupVerb::Add { group_resource } => add(group_resource.as_deref(), context).await,
        GroupVerb::List { json } => list(json, context).await,
        GroupVerb::Show {
            group_id,
            group_version,
        } => show(&group_id, group_version.as_deref(), context).await,
        GroupVerb::Remove { force, group_id } => {
            let path = forced(group_path(&group_id), force);
            context.front.marathon(Method::DELETE, &path, None).await?;
            Ok(ExitStatus::Success)
        }
        GroupVerb::Scale {
            force,
            group_id,
            scale_factor,
        } => {
            let factor = scale_factor.parse::<f64>().ok();
            let factor = factor.filter(|factor| factor.is_finite()).ok_or_else(|| {
                let hint = "for instance 2, or 0.5 for half of the instances";
                Failure::with_hint("Error parsing string as float", hint)
            })?;
            put(&group_id, &json!({ "scaleBy": factor }), force, context).await
        }
        GroupVerb::Update {
            force,
            group_id,
            properties,
        } => update(&group_id, &properties, force, context).await,
    }
}

async fn add(resource: Option<&str>, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let example = "E.g.: dcos marathon group add < group_resource.json";
    let definition = context.resource(resource, example).await?;
    let Some(id) = definition["id"].as_str() else {
        return Err(Failure::with_hint(
            "The definition has no \"id\".",
            "a group needs one, for instance \"id\": \"/zdd\"",
        ));
    };
    // Whatever is wrong here, the POST will say it better.
    let path = group_path(id);
    let there = context.front.marathon(Method::GET, &path, None).await;
    if there.is_ok() {
        let id = AppId::absolute(id);
        return Err(Failure::with_hint(
            format!("Group '{id}' already exists"),
            format!("to change it: dcos marathon group update {id} < FILE"),
        ));
    }
    let answer = context
        .front
        .marathon(Method::POST, "v2/groups", Some(&definition))
        .await?;
    let status = context.created(&Context::deployment_of(&answer)?)?;
    hint_at_edge(&definition, context).await;
    Ok(status)
}

async fn list(json: bool, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let root = context
        .front
        .marathon(Method::GET, "v2/groups", None)
        .await?;
    if context.wants_json(json) {
        context.printer.json(&root["groups"])?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new([("ID", Align::Left), ("APPS", Align::Center)]);
    for group in items(&root, "groups") {
        add_rows(group, &mut table);
    }
    context.table(table.sorted())
}

/// Adds a group and all below it; the number of apps below it comes back.
fn add_rows(group: &Value, table: &mut Table<2>) -> usize {
    let below: usize = items(group, "groups")
        .map(|group| add_rows(group, table))
        .sum();
    let n_apps = below + items(group, "apps").count();
    let id = group["id"].as_str().unwrap_or_default();
    table.row([id.to_owned(), n_apps.to_string()]);
    n_apps
}

fn items<'a>(group: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    group[key].as_array().into_iter().flatten()
}

async fn show(
    group_id: &str,
    version: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let mut path = group_path(group_id);
    if let Some(version) = version {
        path = format!("{path}/versions/{}", path_segment(version));
    }
    let group = context.front.marathon(Method::GET, &path, None).await?;
    context.printer.json(&group)?;
    Ok(ExitStatus::Success)
}

async fn update(
    group_id: &str,
    properties: &[String],
    force: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    // A group that is not there is not created, although Marathon would.
    let path = group_path(group_id);
    context.front.marathon(Method::GET, &path, None).await?;
    let changes = match properties {
        [] => {
            let example = "E.g. dcos marathon group update your-group-id < group_update.json";
            context.definition_on_stdin(example)?
        }
        properties => Value::Object(property::object(properties)?),
    };
    let status = put(group_id, &changes, force, context).await?;
    hint_at_edge(&changes, context).await;
    Ok(status)
}

async fn put(
    group_id: &str,
    changes: &Value,
    force: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let path = forced(group_path(group_id), force);
    let answer = context
        .front
        .marathon(Method::PUT, &path, Some(changes))
        .await?;
    context.created(&Context::deployment_of(&answer)?)
}

/// Says once that some app of the group asks for an edge, if there is none.
async fn hint_at_edge(group: &Value, context: &Context<'_>) {
    fn asking(group: &Value) -> Option<&Value> {
        let mut apps = items(group, "apps");
        apps.find(|app| package::is_for_edge(app))
            .or_else(|| items(group, "groups").find_map(asking))
    }
    if let Some(app) = asking(group) {
        package::hint_at_edge(app, context).await;
    }
}

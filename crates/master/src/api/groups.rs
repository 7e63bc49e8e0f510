//! `/v2/groups`: reading the tree (contract marathon §2.5). Writing groups is not offered yet and says so.

use http::StatusCode;
use serde_json::{Map, Value, json};
use zddcluster_engine::State;
use zddcluster_model::{AppId, Group, Timestamp};

use super::Outcome;
use super::apps::path;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::render::{Parts, TasksByApp, app_json};
use crate::shared::Shared;

/// Which parts of a group are shown.
#[derive(Clone, Copy, Debug)]
struct Shown {
    groups: bool,
    apps: bool,
    parts: Parts,
}

pub(super) fn route(shared: &Shared, call: &Call, rest: &[&str]) -> Outcome {
    if !call.is_read() {
        let message =
            "writing groups is not offered yet; write their apps: PUT /v2/apps takes a list";
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    let state = shared.state();
    match rest {
        [group @ .., "apps"] => Ok(ok(&apps(shared, &state, &path(group), shown(call).parts))),
        [group @ .., "versions"] => Ok(ok(&[find(&state, &path(group))?.version])),
        [group @ .., "versions", version] => {
            let group_id = path(group);
            let group = find(&state, &group_id)?;
            let version: Timestamp = version
                .parse()
                .map_err(|error| ApiError::illegal_argument(format!("{error}")))?;
            if group.version != version {
                let message = format!("Group '{group_id}' does not exist in version {version}");
                return Err(ApiError::new(StatusCode::NOT_FOUND, message));
            }
            Ok(ok(&show(shared, &state, group, shown(call))))
        }
        group => Ok(ok(&show(
            shared,
            &state,
            find(&state, &path(group))?,
            shown(call),
        ))),
    }
}

fn find<'a>(state: &'a State, group_id: &AppId) -> Result<&'a Group, ApiError> {
    state
        .root
        .group(group_id)
        .ok_or_else(|| ApiError::unknown_group(group_id))
}

/// Groups and apps by default; any `embed` replaces the default, and parts of apps need their prefix.
fn shown(call: &Call) -> Shown {
    let mut embeds = call.query.all("embed").peekable();
    let is_default = embeds.peek().is_none();
    let mut shown = Shown {
        groups: is_default,
        apps: is_default,
        parts: Parts::default(),
    };
    for embed in embeds {
        match embed {
            "group.groups" => shown.groups = true,
            "group.apps" => shown.apps = true,
            _ if embed.starts_with("group.apps.") => {
                shown.apps = true;
                shown.parts = shown.parts.with_embed(embed);
            }
            _ => {}
        }
    }
    shown
}

fn show(shared: &Shared, state: &State, group: &Group, shown: Shown) -> Value {
    let tasks = TasksByApp::all(state);
    let now = shared.clock.now();
    render(
        &|app| app_json(state, app, &tasks, shown.parts, now),
        group,
        shown,
    )
}

fn render(
    render_app: &dyn Fn(&zddcluster_model::App) -> Value,
    group: &Group,
    shown: Shown,
) -> Value {
    let Group {
        id,
        apps,
        groups,
        dependencies,
        version,
    } = group;
    let mut json = Map::new();
    json.insert("id".to_owned(), json!(id));
    json.insert("dependencies".to_owned(), json!(dependencies));
    json.insert("version".to_owned(), json!(version));
    if shown.apps {
        let apps: Vec<Value> = apps.values().map(|app| render_app(app)).collect();
        json.insert("apps".to_owned(), apps.into());
    }
    if shown.groups {
        let groups: Vec<Value> = groups
            .values()
            .map(|group| render(render_app, group, shown))
            .collect();
        json.insert("groups".to_owned(), groups.into());
    }
    json.into()
}

/// All apps below a group; none for an unknown one.
fn apps(shared: &Shared, state: &State, group_id: &AppId, parts: Parts) -> Vec<Value> {
    let Some(group) = state.root.group(group_id) else {
        return Vec::new();
    };
    let tasks = TasksByApp::all(state);
    let now = shared.clock.now();
    let mut apps = group.transitive_apps();
    apps.sort_by(|a, b| a.id.cmp(&b.id));
    apps.iter()
        .map(|app| app_json(state, app, &tasks, parts, now))
        .collect()
}

//! `/v2/groups`: reading, writing and planning the tree or parts of it (contract marathon §2.5). Any content type is taken.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use zddcluster_engine::{Answer, Command, State};
use zddcluster_model::group::GroupUpdate;
use zddcluster_model::{AppId, Group, Timestamp};

use super::apps::{apps_below, force, location, path, render_all};
use super::{Outcome, deployed, unexpected};
use crate::downloads;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::render::{Parts, app_json};
use crate::shared::Shared;

/// Which parts of a group are shown.
#[derive(Clone, Copy, Debug)]
struct Shown {
    groups: bool,
    apps: bool,
    parts: Parts,
}

pub(super) async fn route(shared: &Shared, call: &Call, rest: &[&str]) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => read(shared, call, rest),
        Method::POST => create(shared, call, path(rest)).await,
        Method::PUT => update(shared, call, path(rest)).await,
        Method::DELETE => {
            let command = Command::DeleteGroup {
                group_id: path(rest),
                force: force(call),
            };
            deployed(shared.submit(command).await?, StatusCode::OK, None)
        }
        _ => Err(ApiError::wrong_method()),
    }
}

// === Writing ===

async fn create(shared: &Shared, call: &Call, base: AppId) -> Outcome {
    let update = GroupUpdate::read(&call.body)?;
    let location = location(shared, call, "groups", &update.path(&base));
    let command = Command::CreateGroup {
        base,
        update,
        force: force(call),
    };
    let command = downloads::resolved(shared, command).await?;
    let answer = shared.submit(command).await?;
    deployed(answer, StatusCode::CREATED, Some(location))
}

async fn update(shared: &Shared, call: &Call, base: AppId) -> Outcome {
    let update = GroupUpdate::read(&call.body)?;
    if call.query.flag("dryRun") == Some(true) {
        let command = Command::PlanGroup { base, update };
        let command = downloads::resolved(shared, command).await?;
        return match shared.submit(command).await? {
            Answer::Steps(steps) => Ok(ok(&json!({ "steps": steps }))),
            Answer::Deployment { .. }
            | Answer::Killed(_)
            | Answer::Registered(_)
            | Answer::Done => Err(unexpected()),
        };
    }
    let command = Command::UpdateGroup {
        base,
        update,
        force: force(call),
    };
    let command = downloads::resolved(shared, command).await?;
    let answer = shared.submit(command).await?;
    deployed(answer, StatusCode::OK, None)
}

// === Reading ===

fn read(shared: &Shared, call: &Call, rest: &[&str]) -> Outcome {
    let state = shared.state();
    match rest {
        [group @ .., "apps"] => Ok(ok(&apps(shared, &state, &path(group), shown(call).parts))),
        [group @ .., "versions"] => {
            let group_id = path(group);
            find(&state, &group_id)?;
            Ok(ok(&state.group_versions(&group_id)))
        }
        [group @ .., "versions", version] => {
            let group_id = path(group);
            let version: Timestamp = version
                .parse()
                .map_err(|error| ApiError::illegal_argument(format!("{error}")))?;
            // Also of a group that is no longer there, and without the parts of apps as they are now.
            let group = state
                .group_at(&group_id, version)
                .ok_or_else(|| ApiError::unknown_group(&group_id))?;
            let shown = Shown {
                parts: Parts::default(),
                ..shown(call)
            };
            Ok(ok(&show(shared, &state, group, shown)))
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
    let now = shared.clock.now();
    render(&|app| app_json(state, app, shown.parts, now), group, shown)
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
    match state.root.group(group_id) {
        Some(group) => render_all(shared, state, &apps_below(group), parts),
        None => Vec::new(),
    }
}

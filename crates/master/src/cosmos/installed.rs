//! What is installed, which is what has a package's labels: `list`, `uninstall`.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use zddcluster_engine::{Command, Refusal, State};
use zddcluster_model::AppId;
use zddcluster_model::package;

use super::error::CosmosError;
use super::fields::Fields;
use crate::error::CallError;
use crate::shared::Shared;

/// An app that is a package.
#[derive(Debug)]
struct Installed {
    app_id: AppId,
    /// The catalogue's entry, with at least `name`, `version` and `description`.
    definition: Map<String, Value>,
}

impl Installed {
    fn text(&self, key: &str) -> &str {
        self.definition
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.text("name")
    }

    /// The images of a package that is built in; nobody remembers those of another.
    fn resource(&self) -> Value {
        let built_in = package::find(self.name()).filter(|p| p.version == self.text("version"));
        built_in.map_or_else(|| json!({}), |package| package.resource())
    }
}

/// All of them by package, as clients rely on, and then by app.
fn installed(state: &State) -> Vec<Installed> {
    let apps = state.root.transitive_apps().into_iter();
    let mut installed: Vec<Installed> = apps
        .filter_map(|app| {
            Some(Installed {
                app_id: app.id.clone(),
                definition: package::installed(&app.labels)?,
            })
        })
        .collect();
    installed.sort_by(|a, b| (a.name(), &a.app_id).cmp(&(b.name(), &b.app_id)));
    installed
}

pub(super) fn list(state: &State, fields: &Fields) -> Result<Value, CosmosError> {
    let name = fields.text("packageName")?;
    let app_id = fields.text("appId")?.map(AppId::absolute);
    let mut found = installed(state);
    found.retain(|app| {
        name.is_none_or(|name| app.name() == name)
            && app_id.as_ref().is_none_or(|app_id| app.app_id == *app_id)
    });
    let packages = found.into_iter().map(|app| {
        json!({
            "appId": app.app_id,
            "packageInformation": {
                "resourceDefinition": app.resource(),
                "packageDefinition": app.definition,
            },
        })
    });
    Ok(json!({ "packages": packages.collect::<Vec<_>>() }))
}

pub(super) async fn uninstall(shared: &Arc<Shared>, fields: &Fields) -> Result<Value, CosmosError> {
    let package_name = fields.required("packageName")?;
    let app_id = fields.text("appId")?.map(AppId::absolute);
    let is_all = fields.flag("all")?;
    let doomed = choose(
        installed(&shared.state()),
        package_name,
        app_id.as_ref(),
        is_all,
    )?;
    let mut results = Vec::new();
    for app in doomed {
        // The original overrides deployments, too: what is installed can always be removed.
        let command = Command::DeleteApp {
            app_id: app.app_id.clone(),
            force: true,
        };
        match shared.submit(command).await {
            // Somebody else was faster.
            Ok(_) | Err(CallError::Refused(Refusal::UnknownApp(_))) => {}
            Err(error) if results.is_empty() => return Err(error.into()),
            Err(error) => {
                return Err(CosmosError::IncompleteUninstall {
                    package_name: package_name.to_owned(),
                    app_id: app.app_id,
                    reason: error.to_string(),
                });
            }
        }
        tracing::info!(package = package_name, app_id = %app.app_id, "package uninstalled");
        let mut result = json!({
            "packageName": app.name(),
            "appId": app.app_id,
            "packageVersion": app.text("version"),
        });
        if let Some(notes @ Value::String(_)) = app.definition.get("postUninstallNotes") {
            result["postUninstallNotes"] = notes.clone();
        }
        results.push(result);
    }
    Ok(json!({ "results": results }))
}

/// Which of what is installed is to go.
fn choose(
    mut installed: Vec<Installed>,
    package_name: &str,
    app_id: Option<&AppId>,
    is_all: bool,
) -> Result<Vec<Installed>, CosmosError> {
    let package_name = package_name.to_owned();
    installed.retain(|app| app.name() == package_name);
    if let Some(app_id) = app_id {
        installed.retain(|app| app.app_id == *app_id);
        if installed.is_empty() {
            let app_id = app_id.clone();
            return Err(CosmosError::UninstallNonExistentAppForPackage {
                package_name,
                app_id,
            });
        }
    }
    match installed.as_slice() {
        [] => Err(CosmosError::PackageNotInstalled { package_name }),
        [_, _, ..] if !is_all => Err(CosmosError::AmbiguousAppId {
            package_name,
            app_ids: installed.into_iter().map(|app| app.app_id).collect(),
        }),
        _ => Ok(installed),
    }
}

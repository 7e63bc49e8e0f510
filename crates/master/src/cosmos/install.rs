//! From a package to an app: `render` shows it, `install` creates it.

use std::sync::Arc;

use serde_json::{Value, json};
use zddcluster_engine::input::Origin;
use zddcluster_engine::{Answer, Command};
use zddcluster_model::AppId;
use zddcluster_model::app::{AppUpdate, Form};
use zddcluster_model::package::Package;

use super::catalogue::find;
use super::error::CosmosError;
use super::fields::Fields;
use super::media::Version;
use crate::error::CallError;
use crate::shared::Shared;

/// The resource that an app is created at, for the event that tells of it.
const APPS: &str = "/v2/apps";

/// The app's definition, as `POST /v2/apps` takes it.
fn app(package: &Package, fields: &Fields) -> Result<Value, CosmosError> {
    let app_id = fields.text("appId")?.map(AppId::absolute);
    let options = fields.get("options").unwrap_or(&Value::Null);
    Ok(package.render(options, app_id.as_ref())?)
}

pub(super) fn render(fields: &Fields) -> Result<Value, CosmosError> {
    let package = find(fields)?;
    Ok(json!({ "marathonJson": app(&package, fields)? }))
}

pub(super) async fn install(
    shared: &Arc<Shared>,
    fields: &Fields,
    client_ip: &str,
    version: Version,
) -> Result<Value, CosmosError> {
    let package = find(fields)?;
    let app = app(&package, fields)?;
    let command = Command::CreateApp {
        update: AppUpdate::read(app.to_string().as_bytes(), Form::Full)?,
        force: false,
        origin: Origin {
            client_ip: client_ip.to_owned(),
            uri: APPS.to_owned(),
        },
    };
    let app_id = match shared.submit(command).await? {
        Answer::Deployment {
            created: Some(app), ..
        } => app.id.clone(),
        Answer::Deployment { created: None, .. }
        | Answer::Steps(_)
        | Answer::Killed(_)
        | Answer::Registered(_)
        | Answer::Done => {
            let reason = "the command was answered by something else".to_owned();
            return Err(CallError::Unavailable(reason).into());
        }
    };
    tracing::info!(package = package.name, version = package.version, %app_id, "package installed");
    let mut installed = json!({
        "packageName": package.name,
        "packageVersion": package.version,
        "appId": app_id,
    });
    match version {
        Version::V1 => {}
        Version::V2 | Version::V3 => {
            installed["postInstallNotes"] = package.post_install_notes.into();
        }
    }
    Ok(installed)
}

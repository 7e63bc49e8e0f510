//! `dcos package list` and `uninstall`: what is installed.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zddcluster_model::AppId;

use super::super::Context;
use super::{NONE, api, text};
use crate::args::UninstallArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::table::{Align, Table};

/// The installed packages by name, each with its apps.
async fn installed(
    context: &Context<'_>,
    app_id: Option<&str>,
    package_name: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    let mut body = json!({});
    if let Some(name) = package_name {
        body["packageName"] = name.into();
    }
    if let Some(app_id) = app_id {
        body["appId"] = app_id.into();
    }
    let answer = api::ask(context, "list", "v1", &body).await?;
    let mut packages: BTreeMap<String, (Value, Vec<String>)> = BTreeMap::new();
    for entry in answer["packages"].as_array().into_iter().flatten() {
        let package = &entry["packageInformation"]["packageDefinition"];
        let (_, apps) = packages
            .entry(text(package, "name").to_owned())
            .or_insert_with(|| (package.clone(), Vec::new()));
        apps.push(text(entry, "appId").to_owned());
    }
    let packages = packages.into_values().map(|(mut package, mut apps)| {
        apps.sort_unstable();
        package["apps"] = apps.into();
        package
    });
    Ok(packages.collect())
}

/// An id as the cluster has it.
fn absolute(app_id: Option<&str>) -> Option<String> {
    app_id.map(|app_id| AppId::absolute(app_id).to_string())
}

pub(super) async fn list(
    json: bool,
    app_id: Option<String>,
    cli: bool,
    package_name: Option<String>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let app_id = absolute(app_id.as_deref());
    let packages = match cli {
        // No package here has commands.
        true => Vec::new(),
        false => installed(context, app_id.as_deref(), package_name.as_deref()).await?,
    };
    if context.wants_json(json) {
        context.printer.json(&packages)?;
        return Ok(ExitStatus::Success);
    }
    if packages.is_empty() {
        return Err(Failure::stated(
            "There are currently no installed packages. Please use `dcos package install` to install a package.",
        ));
    }
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("VERSION", Align::Left),
        ("APP", Align::Left),
        ("COMMAND", Align::Left),
        ("DESCRIPTION", Align::Left),
    ]);
    for package in &packages {
        let apps = package["apps"].as_array().into_iter().flatten();
        let apps: Vec<&str> = apps.filter_map(Value::as_str).collect();
        table.row([
            text(package, "name").to_owned(),
            text(package, "version").to_owned(),
            apps.join("\n"),
            NONE.to_owned(),
            text(package, "description").to_owned(),
        ]);
    }
    context.table(table.sorted())
}

pub(super) async fn uninstall(
    args: UninstallArgs,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let UninstallArgs {
        cli,
        app: _,
        all,
        app_id,
        yes: _,
        package_name,
    } = args;
    let app_id = absolute(app_id.as_deref());
    if cli
        || installed(context, app_id.as_deref(), Some(&package_name))
            .await?
            .is_empty()
    {
        let with_id = app_id.map(|id| format!(" with id [{id}]"));
        return Err(Failure::stated(format!(
            "Package [{package_name}]{} is not installed",
            with_id.unwrap_or_default()
        )));
    }
    let mut body = json!({ "packageName": package_name });
    if all {
        body["all"] = true.into();
    }
    if let Some(app_id) = app_id {
        body["appId"] = app_id.into();
    }
    let answer = api::ask(context, "uninstall", "v1", &body).await?;
    let mut versions = Vec::new();
    for result in answer["results"].as_array().into_iter().flatten() {
        let version = text(result, "packageVersion");
        if versions.contains(&version) {
            continue;
        }
        versions.push(version);
        let name = text(result, "packageName");
        context
            .printer
            .talk(&format!("Uninstalled package [{name}] version [{version}]"));
        let notes = text(result, "postUninstallNotes");
        if !notes.is_empty() {
            context.printer.talk(notes);
        }
    }
    Ok(ExitStatus::Success)
}

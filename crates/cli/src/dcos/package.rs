//! `dcos package …`: the built-in packages, which are apps with labels.
//!
//! The originals leave this to Cosmos; the packages are built into this program, so it renders and posts the app itself. What is
//! installed is what has the labels of a package, also after `app remove`.
//!
//! Source: contract dcos-cli §8; dcoscli 0.4.14 `package/main.py`.

use std::collections::BTreeMap;
use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use zddcluster_model::AppId;
use zddcluster_model::package::{self, Package};

use super::{Context, resource};
use crate::args::PackageVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::app_path;
use crate::table::{Align, Table};

/// Stands for nothing.
const NONE: &str = "---";
/// The label that says which package an app is.
const NAME_LABEL: &str = "DCOS_PACKAGE_NAME";
/// The label that says which version.
const VERSION_LABEL: &str = "DCOS_PACKAGE_VERSION";
/// The package whose app is the edge.
const EDGE_PACKAGE: &str = "marathon-lb";
/// What the labels for the edge begin with.
const EDGE_LABELS: &str = "HAPROXY_";
/// What to do without an edge.
pub(crate) const EDGE_HINT: &str =
    "the app has HAPROXY_ labels, but no edge runs; try: dcos package install marathon-lb";

pub(super) async fn run(verb: PackageVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        PackageVerb::Install {
            yes,
            options,
            app_id,
            package_name,
        } => {
            let package = find(&package_name)?;
            install(
                &package,
                options.as_deref(),
                app_id.as_deref(),
                yes,
                context,
            )
            .await
        }
        PackageVerb::List {
            json,
            app_id,
            package_name,
        } => list(json, app_id.as_deref(), package_name.as_deref(), context).await,
        PackageVerb::Uninstall {
            all,
            app_id,
            package_name,
        } => uninstall(&package_name, app_id.as_deref(), all, context).await,
    }
}

fn find(name: &str) -> Result<Package, Failure> {
    package::find(name).ok_or_else(|| {
        let known: Vec<&str> = package::all().iter().map(|package| package.name).collect();
        let hint = format!("built in: {}", known.join(", "));
        Failure::with_hint(format!("Package [{name}] not found"), hint)
    })
}

/// An app that is a package.
#[derive(Debug)]
struct Installed {
    app_id: String,
    name: String,
    version: String,
}

async fn installed(context: &Context<'_>) -> Result<Vec<Installed>, Failure> {
    let answer = context.front.marathon(Method::GET, "v2/apps", None).await?;
    let apps = answer["apps"].as_array().into_iter().flatten();
    let installed = apps.filter_map(|app| {
        let label = |name: &str| app["labels"][name].as_str().map(str::to_owned);
        Some(Installed {
            app_id: app["id"].as_str()?.to_owned(),
            name: label(NAME_LABEL)?,
            version: label(VERSION_LABEL).unwrap_or_else(|| NONE.to_owned()),
        })
    });
    Ok(installed.collect())
}

async fn install(
    package: &Package,
    options: Option<&Path>,
    app_id: Option<&str>,
    yes: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let options = match options {
        Some(path) => resource::read_json_file(path)?,
        None => Value::Null,
    };
    let mut app = package
        .render(&options)
        .map_err(|error| Failure::stated(error.to_string()))?;
    if let Some(app_id) = app_id {
        app["id"] = AppId::absolute(app_id).as_str().into();
    }
    context.printer.data(package.pre_install_notes)?;
    if !yes && !confirmed("Continue installing?", context)? {
        context.printer.data("Exiting installation.")?;
        return Ok(ExitStatus::Success);
    }
    let id = app["id"].as_str().unwrap_or_default();
    if context
        .front
        .marathon(Method::GET, &app_path(id), None)
        .await
        .is_ok()
    {
        return Err(Failure::with_hint(
            "Package is already installed",
            format!("see it with: dcos marathon app show {id}"),
        ));
    }
    let (name, version) = (package.name, package.version);
    let with_id = app_id
        .map(|app_id| format!(" with app id [{app_id}]"))
        .unwrap_or_default();
    context.printer.data(&format!(
        "Installing Marathon app for package [{name}] version [{version}]{with_id}"
    ))?;
    context
        .front
        .marathon(Method::POST, "v2/apps", Some(&app))
        .await?;
    context.printer.data(package.post_install_notes)?;
    Ok(ExitStatus::Success)
}

/// Asks until there is an answer.
fn confirmed(question: &str, context: &Context<'_>) -> Result<bool, Failure> {
    loop {
        context.printer.raw(&format!("{question} [yes/no] "))?;
        let Some(answer) = context.answer()? else {
            // The question stands without an end of line.
            context.printer.data("")?;
            return Err(Failure::with_hint(
                "There is no answer on stdin.",
                "to install without being asked: --yes",
            ));
        };
        match answer.to_lowercase().as_str() {
            "yes" | "y" => return Ok(true),
            "no" | "n" => return Ok(false),
            other => context
                .printer
                .data(&format!("'{other}' is not a valid response."))?,
        }
    }
}

async fn list(
    json: bool,
    app_id: Option<&str>,
    package_name: Option<&str>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let app_id = app_id.map(|app_id| AppId::absolute(app_id).to_string());
    let mut packages: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for Installed {
        app_id: id,
        name,
        version,
    } in installed(context).await?
    {
        if app_id.as_ref().is_none_or(|wanted| *wanted == id)
            && package_name.is_none_or(|wanted| wanted == name)
        {
            packages.entry((name, version)).or_default().push(id);
        }
    }
    if context.wants_json(json) {
        let packages = packages.into_iter().map(|((name, version), apps)| {
            let mut entry = package::find(&name).map_or_else(
                || json!({ "name": name, "description": "" }),
                |p| p.definition(),
            );
            entry["version"] = version.into();
            entry["apps"] = apps.into();
            entry
        });
        context.printer.json(&packages.collect::<Vec<_>>())?;
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
    for ((name, version), apps) in packages {
        let description = package::find(&name).map_or(NONE, |package| package.description);
        table.row([
            name,
            version,
            apps.join("\n"),
            NONE.to_owned(),
            description.to_owned(),
        ]);
    }
    context.table(table.sorted())
}

async fn uninstall(
    package_name: &str,
    app_id: Option<&str>,
    all: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let app_id = app_id.map(|app_id| AppId::absolute(app_id).to_string());
    let mut matching = installed(context).await?;
    matching.retain(|found| {
        found.name == package_name && app_id.as_ref().is_none_or(|id| *id == found.app_id)
    });
    if matching.is_empty() {
        let with_id = app_id
            .map(|id| format!(" with id [{id}]"))
            .unwrap_or_default();
        let message = format!("Package [{package_name}]{with_id} is not installed");
        return Err(Failure::stated(message));
    }
    if matching.len() > 1 && !all {
        let ids: Vec<&str> = matching.iter().map(|found| found.app_id.as_str()).collect();
        return Err(Failure::with_hint(
            format!(
                "Multiple apps named [{package_name}] are installed: [{}]",
                ids.join(", ")
            ),
            "choose one with --app-id, or all with --all",
        ));
    }
    let mut versions = Vec::new();
    for Installed {
        app_id,
        name: _,
        version,
    } in matching
    {
        context
            .front
            .marathon(Method::DELETE, &app_path(&app_id), None)
            .await?;
        if versions.contains(&version) {
            continue;
        }
        context.printer.talk(&format!(
            "Uninstalled package [{package_name}] version [{version}]"
        ));
        if let Some(package) = package::find(package_name) {
            context.printer.talk(package.post_uninstall_notes);
        }
        versions.push(version);
    }
    Ok(ExitStatus::Success)
}

/// Says what is missing when an app is meant for the edge and none runs. Only a hint: what goes wrong here is not said.
pub(super) async fn hint_at_edge(definition: &Value, context: &Context<'_>) {
    if !is_for_edge(definition) {
        return;
    }
    let Ok(apps) = context.front.marathon(Method::GET, "v2/apps", None).await else {
        return;
    };
    if apps["apps"].as_array().into_iter().flatten().any(is_edge) {
        return;
    }
    // One on its own is no app. Only our masters know this path.
    let attached = context.front.mesos::<Value>("/zdd/v1/edges").await;
    if attached.is_ok_and(|answer| {
        answer["edges"]
            .as_array()
            .is_some_and(|ids| !ids.is_empty())
    }) {
        return;
    }
    context.printer.hint(EDGE_HINT);
}

/// Whether an app asks to be served by the edge.
pub(crate) fn is_for_edge(app: &Value) -> bool {
    let labels = app["labels"].as_object();
    labels.is_some_and(|labels| labels.keys().any(|key| key.starts_with(EDGE_LABELS)))
}

/// Whether an app is an edge that is meant to run, as a package or by its image.
pub(crate) fn is_edge(app: &Value) -> bool {
    let image = app["container"]["docker"]["image"]
        .as_str()
        .unwrap_or_default();
    let is_package = app["labels"][NAME_LABEL] == EDGE_PACKAGE;
    let has_image = image.split(':').next() == Some("mesosphere/marathon-lb");
    (is_package || has_image) && app["instances"].as_u64() != Some(0)
}

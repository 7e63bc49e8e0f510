//! `dcos package …`: the packages, which the cluster's package API knows and installs.
//!
//! Source: contract dcos-cli §8; dcoscli 0.4.14 `package/main.py` and `cosmospackage.py`.

mod api;
mod describe;
mod install;
mod installed;
mod repo;
mod search;

use http::Method;
use serde_json::Value;
use zddcluster_model::package::NAME_LABEL;

use super::Context;
use crate::args::PackageVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// Stands for nothing.
const NONE: &str = "---";
/// The package whose app is the edge.
const EDGE_PACKAGE: &str = "marathon-lb";
/// What the labels for the edge begin with.
const EDGE_LABELS: &str = "HAPROXY_";
/// What to do without an edge.
pub(crate) const EDGE_HINT: &str =
    "the app has HAPROXY_ labels, but no edge runs; try: dcos package install marathon-lb";
/// No package here has one.
const NO_CLI_PART: &str = "the package has no part for the command line";

pub(super) async fn run(verb: PackageVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        PackageVerb::Search { json, query } => search::search(json, query, context).await,
        PackageVerb::Describe(args) => describe::describe(args, context).await,
        PackageVerb::Install(args) => install::install(args, context).await,
        PackageVerb::List {
            json,
            app_id,
            cli,
            package_name,
        } => installed::list(json, app_id, cli, package_name, context).await,
        PackageVerb::Uninstall(args) => installed::uninstall(args, context).await,
        PackageVerb::Repo(verb) => repo::run(verb, context).await,
        PackageVerb::Update => {
            context.front.capabilities().await?;
            Err(Failure::stated(
                "This command has been deprecated. Repositories will be automatically updated after they are added by \
                 `dcos package repo add`",
            ))
        }
    }
}

/// A text in an answer; empty if it is none.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
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

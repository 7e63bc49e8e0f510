//! `dcos package describe`, and what `install` needs of a description.

use std::path::Path;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::super::{Context, resource};
use super::{NO_CLI_PART, api, text};
use crate::args::DescribeArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;

/// What the package API knows of a package in one version.
#[derive(Debug)]
pub(super) struct Description(Value);

impl Description {
    pub(super) async fn ask(
        context: &Context<'_>,
        name: &str,
        version: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut body = json!({ "packageName": name });
        if let Some(version) = version {
            body["packageVersion"] = version.into();
        }
        api::ask(context, "describe", "v2", &body).await.map(Self)
    }

    pub(super) fn text(&self, key: &str) -> &str {
        text(&self.0, key)
    }

    /// The package alone, as the original prints it: without its options, its template and its images.
    fn package(&self) -> Value {
        let mut package = self.0.clone();
        if let Some(package) = package.as_object_mut() {
            for part in ["command", "config", "marathon", "resource"] {
                package.shift_remove(part);
            }
        }
        package
    }

    fn config(&self) -> &Value {
        &self.0["config"]
    }

    fn cli(&self) -> Option<&Value> {
        let cli = self.0["resource"].get("cli");
        cli.or_else(|| self.0.get("command"))
    }

    /// The app's template; none if the package has no app.
    pub(super) fn template(&self) -> Option<String> {
        let template = self.0["marathon"]["v2AppMustacheTemplate"].as_str()?;
        let template = BASE64.decode(template.as_bytes()).ok()?;
        Some(String::from_utf8_lossy(&template).into_owned())
    }

    /// The app that the template makes of these options.
    pub(super) async fn render(
        &self,
        context: &Context<'_>,
        options: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut body = json!({
            "packageName": self.text("name"),
            "packageVersion": self.text("version"),
        });
        if let Some(options) = options {
            body["options"] = options.clone();
        }
        let mut rendered = api::ask(context, "render", "v1", &body).await?;
        Ok(rendered["marathonJson"].take())
    }
}

/// The options in a file, if one is given.
pub(super) fn read_options(path: Option<&Path>) -> Result<Option<Value>, Failure> {
    path.map(resource::read_json_file).transpose()
}

pub(super) async fn describe(
    args: DescribeArgs,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let DescribeArgs {
        app,
        cli,
        config,
        render,
        package_versions,
        options,
        package_version,
        package_name,
    } = args;
    let is_alone =
        !(app || cli || config || render || options.is_some() || package_version.is_some());
    if package_versions && !is_alone {
        return Err(Failure::stated(
            "If --package-versions is provided, no other option can be provided",
        ));
    }
    // Said before anything is asked.
    let options = read_options(options.as_deref())?;
    let description = Description::ask(context, &package_name, package_version.as_deref()).await?;
    if package_versions {
        context
            .printer
            .json(&versions(context, &package_name).await?)?;
        return Ok(ExitStatus::Success);
    }
    if !(app || cli || config) {
        context.printer.json(&description.package())?;
        return Ok(ExitStatus::Success);
    }
    if cli {
        match description.cli() {
            Some(part) => context.printer.json(part)?,
            None => context.printer.hint(NO_CLI_PART),
        }
    }
    if app && (render || options.is_some()) {
        let app = description.render(context, options.as_ref()).await?;
        context.printer.json(&app)?;
    } else if app && let Some(template) = description.template() {
        let template = template.strip_suffix('\n').unwrap_or(&template);
        context.printer.data(template)?;
    }
    if config {
        context.printer.json(description.config())?;
    }
    Ok(ExitStatus::Success)
}

/// All versions, the newest first.
async fn versions(context: &Context<'_>, name: &str) -> Result<Vec<String>, Failure> {
    let body = json!({ "packageName": name, "includePackageVersions": true });
    let answer = api::ask(context, "list-versions", "v1", &body).await?;
    let results = answer["results"].as_object();
    let mut versions: Vec<(u64, String)> = results
        .into_iter()
        .flatten()
        .map(|(version, release)| {
            let release = release.as_str().and_then(|release| release.parse().ok());
            (release.unwrap_or_default(), version.clone())
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    Ok(versions.into_iter().map(|(_, version)| version).collect())
}

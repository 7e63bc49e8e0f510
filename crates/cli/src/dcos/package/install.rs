//! `dcos package install`: describe, ask, render, install, in this order, as the original does.

use serde_json::json;

use super::super::Context;
use super::describe::{Description, read_options};
use super::{NO_CLI_PART, api};
use crate::args::InstallArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;

pub(super) async fn install(
    args: InstallArgs,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let InstallArgs {
        yes,
        cli,
        global: _,
        app: _,
        app_id,
        options,
        package_version,
        package_name,
    } = args;
    // Said before anything is asked.
    let options = read_options(options.as_deref())?;
    let description = Description::ask(context, &package_name, package_version.as_deref()).await?;
    if cli {
        context.printer.hint(NO_CLI_PART);
        return Ok(ExitStatus::Success);
    }
    let notes = description.text("preInstallNotes");
    if !notes.is_empty() {
        context.printer.data(notes)?;
        if !yes && !confirmed("Continue installing?", context)? {
            context.printer.data("Exiting installation.")?;
            return Ok(ExitStatus::Success);
        }
    }
    if description.template().is_none() {
        return Err(Failure::stated(format!(
            "Package [{package_name}] has no application"
        )));
    }
    // Tells of bad options before it is said that the app is being installed.
    description.render(context, options.as_ref()).await?;
    let version = description.text("version");
    let with_id = app_id
        .as_ref()
        .map(|app_id| format!(" with app id [{app_id}]"))
        .unwrap_or_default();
    context.printer.data(&format!(
        "Installing Marathon app for package [{package_name}] version [{version}]{with_id}"
    ))?;
    let mut body = json!({
        "packageName": package_name,
        "packageVersion": version,
        "options": options.unwrap_or_else(|| json!({})),
    });
    if let Some(app_id) = app_id {
        body["appId"] = app_id.into();
    }
    api::ask(context, "install", "v2", &body).await?;
    let notes = description.text("postInstallNotes");
    if !notes.is_empty() {
        context.printer.data(notes)?;
    }
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

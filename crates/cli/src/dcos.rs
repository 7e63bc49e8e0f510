//! The `dcos` client: the commands of the lab, with the output and the exit codes of the original (0.4.14; the column
//! WAITING of `app list` is 0.4.17's).
//!
//! One file a resource. Where the original loses something its reader needs, we keep it: the details of a 422, and a
//! `hint:` on stderr.
//!
//! Source: contract dcos-cli §5, §7-10; dcoscli 0.4.14 and 0.4.17.

mod app;
mod deployment;
mod group;
mod log;
mod marathon_task;
mod node;
mod package;
pub(crate) mod property;
mod resource;
mod task;

use std::io::{BufRead, BufReader, IsTerminal as _};
use std::sync::Mutex;

use http::Method;
use serde_json::{Value, json};

use crate::args::{DcosArgs, DcosVerb, MarathonVerb, dcos_command};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::printer::Printer;

pub(crate) use self::package::{EDGE_HINT, is_edge, is_for_edge};

/// What every command works with.
struct Context<'a> {
    front: Front,
    printer: &'a Printer,
    input: Mutex<Input>,
}

/// Where definitions and answers are read from.
struct Input {
    reader: Box<dyn BufRead + Send>,
    is_terminal: bool,
}

/// Carries out a `dcos` command.
pub(crate) async fn run(args: DcosArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let DcosArgs {
        data_dir,
        log_level: _,
        debug: _,
        version,
        verb,
    } = args;
    if version {
        return print_versions(Front::locate(&data_dir).ok(), printer).await;
    }
    let Some(verb) = verb else {
        printer.data(&dcos_command().render_help().ansi().to_string())?;
        return Ok(ExitStatus::Success);
    };
    let input = Input {
        reader: Box::new(BufReader::new(std::io::stdin())),
        is_terminal: std::io::stdin().is_terminal(),
    };
    let front = Front::locate(&data_dir)?;
    carry_out(
        verb,
        &Context {
            front,
            printer,
            input: Mutex::new(input),
        },
    )
    .await
}

async fn carry_out(verb: DcosVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        DcosVerb::Marathon(MarathonVerb::About) => {
            let about = context.front.marathon(Method::GET, "v2/info", None).await?;
            context.printer.json(&about)?;
            Ok(ExitStatus::Success)
        }
        DcosVerb::Marathon(MarathonVerb::App(verb)) => app::run(verb, context).await,
        DcosVerb::Marathon(MarathonVerb::Deployment(verb)) => deployment::run(verb, context).await,
        DcosVerb::Marathon(MarathonVerb::Group(verb)) => group::run(verb, context).await,
        DcosVerb::Marathon(MarathonVerb::Task(verb)) => marathon_task::run(verb, context).await,
        DcosVerb::Task(args) => task::run(args, context).await,
        DcosVerb::Node { json } => node::run(json, context).await,
        DcosVerb::Package(verb) => package::run(verb, context).await,
    }
}

impl Context<'_> {
    /// Whether JSON is asked for, by the command's own flag or for all.
    fn wants_json(&self, flag: bool) -> bool {
        flag || self.printer.is_json()
    }

    /// Prints a table, if there is one.
    fn table(&self, table: Option<String>) -> Result<ExitStatus, Failure> {
        if let Some(table) = table {
            self.printer.data(&table)?;
        }
        Ok(ExitStatus::Success)
    }

    /// Says which deployment a write began.
    fn created(&self, deployment_id: &str) -> Result<ExitStatus, Failure> {
        if self.printer.is_json() {
            self.printer
                .json(&json!({ "deploymentId": deployment_id }))?;
        } else {
            self.printer
                .data(&format!("Created deployment {deployment_id}"))?;
        }
        Ok(ExitStatus::Success)
    }

    /// The deployment that an answer to a write names.
    fn deployment_of(answer: &Value) -> Result<String, Failure> {
        let id = answer["deploymentId"]
            .as_str()
            .or_else(|| answer["deployments"][0]["id"].as_str());
        id.map(str::to_owned)
            .ok_or_else(|| Failure::stated("The answer names no deployment: is this a Marathon?"))
    }
}

/// A path with `force`, if that is asked for.
fn forced(path: String, force: bool) -> String {
    if force {
        format!("{path}?force=true")
    } else {
        path
    }
}

/// `dcos --version`: a cluster that does not answer is no failure.
async fn print_versions(front: Option<Front>, printer: &Printer) -> Result<ExitStatus, Failure> {
    let versions = match front {
        Some(front) => front
            .mesos::<Value>("/dcos-metadata/dcos-version.json")
            .await
            .ok(),
        None => None,
    };
    let part = |key: &str| {
        let value = versions
            .as_ref()
            .and_then(|versions| versions[key].as_str());
        value.unwrap_or("N/A").to_owned()
    };
    printer.data(&format!(
        "dcoscli.version=zddcluster {}\ndcos.version={}\ndcos.commit={}\ndcos.bootstrap-id={}",
        env!("CARGO_PKG_VERSION"),
        part("version"),
        part("dcos-image-commit"),
        part("bootstrap-id"),
    ))?;
    Ok(ExitStatus::Success)
}

#[cfg(test)]
mod tests;

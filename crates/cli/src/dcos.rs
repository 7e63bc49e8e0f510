//! The `dcos` client, with the output and the exit codes of the original (0.4.14; the column WAITING of `app list` is 0.4.17's,
//! and what 0.4.14 had not is 0.4.17's or 0.6.1's).
//!
//! One file a resource. Where the original loses something its reader needs, we keep it: the details of a 422, and a
//! `hint:` on stderr.
//!
//! Source: contract dcos-cli §5, §7-10; dcoscli 0.4.14 and 0.4.17.

mod app;
mod auth;
mod clusters;
mod config;
mod deployment;
mod exec;
mod group;
mod log;
mod ls;
mod marathon;
mod marathon_task;
mod metrics;
mod node;
mod package;
pub(crate) mod property;
mod queue;
mod resource;
mod service;
mod task;

use std::io::{BufRead, BufReader, IsTerminal as _};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::args::{DcosArgs, DcosVerb, LocalVerb, RemoteVerb, dcos_command};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::home::Home;
use crate::printer::Printer;
use crate::text::printable;
use crate::verbs::Hooks;

pub use self::exec::TaskCommand;
pub(crate) use self::exec::exec;
pub(crate) use self::package::{EDGE_HINT, is_edge, is_for_edge};
pub(crate) use self::task::State as TaskState;

/// What every command works with.
struct Context<'a> {
    front: Front,
    printer: &'a Printer,
    hooks: &'a Hooks,
    input: Mutex<Input>,
}

/// Where definitions and answers are read from.
struct Input {
    reader: Box<dyn BufRead + Send>,
    is_terminal: bool,
}

/// Carries out a `dcos` command.
pub(crate) async fn run(
    args: DcosArgs,
    printer: &Printer,
    hooks: &Hooks,
) -> Result<ExitStatus, Failure> {
    let DcosArgs {
        data_dir,
        log_level: _,
        debug: _,
        version,
        about,
        verb,
    } = args;
    if let Some(about) = about {
        printer.data(&about)?;
        return Ok(ExitStatus::Success);
    }
    let home = Home::of_user();
    let locate = || match &home {
        Ok(home) => Front::locate_as_dcos(&data_dir, home),
        // Whoever has no home has no settings.
        Err(_) => Front::locate(&data_dir),
    };
    if version {
        return print_versions(locate().ok(), printer).await;
    }
    let Some(verb) = verb else {
        printer.data(&dcos_command().render_help().ansi().to_string())?;
        return Ok(ExitStatus::Success);
    };
    let verb = match verb {
        DcosVerb::Remote(verb) => verb,
        DcosVerb::Local(LocalVerb::Config(verb)) => return config::run(verb, &home?, printer),
        DcosVerb::Local(LocalVerb::Cluster(verb)) => {
            return clusters::run(verb, &home?, printer).await;
        }
        DcosVerb::Local(LocalVerb::Auth(verb)) => {
            let front = locate();
            return auth::run(verb, || front, &home?, printer).await;
        }
    };
    let input = Input {
        reader: Box::new(BufReader::new(std::io::stdin())),
        is_terminal: std::io::stdin().is_terminal(),
    };
    let front = locate()?;
    carry_out(
        verb,
        &Context {
            front,
            printer,
            hooks,
            input: Mutex::new(input),
        },
    )
    .await
}

async fn carry_out(verb: RemoteVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        RemoteVerb::Marathon(verb) => marathon::run(verb, context).await,
        RemoteVerb::Task(args) => task::run(args, context).await,
        RemoteVerb::Node(args) => node::run(args, context).await,
        RemoteVerb::Service(args) => service::run(args, context).await,
        RemoteVerb::Package(verb) => package::run(verb, context).await,
        RemoteVerb::Job(_) => marathon::refuse_jobs(context).await,
    }
}

impl Context<'_> {
    /// Whether JSON is asked for, by the command's own flag or for all.
    fn wants_json(&self, flag: bool) -> bool {
        flag || self.printer.is_json()
    }

    /// Prints ids, a line each.
    fn ids<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<ExitStatus, Failure> {
        for id in ids {
            self.printer.data(&printable(id))?;
        }
        Ok(ExitStatus::Success)
    }

    /// Whether only ids are asked for, by the command's own flag or, as by the original, by `--quiet`.
    fn wants_ids(&self, flag: bool) -> bool {
        flag || self.printer.is_quiet()
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

//! The verbs that only speak to a cluster, one file each; here is who is called and how it ends.

mod completions;
mod doctor;
mod env;
mod explain;
mod logs;
mod man;
mod plan;
mod probe;
mod resolver;
mod shell;
mod status;
mod zdd;

use std::path::Path;
use std::pin::Pin;

pub use self::doctor::{Check, Examined, Verdict};
pub use self::shell::{Namespace, NamespaceError};

use crate::args::{
    CompletionsArgs, DataDirArgs, DcosArgs, DnsVerb, DoctorArgs, EnvArgs, ExecArgs, ExplainArgs,
    LogsArgs, ManArgs, PlanArgs, ProbeArgs, ShellArgs, ZddArgs,
};
use crate::dcos::{self, TaskCommand};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::Front;
use crate::printer::Printer;
use crate::text;

/// A verb that only speaks to a cluster, with its arguments.
#[derive(Debug)]
pub struct ClientVerb(pub(crate) Verb);

#[derive(Debug)]
pub(crate) enum Verb {
    Status(DataDirArgs),
    Explain(ExplainArgs),
    Plan(PlanArgs),
    Zdd(ZddArgs),
    Env(EnvArgs),
    Probe(ProbeArgs),
    Logs(LogsArgs),
    Exec(ExecArgs),
    Shell(ShellArgs),
    Doctor(DoctorArgs),
    Resolver(DnsVerb),
    Dcos(DcosArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// What the verbs need to know of the machine that other crates know.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Tasks that still run although the cluster of this data directory does not: one line each.
    pub leftovers: fn(data_dir: &Path) -> Vec<String>,
    /// Roles that run on their own with this data directory: one line each.
    pub roles: fn(data_dir: &Path) -> Vec<String>,
    /// Runs a command in a task, in place of this process; returns only if it cannot.
    pub enter: fn(command: &TaskCommand) -> Box<dyn std::error::Error>,
    /// Runs a program in a namespace, in place of this process; returns only if it cannot.
    pub namespace: fn(namespace: &Namespace) -> NamespaceError,
    /// Looks at what a cluster needs of this machine.
    pub examine: fn(examined: Examined) -> Examination,
}

/// What [`Hooks::examine`] finds.
pub type Examination = Pin<Box<dyn Future<Output = Vec<Check>>>>;

impl Hooks {
    /// Knows of nothing.
    pub const NONE: Self = Self {
        leftovers: |_| Vec::new(),
        roles: |_| Vec::new(),
        enter: |command| format!("nobody can enter {}", command.task_id).into(),
        namespace: |_| NamespaceError::Refused(std::io::ErrorKind::Unsupported.into()),
        examine: |_| Box::pin(async { Vec::new() }),
    };
}

/// Carries out a verb, prints what there is to say and tells how it ended.
///
/// Dropping the future abandons the verb; requests already sent may still be carried out.
pub async fn run_client(verb: ClientVerb, printer: &Printer, hooks: &Hooks) -> ExitStatus {
    match verb.0 {
        Verb::Dcos(args) => end_as_dcos(printer, dcos::run(args, printer, hooks).await),
        Verb::Status(args) => end(printer, status::run(&args, printer, hooks).await),
        Verb::Explain(args) => end(printer, explain::run(&args, printer).await),
        Verb::Plan(args) => end(printer, plan::run(&args, printer).await),
        Verb::Zdd(args) => end(printer, zdd::run(&args, printer).await),
        Verb::Env(args) => end(printer, env::run(&args, printer)),
        Verb::Probe(args) => end(printer, probe::run(args, printer).await),
        Verb::Logs(args) => end(printer, logs::run(&args, printer).await),
        Verb::Exec(args) => end(printer, exec(args, hooks).await),
        Verb::Shell(args) => end(printer, shell::run(&args, printer, hooks).await),
        Verb::Doctor(args) => end(printer, doctor::run(&args, printer, hooks).await),
        Verb::Resolver(verb) => end(printer, resolver::run(&verb, printer)),
        Verb::Man(args) => end(printer, man::run(&args, printer)),
        Verb::Completions(args) => end(printer, completions::run(&args, printer)),
    }
}

async fn exec(args: ExecArgs, hooks: &Hooks) -> Result<ExitStatus, Failure> {
    let front = Front::locate(&args.data_dir)?;
    dcos::exec(args.in_task, &front, hooks).await
}

fn end(printer: &Printer, result: Result<ExitStatus, Failure>) -> ExitStatus {
    match result {
        Ok(status) => status,
        Err(Failure::BrokenPipe) => ExitStatus::BrokenPipe,
        Err(failure) => {
            printer.error(&failure, failure.hint());
            failure.exit_status()
        }
    }
}

/// The original prints failures bare, and ends with 1 whatever they are.
pub(crate) fn end_as_dcos(printer: &Printer, result: Result<ExitStatus, Failure>) -> ExitStatus {
    match result {
        Ok(status) => status,
        Err(Failure::BrokenPipe) => ExitStatus::BrokenPipe,
        Err(failure) => {
            printer.say(&text::printable(&text::chain(&failure)));
            if let Some(hint) = failure.hint() {
                printer.hint(hint);
            }
            ExitStatus::Failure
        }
    }
}

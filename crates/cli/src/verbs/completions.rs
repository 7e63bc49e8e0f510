//! `zddcluster completions`: a completion script on stdout.

use clap_complete::{Shell as Dialect, generate};

use crate::args::{CompletedCommand, CompletionsArgs, Shell, command, dcos_command};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::printer::Printer;

pub(super) fn run(args: &CompletionsArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let (mut grammar, name) = match args.command {
        CompletedCommand::Zddcluster => (command(), "zddcluster"),
        CompletedCommand::Dcos => (dcos_command(), "dcos"),
    };
    let dialect = match args.shell {
        Shell::Bash => Dialect::Bash,
        Shell::Zsh => Dialect::Zsh,
        Shell::Fish => Dialect::Fish,
    };
    let mut script = Vec::new();
    generate(dialect, &mut grammar, name, &mut script);
    printer.raw(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}

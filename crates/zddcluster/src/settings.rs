//! The settings of `up` and of the roles, checked whole before anything starts: all faults are reported together.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::anyhow;
use zddcluster_cli::{Package, UpArgs};

use crate::fault::Fault;
use crate::logging;

/// Ends with all faults, if there are any.
pub(crate) fn refuse(faults: &[String]) -> Result<(), Fault> {
    match faults {
        [] => Ok(()),
        faults => Err(Fault::settings(anyhow!("{}", faults.join("\nerror: ")))),
    }
}

/// Prints the settings in effect.
pub(crate) fn print(dump: &str) -> Result<ExitCode, Fault> {
    match io::stdout().write_all(dump.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
    }
}

/// What `up` needs beyond the arguments that need no check.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// As the command line, the environment and the defaults have it.
    pub(crate) args: UpArgs,
    /// Absolute.
    pub(crate) data_dir: PathBuf,
}

impl Settings {
    /// Checks what the grammar could not.
    pub(crate) fn check(args: UpArgs) -> Result<Self, Fault> {
        let mut faults = Vec::new();
        let data_dir = zddcluster_cli::data_dir(args.data_dir())
            .map_err(|error| faults.push(format!("{error}; hint: {}", error.hint())))
            .ok();
        if let Err(error) = logging::check(&args.log.filter) {
            faults.push(error);
        }
        if args.with.contains(&Package::MarathonLb) && args.public_agents == 0 {
            faults.push(
                "--with marathon-lb needs a public agent; hint: --public-agents 1".to_owned(),
            );
        }
        match data_dir {
            Some(data_dir) if faults.is_empty() => Ok(Self { args, data_dir }),
            _ => Err(Fault::settings(anyhow!("{}", faults.join("\nerror: ")))),
        }
    }
}

#[cfg(test)]
mod tests {
    use zddcluster_cli::{Invocation, parse};

    use super::*;

    fn check(line: &str) -> Result<Settings, Fault> {
        let words = ["zddcluster", "up", "--data-dir", "/d"]
            .into_iter()
            .chain(line.split_whitespace());
        match parse(words).unwrap().invocation {
            Invocation::Up(args) => Settings::check(args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let line = "--with marathon-lb --public-agents 0 --log zdd=nope";
        let fault = check(line).unwrap_err();
        let message = fault.message();
        for part in ["public agent", "log filter"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(fault.status.code(), 64);
    }

    #[test]
    fn the_data_directory_is_the_given_one() {
        assert_eq!(check("").unwrap().data_dir, PathBuf::from("/d"));
    }
}

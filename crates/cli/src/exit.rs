//! How a command ended, as a number the shell sees.

use std::process::ExitCode;

/// The exit codes of every verb; `zddcluster --help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// Done.
    Success,
    /// The cluster or a file refused; what was asked for did not happen. Every failure of a `dcos` command is this one,
    /// as scripts written for the original expect.
    Failure,
    /// The command line cannot be understood (clap's number).
    Usage,
    /// No cluster runs that the command could speak to.
    NotRunning,
    /// The settings are wrong: nothing was started (`EX_USAGE`).
    Config,
    /// One of zdd.py's codes, which `zdd` has.
    Zdd(u8),
    /// The reader of stdout went away, as a process ended by SIGPIPE shows it.
    BrokenPipe,
}

impl ExitStatus {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::Config => 64,
            Self::Zdd(code) => code,
            Self::BrokenPipe => 141,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

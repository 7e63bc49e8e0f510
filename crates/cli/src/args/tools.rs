//! The verbs for whoever sits at the machine: what is wrong with it, logs, commands in tasks, a shell, name resolution, pages.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::dcos::InTaskArgs;
use super::up::Containerizer;
use super::value::{BARE, LoopbackNet};
use super::{DataDirArgs, examples};

/// The settings of `doctor`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// The loopback /24 that a cluster would live in
    #[arg(long, env = "ZDD_NET", value_name = "NET", default_value_t = LoopbackNet::DEFAULT)]
    pub(crate) net: LoopbackNet,
    /// What would run the tasks
    #[arg(long, env = "ZDD_CONTAINERIZER", value_enum, default_value_t = Containerizer::Auto)]
    pub(crate) containerizer: Containerizer,
}

/// The settings of `logs`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// Go on printing what is added, by tasks that start meanwhile as well
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How many lines of each file that is there at the beginning
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) lines: usize,
    /// Only this file of the sandboxes [default: stdout and stderr]
    #[arg(long, value_name = "NAME")]
    pub(crate) file: Option<String>,
    /// Tasks that have ended as well
    #[arg(long)]
    pub(crate) completed: bool,
    /// The app
    #[arg(value_name = "APP")]
    pub(crate) app: String,
}

/// The settings of `exec`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    #[command(flatten)]
    pub(crate) in_task: InTaskArgs,
}

/// The settings of `shell`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShellArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// Instead of a shell: keep this file true for the shell that sees it as /etc/hosts
    #[arg(long, hide = true, requires = "of")]
    pub(crate) renew_hosts: Option<PathBuf>,
    /// The process that is the shell
    #[arg(long, hide = true, requires = "renew_hosts")]
    pub(crate) of: Option<u32>,
    /// A command to run instead of the shell that $SHELL names
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<OsString>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DnsVerb {
    /// Have this machine resolve the cluster's names; shown before it is done
    #[command(after_help = examples::DNS_INSTALL)]
    Install(ResolverArgs),
    /// Undo that
    #[command(after_help = examples::DNS_UNINSTALL)]
    Uninstall(ResolverArgs),
}

/// The settings of `dns install` and `dns uninstall`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResolverArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// What resolves names on this machine
    #[arg(long, value_enum, default_value_t = Resolver::Auto)]
    pub(crate) resolver: Resolver,
    /// Show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What resolves names on a machine, and can be told of another server for some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Resolver {
    /// The one that is found.
    #[value(help = BARE)]
    Auto,
    /// systemd-resolved.
    #[value(help = BARE)]
    SystemdResolved,
    /// dnsmasq, as NetworkManager runs it.
    #[value(help = BARE)]
    NetworkManager,
    /// dnsmasq on its own.
    #[value(help = BARE)]
    Dnsmasq,
}

/// The settings of `man`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ManArgs {
    /// Where the pages are put; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

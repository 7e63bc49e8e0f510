//! The settings of a cluster: `up`, `down`, and what every verb that means one has in common.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::common::{ConfigArgs, HostArgs};
use super::value::{self, AttributeSpec, BARE, LoopbackNet, ResourceSpec};

/// The most public agents a cluster may have: its /24 keeps .2 to .10 for them.
const MAX_PUBLIC_AGENTS: i64 = 9;
/// The most private agents a cluster may have: its /24 keeps .11 to .254 for them.
const MAX_AGENTS: i64 = 244;

/// The settings of `up`.
#[derive(Clone, Debug, Args)]
pub struct UpArgs {
    /// Private agents
    #[arg(long, env = "ZDD_AGENTS", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(0..=MAX_AGENTS))]
    pub agents: u16,
    /// Public agents
    #[arg(long, env = "ZDD_PUBLIC_AGENTS", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=MAX_PUBLIC_AGENTS))]
    pub public_agents: u16,
    /// Install a package at the first start; may be given more than once
    #[arg(
        long = "with",
        env = "ZDD_WITH",
        value_name = "PACKAGE",
        value_enum,
        value_delimiter = ','
    )]
    pub with: Vec<Package>,
    /// What runs the tasks; `auto` takes Docker when an engine answers, else plain processes
    #[arg(long, env = "ZDD_CONTAINERIZER", value_enum, default_value_t = Containerizer::Auto)]
    pub containerizer: Containerizer,
    /// The loopback /24 the cluster lives in; another one for each cluster that runs side by side
    #[arg(long, env = "ZDD_NET", value_name = "NET", default_value_t = LoopbackNet::DEFAULT)]
    pub net: LoopbackNet,
    /// What each agent offers, whatever the host has [default: cpus:4;mem:14861;disk:35577]
    #[arg(long, env = "ZDD_RESOURCES", value_name = "RESOURCES", default_value_t = ResourceSpec::default(), hide_default_value = true)]
    pub resources: ResourceSpec,
    /// Attributes of private agents, for constraints: rack:a;zone:north; given more than once, agents take them in turn
    #[arg(long, env = "ZDD_ATTRIBUTES", value_name = "ATTRIBUTES")]
    pub attributes: Vec<AttributeSpec>,
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// Fill a new data directory from the snapshot.json of a damaged one
    #[arg(long, env = "ZDD_RESTORE", value_name = "FILE")]
    pub restore: Option<PathBuf>,
    /// Divide the control plane's times by N: health intervals, grace, back-off
    #[arg(long, env = "ZDD_SPEED", value_name = "N", default_value_t = 1.0, value_parser = value::speed)]
    pub speed: f64,
    /// Let DNS answer as the RFCs say where Mesos-DNS does not, with EDNS, and name addresses and gateways
    #[arg(long, env = "ZDD_DNS_EXTRAS")]
    pub dns_extras: bool,
    /// Return when the cluster is ready and leave it running
    #[arg(long, env = "ZDD_DETACH")]
    pub detach: bool,
    #[command(flatten)]
    pub hosts: HostArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Send SIGTERM without waiting for the edges to drain the task
    #[arg(long, env = "ZDD_NO_DRAIN", hide = true)]
    pub no_drain: bool,
    /// Shift the cluster's clock, for tests of clocks that jump
    #[arg(
        long,
        env = "ZDD_CLOCK_OFFSET_SECONDS",
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        hide = true
    )]
    pub clock_offset_seconds: i64,
}

impl UpArgs {
    /// `--data-dir`, if given: see [`data_dir`](crate::data_dir).
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.get()
    }
}

/// What is logged; the log itself goes to stderr.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// What to log: a level or a filter such as `warn,zddcluster_edge=debug`
    #[arg(
        long = "log",
        env = "ZDD_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub filter: String,
}

/// The settings of `down`.
#[derive(Clone, Debug, Args)]
pub struct DownArgs {
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// How long to wait for the tasks to end; what an `up` that was killed left behind is killed then
    #[arg(
        long,
        env = "ZDD_DOWN_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 30
    )]
    pub timeout: u64,
}

impl DownArgs {
    /// `--data-dir`, if given: see [`data_dir`](crate::data_dir).
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.get()
    }
}

/// Which cluster is meant.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DataDirArgs {
    /// The cluster's directory [default: zddcluster in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long = "data-dir", env = "ZDD_DATA_DIR", value_name = "DIR")]
    path: Option<PathBuf>,
}

impl DataDirArgs {
    pub(crate) fn get(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: Some(path.to_owned()),
        }
    }
}

/// A built-in package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Package {
    /// The edge proxy on the public agents.
    #[value(help = BARE)]
    MarathonLb,
}

impl Package {
    /// The package's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MarathonLb => "marathon-lb",
        }
    }
}

/// What runs the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Containerizer {
    /// Docker when an engine answers, else processes.
    #[value(help = BARE)]
    Auto,
    /// Plain processes.
    #[value(help = BARE)]
    Process,
    /// Docker.
    #[value(help = BARE)]
    Docker,
}

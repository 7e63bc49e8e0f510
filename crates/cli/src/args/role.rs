//! The settings of the roles on their own.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::up::{Containerizer, DataDirArgs, LogArgs};
use super::value::{self, ResourceSpec};

/// The settings of `master`.
#[derive(Clone, Debug, Args)]
pub struct MasterArgs {
    /// Where the Marathon API and everything else for users listens
    #[arg(long, env = "ZDD_FRONT", value_name = "ADDRESS:PORT", default_value_t = loopback(1, 8080), value_parser = value::loopback)]
    pub front: SocketAddr,
    /// Where the Mesos master API listens
    #[arg(long, env = "ZDD_MESOS", value_name = "ADDRESS:PORT", default_value_t = loopback(1, 5050), value_parser = value::loopback)]
    pub mesos: SocketAddr,
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// Divide the control plane's times by N
    #[arg(long, env = "ZDD_SPEED", value_name = "N", default_value_t = 1.0, value_parser = value::speed)]
    pub speed: f64,
    #[command(flatten)]
    pub log: LogArgs,
    /// Send SIGTERM without waiting for the edges to drain the task
    #[arg(long, env = "ZDD_NO_DRAIN", hide = true)]
    pub no_drain: bool,
}

impl MasterArgs {
    /// `--data-dir`, if given: see [`data_dir`](crate::data_dir).
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.get()
    }
}

/// The settings of `agent`.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// The master's front door
    #[arg(
        long,
        env = "ZDD_MASTER_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub master: String,
    /// The address of the agent and its tasks
    #[arg(long, env = "ZDD_HOSTNAME", value_name = "ADDRESS", default_value_t = Ipv4Addr::new(127, 0, 0, 11), value_parser = value::loopback_ip)]
    pub hostname: Ipv4Addr,
    /// The port of the agent's API
    #[arg(long, env = "ZDD_AGENT_PORT", default_value_t = 5051)]
    pub port: u16,
    /// Offer the resources for public apps
    #[arg(long, env = "ZDD_PUBLIC")]
    pub public: bool,
    /// What the agent offers [default: cpus:4;mem:14861;disk:35577]
    #[arg(long, env = "ZDD_RESOURCES", value_name = "RESOURCES", default_value_t = ResourceSpec::default(), hide_default_value = true)]
    pub resources: ResourceSpec,
    /// Where sandboxes are kept
    #[arg(long, env = "ZDD_WORK_DIR", value_name = "DIR")]
    pub work_dir: PathBuf,
    /// What runs the tasks
    #[arg(long, env = "ZDD_CONTAINERIZER", value_enum, default_value_t = Containerizer::Auto)]
    pub containerizer: Containerizer,
    /// Divide the control plane's times by N; must be the master's
    #[arg(long, env = "ZDD_SPEED", value_name = "N", default_value_t = 1.0, value_parser = value::speed)]
    pub speed: f64,
    #[command(flatten)]
    pub log: LogArgs,
}

/// The settings of `dns`.
#[derive(Clone, Debug, Args)]
pub struct DnsArgs {
    /// The Mesos master to follow
    #[arg(
        long,
        env = "ZDD_MESOS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:5050"
    )]
    pub master: String,
    /// Where queries are answered, UDP and TCP
    #[arg(long, env = "ZDD_DNS_LISTEN", value_name = "ADDRESS:PORT", default_value_t = loopback(1, 8053), value_parser = value::loopback)]
    pub listen: SocketAddr,
    /// The domain of all names
    #[arg(long, env = "ZDD_DNS_DOMAIN", default_value = "mesos")]
    pub domain: String,
    /// Seconds an answer may be kept
    #[arg(
        long,
        env = "ZDD_DNS_TTL",
        value_name = "SECONDS",
        default_value_t = 60
    )]
    pub ttl: u32,
    #[command(flatten)]
    pub log: LogArgs,
}

/// The settings of `edge`: marathon-lb's own command line, which the edge reads itself.
#[derive(Clone, Debug, Args)]
pub struct EdgeArgs {
    /// As for marathon-lb, for instance `sse -m http://master.mesos:8080 --group external`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub args: Vec<OsString>,
}

/// The test service has no flags: it is set up by its environment, as in the lab.
#[derive(Clone, Copy, Debug, Args)]
pub struct SimpleserviceArgs {}

/// An address of the default cluster.
const fn loopback(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), port)
}

//! `dcos node` and `dcos service`, and the rarer parts of `dcos task`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::AbsentArgs;
use crate::args::examples;

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodeArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// One more column: a field of the agents, with dots between keys; HEAD:FIELD names the column
    #[arg(long, value_name = "FIELD", conflicts_with = "json")]
    pub(crate) field: Vec<String>,
    #[command(subcommand)]
    pub(crate) verb: Option<NodeVerb>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Print the last lines of the master's log, or an agent's, or both
    Log(NodeLogArgs),
    /// Look up a name as Mesos-DNS has it
    Dns {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// For instance base-zdd.marathon.mesos
        dns_name: String,
    },
    /// Metrics of an agent
    #[command(subcommand)]
    Metrics(MetricsVerb),
    /// Tell the master that an agent is gone for good
    Decommission {
        /// The agent's id
        mesos_id: String,
    },
    /// List the parts that run on a node, as far as the cluster tells of them
    ListComponents {
        /// On the master
        #[arg(long)]
        leader: bool,
        /// On that agent
        #[arg(long, value_name = "ID")]
        mesos_id: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Diagnostics bundles, which this cluster has not
    #[command(hide = true)]
    Diagnostics(AbsentArgs),
    /// Open a shell on a node by ssh, or run a command there
    #[command(after_help = examples::SSH)]
    Ssh(SshArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct NodeLogArgs {
    #[command(flatten)]
    pub(crate) tail: TailArgs,
    /// The master's
    #[arg(long)]
    pub(crate) leader: bool,
    /// That agent's
    #[arg(long, value_name = "ID")]
    pub(crate) mesos_id: Option<String>,
    /// Of the original; only where logs are kept by journald
    #[arg(long, hide = true)]
    pub(crate) component: Option<String>,
    /// Of the original; only where logs are kept by journald
    #[arg(long, hide = true)]
    pub(crate) filter: Vec<String>,
    #[command(flatten)]
    pub(crate) former: FormerArgs,
}

/// Names of the first versions, which later ones refuse with a word on what they are called now.
#[derive(Clone, Debug, Args)]
pub(crate) struct FormerArgs {
    #[arg(long, hide = true)]
    pub(crate) master: bool,
    #[arg(long, hide = true)]
    pub(crate) slave: Option<String>,
}

/// Where `dcos node ssh` goes, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct SshArgs {
    /// To the master
    #[arg(long, group = "node")]
    pub(crate) leader: bool,
    /// To that agent
    #[arg(long, value_name = "ID", group = "node")]
    pub(crate) mesos_id: Option<String>,
    /// To the node with this address
    #[arg(long, value_name = "IP", group = "node")]
    pub(crate) private_ip: Option<String>,
    /// An option of ssh, as in ssh_config(5)
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) option: Vec<String>,
    /// A configuration file of ssh
    #[arg(long, value_name = "FILE")]
    pub(crate) config_file: Option<OsString>,
    /// As whom
    #[arg(long, default_value = "core")]
    pub(crate) user: String,
    /// By way of the master
    #[arg(long, conflicts_with = "proxy_ip")]
    pub(crate) master_proxy: bool,
    /// By way of the node with this address
    #[arg(long, value_name = "IP")]
    pub(crate) proxy_ip: Option<String>,
    #[command(flatten)]
    pub(crate) former: FormerArgs,
    /// What to run there, instead of a shell
    pub(crate) command: Option<String>,
}

/// How much of a log.
#[derive(Clone, Debug, Args)]
pub(crate) struct TailArgs {
    /// Go on printing what is added
    #[arg(long)]
    pub(crate) follow: bool,
    /// How many lines
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) lines: usize,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MetricsVerb {
    /// Print all of them
    Details {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Whose
        id: String,
    },
    /// Print processor, memory and disk
    Summary {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Whose
        id: String,
    },
}

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ServiceArgs {
    /// Those that have ended as well
    #[arg(long)]
    pub(crate) completed: bool,
    /// Those that have lost their connection as well
    #[arg(long)]
    pub(crate) inactive: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Option<ServiceVerb>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ServiceVerb {
    /// Print the last lines of a service's log
    Log {
        #[command(flatten)]
        tail: TailArgs,
        /// Accepted as by the original client
        #[arg(long, hide = true)]
        ssh_config_file: Option<OsString>,
        /// The service's name
        service: String,
        /// Which file of the sandbox [default: stdout]
        file: Option<String>,
    },
    /// Shut a service down, with all its tasks
    Shutdown {
        /// The service's id
        service_id: String,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TaskLsArgs {
    /// Tasks that have ended as well
    #[arg(long, visible_alias = "all")]
    pub(crate) completed: bool,
    /// Print all that is known of each file
    #[arg(long)]
    pub(crate) long: bool,
    /// Part of a task id, or a pattern with * and ?
    pub(crate) task: Option<String>,
    /// Which directory of the sandbox
    #[arg(default_value = ".")]
    pub(crate) path: String,
}

/// A command in a task, for `dcos task exec` and `zddcluster exec`.
#[derive(Clone, Debug, Args)]
#[command(after_help = examples::EXEC)]
pub(crate) struct InTaskArgs {
    /// Let the command read what is typed or piped in
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Give the command a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Part of a task id, or a pattern with * and ?
    pub(crate) task: String,
    /// The command and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "CMD"
    )]
    pub(crate) command: Vec<OsString>,
}

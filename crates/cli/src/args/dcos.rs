//! The grammar of the `dcos` client, as far as a zddcluster has something to answer.
//!
//! Source: the usage texts of dcoscli 0.4.14, 0.4.17 and 0.6.1.

mod about;
mod local;
mod marathon;
mod mesos;

use clap::{Args, Subcommand, ValueEnum};

pub(crate) use self::about::about;
pub(crate) use self::local::{AuthVerb, ClusterVerb, ConfigVerb, LocalVerb, LoginArgs};
pub(crate) use self::marathon::{AbsentArgs, DebugVerb, LeaderVerb, PluginVerb};
pub(crate) use self::mesos::{
    FormerArgs, InTaskArgs, MetricsVerb, NodeArgs, NodeLogArgs, NodeVerb, ServiceArgs, ServiceVerb,
    SshArgs, TailArgs, TaskLsArgs,
};
use super::{DataDirArgs, PackageVerb, examples};

/// A `dcos` command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct DcosArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// Accepted as by the original client
    #[arg(
        long,
        global = true,
        value_enum,
        env = "DCOS_LOG_LEVEL",
        value_name = "LEVEL",
        hide_possible_values = true
    )]
    pub(crate) log_level: Option<LogLevel>,
    /// Accepted as by the original client
    #[arg(long, global = true, hide = true)]
    pub(crate) debug: bool,
    /// Print the versions of the client and the cluster
    #[arg(long)]
    pub(crate) version: bool,
    /// What a command says of itself: to be printed instead of anything done.
    #[arg(skip)]
    pub(crate) about: Option<String>,
    #[command(subcommand)]
    pub(crate) verb: Option<DcosVerb>,
}

/// The severities of the original client; we have nothing to log, so they change nothing.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DcosVerb {
    #[command(flatten)]
    Remote(RemoteVerb),
    #[command(flatten)]
    Local(LocalVerb),
}

/// The commands that speak to a cluster.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum RemoteVerb {
    /// Deploy and manage applications
    #[command(subcommand)]
    Marathon(MarathonVerb),
    /// List tasks, look into their sandboxes, run commands in them
    #[command(after_help = examples::TASK)]
    Task(TaskArgs),
    /// List the nodes of the cluster, read their logs
    #[command(after_help = examples::NODE)]
    Node(NodeArgs),
    /// List the services of the cluster, read their logs
    #[command(after_help = examples::SERVICE)]
    Service(ServiceArgs),
    /// Install and manage packages
    #[command(subcommand, after_help = examples::PACKAGE)]
    Package(PackageVerb),
    /// Jobs, which a DC/OS 1.8 without Metronome has not
    Job(AbsentArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MarathonVerb {
    /// Print what Marathon says of itself
    About,
    /// Applications
    #[command(subcommand, after_help = examples::MARATHON_APP)]
    App(AppVerb),
    /// Groups of applications
    #[command(subcommand, after_help = examples::MARATHON_GROUP)]
    Group(GroupVerb),
    /// Deployments that run
    #[command(subcommand, after_help = examples::DEPLOYMENT)]
    Deployment(DeploymentVerb),
    /// Tasks of applications
    #[command(subcommand, after_help = examples::MARATHON_TASK)]
    Task(MarathonTaskVerb),
    /// Why applications wait
    #[command(subcommand, after_help = examples::DEBUG)]
    Debug(DebugVerb),
    /// Which master leads
    #[command(subcommand)]
    Leader(LeaderVerb),
    /// Ask Marathon whether it is there
    Ping {
        /// Once, however many masters there are
        #[arg(long)]
        once: bool,
    },
    /// Plugins of Marathon
    #[command(subcommand)]
    Plugin(PluginVerb),
    /// Pods, which a Marathon 1.3 has not
    Pod(AbsentArgs),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AppVerb {
    /// Add an application
    #[command(after_help = examples::APP_ADD)]
    Add {
        /// File or http:// address of the definition; stdin if absent
        app_resource: Option<String>,
    },
    /// List the applications
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Print ids only
        #[arg(short = 'q', conflicts_with = "json")]
        ids: bool,
    },
    /// Print an application
    #[command(after_help = examples::APP_SHOW)]
    Show {
        /// The application's id
        app_id: String,
        /// A version: a time, or -N for the Nth before the current one
        #[arg(long, allow_hyphen_values = true)]
        app_version: Option<String>,
    },
    /// Update an application
    #[command(after_help = examples::APP_UPDATE)]
    Update {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The application's id
        app_id: String,
        /// New values, KEY=VALUE; a JSON object on stdin if absent
        #[arg(value_name = "KEY=VALUE")]
        properties: Vec<String>,
    },
    /// Remove an application
    Remove {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The application's id
        app_id: String,
    },
    /// Start an application that is stopped
    #[command(after_help = examples::APP_START)]
    Start {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The application's id
        app_id: String,
        /// How many instances [default: 1]
        #[arg(allow_negative_numbers = true)]
        instances: Option<i64>,
    },
    /// Stop an application: no instances
    Stop {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The application's id
        app_id: String,
    },
    /// Replace every task of an application
    Restart {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The application's id
        app_id: String,
    },
    /// Kill the tasks of an application; new ones replace them
    #[command(after_help = examples::APP_KILL)]
    Kill {
        /// Lower the number of instances as well
        #[arg(long)]
        scale: bool,
        /// Only tasks on this host
        #[arg(long)]
        host: Option<String>,
        /// The application's id
        app_id: String,
    },
    /// Versions of an application
    #[command(subcommand)]
    Version(VersionVerb),
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum VersionVerb {
    /// List the versions, newest first
    List {
        /// At most so many
        #[arg(long)]
        max_count: Option<usize>,
        /// The application's id
        app_id: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GroupVerb {
    /// Add a group
    #[command(after_help = examples::GROUP_ADD)]
    Add {
        /// File or http:// address of the definition; stdin if absent
        group_resource: Option<String>,
    },
    /// List the groups with the number of applications in each
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a group
    Show {
        /// The group's id
        group_id: String,
        /// A version: a time
        #[arg(long)]
        group_version: Option<String>,
    },
    /// Remove a group and every application in it
    Remove {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The group's id
        group_id: String,
    },
    /// Multiply the instances of every application in a group
    Scale {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The group's id
        group_id: String,
        /// By how much; results are rounded up
        #[arg(allow_negative_numbers = true)]
        scale_factor: String,
    },
    /// Update a group
    #[command(after_help = examples::GROUP_UPDATE)]
    Update {
        /// Do it even though a deployment runs
        #[arg(long)]
        force: bool,
        /// The group's id
        group_id: String,
        /// New values, KEY=VALUE; a JSON object on stdin if absent
        #[arg(value_name = "KEY=VALUE")]
        properties: Vec<String>,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DeploymentVerb {
    /// List the deployments that run
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Print ids only
        #[arg(short = 'q', conflicts_with = "json")]
        ids: bool,
        /// Only those that touch this application
        app_id: Option<String>,
    },
    /// Undo a deployment: a new one leads back to the state before it
    Rollback {
        /// The deployment's id
        deployment_id: String,
    },
    /// Stop a deployment where it is; nothing is undone
    Stop {
        /// The deployment's id
        deployment_id: String,
    },
    /// Follow a deployment until it is done
    Watch {
        /// Ask at most so many times
        #[arg(long)]
        max_count: Option<u64>,
        /// Seconds between two questions
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
        interval: u64,
        /// The deployment's id
        deployment_id: String,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MarathonTaskVerb {
    /// List the tasks
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Print ids only
        #[arg(short = 'q', conflicts_with = "json")]
        ids: bool,
        /// Only those of this application
        app_id: Option<String>,
    },
    /// Print a task
    Show {
        /// The task's id
        task_id: String,
    },
    /// Kill a task; a new one replaces it
    Stop {
        /// Forget its volumes as well
        #[arg(long)]
        wipe: bool,
        /// The task's id
        task_id: String,
    },
    /// Kill tasks; new ones replace them
    Kill {
        /// Lower the number of instances as well
        #[arg(long)]
        scale: bool,
        /// Forget their volumes as well
        #[arg(long)]
        wipe: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The tasks' ids
        #[arg(required = true)]
        task_ids: Vec<String>,
    },
}

#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct TaskArgs {
    /// Tasks that have ended as well
    #[arg(long, visible_alias = "all")]
    pub(crate) completed: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Part of a task id, or a pattern with * and ?
    pub(crate) task: Option<String>,
    #[command(subcommand)]
    pub(crate) verb: Option<TaskVerb>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TaskVerb {
    /// Print the last lines of a task's log
    #[command(after_help = examples::TASK_LOG)]
    Log(TaskLogArgs),
    /// List the files in a task's sandbox
    #[command(after_help = examples::TASK_LS)]
    Ls(TaskLsArgs),
    /// Run a command in a task
    Exec(InTaskArgs),
    /// Metrics of a task
    #[command(subcommand)]
    Metrics(MetricsVerb),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TaskLogArgs {
    /// Go on printing what is added
    #[arg(long)]
    pub(crate) follow: bool,
    /// How many lines
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) lines: usize,
    /// Tasks that have ended as well
    #[arg(long, visible_alias = "all")]
    pub(crate) completed: bool,
    /// Part of a task id, or a pattern with * and ?
    pub(crate) task: Option<String>,
    /// Which file of the sandbox
    #[arg(default_value = "stdout")]
    pub(crate) file: String,
}

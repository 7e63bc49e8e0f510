//! The settings of `plan`.

use std::path::PathBuf;

use clap::Args;
use zddcluster_engine::predict::{Assumptions, Share};

use super::up::DataDirArgs;
use super::value;

/// What `plan` is to work out, where, and under which assumptions.
#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    /// Files with what is wanted: an app or a part of one, a list of apps, or a group; `-` reads standard input. With an app's
    /// id before them they are a change of that app, as are KEY=VALUE pairs
    #[arg(required = true, value_name = "[APP] FILE|KEY=VALUE")]
    pub(crate) words: Vec<String>,
    /// Plan as if running deployments of the same apps were cancelled
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(flatten)]
    pub(crate) assumed: AssumedArgs,
}

/// On which cluster.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster (the one that runs, unless one is given)")]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// A cluster written down with: curl http://127.0.0.1:8080/zdd/v1/cluster
    #[arg(long, value_name = "FILE", conflicts_with_all = ["agents", "from"])]
    pub(crate) cluster: Option<PathBuf>,
    /// A cluster that need not exist: so many private agents, each with --cpus, --mem and --disk
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) agents: Option<u16>,
    /// So many public agents beside them
    #[arg(
        long,
        value_name = "N",
        requires = "agents",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=1000)
    )]
    pub(crate) public_agents: u16,
    /// Cores of each agent
    #[arg(long, value_name = "N", requires = "agents", default_value_t = 4.0, value_parser = value::amount)]
    pub(crate) cpus: f64,
    /// Memory of each agent, MiB
    #[arg(long, value_name = "MIB", requires = "agents", default_value_t = 14_861.0, value_parser = value::amount)]
    pub(crate) mem: f64,
    /// Disk of each agent, MiB
    #[arg(long, value_name = "MIB", requires = "agents", default_value_t = 35_577.0, value_parser = value::amount)]
    pub(crate) disk: f64,
    /// What runs there before: a file like those above; may be given more than once
    #[arg(long, value_name = "FILE", requires = "agents")]
    pub(crate) from: Vec<String>,
}

/// What is taken for granted.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Assumptions (seconds on the cluster's clock)")]
pub(crate) struct AssumedArgs {
    /// A task runs so long after its launch
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = value::seconds_or_none)]
    pub(crate) start_seconds: f64,
    /// A task ends so long after SIGTERM, at the latest when its kill grace is over
    #[arg(long, value_name = "SECONDS", default_value_t = 0.2, value_parser = value::seconds_or_none)]
    pub(crate) kill_seconds: f64,
    /// Tasks ignore SIGTERM, so that each takes its whole kill grace (20 s for containers, 3 s for commands)
    #[arg(long, conflicts_with = "kill_seconds")]
    pub(crate) ignores_sigterm: bool,
    /// An edge lets a task go so long after its kill was decided
    #[arg(long, value_name = "SECONDS", default_value_t = 0.1, value_parser = value::seconds_or_none)]
    pub(crate) drain_seconds: f64,
    /// An answer to a check takes so long [default: 0.1; for the lab's simpleservice the middle of HEALTH_MIN and HEALTH_MAX]
    #[arg(long, value_name = "SECONDS", value_parser = value::seconds_or_none)]
    pub(crate) answer_seconds: Option<f64>,
    /// Answers to health checks are good so long after a task began to run; with commas one for each check [default: 0]
    #[arg(long, value_name = "SECONDS", value_delimiter = ',', value_parser = value::seconds_or_none)]
    pub(crate) healthy_seconds: Vec<f64>,
    /// Answers to the readiness check are good so long after a task began to run
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = value::seconds_or_none)]
    pub(crate) ready_seconds: f64,
    /// What each new task answers to its health checks in turn, good or bad; the last one repeats [default: good]
    #[arg(long, value_name = "ANSWERS", value_delimiter = ',', value_parser = value::answer)]
    pub(crate) health_answers: Vec<bool>,
    /// So many new tasks never pass their checks, nor do those that replace them: a number, or all
    #[arg(long, value_name = "N", default_value_t = Share::Some(0))]
    pub(crate) fails: Share,
    /// So many new tasks end by themselves as soon as they run, as do those that replace them: a number, or all
    #[arg(long, value_name = "N", default_value_t = Share::Some(0))]
    pub(crate) crashes: Share,
}

impl AssumedArgs {
    /// The assumptions that the flags make.
    pub(crate) fn assumptions(&self) -> Assumptions {
        let Self {
            start_seconds,
            kill_seconds,
            ignores_sigterm,
            drain_seconds,
            answer_seconds,
            healthy_seconds,
            ready_seconds,
            health_answers,
            fails,
            crashes,
        } = self.clone();
        Assumptions {
            start_seconds,
            kill_seconds,
            ignores_sigterm,
            drain_seconds,
            answer_seconds,
            healthy_seconds,
            ready_seconds,
            health_answers,
            fails,
            crashes,
        }
    }
}

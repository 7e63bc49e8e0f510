//! The grammar of `zddcluster`; what the words mean is decided elsewhere.
//!
//! Settings come from flags, else from the environment (`ZDD_…`), else from the file of `--config`, else from the defaults
//! shown in the help.

mod common;
mod dcos;
mod examples;
mod file;
mod package;
mod plan;
mod role;
mod tools;
mod up;
mod value;
mod zdd;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::exit::ExitStatus;
use crate::verbs::{ClientVerb, Verb as ClientVerbs};

pub use self::common::{ConfigArgs, HostArgs, MemberArgs, TokenArgs};
pub(crate) use self::dcos::{
    AppVerb, AuthVerb, ClusterVerb, ConfigVerb, DcosArgs, DcosVerb, DebugVerb, DeploymentVerb,
    FormerArgs, GroupVerb, InTaskArgs, LeaderVerb, LocalVerb, LoginArgs, MarathonTaskVerb,
    MarathonVerb, MetricsVerb, NodeArgs, NodeLogArgs, NodeVerb, PluginVerb, RemoteVerb,
    ServiceArgs, ServiceVerb, SshArgs, TailArgs, TaskArgs, TaskLogArgs, TaskLsArgs, TaskVerb,
    VersionVerb,
};
use self::file::Read;
pub use self::file::is_json;
pub(crate) use self::package::{DescribeArgs, InstallArgs, PackageVerb, RepoVerb, UninstallArgs};
pub(crate) use self::plan::{PlaceArgs, PlanArgs};
pub use self::role::{AgentArgs, DnsArgs, EdgeArgs, MasterArgs, SimpleserviceArgs};
pub(crate) use self::tools::{
    DnsVerb, DoctorArgs, ExecArgs, LogsArgs, ManArgs, Resolver, ResolverArgs, ShellArgs,
};
pub(crate) use self::up::DataDirArgs;
pub use self::up::{Containerizer, DownArgs, LogArgs, Package, UpArgs};
use self::value::BARE;
pub use self::value::{AttributeSpec, LoopbackNet, ResourceSpec};
pub(crate) use self::zdd::{BARE_JSON, ZddArgs};

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 refused or failed, 2 wrong command line, 3 no cluster runs, 64 wrong settings,
141 the reader of the output went away. A dcos command that fails ends with 1, whatever the reason.";

/// Zero downtime deployments on a DC/OS in miniature.
#[derive(Debug, Parser)]
#[command(name = "zddcluster", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

/// The grammar when the binary is called `dcos`.
#[derive(Debug, Parser)]
#[command(
    name = "dcos",
    about = "The commands of the DC/OS client that a zddcluster understands.",
    disable_version_flag = true,
    after_help = examples::DCOS,
    max_term_width = 100
)]
struct DcosCli {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    dcos: DcosArgs,
}

/// What holds for every verb.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// How data is printed
    #[arg(long, global = true, value_enum, env = "ZDD_OUTPUT", default_value_t = Format::Table, help_heading = "Output")]
    pub output: Format,
    /// Print only data and errors
    #[arg(long, global = true, env = "ZDD_QUIET", help_heading = "Output")]
    pub quiet: bool,
    /// Whether to colour what is printed
    #[arg(long, global = true, value_enum, env = "ZDD_COLOR", default_value_t = ColorWhen::Auto, help_heading = "Output")]
    pub color: ColorWhen,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[value(help = BARE)]
    Table,
    /// For programs.
    #[value(help = BARE)]
    Json,
}

/// Whether to colour what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set.
    #[value(help = BARE)]
    Auto,
    /// Always.
    #[value(help = BARE)]
    Always,
    /// Never.
    #[value(help = BARE)]
    Never,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a cluster and keep it running until Ctrl-C
    #[command(after_help = examples::UP)]
    Up(UpArgs),
    /// Stop the cluster and all its tasks; `up` brings the apps back
    #[command(after_help = examples::DOWN)]
    Down(DownArgs),
    /// Show where everything is and how the apps are
    #[command(after_help = examples::STATUS)]
    Status(DataDirArgs),
    /// Say why an app waits, or everything that waits, and what would help
    #[command(after_help = examples::EXPLAIN)]
    Explain(ExplainArgs),
    /// Show what an update will do, before it happens
    #[command(after_help = examples::PLAN)]
    Plan(PlanArgs),
    /// Replace an app by its next version as Marathon-LB's zdd.py does, one step at a time
    #[command(after_help = examples::ZDD)]
    Zdd(ZddArgs),
    /// Print the logs of all tasks of an app
    #[command(after_help = examples::LOGS)]
    Logs(LogsArgs),
    /// Run a command in a task
    Exec(ExecArgs),
    /// Open a shell in which `*.mesos` names resolve and `dcos` is on the PATH
    #[command(after_help = examples::SHELL)]
    Shell(ShellArgs),
    /// Say what on this machine would hinder a cluster, and what to do about it
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// Print shell lines that put `dcos` on the PATH and name the cluster's addresses
    #[command(after_help = examples::ENV)]
    Env(EnvArgs),
    /// Send a steady load to a URL and account for every request
    #[command(after_help = examples::PROBE)]
    Probe(ProbeArgs),
    /// Speak to the cluster as the dcos client does
    #[command(disable_version_flag = true, after_help = examples::DCOS)]
    Dcos(DcosArgs),
    /// Print a completion script for a shell
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArgs),
    /// Write manual pages
    #[command(after_help = examples::MAN)]
    Man(ManArgs),
    /// Run a master alone
    #[command(after_help = examples::MASTER)]
    Master(MasterArgs),
    /// Run an agent alone
    #[command(after_help = examples::AGENT)]
    Agent(AgentArgs),
    /// Run the DNS server alone, or have this machine ask it
    #[command(after_help = examples::DNS, args_conflicts_with_subcommands = true)]
    Dns(DnsArgs),
    /// Run the edge proxy, with the arguments of marathon-lb
    #[command(after_help = examples::EDGE)]
    Edge(EdgeArgs),
    /// Run the lab's test service, set up by its environment (PORT0, SIMPLE_SERVICE_VERSION, HEALTH_MIN, HEALTH_MAX)
    #[command(after_help = examples::SIMPLESERVICE)]
    Simpleservice(SimpleserviceArgs),
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// Start a cluster.
    Up(UpArgs),
    /// Stop a cluster.
    Down(DownArgs),
    /// A master alone.
    Master(MasterArgs),
    /// An agent alone.
    Agent(AgentArgs),
    /// A DNS server alone.
    Dns(DnsArgs),
    /// An edge.
    Edge(EdgeArgs),
    /// The test service.
    Simpleservice(SimpleserviceArgs),
    /// A verb that only speaks to a cluster: [`run_client`](crate::run_client).
    Client(ClientVerb),
}

/// A command line that was understood.
#[derive(Debug)]
pub struct Parsed {
    /// What holds for every verb.
    pub globals: Globals,
    /// What is asked for.
    pub invocation: Invocation,
    /// With `--dump-config`: the settings in effect, as a TOML file. They are to be printed instead of anything done.
    pub dump: Option<String>,
}

/// The settings of `explain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// The app; without it everything that waits
    #[arg(value_name = "APP")]
    pub(crate) app: Option<String>,
}

/// The settings of `env`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EnvArgs {
    #[command(flatten)]
    pub(crate) data_dir: DataDirArgs,
    /// For which shell [default: the one $SHELL names]
    #[arg(long, value_enum)]
    pub(crate) shell: Option<Shell>,
}

/// The settings of `probe`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Where to send the requests
    pub(crate) url: String,
    /// Requests a second
    #[arg(
        long,
        env = "ZDD_PROBE_RATE",
        value_name = "N",
        default_value_t = 100.0
    )]
    pub(crate) rate: f64,
    /// How long, in seconds; without it until Ctrl-C
    #[arg(long, env = "ZDD_PROBE_DURATION", value_name = "SECONDS", value_parser = value::seconds)]
    pub(crate) duration: Option<f64>,
    /// Requests that may be in flight at once
    #[arg(long, env = "ZDD_PROBE_CONCURRENCY", value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) concurrency: u16,
    /// A new connection for each request
    #[arg(long, group = "connections")]
    pub(crate) fresh: bool,
    /// Connections that are kept
    #[arg(long, group = "connections")]
    pub(crate) keep_alive: bool,
    /// Half of the requests each way [default]
    #[arg(long, group = "connections")]
    pub(crate) both: bool,
}

/// The settings of `completions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
    /// For which command
    #[arg(long = "for", value_enum, value_name = "COMMAND", default_value_t = CompletedCommand::Zddcluster)]
    pub(crate) command: CompletedCommand,
}

/// The two names this binary goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletedCommand {
    Zddcluster,
    Dcos,
}

/// A shell we can write for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// A command line that was not understood, or asked for help.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// It is not in the grammar, or asks for help.
    #[error("{error}")]
    Grammar {
        /// What is to be said.
        error: clap::Error,
        /// The original `dcos` ends with 1 whatever is wrong.
        as_dcos: bool,
    },
    /// Settings that cannot be, from the command line, the environment or a file.
    #[error("{}", .faults.join("\nerror: "))]
    Settings {
        /// One line each.
        faults: Vec<String>,
    },
}

impl UsageError {
    /// Prints what is to be said (help on stdout, faults on stderr) and tells how the process ends.
    pub fn report(&self) -> ExitStatus {
        let (error, as_dcos) = match self {
            Self::Grammar { error, as_dcos } => (error, *as_dcos),
            Self::Settings { .. } => {
                // A closed stderr leaves nobody to tell.
                let _ = writeln!(std::io::stderr(), "error: {self}");
                return ExitStatus::Config;
            }
        };
        // A closed stdout or stderr leaves nobody to tell.
        let _ = error.print();
        match (error.exit_code(), as_dcos) {
            (0, _) => ExitStatus::Success,
            (_, true) => ExitStatus::Failure,
            (_, false) => ExitStatus::Usage,
        }
    }
}

/// Reads a command line, program name first. The name `dcos` chooses the `dcos` grammar.
///
/// # Errors
/// For anything that is not in the grammar, and for `--help` and `--version`.
pub fn parse<I, T>(argv: I) -> Result<Parsed, UsageError>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let mut argv: Vec<OsString> = argv.into_iter().map(Into::into).collect();
    let as_dcos = argv.first().is_some_and(|name| {
        Path::new(name)
            .file_stem()
            .is_some_and(|stem| stem.eq_ignore_ascii_case("dcos"))
    });
    // `zddcluster dcos …` too keeps the original's exit codes.
    let fails_as_dcos = as_dcos || argv.get(1).is_some_and(|verb| verb == "dcos");
    let usage = |error| UsageError::Grammar {
        error,
        as_dcos: fails_as_dcos,
    };
    let n_names = if as_dcos { 1 } else { 2 };
    let words = argv.get(n_names..).unwrap_or_default();
    let about = fails_as_dcos.then(|| dcos::about(words)).flatten();
    if about.is_some() {
        argv.truncate(n_names);
    }
    if as_dcos {
        let matches = dcos_command().try_get_matches_from(argv).map_err(usage)?;
        let DcosCli { globals, dcos } = DcosCli::from_arg_matches(&matches).map_err(usage)?;
        return Ok(Parsed {
            globals,
            invocation: Invocation::Client(ClientVerb(ClientVerbs::Dcos(DcosArgs {
                about,
                ..dcos
            }))),
            dump: None,
        });
    }
    let (matches, dump) = match file::read(&command(), &argv) {
        Read::Matches { matches, dump } => (matches, dump),
        Read::Usage(error) => return Err(usage(error)),
        Read::Faults(faults) => return Err(UsageError::Settings { faults }),
    };
    let Cli { globals, verb } = Cli::from_arg_matches(&matches).map_err(usage)?;
    let client = |verb| Invocation::Client(ClientVerb(verb));
    let invocation = match verb {
        Verb::Up(args) => Invocation::Up(args),
        Verb::Down(args) => Invocation::Down(args),
        Verb::Master(args) => Invocation::Master(args),
        Verb::Agent(args) => Invocation::Agent(args),
        Verb::Dns(DnsArgs {
            verb: Some(verb), ..
        }) => client(ClientVerbs::Resolver(verb)),
        Verb::Dns(args) => Invocation::Dns(args),
        Verb::Logs(args) => client(ClientVerbs::Logs(args)),
        Verb::Exec(args) => client(ClientVerbs::Exec(args)),
        Verb::Shell(args) => client(ClientVerbs::Shell(args)),
        Verb::Doctor(args) => client(ClientVerbs::Doctor(args)),
        Verb::Man(args) => client(ClientVerbs::Man(args)),
        Verb::Edge(args) => Invocation::Edge(args),
        Verb::Simpleservice(args) => Invocation::Simpleservice(args),
        Verb::Status(args) => client(ClientVerbs::Status(args)),
        Verb::Explain(args) => client(ClientVerbs::Explain(args)),
        Verb::Plan(args) => client(ClientVerbs::Plan(args)),
        Verb::Zdd(args) => client(ClientVerbs::Zdd(args)),
        Verb::Env(args) => client(ClientVerbs::Env(args)),
        Verb::Probe(args) => client(ClientVerbs::Probe(args)),
        Verb::Dcos(args) => client(ClientVerbs::Dcos(DcosArgs { about, ..args })),
        Verb::Completions(args) => client(ClientVerbs::Completions(args)),
    };
    Ok(Parsed {
        globals,
        invocation,
        dump,
    })
}

/// The grammar of `zddcluster`.
pub fn command() -> clap::Command {
    without_env_values(Cli::command())
}

/// The grammar of `dcos`.
pub fn dcos_command() -> clap::Command {
    without_env_values(DcosCli::command())
}

/// Help must read the same whatever the environment holds.
fn without_env_values(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| arg.hide_env_values(true))
        .mut_subcommands(without_env_values)
}

#[cfg(test)]
mod tests;

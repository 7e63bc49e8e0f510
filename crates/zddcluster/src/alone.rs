//! One role in a process of its own: the edge as the cluster's tasks run it, and master, agent and DNS beside others.
//!
//! Each is the same shell around a role's start: bind, start, then wait for a signal or for a part that failed.

use std::process::ExitCode;
use std::time::Duration;

use tracing::{error, info, warn};
use zddcluster_cli::{AgentArgs, DnsArgs, EdgeArgs, ExitStatus, MasterArgs};
use zddcluster_runtime::Tasks;
use zddcluster_store::SledStore;

use crate::cluster::{self, AgentParts, DnsParts, MasterParts};
use crate::fault::Fault;
use crate::lock::DataDirLock;
use crate::plan::AgentPlan;
use crate::signals::Signals;
use crate::{big_runtime, containerizer, listeners, logging};

/// How long a role may take to end: requests in flight get 5 s, an edge's connections a little more.
const GRACE: Duration = Duration::from_secs(12);

/// The variable a task's log filter comes in; an edge has no flags of ours.
const LOG: &str = "ZDD_LOG";

/// Runs `zddcluster master`.
pub(crate) fn master(args: MasterArgs) -> Result<ExitCode, Fault> {
    logging::init(&args.log.filter)?;
    let data_dir = zddcluster_cli::data_dir(args.data_dir()).map_err(Fault::settings)?;
    let _lock = DataDirLock::take(&data_dir).map_err(Fault::settings)?;
    let front = listeners::tcp(args.front).map_err(Fault::settings)?;
    let mesos = listeners::tcp(args.mesos).map_err(Fault::settings)?;
    let store = SledStore::open(data_dir.join("store")).map_err(Fault::settings)?;
    let parts = MasterParts {
        front,
        mesos,
        store: Box::new(store),
        speed: args.speed,
        drains: !args.no_drain,
        clock_offset_seconds: 0,
    };
    run(|tasks| async move { cluster::master(parts, &tasks).await })
}

/// Runs `zddcluster agent`.
pub(crate) fn agent(args: AgentArgs) -> Result<ExitCode, Fault> {
    logging::init(&args.log.filter)?;
    let plan = AgentPlan::alone(args.hostname, args.port, args.public, &args.resources);
    let listener = listeners::tcp(plan.api()).map_err(Fault::settings)?;
    let _lock = DataDirLock::take(&args.work_dir).map_err(Fault::settings)?;
    run(|tasks| async move {
        let AgentArgs {
            master,
            work_dir,
            containerizer,
            speed,
            ..
        } = args;
        let choice = containerizer::choose(containerizer, std::slice::from_ref(&work_dir)).await?;
        info!("{}", choice.note);
        let executable = cluster::executable()?;
        let env = cluster::built_in_env(&master, speed, true);
        let parts = AgentParts {
            plan,
            listener,
            master_url: master,
            work_dir,
            containerizer: choice.make(&executable, env, &tasks).await?,
            executable,
        };
        cluster::agent(parts, &tasks).await
    })
}

/// Runs `zddcluster dns`.
pub(crate) fn dns(args: DnsArgs) -> Result<ExitCode, Fault> {
    logging::init(&args.log.filter)?;
    let (udp, tcp) = listeners::dns(args.listen).map_err(Fault::settings)?;
    let parts = DnsParts {
        udp,
        tcp,
        mesos_url: args.master,
        domain: args.domain,
        ttl: args.ttl,
    };
    run(|tasks| async move { cluster::dns(parts, &tasks) })
}

/// Runs `zddcluster edge`, with marathon-lb's own arguments.
pub(crate) fn edge(args: EdgeArgs) -> Result<ExitCode, Fault> {
    let env = |name: &str| std::env::var(name).ok();
    logging::init(&env(LOG).unwrap_or_else(|| "info".to_owned()))?;
    let args = args
        .args
        .into_iter()
        .map(|arg| arg.to_string_lossy().into_owned());
    let config = zddcluster_edge::Config::from_args(args, env).map_err(Fault::settings)?;
    run(|tasks| async move {
        zddcluster_edge::start(config, &tasks)
            .await
            .map_err(Fault::failure)
    })
}

/// Starts a role and waits for its end.
fn run<H, F>(start: impl FnOnce(Tasks) -> F) -> Result<ExitCode, Fault>
where
    F: Future<Output = Result<H, Fault>>,
{
    let runtime = big_runtime()?;
    let code = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let tasks = Tasks::new();
        let handle = start(tasks.clone()).await?;
        let code = tokio::select! {
            // Cancel-safe: both only wait for a state or a signal.
            failure = tasks.failed() => {
                error!(part = %failure.name, cause = %failure.cause, "ended because a part failed");
                ExitStatus::Failure
            }
            signal = signals.next() => {
                info!(signal, "stopping");
                ExitStatus::Success
            }
        };
        tokio::select! {
            // Cancel-safe: given up as a whole, and the process ends.
            ended = tasks.shut_down(GRACE) => {
                if let Err(error) = ended {
                    warn!(%error, "some parts did not end in time");
                }
            }
            signal = signals.next() => {
                error!(signal, "ended at once");
                return Ok(ExitStatus::Failure.into());
            }
        }
        drop(handle);
        Ok::<ExitCode, Fault>(code.into())
    });
    runtime.shutdown_background();
    code
}

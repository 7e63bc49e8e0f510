//! `up`: a whole cluster in this process, from the first check to the last flush.
//!
//! ```text
//!   settings ─▶ lock ─▶ bind all ─▶ store ─▶ master ─▶ agents, dns ─▶ ready ─▶ …
//!      64        64        64        64                                │
//!                                                                      ▼
//!   exit 0 ◀─ flush ◀─ roles stop ◀─ tasks SIGTERM, grace ◀─ no more writes ◀─ SIGINT or SIGTERM
//!   exit 1 ◀──────────────────────────────── a role failed: its name and why, tasks live on
//! ```
//!
//! Until everything is bound and the store is open, nothing has been started; a fault up to there ends with 64 and leaves
//! nothing behind. A second signal ends the process at once; its tasks live on and the next `up` finds them.

mod announce;
mod detach;
mod package;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::Instant;
use tracing::{error, info, warn};
use zddcluster_cli::{Addresses, AgentEntry, ClusterFile, ExitStatus, UpArgs};
use zddcluster_model::Timestamp;
use zddcluster_runtime::Tasks;
use zddcluster_store::{SledStore, Store as _};

use crate::cluster::{Cluster, Parts};
use crate::fault::Fault;
use crate::listeners::Listeners;
use crate::lock::DataDirLock;
use crate::plan::{Plan, without};
use crate::settings::{self, Settings};
use crate::signals::Signals;
use crate::{big_runtime, containerizer, down, logging, sockets};

/// How long all parts may take to say that they are ready: it takes milliseconds, or something is broken.
const READY_LIMIT: Duration = Duration::from_secs(20);

/// How long tasks may take to end at Ctrl-C, then they are killed. Above Marathon's usual kill grace, below the patience of `down`.
const STOP_GRACE: Duration = Duration::from_secs(25);

/// How long roles may take to end after their tasks have: connections in flight get 5 s.
const ROLES_GRACE: Duration = Duration::from_secs(8);

/// Runs `zddcluster up` to its end.
pub(crate) fn run(started: Instant, args: UpArgs, dump: Option<&str>) -> Result<ExitCode, Fault> {
    let settings = Settings::check(args)?;
    if let Some(dump) = dump {
        return settings::print(dump);
    }
    if settings.args.detach && !detach::is_child() {
        return detach::run_parent(&settings.data_dir);
    }
    logging::init(&settings.args.log.filter)?;
    if detach::is_child() {
        detach::leave_parent()?;
    }
    let runtime = big_runtime()?;
    let result = runtime.block_on(run_cluster(started, settings));
    // What still runs was given its grace.
    runtime.shutdown_background();
    result
}

async fn run_cluster(started: Instant, settings: Settings) -> Result<ExitCode, Fault> {
    let Settings { args, data_dir } = settings;
    let started_at = Timestamp::from_millis(unix_millis());
    let mut signals = Signals::listen()?;
    let _lock = DataDirLock::take(&data_dir).map_err(Fault::settings)?;
    let mut plan = Plan::new(
        args.net,
        args.public_agents,
        args.agents,
        &args.resources,
        &args.attributes,
    );
    let listeners = Listeners::bind(&plan).map_err(Fault::settings)?;
    let store = open_store(&data_dir, args.restore.as_deref())?;
    keep_off_foreign_ports(&mut plan, &data_dir);
    let work_dirs: Vec<_> = plan
        .agents
        .iter()
        .map(|agent| data_dir.join(agent.dir_name()))
        .collect();
    let choice = containerizer::choose(args.containerizer, &work_dirs).await?;
    info!("{}", choice.note);

    let dns_note = listeners.dns_note.clone();
    let dns = listeners.dns_tcp.local_addr()?;
    let tasks = Tasks::new();
    let cluster = Cluster::start(
        Parts {
            plan: plan.clone(),
            listeners,
            store: Box::new(store),
            data_dir: data_dir.clone(),
            speed: args.speed,
            drains: !args.no_drain,
            clock_offset_seconds: args.clock_offset_seconds,
            allowed_hosts: args.hosts.allowed.clone(),
            containerizer: choice.clone(),
            dns_extras: args.dns_extras,
        },
        &tasks,
    )
    .await?;
    tokio::select! {
        // Cancel-safe: all three only wait for a state or a signal.
        ready = tokio::time::timeout(READY_LIMIT, cluster.ready()) => {
            ready.map_err(|_| anyhow!("not ready after {} s; the log says more", READY_LIMIT.as_secs()))?;
        }
        failure = tasks.failed() => return Err(Fault::failure(failure)),
        signal = signals.next() => return Err(Fault::failure(anyhow!("{signal} before the cluster was ready"))),
    }
    let file = ClusterFile {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at,
        net: args.net,
        addresses: Addresses {
            front: plan.front,
            mesos: plan.mesos,
            dns,
            edge: plan
                .agents
                .iter()
                .find(|agent| agent.is_public)
                .map(|agent| agent.address.into()),
        },
        agents: plan
            .agents
            .iter()
            .map(|agent| AgentEntry {
                id: None,
                hostname: agent.address.to_string(),
                role: agent.role().to_owned(),
            })
            .collect(),
        speed: args.speed,
        containerizer: choice.name.to_owned(),
        log: detach::is_child().then(|| detach::log_path(&data_dir)),
    };
    file.write(&data_dir).map_err(Fault::failure)?;
    let installed = package::install(&plan, &args.with).await;
    announce::cluster(
        &file,
        &args,
        &data_dir,
        dns_note.as_deref(),
        &installed,
        started.elapsed(),
    )?;
    if detach::is_child() {
        detach::release_parent()?;
    }

    let end = tokio::select! {
        // Cancel-safe: both only wait for a state or a signal.
        failure = tasks.failed() => End::Failed(failure),
        signal = signals.next() => End::Asked(signal),
    };
    let code = stop(end, &cluster, &tasks, &mut signals).await;
    drop(cluster);
    if let Err(error) = file.remove(&data_dir) {
        warn!(%error, "the cluster file stays");
    }
    Ok(code)
}

/// Why the cluster ends.
enum End {
    /// By a signal of this name.
    Asked(&'static str),
    Failed(zddcluster_runtime::Failure),
}

/// Stops everything in order and says which way it ended.
async fn stop(end: End, cluster: &Cluster, tasks: &Tasks, signals: &mut Signals) -> ExitCode {
    let orderly = async {
        if let End::Asked(signal) = &end {
            info!(
                signal,
                "stopping: the tasks get SIGTERM, the state stays; once more ends at once"
            );
            match cluster.stop_tasks(STOP_GRACE).await {
                Ok(()) => info!("all tasks have ended"),
                Err(fault) => warn!(error = fault.message(), "some tasks have not ended"),
            }
        }
        if let Err(error) = tasks.shut_down(ROLES_GRACE).await {
            warn!(%error, "some parts did not end in time");
        }
    };
    tokio::select! {
        // Cancel-safe: given up as a whole, and the process ends.
        () = orderly => {}
        signal = signals.next() => {
            error!(signal, "ended at once; tasks that still run are found again by the next `up`");
            return ExitStatus::Failure.into();
        }
    }
    match end {
        End::Asked(signal) => {
            info!(signal, "ended; `zddcluster up` brings the apps back");
            ExitStatus::Success.into()
        }
        End::Failed(failure) => {
            error!(role = %failure.name, cause = %failure.cause, "ended because a part failed; tasks live on");
            ExitStatus::Failure.into()
        }
    }
}

/// Opens the store; with a snapshot to take up, an empty one gets its records.
fn open_store(data_dir: &Path, restore: Option<&Path>) -> Result<SledStore, Fault> {
    let mut store = SledStore::open(data_dir.join("store")).map_err(Fault::settings)?;
    if let Some(snapshot) = restore {
        let records = zddcluster_store::read_snapshot(snapshot).map_err(Fault::settings)?;
        if !store.load().map_err(Fault::settings)?.is_empty() {
            return Err(Fault::settings(anyhow!(
                "the store in {} is not empty; hint: --restore fills an empty one, move it away first",
                data_dir.display()
            )));
        }
        let n_records = records.len();
        store.replace_all(records).map_err(Fault::settings)?;
        info!(n_records, snapshot = %snapshot.display(), "took up a snapshot");
    }
    Ok(store)
}

/// Takes ports that other programs listen on out of the agents' dynamic ports. An agent with tasks left from a killed `up`
/// keeps its whole slice: those listeners are its own.
fn keep_off_foreign_ports(plan: &mut Plan, data_dir: &Path) {
    let listening = sockets::listening();
    for agent in &mut plan.agents {
        if down::has_leftovers(&data_dir.join(agent.dir_name())) {
            continue;
        }
        let taken = listening
            .iter()
            .filter(|socket| socket.blocks(agent.address, socket.address.port()))
            .map(|socket| socket.address.port());
        agent.resources.dynamic_ports = without(&agent.resources.dynamic_ports, taken);
    }
}

fn unix_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

//! Swap after swap of a service under load, with kills of what does not serve in between.
//!
//! The roles are processes of their own: two agents, an edge, and a master that is killed (kill -9) and started again on its directory.
//! The service is [`crate::load::origin`], four tasks of it, which get healthy a while after their start. Swaps are blue-green ones
//! (`zddcluster zdd`) and rolling updates (a `PUT` with another version) in turn. A swap that is broken off because the
//! master is away is resumed, as its user would.

mod chaos;
mod drive;
mod serving;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zddcluster_client::HttpClient;

use crate::Apart;
use crate::load::{Load, Report};

pub use self::serving::{Killed, kill_serving, needless};

/// The deployment group, and so the service's name.
const GROUP: &str = "swap";
/// Where clients come.
const PORT: u16 = 10_080;
/// The host of the edge, and where it tells about itself.
const EDGE: u8 = 3;
const STATS: u16 = 9090;
/// Tasks of the service.
const INSTANCES: u64 = 4;
/// How long a task is not healthy at first, milliseconds: long enough to be found, and killed, while it is not.
const HEALTHY_AFTER: u64 = 400;
/// Kills in one swap.
const KILLS: u32 = 3;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Blue-green and rolling ones in turn.
    pub n_swaps: u64,
    /// Requests a second.
    pub rate: f64,
    /// Of what is killed when.
    pub seed: u64,
    /// Whether tasks are drained before they are killed.
    pub drains: bool,
    /// Whether the master and tasks that do not serve are killed.
    pub kills: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What clients met.
    pub report: Report,
    /// What was done, and how often.
    pub counts: Counts,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blue-green swaps.
    pub blue_green: u64,
    /// Rolling updates.
    pub rolling: u64,
    /// Swaps that were gone on with after they had been broken off.
    pub resumed: u64,
    /// Kills of the master.
    pub masters: u64,
    /// Kills of tasks that no edge knew yet.
    pub starting: u64,
    /// Kills of tasks that had drained.
    pub drained: u64,
}

impl Counts {
    /// One line.
    pub fn line(&self) -> String {
        let Self {
            blue_green,
            rolling,
            resumed,
            masters,
            starting,
            drained,
        } = self;
        format!(
            "{blue_green} blue-green swaps ({resumed} times resumed), {rolling} rolling updates; \
             killed: the master {masters} times, {starting} tasks before they served, {drained} after"
        )
    }
}

/// The cluster, and how to reach it.
#[derive(Debug)]
struct Stage {
    apart: Mutex<Apart>,
    http: HttpClient,
    /// The master's front door.
    front: String,
    /// The edge's statistics.
    stats: String,
    service: SocketAddr,
    drains: bool,
    /// Kills that are left in this swap: one that never has a quiet moment never ends.
    kills_left: AtomicU32,
    counts: Mutex<Counts>,
    /// What happened, for whoever looks into a failure.
    events: Mutex<String>,
    began: Instant,
}

/// Does it. `origin`: the words that start the service.
///
/// # Errors
/// When a swap does not come to its end. Failed requests are no error here.
pub async fn run(plan: Plan, origin: &str) -> anyhow::Result<Outcome> {
    let stage = Arc::new(Stage::set(plan.drains).await?);
    stage.first_deploy(origin).await?;
    let load = Load::start(stage.service, plan.rate);
    let stop = CancellationToken::new();
    let chaos = chaos::run(Arc::clone(&stage), plan.seed, stop.clone());
    let swaps = async {
        let swapped = stage.swaps(plan.n_swaps, origin).await;
        stop.cancel();
        swapped
    };
    let swapped = if plan.kills {
        let (swapped, killed) = tokio::join!(swaps, chaos);
        swapped.and(killed)
    } else {
        swaps.await
    };
    // What comes right after the last step counts, too.
    sleep(Duration::from_millis(500)).await;
    let report = load.stop().await;
    let counts = *stage.counts();
    let explain = || {
        let events = stage.events.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{}\n{}\n{events}", counts.line(), report.table())
    };
    swapped.with_context(explain)?;
    if report.total().failed > 0 && plan.drains {
        stage.keep_logs(&explain())?;
    }
    Ok(Outcome { report, counts })
}

impl Stage {
    async fn set(drains: bool) -> anyhow::Result<Self> {
        let mut apart = Apart::new()?;
        let url = |host, port| apart.url(host, port, "");
        let (front, stats) = (url(1, 8080), url(EDGE, STATS));
        let service = (apart.host(EDGE), PORT).into();
        start_master(&mut apart, drains)?;
        apart.start("first agent")?;
        apart.start("second agent")?;
        let covers: &[(&str, &str)] = match drains {
            true => &[],
            // As `up --no-drain` has it: nothing is covered up either.
            false => &[("ZDD_NO_RESEND", "1")],
        };
        apart.start_with("edge", &["--health-check"], covers)?;
        apart.agents_are(2).await;
        apart.edge_answers().await;
        Ok(Self {
            http: apart.http.clone(),
            apart: Mutex::new(apart),
            front,
            stats,
            service,
            drains,
            kills_left: AtomicU32::new(0),
            counts: Mutex::default(),
            events: Mutex::default(),
            began: Instant::now(),
        })
    }

    fn apart(&self) -> std::sync::MutexGuard<'_, Apart> {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: &str) {
        let at = self.began.elapsed().as_secs_f64();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writeln!(events, "{at:9.3} s {} {event}", jiff::Timestamp::now());
    }

    /// The logs of all roles, beside what happened: the directory goes away with the cluster.
    fn keep_logs(&self, explained: &str) -> anyhow::Result<()> {
        let apart = self.apart();
        let to = std::env::temp_dir().join(format!("zdd-swaps-{}", std::process::id()));
        std::fs::create_dir_all(&to)?;
        std::fs::write(to.join("events"), explained)?;
        for role in ["master", "first agent", "second agent", "edge"] {
            std::fs::write(to.join(format!("{role}.log")), apart.log(role))?;
        }
        Ok(())
    }

    /// The app of a version, as `zdd` takes it.
    fn app(origin: &str, version: u64) -> Value {
        json!({
            "id": "/swap", "cmd": format!("exec {origin}"), "instances": INSTANCES, "cpus": 0.1, "mem": 32,
            "portDefinitions": [{"port": PORT}],
            "env": {"VERSION": version.to_string(), "HEALTHY_AFTER_MS": HEALTHY_AFTER.to_string()},
            // At the speed of these tests every 100 ms, for 3 s: a machine with much to do is not sick.
            "healthChecks": [{
                "protocol": "HTTP", "path": "/health", "gracePeriodSeconds": 300, "intervalSeconds": 2,
                "timeoutSeconds": 60, "maxConsecutiveFailures": 20,
            }],
            "labels": {
                "HAPROXY_GROUP": "external",
                "HAPROXY_DEPLOYMENT_GROUP": GROUP,
                "HAPROXY_DEPLOYMENT_ALT_PORT": (PORT + 1).to_string(),
            },
        })
    }

    /// The statistics of the edge: state and connections in use, by server.
    async fn servers(&self) -> anyhow::Result<Vec<(String, String, u64)>> {
        let url = format!("{}/haproxy?stats;csv", self.stats);
        let request = http::Request::get(&url).body(bytes::Bytes::new())?;
        let answer = self.http.send(request, Duration::from_secs(2)).await?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        let backend = format!("{GROUP}_{PORT}");
        let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        Ok(rows
            .filter(|row| row[0] == backend && !["FRONTEND", "BACKEND"].contains(&row[1]))
            .map(|row| {
                let (name, state) = (row[1].to_owned(), row[17].to_owned());
                (name, state, row[4].parse().unwrap_or(0))
            })
            .collect())
    }
}

fn start_master(apart: &mut Apart, drains: bool) -> anyhow::Result<()> {
    let args: &[&str] = if drains { &[] } else { &["--no-drain"] };
    apart.start_with("master", args, &[])
}

/// The words that start the service with this program, whose first argument is then `origin`.
///
/// # Errors
/// When this program cannot be found.
pub fn this_program() -> anyhow::Result<String> {
    let path = std::env::current_exe()?;
    let path: &Path = &path;
    Ok(format!("'{}' origin", path.display()))
}

//! Starting the master from what it stored, and the handle that the binary holds.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use rand::Rng as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zddcluster_engine::state::ReplayError;
use zddcluster_engine::{Answer, CheckOrder, Command, Engine, State};
use zddcluster_model::event::EventKind;
use zddcluster_runtime::{Guard, LogTail, OnFailure, Tasks, Token, serve};
use zddcluster_store::{Change, Record, Store, StoreError};

use crate::actor::Actor;
use crate::actor::own::Own;
use crate::artifacts::{self, Artifacts};
use crate::clock::Clock;
use crate::error::CallError;
use crate::log::LogFilter;
use crate::shared::{self, Identity, Message, Shared};
use crate::{admin, callbacks, health, mesos};

/// Messages that may wait for the one writer; more than a lab's agents, checks and callers ever send at once.
const INBOX: usize = 8192;
/// Check orders that may wait for the prober, which only starts and stops tasks.
const CHECK_ORDERS: usize = 1024;
/// Longest hold of a SIGTERM for edges to drain (DESIGN §4, Z20).
const DRAIN_MILLIS: i64 = 10_000;
/// An agent away longer than this loses its tasks: Mesos' agent ping timeout (15 s, five times).
const AGENT_TIMEOUT_MILLIS: i64 = 75_000;
/// Largest artifact: a build of some hundred megabytes, and not yet somebody's whole disk.
const ARTIFACT_LIMIT: u64 = 1 << 30;
/// All artifacts together: some large builds, and still room for the rest of a laptop.
const ARTIFACTS_LIMIT: u64 = 8 << 30;
/// Where the master keeps its own identity, beside the engine's records.
const IDENTITY_KEY: &str = "master/uuid";
/// Prefix of records that are the master's own.
const OWN_PREFIX: &str = "master/";
/// How often waiting for tasks to end looks again, besides being woken by each new state.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a master needs to start. Listeners are bound by the caller.
pub struct Config {
    /// Front door: Marathon API, admin router, agent and edge protocols, start page.
    pub front: TcpListener,
    /// The Mesos master API.
    pub mesos: TcpListener,
    /// Durable state.
    pub store: Box<dyn Store>,
    /// Divides control-plane durations; 1 is Marathon's time.
    pub speed: f64,
    /// Hold SIGTERM until edges have drained.
    pub drain: bool,
    /// Names and addresses allowed in `Host` besides loopback, `localhost` and `*.mesos`.
    pub allowed_hosts: Vec<String>,
    /// What agents and edges have to bring; where a listener is not on loopback, every caller.
    pub token: Option<Token>,
    /// Shown in place of the front listener's own address (when that is `0.0.0.0`).
    pub shown_front: Option<SocketAddr>,
    /// Shown in place of the Mesos listener's own address.
    pub shown_mesos: Option<SocketAddr>,
    /// The DNS role's HTTP API, shown below `/mesos_dns`; none without.
    pub mesos_dns: Option<SocketAddr>,
    /// Name of the cluster.
    pub cluster: String,
    /// Most apps, if limited.
    pub max_apps: Option<usize>,
    /// Directory of the artifact store; none without.
    pub artifacts: Option<PathBuf>,
    /// Largest artifact, bytes.
    pub artifact_limit: u64,
    /// All artifacts together, bytes.
    pub artifacts_limit: u64,
    /// Lets `/logging` change the process' log.
    pub log: Option<LogFilter>,
    /// The end of the process' log, shown by the Mesos API.
    pub log_tail: LogTail,
    /// Moves the master's clock, milliseconds; for tests.
    pub clock_offset_millis: i64,
}

impl Config {
    /// The usual configuration for these listeners and this store.
    pub fn new(front: TcpListener, mesos: TcpListener, store: Box<dyn Store>) -> Self {
        Self {
            front,
            mesos,
            store,
            speed: 1.0,
            drain: true,
            allowed_hosts: Vec::new(),
            token: None,
            shown_front: None,
            shown_mesos: None,
            mesos_dns: None,
            cluster: "zddcluster".to_owned(),
            max_apps: None,
            artifacts: None,
            artifact_limit: ARTIFACT_LIMIT,
            artifacts_limit: ARTIFACTS_LIMIT,
            log: None,
            log_tail: LogTail::default(),
            clock_offset_millis: 0,
        }
    }
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be read or written.
    #[error("the stored state cannot be used")]
    Store(#[from] StoreError),
    /// The store holds what cannot be understood.
    #[error("the stored state cannot be understood")]
    Replay(#[from] ReplayError),
    /// The stored identity is no UUID.
    #[error("the stored identity of the master is damaged")]
    Identity(#[source] uuid::Error),
    /// The stored callback URLs are no list of texts.
    #[error("the stored callback URLs of events are damaged (record master/callbacks)")]
    Callbacks(#[source] serde_json::Error),
    /// Whoever can connect could start processes.
    #[error("a master that listens on other addresses than loopback needs a token")]
    NoToken,
    /// A listener has no address.
    #[error("a listener has no address")]
    Listener(#[source] std::io::Error),
    /// The directory of the artifact store cannot be used.
    #[error("the artifact store {} cannot be used", .path.display())]
    Artifacts {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread panicked while the store was read.
    #[error("reading the store was interrupted")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// A running master.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

/// Starts the master on its listeners; its tasks are children of `tasks`.
///
/// When it returns, the state is loaded and the listeners answer. `Err` leaves nothing running.
pub async fn start(config: Config, tasks: &Tasks) -> Result<Handle, StartError> {
    let Config {
        front,
        mesos: mesos_listener,
        store,
        speed,
        drain,
        allowed_hosts,
        token,
        shown_front,
        shown_mesos,
        mesos_dns,
        cluster,
        max_apps,
        artifacts,
        artifact_limit,
        artifacts_limit,
        log,
        log_tail,
        clock_offset_millis,
    } = config;
    let front_bound = front.local_addr().map_err(StartError::Listener)?;
    let mesos_bound = mesos_listener.local_addr().map_err(StartError::Listener)?;
    let front_address = shown_front.unwrap_or(front_bound);
    let mesos_address = shown_mesos.unwrap_or(mesos_bound);
    let is_open = [front_bound, mesos_bound]
        .iter()
        .any(|address| !address.ip().is_loopback());
    if is_open && token.is_none() {
        return Err(StartError::NoToken);
    }
    let limits = artifacts::Limits {
        one: artifact_limit,
        all: artifacts_limit,
    };
    let opened = tokio::task::spawn_blocking(move || {
        let artifacts = artifacts.map(|path| {
            Artifacts::open(path.clone(), limits)
                .map_err(|source| StartError::Artifacts { path, source })
        });
        Ok::<_, StartError>((load(store)?, artifacts.transpose()?))
    });
    let (loaded, artifacts) = opened.await.map_err(StartError::Interrupted)??;
    let own = Own::read(loaded.own_records).map_err(StartError::Callbacks)?;
    let clock = Clock::start(clock_offset_millis);
    let mut node = [0; 6];
    rand::rng().fill_bytes(&mut node);
    let engine_config = zddcluster_engine::Config {
        master_uuid: loaded.uuid,
        node,
        seed: rand::rng().next_u64(),
        speed,
        drain_millis: if drain { DRAIN_MILLIS } else { 0 },
        agent_timeout_millis: AGENT_TIMEOUT_MILLIS,
        max_apps,
    };
    let engine = Engine::restore(engine_config, clock.now(), loaded.records)?;
    let clock = clock.not_before(engine.state().clock);
    let identity = Identity {
        uuid: loaded.uuid,
        cluster,
        front: front_address,
        mesos: mesos_address,
    };
    let tasks = tasks.child("master");
    let (inbox_sender, inbox) = mpsc::channel::<Message>(INBOX);
    let (checks, check_orders) = mpsc::channel::<CheckOrder>(CHECK_ORDERS);
    let state = engine.state().clone();
    let parts = shared::Parts {
        identity,
        clock,
        engine_config: engine.config().clone(),
        mesos_dns,
        inbox: inbox_sender,
        token: token.clone(),
        wants_login: token.is_some() && !front_bound.ip().is_loopback(),
        artifacts,
        log,
        log_tail,
        tasks: tasks.clone(),
    };
    let shared = Arc::new(Shared::new(parts, state));
    shared.callbacks.follow(&shared, own.callbacks());
    let actor = Actor {
        engine,
        store: Some(loaded.store),
        own,
        shared: Arc::clone(&shared),
        inbox,
        checks,
        last_ticket: 0,
        broken: None,
        slept: 0,
    };
    tasks.spawn(
        "callbacks",
        OnFailure::Shutdown,
        callbacks::run(Arc::clone(&shared), shared.bus.observe()),
    );
    tasks.spawn("writer", OnFailure::Shutdown, actor.run());
    let master = shared.identity.mesos.ip().to_string();
    shared.bus.begin(if loaded.is_new {
        let framework_id = shared.identity.framework_id();
        EventKind::SchedulerRegistered {
            framework_id,
            master,
        }
    } else {
        EventKind::SchedulerReregistered { master }
    });
    let bus = Arc::clone(&shared);
    tasks.spawn("event-bus", OnFailure::Shutdown, async move {
        bus.bus.run(bus.token().clone()).await;
        Ok(())
    });
    tasks.spawn(
        "prober",
        OnFailure::Shutdown,
        health::run(Arc::clone(&shared), check_orders),
    );
    let own_hosts = [front_address, mesos_address].map(|address| address.ip().to_string());
    let guard = Guard::new(allowed_hosts.into_iter().chain(own_hosts));
    let wrap = |router, listens_at: SocketAddr, is_open: fn(&Request<Body>) -> bool| {
        let router = match &token {
            Some(token) if !listens_at.ip().is_loopback() => {
                token.clone().wrap_but(router, is_open)
            }
            _ => router,
        };
        guard.clone().wrap(router)
    };
    let front_router = wrap(
        admin::router(Arc::clone(&shared)),
        front_bound,
        admin::is_open,
    );
    let mesos_router = wrap(mesos::router(Arc::clone(&shared)), mesos_bound, |_| false);
    let token = tasks.token();
    tasks.spawn(
        "front-door",
        OnFailure::Shutdown,
        serve(front, front_router, token.clone()),
    );
    tasks.spawn(
        "mesos-api",
        OnFailure::Shutdown,
        serve(mesos_listener, mesos_router, token.clone()),
    );
    Ok(Handle { shared })
}

/// What the store holds.
struct Loaded {
    store: Box<dyn Store>,
    uuid: uuid::Uuid,
    records: Vec<Record>,
    own_records: Vec<Record>,
    /// Nothing was there before.
    is_new: bool,
}

/// Reads the store; a new one gets an identity.
fn load(mut store: Box<dyn Store>) -> Result<Loaded, StartError> {
    let (mut own_records, records): (Vec<Record>, Vec<Record>) = store
        .load()?
        .into_iter()
        .partition(|(key, _)| key.starts_with(OWN_PREFIX));
    let stored = own_records.iter().find(|(key, _)| key == IDENTITY_KEY);
    let is_new = stored.is_none();
    let uuid = match stored {
        Some((_, value)) => {
            let text = String::from_utf8_lossy(value);
            text.trim_matches('"')
                .parse()
                .map_err(StartError::Identity)?
        }
        None => {
            let uuid = uuid::Uuid::new_v4();
            let value = format!("\"{uuid}\"").into_bytes();
            store.commit(vec![Change::Put(IDENTITY_KEY.to_owned(), value.clone())])?;
            own_records.push((IDENTITY_KEY.to_owned(), value));
            uuid
        }
    };
    Ok(Loaded {
        store,
        uuid,
        records,
        own_records,
        is_new,
    })
}

impl Handle {
    /// Where the front door is reached.
    pub fn front(&self) -> SocketAddr {
        self.shared.identity.front
    }

    /// Where the Mesos API is reached.
    pub fn mesos(&self) -> SocketAddr {
        self.shared.identity.mesos
    }

    /// The latest durable state.
    pub fn state(&self) -> Arc<State> {
        self.shared.state()
    }

    /// Gives a command to the engine, as a caller of the API does.
    pub async fn submit(&self, command: Command) -> Result<Answer, CallError> {
        self.shared.submit(command).await
    }

    /// Returns when the first decisions after the start are made and visible.
    pub async fn wait_ready(&self) {
        self.wait_until(|_| true).await;
    }

    /// Waits until `is_met` holds for a published state, or the master stops; false for the latter.
    ///
    /// Cancel-safe.
    pub async fn wait_until(&self, mut is_met: impl FnMut(&State) -> bool) -> bool {
        let mut published = self.shared.published();
        let token = self.shared.token();
        loop {
            if *published.borrow_and_update() > 0 && is_met(&self.shared.state()) {
                return true;
            }
            tokio::select! {
                // Cancel-safe: all three only wait.
                () = token.cancelled() => return false,
                _ = published.changed() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Ends every task without replacement (Ctrl-C); the apps come back at the next start.
    ///
    /// True if all had ended within `grace`. Agents that are away are not waited for.
    pub async fn stop_tasks(&self, grace: Duration) -> Result<bool, CallError> {
        let deadline = Instant::now() + grace;
        self.shared.submit(Command::StopTasks).await?;
        let all_gone = self.wait_until(|state| {
            !state.tasks.values().any(|task| {
                !task.state.is_terminal()
                    && state
                        .agents
                        .get(&task.agent_id)
                        .is_some_and(|agent| agent.is_connected)
            })
        });
        Ok(tokio::time::timeout_at(deadline, all_gone)
            .await
            .unwrap_or(false))
    }
}

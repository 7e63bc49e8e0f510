//! The agent role: runs tasks and reports on them.
//!
//! ```text
//!   master ◀── link ──▶ actor ──▶ driver (one a task) ──▶ containerizer ──▶ executor ──▶ task
//!                         │            │                     (process)        (own session, outlives us)
//!                         │            │                     (docker)   ──▶ engine ────▶ container
//!                       outbox      journal (intents, kills, exits: flushed before they count)
//! ```
//!
//! Tasks are not children that die with the agent: an agent that starts again in the same work directory finds them, and
//! the ends of those that ended meanwhile. Reading order: [`containerizer`] is the seam; `journal` and `drive` are what is
//! promised; `fetch` is what comes before; [`executor`] is how a process keeps its side of it, [`docker`] how a container does; `actor` and `link` talk to
//! the master; `api` and `files` answer as a Mesos agent does.

mod actor;
mod api;
mod banner;
pub mod containerizer;
pub mod docker;
mod drive;
mod durable;
mod enter;
pub mod executor;
mod fetch;
mod files;
mod headroom;
mod journal;
mod leftovers;
mod link;
mod outbox;
mod probe;
mod process;
mod usage;
mod volumes;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use zddcluster_client::HttpClient;
use zddcluster_model::agent::{Resources, TaskReport};
use zddcluster_model::task::IpAddress;
use zddcluster_runtime::{Guard, LogTail, OnFailure, Tasks, Token};

pub use containerizer::Containerizer;
pub use docker::{DockerConfig, DockerContainerizer, NewImages};
pub use enter::{Enter, EnterError, enter};
pub use leftovers::{Leftover, leftovers, stop_leftovers};
pub use process::{ProcessContainerizer, limits_of_processes};
pub use usage::Usage;

use crate::actor::{Actor, Inbox, Message, Parts};
use crate::api::Api;
use crate::fetch::Fetcher;
use crate::files::Sandboxes;
use crate::journal::{Journal, Scan};
use crate::link::{About, Link};
use crate::outbox::Outbox;

/// What an agent is told at its start.
#[derive(Debug)]
pub struct Config {
    /// The master's front door: `http://127.0.0.1:8080`.
    pub master_url: String,
    /// Where tasks are reached; an IP address for the agents `up` starts.
    pub hostname: String,
    /// For the agent's own API; bound already.
    pub listener: TcpListener,
    /// Everything the agent keeps; made if absent.
    pub work_dir: PathBuf,
    /// `*` or `slave_public`.
    pub role: String,
    /// For constraints.
    pub attributes: BTreeMap<String, String>,
    /// What is offered, whatever the host has.
    pub resources: Resources,
    /// Our own executable: runs executors and built-in images.
    pub executable: PathBuf,
    /// Environment of built-in roles (the master's address and the like), under the app's own.
    pub builtin_env: BTreeMap<String, String>,
    /// Host names by which the API may be asked beside loopback and `hostname`.
    pub allowed_hosts: Vec<String>,
    /// What the master and this agent's callers know; on another listener than loopback, the API needs it.
    pub token: Option<Token>,
    /// Who runs tasks; [`ProcessContainerizer`] if none.
    pub containerizer: Option<Arc<dyn Containerizer>>,
    /// The end of the process' log, shown by the API.
    pub log_tail: LogTail,
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A second agent would start every task twice.
    #[error("another agent runs in {}", .0.display())]
    InUse(PathBuf),
    /// The books cannot be read or written.
    #[error("the work directory {} cannot be used", .path.display())]
    WorkDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The listener has no address.
    #[error("the listener of the agent's API cannot be used")]
    Listener(#[source] io::Error),
}

/// A running agent. It ends with the [`Tasks`] it was started under; its tasks live on.
#[derive(Clone, Debug)]
pub struct Handle {
    address: SocketAddr,
    inbox: Inbox,
    is_registered: watch::Receiver<bool>,
}

impl Handle {
    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resolves once the agent is registered with a master. Cancel-safe.
    pub async fn registered(&self) {
        let _ = self
            .is_registered
            .clone()
            .wait_for(|&registered| registered)
            .await;
    }

    /// True while there is a link to the master.
    pub fn is_registered(&self) -> bool {
        *self.is_registered.borrow()
    }

    /// Every task the master has not settled; empty when the agent has ended.
    pub async fn tasks(&self) -> Vec<TaskReport> {
        self.inbox.ask(Message::Report).await.unwrap_or_default()
    }
}

/// Starts an agent under `tasks`.
///
/// Tasks found in the work directory are taken up before the agent registers. A fenced agent (another process with its id)
/// fails its `link`, which ends the process.
///
/// # Errors
/// When the work directory is in use or cannot be used.
pub async fn start(config: Config, tasks: &Tasks) -> Result<Handle, StartError> {
    let Config {
        master_url,
        hostname,
        listener,
        work_dir,
        role,
        attributes,
        resources,
        executable,
        builtin_env,
        allowed_hosts,
        token,
        containerizer,
        log_tail,
    } = config;
    let local = listener.local_addr().map_err(StartError::Listener)?;
    let opened = {
        let work_dir = work_dir.clone();
        tokio::task::spawn_blocking(move || open(work_dir))
            .await
            .map_err(io::Error::other)
    };
    let unusable = |source| StartError::WorkDir {
        path: work_dir.clone(),
        source,
    };
    let Some(Books {
        journal,
        lock,
        identity,
        found,
        fetcher,
    }) = opened.flatten().map_err(unusable)?
    else {
        return Err(StartError::InUse(work_dir));
    };
    let containerizer = match containerizer {
        Some(containerizer) => containerizer,
        None => {
            let made = tokio::task::spawn_blocking(move || {
                ProcessContainerizer::new(executable, builtin_env)
            });
            Arc::new(made.await.map_err(io::Error::other).map_err(unusable)?)
        }
    };
    let owner = tasks.child("agent");
    let address = address_of(&hostname, local.ip());
    let outbox = Outbox::default();
    let parts = Parts {
        journal: journal.clone(),
        identity: identity.clone(),
        containerizer: Arc::clone(&containerizer),
        fetcher,
        address,
        outbox: outbox.clone(),
        owner: owner.clone(),
    };
    let sandboxes = Sandboxes::new(journal.work_dir());
    let (actor, inbox, recovered) = Actor::new(parts, found);
    let about = About {
        hostname: hostname.clone(),
        port: local.port(),
        role,
        attributes,
        resources,
    };
    let (registered_sender, is_registered) = watch::channel(false);
    let link = Link {
        client: HttpClient::new().with_authorization(token.as_ref().map(Token::authorization)),
        master_url: master_url.trim_end_matches('/').to_owned(),
        about: about.clone(),
        identity,
        journal,
        inbox: inbox.clone(),
        outbox,
        recovered,
        is_registered: registered_sender,
    };
    let guard = Guard::new(allowed_hosts.into_iter().chain([hostname]));
    let mut router = api::router(Api {
        inbox: inbox.clone(),
        about,
        sandboxes,
        containerizer,
        token: token.clone(),
        log_tail,
        started_at: tokio::time::Instant::now(),
    });
    if let Some(token) = token.filter(|_| !local.ip().is_loopback()) {
        router = token.wrap(router);
    }
    let router = guard.wrap(router);
    owner.spawn("actor", OnFailure::Shutdown, async move {
        // Held as long as the books are written.
        let _lock = lock;
        actor.run().await
    });
    let token = owner.token().clone();
    owner.spawn(
        "api",
        OnFailure::Shutdown,
        zddcluster_runtime::serve(listener, router, token.clone()),
    );
    owner.spawn("link", OnFailure::Shutdown, link.run(token));
    Ok(Handle {
        address: local,
        inbox,
        is_registered,
    })
}

/// The books at the start of an agent.
struct Books {
    journal: Journal,
    lock: std::fs::File,
    identity: journal::Identity,
    found: Vec<journal::Recorded>,
    fetcher: Fetcher,
}

/// Takes the work directory over; `None` if another agent has it. The epoch grows here, flushed before anything else.
fn open(work_dir: PathBuf) -> io::Result<Option<Books>> {
    std::fs::create_dir_all(&work_dir)?;
    // Whole and without links: it is part of every `directory` clients send back.
    let journal = Journal::new(&work_dir.canonicalize()?);
    journal.create()?;
    let Some(lock) = journal.lock()? else {
        return Ok(None);
    };
    let mut identity = journal.identity()?;
    identity.epoch += 1;
    journal.set_identity(&identity)?;
    let Scan {
        recorded: found,
        unreadable,
    } = journal.scan()?;
    for (path, error) in unreadable {
        tracing::error!(path = %path.display(), %error, "the books of a task cannot be read; it is left alone");
    }
    let fetcher = Fetcher::new(journal.work_dir().join(fetch::DIRECTORY));
    Ok(Some(Books {
        fetcher,
        journal,
        lock,
        identity,
        found,
    }))
}

/// The address of the agent, and of every task that shares its network.
fn address_of(hostname: &str, listening: IpAddr) -> IpAddress {
    ip_address(hostname.parse().unwrap_or(listening))
}

/// An address as it is told.
pub(crate) fn ip_address(ip: IpAddr) -> IpAddress {
    let protocol = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    IpAddress {
        ip_address: ip.to_string(),
        protocol: protocol.to_owned(),
    }
}

//! Listeners follow the routes: a port with a service listens, one without does not.
//!
//! A reconciler: it compares the ports that should listen (the fixed ones and the table's) with those that do, closes first and opens
//! then. A port that cannot be bound is warned about once and tried again, all others go on. Closing a
//! listener stops accepting at once; its connections live on.
//!
//! A listener that carries traffic has a socket for each worker, and the kernel deals connections out to them.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zddcluster_runtime::{Backoff, Error, OnFailure, Tasks};

use crate::admin;
use crate::bind::{Bound, bind};
use crate::counters::Counters;
use crate::labels::Mode;
use crate::proxy::visit::{Entry, Visit};
use crate::proxy::{rewrite, session, tcp};
use crate::state::Shared;
use crate::workers::Workers;

/// HAProxy's `maxconn` of a frontend in Marathon-LB's template: further connections wait in the backlog.
const MAX_CONNECTIONS: usize = 10_000;
/// Pauses between attempts to bind a port: another program may free it any time, and its users wait for it.
const BIND_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Pauses after the kernel refused to accept (no file descriptors left).
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Statistics and administration.
    Stats,
    /// Vhosts, and services that share the port.
    Http,
    /// Vhosts with TLS.
    Https,
    /// Requests with an app id.
    AppIds,
    /// Services.
    Service,
}

/// The listeners that exist.
pub(crate) struct Listeners {
    shared: Arc<Shared>,
    tasks: Tasks,
    workers: Workers,
    /// The fixed ports.
    fixed: BTreeMap<u16, Role>,
    open: BTreeMap<u16, Open>,
    /// Ports that could not be bound, and when to try again.
    failed: BTreeMap<u16, (Instant, Backoff)>,
}

struct Open {
    token: CancellationToken,
    /// Ends when all its sockets are closed.
    closed: mpsc::Receiver<Infallible>,
}

impl Listeners {
    /// Starts with the fixed listeners, of which some may not be bound yet.
    pub(crate) fn new(
        shared: Arc<Shared>,
        tasks: Tasks,
        workers: Workers,
        fixed: Vec<(u16, Role, Option<Bound>)>,
    ) -> Self {
        let mut listeners = Self {
            shared,
            tasks,
            workers,
            fixed: BTreeMap::new(),
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        for (port, role, bound) in fixed {
            listeners.fixed.insert(port, role);
            if let Some(bound) = bound {
                listeners.open(port, role, bound);
            }
        }
        listeners
    }

    /// Follows the routes until `token` is cancelled.
    pub(crate) async fn keep(mut self, token: CancellationToken) -> Result<(), Error> {
        let mut changes = self.shared.changes();
        loop {
            changes.borrow_and_update();
            self.reconcile().await;
            let retry = self.failed.values().map(|(at, _)| *at).min();
            let retry = async {
                match retry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Cancel-safe: all only wait for a state.
                () = token.cancelled() => return Ok(()),
                changed = changes.changed() => changed?,
                () = retry => {}
            }
        }
    }

    async fn reconcile(&mut self) {
        let mut wanted = self.fixed.clone();
        for port in self.shared.routes.load().ports.keys() {
            wanted.entry(*port).or_insert(Role::Service);
        }
        let gone: Vec<u16> = self
            .open
            .keys()
            .filter(|port| !wanted.contains_key(port))
            .copied()
            .collect();
        for port in gone {
            if let Some(Open { token, mut closed }) = self.open.remove(&port) {
                token.cancel();
                // Nothing is ever sent: it ends.
                let _ = closed.recv().await;
            }
        }
        self.failed.retain(|port, _| wanted.contains_key(port));
        for (port, role) in wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            let now = Instant::now();
            if self.failed.get(&port).is_some_and(|(at, _)| *at > now) {
                continue;
            }
            let n_sockets = role.n_sockets(&self.workers);
            match bind(SocketAddr::new(self.shared.config.bind, port), n_sockets) {
                Ok(bound) => {
                    if self.failed.remove(&port).is_some() {
                        tracing::info!(port, "the port is free now: listening");
                    }
                    self.open(port, role, bound);
                }
                Err(error) => {
                    let is_new = !self.failed.contains_key(&port);
                    let fresh = || (now, Backoff::new(BIND_PAUSE.0, BIND_PAUSE.1));
                    let (at, backoff) = self.failed.entry(port).or_insert_with(fresh);
                    *at = now + backoff.next();
                    if is_new {
                        tracing::warn!(port, %error, "cannot listen: trying again, all else goes on");
                    }
                }
            }
        }
    }

    fn open(&mut self, port: u16, role: Role, bound: Bound) {
        let token = self.tasks.token().child_token();
        let (is_open, closed) = mpsc::channel(1);
        if role == Role::Stats {
            let (shared, stop) = (Arc::clone(&self.shared), token.clone());
            self.tasks.spawn("stats", OnFailure::Log, async move {
                let socket = bound.into_sockets().next().expect("one at least is bound");
                let listener = TcpListener::from_std(socket)?;
                let served = zddcluster_runtime::serve(listener, admin::router(shared), stop).await;
                drop(is_open);
                served
            });
        } else {
            // The limit is the listener's, not a worker's.
            let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            for (index, socket) in bound.into_sockets().enumerate() {
                let (shared, places) = (Arc::clone(&self.shared), Arc::clone(&places));
                let (stop, is_open) = (token.clone(), is_open.clone());
                self.workers.run(index, move |tasks| {
                    let listening = Listening {
                        shared,
                        role,
                        port,
                        places,
                        shutdown: tasks.token().clone(),
                    };
                    tasks.spawn("listener", OnFailure::Log, async move {
                        let listener = TcpListener::from_std(socket)?;
                        listening.run(listener, stop, is_open).await;
                        Ok(())
                    });
                });
            }
        }
        self.open.insert(port, Open { token, closed });
    }
}

impl Role {
    /// How many sockets its listener has.
    pub(crate) fn n_sockets(self, workers: &Workers) -> usize {
        match self {
            Self::Stats => 1,
            Self::Http | Self::Https | Self::AppIds | Self::Service => workers.len(),
        }
    }
}

/// One worker's part of a listener for proxied traffic.
struct Listening {
    shared: Arc<Shared>,
    role: Role,
    port: u16,
    /// For the connections of all workers.
    places: Arc<Semaphore>,
    /// Ends connections; the listener's own token only ends accepting. The worker's own, so that workers do not meet at it.
    shutdown: CancellationToken,
}

impl Listening {
    async fn run(
        self,
        listener: TcpListener,
        stop: CancellationToken,
        is_open: mpsc::Sender<Infallible>,
    ) {
        let connections = TaskTracker::new();
        let listening = Arc::new(self);
        let mut backoff = Backoff::new(ACCEPT_PAUSE.0, ACCEPT_PAUSE.1);
        let mut stopped = pin!(stop.cancelled());
        loop {
            let accepted = async {
                let place = Arc::clone(&listening.places).acquire_owned().await;
                (listener.accept().await, place)
            };
            tokio::select! {
                biased;
                // Cancel-safe: they only wait for a state; a connection stays in the kernel's queue.
                () = stopped.as_mut() => break,
                (accepted, place) = accepted => match accepted {
                    Ok((stream, peer)) => {
                        backoff.reset();
                        let visit = Arc::clone(&listening).visit(stream, peer, place.ok());
                        connections.spawn(visit.map(report));
                    }
                    Err(error) if is_of_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(port = listening.port, %error, "cannot accept connections");
                        tokio::time::sleep(backoff.next()).await;
                    }
                },
            }
        }
        drop(listener);
        drop(is_open);
        connections.close();
        connections.wait().await;
    }

    /// Serves one connection to its end. A panic in it is its own affair.
    async fn visit(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Box<dyn Any + Send>> {
        let served = AssertUnwindSafe(self.serve(stream, peer))
            .catch_unwind()
            .await;
        drop(place);
        served
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let shared = &self.shared;
        let Some((entry, frontend, mode)) = self.entry() else {
            // Its service has gone this moment.
            return;
        };
        let counted = Session::begin(&frontend, shared);
        let ip = peer.ip().to_canonical();
        match (mode, entry) {
            (Mode::Tcp, Entry::Service { port, backend }) => {
                // Boxed: it is larger than what most connections need.
                Box::pin(tcp::pass(shared, stream, ip, &frontend, port, &backend)).await;
            }
            (_, entry) => {
                let visit = |tls_name: Option<String>| Visit {
                    shared: Arc::clone(shared),
                    entry,
                    frontend,
                    client: ip,
                    forwarded: rewrite::forwarded(ip, self.port, tls_name.is_some()),
                    tls_name,
                };
                match &shared.tls {
                    Some(tls) if self.role == Role::Https => {
                        let serve = async |stream, name| {
                            session::serve(&visit(Some(name)), stream, &self.shutdown).await;
                        };
                        // Boxed: most connections have no TLS.
                        if let Err(error) = Box::pin(tls.serve(stream, serve)).await {
                            tracing::debug!(%error, "no TLS");
                        }
                    }
                    Some(_) | None => session::serve(&visit(None), stream, &self.shutdown).await,
                }
            }
        }
        drop(counted);
    }

    /// Decides what a new connection is for.
    fn entry(&self) -> Option<(Entry, Arc<Counters>, Mode)> {
        let (shared, port) = (&self.shared, self.port);
        Some(match self.role {
            Role::Http => (
                Entry::Vhosts { port },
                Arc::clone(&shared.fixed.http),
                Mode::Http,
            ),
            Role::Https => (
                Entry::Vhosts { port },
                Arc::clone(&shared.fixed.https),
                Mode::Http,
            ),
            Role::AppIds => (Entry::AppIds, Arc::clone(&shared.fixed.app_id), Mode::Http),
            Role::Service | Role::Stats => {
                let routes = shared.routes.load();
                let backend = routes.ports.get(&port)?.begin()?;
                let entry = Entry::Service {
                    port,
                    backend: Arc::clone(&backend.name),
                };
                (entry, Arc::clone(&backend.kept.frontend), backend.spec.mode)
            }
        })
    }
}

/// A connection counted on its frontend until dropped.
struct Session(Arc<Counters>);

impl Session {
    fn begin(frontend: &Arc<Counters>, shared: &Shared) -> Self {
        frontend.begin(shared.second());
        Self(Arc::clone(frontend))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn report(ended: Result<(), Box<dyn Any + Send>>) {
    if let Err(panic) = ended {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        tracing::error!(panic = text, "a connection's task failed");
    }
}

/// Whether the error is about the one connection that was to be accepted.
fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

//! Listeners follow the routes: a port with a service listens, one without does not.
//!
//! A reconciler: it compares the ports that should listen (the fixed ones and the table's) with those that do, closes first and opens
//! then. A port that cannot be bound is warned about once and tried again, all others go on. Closing a
//! listener stops accepting at once; its connections live on.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{Backoff, Error, OnFailure, Tasks};

use crate::admin;
use crate::counters::Counters;
use crate::labels::Mode;
use crate::proxy::headers::Origin;
use crate::proxy::http::{Entry, Visit};
use crate::proxy::io::ClientSocket;
use crate::proxy::{session, tcp};
use crate::state::Shared;

/// HAProxy's backlog in Marathon-LB's template; the kernel caps it.
const BACKLOG: u32 = 10_000;
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
    /// Requests with an app id.
    AppIds,
    /// Services.
    Service,
}

/// The listeners that exist.
pub(crate) struct Listeners {
    shared: Arc<Shared>,
    tasks: Tasks,
    /// The fixed ports.
    fixed: BTreeMap<u16, Role>,
    open: BTreeMap<u16, Open>,
    /// Ports that could not be bound, and when to try again.
    failed: BTreeMap<u16, (Instant, Backoff)>,
}

struct Open {
    token: CancellationToken,
    /// Resolves when the socket is closed.
    closed: oneshot::Receiver<()>,
}

/// Binds a listening socket.
///
/// # Errors
/// What the kernel says.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a former listener that linger must not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listeners {
    /// Starts with the fixed listeners, of which some may not be bound yet.
    pub(crate) fn new(
        shared: Arc<Shared>,
        tasks: Tasks,
        fixed: Vec<(u16, Role, Option<TcpListener>)>,
    ) -> Self {
        let mut listeners = Self {
            shared,
            tasks,
            fixed: BTreeMap::new(),
            open: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        for (port, role, listener) in fixed {
            listeners.fixed.insert(port, role);
            if let Some(listener) = listener {
                listeners.open(port, role, listener);
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
            if let Some(Open { token, closed }) = self.open.remove(&port) {
                token.cancel();
                // An error means that the task has ended, and the socket with it.
                let _ = closed.await;
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
            match bind(SocketAddr::new(self.shared.config.bind, port)) {
                Ok(listener) => {
                    if self.failed.remove(&port).is_some() {
                        tracing::info!(port, "the port is free now: listening");
                    }
                    self.open(port, role, listener);
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

    fn open(&mut self, port: u16, role: Role, listener: TcpListener) {
        let token = self.tasks.token().child_token();
        let (is_closed, closed) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let stop = token.clone();
        let shutdown = self.tasks.token().clone();
        match role {
            Role::Stats => self.tasks.spawn("stats", OnFailure::Log, async move {
                let served = zddcluster_runtime::serve(listener, admin::router(shared), stop).await;
                drop(is_closed);
                served
            }),
            Role::Http | Role::AppIds | Role::Service => {
                let listening = Listening {
                    shared,
                    role,
                    port,
                    shutdown,
                };
                self.tasks.spawn("listener", OnFailure::Log, async move {
                    listening.run(listener, stop, is_closed).await;
                    Ok(())
                });
            }
        }
        self.open.insert(port, Open { token, closed });
    }
}

/// A listener for proxied traffic.
struct Listening {
    shared: Arc<Shared>,
    role: Role,
    port: u16,
    /// Ends connections; the listener's own token only ends accepting.
    shutdown: CancellationToken,
}

impl Listening {
    async fn run(
        self,
        listener: TcpListener,
        stop: CancellationToken,
        is_closed: oneshot::Sender<()>,
    ) {
        let mut connections = JoinSet::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut backoff = Backoff::new(ACCEPT_PAUSE.0, ACCEPT_PAUSE.1);
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (listener.accept().await, place)
            };
            tokio::select! {
                biased;
                // Cancel-safe: they only wait for a state; a connection stays in the kernel's queue.
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => report(ended),
                (accepted, place) = accepted => match accepted {
                    Ok((stream, peer)) => {
                        backoff.reset();
                        if let Some(visit) = self.admit(stream, peer) {
                            connections.spawn(async move {
                                visit.await;
                                drop(place);
                            });
                        }
                    }
                    Err(error) if is_of_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(port = self.port, %error, "cannot accept connections");
                        tokio::time::sleep(backoff.next()).await;
                    }
                },
            }
        }
        drop(listener);
        drop(is_closed);
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    }

    /// Decides what a connection is for; `None` if it is to be closed at once.
    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
        stream.set_nodelay(true).ok()?;
        let shared = Arc::clone(&self.shared);
        let port = self.port;
        let client = peer.ip().to_canonical();
        let (entry, frontend) = match self.role {
            Role::Http => (Entry::Vhosts { port }, Arc::clone(&shared.fixed.http)),
            Role::AppIds => (Entry::AppIds, Arc::clone(&shared.fixed.app_id)),
            Role::Service | Role::Stats => {
                let routes = shared.routes.load();
                let backend = routes.ports.get(&port)?.next(|_| true)?;
                let frontend = Arc::clone(&backend.kept.frontend);
                let name: Arc<str> = backend.spec.name.as_str().into();
                match backend.spec.mode {
                    Mode::Http => (
                        Entry::Service {
                            port,
                            backend: name,
                        },
                        frontend,
                    ),
                    Mode::Tcp => {
                        drop(routes);
                        let session = Session::begin(&frontend, &shared);
                        return Some(Box::pin(async move {
                            let socket = ClientSocket::new(stream, frontend);
                            tcp::pass(&shared, socket, client, port, &name).await;
                            drop(session);
                        }));
                    }
                }
            }
        };
        let text = |text: String| HeaderValue::try_from(text).ok();
        let origin = Origin {
            client: text(client.to_string())?,
            port: text(port.to_string())?,
        };
        let counted = Session::begin(&frontend, &shared);
        let shutdown = self.shutdown.clone();
        Some(Box::pin(async move {
            let socket = ClientSocket::new(stream, Arc::clone(&frontend));
            session::serve(
                Visit {
                    shared,
                    entry,
                    frontend,
                    origin,
                    client,
                },
                socket,
                shutdown,
            )
            .await;
            drop(counted);
        }))
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

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a connection's task failed"
        );
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

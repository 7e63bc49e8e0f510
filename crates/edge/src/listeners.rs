//! Listeners follow the routes: a port with a service listens, one without does not.
//!
//! A reconciler: it compares the ports that should listen (the fixed ones and the table's) with those that do, closes first and opens
//! then. A port that cannot be bound is warned about once and tried again, all others go on. Closing a
//! listener stops accepting at once; its connections live on, also those that still wait in its queue.
//!
//! A listener that carries traffic has a socket for each worker, and the kernel deals connections out to them.

mod accept;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{Backoff, Error, OnFailure, Tasks};

use self::accept::Listening;
use crate::admin;
use crate::bind::{Bound, bind};
use crate::state::Shared;
use crate::workers::Workers;

/// HAProxy's `maxconn` of a frontend in Marathon-LB's template: further connections wait in the backlog.
const MAX_CONNECTIONS: usize = 10_000;
/// Pauses between attempts to bind a port: another program may free it any time, and its users wait for it.
const BIND_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

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
    /// Where it listens.
    ip: IpAddr,
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
                let ip = listeners.shared.config.bind;
                listeners.open(port, role, ip, bound);
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
        let own = self.shared.config.bind;
        let fixed = self.fixed.iter().map(|(port, role)| (*port, (*role, own)));
        let mut wanted: BTreeMap<u16, (Role, IpAddr)> = fixed.collect();
        let table = &self.shared.routes.load_full().table;
        for port in table.listening() {
            let binding = table.bindings.get(&port);
            // A gateway has the edge's address.
            let binding = binding.filter(|_| !table.gateway_ports.contains_key(&port));
            let ip = binding.and_then(|binding| binding.ip);
            wanted
                .entry(port)
                .or_insert_with(|| (Role::Service, ip.unwrap_or(own)));
        }
        let is_wanted =
            |port: &u16, ip: IpAddr| wanted.get(port).is_some_and(|(_, wanted)| *wanted == ip);
        let gone = self
            .open
            .iter()
            .filter(|(port, open)| !is_wanted(port, open.ip));
        let gone: Vec<u16> = gone.map(|(port, _)| *port).collect();
        for port in gone {
            if let Some(Open {
                token, mut closed, ..
            }) = self.open.remove(&port)
            {
                token.cancel();
                // Nothing is ever sent: it ends.
                let _ = closed.recv().await;
            }
        }
        self.failed.retain(|port, _| wanted.contains_key(port));
        for (port, (role, ip)) in wanted {
            if self.open.contains_key(&port) {
                continue;
            }
            let now = Instant::now();
            if self.failed.get(&port).is_some_and(|(at, _)| *at > now) {
                continue;
            }
            let n_sockets = role.n_sockets(&self.workers);
            match bind(SocketAddr::new(ip, port), n_sockets) {
                Ok(bound) => {
                    if self.failed.remove(&port).is_some() {
                        tracing::info!(port, "the port is free now: listening");
                    }
                    self.open(port, role, ip, bound);
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

    fn open(&mut self, port: u16, role: Role, ip: IpAddr, bound: Bound) {
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
        self.open.insert(port, Open { ip, token, closed });
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

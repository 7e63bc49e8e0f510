//! One worker's part of a listener: accepting connections, and what each of them is for.

use std::any::Any;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use std::{io, iter};

use futures_util::FutureExt as _;
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zddcluster_runtime::Backoff;

use super::Role;
use crate::bind;
use crate::counters::Counters;
use crate::labels::Mode;
use crate::proxy::visit::{Entry, Visit};
use crate::proxy::wire::Incoming;
use crate::proxy::{http2, rewrite, session, tcp};
use crate::state::Shared;
use crate::tls::{Spoken, Tls};

/// Pauses after the kernel refused to accept (no file descriptors left).
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// One worker's part of a listener for proxied traffic.
pub(super) struct Listening {
    pub(super) shared: Arc<Shared>,
    pub(super) role: Role,
    pub(super) port: u16,
    /// For the connections of all workers.
    pub(super) places: Arc<Semaphore>,
    /// Ends connections; the listener's own token only ends accepting. The worker's own, so that workers do not meet at it.
    pub(super) shutdown: CancellationToken,
}

/// What a connection is for.
enum Purpose {
    /// Bytes for a server in TCP mode.
    Bytes {
        frontend: Arc<Counters>,
        port: u16,
        /// The backend this connection was given.
        backend: Arc<str>,
    },
    /// Requests.
    Requests(Visit),
}

impl Listening {
    pub(super) async fn run(
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
        // The kernel has accepted these already, and would reset them with the socket.
        for (stream, peer) in waiting(listener) {
            let place = Arc::clone(&listening.places).try_acquire_owned();
            let visit = Arc::clone(&listening).visit(stream, peer, place.ok());
            connections.spawn(visit.map(report));
        }
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

    async fn serve(&self, mut stream: TcpStream, peer: SocketAddr) {
        let ip = peer.ip().to_canonical();
        let Ok(tls) = self.tls() else { return };
        match tls {
            None => {
                if let Some((purpose, counted)) = self.begin(ip, None) {
                    self.carry(stream.split(), ip, &purpose).await;
                    drop(counted);
                }
            }
            // Boxed: most connections have no TLS.
            Some(tls) => Box::pin(self.serve_encrypted(&tls, stream, ip)).await,
        }
    }

    async fn serve_encrypted(&self, tls: &Tls, stream: TcpStream, ip: IpAddr) {
        let accepted = tls.accept(stream, self.spoken(), &self.shutdown);
        let encrypted = match accepted.await {
            Ok(encrypted) => encrypted,
            Err(error) => {
                tracing::debug!(%error, "no TLS");
                return;
            }
        };
        let Some((purpose, counted)) = self.begin(ip, Some(encrypted.name())) else {
            return;
        };
        let (side, n_written) = (encrypted.split().0, encrypted.n_written());
        match &purpose {
            Purpose::Requests(visit) if encrypted.is_http2() => {
                http2::serve(visit, side, n_written, &self.shutdown).await;
            }
            purpose => self.carry(encrypted.split(), ip, purpose).await,
        }
        encrypted.end().await;
        drop(counted);
    }

    /// What clients may speak behind TLS here.
    fn spoken(&self) -> Spoken {
        let routes = self.shared.routes.load();
        let backends = routes.ports.get(&self.port).map(|port| &*port.backends);
        let mut backends = backends.unwrap_or_default().iter();
        match backends.any(|backend| backend.spec.mode == Mode::Tcp) {
            true => Spoken::Bytes,
            false => Spoken::Http,
        }
    }

    /// What ends TLS here, if there is TLS.
    ///
    /// # Errors
    /// When there is to be TLS, and no certificate can be had.
    fn tls(&self) -> Result<Option<Tls>, ()> {
        let (shared, port) = (&self.shared, self.port);
        match self.role {
            Role::Https => shared.tls.clone().map(Some).ok_or(()),
            Role::Service => {
                let routes = shared.routes.load();
                let binding = routes.table.bindings.get(&port);
                let binding = binding.filter(|_| !routes.table.gateway_ports.contains_key(&port));
                match binding.and_then(|binding| binding.certificates.as_ref()) {
                    Some(paths) => shared.tls_of_services.get(paths).map(Some).ok_or(()),
                    None => Ok(None),
                }
            }
            Role::Http | Role::AppIds | Role::Stats => Ok(None),
        }
    }

    /// Begins to serve a connection: what it is for, and what counts it until dropped. `tls_name`: with TLS, the name that the client
    /// asked for. `None` when its service has gone this moment.
    fn begin(&self, ip: IpAddr, tls_name: Option<String>) -> Option<(Purpose, Session)> {
        let shared = &self.shared;
        let (entry, frontend, mode) = self.entry()?;
        let counted = Session::begin(&frontend, shared);
        let purpose = match (mode, entry) {
            (Mode::Tcp, Entry::Service { port, backend }) => Purpose::Bytes {
                frontend,
                port,
                backend,
            },
            (_, entry) => Purpose::Requests(Visit {
                shared: Arc::clone(shared),
                entry,
                frontend,
                client: ip,
                port: self.port,
                forwarded: rewrite::forwarded(ip, Some(self.port), tls_name.is_some()),
                tls_name,
            }),
        };
        Some((purpose, counted))
    }

    /// Serves a connection, of which these are the sides that are read and written.
    async fn carry<R: Incoming, W: AsyncWrite + Unpin>(
        &self,
        sides: (R, W),
        ip: IpAddr,
        purpose: &Purpose,
    ) {
        match purpose {
            Purpose::Bytes {
                frontend,
                port,
                backend,
            } => {
                // Boxed: it is larger than what most connections need.
                Box::pin(tcp::pass(&self.shared, sides, ip, frontend, *port, backend)).await;
            }
            Purpose::Requests(visit) => session::serve(visit, sides, &self.shutdown).await,
        }
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
                let beginning = routes.begin(port)?;
                let entry = Entry::Service {
                    port,
                    backend: Arc::clone(beginning.name),
                };
                (entry, Arc::clone(beginning.frontend), beginning.mode)
            }
        })
    }
}

/// What is in the queue of a listener, which is closed then. No more than the queue may hold: others may come as fast as these
/// go.
fn waiting(listener: TcpListener) -> impl Iterator<Item = (TcpStream, SocketAddr)> {
    // The runtime may not have heard of the last ones yet: the kernel is asked.
    let listener = listener.into_std().ok();
    let accepted = iter::from_fn(move || {
        loop {
            match listener.as_ref()?.accept() {
                Err(error) if is_of_connection(&error) => {}
                accepted => return accepted.ok(),
            }
        }
    });
    accepted
        .take(bind::BACKLOG as usize)
        .filter_map(|(stream, peer)| {
            stream.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(stream).ok()?, peer))
        })
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

#[cfg(test)]
mod tests;

//! TCP mode: bytes both ways, each side closed when the other has ended its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::io::{ClientIo, ClientSocket};
use super::{Attempts, TUNNEL_TIMEOUT, connect};
use crate::labels::Mode;
use crate::live::Lease;
use crate::state::Shared;
use crate::verdict;

/// How often a tunnel looks whether it is silent.
const LOOK: Duration = Duration::from_secs(60);

/// Passes one connection to the service listener `port` on to a server of the backend named `preferred`, or, when that can
/// serve no more, of another TCP backend on the port. Without a server the connection is closed without a byte.
pub(crate) async fn pass(
    shared: &Shared,
    socket: Arc<ClientSocket>,
    client: IpAddr,
    port: u16,
    preferred: &str,
) {
    let mut attempts = Attempts::default();
    loop {
        let Some(lease) = lease(shared, client, port, preferred, &attempts) else {
            if attempts.pause().await {
                continue;
            }
            return;
        };
        match connect::connect(&lease).await {
            Ok(server) => {
                splice(ClientIo(Arc::clone(&socket)), server, &socket).await;
                return;
            }
            Err(_) if attempts.has_failed(lease.server.spec.address) => {
                lease.server.backend.retries.fetch_add(1, Relaxed);
            }
            Err(_) => return,
        }
    }
}

fn lease(
    shared: &Shared,
    client: IpAddr,
    port: u16,
    preferred: &str,
    attempts: &Attempts,
) -> Option<Lease> {
    shared.lease(|routes| {
        let backend = routes.by_port(port, preferred, Mode::Tcp)?;
        if !verdict::is_allowed(&backend.spec, client) {
            return None;
        }
        backend.lease(attempts.tried(), client, shared.second())
    })
}

/// Copies both ways until both sides have ended, one fails, or nothing has moved for [`TUNNEL_TIMEOUT`]. `socket` is the client's.
pub(crate) async fn splice<C, S>(mut client: C, mut server: S, socket: &ClientSocket)
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let silence = async {
        let mut silent_for = Duration::ZERO;
        let mut moved = 0;
        while silent_for < TUNNEL_TIMEOUT {
            tokio::time::sleep(LOOK).await;
            let now = socket.received.load(Relaxed) + socket.sent.load(Relaxed);
            silent_for = if now == moved {
                silent_for + LOOK
            } else {
                Duration::ZERO
            };
            moved = now;
        }
    };
    tokio::select! {
        // Dropped together with both connections, so cancellation loses nothing that could still arrive.
        copied = tokio::io::copy_bidirectional(&mut client, &mut server) => {
            if let Err(error) = copied {
                tracing::debug!(%error, "tunnel broke");
            }
        }
        () = silence => tracing::debug!("silent tunnel closed"),
    }
}

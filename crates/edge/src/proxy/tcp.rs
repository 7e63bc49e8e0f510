//! TCP mode and tunnels: bytes both ways, each side closed when the other has ended its own.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::buffer::Buffer;
use super::timer::Timer;
use super::wire::{Fault, Sink, Source};
use super::{Attempts, CONNECT_TIMEOUT, TUNNEL_TIMEOUT, connect};
use crate::counters::Counters;
use crate::labels::Mode;
use crate::live::{Lease, LiveServer};
use crate::state::Shared;
use crate::verdict;

/// Passes one connection of `ip` to the service listener `port` on to a server of the backend named `preferred`, or, when that can
/// serve no more, of another TCP backend on the port. Without a server the connection is closed without a byte.
pub(crate) async fn pass<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    shared: &Shared,
    (reader, writer): (R, W),
    ip: IpAddr,
    frontend: &Counters,
    port: u16,
    preferred: &str,
) {
    let mut attempts = Attempts::default();
    let mut timer = Timer::new(CONNECT_TIMEOUT);
    loop {
        let Some(mut lease) = lease(shared, ip, frontend, port, preferred, attempts.tried()) else {
            if attempts.pause().await {
                continue;
            }
            return;
        };
        match connect::connect(&lease.server, &mut timer).await {
            Ok(server) => {
                lease.connected_at = Instant::now();
                let mut client = End {
                    source: Source::new(reader, (&frontend.bytes_in, None)),
                    sink: Sink::new(writer, (&frontend.bytes_out, None)),
                    unread: Buffer::default(),
                };
                tunnel(&mut client, server, Buffer::default(), &lease.server).await;
                let connected_at = lease.connected_at;
                lease.end(connected_at, Instant::now());
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
    ip: IpAddr,
    frontend: &Counters,
    port: u16,
    preferred: &str,
    tried: &[SocketAddr],
) -> Option<Lease> {
    let denied = Cell::new(None);
    let lease = shared.lease(|routes| {
        let backend = routes.by_port(port, preferred, Mode::Tcp, None, tried)?;
        let is_allowed = verdict::is_allowed(&backend.spec, ip);
        denied.set((!is_allowed).then(|| Arc::clone(backend)));
        is_allowed.then(|| backend.lease(tried, ip, shared.now()))?
    });
    if let Some(backend) = denied.take() {
        for counters in [frontend, &backend.kept.backend] {
            counters.denied_requests.fetch_add(1, Relaxed);
        }
    }
    lease
}

/// One side of a tunnel.
pub(crate) struct End<'a, R, W> {
    pub(crate) source: Source<'a, R>,
    pub(crate) sink: Sink<'a, W>,
    /// What has been read of its bytes and not been passed on.
    pub(crate) unread: Buffer,
}

/// Passes bytes both ways until both sides have ended, one fails, or nothing has moved for [`TUNNEL_TIMEOUT`]. `early` is what the
/// server has said already; its bytes are `counted`.
pub(crate) async fn tunnel<R, W>(
    client: &mut End<'_, R, W>,
    mut server: TcpStream,
    mut early: Buffer,
    counted: &LiveServer,
) where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (reader, writer) = server.split();
    let mut source = Source::new(reader, counted.bytes_out());
    let mut sink = Sink::new(writer, counted.bytes_in());
    let moved = AtomicU64::new(0);
    let up = pump(&mut client.source, &mut sink, &mut client.unread, &moved);
    let down = pump(&mut source, &mut client.sink, &mut early, &moved);
    if let Err(error) = tokio::try_join!(up, down) {
        tracing::debug!(%error, "tunnel broke");
    }
}

/// Passes bytes one way until the side they come from has ended. `moved` counts what has passed either way.
async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    source: &mut Source<'_, R>,
    sink: &mut Sink<'_, W>,
    buffer: &mut Buffer,
    moved: &AtomicU64,
) -> Result<(), Fault> {
    let mut timer = Timer::new(TUNNEL_TIMEOUT);
    loop {
        if buffer.is_empty() {
            let before = moved.load(Relaxed);
            match source.read(buffer, &mut timer, TUNNEL_TIMEOUT).await {
                Ok(0) => return sink.end(&mut timer, TUNNEL_TIMEOUT).await,
                Ok(_) => {}
                // The other way is not silent.
                Err(Fault::Stuck) if moved.load(Relaxed) != before => continue,
                Err(fault) => return Err(fault),
            }
        }
        let n = buffer.unread().len();
        sink.write([buffer.unread()], &mut timer, TUNNEL_TIMEOUT)
            .await?;
        moved.fetch_add(n as u64, Relaxed);
        buffer.consume(n);
    }
}

#[cfg(test)]
mod tests;

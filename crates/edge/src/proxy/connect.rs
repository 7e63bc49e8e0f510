//! Connecting to servers.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use tokio::net::{TcpSocket, TcpStream};

use super::CONNECT_TIMEOUT;
use super::timer::Timer;
use crate::live::LiveServer;

/// Connects to a server; a failure is counted.
///
/// # Errors
/// When there is no connection within [`CONNECT_TIMEOUT`]: the server has seen nothing.
pub(crate) async fn connect(server: &LiveServer, timer: &mut Timer) -> io::Result<TcpStream> {
    let connected = timer.within(CONNECT_TIMEOUT, open(server.spec.address));
    let connected = connected
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    connected.inspect_err(|error| {
        server.counters.connect_errors.fetch_add(1, Relaxed);
        server.backend.connect_errors.fetch_add(1, Relaxed);
        tracing::debug!(server = %server.spec.name, %error, "cannot connect");
    })
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // All is written as soon as it can be; there is nothing to wait for.
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

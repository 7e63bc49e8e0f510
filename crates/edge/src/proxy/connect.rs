//! Connecting to servers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::CONNECT_TIMEOUT;
use super::io::ServerIo;
use super::pool::Connection;
use crate::live::Lease;

/// Connects to the leased server; a failure is counted.
///
/// # Errors
/// When there is no connection within [`CONNECT_TIMEOUT`]: the server has seen nothing.
pub(crate) async fn connect(lease: &Lease) -> io::Result<ServerIo> {
    let server = &lease.server;
    let connected =
        tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(server.spec.address)).await;
    let stream = connected
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(stream)
        });
    match stream {
        Ok(stream) => Ok(ServerIo::new(
            stream,
            Arc::clone(&server.counters),
            Arc::clone(&server.backend),
        )),
        Err(error) => {
            server.counters.connect_errors.fetch_add(1, Relaxed);
            server.backend.connect_errors.fetch_add(1, Relaxed);
            tracing::debug!(server = %server.spec.name, %error, "cannot connect");
            Err(error)
        }
    }
}

/// Prepares a fresh connection for HTTP. Nothing is sent yet.
///
/// # Errors
/// None that is known: the handshake of HTTP/1 sends nothing.
pub(crate) async fn handshake(io: ServerIo) -> Result<Connection, hyper::Error> {
    let mut builder = http1::Builder::new();
    builder.preserve_header_case(true).title_case_headers(true);
    let (sender, driver) = builder.handshake(TokioIo::new(io)).await?;
    Ok(Connection {
        sender,
        driver: Box::new(driver),
        has_ended: false,
    })
}

//! Connections, and their end.
//!
//! ```text
//!   serving ──stop──▶ connections the kernel has already made are taken, the listener is closed;
//!                     running requests finish, each answer closes its connection;
//!                     a connection without a request has LINGER to send one, then it is closed
//!           ──all closed──▶ the end
//! ```
//!
//! So no client that was let in is turned away. A request that takes for ever is for whoever sends SIGKILL.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::service::Service;

/// How long a connection may idle or take for a request's head: longer than proxies and health checkers keep idle
/// connections, so that it is they who close them.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a connection without a request may still send one after the stop: a client that was let in sends it within a
/// network round trip. Much less than Marathon's kill grace period of 3 s.
const LINGER: Duration = Duration::from_millis(300);
/// The pause after the kernel refused a connection (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` resolves and all connections have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let stopping = CancellationToken::new();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // Cancel-safe: it is only borrowed.
            () = &mut stop => break,
            // Cancel-safe: a connection stays in the kernel's queue.
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(converse(stream, peer, Arc::clone(&service), stopping.clone()));
                }
                // Cannot be cancelled here, but is short.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            // Cancel-safe: nothing is lost with a result nobody wants.
            Some(_) = connections.join_next() => {}
        }
    }
    service.stop();
    for (stream, peer) in waiting(listener) {
        connections.spawn(converse(
            stream,
            peer,
            Arc::clone(&service),
            stopping.clone(),
        ));
    }
    stopping.cancel();
    while connections.join_next().await.is_some() {}
}

/// Closes the listener and returns the connections that the kernel had made for it: their clients believe to be served.
fn waiting(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    // The listener does not block, so this ends with the last that waits.
    let accepted = std::iter::from_fn(|| listener.accept().ok());
    accepted
        .filter_map(|(stream, peer)| {
            stream.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(stream).ok()?, peer))
        })
        .collect()
}

async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    service: Arc<Service>,
    stopping: CancellationToken,
) {
    // A failure means that the client is gone, which the first read will tell.
    drop(stream.set_nodelay(true));
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request, peer.ip()).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), answer)
    );
    let lingered = async {
        stopping.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    // Errors mean a client that is gone or speaks no HTTP: nothing of interest to the lab's log.
    tokio::select! {
        // Cancel-safe: the connection is only borrowed, and polled again below.
        _ = connection.as_mut() => return,
        () = lingered => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(connection.await);
}

#[cfg(test)]
mod tests;

//! Answers datagrams.
//!
//! What has come is taken, answered and sent in batches, without a task or a copy for each: most of what a query costs is the kernel's
//! part, and the way in and out of it is shared. Hickory's loop, which connections are served by, starts a task for each.

mod batch;

use std::io;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zddcluster_runtime::Error;

use self::batch::Batch;
use crate::server::Served;

/// Answers datagrams until the token is cancelled.
pub(crate) async fn serve_udp(
    socket: UdpSocket,
    served: Served,
    token: CancellationToken,
) -> Result<(), Error> {
    let Some(front) = served.front(&token).await else {
        return Ok(());
    };
    let mut batch = Batch::new();
    loop {
        // Cancel-safe: it only looks.
        let Some(readable) = token.run_until_cancelled(socket.readable()).await else {
            return Ok(());
        };
        readable?;
        match socket.try_io(Interest::READABLE, || batch.receive(&socket)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        batch.answer(|query, client, answer| front.answer(query, client, now, answer));
        send(&socket, &mut batch).await;
    }
}

/// Sends all answers. Whoever does not get one asks again.
async fn send(socket: &UdpSocket, batch: &mut Batch) {
    while !batch.is_sent() {
        match socket.try_io(Interest::WRITABLE, || batch.send(socket)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The next try tells of an error.
                let _ = socket.writable().await;
            }
            Err(error) => {
                debug!(%error, "sending failed");
                batch.skip();
            }
        }
    }
}

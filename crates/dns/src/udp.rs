//! Answers datagrams.
//!
//! What has come is taken and answered without a task or a copy for each, and the runtime is only asked when nothing is left: most of
//! what a query costs is the kernel's part. Hickory's loop, which TCP is served by, starts a task for each datagram.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zddcluster_runtime::Error;

use crate::server::Served;

/// The largest query that is read: far more than one is.
const LARGEST: usize = 4096;
/// How many are answered before others that share the thread have their turn.
const AT_ONCE: usize = 64;

/// Answers datagrams until the token is cancelled.
pub(crate) async fn serve_udp(
    socket: UdpSocket,
    served: Served,
    token: CancellationToken,
) -> Result<(), Error> {
    let Some(front) = served.front(&token).await else {
        return Ok(());
    };
    let (mut query, mut answer) = (vec![0; LARGEST], Vec::with_capacity(LARGEST));
    loop {
        // Cancel-safe: it only looks.
        let Some(readable) = token.run_until_cancelled(socket.readable()).await else {
            return Ok(());
        };
        readable?;
        for _ in 0..AT_ONCE {
            match socket.try_recv_from(&mut query) {
                Ok((length, client)) => {
                    if front.answer(&query[..length], &mut answer) {
                        send(&socket, &answer, client).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Sends an answer; whoever does not get one asks again.
async fn send(socket: &UdpSocket, answer: &[u8], client: SocketAddr) {
    let sent = match socket.try_send_to(answer, client) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            socket.send_to(answer, client).await
        }
        sent => sent,
    };
    if let Err(error) = sent {
        debug!(%error, %client, "sending failed");
    }
}

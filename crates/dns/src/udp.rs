//! Answers datagrams.
//!
//! What has come is taken, answered and sent in batches, without a task or a copy for each: most of what a query costs is the kernel's
//! part, and the way in and out of it is shared. Hickory's loop, which connections are served by, starts a task for each.
//! Here only what others are to answer has one, since it waits.

mod batch;
mod local;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::net::xfer::Protocol;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zddcluster_runtime::Error;

use self::batch::{Batch, Ends};
use crate::server::{Outcome, Served};

/// Errors in a row after which the socket counts as broken: some pass, as when memory is short.
const MOST_ERRORS: usize = 100;
/// The pause after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

/// Answers datagrams until the token is cancelled.
pub(crate) async fn serve_udp(
    socket: UdpSocket,
    served: Served,
    token: CancellationToken,
) -> Result<(), Error> {
    let is_told = local::tell(&socket)?;
    let Some(front) = served.front(&token).await else {
        return Ok(());
    };
    let (socket, front) = (Arc::new(socket), Arc::new(front));
    // What waits for others, up to the forwarder's own limit; given up with this.
    let mut waiting = JoinSet::new();
    let mut batch = Batch::new(is_told);
    let mut n_errors = 0;
    loop {
        // Cancel-safe: it only looks.
        let Some(readable) = token.run_until_cancelled(socket.readable()).await else {
            return Ok(());
        };
        readable?;
        match socket.try_io(Interest::READABLE, || batch.receive(&socket)) {
            Ok(()) => n_errors = 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) if n_errors < MOST_ERRORS => {
                debug!(%error, "receiving failed");
                n_errors += 1;
                sleep(ERROR_PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        batch.answer(|query, ends, answer| {
            let client = ends.address().map(|client| client.ip());
            match front.answer(query, client, now, answer) {
                Outcome::Silence => false,
                Outcome::Answered => true,
                Outcome::Elsewhere(name) => {
                    let (socket, front) = (Arc::clone(&socket), Arc::clone(&front));
                    let (query, ends) = (query.to_vec(), *ends);
                    waiting.spawn(async move {
                        let answer = front.forward(&query, &name, Protocol::Udp).await;
                        send_to(&socket, &answer, &ends).await;
                    });
                    false
                }
            }
        });
        // Cancel-safe: what is not sent by then is not missed.
        if token
            .run_until_cancelled(send(&socket, &mut batch))
            .await
            .is_none()
        {
            return Ok(());
        }
        while let Some(ended) = waiting.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        // The socket alone never pauses while something comes.
        if batch.is_full() {
            tokio::task::yield_now().await;
        } else {
            tokio::task::coop::consume_budget().await;
        }
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

/// Sends one answer that others gave.
async fn send_to(socket: &UdpSocket, answer: &[u8], ends: &Ends) {
    let sent = socket.async_io(Interest::WRITABLE, || ends.send(socket, answer));
    if let Err(error) = sent.await {
        debug!(%error, client = ?ends.address(), "sending failed");
    }
}

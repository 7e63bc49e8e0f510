//! Serves the zone over UDP and TCP.
//!
//! The sockets are bound by the caller and served once there is a zone; until then the system keeps the first queries.
//! The loops are our own, since hickory-server sends only what its encoder makes, whose sizes are not the original's.
//! One TCP connection's queries are answered in order; answers to queries that arrived together go out together.
//! Source: contract mesos-dns §5.4 (limits of TCP), §6 (nothing before the first load).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use zddcluster_runtime::{Backoff, Error, OnFailure, Tasks};

use crate::encode::{TCP_LIMIT, UDP_LIMIT, reply};
use crate::follow::Current;

/// Only the question of a packet is read, and that is at most 271 bytes with its header: what is longer may be cut.
const UDP_BUFFER: usize = 2048;
/// How long a connection may wait with its first query, and with a later one; as the original's.
const FIRST_QUERY: Duration = Duration::from_secs(2);
const NEXT_QUERY: Duration = Duration::from_secs(8);
/// How many queries one connection may ask; as the original's.
const MAX_QUERIES: usize = 128;
/// How long a client may leave an answer unread.
const WRITE: Duration = Duration::from_secs(8);
/// How many connections are served at once. More wait in the listener's queue; each ends by the limits above.
const MAX_CONNECTIONS: usize = 512;
/// Answers of a connection that are gathered before they are sent.
const MAX_GATHERED: usize = 2 * TCP_LIMIT;
/// The pauses after failures of a socket, which a full file table makes last.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The zone to be served and when to begin.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) current: Current,
    pub(crate) is_ready: watch::Receiver<bool>,
}

impl Served {
    /// Waits for the first zone; false when it will never be.
    async fn wait(&mut self, token: &CancellationToken) -> bool {
        let ready = self.is_ready.wait_for(|&is_ready| is_ready);
        matches!(token.run_until_cancelled(ready).await, Some(Ok(_)))
    }

    fn reply(&self, packet: &[u8], limit: usize) -> Option<Vec<u8>> {
        let zone = self.current.load();
        reply(zone.as_ref()?, packet, limit, &mut rand::rng())
    }
}

/// Answers datagrams until the token is cancelled.
pub(crate) async fn serve_udp(
    socket: UdpSocket,
    mut served: Served,
    token: CancellationToken,
) -> Result<(), Error> {
    if !served.wait(&token).await {
        return Ok(());
    }
    let mut buffer = vec![0; UDP_BUFFER];
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    // Cancel-safe: a datagram is either still in the socket or is answered.
    while let Some(received) = token
        .run_until_cancelled(socket.recv_from(&mut buffer))
        .await
    {
        let (length, client) = match received {
            Ok(received) => received,
            Err(error) => {
                debug!(%error, "receiving failed");
                sleep(backoff.next()).await;
                continue;
            }
        };
        backoff.reset();
        let Some(answer) = served.reply(&buffer[..length], UDP_LIMIT) else {
            continue;
        };
        if let Err(error) = socket.send_to(&answer, client).await {
            debug!(%error, %client, "sending failed");
        }
    }
    Ok(())
}

/// Accepts connections until the token is cancelled.
pub(crate) async fn serve_tcp(
    listener: TcpListener,
    mut served: Served,
    tasks: Tasks,
) -> Result<(), Error> {
    let token = tasks.token().clone();
    if !served.wait(&token).await {
        return Ok(());
    }
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let accept = async || {
        let permit = Arc::clone(&permits)
            .acquire_owned()
            .await
            .expect("it is never closed");
        (permit, listener.accept().await)
    };
    // Cancel-safe: a connection is either still in the listener or is served.
    while let Some((permit, accepted)) = token.run_until_cancelled(accept()).await {
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accepting failed");
                sleep(backoff.next()).await;
                continue;
            }
        };
        backoff.reset();
        let (served, token) = (served.clone(), token.clone());
        tasks.spawn("connection", OnFailure::Log, async move {
            let ended = token
                .run_until_cancelled(serve_connection(stream, &served))
                .await;
            if let Some(Err(error)) = ended {
                debug!(%error, %client, "a connection failed");
            }
            drop(permit);
            Ok(())
        });
    }
    Ok(())
}

/// Answers the queries of one connection until it ends or waits too long.
async fn serve_connection(mut stream: TcpStream, served: &Served) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let mut message = Vec::new();
    let mut answers = Vec::new();
    for n_answered in 0..MAX_QUERIES {
        let limit = if n_answered == 0 {
            FIRST_QUERY
        } else {
            NEXT_QUERY
        };
        match timeout(limit, read_message(&mut reader, &mut message)).await {
            Err(_) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(read) => read?,
        }
        if let Some(answer) = served.reply(&message, TCP_LIMIT) {
            let length = u16::try_from(answer.len()).expect("answers are cut to 65535 bytes");
            answers.extend_from_slice(&length.to_be_bytes());
            answers.extend_from_slice(&answer);
        }
        let is_last = n_answered + 1 == MAX_QUERIES;
        if is_last || answers.len() > MAX_GATHERED || !has_whole_message(reader.buffer()) {
            timeout(WRITE, writer.write_all(&answers)).await??;
            answers.clear();
        }
    }
    writer.shutdown().await
}

/// Reads a message after its length.
async fn read_message(
    reader: &mut (impl AsyncRead + Unpin),
    message: &mut Vec<u8>,
) -> io::Result<()> {
    let length = reader.read_u16().await?;
    message.resize(usize::from(length), 0);
    reader.read_exact(message).await?;
    Ok(())
}

/// Whether the next message was received as a whole.
fn has_whole_message(buffered: &[u8]) -> bool {
    match *buffered {
        [high, low, ref rest @ ..] => rest.len() >= usize::from(u16::from_be_bytes([high, low])),
        _ => false,
    }
}

//! HTTP/2 of clients: each stream is a request of its own, carried out as any other.
//!
//! ```text
//!   client ══ connection ─▶ stream ─┬─ asking:    the request as HTTP/1.1 has it ─▶ session ─▶ server
//!                                   └─ answering: the answer, taken apart again ◀──────┘
//! ```
//!
//! The session is that of HTTP/1.1 with two sides that are no sockets. So routing, leases, retries, limits, refusals and counters are
//! the same code, and a session waits for a stream's window where it would wait for a socket. All streams of a connection are one
//! task: when it ends, so do they, and what they had leased is free.
//!
//! Servers are spoken to in HTTP/1.1.
//!
//! Source: RFC 9113.

mod answering;
mod asking;

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::{Method, Request, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::answering::{Answer, Answering};
use self::asking::Asking;
use super::pages::{self, Page};
use super::visit::{Entry, Visit};
use super::{CLIENT_TIMEOUT, HEAD_TIMEOUT, KEEP_ALIVE_TIMEOUT, buffer, session};

/// Requests of a connection that are carried out at once: HAProxy's `tune.h2.max-concurrent-streams`.
const MAX_STREAMS: u32 = 100;
/// Bytes of a request's body that may be on their way or wait here: HAProxy's `tune.h2.initial-window-size`.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all requests of a connection, so that some that are stuck do not hold up the others.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Bytes of an answer that wait here for the client's socket.
const MAX_UNSENT: usize = 64 * 1024;

/// Serves all requests of a connection. `taken` counts the bytes that its client has taken. After `stop` is cancelled the client is
/// told to ask nothing more here, and what it has asked is still answered.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    visit: &Visit,
    stream: T,
    taken: &AtomicU64,
    stop: &CancellationToken,
) {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(buffer::SIZE as u32)
        .max_send_buffer_size(MAX_UNSENT);
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(KEEP_ALIVE_TIMEOUT).await;
    };
    let begun = tokio::select! {
        // The other one ends the connection: none of them goes on afterwards.
        begun = timeout(HEAD_TIMEOUT, builder.handshake::<_, Bytes>(stream)) => begun.ok(),
        () = late => None,
    };
    let Some(Ok(mut connection)) = begun else {
        return;
    };
    let mut streams = FuturesUnordered::new();
    let mut stopped = pin!(stop.cancelled());
    let mut is_ending = false;
    let mut taken_before = 0;
    let mut deadline = Instant::now() + HEAD_TIMEOUT;
    loop {
        let mut is_over = false;
        tokio::select! {
            // Cancel-safe: all of them only wait for a state, that of the connection or of a stream.
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => streams.push(answer(visit, request, respond)),
                Some(Err(error)) => {
                    tracing::debug!(%error, "HTTP/2 connection broke");
                    return;
                }
                None => return,
            },
            Some(()) = streams.next() => {
                if streams.is_empty() {
                    deadline = Instant::now() + KEEP_ALIVE_TIMEOUT;
                }
            }
            () = stopped.as_mut(), if !is_ending => is_over = true,
            () = sleep_until(deadline), if streams.is_empty() => is_over = true,
        }
        if is_over {
            let taken = taken.load(Relaxed);
            if !is_ending {
                // Who has just asked something is still answered.
                connection.graceful_shutdown();
                is_ending = true;
            } else if taken == taken_before {
                return;
            }
            taken_before = taken;
            // All has been said, but may not have been taken.
            deadline = Instant::now()
                + match connection.has_streams() {
                    true => CLIENT_TIMEOUT,
                    false => KEEP_ALIVE_TIMEOUT,
                };
        }
    }
}

/// Carries out the request of one stream.
async fn answer(visit: &Visit, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    if is_misdirected(visit, &head.uri) {
        refuse(visit, respond, pages::MISDIRECTED);
        return;
    }
    let answer = Mutex::new(Answer::new(respond, head.method == Method::HEAD));
    let sides = (Asking::new(&head, body, &answer), Answering(&answer));
    // It asks once: whether the connection ends is not its affair.
    let never = CancellationToken::new();
    // Boxed: it is larger than what is around it.
    Box::pin(session::serve(visit, sides, &never)).await;
    answering::lock(&answer).end();
}

/// Whether the request is for another vhost than the name that the client asked for in TLS, by which it would be routed. Browsers
/// ask so over a connection that they have already if its certificate is good for both; told, they open another one.
fn is_misdirected(visit: &Visit, uri: &Uri) -> bool {
    let (Entry::Vhosts { .. }, Some(name), Some(host)) =
        (&visit.entry, &visit.tls_name, uri.host())
    else {
        return false;
    };
    let table = &visit.shared.routes.load().table;
    let meant = table.lead(host, uri.path());
    meant.is_some() && meant != table.lead(name, uri.path())
}

/// Answers with a page of the edge.
fn refuse(visit: &Visit, mut respond: SendResponse<Bytes>, page: Page) {
    visit.frontend.request(visit.shared.second());
    visit.frontend.response(page.status());
    // The client may have gone.
    if let Ok(mut stream) = respond.send_response(page.with(()), false) {
        let _ = stream.send_data(page.bytes(), true);
    }
}

#[cfg(test)]
mod tests;

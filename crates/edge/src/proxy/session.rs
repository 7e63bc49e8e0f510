//! A client's HTTP connection: kept while it is of use, cut when it is stuck, handed to a tunnel when it leaves HTTP.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::http::Visit;
use super::io::{ClientIo, ClientSocket, ServerIo};
use super::{CLIENT_TIMEOUT, HEAD_TIMEOUT, KEEP_ALIVE_TIMEOUT, pages, tcp};
use crate::live::Lease;

/// How often a connection looks whether it is idle or stuck.
const TICK: Duration = Duration::from_millis(500);

/// What a connection's keeper needs to know of its requests.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    /// Requests that have begun.
    pub(crate) begun: AtomicU64,
    /// Answers that have left.
    pub(crate) left: Arc<AtomicU64>,
    /// Set by the request that leaves HTTP.
    pub(crate) tunnel: Mutex<Option<Tunnel>>,
}

/// A connection that has left HTTP.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) server: ServerIo,
    /// What the server sent right behind its answer.
    pub(crate) early: Bytes,
    pub(crate) lease: Lease,
}

/// Serves all requests of one connection. After `token` is cancelled, the request that is being answered is the last one.
pub(crate) async fn serve(visit: Visit, socket: Arc<ClientSocket>, token: CancellationToken) {
    let visit = Arc::new(visit);
    let activity = Arc::new(Activity::default());
    let service = service_fn(|request| {
        let (visit, activity) = (Arc::clone(&visit), Arc::clone(&activity));
        // Boxed: the connection's own future stays small.
        Box::pin(async move { Ok::<_, Infallible>(visit.answer(request, &activity).await) })
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .half_close(true)
        .preserve_header_case(true)
        .title_case_headers(true)
        .auto_date_header(false);
    socket.hold_refusals();
    let io = TokioIo::new(ClientIo(Arc::clone(&socket)));
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    let mut watch = Watch::default();
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_closing = false;
    let ended = loop {
        tokio::select! {
            biased;
            // Cancel-safe: the connection is only borrowed.
            ended = connection.as_mut() => break ended,
            // Cancel-safe: both only wait for a state.
            () = token.cancelled(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = ticks.tick() => match watch.look(&activity, &socket) {
                Look::Busy => {}
                // A request that has just arrived would be lost with the connection.
                Look::Idle if socket.has_unread() => {}
                Look::Idle => connection.as_mut().graceful_shutdown(),
                Look::Stuck => {
                    tracing::debug!("the client takes nothing: connection cut");
                    return;
                }
            },
        }
    };
    let held = socket.take_held();
    let last_words = match &ended {
        Err(error) if error.is_timeout() => {
            visit.frontend.request_errors.fetch_add(1, Relaxed);
            visit.frontend.response(StatusCode::REQUEST_TIMEOUT);
            Some(pages::REQUEST_TIMEOUT.raw().into_bytes().into())
        }
        Err(error) if error.is_parse() => {
            visit.frontend.request_errors.fetch_add(1, Relaxed);
            visit.frontend.response(StatusCode::BAD_REQUEST);
            held.map(|_| pages::BAD_REQUEST.raw().into_bytes().into())
        }
        // A server's own words, after all.
        Ok(()) | Err(_) => held,
    };
    if let Some(bytes) = last_words {
        socket.say_last(&bytes).await;
    }
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
    }
    let tunnel = activity
        .tunnel
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(Tunnel {
        client,
        server,
        early,
        lease,
    }) = tunnel
    {
        // The upgrade was fulfilled when the connection ended, so this does not wait.
        if let Ok(client) = client.await {
            let mut client = TokioIo::new(client);
            if client.write_all(&early).await.is_ok() {
                tcp::splice(client, server, &socket).await;
            }
        }
        drop(lease);
    }
}

/// What a look at a connection says.
enum Look {
    Busy,
    /// Nothing has come for [`KEEP_ALIVE_TIMEOUT`] since the last answer.
    Idle,
    /// The client has taken nothing for [`CLIENT_TIMEOUT`].
    Stuck,
}

/// What the last looks saw.
#[derive(Debug, Default)]
struct Watch {
    seen: (u64, u64),
    idle_for: Duration,
    sent: u64,
    stuck_for: Duration,
}

impl Watch {
    fn look(&mut self, activity: &Activity, socket: &ClientSocket) -> Look {
        let begun = activity.begun.load(Relaxed);
        let seen = (begun, socket.received.load(Relaxed));
        let is_idle = begun > 0 && begun == activity.left.load(Relaxed) && seen == self.seen;
        self.seen = seen;
        self.idle_for = if is_idle {
            self.idle_for + TICK
        } else {
            Duration::ZERO
        };

        let sent = socket.sent.load(Relaxed);
        let is_stuck = socket.is_blocked.load(Relaxed) && sent == self.sent;
        self.sent = sent;
        self.stuck_for = if is_stuck {
            self.stuck_for + TICK
        } else {
            Duration::ZERO
        };

        if self.stuck_for >= CLIENT_TIMEOUT {
            Look::Stuck
        } else if self.idle_for >= KEEP_ALIVE_TIMEOUT {
            Look::Idle
        } else {
            Look::Busy
        }
    }
}

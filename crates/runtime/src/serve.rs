//! An HTTP/1 server on a listener that is already bound.
//!
//! A connection's life: accepted, then requests one after the other. It is cut when a request's head does not
//! arrive within [`HEAD_TIMEOUT`] (which is also how long a kept-alive connection may idle). When the token is cancelled:
//!
//! ```text
//!   listener closed ─▶ idle connections closed at once
//!                      requests in flight: answered, then closed; cut after DRAIN_LIMIT
//!                      endless answers: event streams end at once, others when silent for STREAM_LIMIT
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tower::ServiceExt as _;

use crate::{Backoff, Error};

/// How long a client may take for a request's head: far more than a slow one needs, so that silent ones cannot
/// pile up. Clients of ours close idle connections earlier.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long requests in flight may go on at shutdown: less than the grace any supervisor gives a process.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer of unknown length may be silent at shutdown before it counts as endless: a proxied answer
/// from the same machine arrives faster.
const STREAM_LIMIT: Duration = Duration::from_millis(250);
/// The first and longest pause after the kernel refused a connection (no file descriptors left).
const ACCEPT_PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Cuts a request's connection; handlers find one in the request's extensions.
///
/// For an endless answer whose reader has stopped reading: nothing else ends it, for its body is not asked for more
/// while the socket takes nothing.
#[derive(Clone, Debug, Default)]
pub struct Hangup(CancellationToken);

impl Hangup {
    /// Closes the connection at once, whatever was not sent yet. Harmless when it is closed.
    pub fn hang_up(&self) {
        self.0.cancel();
    }
}

/// Serves `router` on `listener` until `token` is cancelled, then ends as the module's page says. Handlers find the
/// peer in [`ConnectInfo<SocketAddr>`], and a [`Hangup`] for the connection.
///
/// # Errors
/// None at present: what goes wrong on a connection ends only that connection.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    token: CancellationToken,
) -> Result<(), Error> {
    let mut connections = JoinSet::new();
    let mut backoff = Backoff::new(ACCEPT_PAUSE.0, ACCEPT_PAUSE.1);
    loop {
        tokio::select! {
            biased;
            // Cancel-safe: both only wait for a state.
            () = token.cancelled() => break,
            Some(_) = connections.join_next() => {}
            // Cancel-safe: a connection stays in the kernel's queue.
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    backoff.reset();
                    connections.spawn(converse(stream, peer, router.clone(), token.clone()));
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::select! {
                        // Cancel-safe: timers.
                        () = tokio::time::sleep(backoff.next()) => {}
                        () = token.cancelled() => break,
                    }
                }
            },
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_LIMIT, drained).await.is_err() {
        tracing::warn!(
            n_connections = connections.len(),
            "requests in flight were cut"
        );
        connections.shutdown().await;
    }
    Ok(())
}

/// Whether the error is about the one connection that was to be accepted.
fn is_of_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Answers all requests of one connection.
async fn converse(stream: TcpStream, peer: SocketAddr, router: Router, token: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "connection ended before it began");
        return;
    }
    let hangup = Hangup::default();
    let answer = {
        let token = token.clone();
        let hangup = hangup.clone();
        service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(hangup.clone());
            let router = router.clone();
            let token = token.clone();
            async move {
                let mut response = router.oneshot(request.map(Body::new)).await?;
                if token.is_cancelled() {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(ending(response, token))
            }
        })
    };
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let connection = server
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        // Cancel-safe: the connection is only borrowed, and polled again below.
        ended = connection.as_mut() => ended,
        // Cancel-safe: only waits for a state. Dropping the connection closes it.
        () = hangup.0.cancelled() => return,
        () = token.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// Makes an answer that might never end by itself end on the token.
fn ending(response: Response<Body>, token: CancellationToken) -> Response<Body> {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    let limit = match content_type {
        Some(kind) if kind.starts_with(b"text/event-stream") => None,
        _ => Some(STREAM_LIMIT),
    };
    response.map(|inner| {
        let cancelled = Box::pin(token.cancelled_owned());
        Body::new(Ending {
            inner,
            phase: Phase::Open { cancelled, limit },
        })
    })
}

/// A body that ends on the token: at once and cleanly if it is an event stream, else with an error (so that nobody
/// takes what was sent for the whole) when it is silent for the limit.
struct Ending {
    inner: Body,
    phase: Phase,
}

enum Phase {
    Open {
        cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
        limit: Option<Duration>,
    },
    /// The token is cancelled, and the body may be silent until the timer fires.
    Closing {
        silent: Pin<Box<tokio::time::Sleep>>,
        limit: Duration,
    },
    Ended,
}

impl hyper::body::Body for Ending {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            match &mut this.phase {
                // ## Open => (Open | Closing | Ended)
                Phase::Open { cancelled, limit } => {
                    if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
                        return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
                    }
                    ready!(cancelled.as_mut().poll(context));
                    this.phase = match *limit {
                        None => Phase::Ended,
                        Some(limit) => Phase::Closing {
                            silent: Box::pin(tokio::time::sleep(limit)),
                            limit,
                        },
                    };
                }
                // ## Closing => (Closing | Ended)
                Phase::Closing { silent, limit } => {
                    if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
                        silent.as_mut().reset(tokio::time::Instant::now() + *limit);
                        return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
                    }
                    ready!(silent.as_mut().poll(context));
                    this.phase = Phase::Ended;
                    return Poll::Ready(Some(Err("the server shuts down".into())));
                }
                Phase::Ended => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Ended) || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests;

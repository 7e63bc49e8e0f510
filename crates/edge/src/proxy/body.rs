//! Bodies on their way through: [`Upload`] to the server, [`Answer`] to the client. Neither is ever kept whole.
//!
//! An answer owns the connection it comes from and the lease on the server, drives the connection whenever the client
//! can take more, and gives both back when its last byte has been handed on.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::SERVER_TIMEOUT;
use super::pool::Connection;
use crate::live::Lease;

/// How far an upload has come, for whoever waits for the answer.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    frames: AtomicU64,
    has_ended: AtomicBool,
}

impl Progress {
    /// How many pieces have gone out.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Whether the whole body has gone out.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Relaxed)
    }
}

/// A request's body.
#[derive(Debug)]
pub(crate) enum Upload {
    /// There is none.
    Empty,
    /// As it comes from the client.
    Streaming {
        /// The body.
        body: Incoming,
        /// Where its progress is noted.
        progress: Arc<Progress>,
    },
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self::Streaming { body, progress } = self.get_mut() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if polled.is_ready() {
            progress.frames.fetch_add(1, Relaxed);
            if body.is_end_stream() || matches!(polled, Poll::Ready(None)) {
                progress.has_ended.store(true, Relaxed);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streaming { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streaming { body, .. } => body.size_hint(),
        }
    }
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    /// The server broke it off.
    #[error("the server broke the answer off")]
    Server(#[source] hyper::Error),
    /// The server fell silent.
    #[error("the server was silent for {} s", SERVER_TIMEOUT.as_secs())]
    Silent,
}

/// Notes that an answer has left, when dropped.
#[derive(Debug)]
pub(crate) struct Leaving(pub(crate) Arc<AtomicU64>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// An answer's body.
#[derive(Debug)]
pub(crate) struct Answer {
    source: Source,
    /// Set for answers on a connection that watches for idleness.
    pub(crate) leaving: Option<Leaving>,
}

#[derive(Debug)]
enum Source {
    Fixed(Option<Bytes>),
    Server(Box<Exchange>),
}

/// An answer that comes from a server.
#[derive(Debug)]
struct Exchange {
    body: Incoming,
    /// Declared before the lease: it is closed before the lease ends.
    connection: Option<Connection>,
    lease: Option<Lease>,
    /// The connection may be used again.
    may_keep: bool,
    silence: Option<Pin<Box<Sleep>>>,
    /// The silence has begun.
    is_silent: bool,
    /// Why the answer broke off, to be told when what came before has gone out.
    failure: Option<AnswerError>,
}

impl Answer {
    /// An answer of the edge itself.
    pub(crate) fn fixed(bytes: Bytes) -> Self {
        Self {
            source: Source::Fixed((!bytes.is_empty()).then_some(bytes)),
            leaving: None,
        }
    }

    /// The answer that `body` brings over `connection`; `may_keep` says whether the connection may be used again.
    pub(crate) fn proxied(
        body: Incoming,
        connection: Connection,
        lease: Lease,
        may_keep: bool,
        cx: &mut Context<'_>,
    ) -> Self {
        let mut exchange = Exchange {
            body,
            connection: Some(connection),
            lease: Some(lease),
            may_keep,
            silence: None,
            is_silent: false,
            failure: None,
        };
        if exchange.body.is_end_stream() {
            exchange.finish(cx);
        }
        Self {
            source: Source::Server(Box::new(exchange)),
            leaving: None,
        }
    }
}

impl Exchange {
    /// Gives back the connection and the lease: the answer is complete.
    fn finish(&mut self, cx: &mut Context<'_>) {
        let connection = self.connection.take();
        if let (Some(connection), Some(lease), true) = (connection, &self.lease, self.may_keep) {
            lease.server.pool.put(connection, cx);
        }
        self.lease = None;
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        // Twice: asking the body for more is what lets the connection read on.
        for _ in 0..2 {
            if let Some(connection) = &mut self.connection {
                connection.drive(cx);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(None) => {
                    self.finish(cx);
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Ok(frame))) => {
                    self.is_silent = false;
                    if self.body.is_end_stream() {
                        self.finish(cx);
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => {
                    return self.fail(AnswerError::Server(error), cx);
                }
                Poll::Pending => {}
            }
        }
        let deadline = || Instant::now() + SERVER_TIMEOUT;
        let silence = self
            .silence
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(SERVER_TIMEOUT)));
        if !self.is_silent {
            self.is_silent = true;
            silence.as_mut().reset(deadline());
        }
        match silence.as_mut().poll(cx) {
            Poll::Ready(()) => self.fail(AnswerError::Silent, cx),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Ends the exchange. The error is held back once: the server side of HTTP drops what it has not yet written when a
    /// body fails, but writes it out when a body has nothing more for now.
    fn fail(
        &mut self,
        error: AnswerError,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        self.connection = None;
        if let Some(lease) = self.lease.take() {
            lease.server.counters.response_errors.fetch_add(1, Relaxed);
            lease.server.backend.response_errors.fetch_add(1, Relaxed);
        }
        self.failure = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match &mut self.source {
            Source::Fixed(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Server(exchange) => exchange.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Fixed(bytes) => bytes.is_none(),
            Source::Server(exchange) => {
                exchange.lease.is_none()
                    && exchange.failure.is_none()
                    && exchange.body.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Fixed(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Server(exchange) => exchange.body.size_hint(),
        }
    }
}

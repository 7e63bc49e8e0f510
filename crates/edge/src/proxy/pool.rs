//! Idle connections to one server.
//!
//! A connection is driven by whoever uses it, inside the future of the client's connection, so that no task is spawned
//! for it and it ends with its user. An idle one is driven by nobody: whether the server has closed it is seen
//! when it is taken, and by the sweep.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::proxy::body::Upload;
use crate::proxy::io::ServerIo;

/// How long a connection may be idle: less than servers' usual keep-alive times (5 s and more).
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// Idle connections kept to a server; more are only needed by more requests at once, and those open their own.
const MAX_IDLE: usize = 64;

/// A connection to a server, and the way to send on it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Upload>,
    pub(crate) driver: Box<http1::Connection<TokioIo<ServerIo>, Upload>>,
    /// The driver has ended and must not be polled again.
    pub(crate) has_ended: bool,
}

impl Connection {
    /// Moves bytes. Ready once the connection has ended.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.has_ended && Pin::new(&mut *self.driver).poll(cx).is_ready() {
            self.has_ended = true;
        }
    }

    /// Whether a request may be sent now.
    fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.drive(cx);
        !self.has_ended && matches!(self.sender.poll_ready(cx), Poll::Ready(Ok(())))
    }
}

/// Idle connections, the last used on top.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<(Instant, Connection)>,
    is_closed: bool,
}

impl Pool {
    /// Takes a connection that looks alive.
    pub(crate) fn take(&self, cx: &mut Context<'_>) -> Option<Connection> {
        loop {
            let (since, mut connection) = self.lock().idle.pop()?;
            if since.elapsed() < IDLE_LIMIT && connection.is_usable(cx) {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose exchange is over, if it can be used again.
    pub(crate) fn put(&self, mut connection: Connection, cx: &mut Context<'_>) {
        if !connection.is_usable(cx) {
            return;
        }
        let mut state = self.lock();
        if !state.is_closed && state.idle.len() < MAX_IDLE {
            state.idle.push((Instant::now(), connection));
        }
    }

    /// Closes the idle connections and keeps none from now on.
    pub(crate) fn close(&self) {
        let idle = {
            let mut state = self.lock();
            state.is_closed = true;
            std::mem::take(&mut state.idle)
        };
        drop(idle);
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        let old = {
            let mut state = self.lock();
            let fresh = state
                .idle
                .partition_point(|(since, _)| since.elapsed() >= IDLE_LIMIT);
            state.idle.drain(..fresh).collect::<Vec<_>>()
        };
        drop(old);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

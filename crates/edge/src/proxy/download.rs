//! An answer on its way to the client.

use std::sync::atomic::Ordering::Relaxed;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::body::{Body, Piece};
use super::buffer::Buffer;
use super::head::{self, Framing, ResponseHead, Scan};
use super::obey;
use super::pages::Page;
use super::rewrite::{self, Farewell, Kind};
use super::timer::Timer;
use super::upload::Progress;
use super::visit::{Request, Route};
use super::wire::{Fault, Sink, Source};
use super::{CLIENT_TIMEOUT, SERVER_TIMEOUT};
use crate::counters::Counters;

/// Bytes that are cheaper copied behind the head than gathered by the kernel.
const SMALL: usize = 2 * 1024;
/// Switching Protocols.
const SWITCHING: u16 = 101;

/// Why there is no answer, or not all of it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing of the request has gone out.
    Unsent,
    /// The connection ended before the answer's head.
    Broken,
    /// The server says what is no HTTP.
    Unreadable,
    /// The server was silent, or took nothing.
    Silent,
    /// The client did not say all of its request, and is to be told this.
    Client(Page),
    /// The client has gone, or had a part of the answer already: there is nothing to tell it.
    Cut,
}

/// An answer on its way.
pub(crate) struct Download<'a, 's, W> {
    request: &'a Request,
    route: &'a Route,
    frontend: &'a Counters,
    client: &'a mut Sink<'s, W>,
    timer: &'a mut Timer,
    /// Bytes of the server.
    pub(crate) buffer: Buffer,
    /// The head for the client until it has gone out.
    head: Vec<u8>,
    /// Its status.
    status: u16,
    /// When it had come, if it did not come with all of the body.
    pub(crate) answered_at: Option<Instant>,
}

/// What the head of an answer said.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: Body,
    is_chunked: bool,
    /// The server's connection can be used again when the answer is over.
    server_keeps: bool,
    /// So can the client's.
    pub(crate) client_keeps: bool,
}

impl<'a, 's, W: AsyncWrite + Unpin> Download<'a, 's, W> {
    pub(crate) fn new(
        request: &'a Request,
        route: &'a Route,
        frontend: &'a Counters,
        client: &'a mut Sink<'s, W>,
        timer: &'a mut Timer,
    ) -> Self {
        Self {
            request,
            route,
            frontend,
            client,
            timer,
            buffer: Buffer::default(),
            head: Vec::new(),
            status: 0,
            answered_at: None,
        }
    }

    /// Waits for the head of the answer. Interim answers before it are passed on. `upload`: what the server waits for, if anything.
    /// `may_keep`: the client's connection may stay.
    ///
    /// # Errors
    /// When there is no answer; none of it has gone to the client then, but for interim ones.
    pub(crate) async fn answer<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut Source<'_, R>,
        upload: Option<&Progress>,
        may_keep: bool,
    ) -> Result<Answer, Failure> {
        let mut scan = Scan::default();
        loop {
            if !self.buffer.is_empty()
                && (scan.is_due(self.buffer.unread()) || self.buffer.is_full())
            {
                let (request, route, out) = (self.request, self.route, &mut self.head);
                // The rest of a body cannot be told from a request: the client is to know in time that none may follow.
                let may_keep =
                    may_keep && upload.is_none_or(|upload| upload.is_complete.load(Relaxed));
                let read = head::response(self.buffer.unread(), |head| {
                    (head.length, receive(head, request, route, may_keep, out))
                });
                let read = read.map_err(|error| {
                    tracing::debug!(server = %self.route.server.spec.name, %error, "unreadable answer");
                    Failure::Unreadable
                })?;
                if let Some((length, received)) = read {
                    self.buffer.consume(length);
                    match received {
                        Received::Final(answer) => {
                            self.status = answer.status;
                            return Ok(answer);
                        }
                        Received::Unasked => return Err(Failure::Unreadable),
                        Received::Interim => {
                            let sent = self.client.write([&self.head], self.timer, CLIENT_TIMEOUT);
                            sent.await.map_err(|fault| self.went_away(&fault))?;
                            self.head.clear();
                            scan = Scan::default();
                            continue;
                        }
                    }
                }
            }
            match self.read(source, upload).await {
                Ok(0) | Err(Fault::Broken(_)) => return Err(Failure::Broken),
                Ok(_) => {}
                Err(Fault::Stuck) => return Err(Failure::Silent),
            }
        }
    }

    /// Passes the body on, all but its last piece: when that has been read, the server has done its part.
    ///
    /// # Errors
    /// [`Failure::Cut`], or, when nothing has gone to the client yet, [`Failure::Unreadable`].
    pub(crate) async fn pass<R: AsyncRead + Unpin>(
        &mut self,
        answer: &mut Answer,
        source: &mut Source<'_, R>,
        upload: Option<&Progress>,
    ) -> Result<Piece, Failure> {
        loop {
            if !self.buffer.is_empty() || answer.body.is_ended() {
                let taken = answer.body.take(self.buffer.unread_mut());
                let taken = taken.map_err(|_| match self.head.is_empty() {
                    true => self.broke_off("a broken chunk"),
                    false => Failure::Unreadable,
                })?;
                let piece = Piece::new(taken, &answer.body, answer.is_chunked);
                if piece.is_last {
                    return Ok(piece);
                }
                self.answered_at.get_or_insert_with(Instant::now);
                self.write(&piece).await?;
            } else if !self.head.is_empty() {
                // The body is late: the head does not wait for it.
                self.answered_at.get_or_insert_with(Instant::now);
                self.write(&Piece::default()).await?;
            }
            if self.buffer.is_empty() {
                match self.read(source, upload).await {
                    Ok(0) if answer.body.end() => {}
                    Ok(0) => return Err(self.broke_off("it was cut off")),
                    Ok(_) => {}
                    Err(fault) => return Err(self.broke_off(&fault.to_string())),
                }
            }
        }
    }

    /// Writes what is left: the last piece, and the head if it has not gone out.
    ///
    /// # Errors
    /// [`Failure::Cut`].
    pub(crate) async fn finish(mut self, piece: &Piece) -> Result<(), Failure> {
        self.write(piece).await
    }

    /// Whether the server's connection can serve another request: it has said all, and no more than that.
    pub(crate) fn leaves_server_usable(&self, answer: &Answer, last: &Piece) -> bool {
        answer.server_keeps && self.buffer.unread().len() == last.consumed
    }

    /// Reads on. The server has [`SERVER_TIMEOUT`] from when it is its turn: as long as an upload goes on, it is not.
    async fn read<R: AsyncRead + Unpin>(
        &mut self,
        source: &mut Source<'_, R>,
        upload: Option<&Progress>,
    ) -> Result<usize, Fault> {
        let mut limit = SERVER_TIMEOUT;
        loop {
            match source.read(&mut self.buffer, self.timer, limit).await {
                Err(Fault::Stuck) => {}
                read => return read,
            }
            limit = match upload.map(|upload| upload.over_at.get()) {
                None => return Err(Fault::Stuck),
                Some(None) => SERVER_TIMEOUT,
                Some(Some(over_at)) => SERVER_TIMEOUT.saturating_sub(over_at.elapsed()),
            };
            if limit.is_zero() {
                return Err(Fault::Stuck);
            }
        }
    }

    async fn write(&mut self, piece: &Piece) -> Result<(), Failure> {
        if !self.head.is_empty() {
            self.count();
        }
        let data = &self.buffer.unread()[..piece.data];
        let mut parts = [&*self.head, piece.line(), data, piece.tail()];
        let is_small = !self.head.is_empty() && data.len() <= SMALL;
        if is_small {
            for part in [piece.line(), data, piece.tail()] {
                self.head.extend_from_slice(part);
            }
            parts = [&self.head, &[], &[], &[]];
        }
        let written = self.client.write(parts, self.timer, CLIENT_TIMEOUT).await;
        written.map_err(|fault| self.went_away(&fault))?;
        self.head.clear();
        self.buffer.consume(piece.consumed);
        Ok(())
    }

    fn went_away(&self, fault: &Fault) -> Failure {
        self.route.server.count(|counters| &counters.client_aborts);
        tracing::debug!(%fault, "the client takes no more");
        Failure::Cut
    }

    fn broke_off(&self, why: &str) -> Failure {
        let server = &self.route.server;
        server.count(|counters| &counters.response_errors);
        server.count(|counters| &counters.server_aborts);
        tracing::debug!(server = %self.route.server.spec.name, why, "the answer broke off");
        Failure::Cut
    }

    /// Counts the answer that goes out.
    fn count(&self) {
        if let Ok(status) = StatusCode::from_u16(self.status) {
            self.frontend.response(status);
            self.route.server.counters.response(status);
            self.route.server.backend.response(status);
        }
    }
}

impl Answer {
    /// The server leaves HTTP.
    pub(crate) fn is_switching(&self) -> bool {
        self.status == SWITCHING
    }
}

enum Received {
    Final(Answer),
    Interim,
    /// The server leaves HTTP without having been asked to.
    Unasked,
}

/// Takes the head of an answer, and writes the one for the client to `out`.
fn receive(
    head: &ResponseHead<'_>,
    request: &Request,
    route: &Route,
    may_keep: bool,
    out: &mut Vec<u8>,
) -> Received {
    let is_switching = head.status == SWITCHING;
    if head.status < 200 && !is_switching {
        if request.is_1_1 {
            rewrite::interim(head, out);
        }
        return Received::Interim;
    }
    if is_switching && request.kind != Kind::Upgrade {
        return Received::Unasked;
    }
    let framing = head.framing(request.is_head);
    let is_open_ended = matches!(framing, Framing::Chunked | Framing::UntilClose);
    let client_keeps = may_keep && request.keeps && (request.is_1_1 || !is_open_ended);
    let is_chunked = is_open_ended && request.is_1_1;
    let farewell = match is_switching {
        true => Farewell::Upgrade,
        false => request.farewell(client_keeps),
    };
    out.reserve(head.length + 64);
    let additions = obey::complete(head, route);
    rewrite::response(head, framing, is_chunked, farewell, &additions, out);
    Received::Final(Answer {
        status: head.status,
        body: Body::new(framing),
        is_chunked,
        server_keeps: request.kind == Kind::Repeatable
            && head.keeps()
            && framing != Framing::UntilClose,
        client_keeps,
    })
}

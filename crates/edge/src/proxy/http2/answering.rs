//! The side of a stream that a session writes: its HTTP/1.1 answer is taken apart, and goes out as frames.
//!
//! ```text
//!   head ─┬─▶ interim ─▶ head ...
//!         └─▶ data, as far as the client's window lets it ─▶ trailers or the end
//! ```

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use httparse::{Header, Status};
use tokio::io::AsyncWrite;

use crate::proxy::body::Body;
use crate::proxy::fields::Field;
use crate::proxy::head::{self, ResponseHead};

/// Bytes of an answer that are taken from a session before they can go out.
const PIECE: usize = 16 * 1024;

/// An answer on its way to the client.
#[derive(Debug)]
pub(super) struct Answer {
    is_to_head: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Its head has not come; what has come of it.
    Head(SendResponse<Bytes>, Vec<u8>),
    Body(Outgoing),
}

/// A body on its way.
#[derive(Debug)]
struct Outgoing {
    stream: SendStream<Bytes>,
    body: Body,
    /// Data that have not gone out.
    unsent: Bytes,
    /// The end has gone out.
    has_ended: bool,
}

/// What the session writes to.
#[derive(Debug)]
pub(super) struct Answering<'a>(pub(super) &'a Mutex<Answer>);

/// Nobody ever waits for it: a stream is one task.
pub(super) fn lock(answer: &Mutex<Answer>) -> MutexGuard<'_, Answer> {
    answer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answer {
    /// `is_to_head`: the request's method was HEAD.
    pub(super) fn new(respond: SendResponse<Bytes>, is_to_head: bool) -> Self {
        Self {
            is_to_head,
            state: State::Head(respond, Vec::new()),
        }
    }

    /// Ready when the client has given up, or its connection is broken.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Head(respond, _) => respond.poll_reset(cx).map(drop),
            State::Body(outgoing) => outgoing.stream.poll_reset(cx).map(drop),
        }
    }

    /// The session is over: an answer that is not whole is said to be so.
    pub(super) fn end(&mut self) {
        match &mut self.state {
            State::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            State::Body(outgoing) if outgoing.has_ended => {}
            State::Body(outgoing) => outgoing.stream.send_reset(Reason::INTERNAL_ERROR),
        }
    }

    /// Takes bytes of the head, and of what is behind it. Whether the head is whole.
    fn take_head(&mut self, more: &[u8]) -> io::Result<()> {
        let State::Head(respond, bytes) = &mut self.state else {
            return Ok(());
        };
        bytes.extend_from_slice(more);
        loop {
            let read = head::response(bytes, |head| {
                let framing = head.framing(self.is_to_head);
                (head.length, framing, response(head))
            });
            let Some((length, framing, response)) = read.map_err(io::Error::other)? else {
                return Ok(());
            };
            let response = response?;
            let mut rest = bytes.split_off(length);
            if response.status().is_informational() {
                respond.send_informational(response).map_err(broken)?;
                *bytes = rest;
                continue;
            }
            let mut body = Body::new(framing);
            let has_ended = body.is_ended();
            let stream = respond.send_response(response, has_ended).map_err(broken)?;
            let taken = body.take(&mut rest).map_err(io::Error::other)?;
            rest.truncate(taken.data);
            self.state = State::Body(Outgoing {
                stream,
                body,
                unsent: rest.into(),
                has_ended,
            });
            return Ok(());
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Head(..) => Poll::Ready(Ok(())),
            State::Body(outgoing) => outgoing.poll_send(cx),
        }
    }
}

impl Outgoing {
    /// Takes bytes of the body; how many.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut piece = bytes[..bytes.len().min(PIECE)].to_vec();
        let n = piece.len();
        let taken = self.body.take(&mut piece).map_err(io::Error::other)?;
        piece.truncate(taken.data);
        self.unsent = piece.into();
        Ok(n)
    }

    /// Sends what there is, as the client makes room for it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let trailers = self.body.trailers();
        while !self.unsent.is_empty() {
            self.stream.reserve_capacity(self.unsent.len());
            let room = self.stream.capacity().min(self.unsent.len());
            if room == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let piece = self.unsent.split_to(room);
            self.has_ended = self.unsent.is_empty() && self.body.is_ended() && trailers.is_empty();
            self.stream
                .send_data(piece, self.has_ended)
                .map_err(broken)?;
        }
        if self.body.is_ended() && !self.has_ended {
            self.has_ended = true;
            let ended = match trailers {
                [] => self.stream.send_data(Bytes::new(), true),
                lines => self.stream.send_trailers(read_trailers(lines)?),
            };
            ended.map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Answering<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = &mut *lock(self.0);
        ready!(answer.poll_send(cx))?;
        let n = match &mut answer.state {
            State::Head(..) => {
                answer.take_head(bytes)?;
                bytes.len()
            }
            State::Body(outgoing) => outgoing.take(bytes)?,
        };
        // What cannot go out yet is for the flush.
        if let Poll::Ready(Err(error)) = answer.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(self.0).poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}

/// The head of the answer as HTTP/2 has it: without what is about one connection, and without a reason.
fn response(head: &ResponseHead<'_>) -> io::Result<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(head.status).map_err(io::Error::other)?;
    for header in head.fields.iter() {
        add(header, response.headers_mut())?;
    }
    Ok(response)
}

fn read_trailers(lines: &[u8]) -> io::Result<HeaderMap> {
    let text = [lines, b"\r\n"].concat();
    let mut headers = [httparse::EMPTY_HEADER; head::MAX_HEADERS];
    let mut trailers = HeaderMap::new();
    if let Status::Complete((_, headers)) =
        httparse::parse_headers(&text, &mut headers).map_err(io::Error::other)?
    {
        for header in headers {
            add(header, &mut trailers)?;
        }
    }
    Ok(trailers)
}

fn add(header: &Header<'_>, fields: &mut HeaderMap) -> io::Result<()> {
    match Field::of(header.name) {
        Field::Connection | Field::Hop | Field::Upgrade | Field::TransferEncoding => {}
        Field::Host
        | Field::Cookie
        | Field::ContentLength
        | Field::ForwardedPort
        | Field::Other => {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(io::Error::other)?;
            let value = HeaderValue::from_bytes(header.value).map_err(io::Error::other)?;
            fields.append(name, value);
        }
    }
    Ok(())
}

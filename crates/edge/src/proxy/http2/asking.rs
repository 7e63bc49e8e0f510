//! The side of a stream that a session reads: its request as HTTP/1.1 has it.
//!
//! ```text
//!   head ─▶ (size ─▶ data ─▶ line end)* ─▶ last size, trailers ─▶ nothing, until the client gives up
//!               with a length: data alone
//! ```
//!
//! What HTTP/2 forbids (fields about the connection, lengths that are none, repeated pseudo-fields) the library has refused already;
//! what HTTP/1.1 forbids the session refuses.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap};
use http::request::Parts;
use tokio::io::{AsyncRead, ReadBuf};

use super::answering::{self, Answer};
use crate::proxy::fields::Field;
use crate::proxy::wire::Incoming;

/// A request on its way to a session.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    /// What comes next: no more than a frame of the body, and what is around it.
    text: VecDeque<Bytes>,
    body: RecvStream,
    is_chunked: bool,
    /// All of the request is in `text`, or has been read.
    is_over: bool,
    answer: &'a Mutex<Answer>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(head: &Parts, body: RecvStream, answer: &'a Mutex<Answer>) -> Self {
        let is_chunked = !body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH);
        Self {
            text: VecDeque::from([write_head(head, is_chunked).into()]),
            body,
            is_chunked,
            is_over: false,
            answer,
        }
    }

    /// Waits for more of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(data) = ready!(self.body.poll_data(cx)) else {
            let trailers = ready!(self.body.poll_trailers(cx)).map_err(reset)?;
            self.is_over = true;
            if self.is_chunked {
                let mut end = b"0\r\n".to_vec();
                write_fields(&trailers.unwrap_or_default(), &mut end);
                end.extend_from_slice(b"\r\n");
                self.text.push_back(end.into());
            }
            return Poll::Ready(Ok(()));
        };
        let data = data.map_err(reset)?;
        // No more than this frame is ahead of the session.
        self.body
            .flow_control()
            .release_capacity(data.len())
            .map_err(reset)?;
        match (self.is_chunked, data.len()) {
            // It would be the last chunk.
            (_, 0) => {}
            (false, _) => self.text.push_back(data),
            (true, n) => {
                let line = format!("{n:x}\r\n").into();
                self.text.extend([line, data, Bytes::from_static(b"\r\n")]);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Asking<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.text.is_empty() {
            if self.is_over {
                // It can still give up.
                ready!(answering::lock(self.answer).poll_reset(cx));
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            ready!(self.poll_body(cx))?;
        }
        while let Some(part) = self.text.front_mut().filter(|_| out.remaining() > 0) {
            let n = part.len().min(out.remaining());
            out.put_slice(&part[..n]);
            part.advance(n);
            if part.is_empty() {
                self.text.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Incoming for Asking<'_> {
    fn has_unread(&self) -> bool {
        // Whoever asks has read the request, and there is no other one.
        false
    }
}

fn reset(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

/// The head of the request. It says that there is no other one.
fn write_head(head: &Parts, is_chunked: bool) -> Vec<u8> {
    let Parts {
        method,
        uri,
        headers,
        ..
    } = head;
    let mut out = Vec::with_capacity(512);
    let authority = uri.authority().map(|authority| authority.as_str());
    // CONNECT has no path; the session refuses it.
    let target = uri.path_and_query().map(|path| path.as_str());
    let target = target.or(authority).unwrap_or_default();
    // Writing to a vector cannot fail.
    let _ = write!(out, "{method} {target} HTTP/1.1\r\n");
    if let Some(authority) = authority {
        // Whoever names users means the host behind them, as in HTTP/1.1.
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let _ = write!(out, "Host: {host}\r\n");
    }
    let mut fields = headers.clone();
    if authority.is_some() {
        // It stands above the field (RFC 9113 §8.3.1).
        fields.remove(HOST);
    }
    // Clients may send each cookie by itself, which servers of HTTP/1.1 do not know (RFC 9113 §8.2.3).
    let cookies: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(|it| it.as_bytes())
        .collect();
    if !cookies.is_empty() {
        fields.remove(COOKIE);
        out.extend_from_slice(b"cookie: ");
        out.extend_from_slice(&cookies.join(&b"; "[..]));
        out.extend_from_slice(b"\r\n");
    }
    write_fields(&fields, &mut out);
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"Connection: close\r\n\r\n");
    out
}

/// Writes the fields that are not about one connection.
fn write_fields(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields {
        match Field::of(name.as_str()) {
            Field::Connection | Field::Hop | Field::Upgrade | Field::TransferEncoding => {}
            Field::Host
            | Field::Cookie
            | Field::ContentLength
            | Field::ForwardedPort
            | Field::Other => {
                out.extend_from_slice(name.as_str().as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

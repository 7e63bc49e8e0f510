//! The lines of an answer that goes on for as long as its source lives: server-sent events, JSON lines.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};

use crate::HttpError;

/// The longest line that is accepted. Deployment events with whole plans come to a few MiB.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// Cuts a body into lines.
#[derive(Debug)]
pub struct Lines<B = Incoming> {
    body: B,
    /// What arrived and was not yet given out.
    buffer: BytesMut,
    /// How much of the buffer was searched for an end of line.
    searched: usize,
    max_line: usize,
    ended: bool,
}

impl<B> Lines<B>
where
    B: Body<Data = bytes::Bytes, Error = hyper::Error> + Unpin,
{
    /// Reads lines from `body`.
    pub fn new(body: B) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            searched: 0,
            max_line: MAX_LINE,
            ended: false,
        }
    }

    /// Returns the next line without its `\n` or `\r\n`, blank lines (keep-alives) as `""`, and `None` at the end.
    /// A last line without an end of line counts. Cancel-safe: nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`HttpError::Silent`] when nothing at all arrives for `idle`; when the body breaks off, a line is longer than
    /// 16 MiB, or not UTF-8. After an error the stream is of no more use.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<String>, HttpError> {
        loop {
            if let Some(at) = self.buffer[self.searched..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let line = self.buffer.split_to(self.searched + at);
                self.buffer.advance(1);
                self.searched = 0;
                return text(&line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.searched > self.max_line {
                return Err(HttpError::TooLong {
                    limit: self.max_line,
                });
            }
            if self.ended {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                self.searched = 0;
                let line = self.buffer.split();
                return text(&line).map(Some);
            }
            // Cancel-safe: a frame is either still in the body or already in the buffer.
            match tokio::time::timeout(idle, self.body.frame()).await {
                Err(_) => return Err(HttpError::Silent { limit: idle }),
                Ok(None) => self.ended = true,
                Ok(Some(Err(source))) => return Err(HttpError::Body { source }),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

fn text(line: &[u8]) -> Result<String, HttpError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(line) => Ok(line.to_owned()),
        Err(_) => Err(HttpError::NotText),
    }
}

#[cfg(test)]
mod tests;

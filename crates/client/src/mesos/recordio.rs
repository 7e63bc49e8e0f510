//! RecordIO, the framing of Mesos' streams: the length of a record in decimal, a line feed, the record.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};

use super::{Event, MesosError, v1};
use crate::HttpError;

/// The largest record accepted. `SUBSCRIBED` carries the whole state: tens of MB for tens of thousands of tasks.
const MAX_RECORD: usize = 256 * 1024 * 1024;
/// Digits of the largest length accepted.
const MAX_LENGTH_DIGITS: usize = 9;

/// The events of one `SUBSCRIBE`.
#[derive(Debug)]
pub struct Subscription<B = Incoming> {
    body: B,
    /// What arrived and was not yet given out.
    buffer: BytesMut,
    /// The length of the record being read, once its line was read.
    pending: Option<usize>,
}

impl<B> Subscription<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Unpin,
{
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            pending: None,
        }
    }

    /// Returns the next event, `None` when the master ended the stream. Cancel-safe: nothing is lost when the future
    /// is dropped.
    ///
    /// # Errors
    /// [`HttpError::Silent`] when nothing arrives for `idle`; when the stream breaks off, is not RecordIO, or a record
    /// is not JSON. After an error the stream is of no more use.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<Event>, MesosError> {
        loop {
            if let Some(record) = self.take_record()? {
                return v1::event(&record).map(Some);
            }
            // Cancel-safe: a frame is either still in the body or already in the buffer.
            match tokio::time::timeout(idle, self.body.frame()).await {
                Err(_) => return Err(HttpError::Silent { limit: idle }.into()),
                Ok(None) if self.buffer.is_empty() && self.pending.is_none() => return Ok(None),
                Ok(None) => return Err(framing("it ends inside a record")),
                Ok(Some(Err(source))) => return Err(HttpError::Body { source }.into()),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Takes a whole record from the buffer, if one is there.
    fn take_record(&mut self) -> Result<Option<Bytes>, MesosError> {
        let length = match self.pending {
            Some(length) => length,
            None => {
                let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
                    if self.buffer.len() > MAX_LENGTH_DIGITS {
                        return Err(framing("a length has too many digits"));
                    }
                    return Ok(None);
                };
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                let length = std::str::from_utf8(&line)
                    .ok()
                    .and_then(|digits| digits.trim().parse::<usize>().ok())
                    .filter(|&length| length <= MAX_RECORD)
                    .ok_or_else(|| framing("a length cannot be read or is too large"))?;
                self.pending = Some(length);
                length
            }
        };
        if self.buffer.len() < length {
            return Ok(None);
        }
        self.pending = None;
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

fn framing(reason: &str) -> MesosError {
    MesosError::Framing {
        reason: reason.to_owned(),
    }
}

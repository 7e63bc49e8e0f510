//! Server-sent events: the decoder, and a stream of events over one connection.
//!
//! What to do when the stream ends is the follower's to decide, because it has to look at the whole again after every
//! connect; so there is no hidden reconnect here. Fields as the WHATWG has them (`event`, `data`, `id`; `retry` is ignored);
//! Marathon writes one `event:` and one `data:` line an event, and blank lines as keep-alives.

use std::time::Duration;

use ::http::header::ACCEPT;
use ::http::{Method, Request};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;

use crate::{HttpClient, HttpError, Lines};

/// How long a server may take to open the stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a refusal is read.
const MAX_REFUSAL: usize = 64 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` if the server named none.
    pub kind: String,
    /// Its data; several lines are joined by `\n`.
    pub data: String,
    /// Its id, if it has one.
    pub id: Option<String>,
}

/// Makes events of lines.
#[derive(Debug, Default)]
pub struct Decoder {
    kind: String,
    data: Option<String>,
    id: Option<String>,
}

impl Decoder {
    /// Takes the next line, without its end, and returns the event that it completes.
    pub fn push(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let kind = std::mem::take(&mut self.kind);
            let id = self.id.take();
            let data = self.data.take()?;
            let kind = if kind.is_empty() {
                "message".to_owned()
            } else {
                kind
            };
            return Some(Event { kind, data, id });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            "id" => self.id = Some(value.to_owned()),
            // Comments (an empty field), `retry`, and what is not known.
            _ => {}
        }
        None
    }
}

/// The events of one connection.
#[derive(Debug)]
pub struct EventStream {
    lines: Lines<Incoming>,
    decoder: Decoder,
}

impl EventStream {
    /// Asks `url` for its events and returns once the server has agreed.
    ///
    /// # Errors
    /// When there is no connection or the answer is not a success.
    pub async fn open(client: &HttpClient, url: &str) -> Result<Self, HttpError> {
        let lines = open_lines(client, url, "text/event-stream").await?;
        Ok(Self {
            lines,
            decoder: Decoder::default(),
        })
    }

    /// Returns the next event, or `None` when the server ended the stream. Cancel-safe.
    ///
    /// # Errors
    /// As [`Lines::next`]; `idle` bounds the silence between two lines, keep-alives included.
    pub async fn next(&mut self, idle: Duration) -> Result<Option<Event>, HttpError> {
        loop {
            let Some(line) = self.lines.next(idle).await? else {
                return Ok(None);
            };
            if let Some(event) = self.decoder.push(&line) {
                return Ok(Some(event));
            }
        }
    }
}

/// Opens an answer that is read line by line.
///
/// # Errors
/// When there is no connection or the answer is not a success.
pub async fn open_lines(
    client: &HttpClient,
    url: &str,
    accept: &str,
) -> Result<Lines<Incoming>, HttpError> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(url)
        .header(ACCEPT, accept)
        .body(Bytes::new())
        .map_err(|error| HttpError::Address {
            url: url.to_owned(),
            reason: error.to_string(),
        })?;
    let answer = client.open(request, OPEN_TIMEOUT).await?;
    let (head, body) = answer.into_parts();
    if head.status.is_success() {
        return Ok(Lines::new(body));
    }
    // The refusal is kept for the log; if it cannot be read, its status still says enough.
    let body = tokio::time::timeout(OPEN_TIMEOUT, Limited::new(body, MAX_REFUSAL).collect()).await;
    let body = body
        .ok()
        .and_then(Result::ok)
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    Err(HttpError::Status {
        status: head.status,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&str], expected: &[(&str, &str)]) {
        let mut decoder = Decoder::default();
        let events: Vec<_> = lines.iter().filter_map(|line| decoder.push(line)).collect();
        let events: Vec<_> = events
            .iter()
            .map(|e| (e.kind.as_str(), e.data.as_str()))
            .collect();
        assert_eq!(events, expected, "{lines:?}");
    }

    #[test]
    fn lines_make_events() {
        check(&["event: a", "data: {}", ""], &[("a", "{}")]);
        check(&["data:x", "data: y", "", ""], &[("message", "x\ny")]);
        check(
            &[": comment", "", "", "event: lost", "", "data: z", ""],
            &[("message", "z")],
        );
        check(&["data", "", "data: unfinished"], &[("message", "")]);
    }
}

//! One request, from the connect to the last byte of its answer.
//!
//! ```text
//!   fresh:      connect ─▶ send ─▶ head ─▶ body ─▶ answer
//!   kept alive: reuse, else connect ─▶ send ─▶ …
//!                       └─ closed before any byte came in ─▶ connect ─▶ send, once (counted as retried)
//! ```

use std::error::Error as _;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use serde::Deserialize;

use crate::config::Target;
use crate::connect::{Connection, Connections};
use crate::report::FailureKind;

/// How much of a body is looked at for the version; the rest is read and dropped. The lab's answers have 70 bytes.
const LOOKED_AT: usize = 64 * 1024;
/// Versions are short; a longer one is cut, as it is a key of the account.
const MAX_VERSION: usize = 64;

/// A whole answer with a status of success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: Option<String>,
}

/// Why there was none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
    /// Of a whole answer.
    pub(crate) status: Option<u16>,
}

impl Fault {
    pub(crate) fn new(kind: FailureKind, detail: String) -> Self {
        Self {
            kind,
            detail,
            status: None,
        }
    }
}

/// Sends one request and reads its answer. Returns whether it was retried, and how it ended.
pub(crate) async fn exchange(
    connections: &Connections,
    is_fresh: bool,
    timeout: Duration,
) -> (bool, Result<Answer, Fault>) {
    let mut progress = Progress {
        was_retried: false,
        is_connected: false,
    };
    let attempt = attempt(connections, is_fresh, &mut progress);
    let result = tokio::time::timeout(timeout, attempt).await;
    let result = result.unwrap_or_else(|_| {
        let detail = format!("no whole answer within {} s", timeout.as_secs_f64());
        Err(match progress.is_connected {
            true => Fault::new(FailureKind::Timeout, detail),
            false => Fault::new(FailureKind::ConnectFailed, detail),
        })
    });
    (progress.was_retried, result)
}

/// How far a request came, for when it is cut by the time limit.
struct Progress {
    was_retried: bool,
    is_connected: bool,
}

async fn attempt(
    connections: &Connections,
    is_fresh: bool,
    progress: &mut Progress,
) -> Result<Answer, Fault> {
    if !is_fresh && let Some(connection) = connections.reuse().await {
        progress.is_connected = true;
        match send(connection, connections, is_fresh).await {
            Err(Attempt::Untouched(_)) => {
                progress.was_retried = true;
                progress.is_connected = false;
            }
            Err(Attempt::Failed(fault)) => return Err(fault),
            Ok(answer) => return Ok(answer),
        }
    }
    let connection = connections.connect().await?;
    progress.is_connected = true;
    send(connection, connections, is_fresh)
        .await
        .map_err(|attempt| match attempt {
            Attempt::Untouched(fault) | Attempt::Failed(fault) => fault,
        })
}

/// Why an attempt failed.
enum Attempt {
    /// The connection ended before any byte of an answer.
    Untouched(Fault),
    Failed(Fault),
}

async fn send(
    mut connection: Connection,
    connections: &Connections,
    is_fresh: bool,
) -> Result<Answer, Attempt> {
    let received_before = connection.received.load(Ordering::Relaxed);
    let request = request(connections.target(), is_fresh);
    let response = match connection.sender.send_request(request).await {
        Ok(response) => response,
        Err(error) => {
            let has_answer = connection.received.load(Ordering::Relaxed) > received_before;
            let fault = Fault::new(kind(&error, has_answer), chain(&error));
            return Err(match fault.kind {
                FailureKind::Reset | FailureKind::Closed if !has_answer => {
                    Attempt::Untouched(fault)
                }
                _ => Attempt::Failed(fault),
            });
        }
    };
    let (status, beginning) = read(response).await.map_err(Attempt::Failed)?;
    if !is_fresh {
        connections.keep(connection);
    }
    if (200..300).contains(&status) {
        Ok(Answer {
            status,
            version: version(&beginning),
        })
    } else {
        let detail = format!("status {status}");
        Err(Attempt::Failed(Fault {
            kind: FailureKind::BadStatus,
            detail,
            status: Some(status),
        }))
    }
}

fn request(target: &Target, is_fresh: bool) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = target.path.clone();
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&target.authority);
    headers.insert(
        HOST,
        host.expect("the authority of a parsed URL is plain text"),
    );
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("zddcluster-probe/", env!("CARGO_PKG_VERSION"))),
    );
    if is_fresh {
        // The server closes first then, and the ports of this side are free again at once.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    request
}

/// Reads a body to its end. Returns the status and the body's beginning.
async fn read(response: Response<Incoming>) -> Result<(u16, Bytes), Fault> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut beginning = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail = format!("status {status}, then {}", chain(&error));
            Fault::new(kind(&error, true), detail)
        })?;
        if let Ok(data) = frame.into_data() {
            let room = LOOKED_AT - beginning.len();
            beginning.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok((status, beginning.freeze()))
}

/// The field `version` of a JSON object, if the body is one.
fn version(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        version: serde_json::Value,
    }
    // Serde would take an array of one for the struct, too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let mut version = match serde_json::from_slice(body) {
        Ok(Body {
            version: serde_json::Value::String(text),
        }) => text,
        Ok(Body {
            version: serde_json::Value::Number(number),
        }) => number.to_string(),
        Ok(_) | Err(_) => return None,
    };
    version.truncate(version.floor_char_boundary(MAX_VERSION));
    Some(version)
}

/// What an error of an established connection means, given whether any byte of this answer has come in.
fn kind(error: &hyper::Error, has_answer: bool) -> FailureKind {
    let cause = io_kind(error);
    match cause {
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => FailureKind::Reset,
        _ if error.is_parse() => FailureKind::Malformed,
        // An end in the middle, or one that hyper found before it had sent anything.
        _ if has_answer => FailureKind::Truncated,
        _ => FailureKind::Closed,
    }
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        next = cause.source();
    }
    None
}

fn chain(error: &hyper::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        next = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_json_objects_only() {
        for (body, expected) in [
            (
                r#"{"host": "h", "version": "0.9", "result": "all is well"}"#,
                Some("0.9"),
            ),
            (r#"{"version": 1.0}"#, Some("1.0")),
            (r#"{"version": null}"#, None),
            (r#"["version"]"#, None),
            (r#"{"version": "0.9"#, None),
            ("", None),
        ] {
            assert_eq!(version(body.as_bytes()).as_deref(), expected, "{body}");
        }
        let long = format!(r#"{{"version": "{}"}}"#, "é".repeat(100));
        assert_eq!(version(long.as_bytes()), Some("é".repeat(32)));
    }
}

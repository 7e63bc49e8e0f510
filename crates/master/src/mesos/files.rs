//! `/files/read`, `/files/browse`, `/files/download`, `/files/debug`: the one file a master shows is its log.
//!
//! As in Mesos it is `/master/log`, a name and no path of the machine: no other path leads anywhere. The log's end is in memory;
//! offsets count from the start of the process. Source: contract dcos-cli §10, Mesos 1.0 `files/files.cpp`.

use axum::response::Response;
use http::header::CONTENT_DISPOSITION;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Query, ok, with_type};
use crate::shared::Shared;

/// The one file.
const LOG: &str = "/master/log";

/// The most bytes of one answer: Mesos reads 16 pages.
const MAX_READ: u64 = 64 << 10;

/// `{"data": …, "offset": …}`; without an offset the size alone.
pub(super) fn read(shared: &Shared, query: &Query) -> Outcome {
    let offset = number(query, "offset")?;
    let length = number(query, "length")?;
    the_log(query)?;
    let (offset, data) = match offset {
        None => (shared.log_tail.size(), String::new()),
        Some(offset) => {
            let length = length.unwrap_or(MAX_READ).min(MAX_READ);
            shared.log_tail.read(offset, length)
        }
    };
    Ok(ok(&json!({ "data": data, "offset": offset })))
}

/// The log as its directory lists it.
pub(super) fn browse(shared: &Shared, query: &Query) -> Outcome {
    Ok(ok(&list(shared, path(query)?)?))
}

/// What a directory of these names holds.
pub(super) fn list(shared: &Shared, path: &str) -> Result<Value, ApiError> {
    if path.trim_end_matches('/') != "/master" {
        return Err(not_found());
    }
    let now = shared.clock.now().as_secs_f64();
    Ok(json!([{
        "gid": "root",
        "mode": "-rw-r--r--",
        "mtime": now.floor(),
        "nlink": 1,
        "path": LOG,
        "size": shared.log_tail.size(),
        "uid": "root",
    }]))
}

/// Everything that is kept of the log.
pub(super) fn download(shared: &Shared, query: &Query) -> Result<Response, ApiError> {
    the_log(query)?;
    let (_, data) = shared.log_tail.read_bytes(0, u64::MAX);
    let mut response = with_type(StatusCode::OK, "application/octet-stream", data);
    let disposition = HeaderValue::from_static("attachment; filename=log");
    response
        .headers_mut()
        .insert(CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// Which names there are, and what they stand for.
pub(super) fn debug() -> Value {
    json!({ LOG: "the end of this process' log, in memory" })
}

/// Part of the log, for `READ_FILE`: the data as it was logged and the size of the whole.
///
/// `Err` also where `offset` is no longer kept: the answer has no place for where its data begins.
pub(super) fn read_part(
    shared: &Shared,
    path: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<(Vec<u8>, u64), ApiError> {
    if path != LOG {
        return Err(not_found());
    }
    let length = length.unwrap_or(MAX_READ).min(MAX_READ);
    let size = shared.log_tail.size();
    let (begin, data) = shared.log_tail.read_bytes(offset, length);
    if begin > offset {
        return Err(bad(format!(
            "offset {offset} is not kept any more: what is begins at {begin}"
        )));
    }
    Ok((data, size))
}

fn path(query: &Query) -> Result<&str, ApiError> {
    let given = query.first("path").filter(|path| !path.is_empty());
    given.ok_or_else(|| bad("Expecting 'path=value' in query."))
}

fn the_log(query: &Query) -> Result<(), ApiError> {
    match path(query)? {
        LOG => Ok(()),
        _ => Err(not_found()),
    }
}

/// `None` for -1, and if it is not given.
fn number(query: &Query, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(text) = query.first(name) else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(number) => u64::try_from(number)
            .map(Some)
            .map_err(|_| bad(format!("Negative {name} provided: {number}."))),
        Err(_) => Err(bad(format!("Failed to parse {name}: '{text}'."))),
    }
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message)
}

fn not_found() -> ApiError {
    let message = format!("no such file; this master has {LOG} alone");
    ApiError::new(StatusCode::NOT_FOUND, message)
}

//! `/files/read`, `/files/browse`, `/files/download`, `/files/debug`: sandboxes and the log, and nothing else of the machine.
//!
//! The log is `/slave/log`, a name as Mesos has it and no path: its end is in memory, offsets count from the start of the process.

use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::{Api, LOG, plain};
use crate::files::{Entry, FileError, MAX_READ, Piece};

/// The query of all three; which ones are needed differs.
#[derive(Debug, Deserialize)]
pub(super) struct FileQuery {
    path: Option<String>,
    offset: Option<String>,
    length: Option<String>,
}

/// What is wrong with a query, in Mesos' words.
struct BadQuery(String);

impl IntoResponse for BadQuery {
    fn into_response(self) -> Response {
        plain(StatusCode::BAD_REQUEST, self.0)
    }
}

impl FileQuery {
    fn path(&self) -> Result<String, BadQuery> {
        self.path
            .clone()
            .filter(|path| !path.is_empty())
            .ok_or_else(|| BadQuery("Expecting 'path=value' in query.\n".to_owned()))
    }
}

fn number(text: Option<&str>, name: &str, absent: i64) -> Result<i64, BadQuery> {
    let Some(text) = text else {
        return Ok(absent);
    };
    text.parse::<i64>()
        .ok()
        .filter(|&number| number >= -1)
        .ok_or_else(|| BadQuery(format!("Failed to parse {name}: '{text}'.\n")))
}

/// `{"data": …, "offset": …}`.
pub(super) async fn read(State(api): State<Api>, Query(query): Query<FileQuery>) -> Response {
    let asked = || {
        let offset = number(query.offset.as_deref(), "offset", -1)?;
        let length = number(query.length.as_deref(), "length", -1)?;
        Ok::<_, BadQuery>((
            query.path()?,
            u64::try_from(offset).ok(),
            u64::try_from(length).ok(),
        ))
    };
    let (path, offset, length) = match asked() {
        Ok(asked) => asked,
        Err(bad) => return bad.into_response(),
    };
    match piece(&api, path, offset, length).await {
        Ok(piece) => Json(json!({ "data": piece.text(), "offset": piece.offset })).into_response(),
        Err(refusal) => refusal,
    }
}

/// A piece of a file; without an offset its size.
pub(super) async fn piece(
    api: &Api,
    path: String,
    offset: Option<u64>,
    length: Option<u64>,
) -> Result<Piece, Response> {
    if path == LOG {
        let size = api.log_tail.size();
        let (offset, data) = match offset {
            Some(offset) => {
                let length = length.unwrap_or(MAX_READ).min(MAX_READ);
                api.log_tail.read_bytes(offset, length)
            }
            None => (size, Vec::new()),
        };
        return Ok(Piece { data, offset });
    }
    let sandboxes = api.sandboxes.clone();
    on_disk(move || sandboxes.read(&path, offset, length))
        .await
        .map_err(|error| refusal(&error))
}

/// An array of the entries of a directory.
pub(super) async fn browse(State(api): State<Api>, Query(query): Query<FileQuery>) -> Response {
    let path = match query.path() {
        Ok(path) => path,
        Err(bad) => return bad.into_response(),
    };
    match list(&api, path).await {
        Ok(entries) => Json(entries).into_response(),
        Err(refusal) => refusal,
    }
}

/// What a directory holds.
pub(super) async fn list(api: &Api, path: String) -> Result<Vec<Entry>, Response> {
    if path.trim_end_matches('/') == "/slave" {
        return Ok(vec![Entry::of_log(LOG, api.log_tail.size())]);
    }
    let sandboxes = api.sandboxes.clone();
    on_disk(move || sandboxes.browse(&path))
        .await
        .map_err(|error| refusal(&error))
}

/// Which names there are, and what they stand for.
pub(super) async fn debug(State(api): State<Api>) -> Response {
    let work_dir = api.sandboxes.work_dir().display().to_string();
    let mut names = serde_json::Map::new();
    names.insert(
        LOG.to_owned(),
        Value::from("the end of this process' log, in memory"),
    );
    names.insert(work_dir.clone(), work_dir.into());
    Json(names).into_response()
}

/// The file itself, as long as it was when it was opened.
pub(super) async fn download(State(api): State<Api>, Query(query): Query<FileQuery>) -> Response {
    let path = match query.path() {
        Ok(path) => path,
        Err(bad) => return bad.into_response(),
    };
    let name: String = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && c != '"' && c != '\\' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if path == LOG {
        let (_, data) = api.log_tail.read_bytes(0, u64::MAX);
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream"),
            (header::CONTENT_DISPOSITION, "attachment; filename=\"log\""),
        ];
        return (headers, data).into_response();
    }
    match on_disk(move || api.sandboxes.open(&path)).await {
        Ok((file, size)) => {
            use tokio::io::AsyncReadExt;
            let content = ReaderStream::new(tokio::fs::File::from_std(file).take(size));
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
                (
                    header::CONTENT_DISPOSITION,
                    format!("attachment; filename=\"{name}\""),
                ),
            ];
            (headers, Body::from_stream(content)).into_response()
        }
        Err(error) => refusal(&error),
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(FileError::Io(io::Error::other(error))))
}

fn refusal(error: &FileError) -> Response {
    let status = match error {
        FileError::NotFound => StatusCode::NOT_FOUND,
        FileError::Outside => StatusCode::FORBIDDEN,
        FileError::NotAFile | FileError::NotADirectory => StatusCode::BAD_REQUEST,
        FileError::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    plain(status, format!("{error}\n"))
}

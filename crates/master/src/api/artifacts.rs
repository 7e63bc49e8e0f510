//! `/v2/artifacts`: files in the master's artifact store (contract marathon §2.7).
//!
//! Uploads do not go through [`Call`], which holds whole bodies: they are streamed to disk, up to a limit of their own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    LAST_MODIFIED, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Request, StatusCode};
use multer::{Constraints, Field, Multipart, SizeLimit};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_util::io::ReaderStream;

use super::Outcome;
use crate::artifacts::{ArtifactPath, Artifacts, BadPath, Found, Upload, WriteError, media_type};
use crate::error::ApiError;
use crate::http::{Call, empty, segments};
use crate::shared::Shared;

/// An upload that brings nothing for so long is given up: even a bad network does better.
const SILENCE: Duration = Duration::from_secs(60);
/// The most that a form may have around its file, bytes: names, types, and fields that nobody reads.
const FRAME: u64 = 64 * 1024;
/// What stands in a URL as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Answers reads and DELETE.
pub(super) async fn route(shared: &Shared, call: &Call, rest: &[&str]) -> Outcome {
    let path = ArtifactPath::new(rest.iter().copied());
    match (&call.method, path) {
        // Marathon has no list.
        (&Method::GET | &Method::HEAD | &Method::DELETE, Err(BadPath::Empty)) => {
            Err(ApiError::wrong_method())
        }
        (&Method::GET | &Method::HEAD, path) => {
            let path = path.map_err(bad_path)?;
            let found = store(shared)?.find(&path).await.map_err(failed)?;
            Ok(content(&path, found.ok_or_else(|| unknown(&path))?))
        }
        (&Method::DELETE, path) => {
            let path = path.map_err(bad_path)?;
            if store(shared)?.remove(&path).await.map_err(failed)? {
                Ok(empty(StatusCode::OK))
            } else {
                Err(unknown(&path))
            }
        }
        _ => Err(ApiError::wrong_method()),
    }
}

/// The path below `/v2/artifacts` if this request is an upload, whatever prefix the API is reached by.
pub(crate) fn upload_path<B>(request: &Request<B>) -> Option<Vec<String>> {
    if ![Method::POST, Method::PUT].contains(request.method()) {
        return None;
    }
    let segments = segments(request.uri().path());
    let at = match segments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["v2", "artifacts", ..] => 2,
        ["marathon", "v2", "artifacts", ..] => 3,
        ["service", "marathon", "v2", "artifacts", ..] => 4,
        _ => return None,
    };
    Some(segments[at..].to_vec())
}

/// Answers an upload: 201 with its address, or 200 if it replaced something.
pub(crate) async fn upload(
    shared: &Arc<Shared>,
    request: Request<Body>,
    path: Vec<String>,
) -> Outcome {
    let store = store(shared)?;
    let host = request.headers().get(HOST).cloned();
    let content_type = request.headers().get(CONTENT_TYPE);
    let boundary = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| multer::parse_boundary(value).ok())
        .ok_or_else(ApiError::wrong_media_type)?;
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let longest = store.largest().saturating_add(FRAME);
    // Before a byte of it has come.
    if length.is_some_and(|length| length > longest) {
        return Err(refused(WriteError::TooLarge(store.largest())));
    }
    let limit = SizeLimit::new().whole_stream(longest);
    let constraints = Constraints::new().size_limit(limit);
    let body = request.into_body().into_data_stream();
    let mut form = Multipart::with_constraints(body, boundary, constraints);
    let mut field = loop {
        match next(form.next_field()).await? {
            None => {
                let message = "Please use 'file' as form parameter name!";
                return Err(ApiError::illegal_argument(message));
            }
            Some(field) if field.name() == Some("file") => break field,
            Some(_) => {}
        }
    };
    let path = if path.is_empty() {
        let name = field.file_name().unwrap_or_default();
        // Some browsers tell the whole path.
        ArtifactPath::new(name.rsplit(['/', '\\']).next())
    } else {
        ArtifactPath::new(path.iter().map(String::as_str))
    };
    let path = path.map_err(bad_path)?;
    let mut upload = store.begin().await.map_err(failed)?;
    take(&mut field, &mut upload).await?;
    let is_new = match upload.keep(store, &path).await {
        Ok(is_new) => is_new,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!(
                "another artifact is in the way of {}; hint: a path cannot be both file and directory",
                path.as_str()
            );
            return Err(ApiError::new(StatusCode::CONFLICT, message));
        }
        Err(error) => return Err(failed(error)),
    };
    if !is_new {
        return Ok(empty(StatusCode::OK));
    }
    let mut response = empty(StatusCode::CREATED);
    let host = host.and_then(|host| host.to_str().ok().map(str::to_owned));
    let host = host.unwrap_or_else(|| shared.identity.front.to_string());
    let location = url(&host, &path);
    super::mark_location(&mut response, &location);
    Ok(response)
}

/// Where an artifact is read.
pub(crate) fn url(host: &str, path: &ArtifactPath) -> String {
    format!(
        "http://{host}/v2/artifacts/{}",
        utf8_percent_encode(path.as_str(), PLAIN)
    )
}

/// The bytes of a field, to disk.
async fn take(field: &mut Field<'_>, upload: &mut Upload) -> Result<(), ApiError> {
    while let Some(chunk) = next(field.chunk()).await? {
        let chunk: Bytes = chunk;
        upload.write(&chunk).await.map_err(refused)?;
    }
    Ok(())
}

/// What an upload brings next.
async fn next<T>(coming: impl Future<Output = multer::Result<T>>) -> Result<T, ApiError> {
    match tokio::time::timeout(SILENCE, coming).await {
        Ok(came) => came.map_err(|error| {
            if let multer::Error::StreamSizeExceeded { limit } = error {
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                return ApiError::too_large(limit);
            }
            let message = format!("the upload cannot be read: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, message)
        }),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "the upload has stopped",
        )),
    }
}

fn content(path: &ArtifactPath, found: Found) -> Response {
    let Found {
        file,
        length,
        modified,
    } = found;
    let mut response = Response::new(Body::from_stream(ReaderStream::new(file)));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static(media_type(path.as_str()));
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(modified)) {
        headers.insert(LAST_MODIFIED, date);
    }
    // It is of somebody else's making, and comes from the address that starts processes: shown in a browser, it is nobody.
    let policy = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    let saved = HeaderValue::from_static("attachment");
    headers.insert(CONTENT_DISPOSITION, saved);
    response
}

fn store(shared: &Shared) -> Result<&Artifacts, ApiError> {
    shared.artifacts.as_ref().ok_or_else(|| {
        let message = "this master has no artifact store";
        ApiError::new(StatusCode::NOT_IMPLEMENTED, message)
    })
}

fn unknown(path: &ArtifactPath) -> ApiError {
    let message = format!("No artifact with path {}", path.as_str());
    ApiError::new(StatusCode::NOT_FOUND, message)
}

fn bad_path(error: BadPath) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, error.to_string())
}

fn refused(error: WriteError) -> ApiError {
    let message = error.to_string();
    match error {
        WriteError::TooLarge(_) => ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message),
        WriteError::Full(_) => ApiError::new(StatusCode::INSUFFICIENT_STORAGE, message),
        WriteError::Io(error) => failed(error),
    }
}

/// The disk is full, or not to be used.
fn failed(error: std::io::Error) -> ApiError {
    tracing::error!(%error, "the artifact store fails");
    let message = format!("the artifact store fails: {error}");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
}

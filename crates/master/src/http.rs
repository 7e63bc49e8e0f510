//! Requests as handlers see them, and answers as they make them.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use zddcluster_runtime::Hangup;

use crate::error::ApiError;

/// Largest request body: 8 MiB hold some thousand app definitions.
pub(crate) const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// What an `Accept` header calls JSON.
pub(crate) const JSON: [&str; 3] = ["application/json", "application/*", "*/*"];

/// Why a request cannot be read whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// Its body goes over the limit.
    #[error("the request body is too large")]
    TooLarge,
    /// The caller went away, or sent what is no HTTP.
    #[error("the request body cannot be read: {0}")]
    BrokenOff(Box<dyn std::error::Error + Send + Sync>),
}

/// A request, read whole.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The path as sent, without the prefix under which the API was reached.
    pub(crate) path: String,
    /// The path's segments, percent-decoded, without empty ones; decoded slashes separate too.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The caller's address, without port.
    pub(crate) client_ip: String,
    /// Cuts the connection; none where there is no connection.
    pub(crate) hangup: Option<Hangup>,
}

impl Call {
    /// Reads a request to its end; `Err` if its body is too large or breaks off.
    pub(crate) async fn read(request: Request<Body>) -> Result<Self, ApiError> {
        Self::read_at_most(request, BODY_LIMIT)
            .await
            .map_err(|error| match error {
                BodyError::TooLarge => ApiError::too_large(BODY_LIMIT),
                BodyError::BrokenOff(_) => {
                    ApiError::new(StatusCode::BAD_REQUEST, error.to_string())
                }
            })
    }

    /// The same with another limit for the body, in bytes.
    pub(crate) async fn read_at_most(
        request: Request<Body>,
        limit: usize,
    ) -> Result<Self, BodyError> {
        let (parts, body) = request.into_parts();
        let body = match Limited::new(body, limit).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(BodyError::TooLarge),
            Err(error) => return Err(BodyError::BrokenOff(error)),
        };
        let client_ip = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map_or_else(|| "127.0.0.1".to_owned(), |info| info.0.ip().to_string());
        Ok(Self {
            method: parts.method,
            segments: segments(parts.uri.path()),
            path: parts.uri.path().to_owned(),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            headers: parts.headers,
            body,
            client_ip,
            hangup: parts.extensions.get().cloned(),
        })
    }

    /// The same call with the first `n` segments of its path taken off.
    pub(crate) fn below(mut self, n: usize) -> Self {
        self.segments.drain(..n);
        let mut rest = self.path.as_str();
        for _ in 0..n {
            rest = rest.trim_start_matches('/');
            rest = rest.find('/').map_or("", |at| &rest[at..]);
        }
        self.path = if rest.is_empty() {
            "/".to_owned()
        } else {
            rest.to_owned()
        };
        self
    }

    /// True for GET and HEAD.
    pub(crate) fn is_read(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    /// The `Host` the caller used.
    pub(crate) fn host(&self) -> &str {
        self.header(HOST.as_str())
    }

    /// A header's text, empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// `Err` (415) if there is a body that calls itself something else than JSON.
    pub(crate) fn require_json(&self) -> Result<(), ApiError> {
        let content_type = self.header(CONTENT_TYPE.as_str());
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.is_empty()
            || self.body.is_empty()
            || media_type.eq_ignore_ascii_case("application/json")
        {
            Ok(())
        } else {
            Err(ApiError::wrong_media_type())
        }
    }

    /// True if the caller would rather have plain text than JSON.
    pub(crate) fn prefers_text(&self) -> bool {
        self.quality(&["text/plain"]) > self.quality(&JSON)
    }

    /// How much the caller wants the best of these media types, 0 to 1; 0 if it names none of them.
    pub(crate) fn quality(&self, media_types: &[&str]) -> f32 {
        let items = self.header(ACCEPT.as_str()).split(',');
        let wanted = items.filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let is_meant = |one: &&str| one.eq_ignore_ascii_case(media_type);
            media_types.iter().find(|one| is_meant(one))?;
            let quality = parts.find_map(|part| part.strip_prefix("q="));
            Some(quality.map_or(1.0, |q| q.parse::<f32>().unwrap_or(1.0)))
        });
        wanted.fold(0.0, f32::max)
    }
}

/// A path's segments, percent-decoded, empty ones dropped.
pub(crate) fn segments(path: &str) -> Vec<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    decoded
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Query parameters in their order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string.
    pub(crate) fn parse(query: &str) -> Self {
        Self(
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The parameters as a query string.
    pub(crate) fn encoded(&self) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }

    /// The first value of a parameter.
    pub(crate) fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `true` in any case is true, everything else false; `None` if absent.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.first(name)
            .map(|value| value.eq_ignore_ascii_case("true"))
    }
}

/// A JSON answer.
pub(crate) fn json_response<T: Serialize + ?Sized>(status: StatusCode, body: &T) -> Response {
    let body = serde_json::to_vec(body).expect("our answers have string keys and no failing parts");
    with_type(status, "application/json", body)
}

/// A 200 with JSON.
pub(crate) fn ok<T: Serialize + ?Sized>(body: &T) -> Response {
    json_response(StatusCode::OK, body)
}

/// A plain text answer.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response {
    with_type(status, "text/plain; charset=utf-8", body.into())
}

/// A page of ours: what it may load and do is said by `policy`, and its type is not guessed.
pub(crate) fn html(page: impl Into<Body>, policy: &'static str) -> Response {
    let mut response = with_type(StatusCode::OK, "text/html; charset=utf-8", page);
    let headers = response.headers_mut();
    let policy = HeaderValue::from_static(policy);
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// An answer of any type.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An answer without body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(uri: &str) -> Call {
        Call {
            method: Method::GET,
            path: uri.to_owned(),
            segments: segments(uri),
            query: Query::default(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            client_ip: String::new(),
            hangup: None,
        }
    }

    #[test]
    fn ids_in_paths_take_any_form() {
        // contract: http-slashes, trap-16
        for path in [
            "/v2/apps/zdd/base",
            "/v2/apps//zdd/base/",
            "/v2/apps/%2Fzdd%2Fbase",
        ] {
            assert_eq!(segments(path), ["v2", "apps", "zdd", "base"], "{path}");
        }
    }

    #[test]
    fn a_prefix_is_taken_off_path_and_segments() {
        let call = call("/service/marathon/v2/apps/").below(2);
        assert_eq!(call.path, "/v2/apps/");
        assert_eq!(call.segments, ["v2", "apps"]);
        assert_eq!(call.below(2).path, "/");
    }

    #[test]
    fn text_only_when_asked_for() {
        // contract: http-json, trap-15
        let prefers = |accept: &str| {
            let mut call = call("/");
            call.headers
                .insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            call.prefers_text()
        };
        assert!(prefers("text/plain"));
        for json in [
            "",
            "*/*",
            "application/json",
            "application/json, text/plain, */*",
        ] {
            assert!(!prefers(json), "{json}");
        }
    }
}

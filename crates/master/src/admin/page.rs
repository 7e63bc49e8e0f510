//! The start page: apps, tasks and deployments as they change. No assets from elsewhere.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::http::with_type;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("start.js");
/// Only our own script and style may run: names of apps are text that somebody else wrote.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/`.
pub(super) fn page() -> Response {
    let mut response = with_type(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// `/zdd/start.js`.
pub(super) fn script() -> Response {
    with_type(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT)
}

//! The start page: apps, tasks and deployments as they change. No assets from elsewhere.

use axum::response::Response;
use http::StatusCode;

use crate::http::{html, with_type};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("start.js");
/// Only our own script and style may run: names of apps are text that somebody else wrote.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/`.
pub(super) fn page() -> Response {
    html(PAGE, POLICY)
}

/// `/zdd/start.js`.
pub(super) fn script() -> Response {
    with_type(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT)
}

//! `/help`: what this API has, on one page (contract marathon §2.7).
//!
//! The table is the page's and the tests': each row is asked for, so that the page cannot promise what is not there.

use std::fmt::Write as _;

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::Outcome;
use crate::error::ApiError;
use crate::http::{Call, empty};

/// Where the page is; `/help` leads there, as Marathon's does to its console.
pub(super) const PAGE: [&str; 2] = ["api-console", "index.html"];

/// Method, path and meaning of each route. `{…}` stands for a value.
pub(crate) const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v2/apps", "all apps; ?cmd= ?id= ?label= ?embed="),
    ("POST", "/v2/apps", "create an app"),
    (
        "PUT",
        "/v2/apps",
        "create or change several apps in one deployment",
    ),
    ("PATCH", "/v2/apps", "the same"),
    ("GET", "/v2/apps/{id}", "one app; ?embed="),
    (
        "PUT",
        "/v2/apps/{id}",
        "change or create an app; ?force=true ?partialUpdate=false",
    ),
    ("PATCH", "/v2/apps/{id}", "the same"),
    ("DELETE", "/v2/apps/{id}", "stop and forget an app"),
    ("GET", "/v2/apps/{group}/*", "all apps below a group"),
    (
        "POST",
        "/v2/apps/{id}/restart",
        "replace all tasks of an app",
    ),
    (
        "GET",
        "/v2/apps/{id}/tasks",
        "an app's tasks; text with Accept: text/plain",
    ),
    (
        "DELETE",
        "/v2/apps/{id}/tasks",
        "kill an app's tasks; ?host= ?scale=true",
    ),
    (
        "DELETE",
        "/v2/apps/{id}/tasks/{task}",
        "kill one task; ?scale=true",
    ),
    ("GET", "/v2/apps/{id}/versions", "an app's versions"),
    (
        "GET",
        "/v2/apps/{id}/versions/{version}",
        "an app as it was",
    ),
    ("GET", "/v2/groups", "the tree of groups; ?embed="),
    ("GET", "/v2/groups/{id}", "one group"),
    ("GET", "/v2/groups/{id}/apps", "all apps below a group"),
    ("GET", "/v2/groups/{id}/versions", "a group's versions"),
    (
        "GET",
        "/v2/tasks",
        "all tasks; ?status=running; text with Accept: text/plain",
    ),
    ("POST", "/v2/tasks/delete", "kill tasks by id; ?scale=true"),
    ("GET", "/v2/deployments", "running deployments"),
    (
        "DELETE",
        "/v2/deployments/{id}",
        "roll a deployment back; ?force=true stops it where it is",
    ),
    ("GET", "/v2/queue", "apps with instances that wait"),
    (
        "DELETE",
        "/v2/queue/{id}/delay",
        "launch without waiting for the back-off",
    ),
    (
        "GET",
        "/v2/events",
        "the event stream; needs Accept: text/event-stream",
    ),
    (
        "GET",
        "/v2/eventSubscriptions",
        "URLs that get each event by POST",
    ),
    ("POST", "/v2/eventSubscriptions", "add one; ?callbackUrl="),
    (
        "DELETE",
        "/v2/eventSubscriptions",
        "take one away; ?callbackUrl=",
    ),
    (
        "POST",
        "/v2/artifacts",
        "store a file; multipart field file",
    ),
    ("PUT", "/v2/artifacts/{path}", "store a file under a path"),
    ("GET", "/v2/artifacts/{path}", "a stored file"),
    ("DELETE", "/v2/artifacts/{path}", "remove a stored file"),
    ("GET", "/v2/info", "version and settings"),
    ("GET", "/v2/leader", "who leads"),
    ("DELETE", "/v2/leader", "elect anew"),
    ("GET", "/v2/plugins", "plugins: none"),
    ("GET", "/v2/schemas/app", "the JSON schema of an app"),
    ("GET", "/ping", "pong"),
    (
        "GET",
        "/metrics",
        "metrics; Prometheus text with Accept: text/plain",
    ),
    ("GET", "/logging", "the log's filter"),
    ("POST", "/logging", "change it; form field filter"),
];

/// 302 to the page, whatever the prefix under which the API was reached.
pub(super) fn help(call: &Call) -> Outcome {
    require_read(call)?;
    // Relative to the path as the caller sees it, which is longer by the prefix.
    let up = if call.path.ends_with('/') { "../" } else { "" };
    redirect(&format!("{up}{}", PAGE.join("/")))
}

/// 302.
pub(crate) fn redirect(location: &str) -> Outcome {
    let location = HeaderValue::from_str(location)
        .map_err(|_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "no location"))?;
    let mut response = empty(StatusCode::FOUND);
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The page.
pub(super) fn page(call: &Call) -> Outcome {
    require_read(call)?;
    let mut rows = String::new();
    for (method, path, meaning) in ROUTES {
        writeln!(
            rows,
            "<tr><td>{method}</td><td><code>{path}</code></td><td>{meaning}</td></tr>"
        )
        .expect("a string takes everything");
    }
    Ok(html(&format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Marathon API</title>\n\
         <style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem}}\
         td{{padding:0 1.5rem 0 0;vertical-align:top}}</style>\n\
         <h1>Marathon API</h1>\n<table>\n{rows}</table>\n</html>\n"
    )))
}

/// A page of ours, which runs no script and sends forms only to where it comes from.
pub(super) fn html(page: &str) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                          form-action 'self'; frame-ancestors 'none'";
    crate::http::html(page.to_owned(), POLICY)
}

pub(super) fn require_read(call: &Call) -> Result<(), ApiError> {
    if call.is_read() {
        Ok(())
    } else {
        Err(ApiError::wrong_method())
    }
}

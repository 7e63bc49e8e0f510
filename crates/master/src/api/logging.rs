//! `/logging`: the log's filter, shown in a form and changed by it (contract marathon §2.7).
//!
//! Marathon's form has a level for each of its loggers; ours has the one filter that `--log` takes.

use http::{Method, StatusCode};
use zddcluster_model::app::Fault;

use super::Outcome;
use super::help::html;
use crate::error::ApiError;
use crate::http::{Call, Query};
use crate::shared::Shared;

pub(super) fn route(shared: &Shared, call: &Call) -> Outcome {
    let unavailable = || {
        let message = "the log of this process cannot be changed while it runs; \
                       hint: start it with --log FILTER";
        ApiError::new(StatusCode::NOT_IMPLEMENTED, message)
    };
    match call.method {
        Method::GET | Method::HEAD => {
            let log = shared.log.as_ref().ok_or_else(unavailable)?;
            Ok(html(&page(&log.current(), "")))
        }
        Method::POST => {
            let log = shared.log.as_ref().ok_or_else(unavailable)?;
            let body = String::from_utf8_lossy(&call.body);
            let form = Query::parse(&body);
            let text = form.first("filter").unwrap_or_default().trim();
            let refused = |error: String| {
                ApiError::rules(vec![Fault {
                    path: "/filter".to_owned(),
                    errors: vec![error],
                }])
            };
            if text.is_empty() {
                return Err(refused("must not be empty; hint: filter=info".to_owned()));
            }
            log.change(text).map_err(refused)?;
            tracing::info!(
                filter = text,
                client_ip = call.client_ip,
                "the log's filter was changed"
            );
            Ok(html(&page(&log.current(), "It is in use from now on.")))
        }
        _ => Err(ApiError::wrong_method()),
    }
}

fn page(current: &str, note: &str) -> String {
    let current = escaped(current);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Logging</title>\n\
         <style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem}}\
         input{{font:inherit;width:30rem}}</style>\n\
         <h1>Logging</h1>\n<p>{note}</p>\n\
         <form method=\"post\"><label>Filter <input name=\"filter\" value=\"{current}\"></label>\n\
         <button>Change</button></form>\n\
         <p>A level (trace, debug, info, warn, error), off, or a list such as \
         <code>warn,zddcluster_master=debug</code>. It holds until the process ends.</p>\n</html>\n"
    )
}

/// Text inside HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

//! `/v2/eventSubscriptions`: URLs that get each event by POST (contract marathon §2.7, §5.2, Z14: always on).

use http::{Method, StatusCode};
use serde_json::json;
use url::Url;
use zddcluster_model::app::Fault;

use super::Outcome;
use crate::callbacks::MOST;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::shared::Shared;

pub(super) async fn route(shared: &Shared, call: &Call) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => Ok(ok(&json!({ "callbackUrls": shared.callbacks.urls() }))),
        Method::POST => {
            let url = wanted(call)?;
            let urls = shared.callbacks.urls();
            if urls.len() >= MOST && !urls.contains(&url) {
                let message = format!("there are {MOST} callbacks already; hint: DELETE one first");
                return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message));
            }
            let event = shared.subscribe(url, true, call.client_ip.clone()).await?;
            Ok(ok(&event))
        }
        Method::DELETE => {
            let event = shared
                .subscribe(wanted(call)?, false, call.client_ip.clone())
                .await?;
            Ok(ok(&event))
        }
        _ => Err(ApiError::wrong_method()),
    }
}

/// The URL of the query as it was given, if it can be called.
fn wanted(call: &Call) -> Result<String, ApiError> {
    let text = call.query.first("callbackUrl").unwrap_or_default();
    let complaint = match Url::parse(text) {
        _ if text.is_empty() => "must not be empty; hint: ?callbackUrl=http://host:port/path",
        Err(_) => "URI has invalid syntax.",
        Ok(url) if url.scheme() != "http" => "only http:// URLs are called",
        Ok(url) if url.host().is_none() => "URI has invalid syntax.",
        Ok(_) if text.parse::<http::Uri>().is_err() => "URI has invalid syntax.",
        Ok(_) => return Ok(text.to_owned()),
    };
    Err(ApiError::rules(vec![Fault {
        path: "/callbackUrl".to_owned(),
        errors: vec![complaint.to_owned()],
    }]))
}

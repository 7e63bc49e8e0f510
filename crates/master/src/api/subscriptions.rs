//! `/v2/eventSubscriptions`: URLs that get each event by POST (contract marathon §2.7, §5.2, Z14: always on).

use http::Method;
use serde_json::json;
use url::Url;
use zddcluster_model::app::Fault;

use super::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::shared::Shared;

pub(super) async fn route(shared: &Shared, call: &Call) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => Ok(ok(&json!({ "callbackUrls": shared.callbacks.urls() }))),
        Method::POST => {
            let event = shared
                .subscribe(wanted(call)?, true, call.client_ip.clone())
                .await?;
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

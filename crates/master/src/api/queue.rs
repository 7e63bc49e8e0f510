//! `/v2/queue`: apps with waiting instances, and resetting their back-off (contract marathon §2.6).

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_engine::Command;

use super::Outcome;
use super::apps::path;
use crate::error::ApiError;
use crate::http::{Call, empty, ok};
use crate::render::queue_json;
use crate::shared::Shared;

pub(super) async fn route(shared: &Shared, call: &Call, rest: &[&str]) -> Outcome {
    match (&call.method, rest) {
        (&Method::GET | &Method::HEAD, []) => {
            let with_offers = call
                .query
                .all("embed")
                .any(|embed| embed == "lastUnusedOffers");
            let now = shared.clock.now();
            let state = shared.state();
            let items: Vec<Value> = state
                .queue
                .values()
                .filter(|entry| entry.count > 0)
                .map(|entry| queue_json(&state, entry, now, with_offers))
                .collect();
            Ok(ok(&json!({ "queue": items })))
        }
        (&Method::DELETE, [app @ .., "delay"]) if !app.is_empty() => {
            shared
                .submit(Command::ResetDelay { app_id: path(app) })
                .await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (_, [] | [_, .., "delay"]) => Err(ApiError::wrong_method()),
        _ => Err(ApiError::unknown_route(&call.path)),
    }
}

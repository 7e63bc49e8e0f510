//! `/v2/leader`: who leads, and electing anew (contract marathon §2.7, Z15).
//!
//! There is one master, which leads until it goes down.

use http::{Method, StatusCode};
use serde_json::json;
use zddcluster_engine::{Answer, Command};

use super::{Outcome, unexpected};
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::shared::Shared;

pub(super) async fn route(shared: &Shared, call: &Call) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD if shared.state().is_stopping() => {
            Err(ApiError::new(StatusCode::NOT_FOUND, "There is no leader"))
        }
        Method::GET | Method::HEAD => {
            Ok(ok(&json!({ "leader": shared.identity.front.to_string() })))
        }
        Method::DELETE => {
            // The one writer ends the streams, if it is decided.
            match shared.submit(Command::Abdicate).await? {
                Answer::Done => Ok(ok(&json!({ "message": "Leadership abdicated" }))),
                Answer::Deployment { .. }
                | Answer::Steps(_)
                | Answer::Killed(_)
                | Answer::Registered(_) => Err(unexpected()),
            }
        }
        _ => Err(ApiError::wrong_method()),
    }
}

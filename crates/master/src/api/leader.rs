//! `/v2/leader`: who leads, and electing anew (contract marathon §2.7, Z15).

use http::Method;
use serde_json::json;
use zddcluster_engine::{Answer, Command};

use super::{Outcome, unexpected};
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::shared::Shared;

pub(super) async fn route(shared: &Shared, call: &Call) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => {
            Ok(ok(&json!({ "leader": shared.identity.front.to_string() })))
        }
        Method::DELETE => {
            // Streams end first: what the new leader does is for those who come back.
            shared.bus.abdicate(&shared.identity.mesos.ip().to_string());
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

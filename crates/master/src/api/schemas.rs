//! `/v2/schemas/app`: the JSON schema of an app, for editors and clients (contract marathon §2.7).

use http::StatusCode;
use zddcluster_model::app::SCHEMA;

use super::Outcome;
use crate::error::ApiError;
use crate::http::{Call, with_type};

pub(super) fn app(call: &Call) -> Outcome {
    if call.is_read() {
        Ok(with_type(StatusCode::OK, "application/json", SCHEMA))
    } else {
        Err(ApiError::wrong_method())
    }
}

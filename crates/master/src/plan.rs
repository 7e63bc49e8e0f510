//! `POST /zdd/v1/plan`: what an update would do, and `GET /zdd/v1/cluster`: everything that needs to be known to work that out
//! elsewhere.
//!
//! A prediction runs on a clone of the published state, in a thread that may block; the one writer does not notice. One at a
//! time, and none for long: a laptop has other things to do.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use zddcluster_engine::predict::{Cluster, Limits, Request, Timeline, predict as predict_course};

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::shared::Shared;

/// Things that happen in the virtual world at most: enough for hundreds of tasks.
const MOST_STEPS: u64 = 500_000;

/// How long a prediction is worked on; clients wait ten seconds for an answer.
const LONGEST_WORK: Duration = Duration::from_secs(5);

/// How long a prediction waits for the one before it.
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Only one prediction is worked on, for each takes a whole core.
static AT_WORK: Semaphore = Semaphore::const_new(1);

/// `POST /zdd/v1/plan`. Changes nothing.
pub(crate) async fn predict(shared: &Arc<Shared>, call: &Call) -> Outcome {
    if call.method != Method::POST {
        return Err(ApiError::wrong_method());
    }
    call.require_json()?;
    let request = Request::read(&call.body)?;
    // Not before there is a place: what waits must not predict from a state that has passed.
    let place = timeout(LONGEST_WAIT, AT_WORK.acquire()).await;
    let Ok(Ok(place)) = place else {
        let message = "other plans are being worked out; try again in a moment";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let shared = Arc::clone(shared);
    let work = move || {
        // Held until the work ends: a caller that hangs up drops the future, but not the thread.
        let _place = place;
        let deadline = Instant::now() + LONGEST_WORK;
        let limits = Limits {
            steps: MOST_STEPS,
            is_over: &|| Instant::now() >= deadline,
        };
        let Request {
            command,
            assumptions,
        } = request;
        let (config, state) = (&shared.engine_config, shared.state());
        let now = shared.clock.now();
        predict_course(config, &state, now, command, &assumptions, &limits)
            .map(|prediction| prediction.timeline)
    };
    let worked = tokio::task::spawn_blocking(work).await;
    let timeline: Timeline = worked.map_err(|_| {
        let message = "the prediction failed inside; the log of the master says where";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })??;
    Ok(ok(&timeline))
}

/// `GET /zdd/v1/cluster`: read back by `zddcluster plan --cluster FILE`.
pub(crate) fn cluster(shared: &Shared, call: &Call) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let state = shared.state();
    Ok(ok(&Cluster::of(
        &shared.engine_config,
        &state,
        shared.clock.now(),
    )))
}

//! `GET /v2/events`: the event stream (contract marathon §5.1).
//!
//! CRLF line ends, `event:` and `data:` lines only, a lone CRLF every 10 s counted from the connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Outcome;
use crate::error::ApiError;
use crate::events::Wanted;
use crate::http::{Call, with_type};
use crate::shared::Shared;

/// Marathon's heartbeat; clients drop a connection without bytes for their low-speed window (trap 37).
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A stream that is attached to the bus until dropped.
struct Attached {
    shared: Arc<Shared>,
    id: u64,
    receiver: mpsc::Receiver<Bytes>,
    heartbeat: Interval,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.bus.detach(self.id);
    }
}

pub(super) fn stream(shared: &Arc<Shared>, call: &Call) -> Outcome {
    if !call.is_read()
        || !call
            .header(header::ACCEPT.as_str())
            .contains("text/event-stream")
    {
        return Err(ApiError::wrong_method());
    }
    let wanted = Wanted {
        event_types: call.query.all("event_type").map(str::to_owned).collect(),
        is_light: call.query.first("plan-format") == Some("light"),
        remote_address: call.client_ip.clone(),
    };
    Ok(open(shared, wanted))
}

fn open(shared: &Arc<Shared>, wanted: Wanted) -> Response {
    let (id, receiver) = shared.bus.attach(wanted);
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let attached = Attached {
        shared: Arc::clone(shared),
        id,
        receiver,
        heartbeat,
    };
    let frames = stream::unfold(attached, |mut attached| async move {
        let token = attached.shared.token().clone();
        let frame = tokio::select! {
            biased;
            // Cancel-safe: only waits for a state.
            () = token.cancelled() => None,
            // Cancel-safe: `recv` keeps the frame when dropped.
            frame = attached.receiver.recv() => frame,
            // Cancel-safe: a tick is kept.
            _ = attached.heartbeat.tick() => Some(Bytes::from_static(b"\r\n")),
        }?;
        Some((Ok::<_, std::convert::Infallible>(frame), attached))
    });
    let mut response = with_type(
        StatusCode::OK,
        "text/event-stream;charset=UTF-8",
        Body::from_stream(frames),
    );
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

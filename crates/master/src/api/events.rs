//! `GET /v2/events`: the event stream (contract marathon §5.1).
//!
//! CRLF line ends, `event:` and `data:` lines, a lone CRLF every 10 s counted from the connection.
//!
//! Beyond the original, and only for who asks by `?ids=true` or a `Last-Event-ID` header: `id:` lines, and what was missed
//! since that id. If that is not known any more, the first event is `zdd_events_lost`, whatever types are asked for:
//! `{"lastEventId": as sent, "reason": text, "eventType", "timestamp"}`. Its reader has to look at the whole state anew.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use zddcluster_runtime::Hangup;

use super::Outcome;
use crate::error::ApiError;
use crate::events::{Begin, Feed, Form, Wanted};
use crate::http::{Call, with_type};
use crate::shared::Shared;

/// Marathon's heartbeat; clients drop a connection without bytes for their low-speed window (trap 37).
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a browser's `EventSource` sends when it connects again.
const LAST_EVENT_ID: &str = "last-event-id";

/// A stream that is attached to the bus until dropped.
struct Attached {
    shared: Arc<Shared>,
    feed: Feed,
    heartbeat: Interval,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.bus.detach(self.feed.id);
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
    let ids = if call.headers.contains_key(LAST_EVENT_ID) {
        Some(Begin::After(call.header(LAST_EVENT_ID).to_owned()))
    } else {
        (call.query.flag("ids") == Some(true)).then_some(Begin::Now)
    };
    let form = if call.query.first("plan-format") == Some("light") {
        Form::Light
    } else {
        Form::Full
    };
    let wanted = Wanted {
        event_types: call.query.all("event_type").map(str::to_owned).collect(),
        form,
        ids,
        remote_address: call.client_ip.clone(),
    };
    open(shared, wanted, call.hangup.clone())
}

fn open(shared: &Arc<Shared>, wanted: Wanted, hangup: Option<Hangup>) -> Outcome {
    let feed = shared.bus.attach(wanted, hangup).map_err(|refusal| {
        let message = format!("{refusal}. hint: raise the limit of open files (ulimit -n)");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let attached = Attached {
        shared: Arc::clone(shared),
        feed,
        heartbeat,
    };
    let frames = stream::unfold(attached, |mut attached| async move {
        let token = attached.shared.token().clone();
        let frame = tokio::select! {
            biased;
            // Cancel-safe: only waits for a state.
            () = token.cancelled() => None,
            // Cancel-safe: the feed keeps the event when dropped.
            frame = attached.feed.next() => frame,
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
    Ok(response)
}

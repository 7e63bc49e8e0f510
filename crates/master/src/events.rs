//! The event bus: each event is rendered once, only if somebody listens, and goes to every listener in the order of publishing.
//!
//! A listener has a bounded queue; one that does not keep up is cut off, never waited for. Source: contract marathon §5.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::mpsc;
use zddcluster_model::deployment::Plan;
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::{AppId, Group};

use crate::clock::Clock;

/// Events that may wait for one listener. Marathon has 50 and drops; ours is larger and ends the stream, so that nobody
/// believes to have seen everything.
const QUEUE: usize = 4096;

/// Which events a stream wants and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only these types; empty means all.
    pub(crate) event_types: Vec<String>,
    /// Without the plans' trees (`plan-format=light`).
    pub(crate) is_light: bool,
    /// The listener's address, for attached and detached events.
    pub(crate) remote_address: String,
}

/// All listeners.
#[derive(Debug)]
pub(crate) struct Bus {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last_id: u64,
    streams: Vec<(u64, Wanted, mpsc::Sender<Bytes>)>,
    observers: Vec<mpsc::Sender<Event>>,
}

/// One rendered event, in the forms that somebody wants.
struct Frame {
    name: &'static str,
    full: Option<Bytes>,
    /// Without the plan's trees; only for events with a plan.
    light: Option<Bytes>,
}

impl Bus {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves only whole entries behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a stream. Its first frame is its own `event_stream_attached`, if it wants that.
    pub(crate) fn attach(&self, wanted: Wanted) -> (u64, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut inner = self.lock();
        inner.last_id += 1;
        let id = inner.last_id;
        let frame = self.stream_frame("event_stream_attached", &wanted.remote_address);
        inner.streams.push((id, wanted, sender));
        inner.deliver(&frame);
        (id, receiver)
    }

    /// Removes a stream and tells the others.
    pub(crate) fn detach(&self, id: u64) {
        let mut inner = self.lock();
        let Some(at) = inner.streams.iter().position(|(other, _, _)| *other == id) else {
            return;
        };
        let (_, wanted, _) = inner.streams.remove(at);
        let frame = self.stream_frame("event_stream_detached", &wanted.remote_address);
        inner.deliver(&frame);
    }

    /// Adds a listener inside the house, which gets events as they are. It ends when the queue overflows.
    ///
    /// Attach first and look at the snapshot then: an event published in between is in both, none is missed.
    pub(crate) fn observe(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.lock().observers.push(sender);
        receiver
    }

    /// Sends events to everybody who wants them.
    pub(crate) fn publish(&self, events: impl IntoIterator<Item = Event>) {
        let mut inner = self.lock();
        for event in events {
            if let Some(frame) = inner.render(&event) {
                inner.deliver(&frame);
            }
            if !inner.observers.is_empty() {
                inner
                    .observers
                    .retain(|observer| observer.try_send(event.clone()).is_ok());
            }
        }
    }

    /// Ends all streams (leadership abdicated).
    pub(crate) fn close_all(&self) {
        self.lock().streams.clear();
    }

    fn stream_frame(&self, name: &'static str, remote_address: &str) -> Frame {
        let timestamp = self.clock.now();
        let body =
            json!({ "remoteAddress": remote_address, "eventType": name, "timestamp": timestamp });
        Frame {
            name,
            full: Some(frame(name, &body.to_string())),
            light: None,
        }
    }
}

impl Wanted {
    fn is_for(&self, name: &str) -> bool {
        self.event_types.is_empty() || self.event_types.iter().any(|wanted| wanted == name)
    }
}

impl Inner {
    /// The event in the forms that its readers want; `None` if it has none.
    fn render(&self, event: &Event) -> Option<Frame> {
        if self.streams.is_empty() {
            return None;
        }
        let name = event.name();
        let light = if self.streams.iter().any(|(_, wanted, _)| wanted.is_light) {
            without_trees(event)
        } else {
            None
        };
        let (mut is_full_wanted, mut is_light_wanted) = (false, false);
        for (_, wanted, _) in &self.streams {
            if wanted.is_for(name) {
                if wanted.is_light && light.is_some() {
                    is_light_wanted = true;
                } else {
                    is_full_wanted = true;
                }
            }
        }
        let full = is_full_wanted.then(|| {
            let json = serde_json::to_string(event).expect("events have string keys only");
            frame(name, &json)
        });
        let light = light
            .filter(|_| is_light_wanted)
            .map(|light| frame(name, &light));
        (is_full_wanted || is_light_wanted).then_some(Frame { name, full, light })
    }

    fn deliver(&mut self, frame: &Frame) {
        self.streams.retain(|(_, wanted, sender)| {
            if !wanted.is_for(frame.name) {
                return true;
            }
            let light = frame.light.as_ref().filter(|_| wanted.is_light);
            let Some(bytes) = light.or(frame.full.as_ref()) else {
                return true;
            };
            let is_kept = sender.try_send(bytes.clone()).is_ok();
            if !is_kept {
                let remote_address = &wanted.remote_address;
                tracing::warn!(%remote_address, "event stream ended: its reader is gone or too slow");
            }
            is_kept
        });
    }
}

/// One event on the wire: CRLF line ends, one data line.
fn frame(name: &str, json: &str) -> Bytes {
    format!("event: {name}\r\ndata: {json}\r\n\r\n").into()
}

/// The JSON of an event that carries a plan, without the plan's trees (Z21); the trees are not even looked at.
fn without_trees(event: &Event) -> Option<String> {
    let lighter = |plan: &Arc<Plan>| {
        let none = Arc::new(Group::empty(AppId::root(), plan.version));
        let (original, target) = (Arc::clone(&none), none);
        Arc::new(Plan {
            id: plan.id.clone(),
            original,
            target,
            steps: plan.steps.clone(),
            version: plan.version,
        })
    };
    let mut event = Event {
        timestamp: event.timestamp,
        kind: event.kind.clone(),
    };
    match &mut event.kind {
        EventKind::DeploymentInfo { plan, .. }
        | EventKind::DeploymentStepSuccess { plan, .. }
        | EventKind::DeploymentStepFailure { plan, .. }
        | EventKind::DeploymentSuccess { plan, .. }
        | EventKind::DeploymentFailed { plan, .. } => *plan = lighter(plan),
        EventKind::ApiPost { .. }
        | EventKind::StatusUpdate { .. }
        | EventKind::AddHealthCheck { .. }
        | EventKind::RemoveHealthCheck { .. }
        | EventKind::FailedHealthCheck { .. }
        | EventKind::HealthStatusChanged { .. }
        | EventKind::UnhealthyTaskKill { .. }
        | EventKind::GroupChangeSuccess { .. }
        | EventKind::GroupChangeFailed { .. }
        | EventKind::AppTerminated { .. } => return None,
    }
    let mut value = serde_json::to_value(&event).expect("events have string keys only");
    let plan = value.get_mut("plan")?.as_object_mut()?;
    plan.shift_remove("original");
    plan.shift_remove("target");
    Some(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let kind = EventKind::AppTerminated {
            app_id: AppId::absolute("/a"),
        };
        Event {
            timestamp: "2016-10-13T13:31:39.085Z".parse().unwrap(),
            kind,
        }
    }

    fn bus() -> Bus {
        Bus::new(Clock::start(0))
    }

    #[test]
    fn an_event_is_two_lines_with_crlf() {
        let bus = bus();
        let wanted = Wanted {
            event_types: vec!["app_terminated_event".to_owned()],
            ..Wanted::default()
        };
        let (_, mut receiver) = bus.attach(wanted);
        bus.publish([event()]);
        let expected = "event: app_terminated_event\r\n\
            data: {\"appId\":\"/a\",\"eventType\":\"app_terminated_event\",\
            \"timestamp\":\"2016-10-13T13:31:39.085Z\"}\r\n\r\n";
        assert_eq!(receiver.try_recv().unwrap(), expected);
    }

    #[test]
    fn a_slow_reader_is_cut_off_and_others_go_on() {
        let bus = bus();
        let (_, mut slow) = bus.attach(Wanted::default());
        let mut n_slow = 0;
        while slow.try_recv().is_ok() {}
        for _ in 0..=QUEUE {
            bus.publish([event()]);
        }
        let (_, mut fresh) = bus.attach(Wanted::default());
        while slow.try_recv().is_ok() {
            n_slow += 1;
        }
        assert_eq!((n_slow, slow.is_closed()), (QUEUE, true));
        bus.publish([event()]);
        assert!(fresh.try_recv().is_ok() && fresh.try_recv().is_ok());
        assert!(!fresh.is_closed());
    }
}

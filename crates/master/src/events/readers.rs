//! The readers of the bus, and handing an event to each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc;
use zddcluster_model::Timestamp;
use zddcluster_model::event::Event;
use zddcluster_runtime::Hangup;

use super::feed::Sender;
use super::frame::Frame;
use super::ring::Ring;
use super::{Form, Wanted};

/// All readers, and what they are told.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) last_stream: u64,
    /// Id of the last event.
    pub(super) last_id: u64,
    /// Time of the last event; later ones are not earlier.
    pub(super) last_time: Timestamp,
    pub(super) streams: Streams,
    pub(super) observers: Vec<mpsc::Sender<Event>>,
    pub(super) full: Option<Ring>,
    pub(super) light: Option<Ring>,
    pub(super) published: u64,
    pub(super) rendered: u64,
    pub(super) cut_off: u64,
}

/// All streams, those together that want the same: an event that nobody of many wants costs one look, not one a stream. For
/// ten thousand that come one after the other, each told to the rest, that is the difference between seconds and nothing.
#[derive(Debug, Default)]
pub(super) struct Streams {
    taste: BTreeMap<u64, Arc<Taste>>,
    by_taste: BTreeMap<Arc<Taste>, BTreeMap<u64, Stream>>,
}

/// What streams may have in common.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Taste {
    /// Only these types; empty means all.
    event_types: BTreeSet<String>,
    pub(super) form: Form,
    pub(super) with_ids: bool,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) remote_address: String,
    pub(super) sender: Sender,
    pub(super) hangup: Option<Hangup>,
}

impl Taste {
    pub(super) fn of(wanted: &Wanted) -> Self {
        Self {
            event_types: wanted.event_types.iter().cloned().collect(),
            form: wanted.form,
            with_ids: wanted.ids.is_some(),
        }
    }

    pub(super) fn is_for(&self, name: &str) -> bool {
        self.event_types.is_empty() || self.event_types.contains(name)
    }
}

impl Streams {
    pub(super) fn len(&self) -> usize {
        self.taste.len()
    }

    pub(super) fn insert(&mut self, id: u64, taste: Taste, stream: Stream) {
        let taste = Arc::new(taste);
        let known = self.by_taste.get_key_value(&taste);
        let taste = known.map_or(taste, |(known, _)| Arc::clone(known));
        self.taste.insert(id, Arc::clone(&taste));
        self.by_taste.entry(taste).or_default().insert(id, stream);
    }

    fn remove(&mut self, id: u64) -> Option<(Arc<Taste>, Stream)> {
        let taste = self.taste.remove(&id)?;
        let alike = self.by_taste.get_mut(&taste)?;
        let stream = alike.remove(&id)?;
        if alike.is_empty() {
            self.by_taste.remove(&taste);
        }
        Some((taste, stream))
    }
}

impl Inner {
    pub(super) const fn ring(&mut self, form: Form) -> &mut Option<Ring> {
        match form {
            Form::Full => &mut self.full,
            Form::Light => &mut self.light,
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Stream> {
        let (taste, stream) = self.streams.remove(id)?;
        if taste.with_ids
            && let Some(ring) = self.ring(taste.form)
        {
            ring.leave();
        }
        Some(stream)
    }

    /// Ends all streams, when they have read what came before.
    pub(super) fn close(&mut self) {
        let ids: Vec<u64> = self.streams.taste.keys().copied().collect();
        for id in ids {
            self.remove(id);
        }
    }

    /// Hands an event to everybody who wants it; the addresses of streams that were cut off come back.
    pub(super) fn distribute(&mut self, mut event: Event, except: Option<u64>) -> Vec<String> {
        self.last_time = self.last_time.max(event.timestamp);
        event.timestamp = self.last_time;
        self.last_id += 1;
        self.published += 1;
        let frame = Frame::new(self.last_id, &event);
        for form in [Form::Full, Form::Light] {
            let ring = self.ring(form);
            if ring.as_ref().is_some_and(Ring::is_forsaken) {
                *ring = None;
            }
            if let Some(ring) = ring {
                ring.push(&frame, frame.text(form));
            }
        }
        let mut too_slow = Vec::new();
        for (taste, alike) in &self.streams.by_taste {
            let Some(bytes) = frame.bytes_for(taste) else {
                continue;
            };
            for (id, stream) in alike {
                if except != Some(*id) && !stream.sender.send(bytes.clone()) {
                    too_slow.push(*id);
                }
            }
        }
        self.rendered += frame.n_rendered();
        let cut_off: Vec<String> = too_slow.into_iter().filter_map(|id| self.cut(id)).collect();
        self.observers
            .retain(|observer| observer.try_send(event.clone()).is_ok());
        cut_off
    }

    /// Ends a stream whose reader does not keep up; its address comes back.
    pub(super) fn cut(&mut self, id: u64) -> Option<String> {
        let Stream {
            remote_address,
            hangup,
            ..
        } = self.remove(id)?;
        if let Some(hangup) = hangup {
            hangup.hang_up();
        }
        self.cut_off += 1;
        tracing::warn!(%remote_address, "event stream ended: its reader is gone or too slow");
        Some(remote_address)
    }

    /// Events were lost before they reached anybody: nobody must believe to have seen everything.
    pub(super) fn lose(&mut self) {
        let n_streams = self.streams.len();
        tracing::warn!(n_streams, "the event bus is overrun; all event streams end");
        let ids: Vec<u64> = self.streams.taste.keys().copied().collect();
        for id in ids {
            self.cut(id);
        }
        self.observers.clear();
        // Who knows the last id has missed something, too.
        self.last_id += 1;
        self.full = None;
        self.light = None;
    }

    /// What a reader missed that knows the events up to `last`; if that is not known, why.
    pub(super) fn missed(
        &mut self,
        last: &str,
        taste: &Taste,
    ) -> (Option<&'static str>, VecDeque<bytes::Bytes>) {
        let newest = self.last_id;
        let why = match (last.trim().parse::<u64>(), self.ring(taste.form)) {
            (Err(_), _) => "the id is not a number",
            (Ok(last), _) if last > newest => "no such event has been published",
            (Ok(last), Some(ring)) if last >= ring.after() => {
                return (None, ring.since(last, taste));
            }
            (Ok(last), None) if last == newest => return (None, VecDeque::new()),
            (Ok(_), _) => "the events after it are not kept any more",
        };
        (Some(why), VecDeque::new())
    }
}

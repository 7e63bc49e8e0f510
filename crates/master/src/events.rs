//! The event bus: each event is rendered once, only if somebody reads, and goes to every reader in the order of publishing.
//!
//! ```text
//!   writer, streams ──publish()──▶ inbox ──▶ run(): the next id ──▶ rings  (the last events, for who comes back)
//!                                                              ├──▶ feeds  (a bounded queue a stream)
//!                                                              └──▶ observers inside the house
//! ```
//!
//! Nobody is waited for. The one writer only puts events into the inbox; a stream that does not keep up is cut off; should
//! the bus itself not keep up, all are. Who is cut off reads anew, or goes on where it was if it asked for ids.
//!
//! # Ids
//! Events have ids, which only those see who ask for them (`?ids=true`, or a `Last-Event-ID` header): some clients take a
//! stream apart line by line and know of no `id:` lines. Ids grow by one with each event, and also over restarts of the
//! master, without being stored: a life begins with the number of milliseconds since 2016, times 4096. For a later life to
//! begin below an earlier one, more than 4096 events would have to be published in each millisecond of the earlier one, or
//! the clock to be set back, against which the engine's stored clock stands.
//!
//! Source: contract marathon §5.

mod feed;
mod frame;
mod readers;
mod ring;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zddcluster_model::Timestamp;
use zddcluster_model::event::{Event, EventKind};
use zddcluster_runtime::Hangup;

use self::feed::feed;
use self::frame::{Frame, Text};
use self::readers::{Inner, Stream, Streams, Taste};
use self::ring::Ring;
use crate::clock::Clock;

pub(crate) use self::feed::Feed;

/// Events that may wait for the bus: what thousands of tasks do in a burst. They are not rendered yet, and share apps and
/// plans with the state.
const INBOX: usize = 65_536;
/// Events that may wait for one observer inside the house.
const OBSERVER: usize = 4096;
/// Most streams, if the process may open so many files: each costs some ten kilobytes.
const MAX_STREAMS: usize = 16_384;
/// File descriptors kept free of streams, for callers, agents and the store.
const FILES_KEPT: usize = 512;
/// 2016-01-01, the year of the Marathon we stand in for: keeps ids below 2^53, what JavaScript holds exactly, until 2050.
const ID_EPOCH: Timestamp = Timestamp::from_millis(1_451_606_400_000);
/// Ids in a millisecond.
const IDS_A_MILLI: u64 = 4096;
/// The event of ours that says that events are missing; only for streams with ids.
const LOST: &str = "zdd_events_lost";

/// With the trees of plans, or without (`plan-format=light`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    #[default]
    Full,
    Light,
}

/// Where a stream with ids begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With what happens from now on.
    Now,
    /// After this `Last-Event-ID`, as the client sent it.
    After(String),
}

/// Which events a stream wants and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Only these types; empty means all.
    pub(crate) event_types: Vec<String>,
    pub(crate) form: Form,
    /// With `id:` lines.
    pub(crate) ids: Option<Begin>,
    /// The reader's address, for attached and detached events.
    pub(crate) remote_address: String,
}

/// There are as many streams as there may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} event streams are open, no more are possible")]
pub(crate) struct TooManyStreams(usize);

/// What the bus has done and holds, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EventCounts {
    /// Open streams.
    pub(crate) streams: usize,
    /// Events that were published since the start.
    pub(crate) published: u64,
    /// Renderings made for them: none for an event that nobody reads, two for a plan that is read with and without trees.
    pub(crate) rendered: u64,
    /// Streams that were cut off for being too slow, since the start.
    pub(crate) cut_off: u64,
    /// Events kept for readers that come back, in both forms.
    pub(crate) kept: usize,
    /// Their bytes.
    pub(crate) kept_bytes: usize,
}

/// The bus.
#[derive(Debug)]
pub(crate) struct Bus {
    clock: Clock,
    inbox: mpsc::Sender<Notice>,
    /// Taken by [`Bus::run`].
    notices: Mutex<Option<mpsc::Receiver<Notice>>>,
    /// The inbox was full: something is lost for everybody.
    has_lost: AtomicBool,
    max_streams: usize,
    inner: Mutex<Inner>,
}

/// What the bus is told.
#[derive(Debug)]
enum Notice {
    /// Something happened; the stream `except` knows it already.
    Event { event: Event, except: Option<u64> },
    /// All streams end, when they have read what came before.
    Close,
}

impl Bus {
    pub(crate) fn new(clock: Clock) -> Self {
        let (inbox, notices) = mpsc::channel(INBOX);
        let now = clock.now();
        let millis = now.millis_since(ID_EPOCH).max(0).unsigned_abs();
        Self {
            clock,
            inbox,
            notices: Mutex::new(Some(notices)),
            has_lost: AtomicBool::new(false),
            max_streams: max_streams(),
            inner: Mutex::new(Inner {
                last_stream: 0,
                last_id: millis * IDS_A_MILLI,
                last_time: now,
                streams: Streams::default(),
                observers: Vec::new(),
                full: None,
                light: None,
                published: 0,
                rendered: 0,
                cut_off: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves only whole entries behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Distributes what is published until the token is cancelled.
    pub(crate) async fn run(&self, token: CancellationToken) {
        let Some(mut notices) = self.notices() else {
            return;
        };
        loop {
            let notice = tokio::select! {
                biased;
                // Cancel-safe: only waits for a state.
                () = token.cancelled() => return,
                // Cancel-safe: a notice stays in the inbox.
                notice = notices.recv() => notice,
            };
            let Some(notice) = notice else { return };
            self.take(notice);
            // Ten thousand streams keep a thread busy for milliseconds; others want it, too.
            tokio::task::yield_now().await;
        }
    }

    /// The inbox' other end, once.
    fn notices(&self) -> Option<mpsc::Receiver<Notice>> {
        let notices = self.notices.lock();
        notices.unwrap_or_else(PoisonError::into_inner).take()
    }

    fn take(&self, notice: Notice) {
        let mut inner = self.lock();
        if self.has_lost.swap(false, Ordering::Relaxed) {
            inner.lose();
        }
        match notice {
            Notice::Event { event, except } => {
                for remote_address in inner.distribute(event, except) {
                    self.notify(EventKind::EventStreamDetached { remote_address }, None);
                }
            }
            Notice::Close => inner.close(),
        }
    }

    /// Adds a stream. It begins with its own `event_stream_attached`, if it wants that; one with ids goes on with what it
    /// missed. If that is not known any more, it begins with [`LOST`], whatever types it wants.
    ///
    /// `hangup` closes its connection when it is cut off.
    pub(crate) fn attach(
        &self,
        wanted: Wanted,
        hangup: Option<Hangup>,
    ) -> Result<Feed, TooManyStreams> {
        let mut inner = self.lock();
        if inner.streams.len() >= self.max_streams {
            return Err(TooManyStreams(inner.streams.len()));
        }
        inner.last_time = inner.last_time.max(self.clock.now());
        let timestamp = inner.last_time;
        let taste = Taste::of(&wanted);
        let (lost, missed) = match &wanted.ids {
            None | Some(Begin::Now) => (None, VecDeque::new()),
            Some(Begin::After(last)) => inner.missed(last, &taste),
        };
        // The id after which this stream goes on, so that its reader knows one from the first event on.
        let id = match &wanted.ids {
            Some(Begin::After(last)) if lost.is_none() => last.trim().parse().unwrap_or_default(),
            _ => inner.last_id,
        };
        let mut first = VecDeque::new();
        if let Some(why) = lost
            && let Some(Begin::After(last)) = &wanted.ids
        {
            let json = json!({
                "lastEventId": last,
                "reason": why,
                "eventType": LOST,
                "timestamp": timestamp,
            });
            first.push_back(Text::new(id, LOST, &json.to_string()).bytes(true));
        }
        let remote_address = wanted.remote_address;
        let attached = Event {
            timestamp,
            kind: EventKind::EventStreamAttached {
                remote_address: remote_address.clone(),
            },
        };
        first.extend(Frame::new(id, &attached).bytes_for(&taste));
        first.extend(missed);
        if taste.with_ids {
            let last_id = inner.last_id;
            inner
                .ring(taste.form)
                .get_or_insert_with(|| Ring::new(last_id))
                .enter();
        }
        inner.last_stream += 1;
        let id = inner.last_stream;
        let (sender, feed) = feed(id, first);
        let stream = Stream {
            remote_address,
            sender,
            hangup,
        };
        inner.streams.insert(id, taste, stream);
        drop(inner);
        self.notify(attached.kind, Some(id));
        Ok(feed)
    }

    /// Removes a stream and tells the others; nothing happens if it was cut off before.
    pub(crate) fn detach(&self, id: u64) {
        let removed = self.lock().remove(id);
        if let Some(Stream { remote_address, .. }) = removed {
            self.notify(EventKind::EventStreamDetached { remote_address }, None);
        }
    }

    /// Adds a listener inside the house, which gets events as they are. It ends when its queue overflows.
    ///
    /// Attach first and look at the snapshot then: an event published in between is in both, none is missed.
    pub(crate) fn observe(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(OBSERVER);
        self.lock().observers.push(sender);
        receiver
    }

    /// Sends events to everybody who wants them. Never waits.
    pub(crate) fn publish(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let except = None;
            self.put(Notice::Event { event, except });
        }
    }

    /// Distributes the first event of this life, before anybody can read.
    pub(crate) fn begin(&self, kind: EventKind) {
        let timestamp = self.clock.now();
        let event = Event { timestamp, kind };
        let except = None;
        self.take(Notice::Event { event, except });
    }

    /// Publishes what happened now.
    pub(crate) fn tell(&self, kind: EventKind) {
        self.notify(kind, None);
    }

    /// Ends all streams, as a master does that is not the leader any more, and goes on as the leader elected next (Z15).
    pub(crate) fn abdicate(&self, master: &str) {
        self.tell(EventKind::SchedulerDisconnected);
        self.put(Notice::Close);
        let master = master.to_owned();
        self.tell(EventKind::SchedulerReregistered { master });
    }

    /// What the bus has done and holds.
    pub(crate) fn counts(&self) -> EventCounts {
        let inner = self.lock();
        let rings = [&inner.full, &inner.light].into_iter().flatten();
        let (mut kept, mut kept_bytes) = (0, 0);
        for (events, bytes) in rings.map(Ring::size) {
            kept += events;
            kept_bytes += bytes;
        }
        EventCounts {
            streams: inner.streams.len(),
            published: inner.published,
            rendered: inner.rendered,
            cut_off: inner.cut_off,
            kept,
            kept_bytes,
        }
    }

    fn notify(&self, kind: EventKind, except: Option<u64>) {
        let timestamp = self.clock.now();
        let event = Event { timestamp, kind };
        self.put(Notice::Event { event, except });
    }

    fn put(&self, notice: Notice) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.inbox.try_send(notice) {
            self.has_lost.store(true, Ordering::Relaxed);
        }
    }

    /// Distributes what waits in the inbox, where no task does.
    #[cfg(test)]
    fn settle(&self) {
        let mut waiting = Vec::new();
        if let Some(notices) = self.notices.lock().unwrap().as_mut() {
            while let Ok(notice) = notices.try_recv() {
                waiting.push(notice);
            }
        }
        for notice in waiting {
            self.take(notice);
        }
    }
}

/// As many streams as leave file descriptors for everything else.
fn max_streams() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    files
        .saturating_sub(FILES_KEPT)
        .max(files / 2)
        .min(MAX_STREAMS)
}

#[cfg(test)]
mod tests;

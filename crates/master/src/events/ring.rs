//! The last events, kept for readers that come back.
//!
//! A ring is made when the first reader asks for ids and dropped some time after the last such reader has gone: without
//! them nothing is kept, and nothing rendered to be kept. It is empty after a restart of the master.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::frame::{Frame, Text};
use super::readers::Taste;

/// Most events kept. A rolling restart of a hundred instances makes some seven hundred.
pub(super) const EVENTS: usize = 4096;
/// Most bytes kept: where trees are large, the ring is short. Light readers have a ring of their own.
pub(super) const BYTES: usize = 8 * 1024 * 1024;
/// How long a ring outlives its last reader: longer than any client waits before it connects again.
const LINGER: Duration = Duration::from_mins(10);

/// The last events in one form.
#[derive(Debug)]
pub(super) struct Ring {
    /// Everything later than this id is here.
    after: u64,
    kept: VecDeque<Kept>,
    n_bytes: usize,
    n_readers: usize,
    /// When the last reader went.
    left_at: Instant,
}

#[derive(Debug)]
struct Kept {
    id: u64,
    name: &'static str,
    text: Text,
}

impl Ring {
    /// A ring for what comes after the event `after`.
    pub(super) fn new(after: u64) -> Self {
        Self {
            after,
            kept: VecDeque::new(),
            n_bytes: 0,
            n_readers: 0,
            left_at: Instant::now(),
        }
    }

    pub(super) const fn enter(&mut self) {
        self.n_readers += 1;
    }

    pub(super) fn leave(&mut self) {
        self.n_readers = self.n_readers.saturating_sub(1);
        self.left_at = Instant::now();
    }

    /// True if nobody is to be expected any more.
    pub(super) fn is_forsaken(&self) -> bool {
        self.n_readers == 0 && self.left_at.elapsed() > LINGER
    }

    pub(super) fn push(&mut self, frame: &Frame<'_>, text: &Text) {
        self.n_bytes += text.len();
        self.kept.push_back(Kept {
            id: frame.id(),
            name: frame.name(),
            text: text.clone(),
        });
        while (self.kept.len() > EVENTS || self.n_bytes > BYTES)
            && let Some(oldest) = self.kept.pop_front()
        {
            self.n_bytes -= oldest.text.len();
            self.after = oldest.id;
        }
    }

    /// The id after which nothing is missing.
    pub(super) const fn after(&self) -> u64 {
        self.after
    }

    /// Number of events and bytes kept.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.kept.len(), self.n_bytes)
    }

    /// What a reader missed after the event `last`.
    pub(super) fn since(&self, last: u64, taste: &Taste) -> VecDeque<Bytes> {
        let first = self.kept.partition_point(|kept| kept.id <= last);
        self.kept
            .range(first..)
            .filter(|kept| taste.is_for(kept.name))
            .map(|kept| kept.text.bytes(true))
            .collect()
    }
}

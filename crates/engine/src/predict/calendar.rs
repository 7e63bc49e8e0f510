//! What is to happen when, under virtual time: what is due first comes first, and of one moment what was put first.

use std::collections::BTreeMap;

/// A calendar of things to come. Times are milliseconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Calendar<T> {
    entries: BTreeMap<(i64, u64), T>,
    next_seq: u64,
}

impl<T> Default for Calendar<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            next_seq: 0,
        }
    }
}

impl<T> Calendar<T> {
    /// Puts something at a time; it comes after what stands there already.
    pub(super) fn put(&mut self, at: i64, what: T) {
        self.entries.insert((at, self.next_seq), what);
        self.next_seq += 1;
    }

    /// When the first thing is due; `None` if there is none.
    pub(super) fn next_at(&self) -> Option<i64> {
        self.entries.keys().next().map(|(at, _)| *at)
    }

    /// Takes the first thing, with its time.
    pub(super) fn pop(&mut self) -> Option<(i64, T)> {
        self.entries.pop_first().map(|((at, _), what)| (at, what))
    }
}

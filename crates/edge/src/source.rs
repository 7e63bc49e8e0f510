//! Which Marathon is followed: the first one that answers, the next one when it does not.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Marathon's addresses, one of which is in use.
#[derive(Debug)]
pub(crate) struct Source {
    urls: Vec<String>,
    in_use: AtomicUsize,
}

impl Source {
    /// Begins with the first address. `urls` has at least one.
    pub(crate) fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            in_use: AtomicUsize::new(0),
        }
    }

    /// The address in use, without a final slash.
    pub(crate) fn url(&self) -> &str {
        &self.urls[self.in_use.load(Relaxed) % self.urls.len()]
    }

    /// Turns to the next address.
    pub(crate) fn turn(&self) {
        self.in_use.fetch_add(1, Relaxed);
    }
}

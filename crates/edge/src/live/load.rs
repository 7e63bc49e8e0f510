//! What is in flight on a task: the promise that a drained task is handed nothing more, see [`super`].

use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokio::sync::Notify;

/// What is in flight on a task, over all its ports.
#[derive(Debug, Default)]
pub(crate) struct Load {
    in_flight: AtomicUsize,
    draining: AtomicBool,
    emptied: Notify,
}

impl Load {
    /// Lets nothing new in. Idempotent.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, SeqCst);
    }

    /// Whether nothing new is let in.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// How many requests and connections are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// Waits until nothing is in flight on a draining task. Cancel-safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // Registered before the count is read, so that no end is missed.
            emptied.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn enter(&self) -> bool {
        self.in_flight.fetch_add(1, SeqCst);
        if self.draining.load(SeqCst) {
            self.leave();
            return false;
        }
        true
    }

    pub(super) fn leave(&self) {
        if self.in_flight.fetch_sub(1, SeqCst) == 1 && self.draining.load(SeqCst) {
            self.emptied.notify_waiters();
        }
    }
}

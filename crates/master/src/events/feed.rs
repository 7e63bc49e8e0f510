//! The queue between the bus and one stream: bounded in events and in bytes, never waited for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Events that may wait for one stream. Marathon has 50 and drops; ours is larger and ends the stream, so that nobody
/// believes to have seen everything.
pub(super) const EVENTS: usize = 4096;
/// Bytes that may wait for one stream, unless it is a single event. Streams share them, so that many slow readers hold
/// hardly more than one.
const BYTES: usize = 16 * 1024 * 1024;

/// The reader's end.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Names the stream to [`super::Bus::detach`].
    pub(crate) id: u64,
    first: VecDeque<Bytes>,
    receiver: mpsc::Receiver<Bytes>,
    n_bytes: Arc<AtomicUsize>,
}

/// The bus' end.
#[derive(Debug)]
pub(super) struct Sender {
    sender: mpsc::Sender<Bytes>,
    n_bytes: Arc<AtomicUsize>,
}

/// A queue for the stream `id` that begins with `first`.
pub(super) fn feed(id: u64, first: VecDeque<Bytes>) -> (Sender, Feed) {
    let (sender, receiver) = mpsc::channel(EVENTS);
    let n_bytes = Arc::<AtomicUsize>::default();
    let feed = Feed {
        id,
        first,
        receiver,
        n_bytes: Arc::clone(&n_bytes),
    };
    (Sender { sender, n_bytes }, feed)
}

impl Feed {
    /// The next event; `None` when the bus has ended the stream.
    ///
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.first.pop_front() {
            return Some(bytes);
        }
        let bytes = self.receiver.recv().await?;
        self.n_bytes.fetch_sub(bytes.len(), Ordering::Relaxed);
        Some(bytes)
    }
}

impl Sender {
    /// Hands an event over; false if the reader is gone or too slow.
    pub(super) fn send(&self, bytes: Bytes) -> bool {
        let n = bytes.len();
        let waiting = self.n_bytes.fetch_add(n, Ordering::Relaxed);
        (waiting == 0 || waiting + n <= BYTES) && self.sender.try_send(bytes).is_ok()
    }
}

//! Memory for bytes on their way through.
//!
//! A [`Buffer`] has memory only while it holds bytes, or while a read is being tried: it takes it from the thread's free list and
//! gives it back when its last byte has gone. A connection that waits costs its socket and its task, no more. One that is full when
//! it has been read into gets more memory the next time: large bodies pass in fewer and larger pieces.

use std::cell::RefCell;
use std::task::Poll;

use tokio::io::ReadBuf;

/// Bytes a buffer holds: HAProxy's `tune.bufsize`. Also the limit of a head.
pub(crate) const SIZE: usize = 16 * 1024;
/// Bytes it holds in a large body.
const LARGE: usize = 64 * 1024;
/// Free pieces of memory of each size kept by a thread, at most 2.5 MiB: about as many connections have bytes on their way at once.
const MAX_FREE: usize = 32;

thread_local! {
    static FREE: RefCell<[Vec<Box<[u8]>>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// A queue of some bytes.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    /// The last read filled all there was.
    is_flooded: bool,
}

impl Buffer {
    /// The bytes that are there.
    pub(crate) fn unread(&self) -> &[u8] {
        match &self.memory {
            Some(memory) => &memory[self.start..self.end],
            None => &[],
        }
    }

    /// The bytes that are there, to be changed in place.
    pub(crate) fn unread_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Some(memory) => &mut memory[self.start..self.end],
            None => &mut [],
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn is_full(&self) -> bool {
        let size = self.memory.as_ref().map_or(SIZE, |memory| memory.len());
        self.end - self.start == size
    }

    /// Drops the first `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end, "only what is there can be consumed");
        if self.is_empty() {
            self.release();
        }
    }

    /// Lets `read` append to the bytes. The buffer must not be full.
    pub(crate) fn poll_fill<E>(
        &mut self,
        read: impl FnOnce(&mut ReadBuf<'_>) -> Poll<Result<(), E>>,
    ) -> Poll<Result<usize, E>> {
        debug_assert!(!self.is_full(), "a full buffer cannot be filled");
        let is_large = self.is_flooded;
        let memory = self.memory.get_or_insert_with(|| take(is_large));
        if self.end == memory.len() {
            memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut space = ReadBuf::new(&mut memory[self.end..]);
        let read = read(&mut space);
        let n = space.filled().len();
        self.end += n;
        self.is_flooded = self.end == memory.len();
        if self.is_empty() {
            self.release();
        }
        read.map_ok(|()| n)
    }

    fn release(&mut self) {
        self.start = 0;
        self.end = 0;
        if let Some(memory) = self.memory.take() {
            give_back(memory);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

fn take(is_large: bool) -> Box<[u8]> {
    let free = FREE.with_borrow_mut(|free| free[usize::from(is_large)].pop());
    let size = if is_large { LARGE } else { SIZE };
    free.unwrap_or_else(|| vec![0; size].into_boxed_slice())
}

fn give_back(memory: Box<[u8]>) {
    // A thread that ends has no lists any more: then the memory is simply freed.
    let _ = FREE.try_with(|free| {
        let free = &mut free.borrow_mut()[usize::from(memory.len() == LARGE)];
        if free.len() < MAX_FREE {
            free.push(memory);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, bytes: &[u8]) -> usize {
        let read = |space: &mut ReadBuf<'_>| {
            let n = bytes.len().min(space.remaining());
            space.put_slice(&bytes[..n]);
            Poll::Ready(Ok::<_, ()>(()))
        };
        match buffer.poll_fill(read) {
            Poll::Ready(Ok(n)) => n,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_queue_up_and_the_memory_goes_with_the_last() {
        let mut buffer = Buffer::default();
        assert_eq!(fill(&mut buffer, b"hello"), 5);
        buffer.consume(2);
        assert_eq!(buffer.unread(), b"llo");
        assert_eq!(fill(&mut buffer, &[b'x'; SIZE]), SIZE - 5);
        // No room behind, but two bytes before.
        assert_eq!(fill(&mut buffer, b"yyy"), 2);
        assert!(buffer.is_full());
        assert!(buffer.unread().starts_with(b"llox") && buffer.unread().ends_with(b"xyy"));
        buffer.consume(SIZE);
        assert!(buffer.is_empty() && buffer.memory.is_none());
    }

    #[test]
    fn a_flood_gets_more_memory_as_long_as_it_lasts() {
        let mut buffer = Buffer::default();
        let flood = vec![b'x'; 2 * LARGE];
        let mut read = |bytes: &[u8]| {
            let n = fill(&mut buffer, bytes);
            buffer.consume(n);
            n
        };
        assert_eq!(
            [read(&flood), read(&flood), read(&flood)],
            [SIZE, LARGE, LARGE]
        );
        assert_eq!([read(b"less"), read(&flood)], [4, SIZE]);
    }

    #[test]
    fn a_read_that_waits_holds_no_memory() {
        let mut buffer = Buffer::default();
        assert!(
            buffer
                .poll_fill(|_| Poll::<Result<(), ()>>::Pending)
                .is_pending()
        );
        assert!(buffer.memory.is_none());
    }
}

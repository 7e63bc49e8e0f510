//! The end of this process' log, kept in memory for those who ask over HTTP, as a Mesos master and agent show their log file.
//!
//! Offsets count bytes from the start of the process, so that a reader goes on where it was; what was dropped at the
//! front reads as nothing, and reading there begins with the oldest byte that is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes kept: some ten thousand lines.
const KEPT: usize = 1 << 20;

/// The end of a log; clones share it.
#[derive(Clone, Debug, Default)]
pub struct LogTail(Arc<Mutex<Tail>>);

#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    /// Offset of the first byte kept.
    begin: u64,
}

impl Tail {
    fn size(&self) -> u64 {
        self.begin + self.bytes.len() as u64
    }
}

impl LogTail {
    /// Adds what was logged.
    pub fn append(&self, bytes: &[u8]) {
        let mut tail = self.tail();
        tail.bytes.extend(bytes);
        let n_surplus = tail.bytes.len().saturating_sub(KEPT);
        tail.bytes.drain(..n_surplus);
        tail.begin += n_surplus as u64;
    }

    /// How many bytes were ever logged.
    pub fn size(&self) -> u64 {
        self.tail().size()
    }

    /// At most `length` bytes from `offset` on, as text, and where it begins; nothing at the end or past it.
    pub fn read(&self, offset: u64, length: u64) -> (u64, String) {
        let (offset, bytes) = self.read_bytes(offset, length);
        (offset, whole_characters(&bytes))
    }

    /// The same bytes as they were logged. They begin behind `offset` if what was there is no longer kept.
    pub fn read_bytes(&self, offset: u64, length: u64) -> (u64, Vec<u8>) {
        let tail = self.tail();
        let size = tail.size();
        if offset >= size {
            return (size, Vec::new());
        }
        let offset = offset.max(tail.begin);
        let index = |offset: u64| usize::try_from(offset - tail.begin).unwrap_or(usize::MAX);
        let end = size.min(offset.saturating_add(length));
        let bytes = tail.bytes.range(index(offset)..index(end)).copied();
        (offset, bytes.collect())
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // Every change of it is one step that cannot fail half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece of a file as text that is as long as what it stands for: each byte that is no UTF-8 becomes a question mark, so that
/// a reader goes on at the right place by counting the bytes of the text.
///
/// A character cut off at the end is held back, for the next read to bring it whole. A piece that is only a part of a character
/// comes all the same, or the reader would take it for the end.
pub fn whole_characters(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        let is_cut = text.len() + invalid.len() == bytes.len()
            && std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
        if !is_cut || text.is_empty() {
            text.extend(std::iter::repeat_n('?', invalid.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_from_the_start() {
        let log = LogTail::default();
        log.append("a line\nä".as_bytes());
        let read = |offset, length| log.read(offset, length);
        assert_eq!(read(0, 6), (0, "a line".to_owned()));
        assert_eq!(read(7, 1), (7, "?".to_owned()));
        assert_eq!(read(6, 2), (6, "\n".to_owned()));
        assert_eq!(read(7, u64::MAX), (7, "ä".to_owned()));
        assert_eq!(read(9, 1), (9, String::new()));
        assert_eq!(read(99, 1), (9, String::new()));
        assert_eq!(log.size(), 9);
    }

    #[test]
    fn text_is_as_long_as_its_bytes() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"a\xff\xfe\nb", "a??\nb"),
            // Two bytes of a character of three, within, at the end and alone.
            (b"\xe2\x82a", "??a"),
            (b"\xffa\xe2\x82", "?a"),
            (b"\xe2\x82", "??"),
            (b"\xff\xe2\x82", "?"),
            ("\u{e4}\u{20ac}".as_bytes(), "\u{e4}\u{20ac}"),
        ] {
            assert_eq!(whole_characters(bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn what_was_dropped_is_passed_over() {
        let log = LogTail::default();
        log.append(&vec![b'x'; KEPT - 1]);
        log.append(b"yz12");
        assert_eq!(log.size(), KEPT as u64 + 3);
        assert_eq!(log.read(0, 2), (3, "xx".to_owned()));
        assert_eq!(log.read_bytes(0, 2), (3, b"xx".to_vec()));
        let end = log.size() - 4;
        assert_eq!(log.read(end, 99), (end, "yz12".to_owned()));
    }
}

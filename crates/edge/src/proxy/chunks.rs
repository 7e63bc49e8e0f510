//! The chunked coding, read strictly and in place (RFC 9112 §7.1).
//!
//! ```text
//!   size ─▶ (extension) ─▶ LF ─▶ data ─▶ CR ─▶ LF ─┬─▶ size
//!     └── 0: LF ─▶ trailer lines ─▶ empty line ─▶ ended
//! ```
//!
//! What we read is never passed on as it is: data leave with sizes of our own, trailers as lines written anew. So whatever a
//! server might read differently from us (extensions, line ends, long numbers) never reaches it.

use super::head::{self, Malformed};

/// Digits of a chunk's size: as many as fit 64 bits.
const MAX_DIGITS: u32 = 16;
/// The largest size, and the longest body of a length: who counts with a sign would read a negative number in a larger one.
pub(super) const MAX_LENGTH: u64 = i64::MAX as u64;
/// Bytes of extensions and blanks in one body beyond what its chunks are allowed. Nobody uses them, and they must not cost more than
/// data.
const MAX_EXTENSIONS: u32 = 16 * 1024;
/// Bytes of them that each chunk is allowed besides as many as it has data: some servers fill all sizes up to one width.
const FREE_EXTENSION: u32 = 16;
/// Bytes of trailers.
const MAX_TRAILERS: usize = 8 * 1024;

/// How far the reading of a body has come.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    state: State,
    /// Beyond what chunks so far were allowed.
    n_extension_bytes: u32,
    /// The trailers as they came; once the body has ended, as they go out.
    trailers: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the size, of which so many digits were read.
    Size { size: u64, n_digits: u32 },
    /// Behind the size, in blanks that some servers fill it up with.
    Padding { size: u64 },
    /// In the extension.
    Extension { size: u64 },
    /// The size's line feed is to come.
    SizeEnd { size: u64 },
    /// So many bytes of data are to come.
    Data { left: u64 },
    /// The carriage return behind data is to come.
    DataEnd,
    /// The line feed behind data is to come.
    DataLineFeed,
    /// In the trailers.
    Trailers,
    /// The body has ended.
    Ended,
}

impl Default for State {
    fn default() -> Self {
        Self::Size {
            size: 0,
            n_digits: 0,
        }
    }
}

/// What was done with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// So many bytes of data stand at the front now.
    pub(crate) data: usize,
    /// So many bytes of the input are used up, data and what was around them.
    pub(crate) consumed: usize,
}

impl Chunks {
    /// Whether the body's end has been read.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// The lines of the trailers as they go out, if the body has ended with some.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Reads on, and moves the data found in `bytes` to their front. Uses up all of `bytes` unless the body ends in them.
    ///
    /// # Errors
    /// When this is not the chunked coding.
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> Result<Taken, Malformed> {
        let (mut at, mut data) = (0, 0);
        while at < bytes.len() && !self.is_ended() {
            if let State::Data { left } = self.state {
                let n = usize::try_from(left)
                    .map_or(bytes.len() - at, |left| left.min(bytes.len() - at));
                bytes.copy_within(at..at + n, data);
                at += n;
                data += n;
                self.state = match left - n as u64 {
                    0 => State::DataEnd,
                    left => State::Data { left },
                };
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(Taken { data, consumed: at })
    }

    /// The state after one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        let next = match (self.state, byte) {
            (State::Size { size, n_digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if n_digits == MAX_DIGITS || size > MAX_LENGTH >> 4 {
                    return Err(Malformed::Chunk);
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                State::Size {
                    size: size << 4 | u64::from(digit),
                    n_digits: n_digits + 1,
                }
            }
            (State::Size { n_digits: 0, .. }, _) => return Err(Malformed::Chunk),
            (State::Size { size, .. } | State::Padding { size }, b' ' | b'\t') => {
                self.count_extension()?;
                State::Padding { size }
            }
            (State::Size { size, .. } | State::Padding { size }, b';') => State::Extension { size },
            (
                State::Size { size, .. } | State::Padding { size } | State::Extension { size },
                b'\r',
            ) => State::SizeEnd { size },
            (State::Extension { size }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.count_extension()?;
                State::Extension { size }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailers,
            (State::SizeEnd { size }, b'\n') => {
                let allowed = u32::try_from(size).unwrap_or(u32::MAX);
                let allowed = allowed.saturating_add(FREE_EXTENSION);
                self.n_extension_bytes = self.n_extension_bytes.saturating_sub(allowed);
                State::Data { left: size }
            }
            (State::DataEnd, b'\r') => State::DataLineFeed,
            (State::DataLineFeed, b'\n') => State::default(),
            (State::Trailers, byte) => {
                if self.trailers.len() == MAX_TRAILERS {
                    return Err(Malformed::Chunk);
                }
                self.trailers.push(byte);
                if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                    self.trailers = head::trailers(&self.trailers)?;
                    State::Ended
                } else {
                    State::Trailers
                }
            }
            _ => return Err(Malformed::Chunk),
        };
        Ok(next)
    }

    fn count_extension(&mut self) -> Result<(), Malformed> {
        self.n_extension_bytes += 1;
        if self.n_extension_bytes > MAX_EXTENSIONS {
            return Err(Malformed::Chunk);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of `input`, handed over in pieces that end at `cuts`: the data, the trailers and what is left over.
    fn read(input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Vec<u8>, usize, bool), Malformed> {
        let mut chunks = Chunks::default();
        let (mut data, mut start) = (Vec::new(), 0);
        let ends = cuts.iter().copied().chain([input.len()]);
        for end in ends {
            let mut piece = input[start..end].to_vec();
            let taken = chunks.take(&mut piece)?;
            data.extend_from_slice(&piece[..taken.data]);
            start += taken.consumed;
            if chunks.is_ended() {
                break;
            }
            assert_eq!(start, end, "all is used up");
        }
        let trailers = match chunks.is_ended() {
            true => chunks.trailers().to_vec(),
            false => Vec::new(),
        };
        Ok((data, trailers, start, chunks.is_ended()))
    }

    fn check(input: &str, data: &str, trailers: &str, left_over: usize) {
        let expected = (data.into(), trailers.into(), input.len() - left_over, true);
        assert_eq!(read(input.as_bytes(), &[]), Ok(expected), "{input:?}");
    }

    #[test]
    fn bodies() {
        check("0\r\n\r\n", "", "", 0);
        check("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET", "hello!", "", 3);
        check(
            "A;x=\"y\"\r\n0123456789\r\n000\r\n\r\n",
            "0123456789",
            "",
            0,
        );
        check(
            "1  \r\na\r\n0\r\nX: 1\r\nContent-Length: 9\r\n y: 2\r\n\r\n"
                .replace(" y", "y")
                .as_str(),
            "a",
            "X: 1\r\ny: 2\r\n",
            0,
        );
    }

    #[test]
    fn what_is_not_chunked() {
        for input in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1\na\r\n",
            "1\r\na\n",
            "1\r\nab\r\n",
            "1\r\n\r\n\r\n",
            "1 2\r\n",
            "1;a\nb\r\n",
            "1;\0\r\n",
            "1\r\r\n",
            "11111111111111111\r\n",
            "8000000000000000\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\n x\r\n\r\n",
            "0\r\nX: 1\n\r\n\r\n",
            "0\r\n\nx\r\n\r\n",
        ] {
            assert!(read(input.as_bytes(), &[]).is_err(), "{input:?}");
        }
        let long = format!("1;{}\r\n", "x".repeat(20_000));
        assert!(read(long.as_bytes(), &[]).is_err());
        let long = format!("0\r\nX: {}\r\n\r\n", "x".repeat(20_000));
        assert!(read(long.as_bytes(), &[]).is_err());
    }

    #[test]
    fn sizes_may_be_filled_up_as_long_as_data_come() {
        let body = |chunk: &str| [chunk.repeat(20_000).as_str(), "0\r\n\r\n"].concat();
        // As wide as some servers write all sizes.
        check(
            &body("5       \r\nhello\r\n"),
            &"hello".repeat(20_000),
            "",
            0,
        );
        check(&body("1;a=b\r\nx\r\n"), &"x".repeat(20_000), "", 0);
        let much = body(&format!("1;{}\r\nx\r\n", "e".repeat(100)));
        assert!(read(much.as_bytes(), &[]).is_err());
    }

    /// Bytes that are often chunks, and sometimes nearly.
    fn input() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            8 => prop::collection::vec(any::<u8>(), 1..40).prop_map(|data| {
                let mut chunk = format!("{:x}\r\n", data.len()).into_bytes();
                chunk.extend(data);
                chunk.extend(b"\r\n");
                chunk
            }),
            1 => Just(b"0\r\n\r\n".to_vec()),
            1 => Just(b"0\r\nA: b\r\nc:d\r\n\r\n".to_vec()),
            1 => "[0-9a-f]{1,3}(;[a-z=]{0,5})?\r\n".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..5),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(input in input(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(read(&input, &cuts), read(&input, &[]));
        }
    }
}

//! Bodies on their way through: how one is framed on the side it comes from, and how on the side it goes to.
//!
//! A body passes in [`Piece`]s, each of what one read brought, in place: data stay in the buffer they were read into, and the
//! framing of the other side is written around them. So a body is never kept whole, and who reads waits for who takes.

use std::borrow::Cow;

use super::chunks::{Chunks, Taken};
use super::head::{Framing, Malformed};

/// A body on the side it comes from, as far as it has not come yet.
#[derive(Debug)]
pub(crate) enum Body {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunks),
    /// Whatever comes until the connection ends.
    UntilClose,
    /// Nothing more.
    Ended,
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Ended,
            Framing::Length(n) => Self::Length(n),
            Framing::Chunked => Self::Chunked(Chunks::default()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether all of it has come.
    pub(crate) fn is_ended(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Chunked(chunks) => chunks.is_ended(),
            Self::Length(_) | Self::UntilClose => false,
        }
    }

    /// Takes what `bytes` hold of it; data stand at their front then.
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> Result<Taken, Malformed> {
        let n = match self {
            Self::Ended => 0,
            Self::UntilClose => bytes.len(),
            Self::Length(left) => {
                let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= n as u64;
                if *left == 0 {
                    *self = Self::Ended;
                }
                n
            }
            Self::Chunked(chunks) => return chunks.take(bytes),
        };
        Ok(Taken {
            data: n,
            consumed: n,
        })
    }

    /// The connection has ended. Whether the body has too; else it was cut off.
    pub(crate) fn end(&mut self) -> bool {
        if matches!(self, Self::UntilClose) {
            *self = Self::Ended;
        }
        self.is_ended()
    }

    /// The lines of its trailers, if it has ended with some.
    pub(crate) fn trailers(&self) -> &[u8] {
        match self {
            Self::Chunked(chunks) => chunks.trailers(),
            Self::Ended | Self::Length(_) | Self::UntilClose => &[],
        }
    }
}

/// A piece of a body: `line`, then `data` bytes at the front of its buffer, then `tail`.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    line: Line,
    /// Bytes of data.
    pub(crate) data: usize,
    /// Bytes of the buffer that are used up when the piece has been written.
    pub(crate) consumed: usize,
    tail: Cow<'static, [u8]>,
    /// Nothing of the body comes after it.
    pub(crate) is_last: bool,
}

impl Piece {
    /// The piece of what was `taken` of `body`, for a side that wants chunks or does not.
    pub(crate) fn new(taken: Taken, body: &Body, is_chunked: bool) -> Self {
        let Taken { data, consumed } = taken;
        let is_last = body.is_ended();
        let (line, tail) = match (is_chunked, is_last, body.trailers()) {
            (false, _, _) => (Line::default(), Cow::default()),
            // A read may bring framing alone, and a chunk of no data would be the last one.
            (true, false, _) if data == 0 => (Line::default(), Cow::default()),
            (true, false, _) => (Line::of(data), Cow::Borrowed(&b"\r\n"[..])),
            (true, true, []) if data == 0 => (Line::default(), Cow::Borrowed(&b"0\r\n\r\n"[..])),
            (true, true, []) => (Line::of(data), Cow::Borrowed(&b"\r\n0\r\n\r\n"[..])),
            (true, true, trailers) if data == 0 => (
                Line::default(),
                [b"0\r\n", trailers, b"\r\n"].concat().into(),
            ),
            (true, true, trailers) => (
                Line::of(data),
                [b"\r\n0\r\n", trailers, b"\r\n"].concat().into(),
            ),
        };
        Self {
            line,
            data,
            consumed,
            tail,
            is_last,
        }
    }

    /// What stands before the data.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line.bytes[..self.line.length]
    }

    /// What stands behind them.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }
}

/// A chunk's size and its line end.
#[derive(Debug, Default)]
struct Line {
    bytes: [u8; 8],
    length: usize,
}

impl Line {
    /// For a size other than 0: that of a piece is not larger than a buffer.
    fn of(size: usize) -> Self {
        let mut line = Self::default();
        let n_digits = (usize::BITS - size.leading_zeros()).div_ceil(4) as usize;
        for (at, digit) in line.bytes.iter_mut().enumerate().take(n_digits) {
            let value = size >> (4 * (n_digits - 1 - at)) & 0xf;
            *digit = b"0123456789abcdef"[value];
        }
        line.bytes[n_digits..n_digits + 2].copy_from_slice(b"\r\n");
        line.length = n_digits + 2;
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_hexadecimal() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4095, 4096, 16 * 1024] {
            let line = Line::of(size);
            let expected = format!("{size:x}\r\n");
            assert_eq!(&line.bytes[..line.length], expected.as_bytes());
        }
    }

    /// All pieces of `input`, read at once, framed for the other side.
    fn pass(framing: Framing, is_chunked: bool, input: &str) -> String {
        let mut body = Body::new(framing);
        let mut bytes = input.as_bytes().to_vec();
        let taken = body.take(&mut bytes).unwrap();
        let piece = Piece::new(taken, &body, is_chunked);
        let parts = [piece.line(), &bytes[..piece.data], piece.tail()].concat();
        format!("{} {}", String::from_utf8(parts).unwrap(), piece.is_last)
    }

    #[test]
    fn framings() {
        assert_eq!(pass(Framing::None, false, "x"), " true");
        assert_eq!(pass(Framing::Length(2), false, "abc"), "ab true");
        assert_eq!(pass(Framing::Length(4), false, "abc"), "abc false");
        assert_eq!(pass(Framing::UntilClose, true, "abc"), "3\r\nabc\r\n false");
        let chunks = "1;x\r\na\r\n2\r\nbc\r\n0\r\nT: 1\r\n\r\n";
        assert_eq!(
            pass(Framing::Chunked, true, chunks),
            "3\r\nabc\r\n0\r\nT: 1\r\n\r\n true"
        );
        assert_eq!(pass(Framing::Chunked, false, chunks), "abc true");
        assert_eq!(pass(Framing::Chunked, true, "0\r\n\r\n"), "0\r\n\r\n true");
        for framing_alone in ["", "5", "5\r\n", "0\r\n", "0\r\nT: 1\r\n"] {
            assert_eq!(pass(Framing::Chunked, true, framing_alone), " false");
        }
    }

    #[test]
    fn only_some_may_be_cut_off() {
        assert!(Body::new(Framing::UntilClose).end());
        assert!(!Body::new(Framing::Length(1)).end());
        assert!(!Body::new(Framing::Chunked).end());
    }
}

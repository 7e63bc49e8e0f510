//! Readers of HTTP/1.1 that know one way to read a message, and panic at any other.
//!
//! Source: RFC 9112 §2-§7.

/// A message that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// The first line, in its three parts.
    pub(super) line: [&'a [u8]; 3],
    pub(super) body: Vec<u8>,
    /// Its end can be told from what follows.
    pub(super) is_framed: bool,
    /// Bytes of it, head and body.
    pub(super) length: usize,
}

/// What the first line of a message is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    /// The answer to HEAD, or to something else.
    Answer {
        to_head: bool,
    },
}

/// Reads the message at the beginning of `bytes`; `None` if it is not all there.
///
/// # Panics
/// When it could be read in two ways, or is no message.
pub(super) fn read(bytes: &[u8], kind: Kind) -> Option<Message<'_>> {
    let end = find(bytes, b"\r\n\r\n")?;
    let mut lines = split_lines(&bytes[..end]);
    let line = lines.next().expect("there is a first line");
    let (mut lengths, mut codings) = (Vec::new(), Vec::new());
    for line in lines {
        let (name, value) = field(line);
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths.push(number(value, 10));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_chunked = value.eq_ignore_ascii_case(b"chunked");
            assert!(is_chunked, "a coding that nobody asked for");
            codings.push(value);
        }
    }
    let line = three_parts(line, kind);
    let status = match kind {
        Kind::Request => 0,
        Kind::Answer { .. } => number(line[1], 10),
    };
    let has_no_body = match kind {
        Kind::Request => lengths.is_empty() && codings.is_empty(),
        Kind::Answer { to_head } => to_head || status < 200 || status == 204 || status == 304,
    };
    if !has_no_body || kind == Kind::Request {
        assert!(
            lengths.len() + codings.len() <= 1,
            "two framings: {}",
            bytes.escape_ascii()
        );
    }
    let rest = &bytes[end + 4..];
    let (body, n, is_framed) = match (has_no_body, lengths.first(), codings.first()) {
        (true, _, _) => (Vec::new(), 0, true),
        (false, Some(length), _) => {
            let length = usize::try_from(*length).ok()?;
            (rest.get(..length)?.to_vec(), length, true)
        }
        (false, None, Some(_)) => {
            let (body, n) = chunks(rest)?;
            (body, n, true)
        }
        (false, None, None) => (rest.to_vec(), rest.len(), false),
    };
    Some(Message {
        line,
        body,
        is_framed,
        length: end + 4 + n,
    })
}

fn three_parts(line: &[u8], kind: Kind) -> [&[u8]; 3] {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let parts = [(); 3].map(|()| parts.next().expect("a first line has three parts"));
    let version = match kind {
        Kind::Request => {
            assert!(!parts[0].is_empty() && parts[0].iter().copied().all(is_token));
            assert!(parts[1].iter().all(u8::is_ascii_graphic), "{line:?}");
            parts[2]
        }
        Kind::Answer { .. } => {
            assert_eq!(parts[1].len(), 3, "a status has three digits");
            parts[0]
        }
    };
    assert!(
        [b"HTTP/1.1", b"HTTP/1.0"].iter().any(|it| *it == version),
        "{}",
        line.escape_ascii()
    );
    parts
}

/// Name and value of a field's line.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = line.split_at(colon.expect("a field has a colon"));
    assert!(!name.is_empty() && name.iter().copied().all(is_token));
    assert!(!value.contains(&0), "a NUL in {}", line.escape_ascii());
    (name, value[1..].trim_ascii())
}

/// The data of a chunked body at the beginning of `bytes`, and how long it is; `None` if it is not all there.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        let n = find(&bytes[at..], b"\r\n")?;
        let size = usize::try_from(number(&bytes[at..at + n], 16)).ok()?;
        at += n + 2;
        if size == 0 {
            break;
        }
        let end = at.checked_add(size)?;
        data.extend_from_slice(bytes.get(at..end)?);
        assert_eq!(bytes.get(end..end + 2)?, b"\r\n", "an end of data");
        at = end + 2;
    }
    loop {
        let n = find(&bytes[at..], b"\r\n")?;
        let line = &bytes[at..at + n];
        at += n + 2;
        if line.is_empty() {
            return Some((data, at));
        }
        let (name, _) = field(line);
        for framing in ["content-length", "transfer-encoding", "host"] {
            assert!(
                !name.eq_ignore_ascii_case(framing.as_bytes()),
                "a trailer that frames"
            );
        }
    }
}

fn number(digits: &[u8], radix: u32) -> u64 {
    let text = std::str::from_utf8(digits).expect("digits are text");
    assert!(
        text.chars().all(|c| c.is_digit(radix)) && !text.is_empty(),
        "{text:?} is no number"
    );
    u64::from_str_radix(text, radix).expect("a number that fits")
}

/// Lines that end as all do.
fn split_lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let line = match find(bytes, b"\r\n") {
            Some(n) => {
                rest = Some(&bytes[n + 2..]);
                &bytes[..n]
            }
            None => {
                rest = None;
                bytes
            }
        };
        assert!(
            !line.contains(&b'\r') && !line.contains(&b'\n'),
            "a line end of another kind: {}",
            line.escape_ascii()
        );
        Some(line)
    })
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

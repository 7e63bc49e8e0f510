//! Heads of messages: read with httparse, then held to what a proxy must insist on.
//!
//! Two parties that read one message differently can be played off against each other (request smuggling). So whatever could be read
//! in two ways is refused: two lengths, a length beside the chunked coding, other codings, two hosts, line ends of two
//! kinds, blanks before a colon, folded lines. What passes is written anew by [`super::rewrite`].
//!
//! Source: RFC 9112 §2-§6; contract marathon-lb §2.8; HAProxy's `h1.c`.

use std::mem::MaybeUninit;

use httparse::Status;

use super::buffer;
use super::fields::{Field, Fields, Options};

/// HAProxy's `tune.http.maxhdr`.
pub(crate) const MAX_HEADERS: usize = 101;

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// It is not HTTP.
    #[error(transparent)]
    Syntax(#[from] httparse::Error),
    /// The head is longer than a buffer.
    #[error("a head of more than {} bytes", buffer::SIZE)]
    TooLong,
    /// Some lines end with a carriage return and some without.
    #[error("lines end in two ways")]
    LineEnds,
    /// The target is neither a path nor an address.
    #[error("the target is neither a path nor an address")]
    Target,
    /// CONNECT.
    #[error("the edge is no forward proxy")]
    Connect,
    /// More than one `Host`.
    #[error("more than one host")]
    Hosts,
    /// The length is no number, or there are several.
    #[error("the length is not one number")]
    Length,
    /// A coding other than chunked, or one that HTTP/1.0 does not know.
    #[error("a transfer coding other than chunked")]
    Coding,
    /// A length and a coding.
    #[error("a length beside a transfer coding")]
    LengthAndCoding,
    /// A status below 100.
    #[error("no status")]
    Status,
    /// The chunked coding is broken.
    #[error("a broken chunk")]
    Chunk,
}

/// How a body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// Says when it is worth reading a head that comes in pieces: with the first piece, when it has doubled, and when its end is there.
/// So bytes that are no HTTP are refused at once, and a head that comes byte by byte is not read a thousand times.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    seen: usize,
    due_at: usize,
}

impl Scan {
    /// `bytes` are all that has come of the head.
    pub(crate) fn is_due(&mut self, bytes: &[u8]) -> bool {
        let new = &bytes[self.seen.saturating_sub(3)..];
        self.seen = bytes.len();
        let has_end =
            new.windows(2).any(|w| w == b"\n\n") || new.windows(3).any(|w| w == b"\n\r\n");
        if !has_end && bytes.len() < self.due_at {
            return false;
        }
        self.due_at = bytes.len() * 2;
        true
    }
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    /// Bytes of the head.
    pub(crate) length: usize,
    pub(crate) method: &'a str,
    /// Path and query, or `*`.
    pub(crate) target: &'a str,
    /// The host of a target that is an address, which stands above the field (RFC 9112 §3.2.2).
    pub(crate) authority: Option<&'a str>,
    /// HTTP/1.1, else HTTP/1.0.
    pub(crate) is_1_1: bool,
    pub(crate) fields: Fields<'a>,
    pub(crate) framing: Framing,
}

impl<'a> RequestHead<'a> {
    /// Whom the request is for.
    pub(crate) fn host(&self) -> Option<&'a [u8]> {
        self.authority.map(str::as_bytes).or(self.fields.host)
    }

    /// The target without its query.
    pub(crate) fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// The head of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ResponseHead<'a> {
    /// Bytes of the head.
    pub(crate) length: usize,
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) is_1_1: bool,
    pub(crate) fields: Fields<'a>,
}

impl ResponseHead<'_> {
    /// How the body is framed of the answer to a request with method HEAD, or with another one (RFC 9112 §6.3).
    pub(crate) fn framing(&self, is_head: bool) -> Framing {
        match (self.fields.coding, self.fields.length) {
            _ if is_head || self.status < 200 || [204, 304].contains(&self.status) => Framing::None,
            (Some(_), _) => Framing::Chunked,
            (None, None) => Framing::UntilClose,
            (None, Some(length)) => Framing::Length(length),
        }
    }

    /// Whether the server leaves its connection open for another request.
    pub(crate) fn keeps(&self) -> bool {
        let Options {
            close, keep_alive, ..
        } = self.fields.options;
        // Also in HTTP/1.0, which has no codings (RFC 9112 §6.1).
        let is_ambiguous =
            self.fields.coding.is_some() && (self.fields.length.is_some() || !self.is_1_1);
        !close && (self.is_1_1 || keep_alive) && !is_ambiguous
    }
}

/// Reads the head of a request at the beginning of `bytes` and hands it to `then`; `None` if it is not all there.
///
/// # Errors
/// When it is to be refused.
pub(crate) fn request<T>(
    bytes: &[u8],
    then: impl FnOnce(&RequestHead<'_>) -> T,
) -> Result<Option<T>, Malformed> {
    let mut headers = [MaybeUninit::uninit(); MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let Status::Complete(length) = parsed.parse_with_uninit_headers(bytes, &mut headers)? else {
        return partial(bytes);
    };
    refuse_long(length)?;
    refuse_mixed_line_ends(&bytes[..length])?;
    let method = parsed.method.unwrap_or_default();
    if method == "CONNECT" {
        return Err(Malformed::Connect);
    }
    let (authority, target) = split_target(parsed.path.unwrap_or_default())?;
    let is_1_1 = parsed.version == Some(1);
    let fields = Fields::new(parsed.headers)?;
    let framing = match (fields.coding, fields.length) {
        (None, None) => Framing::None,
        (None, Some(length)) => Framing::Length(length),
        // Without a host the server is spoken to in HTTP/1.0, which knows no codings.
        (Some(true), None) if is_1_1 && (authority.is_some() || fields.host.is_some()) => {
            Framing::Chunked
        }
        (Some(_), None) => return Err(Malformed::Coding),
        (Some(_), Some(_)) => return Err(Malformed::LengthAndCoding),
    };
    Ok(Some(then(&RequestHead {
        length,
        method,
        target,
        authority,
        is_1_1,
        fields,
        framing,
    })))
}

/// Reads the head of an answer at the beginning of `bytes` and hands it to `then`; `None` if it is not all there.
///
/// # Errors
/// When it cannot be passed on.
pub(crate) fn response<T>(
    bytes: &[u8],
    then: impl FnOnce(&ResponseHead<'_>) -> T,
) -> Result<Option<T>, Malformed> {
    let mut headers = [MaybeUninit::uninit(); MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let parsing = httparse::ParserConfig::default();
    let status = parsing.parse_response_with_uninit_headers(&mut parsed, bytes, &mut headers)?;
    let Status::Complete(length) = status else {
        return partial(bytes);
    };
    refuse_long(length)?;
    let status = parsed.code.filter(|code| *code >= 100);
    let fields = Fields::new(parsed.headers)?;
    // Others are only for who asks for them, and that field does not pass.
    if fields.coding == Some(false) {
        return Err(Malformed::Coding);
    }
    Ok(Some(then(&ResponseHead {
        length,
        status: status.ok_or(Malformed::Status)?,
        reason: parsed.reason.unwrap_or_default(),
        is_1_1: parsed.version == Some(1),
        fields,
    })))
}

/// The lines of a body's trailers as they may go out.
///
/// # Errors
/// When they are no header fields.
pub(crate) fn trailers(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    refuse_mixed_line_ends(bytes)?;
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Status::Complete((_, headers)) = httparse::parse_headers(bytes, &mut headers)? else {
        return Err(Malformed::Chunk);
    };
    let mut lines = Vec::new();
    // What frames or routes a message may not come behind it (RFC 9110 §6.5.1).
    for header in headers
        .iter()
        .filter(|header| Field::of(header.name) == Field::Other)
    {
        lines.extend_from_slice(header.name.as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(header.value);
        lines.extend_from_slice(b"\r\n");
    }
    Ok(lines)
}

fn partial<T>(bytes: &[u8]) -> Result<Option<T>, Malformed> {
    refuse_long(bytes.len() + 1)?;
    Ok(None)
}

fn refuse_long(length: usize) -> Result<(), Malformed> {
    match length > buffer::SIZE {
        true => Err(Malformed::TooLong),
        false => Ok(()),
    }
}

/// Lines may all end with a line feed alone, as people type them; but one among others is what an attacker writes, who hopes that
/// somebody before us has not taken it for a line end.
fn refuse_mixed_line_ends(head: &[u8]) -> Result<(), Malformed> {
    let mut lines = head.split_inclusive(|byte| *byte == b'\n');
    let is_usual = |line: &[u8]| line.ends_with(b"\r\n");
    let first = lines.next().is_none_or(is_usual);
    match lines.all(|line| is_usual(line) == first) {
        true => Ok(()),
        false => Err(Malformed::LineEnds),
    }
}

/// The authority of a target that is an address, and path and query.
fn split_target(target: &str) -> Result<(Option<&str>, &str), Malformed> {
    // The parser lets these pass; no client sends them.
    if !target.is_ascii() || target.contains('#') {
        return Err(Malformed::Target);
    }
    if target.starts_with('/') || target == "*" {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Malformed::Target)?;
    if !["http", "https"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(scheme))
    {
        return Err(Malformed::Target);
    }
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match (host, target) {
        ("", _) => Err(Malformed::Target),
        (host, "") => Ok((Some(host), "/")),
        (host, target) if target.starts_with('/') => Ok((Some(host), target)),
        (_, _) => Err(Malformed::Target),
    }
}

#[cfg(test)]
mod tests;

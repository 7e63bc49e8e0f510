//! The header fields of a message, as far as a proxy has to do with them.

use httparse::Header;

use super::chunks::MAX_LENGTH;
use super::head::Malformed;

/// A header field that a proxy has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Host,
    Connection,
    /// About one connection only, besides `Connection`: `Keep-Alive`, `Proxy-Connection`, `TE`.
    Hop,
    Upgrade,
    Cookie,
    ContentLength,
    TransferEncoding,
    ForwardedPort,
    Other,
}

impl Field {
    pub(crate) fn of(name: &str) -> Self {
        let known: &[(&str, Self)] = match name.len() {
            2 => &[("te", Self::Hop)],
            4 => &[("host", Self::Host)],
            6 => &[("cookie", Self::Cookie)],
            7 => &[("upgrade", Self::Upgrade)],
            10 => &[("connection", Self::Connection), ("keep-alive", Self::Hop)],
            14 => &[("content-length", Self::ContentLength)],
            16 => &[
                ("proxy-connection", Self::Hop),
                ("x-forwarded-port", Self::ForwardedPort),
            ],
            17 => &[("transfer-encoding", Self::TransferEncoding)],
            _ => &[],
        };
        let found = known
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or(Self::Other, |(_, field)| *field)
    }
}

/// What the `Connection` fields of a message say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
    /// Other fields are named, which do not pass.
    pub(crate) names_fields: bool,
}

/// The fields of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    all: &'a [Header<'a>],
    pub(crate) options: Options,
    pub(crate) length: Option<u64>,
    /// There is a transfer coding; whether it is `chunked` and nothing else.
    pub(crate) coding: Option<bool>,
    pub(crate) upgrade: Option<&'a [u8]>,
    pub(crate) host: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Looks through them.
    ///
    /// # Errors
    /// When they say things that do not go together.
    pub(crate) fn new(all: &'a [Header<'a>]) -> Result<Self, Malformed> {
        let mut fields = Self {
            all,
            options: Options::default(),
            length: None,
            coding: None,
            upgrade: None,
            host: None,
        };
        for header in all {
            match Field::of(header.name) {
                Field::Host => {
                    if fields.host.replace(header.value).is_some() {
                        return Err(Malformed::Hosts);
                    }
                }
                Field::Connection => fields.options.add(header.value),
                Field::Upgrade => fields.upgrade = Some(header.value),
                Field::ContentLength => {
                    let length = length(header.value).ok_or(Malformed::Length)?;
                    if fields
                        .length
                        .replace(length)
                        .is_some_and(|other| other != length)
                    {
                        return Err(Malformed::Length);
                    }
                }
                Field::TransferEncoding => {
                    let is_chunked = header.value.eq_ignore_ascii_case(b"chunked");
                    fields.coding = Some(is_chunked && fields.coding.is_none());
                }
                Field::Hop | Field::Cookie | Field::ForwardedPort | Field::Other => {}
            }
        }
        Ok(fields)
    }

    /// All fields, in the order they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Header<'a>> {
        self.all.iter()
    }

    /// The value of the first field of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        let found = self
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value)
    }

    /// The `Cookie` fields that are text.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &'a str> {
        let cookies = self
            .iter()
            .filter(|header| Field::of(header.name) == Field::Cookie);
        cookies.filter_map(|header| std::str::from_utf8(header.value).ok())
    }

    /// Whether a `Connection` field names `name`.
    pub(crate) fn are_named(&self, name: &str) -> bool {
        self.options.names_fields
            && self
                .iter()
                .filter(|header| Field::of(header.name) == Field::Connection)
                .flat_map(|header| tokens(header.value))
                .any(|token| token.eq_ignore_ascii_case(name.as_bytes()))
    }
}

impl Options {
    fn add(&mut self, value: &[u8]) {
        for token in tokens(value) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.names_fields = true;
            }
        }
    }
}

/// The parts of a list between commas.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// One number, or the same several times (RFC 9110 §8.6). No signs, nothing that does not fit.
fn length(value: &[u8]) -> Option<u64> {
    let mut lengths = tokens(value).map(|token| {
        if token.is_empty() || !token.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let length = std::str::from_utf8(token).ok()?.parse::<u64>().ok()?;
        (length <= MAX_LENGTH).then_some(length)
    });
    let first = lengths.next()??;
    lengths.all(|other| other == Some(first)).then_some(first)
}

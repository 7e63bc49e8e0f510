//! Heads as they go out: what a proxy does to the heads of messages.
//!
//! Fields that are about one connection only do not pass (RFC 9110 §7.6.1). All others pass as they came, in their order and in their
//! writing. `Host` is never changed. The client's address and the port it came to are added, as Marathon-LB's template does
//! (contract marathon-lb §2.5).

use std::io::Write as _;

use super::fields::{self, Field};
use super::head::{Framing, RequestHead, ResponseHead};
use crate::verdict::{self, Changes};

/// How a request goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// May be sent again, and over a used connection: idempotent and without a body.
    Repeatable,
    /// Once, on a connection of its own.
    Once,
    /// Asks to leave HTTP on this connection.
    Upgrade,
}

impl Kind {
    /// How the request goes out.
    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        let has_body = head.framing != Framing::None && head.framing != Framing::Length(0);
        if let Some(upgrade) = head.fields.upgrade
            && head.fields.options.upgrade
            && head.is_1_1
            && !has_body
            // A tunnel to a server's HTTP/2 would go past all rules for requests.
            && !fields::tokens(upgrade).any(is_http2)
        {
            return Self::Upgrade;
        }
        let is_idempotent =
            ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"].contains(&head.method);
        // A server that does not speak HTTP/1.1 to this client closes anyway.
        let is_modern = head.host().is_some();
        if is_idempotent && !has_body && is_modern {
            Self::Repeatable
        } else {
            Self::Once
        }
    }
}

/// Whether a protocol that a client would change to is HTTP/2.
fn is_http2(protocol: &[u8]) -> bool {
    let name = protocol.get(..2).unwrap_or_default();
    name.eq_ignore_ascii_case(b"h2")
}

/// What is said to the client about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Nothing: it stays, as HTTP/1.1 has it.
    Nothing,
    /// It stays, which HTTP/1.0 must be told.
    KeepAlive,
    /// It ends with this answer.
    Close,
    /// It leaves HTTP.
    Upgrade,
}

/// What is said of where a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forwarded<'a> {
    /// Our lines.
    pub(crate) lines: &'a [u8],
    /// The port that came with it passes: ours is not among the lines.
    pub(crate) keeps_port: bool,
}

/// Appends the head of the request as it goes to a server. `changes`: what the backend's labels want otherwise.
pub(crate) fn request(
    head: &RequestHead<'_>,
    kind: Kind,
    changes: &Changes<'_>,
    forwarded: Forwarded<'_>,
    out: &mut Vec<u8>,
) {
    let mut put = |part: &[u8]| out.extend_from_slice(part);
    put(head.method.as_bytes());
    put(b" ");
    put(changes.target.as_deref().unwrap_or(head.target).as_bytes());
    put(match head.host() {
        Some(_) => b" HTTP/1.1\r\n",
        None => b" HTTP/1.0\r\n",
    });
    let host = changes.host.or(head.authority);
    if let Some(host) = host {
        field(out, "Host", host.as_bytes());
    }
    let mut has_length = false;
    for header in head.fields.iter() {
        match Field::of(header.name) {
            Field::Host if host.is_some() => {}
            Field::ContentLength => {
                if let Framing::Length(length) = head.framing
                    && !std::mem::replace(&mut has_length, true)
                {
                    number(out, header.name, length);
                }
            }
            Field::ForwardedPort if forwarded.keeps_port => field(out, header.name, header.value),
            Field::Connection | Field::Hop | Field::Upgrade | Field::ForwardedPort => {}
            Field::Host | Field::TransferEncoding => field(out, header.name, header.value),
            Field::Cookie | Field::Other if head.fields.are_named(header.name) => {}
            Field::Cookie if changes.loses_cookie => {
                // One that is no text is not ours.
                let Ok(cookies) = std::str::from_utf8(header.value) else {
                    field(out, header.name, header.value);
                    continue;
                };
                if let Some(left) = verdict::without_cookie(cookies) {
                    field(out, header.name, left.as_bytes());
                }
            }
            Field::Cookie | Field::Other => field(out, header.name, header.value),
        }
    }
    match (kind, head.fields.upgrade) {
        (Kind::Upgrade, Some(upgrade)) => {
            field(out, "Connection", b"upgrade");
            field(out, "Upgrade", upgrade);
        }
        (Kind::Once, _) => field(out, "Connection", b"close"),
        (Kind::Repeatable | Kind::Upgrade, _) => {}
    }
    out.extend_from_slice(forwarded.lines);
    out.extend_from_slice(b"\r\n");
}

/// What the backend's labels want otherwise of an answer's head.
#[derive(Debug, Default)]
pub(crate) struct Additions {
    /// These stand in the place of all fields of their names.
    pub(crate) replaced: Vec<(&'static str, String)>,
    /// These come beside what is there.
    pub(crate) added: Vec<(&'static str, String)>,
}

/// Appends the head of the answer as it goes to the client. `framing` is that of the answer as it comes; `is_chunked` says whether
/// it goes out in chunks.
pub(crate) fn response(
    head: &ResponseHead<'_>,
    framing: Framing,
    is_chunked: bool,
    farewell: Farewell,
    additions: &Additions,
    out: &mut Vec<u8>,
) {
    let Additions { replaced, added } = additions;
    let is_replaced = |name: &str| replaced.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
    status_line(head, out);
    // Without a body these tell about the one that another method had brought.
    let may_tell_length = head.status != 204;
    let is_told = framing == Framing::None && may_tell_length;
    let mut has_length = false;
    for header in head.fields.iter() {
        match Field::of(header.name) {
            Field::ContentLength => {
                let passes = head.fields.coding.is_none() && (is_told || framing != Framing::None);
                if let Some(length) = head.fields.length.filter(|_| passes)
                    && !std::mem::replace(&mut has_length, true)
                {
                    number(out, header.name, length);
                }
            }
            Field::TransferEncoding if is_told => field(out, header.name, header.value),
            Field::Connection | Field::Hop | Field::Upgrade | Field::TransferEncoding => {}
            Field::Other if head.fields.are_named(header.name) || is_replaced(header.name) => {}
            Field::Host | Field::Cookie | Field::ForwardedPort | Field::Other => {
                field(out, header.name, header.value);
            }
        }
    }
    for (name, value) in replaced.iter().chain(added) {
        field(out, name, value.as_bytes());
    }
    if is_chunked {
        field(out, "Transfer-Encoding", b"chunked");
    }
    match (farewell, head.fields.upgrade) {
        (Farewell::Nothing, _) => {}
        (Farewell::KeepAlive, _) => field(out, "Connection", b"keep-alive"),
        (Farewell::Close, _) => field(out, "Connection", b"close"),
        (Farewell::Upgrade, upgrade) => {
            field(out, "Connection", b"upgrade");
            if let Some(upgrade) = upgrade {
                field(out, "Upgrade", upgrade);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an interim answer (1xx).
pub(crate) fn interim(head: &ResponseHead<'_>, out: &mut Vec<u8>) {
    status_line(head, out);
    for header in head.fields.iter() {
        if Field::of(header.name) == Field::Other && !head.fields.are_named(header.name) {
            field(out, header.name, header.value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// The lines that tell a server where a connection's requests came from; `port` is left out where another proxy has told it.
pub(crate) fn forwarded(client: std::net::IpAddr, port: Option<u16>, is_tls: bool) -> Vec<u8> {
    let mut lines = Vec::new();
    field(&mut lines, "X-Forwarded-For", client.to_string().as_bytes());
    if let Some(port) = port {
        number(&mut lines, "X-Forwarded-Port", u64::from(port));
    }
    if is_tls {
        field(&mut lines, "X-Forwarded-Proto", b"https");
    }
    lines
}

fn status_line(head: &ResponseHead<'_>, out: &mut Vec<u8>) {
    let ResponseHead { status, reason, .. } = head;
    // Writing to a vector cannot fail.
    let _ = write!(out, "HTTP/1.1 {status} {reason}\r\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, name: &str, value: u64) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{name}: {value}\r\n");
}

#[cfg(test)]
mod tests;

//! The requests, and what ours makes of each.

use Expected::{Passes, Refused};

/// What ours does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// 4xx, and the server sees nothing of it.
    Refused,
    /// The server's answer.
    Passes,
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) request: &'static [u8],
    pub(crate) expected: Expected,
    /// Why ours does otherwise than all others.
    pub(crate) why: Option<&'static str>,
}

const fn case(name: &'static str, request: &'static [u8], expected: Expected) -> Case {
    Case {
        name,
        request,
        expected,
        why: None,
    }
}

impl Case {
    const fn because(self, why: &'static str) -> Self {
        let Self {
            name,
            request,
            expected,
            why: _,
        } = self;
        Self {
            name,
            request,
            expected,
            why: Some(why),
        }
    }
}

/// Hidden in bodies: must never be a request of its own.
pub(crate) const HIDDEN: &str = "/hidden";

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    // Lengths.
    case("plain", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", Passes),
    case("chunks", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", Passes),
    case("length and coding", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n....", Refused)
        .because("RFC 9112 6.1 allows both; nobody sends both in good faith"),
    case("coding and length", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n25\r\nGET /hidden HTTP/1.1\r\nHost: h\r\nA: bcd\r\n0\r\n\r\n", Refused)
        .because("RFC 9112 6.1 allows both; nobody sends both in good faith"),
    case("two lengths", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n..", Refused),
    case("a list of lengths", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0, 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n..", Refused),
    case("one length twice", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", Passes),
    case("signed length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\nhi", Refused),
    case("negative length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", Refused),
    case("hexadecimal length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x2\r\n\r\nhi", Refused),
    case("endless length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\nhi", Refused),
    case("empty length", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", Refused),
    case("length behind a blank", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length : 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n..", Refused),
    case("length that wraps round", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 18446744073709551615\r\n\r\nhi", Refused),
    case("length with zeros before", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 002\r\n\r\nhi", Passes),
    case("length with a fraction", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2.0\r\n\r\nhi", Refused),
    case("length with a blank in it", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3 4\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n..", Refused),
    case("length in a list", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2, 2\r\n\r\nhi", Passes),
    case("length of a GET", b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n.", Passes),
    case("length under another name", b"POST / HTTP/1.1\r\nHost: h\r\nContent_Length: 34\r\nContent-Length: 2\r\n\r\nhi", Passes),
    case("length of an option", b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Content-Length\r\nContent-Length: 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n.", Passes),
    // Codings.
    case("unknown coding", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", Refused),
    case("chunked twice", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", Refused),
    case("chunked and identity", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("nearly chunked", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", Refused),
    case("chunked behind a tab", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n", Passes),
    case("chunked behind a control", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Refused),
    case("coding behind a blank", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", Refused),
    case("chunks in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Refused),
    case("chunked in capitals", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n", Passes),
    case("chunked, then identity", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("identity", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", Refused),
    case("gzip, then chunked", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Refused),
    case("no coding", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\nContent-Length: 2\r\n\r\nhi", Refused),
    case("chunked in quotes", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", Refused),
    case("chunked with a parameter", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", Refused),
    case("coding under another name", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\nContent-Length: 2\r\n\r\nhi", Passes),
    case("coding of an option", b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n22\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n.\r\n0\r\n\r\n", Passes),
    // Chunks.
    case("no size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\n0\r\n\r\n", Refused),
    case("signed size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nhi\r\n0\r\n\r\n", Refused),
    case("prefixed size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", Refused),
    case("endless size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nhi\r\n0\r\n\r\n", Refused),
    case("data longer than its size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi!\r\n0\r\n\r\n", Refused),
    case("size ended by a line feed", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", Refused),
    case("extension with a line feed", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;a\nxx\r\n25\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("extension", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nhi\r\n0\r\n\r\n", Passes),
    case("trailers", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n", Passes),
    case("trailers with a length", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nContent-Length: 9\r\n\r\n", Passes),
    case("size with zeros before", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0002\r\nhi\r\n000\r\n\r\n", Passes),
    case("size behind a blank", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n 2\r\nhi\r\n0\r\n\r\n", Refused),
    case("size before a blank", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n", Passes),
    case("negative size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n0\r\n\r\n", Refused),
    case("size that wraps round", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhi\r\n0\r\n\r\n", Refused),
    case("data ended by a line feed", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\n0\r\n\r\n", Refused),
    case("data shorter than its size", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi\r\n0\r\n\r\n.......", Refused),
    case("extension with a NUL", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;\0\r\nhi\r\n0\r\n\r\n", Refused),
    case("trailers with a coding", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nTransfer-Encoding: gzip\r\nHost: x\r\n\r\n", Passes),
    case("trailers ended by line feeds", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\n\r\n\r\n", Refused),
    case("folded trailers", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n c\r\n\r\n", Refused)
        .because("a folded line is refused in heads too, and who reads it as another field reads something else"),
    case("trailers without a colon", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nGET /hidden HTTP/1.1\r\n\r\n", Refused),
    // Heads.
    case("line feeds alone", b"GET / HTTP/1.1\nHost: h\n\n", Passes),
    case("one line feed alone", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n", Refused)
        .because("one line end unlike all others is what somebody writes who hopes that it is read in two ways"),
    case("carriage return alone", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n", Refused),
    case("folded line", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", Refused),
    case("NUL in a value", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", Refused),
    case("NUL in a name", b"GET / HTTP/1.1\r\nHost: h\r\nA\0: b\r\n\r\n", Refused),
    case("no name", b"GET / HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", Refused),
    case("no colon", b"GET / HTTP/1.1\r\nHost: h\r\nA b\r\n\r\n", Refused),
    case("blank before the first field", b"GET / HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n", Refused),
    case("bytes above 127 in a value", b"GET / HTTP/1.1\r\nHost: h\r\nA: \xe4\r\n\r\n", Passes),
    case("empty line before", b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("blank before a colon", b"GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", Refused),
    case("tab before a colon", b"GET / HTTP/1.1\r\nHost: h\r\nA\t: b\r\n\r\n", Refused),
    case("blank in a name", b"GET / HTTP/1.1\r\nHost: h\r\nA B: c\r\n\r\n", Refused),
    case("bytes above 127 in a name", b"GET / HTTP/1.1\r\nHost: h\r\n\xe4: b\r\n\r\n", Refused),
    case("a name like a line of a request", b"GET / HTTP/1.1\r\nHost: h\r\nGET /hidden HTTP/1.1\r\nA: b\r\n\r\n", Refused),
    case("DEL in a value", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\x7fc\r\n\r\n", Refused),
    case("tab in a value", b"GET / HTTP/1.1\r\nHost: h\r\nA: b\tc\r\n\r\n", Passes),
    case("no value", b"GET / HTTP/1.1\r\nHost: h\r\nA:\r\n\r\n", Passes),
    case("carriage return twice", b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", Refused),
    case("a head of 20 kB", HUGE_VALUE, Refused),
    case("300 fields", MANY_FIELDS, Refused),
    // Hosts and targets.
    case("two hosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Refused),
    case("one host twice", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refused),
    case("no host", b"GET / HTTP/1.1\r\n\r\n", Passes),
    case("no host in HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", Passes),
    case("an address", b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("an address of another host", b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", Passes),
    case("an address of ftp", b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("neither path nor address", b"GET foo HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("bytes above 127 in the path", b"GET /\xe4 HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("a fragment", b"GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("two blanks", b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("a tab for a blank", b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("a blank in the path", b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("CONNECT", b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", Refused),
    case("a host with a user", b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", Passes),
    case("an address with a user", b"GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("a host with a blank", b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Passes),
    case("a host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Passes),
    case("an empty host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Passes),
    case("a host of an option", b"GET / HTTP/1.1\r\nConnection: Host\r\nHost: h\r\n\r\n", Passes),
    case("an address without a path", b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("an address without a host", b"GET http:/// HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("a control in the path", b"GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("a NUL in the path", b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("a written NUL in the path", b"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("steps up in the path", b"GET /a/../../b HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("a star", b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("a star for GET", b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    // Versions and methods.
    case("HTTP/0.9", b"GET /\r\n\r\n", Refused),
    case("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", Refused),
    case("HTTP/2 in text", b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", Refused),
    case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refused),
    case("no version", b"GET / HTTP\r\nHost: h\r\n\r\n", Refused),
    case("a colon in the method", b"GE:T / HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("another method", b"PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("TLS", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", Refused),
    case("a method in small letters", b"get / HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("a version in small letters", b"GET / http/1.1\r\nHost: h\r\n\r\n", Refused),
    case("HTTP/1.10", b"GET / HTTP/1.10\r\nHost: h\r\n\r\n", Refused),
    case("HTTP/01.1", b"GET / HTTP/01.1\r\nHost: h\r\n\r\n", Refused),
    case("blanks behind the version", b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", Refused),
    case("no method", b" / HTTP/1.1\r\nHost: h\r\n\r\n", Refused),
    case("TRACE", b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
    case("a body that is expected", b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi", Passes),
    case("what nobody expects", b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nhi", Passes),
    case("an upgrade to HTTP/2", b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", Passes),
    case("an upgrade with a body", b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 34\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n.", Passes),
    case("a field of an option", b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Forwarded-For\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n", Passes),
    case("a second request", b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n", Passes),
];

/// More than a proxy keeps of a head.
const HUGE_VALUE: &[u8] = &{
    let mut head = [b'x'; 20_000];
    put(&mut head, 0, b"GET / HTTP/1.1\r\nHost: h\r\nA: ");
    put(&mut head, 19_996, b"\r\n\r\n");
    head
};

/// More than a proxy counts of fields.
const MANY_FIELDS: &[u8] = &{
    const LINE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n";
    let mut head = [b'x'; LINE.len() + 300 * 6 + 2];
    put(&mut head, 0, LINE);
    let mut n = 0;
    while n < 300 {
        put(&mut head, LINE.len() + n * 6, b"A: b\r\n");
        n += 1;
    }
    put(&mut head, LINE.len() + 300 * 6, b"\r\n");
    head
};

const fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    let mut n = 0;
    while n < bytes.len() {
        into[at + n] = bytes[n];
        n += 1;
    }
}

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// Runs a target on the inputs that are kept for it.
fn replay(target: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let files = fs::read_dir(dir.join(target)).unwrap();
    let mut n = 0;
    for file in files {
        let path = file.unwrap().path();
        let input = fs::read(&path).unwrap();
        // Whole, and cut off everywhere.
        for end in 0..=input.len() {
            run(&input[..end]);
        }
        n += 1;
    }
    assert!(n > 3, "{target} has an input or two");
}

#[test]
fn what_is_kept_goes_well() {
    replay("request", request);
    replay("response", response);
    replay("session", session);
    replay("labels", labels);
    replay("crypt", crypt);
}

/// Some of these, one behind the other, and in between a byte or two that do not belong there.
fn made_of(parts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        20 => prop::sample::select(parts).prop_map(|part| part.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..3),
    ];
    let size = prop_oneof![Just(0), 1..40_u8];
    (size, prop::collection::vec(part, 0..24))
        .prop_map(|(size, parts)| [&[size], &*parts.concat()].concat())
}

const OF_REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "POST / HTTP/1.0\r\n",
    "PUT http://u@h:1/a HTTP/1.1\r\n",
    "Host: h\r\n",
    "Host: h\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5\r\n\r\nhello",
    "Content-Length: 0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding : chunked\r\n",
    "transfer-encoding: identity\r\n",
    "5\r\nhello\r\n",
    "5;a=b \r\nhello\r\n",
    "0\r\n\r\n",
    "000\r\n",
    "A: b\r\n",
    "A: b\r\n\r\n",
    "Trailer: Content-Length\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, Content-Length\r\n",
    "Connection: upgrade\r\nUpgrade: x\r\n",
    "Expect: 100-continue\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n",
    "hello",
];

const OF_ANSWERS: &[&str] = &[
    "\0",
    "\x01",
    "\x02",
    "\x03",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 \r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 x\r\nUpgrade: x\r\n\r\n",
    "HTTP/1.1 204 x\r\n",
    "HTTP/1.1 304 x\r\n",
    "HTTP/1.1 103 x\r\nLink: a\r\n\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 5\r\n\r\nhello",
    "Content-Length: 6\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\n\r\n",
    "Transfer-Encoding: gzip\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\nA: b\r\n\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "A: b\r\n",
    "\r\n",
    "\n",
    "hello",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
];

const OF_SESSIONS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "PUT / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "Expect: 100-continue\r\n",
    "\x1e\x1d",
    "\x1e\x1d",
    "\x1e\x1c",
    "\x1e",
    "\x1eHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "\x1eHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "\x1eHTTP/1.1 200 OK\r\n\r\nhello",
    "\x1eHTTP/1.1 101 x\r\nUpgrade: x\r\n\r\nhello",
    "\x1eHTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "hello",
    "\r\n",
];

const OF_LABELS: &[&str] = &[
    "\x1e",
    "\x1e4",
    "\x1e5",
    "\x1e7",
    "\x1e;",
    "\x1e<",
    "\x1e=",
    "\x1eI",
    "a.example",
    "http://b:80/c",
    ",",
    " ",
    "-i ",
    "-f ",
    "/a",
    "/%[env(A)]",
    "'",
    "\"",
    "\\1",
    "\\",
    "}",
    "{",
    "#",
    "\n",
    "\r",
    "%",
    "10.0.0.0/8",
    "::1",
    "true",
    "realm:user:",
    "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1",
    "5",
    "-1",
    "roundrobin",
    "leastconn",
    "http",
    "tcp",
    "ä",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn servers_get_what_was_asked(input in made_of(OF_REQUESTS)) {
        request(&input);
    }

    #[test]
    fn clients_get_what_was_answered(input in made_of(OF_ANSWERS)) {
        response(&input);
    }
}

proptest! {
    #[test]
    fn conversations_come_to_an_end(input in made_of(OF_SESSIONS)) {
        session(&input);
    }

    #[test]
    fn labels_are_labels(input in made_of(OF_LABELS)) {
        labels(&input);
    }
}

//! Messages through the data plane, from bytes to bytes: all of it but sockets and the loop of a session.

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, ReadBuf};

use super::peer::{self, Kind};
use crate::counters::Counters;
use crate::fixture::visit;
use crate::proxy::SERVER_TIMEOUT;
use crate::proxy::body::Body;
use crate::proxy::buffer::Buffer;
use crate::proxy::download::Download;
use crate::proxy::head::{self, Framing, Scan};
use crate::proxy::rewrite;
use crate::proxy::timer::Timer;
use crate::proxy::upload::{Progress, Upload};
use crate::proxy::visit::{Dispatch, Errand, Request, Visit};
use crate::proxy::wire::{Sink, Source};

/// Bytes that arrive in pieces, and then end.
pub(super) struct Pieces<'a> {
    left: &'a [u8],
    size: usize,
}

impl<'a> Pieces<'a> {
    /// The first byte of `input` is the size.
    pub(super) fn new(input: &'a [u8]) -> Option<Self> {
        let (first, left) = input.split_first()?;
        let size = match first {
            0 => usize::MAX,
            n => usize::from(*n),
        };
        Some(Self { left, size })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.size.min(self.left.len()).min(space.remaining());
        let (piece, left) = self.left.split_at(n);
        space.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

/// What each thread makes once.
struct Edge {
    runtime: tokio::runtime::Runtime,
    visit: Visit,
}

thread_local! {
    static EDGE: Edge = Edge {
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without threads"),
        visit: visit(1),
    };
}

/// What a client sends: requests, one after the other, until one is refused or is the last.
///
/// # Panics
/// When what reaches the servers is not what was asked.
pub fn request(input: &[u8]) {
    EDGE.with(|edge| {
        let _timers = edge.runtime.enter();
        if let Some(pieces) = Pieces::new(input) {
            requests(&edge.visit, &input[1..], pieces);
        }
    });
}

fn requests(visit: &Visit, input: &[u8], pieces: Pieces<'_>) {
    let count = AtomicU64::new(0);
    let mut client = Source::new(pieces, (&count, None));
    let mut unread = Buffer::default();
    let mut timer = Timer::new(SERVER_TIMEOUT);
    // Bytes of the input that were read, and of those the ones that are used up.
    let (mut n_read, mut begin) = (0, 0);
    loop {
        let mut scan = Scan::default();
        let (request, dispatch) = loop {
            if !unread.is_empty() && (scan.is_due(unread.unread()) || unread.is_full()) {
                match visit.receive(unread.unread()) {
                    Ok(Some(received)) => break received,
                    Ok(None) => {}
                    Err(_) => return,
                }
            }
            let read = client.read(&mut unread, &mut timer, SERVER_TIMEOUT);
            match read
                .now_or_never()
                .expect("pieces are there")
                .expect("and can be read")
            {
                0 => return,
                n => n_read += n,
            }
        };
        unread.consume(request.head.len());
        let Dispatch::Server(errand) = dispatch else {
            panic!("its server is there: {dispatch:?}");
        };
        let mut sent = Vec::new();
        let mut upload = Upload::new(request.framing);
        let progress = Progress::default();
        let before = count.load(std::sync::atomic::Ordering::Relaxed);
        let is_whole = {
            let mut server = Sink::new(&mut sent, (&count, None));
            let run = upload.run(
                &mut client,
                &mut unread,
                &mut server,
                &errand.head,
                &progress,
            );
            run.now_or_never().expect("nobody waits").is_ok()
        };
        let after = count.load(std::sync::atomic::Ordering::Relaxed);
        n_read += usize::try_from(after - before).expect("it fits") - sent.len();
        let asked = &input[begin..n_read - unread.unread().len()];
        begin += asked.len();
        check_request(asked, &request, &sent, is_whole);
        if !is_whole || !request.keeps || request.kind == rewrite::Kind::Upgrade {
            return;
        }
    }
}

/// A strict server has read `sent`: one request, the one that the client `asked`.
fn check_request(asked: &[u8], request: &Request, sent: &[u8], is_whole: bool) {
    let read = peer::read(sent, Kind::Request);
    let Some(message) = read.filter(|_| is_whole) else {
        assert!(
            !is_whole && peer::read(sent, Kind::Request).is_none(),
            "whole for one, and not for the other: {}",
            sent.escape_ascii()
        );
        return;
    };
    assert_eq!(message.length, sent.len(), "{}", sent.escape_ascii());
    let line = asked
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty());
    let mut words = line.unwrap_or_default().split(|byte| *byte == b' ');
    assert_eq!(words.next(), Some(message.line[0]), "the method");
    let target = words.next().unwrap_or_default();
    assert!(
        target.ends_with(message.line[1]) || message.line[1] == b"/",
        "{}",
        asked.escape_ascii()
    );
    let body = &asked[request.head.len()..];
    assert_eq!(
        message.body,
        body_of(request.framing, body),
        "{}",
        asked.escape_ascii()
    );
}

/// The data of a body that is all there, read as simply as can be.
fn body_of(framing: Framing, bytes: &[u8]) -> Vec<u8> {
    if framing != Framing::Chunked {
        return bytes.to_vec();
    }
    let (mut data, mut rest) = (Vec::new(), bytes);
    loop {
        let end = peer::find(rest, b"\r\n").expect("a size ends");
        let digits = rest[..end].split(|byte| b"; \t".contains(byte)).next();
        let digits = std::str::from_utf8(digits.unwrap_or_default()).expect("digits are text");
        let size = usize::from_str_radix(digits, 16).expect("a size is a number");
        rest = &rest[end + 2..];
        if size == 0 {
            return data;
        }
        data.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// What a client may have asked before it gets an answer.
const ASKED: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST / HTTP/1.0\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
];

/// What a server sends to one request; the second byte says which.
///
/// # Panics
/// When what reaches the client is not what was answered.
pub fn response(input: &[u8]) {
    EDGE.with(|edge| {
        let _timers = edge.runtime.enter();
        if let [size, which, rest @ ..] = input {
            let pieces = [&[*size], rest].concat();
            let asked = ASKED[usize::from(*which) % ASKED.len()];
            answer(
                &edge.visit,
                asked,
                rest,
                Pieces::new(&pieces).expect("there is a size"),
            );
        }
    });
}

fn answer(visit: &Visit, asked: &[u8], answered: &[u8], pieces: Pieces<'_>) {
    let received = visit.receive(asked).expect("it can be read");
    let (request, dispatch) = received.expect("it is all there");
    let Dispatch::Server(Errand { route, .. }) = dispatch else {
        panic!("its server is there: {dispatch:?}");
    };
    let count = AtomicU64::new(0);
    let counters = Counters::default();
    let mut server = Source::new(pieces, (&count, None));
    let mut timer = Timer::new(SERVER_TIMEOUT);
    let mut said = Vec::new();
    let passed = {
        let mut client = Sink::new(&mut said, (&count, None));
        let mut download = Download::new(&request, &route, &counters, &mut client, &mut timer);
        let pass = async {
            let mut answer = download.answer(&mut server, None, true).await?;
            if answer.is_switching() {
                download
                    .finish(&crate::proxy::body::Piece::default())
                    .await?;
                return Ok(None);
            }
            let last = download.pass(&mut answer, &mut server, None).await?;
            download.finish(&last).await?;
            Ok::<_, crate::proxy::download::Failure>(Some(answer.client_keeps))
        };
        pass.now_or_never().expect("nobody waits")
    };
    check_answer(&request, answered, &said, passed.ok());
}

/// A strict client has read `said`: interim answers, then the one that the server `answered`. `passed`: whether the connection stays if
/// all of it came through, `None` in it for a tunnel.
fn check_answer(request: &Request, answered: &[u8], said: &[u8], passed: Option<Option<bool>>) {
    let kind = Kind::Answer {
        to_head: request.is_head,
    };
    let mut rest = said;
    let message = loop {
        match peer::read(rest, kind) {
            Some(message) if message.line[1][0] == b'1' && message.line[1] != b"101" => {
                assert!(request.is_1_1, "HTTP/1.0 knows no interim answers");
                rest = &rest[message.length..];
            }
            message => break message,
        }
    };
    let Some(keeps) = passed else {
        // Broken off: the client can tell, unless the connection's end is the end.
        assert!(
            message.is_none_or(|message| !message.is_framed),
            "it looks whole: {}",
            said.escape_ascii()
        );
        return;
    };
    let message = message.expect("it is whole");
    let Some(keeps) = keeps else {
        assert_eq!(message.line[1], b"101");
        return;
    };
    assert_eq!(message.length, rest.len(), "{}", said.escape_ascii());
    assert!(message.is_framed || !keeps, "nobody can tell its end");
    assert_eq!(
        message.body,
        body_of_answer(request, answered),
        "{}",
        answered.escape_ascii()
    );
}

/// The body of the last answer in `bytes`, which were all that the server sent or more.
fn body_of_answer(request: &Request, mut bytes: &[u8]) -> Vec<u8> {
    loop {
        let read = head::response(bytes, |head| {
            let is_interim = head.status < 200 && head.status != 101;
            (head.length, is_interim, head.framing(request.is_head))
        });
        let (length, is_interim, framing) =
            read.expect("it could be read").expect("it was all there");
        bytes = &bytes[length..];
        if is_interim {
            continue;
        }
        let mut body = Body::new(framing);
        let mut copy = bytes.to_vec();
        return match framing {
            Framing::None => Vec::new(),
            Framing::UntilClose => copy,
            Framing::Length(n) => {
                copy.truncate(usize::try_from(n).unwrap_or(usize::MAX));
                copy
            }
            Framing::Chunked => {
                let taken = body.take(&mut copy).expect("it could be read");
                body_of(framing, &bytes[..taken.consumed])
            }
        };
    }
}

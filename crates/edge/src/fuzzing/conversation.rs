//! A client's connection as a whole: its requests through the loop of a session to a server behind a socket, and the answers back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use super::messages::Pieces;
use super::peer::{self, Kind};
use crate::fixture;
use crate::proxy::session;
use crate::proxy::wire::Incoming;

/// Nobody waits for anybody here, so whatever takes this long has stopped.
const LIMIT: Duration = Duration::from_secs(20);
/// Stands between what the client sends and what the server does with the first request, the second, and so on.
const BETWEEN: u8 = 0x1e;
/// Begins an act of [`Act::Good`].
const GOOD: u8 = 0x1d;
/// Begins an act of [`Act::Early`].
const EARLY: u8 = 0x1c;
/// Begins the body of every good answer; its number follows.
const ANSWER: &[u8] = b"this is the answer ";

/// What the server does with a request.
enum Act {
    /// Answers it, and waits for the next one.
    Good,
    /// Answers it as soon as it has its head, and ends.
    Early,
    /// Says this, and ends.
    Says(Vec<u8>),
}

/// What the server is to do, and what it has done.
struct Script {
    acts: std::vec::IntoIter<Act>,
    n_begun: usize,
}

impl Script {
    /// The next act, and its number.
    fn next(&mut self) -> (Act, usize) {
        self.n_begun += 1;
        let act = self.acts.next().unwrap_or(Act::Says(Vec::new()));
        (act, self.n_begun)
    }
}

impl Incoming for Pieces<'_> {
    fn has_unread(&self) -> bool {
        !self.is_empty()
    }
}

/// What a client sends, and, each behind a byte of 0x1e, what its server does with the requests.
///
/// # Panics
/// When a server gets something else than requests, each alone and whole; when the client gets something else than answers, or
/// one that was for an earlier request; when somebody waits for ever.
pub fn session(input: &[u8]) {
    // How answers to HEAD end is for `response` to try. Nobody else may speak as the good server does.
    if [b"HEAD", ANSWER]
        .iter()
        .any(|it| peer::find(input, it).is_some())
    {
        return;
    }
    let mut parts = input.split(|byte| *byte == BETWEEN);
    let Some(pieces) = parts.next().and_then(Pieces::new) else {
        return;
    };
    let act = |bytes: &[u8]| match bytes.first() {
        Some(&GOOD) => Act::Good,
        Some(&EARLY) => Act::Early,
        _ => Act::Says(bytes.to_vec()),
    };
    let script = Script {
        acts: parts.map(act).collect::<Vec<_>>().into_iter(),
        n_begun: 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime without threads");
    let said = LocalSet::new().block_on(&runtime, async {
        let talk = tokio::time::timeout(LIMIT, talk(pieces, script));
        talk.await.expect("it comes to an end")
    });
    check(&said);
}

/// Lets them talk until both connections have ended; what the client was told.
async fn talk(pieces: Pieces<'_>, script: Script) -> Vec<u8> {
    let listener = TcpListener::bind((fixture::LOCALHOST, 0)).await;
    let listener = listener.expect("there are ports");
    let port = listener.local_addr().expect("it is bound").port();
    let script = Rc::new(RefCell::new(script));
    let visit = fixture::visit(port);
    let mut servers = JoinSet::new();
    let mut said = Vec::new();
    {
        let stop = CancellationToken::new();
        let served = session::serve(&visit, (pieces, &mut said), &stop);
        let mut served = std::pin::pin!(served);
        loop {
            tokio::select! {
                // Cancel-safe: pinned; and what is accepted is served at once.
                () = &mut served => break,
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("it can be accepted");
                    servers.spawn_local(serve(stream, Rc::clone(&script)));
                }
            }
        }
    }
    // With it go the connections that are kept.
    drop(visit);
    while let Some(ended) = servers.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    said
}

/// Is the server on one connection: reads requests as strictly as can be, and does as the script says.
async fn serve(mut stream: TcpStream, script: Rc<RefCell<Script>>) {
    let mut unread = Vec::new();
    loop {
        if let Ok(0) | Err(_) = stream.read_buf(&mut unread).await {
            return;
        }
        let (act, n) = script.borrow_mut().next();
        loop {
            if let Some(request) = peer::read(&unread, Kind::Request) {
                assert_eq!(request.length, unread.len(), "one at a time");
                unread.clear();
                break;
            }
            let has_head = peer::find(&unread, b"\r\n\r\n").is_some();
            if matches!(act, Act::Early) && has_head {
                break;
            }
            if let Ok(0) | Err(_) = stream.read_buf(&mut unread).await {
                return;
            }
        }
        let body = [ANSWER, n.to_string().as_bytes()].concat();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let good = [head.as_bytes(), &body].concat();
        let (says, ends) = match act {
            Act::Good => (good, false),
            Act::Early => (good, true),
            Act::Says(bytes) => (bytes, true),
        };
        // The edge may have gone.
        let _ = stream.write_all(&says).await;
        if ends {
            let _ = stream.shutdown().await;
            // A socket closed over unread bytes takes back what it has said.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            return;
        }
    }
}

/// A strict client has read what it was told: answers, of which the last may be cut off, or be the last of HTTP.
fn check(said: &[u8]) {
    let mut rest = said;
    let mut last = 0;
    while let Some(answer) = peer::read(rest, Kind::Answer { to_head: false }) {
        if answer.line[1] == b"101" {
            return;
        }
        if let Some(digits) = answer.body.strip_prefix(ANSWER) {
            let digits = std::str::from_utf8(digits).ok();
            let n: Option<usize> = digits.and_then(|digits| digits.parse().ok());
            let n = n.expect("nothing is added to an answer");
            assert!(n > last, "an answer to an earlier request");
            last = n;
        }
        rest = &rest[answer.length..];
    }
}

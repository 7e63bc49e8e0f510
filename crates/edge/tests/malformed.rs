//! Requests that are broken, or that two parties could read differently: what our edge makes of them, and what others do.
//!
//! Behind each proxy stands a server that records what reaches it. Two things must hold for ours, whatever a client sends: what
//! reaches the server means the same to one that believes in lengths and to one that believes in codings; and nothing
//! does that the client has hidden in a body. The table says for each request whether ours refuses it. Where the proxies that are
//! installed all do otherwise, the table says why ours does not.

#![expect(
    clippy::print_stderr,
    reason = "the table is for reading, and a skipped proxy is named"
)]

#[path = "malformed/cases.rs"]
mod cases;
#[path = "support/peers.rs"]
mod peers;
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cases::{CASES, Case, Expected, HIDDEN};
use support::{World, app};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zddcluster_runtime::{OnFailure, Tasks};

use Expected::{Passes, Refused};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that keeps what it is sent, apart for each connection.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Records>>);

#[derive(Default)]
struct Records {
    /// How often they were taken: a connection that is kept beyond that begins anew.
    n_taken: usize,
    of_connections: Vec<Vec<u8>>,
}

impl Recorder {
    async fn start() -> (Self, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorder = Self::default();
        let (tasks, recorded) = (Tasks::new(), recorder.clone());
        let connections = tasks.clone();
        tasks.spawn("recorder", OnFailure::Log, async move {
            loop {
                let (stream, _) = listener.accept().await?;
                connections.spawn(
                    "connection",
                    OnFailure::Log,
                    recorded.clone().record(stream),
                );
            }
        });
        (recorder, address)
    }

    async fn record(self, mut stream: TcpStream) -> Result<(), zddcluster_runtime::Error> {
        // The number of the takings that belong together, the position among their records, and how many requests were answered.
        let mut place = (usize::MAX, 0, 0);
        loop {
            let mut bytes = [0; 4096];
            let n = stream.read(&mut bytes).await?;
            if n == 0 {
                return Ok(());
            }
            let n_requests = {
                let Records {
                    n_taken,
                    of_connections,
                } = &mut *self.0.lock().unwrap();
                if place.0 != *n_taken {
                    place = (*n_taken, of_connections.len(), 0);
                    of_connections.push(Vec::new());
                }
                let recorded = &mut of_connections[place.1];
                recorded.extend_from_slice(&bytes[..n]);
                requests(recorded, true).len()
            };
            for _ in place.2..n_requests {
                stream.write_all(OK).await?;
            }
            place.2 = n_requests;
        }
    }

    fn take(&self) -> Vec<Vec<u8>> {
        let mut records = self.0.lock().unwrap();
        records.n_taken += 1;
        std::mem::take(&mut records.of_connections)
    }
}

/// The request lines in `bytes`, as a server reads them that believes in codings before lengths, or the other way round.
fn requests(bytes: &[u8], codings_first: bool) -> Vec<String> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let (mut rest, mut found) = (&*text, Vec::new());
    while let Some((head, body)) = rest.split_once("\r\n\r\n") {
        let field = |name: &str| {
            let lines = head.split("\r\n").skip(1);
            let mut fields = lines.filter_map(|line| line.split_once(':'));
            let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim())
        };
        let coding = field("transfer-encoding").filter(|coding| coding.contains("chunked"));
        let length = field("content-length").and_then(|length| length.parse::<usize>().ok());
        let after = match (coding, length) {
            (Some(_), None) | (Some(_), Some(_)) if codings_first || length.is_none() => {
                // Our own bodies have no chunk that looks like the last one.
                match body.split_once("0\r\n") {
                    Some((_, after)) => after
                        .split_once("\r\n")
                        .filter(|(line, _)| line.is_empty())
                        .map(|(_, rest)| rest)
                        .or_else(|| after.split_once("\r\n\r\n").map(|(_, rest)| rest)),
                    None => None,
                }
            }
            (_, Some(length)) => body.get(length..),
            (_, None) => Some(body),
        };
        found.push(head.split("\r\n").next().unwrap_or_default().to_owned());
        let Some(after) = after else {
            break;
        };
        rest = after;
    }
    found
}

/// The status of the last answer to `request`; 0 if there is none. A client that gets one ends.
async fn ask(address: std::net::SocketAddr, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = String::new();
    let n_expected = if request.ends_with(b"GET /2 HTTP/1.1\r\nHost: h\r\n\r\n") {
        2
    } else {
        1
    };
    let read = async {
        // A proxy that refuses early may not read all.
        let _ = stream.write_all(request).await;
        while text.matches("HTTP/1.").count() < n_expected || !text.contains("\r\n\r\n") {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(n) => text += &String::from_utf8_lossy(&bytes[..n]),
            }
        }
    };
    // Some proxies wait for more of a request that they do not refuse.
    let _ = tokio::time::timeout(Duration::from_millis(700), read).await;
    let last = text.rfind("HTTP/1.").map(|at| &text[at..]);
    last.and_then(|answer| answer.get(9..12)?.parse().ok())
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_two_things_in_what_passes() {
    let (recorder, address) = Recorder::start().await;
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let peers = peers::start_all(address).await;
    let mut faults = Vec::new();
    let names: String = peers
        .iter()
        .map(|peer| format!(" {:>8}", peer.name))
        .collect();
    eprintln!("{:32} {:>8}{names}", "", "ours");
    for Case {
        name,
        request,
        expected,
        why,
    } in CASES
    {
        recorder.take();
        let ours = ask(world.at(10000), request).await;
        let reached = recorder.take();
        for bytes in &reached {
            let [by_coding, by_length] =
                [true, false].map(|codings_first| requests(bytes, codings_first));
            if by_coding != by_length || by_coding.iter().any(|line| line.contains(HIDDEN)) {
                faults.push(format!(
                    "{name}: the server reads {by_coding:?}, or {by_length:?}"
                ));
            }
        }
        let found = match ours {
            200 => Passes,
            400..500 => Refused,
            _ => {
                faults.push(format!("{name}: status {ours}"));
                continue;
            }
        };
        if found != *expected {
            faults.push(format!(
                "{name}: status {ours}, but expected is {expected:?}"
            ));
        }
        let has_begun = reached
            .iter()
            .any(|bytes| !requests(bytes, true).is_empty());
        if found == Refused && has_begun && !is_seen_late(request) {
            faults.push(format!("{name}: refused, but it has reached the server"));
        }
        let mut line = format!("{name:32} {ours:8}");
        let mut is_alone = !peers.is_empty();
        let asked = peers.iter().map(|peer| ask(peer.address, request));
        for status in futures_util::future::join_all(asked).await {
            is_alone &= (status == 200) != (ours == 200);
            line += &format!(" {status:8}");
        }
        eprintln!(
            "{line}{}",
            why.map(|why| format!("  {why}")).unwrap_or_default()
        );
        if is_alone && why.is_none() {
            faults.push(format!(
                "{name}: all others do otherwise, and the table does not say why"
            ));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Whether what is wrong with it is in the body: its head has gone out then.
fn is_seen_late(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    text.contains("Transfer-Encoding: chunked\r\n\r\n") && !text.contains("Content-Length")
}

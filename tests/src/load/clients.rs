//! The clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::account::{Account, Kind, Report};
use super::websocket::{self, CLOSE, KEY, TEXT};
use super::wire::{Answer, Broken, Wire};

/// Clients of each kind.
const N_CLIENTS: u64 = 12;
/// Requests written at once.
const PIPELINED: u64 = 4;
/// Chunks of an upload, bytes of each, and the pause between two.
const UPLOAD: (usize, usize, Duration) = (5, 700, Duration::from_millis(3));
/// Frames of a tunnel: with a frame every 100 ms it is open for 300 ms, and a task that drains is waited for no longer.
const FRAMES: u64 = 4;

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    account: Arc<Account>,
    clients: JoinSet<()>,
    end: CancellationToken,
}

impl Load {
    /// Lets clients of all kinds ask the service at an address, all together so often a second.
    pub fn start(address: SocketAddr, rate: f64) -> Self {
        Self::of(&Kind::ALL, address, rate)
    }

    /// The same with clients of these kinds only.
    pub fn of(kinds: &[Kind], address: SocketAddr, rate: f64) -> Self {
        let (account, end) = (Arc::new(Account::new()), CancellationToken::new());
        let mut clients = JoinSet::new();
        let name = Arc::new(AtomicU64::new(0));
        let of_each = rate / (kinds.len() as u64 * N_CLIENTS) as f64;
        for n in 0..N_CLIENTS {
            for &kind in kinds {
                let client = Client {
                    kind,
                    address,
                    account: Arc::clone(&account),
                    name: Arc::clone(&name),
                    kept: None,
                    tunnel: Tunnel::default(),
                };
                let at_once = if kind == Kind::Pipelined {
                    PIPELINED
                } else {
                    1
                };
                let period = Duration::from_secs_f64(at_once as f64 / of_each);
                // Not all at the same moment.
                let first = Instant::now() + period.mul_f64(n as f64 / N_CLIENTS as f64);
                clients.spawn(client.run(first, period, end.clone()));
            }
        }
        Self {
            account,
            clients,
            end,
        }
    }

    /// What it has met so far.
    pub fn report(&self) -> Report {
        self.account.report()
    }

    /// Ends it once all that was sent is answered or has failed.
    pub async fn stop(self) -> Report {
        self.end.cancel();
        let length = self.account.report().length;
        self.clients.join_all().await;
        Report {
            length,
            ..self.account.report()
        }
    }
}

struct Client {
    kind: Kind,
    address: SocketAddr,
    account: Arc<Account>,
    /// Each request has a name of its own, which comes back.
    name: Arc<AtomicU64>,
    /// The connection that stays open.
    kept: Option<Wire>,
    /// What is behind it if it is a tunnel.
    tunnel: Tunnel,
}

/// Who is at the other end of a tunnel.
#[derive(Default)]
struct Tunnel {
    task: String,
    version: String,
    /// How many have come back.
    n_frames: u64,
}

impl Client {
    async fn run(mut self, first: Instant, period: Duration, end: CancellationToken) {
        let mut ticks = tokio::time::interval_at(first, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Cancel-safe: timers.
                () = end.cancelled() => return,
                _ = ticks.tick() => {}
            }
            match self.kind {
                Kind::Fresh => self.get(1, "Connection: close\r\n").await,
                Kind::KeptAlive => self.get(1, "").await,
                Kind::Pipelined => self.get(PIPELINED, "").await,
                Kind::Upload => self.upload().await,
                Kind::Websocket => self.frame().await,
            }
        }
    }

    /// So many requests at once.
    async fn get(&mut self, n: u64, field: &str) {
        let sent_at = Instant::now();
        let first = self.name.fetch_add(n, Relaxed);
        let mut names: Vec<String> = (first..first + n).map(|n| n.to_string()).collect();
        self.account.sent(self.kind, n);
        while !names.is_empty() {
            let (mut wire, was_kept) = match self.kept.take() {
                Some(wire) => (wire, true),
                None => match Wire::connect(self.address).await {
                    Ok(wire) => (wire, false),
                    Err(broken) => return self.all_failed(&names, sent_at, &broken.what),
                },
            };
            let mut request = String::new();
            for name in &names {
                request += &format!("GET /get/{name} HTTP/1.1\r\nHost: service\r\n{field}\r\n");
            }
            let mut outcome = wire.send(request.as_bytes()).await.map(|()| false);
            let mut n_answers = 0;
            while n_answers < names.len() && matches!(outcome, Ok(false)) {
                outcome = wire.answer().await.map(|answer| {
                    let name = &names[n_answers];
                    self.judge(&answer, name.as_bytes(), sent_at);
                    n_answers += 1;
                    answer.closes
                });
            }
            names.drain(..n_answers);
            match outcome {
                Ok(false) => self.kept = Some(wire),
                // Said with the answer: what comes behind was not looked at.
                Ok(true) => self.account.repeated(self.kind, names.len() as u64),
                Err(Broken { is_untouched, .. }) if is_untouched && was_kept && n_answers == 0 => {
                    self.account.repeated(self.kind, names.len() as u64);
                }
                Err(broken) => return self.all_failed(&names, sent_at, &broken.what),
            }
        }
    }

    async fn upload(&mut self) {
        let (sent_at, kind) = (Instant::now(), self.kind);
        self.account.sent(kind, 1);
        let name = self.name.fetch_add(1, Relaxed);
        let exchange = async {
            let mut wire = match self.kept.take() {
                Some(wire) => wire,
                None => Wire::connect(self.address).await?,
            };
            wire.send(
                b"POST /echo HTTP/1.1\r\nHost: service\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .await?;
            let (n_chunks, size, pause) = UPLOAD;
            let mut body = Vec::new();
            for n in 0..n_chunks {
                let mut chunk = format!("{name}/{n} ").into_bytes();
                chunk.resize(size, b'a' + n as u8);
                let framed = [format!("{size:x}\r\n").as_bytes(), &chunk, b"\r\n"].concat();
                wire.send(&framed).await?;
                body.extend(chunk);
                tokio::time::sleep(pause).await;
            }
            wire.send(b"0\r\n\r\n").await?;
            let answer = wire.answer().await?;
            Ok((wire, answer, body))
        };
        match exchange.await {
            Ok((wire, answer, body)) => {
                self.judge(&answer, &body, sent_at);
                if !answer.closes {
                    self.kept = Some(wire);
                }
            }
            Err(Broken { what, .. }) => self.account.failed(kind, sent_at, what),
        }
    }

    /// One frame, over a tunnel that is made for the first one and closed after the last.
    async fn frame(&mut self) {
        let (sent_at, kind) = (Instant::now(), self.kind);
        let mut wire = match self.kept.take() {
            Some(wire) => wire,
            None => {
                self.account.sent(kind, 1);
                match self.open_tunnel().await {
                    Ok((wire, tunnel)) => {
                        self.account.answered(kind, &tunnel.version, sent_at);
                        self.tunnel = tunnel;
                        wire
                    }
                    Err(what) => return self.account.failed(kind, sent_at, what),
                }
            }
        };
        self.account.sent(kind, 1);
        self.tunnel.n_frames += 1;
        let name = self.name.fetch_add(1, Relaxed).to_string();
        let is_last = self.tunnel.n_frames == FRAMES;
        let exchange = async {
            echo(&mut wire, TEXT, name.as_bytes()).await?;
            if is_last {
                echo(&mut wire, CLOSE, b"").await?;
            }
            Ok(())
        };
        match exchange.await {
            Ok(()) => {
                self.account.answered(kind, &self.tunnel.version, sent_at);
                self.kept = (!is_last).then_some(wire);
            }
            Err(Broken { what, .. }) => {
                let Tunnel { task, n_frames, .. } = &self.tunnel;
                let what = format!("{what}, to frame {n_frames} of a tunnel to {task}");
                self.account.failed(kind, sent_at, what);
            }
        }
    }

    async fn open_tunnel(&self) -> Result<(Wire, Tunnel), String> {
        let request = format!(
            "GET /tunnel HTTP/1.1\r\nHost: service\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let exchange = async {
            let mut wire = Wire::connect(self.address).await?;
            wire.send(request.as_bytes()).await?;
            let answer = wire.answer().await?;
            Ok((wire, answer))
        };
        let (wire, answer) = exchange.await.map_err(|broken: Broken| broken.what)?;
        match (answer.status, answer.task) {
            (101, Some(task)) => {
                let tunnel = Tunnel {
                    task,
                    version: answer.version,
                    n_frames: 0,
                };
                Ok((wire, tunnel))
            }
            (status, task) => Err(format!("{status} of {task:?}")),
        }
    }

    /// Whether an answer is the service's own, and right.
    fn judge(&self, answer: &Answer, expected: &[u8], sent_at: Instant) {
        let Answer {
            status,
            task,
            version,
            body,
            closes: _,
        } = answer;
        let Some(task) = task else {
            let what = format!("{status} of somebody else");
            return self.account.failed(self.kind, sent_at, what);
        };
        if *status != 200 || body != expected {
            let n = body.len();
            let what = format!("{status} of {task} with {n} bytes, not those expected");
            return self.account.failed(self.kind, sent_at, what);
        }
        self.account.answered(self.kind, version, sent_at);
    }

    fn all_failed(&self, names: &[String], sent_at: Instant, what: &str) {
        for _ in names {
            self.account.failed(self.kind, sent_at, what.to_owned());
        }
    }
}

/// Sends a frame and takes it back.
async fn echo(wire: &mut Wire, opcode: u8, payload: &[u8]) -> Result<(), Broken> {
    wire.send(&websocket::masked(opcode, payload)).await?;
    let expected = websocket::plain(opcode, payload);
    let frame = wire.take(expected.len(), "a frame").await?;
    if frame == expected {
        Ok(())
    } else {
        Err(Broken {
            what: format!("another frame: {frame:?}"),
            is_untouched: false,
        })
    }
}

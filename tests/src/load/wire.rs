//! A connection of a client, byte by byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long anything may take: longer than an edge tries servers, and shorter than a person waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a task of the service signs its answers.
pub(super) const TASK: &str = "x-task";
/// With what version.
pub(super) const VERSION: &str = "x-version";

/// A connection.
pub(super) struct Wire {
    stream: TcpStream,
    /// What has come and was not taken.
    unread: Vec<u8>,
}

/// An answer with all of its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The task that gave it; none if it was not the service.
    pub(super) task: Option<String>,
    pub(super) version: String,
    /// The connection ends with it.
    pub(super) closes: bool,
    pub(super) body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) what: String,
    /// The connection ended where an answer would have begun.
    pub(super) is_untouched: bool,
}

impl Broken {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            is_untouched: false,
        }
    }
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self, Broken> {
        let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await;
        let connected = connected.map_err(|_| Broken::new("no connection in time"))?;
        let stream = connected.map_err(|error| Broken::new(format!("no connection: {error}")))?;
        // Pieces are to arrive as pieces. It fails for a connection that is gone, which the next read tells.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream,
            unread: Vec::new(),
        })
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let sent = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes)).await;
        let sent = sent.map_err(|_| Broken::new("nobody takes the request"))?;
        sent.map_err(|error| Broken {
            what: format!("cannot send: {error}"),
            is_untouched: self.unread.is_empty(),
        })
    }

    /// Reads one answer.
    pub(super) async fn answer(&mut self) -> Result<Answer, Broken> {
        let head_length = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.read("an answer").await?;
        };
        let head = String::from_utf8_lossy(&self.unread[..head_length]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| Broken::new(format!("no status: {head:?}")))?;
        let field = |wanted: &str| {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let mut fields = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            fields.next().map(|(_, value)| value.trim())
        };
        let length = match (status, field("content-length")) {
            (101, _) => 0,
            (_, Some(length)) => length
                .parse()
                .map_err(|_| Broken::new(format!("no length: {head:?}")))?,
            (_, None) => return Err(Broken::new(format!("no length: {head:?}"))),
        };
        let answer = Answer {
            status,
            task: field(TASK).map(str::to_owned),
            version: field(VERSION).unwrap_or_default().to_owned(),
            closes: field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
            body: Vec::new(),
        };
        self.unread.drain(..head_length);
        let body = self.take(length, "a body").await?;
        Ok(Answer { body, ..answer })
    }

    /// Takes so many bytes.
    pub(super) async fn take(&mut self, n: usize, what: &str) -> Result<Vec<u8>, Broken> {
        while self.unread.len() < n {
            let read = self.read(what).await;
            read.map_err(|broken| Broken {
                what: format!("{} of {n} bytes, then {}", self.unread.len(), broken.what),
                // An answer has begun before what is taken.
                is_untouched: false,
            })?;
        }
        Ok(self.unread.drain(..n).collect())
    }

    async fn read(&mut self, what: &str) -> Result<(), Broken> {
        let is_untouched = self.unread.is_empty();
        let mut more = [0; 8192];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut more)).await;
        let read = read.map_err(|_| Broken::new(format!("silence instead of {what}")))?;
        match read {
            Ok(0) => Err(Broken {
                what: format!("an end instead of {what}"),
                is_untouched,
            }),
            Ok(n) => {
                self.unread.extend_from_slice(&more[..n]);
                Ok(())
            }
            Err(error) => Err(Broken {
                what: format!("{error} instead of {what}"),
                is_untouched,
            }),
        }
    }
}

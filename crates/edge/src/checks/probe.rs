//! One check of one server.
//!
//! An HTTP check is a `GET` of HTTP/1.0 without a Host, as HAProxy's; a server that will not have that is asked once more as a
//! browser would. Source: contract marathon-lb §2.7, §3.2.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::health::Outcome;
use crate::labels::{Check, Probe};

/// A status line is shorter.
const MOST_HEAD: usize = 512;
/// A server without HTTP/1.0, or with several hosts, may answer so.
const ASK_ANEW: [u16; 5] = [400, 404, 421, 426, 505];

/// How far a check got, and what ended it.
enum Failed {
    Connect(io::Error),
    ConnectTimeout,
    Timeout,
    Rubbish,
}

/// Asks the server at `address`, for no longer than the check allows.
pub(super) async fn ask(check: &Check, address: SocketAddr) -> Outcome {
    let begun = Instant::now();
    let end = begun + check.timeout;
    let (code, status, text) = match &check.probe {
        Probe::Connect => match connect(address, end).await {
            Ok(_) => ("L4OK", None, String::new()),
            Err(failed) => failed.shown(),
        },
        Probe::Get(path) => match get(path, address, end).await {
            Ok(status @ 200..=399) => ("L7OK", Some(status), phrase(status)),
            Ok(status) => ("L7STS", Some(status), phrase(status)),
            Err(failed) => failed.shown(),
        },
    };
    Outcome {
        code,
        status,
        text,
        took: begun.elapsed(),
    }
}

impl Failed {
    fn shown(self) -> (&'static str, Option<u16>, String) {
        match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                ("L4CON", None, "Connection refused".to_owned())
            }
            Self::Connect(error) => ("L4CON", None, error.kind().to_string()),
            Self::ConnectTimeout => ("L4TOUT", None, String::new()),
            Self::Timeout => ("L7TOUT", None, String::new()),
            Self::Rubbish => ("L7RSP", None, "no HTTP answer".to_owned()),
        }
    }
}

fn phrase(status: u16) -> String {
    let status = http::StatusCode::from_u16(status).ok();
    status
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
        .to_owned()
}

async fn connect(address: SocketAddr, end: Instant) -> Result<TcpStream, Failed> {
    match timeout_at(end, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(Failed::Connect),
        Err(_) => Err(Failed::ConnectTimeout),
    }
}

async fn get(path: &str, address: SocketAddr, end: Instant) -> Result<u16, Failed> {
    let old = exchange(&format!("GET {path} HTTP/1.0\r\n\r\n"), address, end).await;
    match old {
        Ok(status) if !ASK_ANEW.contains(&status) => Ok(status),
        Err(failed @ (Failed::Connect(_) | Failed::ConnectTimeout | Failed::Timeout)) => {
            Err(failed)
        }
        Ok(_) | Err(Failed::Rubbish) => {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
            exchange(&request, address, end).await
        }
    }
}

/// Sends a request and reads the status of its answer.
async fn exchange(request: &str, address: SocketAddr, end: Instant) -> Result<u16, Failed> {
    let mut stream = connect(address, end).await?;
    let talk = async {
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while head.len() < MOST_HEAD && !head.contains(&b'\n') {
            if stream.read_buf(&mut head).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(head)
    };
    match timeout_at(end, talk).await {
        Ok(Ok(head)) => status_of(&head).ok_or(Failed::Rubbish),
        Ok(Err(_)) => Err(Failed::Rubbish),
        Err(_) => Err(Failed::Timeout),
    }
}

/// The status in `HTTP/1.x 200 …`.
fn status_of(head: &[u8]) -> Option<u16> {
    let line =
        std::str::from_utf8(head.split(|byte| *byte == b'\r' || *byte == b'\n').next()?).ok()?;
    let mut words = line.strip_prefix("HTTP/1.")?.split(' ');
    words.next()?;
    let status = words.next()?;
    (status.len() == 3).then(|| status.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines() {
        let status = |head: &str| status_of(head.as_bytes());
        assert_eq!(status("HTTP/1.1 200 OK\r\nX: y"), Some(200));
        assert_eq!(status("HTTP/1.0 302\n"), Some(302));
        for rubbish in [
            "",
            "SSH-2.0-x\r\n",
            "HTTP/1.1 20\r\n",
            "HTTP/1.1\r\n",
            "HTTP/2 200\r\n",
        ] {
            assert_eq!(status(rubbish), None, "{rubbish}");
        }
    }
}

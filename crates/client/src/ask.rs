//! One question to one task, as health and readiness checks ask it: connect, or GET without redirects, over TLS or not, on a
//! connection of its own. Failures in Marathon's words.
//!
//! Source: contract marathon §6.2.

mod tls;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How a task is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the open.
    Http,
    /// Over TLS, with whatever certificate the task shows.
    Https,
}

impl Scheme {
    /// As a URL begins.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Why a task gave no answer (contract marathon §6.2).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Not within the time limit.
    #[error("AskTimeoutException: Ask timed out on {host}:{port} after [{millis} ms]")]
    Timeout {
        /// Who was asked.
        host: String,
        /// At which port.
        port: u16,
        /// The limit.
        millis: u128,
    },
    /// Nobody there.
    #[error("ConnectionAttemptFailedException: Connection attempt to {host}:{port} failed")]
    Connect {
        /// Who was asked.
        host: String,
        /// At which port.
        port: u16,
    },
    /// Somebody, but no answer; why.
    #[error("{0}")]
    Exchange(String),
}

/// Why a task took no connection.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody listens there.
    #[error("ConnectException: Connection refused")]
    Refused,
    /// Something else is wrong.
    #[error("ConnectException: {0}")]
    Failed(io::Error),
    /// Not within the time limit.
    #[error("SocketTimeoutException: connect timed out")]
    Timeout,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Also a redirect's: none is followed.
    pub status: StatusCode,
    /// `application/octet-stream` if it names none.
    pub content_type: String,
    /// Its first bytes.
    pub body: Bytes,
}

/// Connects and closes. Cancel-safe: dropped, the connection is given up.
pub async fn connect(host: &str, port: u16, timeout: Duration) -> Result<(), Refusal> {
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Refusal::Refused),
        Ok(Err(error)) => Err(Refusal::Failed(error)),
        Err(_) => Err(Refusal::Timeout),
    }
}

/// GETs `path`; of the body at most `body_limit` bytes are read, the rest is cut off. Cancel-safe as [`connect`].
pub async fn get(
    scheme: Scheme,
    (host, port): (&str, u16),
    path: &str,
    timeout: Duration,
    body_limit: usize,
) -> Result<Answer, Failure> {
    let exchange = async {
        let connected = TcpStream::connect((host, port)).await;
        let stream = connected.map_err(|_| Failure::Connect {
            host: host.to_owned(),
            port,
        })?;
        match scheme {
            Scheme::Http => exchange(stream, (host, port), path, body_limit).await,
            Scheme::Https => {
                let stream = tls::connect(host, stream)
                    .await
                    .map_err(|error| Failure::Exchange(format!("SSLException: {error}")))?;
                exchange(stream, (host, port), path, body_limit).await
            }
        }
    };
    // The handshakes of TLS take room.
    tokio::time::timeout(timeout, Box::pin(exchange))
        .await
        .unwrap_or_else(|_| {
            Err(Failure::Timeout {
                host: host.to_owned(),
                port,
                millis: timeout.as_millis(),
            })
        })
}

async fn exchange<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    (host, port): (&str, u16),
    path: &str,
    body_limit: usize,
) -> Result<Answer, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Exchange(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let request = Request::get(format!("{slash}{path}"))
        .header(header::HOST, authority(host, port))
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(&error))?;
    let talk = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| failed(&error))?;
        let status = response.status();
        let content_type = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("application/octet-stream")
            .to_owned();
        let body = if body_limit == 0 {
            Bytes::new()
        } else {
            read_up_to(response.into_body(), body_limit).await
        };
        Ok(Answer {
            status,
            content_type,
            body,
        })
    };
    let mut talk = std::pin::pin!(talk);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Cancel-safe: both are only borrowed.
        answer = talk.as_mut() => answer,
        // The connection may end before its last bytes were looked at.
        _ = connection.as_mut() => talk.await,
    }
}

/// `host:port`, where a host may be an address of IPv6.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The first bytes of a body; what breaks off or goes on beyond is cut.
async fn read_up_to(mut body: hyper::body::Incoming, limit: usize) -> Bytes {
    let mut read = Vec::new();
    while read.len() < limit
        && let Some(Ok(frame)) = body.frame().await
    {
        if let Some(data) = frame.data_ref() {
            let room = limit - read.len();
            read.extend_from_slice(&data[..room.min(data.len())]);
        }
    }
    read.into()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn hosts_of_either_kind() {
        assert_eq!(authority("10.0.0.1", 80), "10.0.0.1:80");
        assert_eq!(authority("fd00::2", 80), "[fd00::2]:80");
    }

    #[tokio::test]
    async fn of_a_long_body_the_beginning_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            let body = "x".repeat(100_000);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{body}");
            // The reader goes before all of it has come.
            let _ = stream.write_all(answer.as_bytes()).await;
        };
        let patience = Duration::from_secs(30);
        let get = get(Scheme::Http, ("127.0.0.1", port), "/", patience, 20_001);
        let ((), answer) = tokio::join!(serve, get);
        assert_eq!(answer.unwrap().body, "x".repeat(20_001));
    }
}

//! One question to one task: connect, or GET without redirects, over TLS or not, on a connection of its own. Failures in
//! Marathon's words.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use zddcluster_engine::state::Task;
use zddcluster_model::App;
use zddcluster_model::app::{HealthProtocol, ReadinessCheck};
use zddcluster_model::task::ReadinessResponse;

use super::tls;

/// Longest body kept of a readiness answer: it is shown in the deployment, one for each new task.
const LONGEST_BODY: usize = 16 * 1024;

/// How a task is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Why a task gave no answer (contract marathon §6.2).
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("AskTimeoutException: Ask timed out on {host}:{port} after [{millis} ms]")]
    Timeout {
        host: String,
        port: u16,
        millis: u128,
    },
    #[error("ConnectionAttemptFailedException: Connection attempt to {host}:{port} failed")]
    Connect { host: String, port: u16 },
    #[error("{0}")]
    Exchange(String),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

/// Connects and closes; the cause if that fails.
pub(super) async fn connect(host: &str, port: u16, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err("ConnectException: Connection refused".to_owned())
        }
        Ok(Err(error)) => Err(format!("ConnectException: {error}")),
        Err(_) => Err("SocketTimeoutException: connect timed out".to_owned()),
    }
}

/// GETs `path`; of the body at most `body_limit` bytes are read, the rest is cut off.
pub(super) async fn get(
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
        .header(header::HOST, format!("{host}:{port}"))
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

/// Asks a task whether it is ready. A task that cannot be asked answers 504.
pub(super) async fn readiness(
    app: &App,
    check: &ReadinessCheck,
    task: &Task,
    timeout: Duration,
) -> ReadinessResponse {
    let port_index = port_index(app, &check.port_name);
    let endpoint = super::endpoint(app, task, port_index, None).filter(|_| port_index.is_some());
    let scheme = match check.protocol {
        HealthProtocol::Https | HealthProtocol::MesosHttps => Scheme::Https,
        HealthProtocol::Http
        | HealthProtocol::Tcp
        | HealthProtocol::Command
        | HealthProtocol::MesosHttp
        | HealthProtocol::MesosTcp => Scheme::Http,
    };
    let shown = scheme.as_str();
    let Some((host, port)) = endpoint else {
        let text = format!("no port named {}", check.port_name);
        return not_asked(&format!("{shown}://{}{}", task.host, check.path), &text);
    };
    match get(scheme, (host, port), &check.path, timeout, LONGEST_BODY).await {
        Ok(answer) => ReadinessResponse {
            status: answer.status.as_u16(),
            content_type: answer.content_type,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        },
        Err(failure) => not_asked(
            &format!("{shown}://{host}:{port}{}", check.path),
            &failure.to_string(),
        ),
    }
}

fn not_asked(url: &str, text: &str) -> ReadinessResponse {
    ReadinessResponse {
        status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
        content_type: "text/plain".to_owned(),
        body: format!("Marathon could not query {url}: {text}"),
    }
}

/// The index of the app's port with this name.
fn port_index(app: &App, name: &str) -> Option<u32> {
    let is_named = |given: &Option<String>| given.as_deref() == Some(name);
    let at = match app.port_mappings() {
        Some(mappings) => mappings.iter().position(|mapping| is_named(&mapping.name)),
        None => app
            .port_definitions
            .iter()
            .position(|definition| is_named(&definition.name)),
    };
    at.and_then(|at| u32::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

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

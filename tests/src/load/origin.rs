//! The service that is asked: says its name on each answer, and has no manners.
//!
//! | request | answer |
//! |---|---|
//! | `GET /health` | 503 until it is healthy, then 200 |
//! | `GET /get/NAME` | NAME |
//! | `GET /wait/MS/NAME` | NAME, after so many milliseconds |
//! | `POST /echo` | the body, once it is there |
//! | `GET /tunnel` with an upgrade | a websocket on which frames come back |
//!
//! Nothing is done about SIGTERM, so it ends the process with all that is in hand: whoever sends it to a task in use loses requests.

use std::convert::Infallible;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::websocket::{self, ACCEPT, CLOSE, TEXT};
use super::wire::{TASK, VERSION};

struct Origin {
    task: HeaderValue,
    version: HeaderValue,
    healthy_at: Instant,
    /// When the first and the last `GET /get` came, in microseconds since 1970; 0: none has.
    came: (AtomicI64, AtomicI64),
}

/// Serves until it is killed.
///
/// Environment: `HOST` and `PORT0` (where to listen), `MESOS_TASK_ID`, `VERSION` and `HEALTHY_AFTER_MS` (default 0). With
/// `RECORD`, a directory, the moments of the first and the last `GET /get` are left there at SIGTERM, under the task's id.
///
/// # Errors
/// When the environment says no address, or somebody else listens there.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let text = |name: &str| std::env::var(name).unwrap_or_default();
    let host: IpAddr = text("HOST").parse().context("HOST is no address")?;
    let port: u16 = text("PORT0").parse().context("PORT0 is no port")?;
    let healthy_after = text("HEALTHY_AFTER_MS").parse().unwrap_or(0);
    let origin = Arc::new(Origin {
        task: text("MESOS_TASK_ID").parse()?,
        version: text("VERSION").parse()?,
        healthy_at: Instant::now() + Duration::from_millis(healthy_after),
        came: Default::default(),
    });
    let record = std::env::var_os("RECORD").map(PathBuf::from);
    // Without a record it stays as it is by itself: the end.
    let mut terminate = match record {
        Some(_) => Some(signal(SignalKind::terminate())?),
        None => None,
    };
    let listener = TcpListener::bind((host, port)).await?;
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            // Cancel-safe: a connection stays in the kernel's queue.
            accepted = listener.accept() => accepted?.0,
            // Cancel-safe: nobody wants the result.
            Some(_) = connections.join_next() => continue,
            // Cancel-safe: signals are kept.
            Some(_) = terminated(terminate.as_mut()) => {
                let (first, last) = &origin.came;
                let moments = format!("{} {}", first.load(Relaxed), last.load(Relaxed));
                let to = record.context("there is no signal without a record")?;
                return Ok(std::fs::write(to.join(text("MESOS_TASK_ID")), moments)?);
            }
        };
        // A failure means that the client is gone.
        let _ = stream.set_nodelay(true);
        let origin = Arc::clone(&origin);
        let answer = service_fn(move |request| {
            let origin = Arc::clone(&origin);
            async move { Ok::<_, Infallible>(origin.answer(request).await) }
        });
        connections.spawn(
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .with_upgrades(),
        );
    }
}

/// Waits for the signal; for ever if none is heard.
async fn terminated(signal: Option<&mut Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

impl Origin {
    fn note(&self) {
        let (first, last) = &self.came;
        let now = jiff::Timestamp::now().as_microsecond();
        // Who is not the first leaves it as it is.
        let _ = first.compare_exchange(0, now, Relaxed, Relaxed);
        last.store(now, Relaxed);
    }

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let (status, body) = match (request.method(), parts.as_slice()) {
            (&Method::GET, ["health"]) if Instant::now() < self.healthy_at => {
                (StatusCode::SERVICE_UNAVAILABLE, Bytes::new())
            }
            (&Method::GET, ["health"]) => (StatusCode::OK, Bytes::new()),
            (&Method::GET, ["get", name]) => {
                self.note();
                (StatusCode::OK, (*name).to_owned().into())
            }
            (&Method::GET, ["wait", millis, name]) => {
                let millis = millis.parse().unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(millis)).await;
                (StatusCode::OK, (*name).to_owned().into())
            }
            (&Method::POST, ["echo"]) => match request.body_mut().collect().await {
                Ok(body) => (StatusCode::OK, body.to_bytes()),
                Err(_) => (StatusCode::BAD_REQUEST, Bytes::new()),
            },
            (&Method::GET, ["tunnel"]) => {
                let upgrade = hyper::upgrade::on(&mut request);
                #[expect(clippy::disallowed_methods, reason = "ends with its tunnel")]
                tokio::spawn(tunnel(upgrade));
                (StatusCode::SWITCHING_PROTOCOLS, Bytes::new())
            }
            _ => (StatusCode::NOT_FOUND, Bytes::new()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let fields = response.headers_mut();
        fields.insert(TASK, self.task.clone());
        fields.insert(VERSION, self.version.clone());
        if status == StatusCode::SWITCHING_PROTOCOLS {
            fields.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
            let accept = HeaderName::from_static("sec-websocket-accept");
            fields.insert(accept, HeaderValue::from_static(ACCEPT));
        }
        response
    }
}

/// Sends frames back until the closing one.
async fn tunnel(upgrade: OnUpgrade) -> anyhow::Result<()> {
    let mut stream = TokioIo::new(upgrade.await?);
    loop {
        let mut header = [0; 2];
        stream.read_exact(&mut header).await?;
        let n = websocket::rest_of(header).context("a frame of a client")?;
        let mut rest = vec![0; n];
        stream.read_exact(&mut rest).await?;
        let opcode = if header[0] == CLOSE { CLOSE } else { TEXT };
        let frame = websocket::plain(opcode, &websocket::payload(&rest));
        stream.write_all(&frame).await?;
        if opcode == CLOSE {
            return Ok(stream.shutdown().await?);
        }
    }
}

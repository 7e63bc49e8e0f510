//! Connections to the target: made, kept, counted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Target;
use crate::exchange::Fault;
use crate::report::FailureKind;

/// A connection over which one request at a time can be sent.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Empty<Bytes>>,
    /// How many bytes have come in so far.
    pub(crate) received: Arc<AtomicU64>,
}

/// Makes connections, keeps idle ones, and owns the tasks that drive them.
pub(crate) struct Connections {
    target: Target,
    /// What the name stands for. Looked up until it is found once, as by any long-lived client.
    addresses: OnceCell<Vec<SocketAddr>>,
    /// The one used last is used next.
    idle: Mutex<Vec<Connection>>,
    drivers: TaskTracker,
    end: CancellationToken,
}

impl Connections {
    pub(crate) fn new(target: Target) -> Self {
        Self {
            target,
            addresses: OnceCell::new(),
            idle: Mutex::default(),
            drivers: TaskTracker::new(),
            end: CancellationToken::new(),
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Makes a fresh connection.
    pub(crate) async fn connect(&self) -> Result<Connection, Fault> {
        let stream = self.dial().await?;
        let received = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            stream,
            received: Arc::clone(&received),
        };
        let handshake = http1::handshake(TokioIo::new(counted)).await;
        let (sender, connection) =
            handshake.map_err(|error| Fault::new(FailureKind::Local, error.to_string()))?;
        let end = self.end.clone();
        // Errors of the connection come out at the request that suffers from them.
        self.drivers
            .spawn(async move { end.run_until_cancelled_owned(connection).await });
        Ok(Connection { sender, received })
    }

    /// Returns an idle connection that is still open as far as one can know, if there is one.
    pub(crate) async fn reuse(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle().pop()?;
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(crate) fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        idle.retain(|connection| !connection.sender.is_closed());
        if !connection.sender.is_closed() {
            idle.push(connection);
        }
    }

    /// Closes all connections and waits for that.
    pub(crate) async fn close(&self) {
        self.idle().clear();
        self.end.cancel();
        self.drivers.close();
        self.drivers.wait().await;
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A list is whole between any two calls.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial(&self) -> Result<TcpStream, Fault> {
        let addresses = self
            .addresses
            .get_or_try_init(|| resolve(&self.target))
            .await?;
        let mut fault = Fault::new(FailureKind::Resolve, "the name has no address".to_owned());
        for address in addresses {
            match TcpStream::connect(address).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(stream)
            }) {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    fault = Fault::new(connect_kind(&error), format!("{address}: {error}"))
                }
            }
        }
        Err(fault)
    }
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, Fault> {
    if let Ok(address) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    match tokio::net::lookup_host((target.host.as_str(), target.port)).await {
        Ok(addresses) => Ok(addresses.collect()),
        Err(error) => Err(Fault::new(
            FailureKind::Resolve,
            format!("{}: {error}", target.host),
        )),
    }
}

fn connect_kind(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureKind::ConnectRefused,
        io::ErrorKind::ConnectionReset => FailureKind::Reset,
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::AddrInUse => FailureKind::Local,
        // EMFILE, ENFILE: no open files left. They have no kind of their own.
        _ if matches!(error.raw_os_error(), Some(23 | 24)) => FailureKind::Local,
        _ => FailureKind::ConnectFailed,
    }
}

/// A stream that counts what comes in.
struct Counted {
    stream: TcpStream,
    received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let n_bytes = buffer.filled().len() - before;
        self.received.fetch_add(n_bytes as u64, Ordering::Relaxed);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! The two sides of the wire, counted.
//!
//! [`ClientIo`] shares its socket with the connection's keeper, which watches progress and answers where the HTTP machinery
//! has given up: a client that was too slow with its request, or whose request cannot be read. To the latter the machinery says
//! a bare head by itself ([`is_bare_refusal`]); it is held back, so that the keeper can say it with a body.
//! [`ServerIo`] counts for a server and its backend.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::counters::Counters;

/// How long a client that is told off may go on sending: it takes a round trip until it has heard.
const LINGER: Duration = Duration::from_secs(1);

/// A client's socket and what has moved over it.
#[derive(Debug)]
pub(crate) struct ClientSocket {
    stream: TcpStream,
    counters: Arc<Counters>,
    /// Bytes read on this connection.
    pub(crate) received: AtomicU64,
    /// Bytes written on this connection.
    pub(crate) sent: AtomicU64,
    /// The client does not take what is there for it.
    pub(crate) is_blocked: AtomicBool,
    /// What looks like the HTTP machinery's own refusal is held back; not so in a tunnel or in TCP mode.
    holds_refusals: AtomicBool,
    /// The one held back: the last thing said on a connection, so there is no second.
    held: Mutex<Option<Box<[u8]>>>,
}

impl ClientSocket {
    pub(crate) fn new(stream: TcpStream, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            stream,
            counters,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
            holds_refusals: AtomicBool::new(false),
            held: Mutex::default(),
        })
    }

    /// Holds refusals back until [`take_held`](Self::take_held).
    pub(crate) fn hold_refusals(&self) {
        self.holds_refusals.store(true, Relaxed);
    }

    /// Ends holding back and returns what was.
    pub(crate) fn take_held(&self) -> Option<Box<[u8]>> {
        self.holds_refusals.store(false, Relaxed);
        self.held().take()
    }

    /// Takes `bytes` instead of the socket if they are a refusal to be held back.
    fn holds(&self, bytes: &[u8]) -> bool {
        let holds = self.holds_refusals.load(Relaxed) && is_bare_refusal(bytes);
        if holds {
            *self.held() = Some(bytes.into());
        }
        holds
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Box<[u8]>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something has arrived that was not read yet.
    pub(crate) fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        // The socket does not block: nothing to read is an error.
        socket2::SockRef::from(&self.stream)
            .peek(&mut byte)
            .is_ok_and(|n| n > 0)
    }

    /// Writes as much of `bytes` as fits, without waiting, and ends this side. What the client still sends is read and dropped
    /// for [`LINGER`]: a socket that is closed over unread bytes resets the connection, and what was just said is lost.
    pub(crate) async fn say_last(&self, bytes: &[u8]) {
        // A client that does not take even this gets nothing.
        if let Ok(n) = self.stream.try_write(bytes) {
            self.counters.bytes_out.fetch_add(n as u64, Relaxed);
        }
        if self.shut_down().is_err() {
            return;
        }
        let drained = async {
            let mut dropped = [0; 4096];
            while self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut dropped) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        // Whether the client ended or the time is over, the socket is closed now.
        let _ = tokio::time::timeout(LINGER, drained).await;
    }

    fn shut_down(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write)
    }
}

/// Whether `bytes` are all that hyper says by itself to a request it cannot read: a status 400, 414 or 431 without a body. A
/// server's answer may look the same; which it was shows when the connection ends.
fn is_bare_refusal(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.1 4")
        && bytes.ends_with(b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct ClientIo(pub(crate) Arc<ClientSocket>);

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = &self.0;
        loop {
            ready!(socket.stream.poll_read_ready(cx))?;
            match socket.stream.try_read_buf(buf) {
                Ok(n) => {
                    socket.received.fetch_add(n as u64, Relaxed);
                    socket.counters.bytes_in.fetch_add(n as u64, Relaxed);
                    return Poll::Ready(Ok(()));
                }
                // The readiness was outdated and is cleared now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl ClientIo {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let socket = &self.0;
        loop {
            if socket.stream.poll_write_ready(cx)?.is_pending() {
                socket.is_blocked.store(true, Relaxed);
                return Poll::Pending;
            }
            match write(&socket.stream) {
                Ok(n) => {
                    if socket.is_blocked.load(Relaxed) {
                        socket.is_blocked.store(false, Relaxed);
                    }
                    socket.sent.fetch_add(n as u64, Relaxed);
                    socket.counters.bytes_out.fetch_add(n as u64, Relaxed);
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.0.holds(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        self.poll_write_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [buf] = bufs
            && self.0.holds(buf)
        {
            return Poll::Ready(Ok(buf.len()));
        }
        self.poll_write_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.held().is_some() {
            // Its keeper has something to say yet, and closes the socket then.
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.0.shut_down())
    }
}

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct ServerIo {
    stream: TcpStream,
    server: Arc<Counters>,
    backend: Arc<Counters>,
}

impl ServerIo {
    pub(crate) fn new(stream: TcpStream, server: Arc<Counters>, backend: Arc<Counters>) -> Self {
        Self {
            stream,
            server,
            backend,
        }
    }

    fn count_in(&self, n: usize) {
        self.server.bytes_in.fetch_add(n as u64, Relaxed);
        self.backend.bytes_in.fetch_add(n as u64, Relaxed);
    }
}

impl AsyncRead for ServerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let n = (buf.filled().len() - before) as u64;
        self.server.bytes_out.fetch_add(n, Relaxed);
        self.backend.bytes_out.fetch_add(n, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ServerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.count_in(n);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.count_in(n);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

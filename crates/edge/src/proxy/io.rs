//! The two sides of the wire, counted.
//!
//! [`ClientIo`] shares its socket with the connection's keeper, which watches progress and, when a client was too slow with
//! its request, answers after the HTTP machinery has given up. [`ServerIo`] counts for a server and its backend.

use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::counters::Counters;

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
}

impl ClientSocket {
    pub(crate) fn new(stream: TcpStream, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            stream,
            counters,
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            is_blocked: AtomicBool::new(false),
        })
    }

    /// Whether something has arrived that was not read yet.
    pub(crate) fn has_unread(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        // The socket does not block: nothing to read is an error.
        socket2::SockRef::from(&self.stream)
            .peek(&mut byte)
            .is_ok_and(|n| n > 0)
    }

    /// Writes as much of `bytes` as fits, without waiting.
    pub(crate) fn try_write(&self, bytes: &[u8]) {
        // A client that does not take even this gets nothing.
        if let Ok(n) = self.stream.try_write(bytes) {
            self.counters.bytes_out.fetch_add(n as u64, Relaxed);
        }
    }
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
        self.poll_write_with(cx, |stream| stream.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = socket2::SockRef::from(&self.0.stream);
        Poll::Ready(socket.shutdown(Shutdown::Write))
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

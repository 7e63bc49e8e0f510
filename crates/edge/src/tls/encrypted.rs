//! A connection whose TLS ends here: what a session reads and writes is plain.
//!
//! Reading may have to write and writing to read, so both sides are one stream behind a lock. Nobody ever waits for it: all of a
//! connection is one task.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::HTTP_2;
use crate::proxy::wire::{self, Incoming};

/// How long a client has for taking what says that the connection ends: after its session, nobody waits for it any more.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection after the handshake.
#[derive(Debug)]
pub(crate) struct Encrypted {
    stream: Mutex<TlsStream<TcpStream>>,
    n_written: AtomicU64,
}

/// One of its sides.
#[derive(Debug)]
pub(crate) struct Side<'a>(&'a Encrypted);

impl Encrypted {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self {
            stream: Mutex::new(stream),
            n_written: AtomicU64::new(0),
        }
    }

    /// The name that the client asked for, or nothing.
    pub(crate) fn name(&self) -> String {
        let stream = self.lock();
        let (_, connection) = stream.get_ref();
        connection.server_name().unwrap_or_default().to_owned()
    }

    /// Whether the client has chosen HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.lock().get_ref().1.alpn_protocol() == Some(HTTP_2)
    }

    /// Counts the bytes that were written.
    pub(crate) fn n_written(&self) -> &AtomicU64 {
        &self.n_written
    }

    /// The sides that are read and written; each of them can do both.
    pub(crate) fn split(&self) -> (Side<'_>, Side<'_>) {
        (Side(self), Side(self))
    }

    /// Tells the client that nothing more comes, and closes the connection.
    pub(crate) async fn end(self) {
        let stream = self.stream.into_inner();
        let mut stream = stream.unwrap_or_else(PoisonError::into_inner);
        // It may be broken, or nobody there who hears it.
        let _ = tokio::time::timeout(END_TIMEOUT, stream.shutdown()).await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for Side<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut *self.0.lock()).poll_read(cx, bytes) {
            // Many clients just close: what must not be cut off has a length or chunks.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
            read => read,
        }
    }
}

impl AsyncWrite for Side<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut *self.0.lock()).poll_write(cx, bytes))?;
        self.0.n_written.fetch_add(n as u64, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut *self.0.lock()).poll_write_vectored(cx, parts))?;
        self.0.n_written.fetch_add(n as u64, Relaxed);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.lock()).poll_shutdown(cx)
    }
}

impl Incoming for Side<'_> {
    fn has_unread(&self) -> bool {
        // What had been decrypted was read: a read only waits when there is nothing left.
        wire::has_unread(self.0.lock().get_ref().0)
    }
}

//! A connection whose TLS ends here: what a session reads and writes is plain.
//!
//! Reading may have to write and writing to read, so both sides are one stream behind a lock. Nobody ever waits for it: all of a
//! connection is one task.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::proxy::wire::{self, Incoming};

/// How long a client has for taking what says that the connection ends: after its session, nobody waits for it any more.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection after the handshake.
#[derive(Debug)]
pub(crate) struct Encrypted(Mutex<TlsStream<TcpStream>>);

/// One of its sides.
#[derive(Debug)]
pub(crate) struct Side<'a>(&'a Encrypted);

impl Encrypted {
    pub(super) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self(Mutex::new(stream))
    }

    /// The name that the client asked for, or nothing.
    pub(crate) fn name(&self) -> String {
        let stream = self.lock();
        let (_, connection) = stream.get_ref();
        connection.server_name().unwrap_or_default().to_owned()
    }

    /// The sides that are read and written.
    pub(crate) fn split(&self) -> (Side<'_>, Side<'_>) {
        (Side(self), Side(self))
    }

    /// Tells the client that nothing more comes, and closes the connection.
    pub(crate) async fn end(self) {
        let mut stream = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        // It may be broken, or nobody there who hears it.
        let _ = tokio::time::timeout(END_TIMEOUT, stream.shutdown()).await;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TlsStream<TcpStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        Pin::new(&mut *self.0.lock()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0.lock()).poll_write_vectored(cx, parts)
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

//! The directions of connections: bytes are read into buffers and written out of them, and counted.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;

use super::buffer::Buffer;
use super::timer::{Elapsed, Timer};

/// What counts the bytes of a direction: a frontend's counter, or a server's and its backend's.
pub(crate) type Tally<'a> = (&'a AtomicU64, Option<&'a AtomicU64>);

/// The side of a client's connection that is read.
pub(crate) trait Incoming: AsyncRead + Unpin {
    /// Whether something has come that was not read yet.
    fn has_unread(&self) -> bool;
}

/// Where bytes come from.
#[derive(Debug)]
pub(crate) struct Source<'a, R> {
    reader: R,
    tally: Tally<'a>,
}

/// Where bytes go.
#[derive(Debug)]
pub(crate) struct Sink<'a, W> {
    writer: W,
    tally: Tally<'a>,
    has_begun: bool,
}

/// Why a direction ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The connection is broken.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// Nothing moved for too long.
    #[error("nothing moved for too long")]
    Stuck,
}

impl From<Elapsed> for Fault {
    fn from(_: Elapsed) -> Self {
        Self::Stuck
    }
}

impl<'a, R: AsyncRead + Unpin> Source<'a, R> {
    /// `tally` counts what is read.
    pub(crate) fn new(reader: R, tally: Tally<'a>) -> Self {
        Self { reader, tally }
    }

    /// Appends what has come to `buffer`, which must not be full; 0 means that the other side has ended. Cancel-safe.
    ///
    /// # Errors
    /// When the connection is broken, or nothing has come for `limit`.
    pub(crate) async fn read(
        &mut self,
        buffer: &mut Buffer,
        timer: &mut Timer,
        limit: Duration,
    ) -> Result<usize, Fault> {
        let read = std::future::poll_fn(|cx| self.poll_read(cx, buffer));
        Ok(timer.within(limit, read).await??)
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        let n = ready!(buffer.poll_fill(|space| Pin::new(&mut self.reader).poll_read(cx, space)))?;
        count(self.tally, n);
        Poll::Ready(Ok(n))
    }
}

impl<R: Incoming> Source<'_, R> {
    /// Whether something has come that was not read yet.
    pub(crate) fn has_unread(&self) -> bool {
        self.reader.has_unread()
    }
}

impl Incoming for ReadHalf<'_> {
    fn has_unread(&self) -> bool {
        has_unread(self.as_ref())
    }
}

/// Whether something has come over a socket that was not read yet. The kernel is asked: the runtime may not have heard of it.
pub(crate) fn has_unread(socket: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    // The socket does not block: nothing to read is an error.
    let peeked = SockRef::from(socket).peek(&mut byte);
    peeked.is_ok_and(|n| n > 0)
}

impl<'a, W: AsyncWrite + Unpin> Sink<'a, W> {
    /// `tally` counts what is written.
    pub(crate) fn new(writer: W, tally: Tally<'a>) -> Self {
        Self {
            writer,
            tally,
            has_begun: false,
        }
    }

    /// Whether anything was written at all.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Writes the parts one behind the other, in as few writes as the kernel takes them; it has taken all of them then.
    ///
    /// # Errors
    /// When the connection is broken, or the other side has taken nothing for `limit`.
    pub(crate) async fn write<const N: usize>(
        &mut self,
        parts: [&[u8]; N],
        timer: &mut Timer,
        limit: Duration,
    ) -> Result<(), Fault> {
        let mut slices = parts.map(IoSlice::new);
        let mut slices = &mut slices[..];
        // Leaves out empty parts at the front.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let (first, others) = slices.split_first().expect("it is not empty");
            // Gathering costs the kernel something, so it is only asked to if there is something to gather.
            let is_alone = others.iter().all(|other| other.is_empty());
            let written = std::future::poll_fn(|cx| {
                let writer = Pin::new(&mut self.writer);
                match is_alone {
                    true => writer.poll_write(cx, first),
                    false => writer.poll_write_vectored(cx, slices),
                }
            });
            let n = timer.within(limit, written).await??;
            if n == 0 {
                return Err(Fault::Broken(io::ErrorKind::WriteZero.into()));
            }
            self.has_begun = true;
            count(self.tally, n);
            IoSlice::advance_slices(&mut slices, n);
        }
        // Encrypted bytes may still wait; a socket never has any.
        let flushed = std::future::poll_fn(|cx| Pin::new(&mut self.writer).poll_flush(cx));
        Ok(timer.within(limit, flushed).await??)
    }

    /// Ends this side.
    ///
    /// # Errors
    /// When the connection is broken, or the other side has taken nothing for `limit`.
    pub(crate) async fn end(&mut self, timer: &mut Timer, limit: Duration) -> Result<(), Fault> {
        let ended = std::future::poll_fn(|cx| Pin::new(&mut self.writer).poll_shutdown(cx));
        Ok(timer.within(limit, ended).await??)
    }
}

fn count((one, other): Tally<'_>, n: usize) {
    one.fetch_add(n as u64, Relaxed);
    if let Some(other) = other {
        other.fetch_add(n as u64, Relaxed);
    }
}

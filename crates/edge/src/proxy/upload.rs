//! A request's body on its way to the server, while the answer may already come back.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::body::{Body, Piece};
use super::buffer::Buffer;
use super::head::Framing;
use super::pages::{self, Page};
use super::timer::Timer;
use super::wire::{Fault, Sink, Source};
use super::{CLIENT_TIMEOUT, SERVER_TIMEOUT};

/// The body of a request, as far as it has not gone out.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Body,
    is_chunked: bool,
    /// Made of what stands at the front of the client's buffer, and not gone out yet.
    piece: Option<Piece>,
}

/// What the other direction can see of an upload.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// When all of the request had gone out, or the server would not take the rest.
    pub(crate) over_at: OnceLock<Instant>,
    /// All of the request has gone out.
    pub(crate) is_complete: AtomicBool,
    /// Something of the request has gone out.
    pub(crate) has_begun: AtomicBool,
    /// The head of the answer has gone to the client, or is about to.
    pub(crate) is_answered: AtomicBool,
}

/// Why an upload ended before its time.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The client's fault, and what to tell it.
    Client(Page),
    /// The server takes no more. It may have answered yet.
    Server,
    /// The server took nothing for too long.
    ServerStuck,
}

impl Progress {
    /// Notes that nothing more of the request goes out.
    pub(crate) fn is_over(&self) {
        self.over_at.get_or_init(Instant::now);
    }
}

impl Upload {
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            body: Body::new(framing),
            is_chunked: framing == Framing::Chunked,
            piece: None,
        }
    }

    /// Whether the client has more to say that belongs to the request.
    pub(crate) fn is_over(&self) -> bool {
        self.body.is_ended() && self.piece.is_none()
    }

    /// Sends the head and the body. `input` holds what was read of the client after the request's head. When it fails before anything
    /// has gone out, it can be called again for another connection.
    ///
    /// # Errors
    /// When a side fails; see [`Broken`].
    pub(crate) async fn run<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        client: &mut Source<'_, R>,
        input: &mut Buffer,
        server: &mut Sink<'_, W>,
        mut head: &[u8],
        progress: &Progress,
    ) -> Result<(), Broken> {
        let mut timer = Timer::new(CLIENT_TIMEOUT.min(SERVER_TIMEOUT));
        loop {
            if self.piece.is_none() && !(input.is_empty() || self.body.is_ended()) {
                let taken = self.body.take(input.unread_mut());
                let taken = taken.map_err(|_| Broken::Client(pages::BAD_REQUEST))?;
                self.piece = Some(Piece::new(taken, &self.body, self.is_chunked));
            }
            let none = Piece::default();
            let piece = self.piece.as_ref().unwrap_or(&none);
            let data = &input.unread()[..piece.data];
            let parts = [head, piece.line(), data, piece.tail()];
            let written = server.write(parts, &mut timer, SERVER_TIMEOUT).await;
            progress.has_begun.store(server.has_begun(), Relaxed);
            written.map_err(|fault| match fault {
                Fault::Broken(_) => Broken::Server,
                Fault::Stuck => Broken::ServerStuck,
            })?;
            head = &[];
            input.consume(piece.consumed);
            self.piece = None;
            if self.body.is_ended() {
                return Ok(());
            }
            if input.is_empty() {
                match client.read(input, &mut timer, CLIENT_TIMEOUT).await {
                    Ok(0) | Err(Fault::Broken(_)) => {
                        return Err(Broken::Client(pages::BAD_REQUEST));
                    }
                    Ok(_) => {}
                    Err(Fault::Stuck) => return Err(Broken::Client(pages::REQUEST_TIMEOUT)),
                }
            }
        }
    }
}

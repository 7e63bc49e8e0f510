//! A client's HTTP connection: request after request, for as long as both sides are of use to each other.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::buffer::Buffer;
use super::forward::Unanswered;
use super::head::Scan;
use super::pages::{self, Page, Said};
use super::rewrite::Farewell;
use super::tcp::End;
use super::timer::Timer;
use super::upload::Upload;
use super::visit::{Dispatch, Errand, Request, Visit};
use super::wire::{Fault, Incoming, Sink, Source};
use super::{CLIENT_TIMEOUT, HEAD_TIMEOUT, KEEP_ALIVE_TIMEOUT};

/// How long a client whose connection we end may go on sending: it takes a round trip until it has heard.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection.
pub(crate) struct Session<'s, R, W> {
    pub(crate) visit: &'s Visit,
    pub(crate) client: End<'s, R, W>,
    pub(crate) timer: Timer,
    stop: &'s CancellationToken,
}

/// What comes of waiting for a request.
enum Next {
    Request(Request, Dispatch),
    /// The client has gone, or is told nothing.
    Ended,
    /// It is told this, and nothing more.
    Refused(Page),
}

/// Serves all requests of one connection, of which these are the sides that are read and written. After `stop` is cancelled, the
/// request that is being answered is the last one.
pub(crate) async fn serve<R: Incoming, W: AsyncWrite + Unpin>(
    visit: &Visit,
    (reader, writer): (R, W),
    stop: &CancellationToken,
) {
    let mut session = Session {
        visit,
        client: End {
            source: Source::new(reader, (&visit.frontend.bytes_in, None)),
            sink: Sink::new(writer, (&visit.frontend.bytes_out, None)),
            unread: Buffer::default(),
        },
        timer: Timer::new(KEEP_ALIVE_TIMEOUT),
        stop,
    };
    let mut stopped = pin!(stop.cancelled());
    let mut connected_at = Some(Instant::now());
    loop {
        match session.next(connected_at.take(), stopped.as_mut()).await {
            Next::Request(request, dispatch) => {
                // Boxed: a connection that waits for a request is not to pay for what carries one out.
                if !Box::pin(session.answer(request, dispatch)).await {
                    return;
                }
            }
            Next::Ended => return,
            Next::Refused(page) => {
                visit.frontend.request_errors.fetch_add(1, Relaxed);
                // Boxed too.
                return Box::pin(session.refuse(page)).await;
            }
        }
    }
}

impl<R: Incoming, W: AsyncWrite + Unpin> Session<'_, R, W> {
    /// Whether the connection may stay after the next answer.
    pub(crate) fn may_keep(&self) -> bool {
        !self.stop.is_cancelled()
    }

    /// Waits for a request. `began`: when the time for it began to run, if that was not with its first byte.
    async fn next(
        &mut self,
        mut began: Option<Instant>,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Next {
        let mut scan = Scan::default();
        loop {
            let End { source, unread, .. } = &mut self.client;
            let is_idle = unread.is_empty();
            if !is_idle && (scan.is_due(unread.unread()) || unread.is_full()) {
                match self.visit.receive(unread.unread()) {
                    Ok(Some((request, dispatch))) => {
                        unread.consume(request.head.len());
                        return Next::Request(request, dispatch);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(%error, "request refused");
                        return Next::Refused(pages::BAD_REQUEST);
                    }
                }
            }
            if !is_idle && began.is_none() {
                began = Some(Instant::now());
            }
            let limit = match began {
                // It came in the last moment. Who has nothing to ask must not hold up the end.
                _ if is_idle && self.stop.is_cancelled() => KEEP_ALIVE_TIMEOUT,
                Some(began) => HEAD_TIMEOUT.saturating_sub(began.elapsed()),
                None => KEEP_ALIVE_TIMEOUT,
            };
            let read = source.read(unread, &mut self.timer, limit);
            let read = tokio::select! {
                biased;
                // Cancel-safe: what is not read stays in the socket.
                read = read => read,
                () = stopped.as_mut(), if is_idle && !self.stop.is_cancelled() => Err(Fault::Stuck),
            };
            match read {
                Ok(0) | Err(Fault::Broken(_)) => return Next::Ended,
                Ok(_) => {}
                // A request that has just arrived would be lost with the connection.
                Err(Fault::Stuck) if is_idle && self.client.source.has_unread() => {}
                Err(Fault::Stuck) if self.stop.is_cancelled() || began.is_none() => {
                    return Next::Ended;
                }
                Err(Fault::Stuck) => return Next::Refused(pages::REQUEST_TIMEOUT),
            }
        }
    }

    /// Answers one request; whether another one may follow.
    async fn answer(&mut self, request: Request, dispatch: Dispatch) -> bool {
        let second = match &dispatch {
            Dispatch::Server(Errand {
                lease: Some(lease), ..
            }) => lease.began.second,
            Dispatch::Server(_) | Dispatch::Said(_) | Dispatch::Unchecked(_) | Dispatch::Nobody => {
                self.visit.shared.second()
            }
        };
        self.visit.frontend.request(second);
        let mut upload = Upload::new(request.framing);
        let keeps = match self.forward(&request, dispatch, &mut upload).await {
            Ok(keeps) => keeps,
            Err(Unanswered::Told(said)) => {
                let keeps = request.keeps && self.may_keep() && upload.is_over();
                self.say(said, request.farewell(keeps), request.is_head)
                    .await;
                keeps
            }
            Err(Unanswered::Cut) => return false,
        };
        // A client that has said that it is the last one has nothing more to say.
        if !keeps && (request.keeps || !upload.is_over()) {
            self.linger().await;
        }
        keeps
    }

    /// Says why there is no answer, and that there is nothing more to come.
    async fn refuse(&mut self, page: Page) {
        self.say(page.into(), Farewell::Close, false).await;
        self.linger().await;
    }

    /// Says one of the edge's own answers.
    async fn say(&mut self, said: Said, farewell: Farewell, is_head: bool) {
        let Said { page, mut lines } = said;
        self.visit.frontend.response(page.status());
        lines += match farewell {
            Farewell::Close => "Connection: close\r\n",
            Farewell::KeepAlive => "Connection: keep-alive\r\n",
            Farewell::Nothing | Farewell::Upgrade => "",
        };
        let answer = page.raw(&lines, is_head);
        let sink = &mut self.client.sink;
        let said = sink.write([answer.as_bytes()], &mut self.timer, CLIENT_TIMEOUT);
        if let Err(fault) = said.await {
            tracing::debug!(%fault, "the client does not listen");
        }
    }

    /// Ends our side. What the client still sends is read and dropped for [`LINGER`]: a socket that is closed over unread bytes resets
    /// the connection, and what was just said is lost.
    async fn linger(&mut self) {
        let ended = self.client.sink.end(&mut self.timer, LINGER);
        if ended.await.is_err() {
            return;
        }
        let End { source, unread, .. } = &mut self.client;
        let deadline = Instant::now() + LINGER;
        loop {
            unread.consume(unread.unread().len());
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match source.read(unread, &mut self.timer, left).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

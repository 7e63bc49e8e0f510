//! One request and its answer over one connection to a server.

use std::sync::atomic::Ordering::Relaxed;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::SERVER_TIMEOUT;
use super::body::Piece;
use super::buffer::Buffer;
use super::download::{Download, Failure};
use super::session::Session;
use super::upload::{Broken, Progress, Upload};
use super::visit::{Errand, Request};
use super::wire::{Fault, Incoming, Sink, Source};

/// How an exchange ended that gave an answer.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All of the answer has gone out.
    Answered {
        /// The client's connection can serve another request.
        keeps: bool,
    },
    /// The server left HTTP, its answer that says so has gone out, and it has said something since.
    Switched(TcpStream, Buffer),
}

impl<R: Incoming, W: AsyncWrite + Unpin> Session<'_, R, W> {
    /// Sends the request and passes the answer on. `upload`: its body. The lease ends when the server has said all, and its connection is
    /// kept then if it can be.
    ///
    /// # Errors
    /// When there is no answer, or not all of it.
    pub(crate) async fn exchange(
        &mut self,
        request: &Request,
        errand: &mut Errand,
        upload: &mut Upload,
        mut stream: TcpStream,
    ) -> Result<Outcome, Failure> {
        if !upload.is_over() {
            // Apart and boxed: most requests have no body, and their task is to stay small.
            let exchange = self.exchange_both_ways(request, errand, upload, stream);
            return Box::pin(exchange).await;
        }
        let (may_keep, may_repeat) = (self.may_keep(), self.may_repeat(request));
        let server = &errand.route.server;
        let (visit, client, timer) = (self.visit, &mut self.client, &mut self.timer);
        let mut sink = Sink::new(&mut stream, server.bytes_in());
        match sink.write([&errand.head], timer, SERVER_TIMEOUT).await {
            Ok(()) => {}
            Err(Fault::Stuck) => return Err(Failure::Silent),
            Err(Fault::Broken(_)) if sink.has_begun() => return Err(Failure::Broken),
            Err(Fault::Broken(_)) => return Err(Failure::Unsent),
        }
        let mut source = Source::new(&mut stream, server.bytes_out());
        let sink = &mut client.sink;
        let mut download = Download::new(request, &errand.route, &visit.frontend, sink, timer);
        let answered = async {
            let mut answer = download.answer(&mut source, None, may_keep).await?;
            let last = match answer.is_switching() {
                true => None,
                false => Some(download.pass(&mut answer, &mut source, None).await?),
            };
            Ok((answer, last))
        };
        let answered = tokio::select! {
            biased;
            // The other one ends the request: none of them goes on afterwards.
            answered = answered => answered,
            () = gone(&mut client.source, &mut client.unread) => {
                server.count(|counters| &counters.client_aborts);
                Err(Failure::Cut)
            }
        };
        let (answer, Some(last)) = answered? else {
            let early = std::mem::take(&mut download.buffer);
            download.finish(&Piece::default()).await?;
            return Ok(Outcome::Switched(stream, early));
        };
        let now = Instant::now();
        if may_repeat && download.leaves_server_usable(&answer, &last) {
            server.pool.put(stream, now);
            visit.shared.broom.is_needed();
        } else {
            // Before the lease: a server that is told to end has no connections left then.
            drop(stream);
        }
        if let Some(lease) = errand.lease.take() {
            lease.end(download.answered_at.unwrap_or(now), now);
        }
        download.finish(&last).await?;
        Ok(Outcome::Answered {
            keeps: answer.client_keeps,
        })
    }

    /// The same for a request with a body. The answer may begin, and end, before all of the body has gone out.
    async fn exchange_both_ways(
        &mut self,
        request: &Request,
        errand: &mut Errand,
        upload: &mut Upload,
        mut stream: TcpStream,
    ) -> Result<Outcome, Failure> {
        let may_keep = self.may_keep();
        let server = &errand.route.server;
        let (visit, client, timer) = (self.visit, &mut self.client, &mut self.timer);
        let (reader, writer) = stream.split();
        let mut to_server = Sink::new(writer, server.bytes_in());
        let mut from_server = Source::new(reader, server.bytes_out());
        let progress = Progress::default();
        let sink = &mut client.sink;
        let mut download = Download::new(request, &errand.route, &visit.frontend, sink, timer);
        let both = {
            let (source, unread) = (&mut client.source, &mut client.unread);
            let head = &errand.head;
            let up = async {
                let uploaded = upload.run(source, unread, &mut to_server, head, &progress);
                match uploaded.await {
                    Err(Broken::Server) if !progress.has_begun.load(Relaxed) => {
                        return Failure::Unsent;
                    }
                    Err(Broken::Client(_)) if progress.is_answered.load(Relaxed) => {
                        server.count(|counters| &counters.client_aborts);
                        return Failure::Cut;
                    }
                    Err(Broken::Client(page)) => return Failure::Client(page),
                    Err(Broken::ServerStuck) if !progress.is_answered.load(Relaxed) => {
                        return Failure::Silent;
                    }
                    Ok(()) => progress.is_complete.store(true, Relaxed),
                    // A server that takes no more may say why.
                    Err(Broken::Server | Broken::ServerStuck) => {}
                }
                progress.is_over();
                gone(source, unread).await;
                server.count(|counters| &counters.client_aborts);
                Failure::Cut
            };
            let down = async {
                let mut answer = download
                    .answer(&mut from_server, Some(&progress), may_keep)
                    .await?;
                progress.is_answered.store(true, Relaxed);
                let last = download
                    .pass(&mut answer, &mut from_server, Some(&progress))
                    .await?;
                Ok((answer, last))
            };
            tokio::select! {
                biased;
                // Whatever ends first ends the request: none of them goes on afterwards.
                failure = up => Err(failure),
                answered = down => answered,
            }
        };
        let (answer, last) = both?;
        drop(stream);
        if let Some(lease) = errand.lease.take() {
            let now = Instant::now();
            lease.end(download.answered_at.unwrap_or(now), now);
        }
        download.finish(&last).await?;
        Ok(Outcome::Answered {
            // The rest of a body cannot be told from a request.
            keeps: answer.client_keeps && upload.is_over(),
        })
    }
}

/// Waits until the connection of a client that has asked is broken. What it says meanwhile stands in `unread`, as far as there is
/// room. One that has ended its side may still want the answer (HAProxy without `option abortonclose`).
async fn gone<R: AsyncRead + Unpin>(client: &mut Source<'_, R>, unread: &mut Buffer) {
    while !unread.is_full() {
        match std::future::poll_fn(|cx| client.poll_read(cx, unread)).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the client has gone");
                return;
            }
        }
    }
    std::future::pending().await
}

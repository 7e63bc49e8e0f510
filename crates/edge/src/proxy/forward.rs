//! Carrying out a request: which servers are tried, how often, and what the client is told if none of them answers.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::AsyncWrite;
use tokio::time::Instant;

use super::download::Failure;
use super::exchange::Outcome;
use super::pages::{self, Page, Said};
use super::rewrite::Kind;
use super::session::Session;
use super::upload::Upload;
use super::visit::{Dispatch, Errand, Request};
use super::wire::Incoming;
use super::{Attempts, connect, obey, tcp};
use crate::live::LiveServer;
use crate::passwords::Attempt;
use crate::verdict::Refusal;

/// Why a request has no answer of a server that another request may follow.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The client is to be told.
    Told(Said),
    /// There is nothing to tell it: it has gone, had a part of an answer, or has left HTTP.
    Cut,
}

impl Unanswered {
    fn told(page: Page) -> Self {
        Self::Told(page.into())
    }
}

impl<R: Incoming, W: AsyncWrite + Unpin> Session<'_, R, W> {
    /// Tries servers until one answers. Whether the client's connection can serve another request.
    ///
    /// # Errors
    /// When none does, or when HTTP is over on this connection.
    pub(crate) async fn forward(
        &mut self,
        request: &Request,
        mut dispatch: Dispatch,
        upload: &mut Upload,
    ) -> Result<bool, Unanswered> {
        let mut attempts = Attempts::default();
        let mut was_sent = false;
        loop {
            let mut errand = match dispatch {
                Dispatch::Server(errand) => errand,
                Dispatch::Said(_) | Dispatch::Nobody if was_sent => {
                    return Err(Unanswered::told(pages::BAD_GATEWAY));
                }
                Dispatch::Said(said) => return Err(Unanswered::Told(said)),
                Dispatch::Unchecked(attempt) => {
                    // Boxed: it is for the first of many requests.
                    dispatch = Box::pin(self.check(request, attempt, attempts.tried())).await;
                    continue;
                }
                Dispatch::Nobody => {
                    if !attempts.pause().await {
                        return Err(Unanswered::told(pages::UNAVAILABLE));
                    }
                    dispatch = self.visit.dispatch_again(request, attempts.tried());
                    continue;
                }
            };
            let attempt = self.attempt(request, &mut errand, upload).await;
            let Errand { route, lease, .. } = errand;
            let server = route.server;
            let address = server.spec.address;
            match attempt {
                Ok(Outcome::Answered { keeps }) => return Ok(keeps),
                Ok(Outcome::Switched(stream, early)) => {
                    // Boxed: few connections leave HTTP, and their task is to stay small.
                    Box::pin(tcp::tunnel(&mut self.client, stream, early, &server)).await;
                    return Err(Unanswered::Cut);
                }
                Err(Failure::Unsent) => {
                    if !attempts.has_failed(address) {
                        return Err(Unanswered::told(pages::UNAVAILABLE));
                    }
                    server.backend.retries.fetch_add(1, Relaxed);
                }
                Err(Failure::Broken) => {
                    count_failure(&server, pages::BAD_GATEWAY);
                    // Once more on another server, if doing it twice does no harm.
                    if was_sent || !self.may_repeat(request) || !attempts.has_failed(address) {
                        return Err(Unanswered::told(pages::BAD_GATEWAY));
                    }
                    was_sent = true;
                    server.backend.redispatches.fetch_add(1, Relaxed);
                }
                // What could not be read is no better elsewhere.
                Err(Failure::Unreadable) => {
                    count_failure(&server, pages::BAD_GATEWAY);
                    return Err(Unanswered::told(pages::BAD_GATEWAY));
                }
                Err(Failure::Silent) => {
                    count_failure(&server, pages::GATEWAY_TIMEOUT);
                    return Err(Unanswered::told(pages::GATEWAY_TIMEOUT));
                }
                Err(Failure::Client(page)) => {
                    self.visit.frontend.request_errors.fetch_add(1, Relaxed);
                    server.count(|counters| &counters.client_aborts);
                    return Err(Unanswered::told(page));
                }
                Err(Failure::Cut) => return Err(Unanswered::Cut),
            }
            drop(lease);
            dispatch = self.visit.dispatch_again(request, attempts.tried());
        }
    }

    /// Has the password of a request checked, and decides by what comes of it, leaving out the servers that were `tried`.
    async fn check(&self, request: &Request, attempt: Attempt, tried: &[SocketAddr]) -> Dispatch {
        let realm = attempt.realm.clone();
        match self.visit.shared.passwords.check(attempt).await {
            Some(true) => self.visit.dispatch_again(request, tried),
            Some(false) => Dispatch::Said(obey::refuse(Refusal::Unauthorized(realm))),
            None => Dispatch::Said(pages::UNAVAILABLE.into()),
        }
    }

    /// Whether the request may be sent again when its connection breaks, and so over one that may be about to break.
    pub(crate) fn may_repeat(&self, request: &Request) -> bool {
        request.kind == Kind::Repeatable && self.visit.shared.config.resends
    }

    /// Tries one server: first over a connection that it has left open, if the request may be sent twice.
    async fn attempt(
        &mut self,
        request: &Request,
        errand: &mut Errand,
        upload: &mut Upload,
    ) -> Result<Outcome, Failure> {
        if self.may_repeat(request)
            && let Some(stream) = errand.route.server.pool.take()
        {
            match self.exchange(request, errand, upload, stream).await {
                // It was closing while we wrote: a fresh one decides.
                Err(Failure::Unsent | Failure::Broken) => {
                    tracing::debug!(server = %errand.route.server.spec.name, "kept connection was closed");
                }
                ended => return ended,
            }
        }
        let connected = connect::connect(&errand.route.server, &mut self.timer).await;
        let stream = connected.map_err(|_| Failure::Unsent)?;
        if let Some(lease) = &mut errand.lease {
            lease.connected_at = Instant::now();
        }
        self.exchange(request, errand, upload, stream).await
    }
}

fn count_failure(server: &LiveServer, page: Page) {
    server.count(|counters| &counters.response_errors);
    for counters in [&server.counters, &server.backend] {
        counters.response(page.status());
    }
}

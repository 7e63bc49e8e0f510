//! One HTTP request: routed, sent to a server, and answered, by the routes of the moment.

use std::cell::Cell;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::body::{Answer, Leaving, Progress, Upload};
use super::headers::{self, Kind, Origin};
use super::obey;
use super::pages::{self, Page};
use super::pool::Connection;
use super::session::{Activity, Tunnel};
use super::{Attempts, SERVER_TIMEOUT, connect};
use crate::counters::Counters;
use crate::labels::Mode;
use crate::live::Lease;
use crate::state::Shared;
use crate::table::Backend;
use crate::verdict::{self, Facts, Refusal};

const X_MARATHON_APP_ID: HeaderName = HeaderName::from_static("x-marathon-app-id");

/// What decides where a connection's requests go.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// The host, then whatever services share the port.
    Vhosts {
        /// The vhost port.
        port: u16,
    },
    /// The app id header.
    AppIds,
    /// The listener.
    Service {
        /// Its port.
        port: u16,
        /// The backend this connection was given.
        backend: Arc<str>,
    },
}

/// A client's connection as its requests see it.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entry: Entry,
    pub(crate) frontend: Arc<Counters>,
    pub(crate) origin: Origin,
    pub(crate) client: IpAddr,
}

/// TLS is not available yet; this is where clients would look for it.
const HTTPS: u16 = 443;

/// Who is to answer a request.
enum Chosen {
    /// A server of this backend.
    Server(Lease, Arc<Backend>),
    /// None; and perhaps the client is told why.
    Nobody(Option<Refusal>),
}

/// Why an exchange gave no answer.
#[derive(Debug)]
enum Failure {
    /// The request was not sent; here it is again.
    Unsent(Box<Request<Upload>>),
    /// The connection ended after at least some of it was sent.
    Broken(hyper::Error),
    /// The server, or with an upload the client, was silent.
    Silent(Page),
}

impl Visit {
    /// Answers one request; never fails, whatever goes wrong has a page.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        activity: &Activity,
    ) -> Response<Answer> {
        activity.begun.fetch_add(1, Relaxed);
        let leaving = Leaving(Arc::clone(&activity.left));
        self.frontend.requests.fetch_add(1, Relaxed);
        let mut response = match self.forward(request, activity).await {
            Ok(response) => response,
            Err(page) => page.response(),
        };
        self.frontend.response(response.status());
        response.body_mut().leaving = Some(leaving);
        response
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        activity: &Activity,
    ) -> Result<Response<Answer>, Page> {
        if request.method() == Method::CONNECT {
            return Err(pages::BAD_REQUEST);
        }
        let client_upgrade = hyper::upgrade::on(&mut request);
        let (mut head, body) = request.into_parts();
        let has_body = !body.is_end_stream();
        let kind = headers::kind(&head, has_body);
        headers::outgoing(&mut head, kind, &self.origin).ok_or(pages::BAD_REQUEST)?;
        let facts = obey::facts(self, &head);
        if let Entry::Vhosts { .. } = self.entry {
            let routes = self.shared.routes.load();
            let refusal =
                verdict::before_routing(&routes.table, &facts, &self.shared.passwords, HTTPS);
            if let Some(refusal) = refusal {
                return Ok(obey::refuse(refusal));
            }
        }
        let progress = has_body.then(Arc::<Progress>::default);
        let mut unsent = match (&progress, kind) {
            (_, Kind::Repeatable) => None,
            (None, _) => Some(Request::from_parts(head.clone(), Upload::Empty)),
            (Some(progress), _) => {
                let upload = Upload::Streaming {
                    body,
                    progress: Arc::clone(progress),
                };
                Some(Request::from_parts(head.clone(), upload))
            }
        };

        let mut attempts = Attempts::default();
        let mut was_sent = false;
        // What the unsent request was changed to is another backend's.
        let mut is_changed = false;
        loop {
            let (lease, backend) = match self.lease(&head, &facts, &attempts) {
                Chosen::Server(lease, backend) => (lease, backend),
                Chosen::Nobody(_) if was_sent => return Err(pages::BAD_GATEWAY),
                Chosen::Nobody(Some(refusal)) => return Ok(obey::refuse(refusal)),
                Chosen::Nobody(None) if attempts.pause().await => continue,
                Chosen::Nobody(None) => return Err(pages::UNAVAILABLE),
            };
            let server = Arc::clone(&lease.server);
            let idle = match kind {
                Kind::Repeatable => with_context(|cx| server.pool.take(cx)).await,
                Kind::Once | Kind::Upgrade => None,
            };
            let mut is_fresh = idle.is_none();
            let mut next = idle;
            loop {
                let mut connection = match next.take() {
                    Some(connection) => connection,
                    None => match self.connect(&lease).await {
                        Some(connection) => connection,
                        None => {
                            drop(lease);
                            if !attempts.has_failed(server.spec.address) {
                                return Err(pages::UNAVAILABLE);
                            }
                            server.backend.retries.fetch_add(1, Relaxed);
                            break;
                        }
                    },
                };
                let mut request = match unsent.take() {
                    Some(mut request) => {
                        if is_changed {
                            *request.uri_mut() = head.uri.clone();
                            *request.headers_mut() = head.headers.clone();
                        }
                        request
                    }
                    None => Request::from_parts(head.clone(), Upload::Empty),
                };
                is_changed = obey::change(&mut request, &backend, &facts);
                match exchange(&mut connection, request, progress.as_deref()).await {
                    Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                        return self
                            .upgrade(response, connection, kind, client_upgrade, lease, activity)
                            .await;
                    }
                    Ok(mut response) => {
                        let may_keep = kind == Kind::Repeatable;
                        obey::complete(
                            response.headers_mut(),
                            &head.headers,
                            &backend,
                            &server.spec,
                        );
                        return Ok(pass_on(response, connection, lease, may_keep).await);
                    }
                    // A used connection was closing while we wrote: a fresh one decides.
                    Err(Failure::Broken(error)) if !is_fresh => {
                        tracing::debug!(server = %server.spec.name, error = &error as &dyn std::error::Error, "kept connection was closed");
                        is_fresh = true;
                    }
                    Err(Failure::Unsent(request)) => {
                        if kind != Kind::Repeatable {
                            unsent = Some(*request);
                        }
                        if !is_fresh {
                            is_fresh = true;
                            continue;
                        }
                        drop(lease);
                        if !attempts.has_failed(server.spec.address) {
                            return Err(pages::UNAVAILABLE);
                        }
                        break;
                    }
                    Err(Failure::Broken(error)) => {
                        drop(lease);
                        count_response_error(&server, StatusCode::BAD_GATEWAY);
                        tracing::debug!(server = %server.spec.name, error = &error as &dyn std::error::Error, "no answer");
                        // Once more on another server, if doing it twice does no harm. What could not be read is no
                        // better elsewhere.
                        let is_harmless = kind == Kind::Repeatable
                            && !error.is_parse()
                            && self.shared.config.resends;
                        if was_sent || !is_harmless || !attempts.has_failed(server.spec.address) {
                            return Err(pages::BAD_GATEWAY);
                        }
                        was_sent = true;
                        server.backend.redispatches.fetch_add(1, Relaxed);
                        break;
                    }
                    Err(Failure::Silent(page)) => {
                        count_response_error(&server, page.status());
                        return Err(page);
                    }
                }
            }
        }
    }

    /// Takes a lease on a server for the request, by the routes of this moment.
    fn lease(&self, head: &request::Parts, facts: &Facts<'_>, attempts: &Attempts) -> Chosen {
        let refused = Cell::new(None);
        let chosen = Cell::new(None);
        let lease = self.shared.lease(|routes| {
            let backend = match &self.entry {
                Entry::Vhosts { port } => {
                    let by_host = routes.by_host(facts.host, head.uri.path());
                    by_host.or_else(|| routes.by_port(*port, "", Mode::Http))
                }
                Entry::AppIds => {
                    let app_id = head.headers.get(X_MARATHON_APP_ID)?.to_str().ok()?;
                    routes.by_app_id(app_id)
                }
                Entry::Service { port, backend } => routes.by_port(*port, backend, Mode::Http),
            }?;
            let refusal = verdict::at_backend(&backend.spec, facts);
            let is_refused = refusal.is_some();
            refused.set(refusal);
            if is_refused {
                return None;
            }
            chosen.set(Some(Arc::clone(&backend.spec)));
            let second = self.shared.second();
            let wanted = obey::wanted_server(&backend.spec, &head.headers);
            let with_wanted = wanted.and_then(|at| backend.lease_of(at, attempts.tried(), second));
            with_wanted.or_else(|| backend.lease(attempts.tried(), facts.client, second))
        });
        match (lease, chosen.take()) {
            (Some(lease), Some(backend)) => Chosen::Server(lease, backend),
            _ => Chosen::Nobody(refused.take()),
        }
    }

    async fn connect(&self, lease: &Lease) -> Option<Connection> {
        let io = connect::connect(lease).await.ok()?;
        connect::handshake(io).await.ok()
    }

    /// Leaves HTTP on both sides; the connection's keeper goes on from here.
    async fn upgrade(
        &self,
        mut response: Response<Incoming>,
        mut connection: Connection,
        kind: Kind,
        client: OnUpgrade,
        lease: Lease,
        activity: &Activity,
    ) -> Result<Response<Answer>, Page> {
        if kind != Kind::Upgrade {
            count_response_error(&lease.server, StatusCode::BAD_GATEWAY);
            return Err(pages::BAD_GATEWAY);
        }
        // The connection ends as HTTP with this answer.
        std::future::poll_fn(|cx| {
            connection.drive(cx);
            if connection.has_ended {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let parts = connection.driver.into_parts();
        count_response(&lease.server, response.status());
        let upgrade = response.headers().get(UPGRADE).cloned();
        headers::incoming(response.headers_mut());
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(upgrade) = upgrade {
            response.headers_mut().insert(UPGRADE, upgrade);
        }
        *activity
            .tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(Tunnel {
            client,
            server: parts.io.into_inner(),
            early: parts.read_buf,
            lease,
        });
        Ok(response.map(|_| Answer::fixed(Bytes::new())))
    }
}

/// Sends the request and waits for the head of its answer.
async fn exchange(
    connection: &mut Connection,
    request: Request<Upload>,
    progress: Option<&Progress>,
) -> Result<Response<Incoming>, Failure> {
    let mut answer = pin!(connection.sender.try_send_request(request));
    let mut silence = pin!(tokio::time::sleep(SERVER_TIMEOUT));
    let mut frames = 0;
    std::future::poll_fn(|cx| {
        connection.drive(cx);
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(|mut error| match error.take_message() {
                Some(request) => Failure::Unsent(Box::new(request)),
                None => Failure::Broken(error.into_error()),
            }));
        }
        while silence.as_mut().poll(cx).is_ready() {
            // As long as the upload moves, it is not the server's turn yet.
            match progress {
                Some(progress) if progress.frames() != frames => {
                    frames = progress.frames();
                    silence.as_mut().reset(Instant::now() + SERVER_TIMEOUT);
                }
                Some(progress) if !progress.has_ended() => {
                    return Poll::Ready(Err(Failure::Silent(pages::REQUEST_TIMEOUT)));
                }
                _ => return Poll::Ready(Err(Failure::Silent(pages::GATEWAY_TIMEOUT))),
            }
        }
        Poll::Pending
    })
    .await
}

/// Makes the answer for the client of the server's.
async fn pass_on(
    response: Response<Incoming>,
    connection: Connection,
    lease: Lease,
    may_keep: bool,
) -> Response<Answer> {
    let (mut head, body) = response.into_parts();
    count_response(&lease.server, head.status);
    headers::incoming(&mut head.headers);
    head.version = Version::HTTP_11;
    let body = with_context(|cx| Answer::proxied(body, connection, lease, may_keep, cx)).await;
    Response::from_parts(head, body)
}

fn count_response(server: &crate::live::LiveServer, status: StatusCode) {
    server.counters.response(status);
    server.backend.response(status);
}

fn count_response_error(server: &crate::live::LiveServer, status: StatusCode) {
    server.counters.response_errors.fetch_add(1, Relaxed);
    server.backend.response_errors.fetch_add(1, Relaxed);
    count_response(server, status);
}

/// Calls `f` with the context of the running task.
async fn with_context<T>(f: impl FnOnce(&mut std::task::Context<'_>) -> T) -> T {
    let mut f = Some(f);
    std::future::poll_fn(|cx| {
        let f = f.take().expect("a ready future is not polled again");
        Poll::Ready(f(cx))
    })
    .await
}

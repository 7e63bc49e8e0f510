//! HTTP: the requests of one client connection, each routed and passed on by itself.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::body::{Answer, Leaving, Progress, Upload};
use super::headers::{self, Kind, Origin};
use super::io::{ClientIo, ClientSocket, ServerIo};
use super::pages::{self, Page};
use super::pool::Connection;
use super::{
    Attempts, CLIENT_TIMEOUT, HEAD_TIMEOUT, KEEP_ALIVE_TIMEOUT, SERVER_TIMEOUT, connect, tcp,
};
use crate::counters::Counters;
use crate::live::Lease;
use crate::state::Shared;

const X_MARATHON_APP_ID: HeaderName = HeaderName::from_static("x-marathon-app-id");

/// How often a connection looks whether it is idle or stuck.
const TICK: Duration = Duration::from_millis(500);

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
}

/// What a connection's keeper needs to know of its requests.
#[derive(Debug, Default)]
struct Activity {
    begun: AtomicU64,
    left: Arc<AtomicU64>,
    tunnel: Mutex<Option<Tunnel>>,
}

/// A connection that has left HTTP.
#[derive(Debug)]
struct Tunnel {
    client: OnUpgrade,
    server: ServerIo,
    /// What the server sent right behind its answer.
    early: Bytes,
    lease: Lease,
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

/// Serves all requests of one connection. After `token` is cancelled, the request that is being answered is the last one.
pub(crate) async fn serve(visit: Visit, socket: Arc<ClientSocket>, token: CancellationToken) {
    let visit = Arc::new(visit);
    let activity = Arc::new(Activity::default());
    let service = service_fn(|request| {
        let (visit, activity) = (Arc::clone(&visit), Arc::clone(&activity));
        // Boxed: the connection's own future stays small.
        Box::pin(async move { Ok::<_, Infallible>(visit.answer(request, &activity).await) })
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .half_close(true)
        .preserve_header_case(true)
        .title_case_headers(true)
        .auto_date_header(false);
    let io = TokioIo::new(ClientIo(Arc::clone(&socket)));
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    let mut watch = Watch::default();
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_closing = false;
    let ended = loop {
        tokio::select! {
            biased;
            // Cancel-safe: the connection is only borrowed.
            ended = connection.as_mut() => break ended,
            // Cancel-safe: both only wait for a state.
            () = token.cancelled(), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = ticks.tick() => match watch.look(&activity, &socket) {
                Look::Busy => {}
                Look::Idle => connection.as_mut().graceful_shutdown(),
                Look::Stuck => {
                    tracing::debug!("the client takes nothing: connection cut");
                    return;
                }
            },
        }
    };
    match ended {
        Ok(()) => {}
        Err(error) if error.is_timeout() => {
            visit.frontend.request_errors.fetch_add(1, Relaxed);
            visit.frontend.response(StatusCode::REQUEST_TIMEOUT);
            socket.try_write(pages::REQUEST_TIMEOUT.raw().as_bytes());
        }
        Err(error) => {
            if error.is_parse() {
                visit.frontend.request_errors.fetch_add(1, Relaxed);
                visit.frontend.response(StatusCode::BAD_REQUEST);
            }
            tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
        }
    }
    let tunnel = activity
        .tunnel
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(Tunnel {
        client,
        server,
        early,
        lease,
    }) = tunnel
    {
        // The upgrade was fulfilled when the connection ended, so this does not wait.
        if let Ok(client) = client.await {
            let mut client = TokioIo::new(client);
            if client.write_all(&early).await.is_ok() {
                tcp::splice(client, server, &socket).await;
            }
        }
        drop(lease);
    }
}

/// What a look at a connection says.
enum Look {
    Busy,
    /// Nothing has come for [`KEEP_ALIVE_TIMEOUT`] since the last answer.
    Idle,
    /// The client has taken nothing for [`CLIENT_TIMEOUT`].
    Stuck,
}

/// What the last looks saw.
#[derive(Debug, Default)]
struct Watch {
    seen: (u64, u64),
    idle_for: Duration,
    sent: u64,
    stuck_for: Duration,
}

impl Watch {
    fn look(&mut self, activity: &Activity, socket: &ClientSocket) -> Look {
        let begun = activity.begun.load(Relaxed);
        let seen = (begun, socket.received.load(Relaxed));
        let is_idle = begun > 0 && begun == activity.left.load(Relaxed) && seen == self.seen;
        self.seen = seen;
        self.idle_for = if is_idle {
            self.idle_for + TICK
        } else {
            Duration::ZERO
        };

        let sent = socket.sent.load(Relaxed);
        let is_stuck = socket.is_blocked.load(Relaxed) && sent == self.sent;
        self.sent = sent;
        self.stuck_for = if is_stuck {
            self.stuck_for + TICK
        } else {
            Duration::ZERO
        };

        if self.stuck_for >= CLIENT_TIMEOUT {
            Look::Stuck
        } else if self.idle_for >= KEEP_ALIVE_TIMEOUT {
            Look::Idle
        } else {
            Look::Busy
        }
    }
}

impl Visit {
    async fn answer(&self, request: Request<Incoming>, activity: &Activity) -> Response<Answer> {
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
        loop {
            let Some(lease) = self.lease(&head, &attempts) else {
                if was_sent {
                    return Err(pages::BAD_GATEWAY);
                }
                if attempts.pause().await {
                    continue;
                }
                return Err(pages::UNAVAILABLE);
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
                let request = match unsent.take() {
                    Some(request) => request,
                    None => Request::from_parts(head.clone(), Upload::Empty),
                };
                match exchange(&mut connection, request, progress.as_deref()).await {
                    Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                        return self
                            .upgrade(response, connection, kind, client_upgrade, lease, activity)
                            .await;
                    }
                    Ok(response) => {
                        let may_keep = kind == Kind::Repeatable;
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
                        let is_harmless = kind == Kind::Repeatable && !error.is_parse();
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
    fn lease(&self, head: &request::Parts, attempts: &Attempts) -> Option<Lease> {
        let routes = self.shared.routes.load();
        let backend = match &self.entry {
            Entry::Vhosts { port } => {
                let host = head
                    .headers
                    .get(HOST)
                    .and_then(|host| host.to_str().ok())
                    .unwrap_or("");
                let by_host = routes.by_host(host, head.uri.path());
                by_host.or_else(|| routes.by_port(*port, ""))
            }
            Entry::AppIds => {
                let app_id = head.headers.get(X_MARATHON_APP_ID)?.to_str().ok()?;
                routes.by_app_id(app_id)
            }
            Entry::Service { port, backend } => routes.by_port(*port, backend),
        }?;
        backend.lease(attempts.tried(), self.shared.second())
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

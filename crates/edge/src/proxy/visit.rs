//! What a client's connection brings along, and where each of its requests goes by the routes of the moment.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::head::{self, Framing, Malformed, RequestHead};
use super::obey;
use super::pages::Said;
use super::rewrite::{self, Farewell, Forwarded, Kind};
use super::trust::{self, Told};
use crate::counters::Counters;
use crate::labels::Mode;
use crate::live::{Lease, LiveBackend, LiveServer, Routes};
use crate::passwords::Attempt;
use crate::state::Shared;
use crate::table::Backend;
use crate::verdict::{self, Facts, Refusal};

/// Where clients look for TLS, if it is not served here.
const HTTPS: u16 = 443;
const X_MARATHON_APP_ID: &str = "x-marathon-app-id";

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
    /// Who has connected.
    pub(crate) client: IpAddr,
    /// Where it has connected to.
    pub(crate) port: u16,
    /// With TLS: the name that the client asked for, which stands for the host.
    pub(crate) tls_name: Option<String>,
    /// Lines for the heads of requests that tell where they came from.
    pub(crate) forwarded: Vec<u8>,
}

/// What is to be known of a request while it is carried out.
#[derive(Debug)]
pub(crate) struct Request {
    /// The head as it came, for another attempt.
    pub(crate) head: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) framing: Framing,
    pub(crate) is_head: bool,
    pub(crate) is_1_1: bool,
    /// The client leaves its connection open for another request.
    pub(crate) keeps: bool,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Dispatch {
    /// It goes to a server.
    Server(Errand),
    /// No server may see it: the client is told this.
    Said(Said),
    /// Its password is to be checked.
    Unchecked(Attempt),
    /// No server is there for it at the moment.
    Nobody,
}

/// A request on its way to a server.
#[derive(Debug)]
pub(crate) struct Errand {
    /// Until the server has done its part.
    pub(crate) lease: Option<Lease>,
    pub(crate) route: Route,
    /// The head as it goes out.
    pub(crate) head: Vec<u8>,
}

/// Whom a request goes to.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) server: Arc<LiveServer>,
    pub(crate) backend: Arc<Backend>,
    /// The client has the cookie that keeps it with the server.
    pub(crate) has_cookie: bool,
}

impl Request {
    fn new(head: &RequestHead<'_>, bytes: &[u8]) -> Self {
        let options = head.fields.options;
        Self {
            head: bytes[..head.length].to_vec(),
            kind: Kind::of(head),
            framing: head.framing,
            is_head: head.method == "HEAD",
            is_1_1: head.is_1_1,
            keeps: !options.close && (head.is_1_1 || options.keep_alive),
        }
    }

    /// What is said about the client's connection with an answer after which it stays, or does not.
    pub(crate) fn farewell(&self, keeps: bool) -> Farewell {
        match (keeps, self.is_1_1) {
            (false, _) => Farewell::Close,
            (true, true) => Farewell::Nothing,
            (true, false) => Farewell::KeepAlive,
        }
    }
}

impl Visit {
    /// Reads the request at the beginning of `bytes` and decides what becomes of it; `None` if its head is not all there.
    ///
    /// # Errors
    /// When it is to be refused.
    pub(crate) fn receive(&self, bytes: &[u8]) -> Result<Option<(Request, Dispatch)>, Malformed> {
        head::request(bytes, |head| {
            let request = Request::new(head, bytes);
            let dispatch = self.dispatch(head, request.kind, &[]);
            (request, dispatch)
        })
    }

    /// Decides once more, by the routes and rules of now and leaving out the servers that were `tried`. Who was let in before may be
    /// refused now: another app may stand there by now that asks for a password.
    pub(crate) fn dispatch_again(&self, request: &Request, tried: &[SocketAddr]) -> Dispatch {
        let again = head::request(&request.head, |head| {
            self.dispatch(head, request.kind, tried)
        });
        again.ok().flatten().expect("it could be read before")
    }

    /// What the vhosts' rules among these routes say before a request is routed.
    fn refusal(&self, routes: &Routes, facts: &Facts<'_>) -> Option<Refusal> {
        let Entry::Vhosts { .. } = self.entry else {
            return None;
        };
        let https = self
            .shared
            .addresses
            .https
            .map_or(HTTPS, |https| https.port());
        verdict::before_routing(&routes.table, facts, &self.shared.passwords, https)
    }

    /// Chooses a server and makes the head that goes there.
    fn dispatch(&self, head: &RequestHead<'_>, kind: Kind, tried: &[SocketAddr]) -> Dispatch {
        let told = self.told(head);
        let facts = obey::facts(self, head, told);
        let refused = Cell::new(None);
        let chosen = Cell::new(None);
        let lease = self.shared.lease(|routes| {
            // What an older table refused may be let in by this one.
            refused.set(None);
            // By the routes that lead on: a rule that has just come is not passed by.
            if let Some(refusal) = self.refusal(routes, &facts) {
                refused.set(Some((refusal, None)));
                return None;
            }
            let backend = self.backend(routes, head, &facts, tried)?;
            if let Some(refusal) = verdict::at_backend(&backend.spec, &facts) {
                refused.set(Some((refusal, Some(Arc::clone(backend)))));
                return None;
            }
            let now = self.shared.now();
            let wanted = obey::wanted_server(&backend.spec, &head.fields);
            let lease = wanted
                .and_then(|at| backend.lease_of(at, tried, now))
                .or_else(|| backend.lease(tried, facts.client, now))?;
            let has_cookie =
                wanted.is_some_and(|at| backend.spec.servers[at].name == lease.server.spec.name);
            chosen.set(Some((Arc::clone(&backend.spec), has_cookie)));
            Some(lease)
        });
        let (Some(lease), Some((backend, has_cookie))) = (lease, chosen.take()) else {
            return match refused.take() {
                Some((Refusal::Unchecked(attempt), _)) => Dispatch::Unchecked(attempt),
                Some((refusal, backend)) => {
                    if let (Refusal::Forbidden, Some(backend)) = (&refusal, backend) {
                        for counters in [&self.frontend, &backend.kept.backend] {
                            counters.denied_requests.fetch_add(1, Relaxed);
                        }
                    }
                    Dispatch::Said(obey::refuse(refusal))
                }
                None => Dispatch::Nobody,
            };
        };
        let changes = verdict::changes(&backend, &facts);
        // Our own lines and a little more than came: one allocation.
        let mut out = Vec::with_capacity(head.length + self.forwarded.len() + 64);
        let said = told.filter(|told| told.has_port || told.is_tls.is_some());
        let lines = said.map(|told| {
            // What a proxy before this one has said is not said again.
            let port = (!told.has_port).then_some(self.port);
            let is_tls = self.tls_name.is_some() && told.is_tls.is_none();
            rewrite::forwarded(self.client, port, is_tls)
        });
        let forwarded = Forwarded {
            lines: lines.as_ref().unwrap_or(&self.forwarded),
            keeps_port: told.is_some_and(|told| told.has_port),
        };
        rewrite::request(head, kind, &changes, forwarded, &mut out);
        let route = Route {
            server: Arc::clone(&lease.server),
            backend,
            has_cookie,
        };
        Dispatch::Server(Errand {
            lease: Some(lease),
            route,
            head: out,
        })
    }

    /// What a trusted proxy says of where a request comes from.
    fn told(&self, head: &RequestHead<'_>) -> Option<Told> {
        trust::told(&self.shared.config.trusted, self.client, &head.fields)
    }

    /// The backend of a request, by these routes.
    fn backend<'r>(
        &self,
        routes: &'r Routes,
        head: &RequestHead<'_>,
        facts: &Facts<'_>,
        tried: &[SocketAddr],
    ) -> Option<&'r Arc<LiveBackend>> {
        let asked = obey::asked(head);
        match &self.entry {
            Entry::Vhosts { port } => {
                let by_host = routes.by_host(facts.host, &asked, tried);
                by_host.or_else(|| routes.by_port(*port, "", Mode::Http, Some(&asked), tried))
            }
            Entry::AppIds => {
                let app_id = head.fields.get(X_MARATHON_APP_ID)?;
                routes.by_app_id(std::str::from_utf8(app_id).ok()?)
            }
            Entry::Service { port, backend } => {
                routes.by_port(*port, backend, Mode::Http, Some(&asked), tried)
            }
        }
    }
}

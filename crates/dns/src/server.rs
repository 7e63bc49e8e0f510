//! Serves the zone: datagrams from `udp`, connections from hickory-server.
//!
//! The sockets are bound by the caller and served once there is a zone; until then the system keeps the first queries.
//! Hickory reads, decodes, encodes and sends what comes over TCP; it is told to cut nothing (see `reply`). By itself it answers what it
//! cannot decode with FORMERR, and what has no whole header, or is itself a reply, with silence. One connection's
//! queries are answered in order. It logs each request at level `info` of target `hickory_server`.
//! How much is answered over UDP is limited for each network (`limit`).
//! Source: contract mesos-dns §5.4 (limits of TCP), §5.6, §6 (nothing before the first load).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Header, HeaderCounts, Metadata, ResponseCode};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use rand::Rng;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zddcluster_runtime::Error;

use crate::answer::{CLASS_IN, answer};
use crate::forward::{Forwarder, relay};
use crate::http::Counts;
use crate::limit::{Limiter, Verdict};
use crate::message;
use crate::name::Name;
use crate::packet::{Packet, Unanswerable};
use crate::publish::Current;
use crate::query::Query;
use crate::reply::{self, Reply, TCP_LIMIT, UDP_LIMIT, reply};
use crate::zone::Zone;

/// How long a connection may wait with a query, or leave an answer unread; as the original's for all but the first.
const TCP_IDLE: Duration = Duration::from_secs(8);
/// Answers of one connection that may wait to be sent. Its next query is only read when they are.
const TCP_ANSWERS: usize = 16;

/// The zone to be served and when to begin.
#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) current: Current,
    pub(crate) is_ready: watch::Receiver<bool>,
    pub(crate) counts: Arc<Counts>,
    /// Who is asked about names that are not ours; they are refused without.
    pub(crate) forwarder: Option<Arc<Forwarder>>,
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
#[error("the DNS server ended by itself")]
struct Ended;

impl Served {
    /// Waits for the first zone; `None` when it will never be.
    pub(crate) async fn front(mut self, token: &CancellationToken) -> Option<Front> {
        let ready = self.is_ready.wait_for(|&is_ready| is_ready);
        // Cancel-safe: it only looks.
        token.run_until_cancelled(ready).await?.ok()?;
        Some(Front {
            current: self.current,
            counts: self.counts,
            forwarder: self.forwarder,
            limiter: Limiter::new(rand::random(), Instant::now()),
        })
    }
}

/// Answers connections until the token is cancelled.
pub(crate) async fn serve_tcp(
    listener: TcpListener,
    served: Served,
    token: CancellationToken,
) -> Result<(), Error> {
    let Some(front) = served.front(&token).await else {
        return Ok(());
    };
    let mut server = Server::new(front);
    // Connections inherit it; else the answers to queries that came together wait for each other.
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    server.register_listener(listener, TCP_IDLE, TCP_ANSWERS);
    run(server, &token).await
}

/// Waits for the token, then for the server's end. Each socket has a server of its own, since one with several would
/// not tell of the first that fails.
async fn run(mut server: Server<Front>, token: &CancellationToken) -> Result<(), Error> {
    // Cancel-safe: it only waits for the server's tasks.
    match token.run_until_cancelled(server.block_until_done()).await {
        None => server.shutdown_gracefully().await?,
        Some(Ok(())) => return Err(Ended.into()),
        Some(Err(error)) => return Err(error.into()),
    }
    Ok(())
}

/// Answers from the latest zone.
pub(crate) struct Front {
    current: Current,
    counts: Arc<Counts>,
    forwarder: Option<Arc<Forwarder>>,
    limiter: Limiter,
}

/// What becomes of a datagram.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing is said.
    Silence,
    /// The answer was written.
    Answered,
    /// Others are to be asked about this name, which is in lower case: [`Front::forward`].
    Elsewhere(Name),
}

impl Front {
    /// Writes the answer to a datagram that has come from `client` into `out`, if it is ours to give.
    pub(crate) fn answer(
        &self,
        datagram: &[u8],
        client: Option<IpAddr>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let packet = Packet::read(datagram);
        if let Err(Unanswerable::NoQuery) = packet {
            return Outcome::Silence;
        }
        if let Ok(packet) = &packet {
            self.counts.asked(packet.query.qtype);
        }
        let verdict = client.map(|client| self.limiter.judge(client, now));
        // Whoever has no address is told nothing.
        let verdict = verdict.unwrap_or(Verdict::Drop);
        self.counts.judged(verdict);
        let zone = self.current.load();
        let zone = zone.as_ref().expect("there is one before it is asked");
        let code = match (verdict, packet) {
            // What is no question has nothing that could be asked over TCP.
            (Verdict::Drop, _) | (Verdict::Truncate, Err(_)) => None,
            (Verdict::Truncate, Ok(packet)) => Some(message::write_truncated(&packet, out)),
            (Verdict::Answer, packet) => {
                let name = packet.as_ref().ok();
                let name = name.and_then(|packet| self.elsewhere(zone, &packet.query));
                if let Some(name) = name {
                    return Outcome::Elsewhere(name);
                }
                respond(zone, datagram, packet, &mut rand::rng(), out)
            }
        };
        let Some(code) = code else {
            return Outcome::Silence;
        };
        self.counts.answered(Protocol::Udp, code);
        Outcome::Answered
    }

    /// The name in lower case, if others are to be asked about it.
    fn elsewhere(&self, zone: &Zone, query: &Query) -> Option<Name> {
        let is_question = query.op_code == 0 && query.qclass == CLASS_IN;
        if self.forwarder.is_none() || !is_question {
            return None;
        }
        let lower = query.name.to_lowercase();
        (!zone.is_authoritative_for(&lower)).then_some(lower)
    }

    /// The answer others give to a query for `name`, in lower case, for which that is so.
    pub(crate) async fn forward(&self, query: &[u8], name: &Name, over: Protocol) -> Vec<u8> {
        let forwarder = self.forwarder.as_ref().expect("else nothing is elsewhere");
        let answer = forwarder.answer(query, name, over).await;
        let code = ResponseCode::from_low(answer[3]);
        self.counts.answered(over, code);
        answer
    }

    /// The same of a query over TCP.
    fn elsewhere_over_tcp(&self, request: &Request) -> Option<Name> {
        let query = Query::of(&request.metadata, &request.queries).ok()?;
        let zone = self.current.load();
        self.elsewhere(zone.as_ref()?, &query)
    }

    fn reply<'q>(&self, request: &'q Request) -> Reply<'q> {
        match &*self.current.load() {
            Some(zone) => reply(zone, request, TCP_LIMIT, &mut rand::rng()),
            None => Reply::bare(request, ResponseCode::ServFail),
        }
    }
}

/// Writes the answer to a datagram, which `packet` was read of, into `out`, and tells its code; `None` if nothing is said.
pub(crate) fn respond(
    zone: &Zone,
    datagram: &[u8],
    packet: Result<Packet<'_>, Unanswerable<'_>>,
    rng: &mut impl Rng,
    out: &mut Vec<u8>,
) -> Option<ResponseCode> {
    match packet {
        Err(Unanswerable::NoQuery) => None,
        _ if zone.extras.is_some() => reply::write(zone, datagram, rng, out),
        Err(Unanswerable::Malformed(header)) => Some(message::write_malformed(header, out)),
        Ok(packet) => {
            let lower = packet.query.name.to_lowercase();
            let answer = answer(zone, &packet.query, &lower, rng);
            Some(message::write(
                zone,
                &packet,
                &lower,
                &answer,
                UDP_LIMIT.into(),
                out,
            ))
        }
    }
}

#[async_trait]
impl RequestHandler for Front {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut sender: R,
    ) -> ResponseInfo {
        for query in request.queries.queries() {
            self.counts.asked(query.original().query_type().into());
        }
        let (metadata, sent) = if let Some(name) = self.elsewhere_over_tcp(request) {
            let answer = self.forward(request.as_slice(), &name, request.protocol());
            let sent = relay(&answer.await, request, &mut sender).await;
            (Metadata::response_from_request(&request.metadata), sent)
        } else {
            let reply = self.reply(request);
            let metadata = *reply.metadata();
            self.counts
                .answered(request.protocol(), metadata.response_code);
            (metadata, sender.send_response(reply.response()).await)
        };
        match sent {
            Ok(sent) => sent,
            Err(error) => {
                debug!(%error, client = %request.src(), "sending failed");
                ResponseInfo::from(Header {
                    metadata,
                    counts: HeaderCounts::default(),
                })
            }
        }
    }
}

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
use hickory_server::proto::op::{Header, HeaderCounts, ResponseCode};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use rand::Rng;
use socket2::SockRef;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zddcluster_runtime::Error;

use crate::answer::answer;
use crate::follow::Current;
use crate::http::Counts;
use crate::limit::{Limiter, Verdict};
use crate::message;
use crate::packet::{Packet, Unanswerable};
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
    limiter: Limiter,
}

impl Front {
    /// Writes the answer to a datagram that has come from `client` into `out`; false if there is to be none.
    pub(crate) fn answer(
        &self,
        datagram: &[u8],
        client: Option<IpAddr>,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> bool {
        let packet = Packet::read(datagram);
        let verdict = match &packet {
            Ok(packet) => {
                self.counts.asked(packet.query.qtype);
                let verdict = client.map(|client| self.limiter.judge(client, now));
                // Whoever has no address is told nothing.
                let verdict = verdict.unwrap_or(Verdict::Drop);
                self.counts.judged(verdict);
                verdict
            }
            Err(_) => Verdict::Answer,
        };
        let zone = self.current.load();
        let zone = zone.as_ref().expect("there is one before it is asked");
        let code = match (verdict, packet) {
            (Verdict::Drop, _) | (_, Err(Unanswerable::NoQuery)) => None,
            (Verdict::Truncate, Ok(packet)) => Some(message::write_truncated(&packet, out)),
            (_, packet) => respond(zone, datagram, packet, &mut rand::rng(), out),
        };
        if let Some(code) = code {
            self.counts.answered(Protocol::Udp, code);
        }
        code.is_some()
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
        let reply = self.reply(request);
        self.counts
            .answered(request.protocol(), reply.metadata().response_code);
        match sender.send_response(reply.response()).await {
            Ok(sent) => sent,
            Err(error) => {
                debug!(%error, client = %request.src(), "sending failed");
                ResponseInfo::from(Header {
                    metadata: *reply.metadata(),
                    counts: HeaderCounts::default(),
                })
            }
        }
    }
}

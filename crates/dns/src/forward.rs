//! Forwards questions about names outside of the domain to other name servers, and hands their answers on as they are.
//!
//! ```text
//!   question ──▶ resolvers of the longest zone it lies in, else the default ones, in their order
//!                one ──a message──────────────────────────▶ handed on; over UDP cut to the size that the resolver tells
//!                    ──error, or nothing within `timeout`──▶ next one … ──▶ SERVFAIL
//! ```
//!
//! SERVFAIL and REFUSED of a resolver are answers too. What came over UDP goes on over UDP, what came over TCP over TCP, unchanged but
//! for the id: that and the port are drawn anew for each try, so that nobody else can answer in the resolver's place. Nothing is
//! kept, and of a resolver that is away nothing is remembered. Source: contract mesos-dns §5.1, §7.

mod relay;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::ResponseCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use crate::config::{ForwardConfig, Resolver};
use crate::name::{Name, suffixes};
use crate::reply::UDP_LIMIT;

use self::wire::Question;

pub(crate) use self::relay::relay;

/// Questions that may be on their way at once; one more is answered with SERVFAIL. Each holds a socket, and most systems give a
/// process a few thousand.
const MAX_IN_FLIGHT: usize = 1024;
/// How long a client is kept waiting, however many resolvers there are: by then it has asked anew several times.
const PATIENCE: Duration = Duration::from_secs(30);
/// What hands over whole zones, in more than the one message that is handed on.
const TRANSFERS: std::ops::RangeInclusive<u16> = 251..=252;

/// Asks other name servers.
#[derive(Debug)]
pub(crate) struct Forwarder {
    resolvers: Vec<SocketAddr>,
    /// By the zone's name in lower case.
    zones: HashMap<Name, Vec<SocketAddr>>,
    timeout: Duration,
    in_flight: Semaphore,
}

/// Why a resolver gave no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it cannot be asked")]
    Transport(#[from] io::Error),
    #[error("it has answered something else")]
    Mismatch,
}

impl Forwarder {
    /// Makes one, if anything is to be forwarded. The configuration has passed [`ForwardConfig::validate`].
    pub(crate) fn new(config: &ForwardConfig) -> Option<Self> {
        let ForwardConfig {
            external_on,
            resolvers,
            zone_resolvers,
            timeout,
        } = config;
        let sockets = |resolvers: &[Resolver]| -> Vec<SocketAddr> {
            resolvers.iter().map(|resolver| resolver.socket()).collect()
        };
        let zones = zone_resolvers.iter().filter_map(|(zone, resolvers)| {
            let name = Name::from_text(&format!("{}.", zone.to_lowercase()))?;
            Some((name, sockets(resolvers)))
        });
        external_on.then(|| Self {
            resolvers: sockets(resolvers),
            zones: zones.collect(),
            timeout: *timeout,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        })
    }

    /// Everybody who may be asked.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = SocketAddr> {
        let lists = self.zones.values().chain([&self.resolvers]);
        lists.flatten().copied()
    }

    /// Answers the query in `packet`, which has a whole header and one question, for `name` in lower case. The answer is a
    /// whole message with the query's id, for the transport over which the query came. Takes at most [`PATIENCE`].
    /// Cancel-safe: dropped, the question is given up.
    pub(crate) async fn answer(&self, packet: &[u8], name: &Name, over: Protocol) -> Vec<u8> {
        let Some(question) = Question::of(packet) else {
            return wire::bare(packet, ResponseCode::Refused);
        };
        if TRANSFERS.contains(&question.qtype()) {
            return wire::bare(packet, ResponseCode::Refused);
        }
        let Ok(_permit) = self.in_flight.try_acquire() else {
            debug!(%name, "too many questions are on their way");
            return wire::bare(packet, ResponseCode::ServFail);
        };
        let answered = timeout(PATIENCE, self.ask(packet, question, name, over)).await;
        let Some(mut answer) = answered.ok().flatten() else {
            return wire::bare(packet, ResponseCode::ServFail);
        };
        answer[..2].copy_from_slice(&packet[..2]);
        if over == Protocol::Udp {
            let limit = udp_limit(packet, &answer);
            return wire::cut(answer, limit);
        }
        answer
    }

    /// Asks one resolver after the other.
    async fn ask(
        &self,
        packet: &[u8],
        question: Question<'_>,
        name: &Name,
        over: Protocol,
    ) -> Option<Vec<u8>> {
        for &resolver in self.resolvers_of(name) {
            let id: u16 = rand::random();
            let mut query = packet.to_vec();
            query[..2].copy_from_slice(&id.to_be_bytes());
            let exchange = async {
                match over {
                    Protocol::Udp => over_udp(resolver, &query, id, question).await,
                    _ => over_tcp(resolver, &query, id, question).await,
                }
            };
            match timeout(self.timeout, exchange).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => {
                    let error: &dyn std::error::Error = &error;
                    debug!(%resolver, %name, error, "a resolver is passed over");
                }
                Err(_) => debug!(%resolver, %name, "a resolver does not answer in time"),
            }
        }
        None
    }

    fn resolvers_of(&self, name: &Name) -> &[SocketAddr] {
        // Its own name first, the root last.
        let mut zones = suffixes(name.as_wire());
        let of_zone = zones.find_map(|zone| self.zones.get(zone));
        of_zone.unwrap_or(&self.resolvers)
    }
}

/// What the client takes over UDP: the size that the resolver tells if the client told one, for then it was the client's to agree.
fn udp_limit(query: &[u8], answer: &[u8]) -> usize {
    let least = usize::from(UDP_LIMIT);
    match (wire::told_size(query), wire::told_size(answer)) {
        (Some(_), Some(size)) => size.max(least),
        (None, _) | (_, None) => least,
    }
}

/// Asks over UDP, from a port of its own.
async fn over_udp(
    resolver: SocketAddr,
    query: &[u8],
    id: u16,
    question: Question<'_>,
) -> Result<Vec<u8>, Failure> {
    let any: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // So that nobody else's datagrams arrive, and a closed port is told.
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // Anything else may be a guess of somebody who does not see the query: the true answer is still to come.
        if wire::answers(&buffer[..length], id, question) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// Asks over a TCP connection of its own.
async fn over_tcp(
    resolver: SocketAddr,
    query: &[u8],
    id: u16,
    question: Question<'_>,
) -> Result<Vec<u8>, Failure> {
    let mut stream = TcpStream::connect(resolver).await?;
    let length = u16::try_from(query.len()).expect("a query that came over TCP fits there");
    let framed = [&length.to_be_bytes(), query].concat();
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if !wire::answers(&answer, id, question) {
        return Err(Failure::Mismatch);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;

//! The two name servers that the profile `forward` was recorded with, as `mesos-dns-profiles.json` describes them.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use zddcluster_dns::{ForwardConfig, Resolver};

use super::type_number;

const NOERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
/// The size their OPT tells.
const OPT_SIZE: u16 = 4096;
/// `example. 300 SOA ns.example. root.example. 0 1 2 3 4`.
const SOA: &[u8] =
    b"\x07example\0\0\x06\0\x01\0\0\x01\x2c\0\x2e\x02ns\x07example\0\x04root\x07example\0\
    \0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04";

/// Both, and an address where nothing listens. Dropping it ends them.
pub(crate) struct Upstreams {
    tagged: [SocketAddr; 2],
    nothing: SocketAddr,
    _serving: JoinSet<()>,
}

impl Upstreams {
    pub(crate) async fn start() -> Self {
        let mut serving = JoinSet::new();
        let mut tagged = Vec::new();
        for tag in [1, 2] {
            let (udp, tcp) = bind().await;
            tagged.push(udp.local_addr().expect("bound"));
            serving.spawn(serve_udp(udp, tag));
            serving.spawn(serve_tcp(tcp, tag));
        }
        // An address at which nobody else takes the port meanwhile.
        let taken = UdpSocket::bind((Ipv4Addr::new(127, 53, 0, 3), 0)).await;
        let nothing = taken.expect("a port").local_addr().expect("bound");
        Self {
            tagged: [tagged[0], tagged[1]],
            nothing,
            _serving: serving,
        }
    }

    /// The same configuration, with our addresses in place of the recorded ones.
    pub(crate) fn replaced(&self, config: &ForwardConfig) -> ForwardConfig {
        let ours = |resolver: &Resolver| -> Resolver {
            let address = match resolver.socket().port() {
                15454 => self.tagged[0],
                15455 => self.tagged[1],
                15456 => self.nothing,
                other => panic!("nothing is known of port {other}"),
            };
            address.to_string().parse().expect("an address")
        };
        let all = |resolvers: &Vec<Resolver>| resolvers.iter().map(ours).collect();
        ForwardConfig {
            resolvers: all(&config.resolvers),
            zone_resolvers: config
                .zone_resolvers
                .iter()
                .map(|(zone, resolvers)| (zone.clone(), all(resolvers)))
                .collect(),
            ..config.clone()
        }
    }
}

async fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = udp.local_addr().expect("bound");
        // Somebody else may have the port on TCP.
        if let Ok(tcp) = TcpListener::bind(address).await {
            return (udp, tcp);
        }
    }
}

async fn serve_udp(socket: UdpSocket, tag: u8) {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await.expect("received");
        if let Some(reply) = reply(&buffer[..length], tag, "udp") {
            socket.send_to(&reply, client).await.expect("sent");
        }
    }
}

async fn serve_tcp(listener: TcpListener, tag: u8) {
    loop {
        let (stream, _) = listener.accept().await.expect("accepted");
        // A client that goes away is no concern of the others.
        let _ = serve_stream(stream, tag).await;
    }
}

async fn serve_stream(mut stream: TcpStream, tag: u8) -> std::io::Result<()> {
    let length = stream.read_u16().await?;
    let mut query = vec![0; usize::from(length)];
    stream.read_exact(&mut query).await?;
    if let Some(reply) = reply(&query, tag, "tcp") {
        let length = u16::try_from(reply.len()).expect("a short reply");
        stream.write_u16(length).await?;
        stream.write_all(&reply).await?;
    }
    Ok(())
}

/// A query as far as the rules look at it.
struct Query<'a> {
    label: &'a [u8],
    qtype: u16,
    question: &'a [u8],
    /// Version, size, and the flag DO.
    edns: Option<(u8, u16, bool)>,
}

fn read(query: &[u8]) -> Query<'_> {
    let label = &query[13..13 + usize::from(query[12])];
    let at = 13
        + query[12..]
            .iter()
            .position(|&byte| byte == 0)
            .expect("a name");
    let qtype = u16::from_be_bytes([query[at], query[at + 1]]);
    let question = &query[12..at + 4];
    let opt = &query[at + 4..];
    let edns = (query[11] > 0).then(|| {
        let size = u16::from_be_bytes([opt[3], opt[4]]);
        (opt[6], size, opt[7] & 0x80 != 0)
    });
    Query {
        label,
        qtype,
        question,
        edns,
    }
}

fn reply(query: &[u8], tag: u8, transport: &str) -> Option<Vec<u8>> {
    let asked = read(query);
    let (a, txt) = (type_number("A"), type_number("TXT"));
    let (mut rcode, mut answers, mut authority) = (NOERROR, Vec::new(), None);
    match (asked.label.to_ascii_lowercase().as_slice(), asked.qtype) {
        (b"www", qtype) if qtype == a => {
            answers.push(record(b"\xc0\x0c", 5, 77, b"\x04real\x07example\0"));
            answers.push(record(b"\x04real\x07example\0", a, 55, &[192, 0, 2, tag]));
        }
        (b"www", _) => authority = Some(SOA),
        (b"tag", qtype) if qtype == txt => {
            answers.push(text(&format!("upstream-{tag}-{transport}")));
        }
        (b"echo", qtype) if qtype == txt => answers.push(text(&seen(query, &asked))),
        (b"many", qtype) if qtype == a => {
            answers.extend((0..60).map(|n| record(b"\xc0\x0c", a, 60, &[198, 51, 100, n])));
        }
        (b"nx", _) => (rcode, authority) = (NXDOMAIN, Some(SOA)),
        (b"servfail", _) => rcode = SERVFAIL,
        (b"refused", _) => rcode = REFUSED,
        (b"noreply", _) => return None,
        _ => rcode = NXDOMAIN,
    }
    let limit = match (transport, asked.edns) {
        ("udp", Some((_, size, _))) => usize::from(size),
        ("udp", None) => 512,
        _ => usize::from(u16::MAX),
    };
    let whole = message(query, &asked, rcode, &answers, authority);
    if whole.len() <= limit {
        return Some(whole);
    }
    let mut cut = message(query, &asked, rcode, &[], authority);
    cut[2] |= 0x02;
    Some(cut)
}

/// What of a query has arrived.
fn seen(query: &[u8], asked: &Query<'_>) -> String {
    let (version, size, dnssec_ok) = match asked.edns {
        Some((version, size, dnssec_ok)) => (i16::from(version), size, dnssec_ok),
        None => (-1, 0, false),
    };
    format!(
        "rd={} cd={} ad={} edns={version} size={size} do={} id=x",
        query[2] & 1,
        query[3] >> 4 & 1,
        query[3] >> 5 & 1,
        u8::from(dnssec_ok)
    )
}

fn message(
    query: &[u8],
    asked: &Query<'_>,
    rcode: u8,
    answers: &[Vec<u8>],
    authority: Option<&[u8]>,
) -> Vec<u8> {
    let count = |n: usize| u8::try_from(n).expect("few records");
    let has_opt = u8::from(asked.edns.is_some());
    let mut reply = query[..2].to_vec();
    reply.extend_from_slice(&[0x80 | query[2] & 1, 0x80 | rcode, 0, 1]);
    reply.extend_from_slice(&[0, count(answers.len()), 0, u8::from(authority.is_some())]);
    reply.extend_from_slice(&[0, has_opt]);
    reply.extend_from_slice(asked.question);
    for answer in answers {
        reply.extend_from_slice(answer);
    }
    reply.extend_from_slice(authority.unwrap_or_default());
    if asked.edns.is_some() {
        let [high, low] = OPT_SIZE.to_be_bytes();
        reply.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    }
    reply
}

fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    let data = [&[length], text.as_bytes()].concat();
    record(b"\xc0\x0c", type_number("TXT"), 60, &data)
}

fn record(owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short data");
    let mut record = owner.to_vec();
    record.extend_from_slice(&rtype.to_be_bytes());
    record.extend_from_slice(&[0, 1]);
    record.extend_from_slice(&ttl.to_be_bytes());
    record.extend_from_slice(&length.to_be_bytes());
    record.extend_from_slice(data);
    record
}

//! The original's recorded replies, against ours over real sockets.

use std::net::SocketAddr;
use std::time::Duration;

use support::master::Master;
use support::upstream::Upstreams;
use support::{Golden, Reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use zddcluster_dns::start;
use zddcluster_runtime::Tasks;

mod support;

/// How often each query is asked, since the order of answers is drawn each time.
const ROUNDS: u16 = 5;
/// The largest reply over UDP out of the zone.
const UDP_LIMIT: usize = 512;
/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// What is answered otherwise than by the original, all of level "quirk": the query, our rcode and number of answers,
/// and why.
const DIFFERENT: [(&str, &str, &str, usize, &str); 14] = [
    (
        "_nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn5._tcp.marathon.mesos",
        "SRV",
        "NOERROR",
        1,
        LONG,
    ),
    (
        "_nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn5._tcp.marathon.slave.mesos",
        "SRV",
        "NOERROR",
        1,
        LONG,
    ),
    (
        "_nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn5._udp.marathon.slave.mesos",
        "SRV",
        "NOERROR",
        1,
        LONG,
    ),
    (
        "_uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu2._tcp.marathon.mesos",
        "SRV",
        "NOERROR",
        1,
        LONG,
    ),
    (
        "_uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu2._tcp.marathon.slave.mesos",
        "SRV",
        "NOERROR",
        1,
        LONG,
    ),
    (
        "_uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu2._udp.marathon.slave.mesos",
        "SRV",
        "NOERROR",
        1,
        LONG,
    ),
    ("mesos", "DS", "NXDOMAIN", 0, DS),
    ("blue-zdd.marathon.mesos", "DS", "NOERROR", 0, DS),
    ("blue-zdd.*.marathon.mesos", "A", "NXDOMAIN", 0, STAR),
    ("_blue-zdd.*._tcp.marathon.mesos", "SRV", "NOERROR", 0, STAR),
    (
        "blue-zdd.marathon.mesos",
        "A CH",
        "REFUSED",
        0,
        "there are no records of that class",
    ),
    ("blue-zdd.marathon.mesos", "A NOTIFY", "NOTIMP", 0, OPCODE),
    ("blue-zdd.marathon.mesos", "A STATUS", "NOTIMP", 0, OPCODE),
    ("mesos", "DS forward", "NXDOMAIN", 0, DS),
];
const LONG: &str =
    "the original sends nothing, because a label would be too long; ours is cut to fit";
const DS: &str = "a DS question is one like any other; the original forwards it, whatever the name";
const STAR: &str = "a star is no part of our names; the original removes it";
const OPCODE: &str = "only queries are answered as queries";

fn key(golden: &Golden) -> String {
    let mut key = golden.qtype.clone();
    if golden.class == "CH" {
        key.push_str(" CH");
    }
    if let Some(op_code) = &golden.opcode {
        key.push_str(&format!(" {op_code}"));
    }
    if golden.profile == "forward" {
        key.push_str(" forward");
    }
    key
}

/// Compares a reply with what is expected of ours.
fn check(golden: &Golden, id: u16, reply: &[u8], is_udp: bool) -> Result<(), String> {
    let key = key(golden);
    // With labels of at most 24 characters there is nothing to cut; only the names as they stand are left out.
    let different = DIFFERENT
        .iter()
        .find(|(query, kind, ..)| *query == golden.query && *kind == key);
    let Some(&(_, _, rcode, n_answers, reason)) = different.filter(|_| golden.is_quirk()) else {
        golden.compare(id, reply)?;
        // Names are compressed alike, so that the same is cut off.
        // The original's text form makes another name of a dot in a label.
        let size = golden
            .size
            .filter(|_| is_udp && is_of_zone(golden) && !golden.query.contains('\\'));
        if let Some(size) = size.filter(|size| *size != reply.len()) {
            return Err(format!("{} bytes, not {size}", reply.len()));
        }
        return Ok(());
    };
    let n_answers = if golden.profile == "rfc952" {
        0
    } else {
        n_answers
    };
    let reply = Reply::read(reply)?;
    if (reply.rcode.as_str(), reply.answer.len()) == (rcode, n_answers) {
        return Ok(());
    }
    Err(format!("{reply:?} is not as we differ: {reason}"))
}

/// Whether it is answered from the zone, and not forwarded.
fn is_of_zone(golden: &Golden) -> bool {
    golden.profile != "forward" || golden.query.trim_end_matches('.').ends_with("mesos")
}

#[tokio::test]
async fn every_recorded_query_is_answered_as_the_original_does() {
    let mut failures = Vec::new();
    let upstreams = Upstreams::start().await;
    for (profile, n_recorded) in [
        ("lab", 441),
        ("defaults", 78),
        ("rfc952", 251),
        ("notruncate", 2),
        ("forward", 31),
    ] {
        let master = Master::start(support::state_document()).await;
        let tasks = Tasks::new();
        let mut config = support::server(profile, &master.url()).await;
        if profile == "forward" {
            config.forward = upstreams.replaced(&support::forward(profile));
        }
        let dns = start(config, &tasks).expect("a good configuration");
        let [over_udp, over_tcp] =
            [dns.udp_address(), dns.tcp_address()].map(|address| address.expect("bound"));
        timeout(LIMIT, dns.ready()).await.expect("a first state");
        let all = support::golden(&[profile]);
        assert_eq!(all.len(), n_recorded, "{profile}");
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        for golden in &all {
            // Nothing is drawn of what others answer.
            let rounds = if is_of_zone(golden) { ROUNDS } else { 1 };
            for id in 0..rounds {
                let packet = golden.packet(id);
                let answer = if golden.is_tcp() {
                    let answers = ask_tcp(over_tcp, &[packet]).await;
                    answers.into_iter().next().expect("an answer")
                } else {
                    ask_udp(&udp, over_udp, &packet).await
                };
                assert!(golden.is_tcp() || !is_of_zone(golden) || answer.len() <= UDP_LIMIT);
                if let Err(difference) = check(golden, id, &answer, !golden.is_tcp()) {
                    failures.push(format!("{}: {difference}", golden.shown()));
                    break;
                }
            }
        }
        // The same once more over TCP, several to a connection and all sent before the first answer is read; not what was
        // cut for UDP, nor what others answer, since they tell the transport.
        let whole = |golden: &&Golden| {
            profile != "notruncate"
                && is_of_zone(golden)
                && !golden.flags.iter().any(|flag| flag == "tc")
        };
        let all: Vec<&Golden> = all.iter().filter(whole).collect();
        for some in all.chunks(200) {
            let packets: Vec<Vec<u8>> = (0..)
                .zip(some)
                .map(|(id, golden)| golden.packet(id))
                .collect();
            let answers = ask_tcp(over_tcp, &packets).await;
            for (id, (golden, answer)) in (0..).zip(some.iter().zip(&answers)) {
                if let Err(difference) = check(golden, id, answer, false) {
                    failures.push(format!("{} over tcp: {difference}", golden.shown()));
                }
            }
        }
        tasks.shut_down(LIMIT).await.expect("all ends");
        master.stop().await;
    }
    assert!(
        failures.is_empty(),
        "{} differ: {failures:#?}",
        failures.len()
    );
}

async fn ask_udp(socket: &UdpSocket, server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    socket.send_to(packet, server).await.expect("sent");
    let mut buffer = vec![0; 65536];
    let received = timeout(LIMIT, socket.recv_from(&mut buffer))
        .await
        .expect("an answer");
    let (length, from) = received.expect("received");
    assert_eq!(from, server);
    buffer.truncate(length);
    buffer
}

/// Sends all packets at once and returns the answers until the connection was idle or closed.
async fn ask_tcp(server: SocketAddr, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await.expect("connected");
    let mut sent = Vec::new();
    for packet in packets {
        let length = u16::try_from(packet.len()).expect("a short packet");
        sent.extend_from_slice(&length.to_be_bytes());
        sent.extend_from_slice(packet);
    }
    stream.write_all(&sent).await.expect("sent");
    let mut answers = Vec::new();
    for _ in packets {
        let length = timeout(LIMIT, stream.read_u16())
            .await
            .expect("an answer")
            .expect("received");
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.expect("received");
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn odd_packets_get_an_error_or_nothing() {
    let master = Master::start(support::state_document()).await;
    let tasks = Tasks::new();
    let config = support::server("lab", &master.url()).await;
    let dns = start(config, &tasks).expect("a good configuration");
    let [over_udp, over_tcp] =
        [dns.udp_address(), dns.tcp_address()].map(|address| address.expect("bound"));
    timeout(LIMIT, dns.ready()).await.expect("a first state");
    let query = support::golden(&["lab"]).remove(0);
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let answered = query.packet(1);
    let changed = |at: usize, byte: u8| {
        let mut packet = query.packet(7);
        packet[at] = byte;
        packet
    };
    // Only the last of these is answered.
    for silent in [&answered[..2], &answered[..11], &changed(2, 0x81)] {
        udp.send_to(silent, over_udp).await.expect("sent");
    }
    let answer = ask_udp(&udp, over_udp, &answered).await;
    assert_eq!(check(&query, 1, &answer, true), Ok(()));
    for (packet, what) in [
        (answered[..20].to_vec(), "a question cut short"),
        (changed(2, 0x03), "TC"),
        (changed(5, 0), "no question"),
        (changed(12, 0xc0), "a pointer forward"),
    ] {
        let answers = [
            ask_udp(&udp, over_udp, &packet).await,
            ask_tcp(over_tcp, std::slice::from_ref(&packet))
                .await
                .remove(0),
        ];
        for answer in answers {
            assert_eq!(answer[..2], packet[..2], "{what}");
            assert_eq!(answer[2..], *b"\x81\x01\0\0\0\0\0\0\0\0", "{what}");
        }
    }
    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}

#[tokio::test]
async fn no_server_is_a_resolver_of_its_own() {
    let tasks = Tasks::new();
    let mut config = support::server("lab", "http://127.0.0.1:1").await;
    let own = config.udp.as_ref().expect("bound").local_addr();
    let own = own.expect("bound").to_string();
    config.forward.external_on = true;
    config.forward.resolvers = vec![own.parse().expect("an address")];
    let error = start(config, &tasks).expect_err("it would ask itself");
    let cause = std::error::Error::source(&error).expect("it has one");
    assert!(cause.to_string().contains(&own), "{cause}");
    tasks.shut_down(LIMIT).await.expect("nothing runs");
}

//! What must hold whatever packet comes, as a function of bytes: for the fuzz target in `fuzz/`, and for the tests here, which run it
//! on a corpus and on made-up packets.
//!
//! A packet goes from bytes to bytes through all that lies between a socket's two ends, for a fixed zone, with and without extras,
//! over UDP and TCP. A strict reader, which shares no code with us, reads what is sent back.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Message, MessageType, ResponseCode};
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::Request;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zddcluster_client::mesos::{Agent, Discovery, DiscoveryPort, Framework, State, Status, Task};
use zddcluster_model::AppId;

use crate::config::{IpSource, ZoneConfig};
use crate::edns::UDP_SIZE;
use crate::message;
use crate::packet::Packet;
use crate::records::{Gateway, Records, Share};
use crate::reply::{TCP_LIMIT, UDP_LIMIT, reply};
use crate::server::respond;
use crate::zone::Zone;

/// Where the question begins: behind the header.
const QUESTION: usize = 12;

thread_local! {
    static ZONES: [Zone; 2] = [false, true].map(zone);
}

/// A packet of a client.
///
/// # Panics
/// When the reply is not as it must be.
pub fn packet(input: &[u8]) {
    let client = SocketAddr::from(([192, 0, 2, 1], 53));
    let request = Request::from_bytes(input.to_vec(), client, Protocol::Udp).ok();
    ZONES.with(|zones| {
        for zone in zones {
            over_udp(zone, request.as_ref(), input);
            // What cannot be decoded is answered by hickory, and replies are with nothing; see `server`.
            if let Some(request) = &request
                && request.metadata.message_type == MessageType::Query
            {
                over_tcp(zone, request, input);
            }
        }
    });
}

fn over_udp(zone: &Zone, request: Option<&Request>, input: &[u8]) {
    let (mut rng, mut bytes) = (StdRng::seed_from_u64(7), Vec::new());
    let packet = Packet::read(input);
    if let Ok(packet) = &packet {
        message::write_truncated(packet, &mut bytes);
        let cut = Message::from_vec(&bytes).expect("it can be read");
        assert!(cut.metadata.truncation && bytes.len() <= input.len());
    }
    let code = respond(zone, input, packet, &mut rng, &mut bytes);
    let is_query = input.len() >= QUESTION && input[2] & 0x80 == 0;
    assert_eq!(
        code.is_some(),
        is_query,
        "every query is answered, and nothing else"
    );
    if code.is_none() {
        return;
    }
    let opt = request.and_then(|request| request.edns.as_ref());
    let opt = opt.filter(|_| zone.extras.is_some());
    let limit = opt.map_or(UDP_LIMIT, |opt| {
        opt.max_payload().clamp(UDP_LIMIT, UDP_SIZE)
    });
    match request {
        Some(request) => check(zone, request, input, limit, &bytes),
        None => {
            assert!(bytes.len() <= usize::from(limit), "{} bytes", bytes.len());
            let message = Message::from_vec(&bytes).expect("it can be read");
            assert_eq!(message.metadata.message_type, MessageType::Response);
            assert_eq!(bytes[..2], input[..2], "the id");
        }
    }
}

/// Encodes a reply as hickory does before it sends it.
fn over_tcp(zone: &Zone, request: &Request, input: &[u8]) {
    let mut rng = StdRng::seed_from_u64(7);
    let reply = reply(zone, request, TCP_LIMIT, &mut rng);
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(TCP_LIMIT);
    let sent = reply.response().destructive_emit(&mut encoder);
    let sent = sent.expect("it can be encoded");
    assert_eq!(sent.truncation, reply.metadata().truncation, "it fits");
    check(zone, request, input, TCP_LIMIT, &bytes);
}

/// Reads a reply.
fn check(zone: &Zone, request: &Request, input: &[u8], limit: u16, bytes: &[u8]) {
    let opt = request.edns.as_ref().filter(|_| zone.extras.is_some());
    assert!(bytes.len() <= usize::from(limit), "{} bytes", bytes.len());
    let message = Message::from_vec(bytes).expect("it can be read");
    let metadata = message.metadata;
    assert_eq!(bytes[..2], input[..2], "the id");
    assert_eq!(metadata.message_type, MessageType::Response);
    assert_eq!(metadata.op_code, request.metadata.op_code);
    let rd = (
        metadata.recursion_desired,
        request.metadata.recursion_desired,
    );
    assert_eq!(rd.0, rd.1, "RD");
    match &message.queries[..] {
        [] => {
            let is_refused =
                [ResponseCode::FormErr, ResponseCode::NotImp].contains(&metadata.response_code);
            assert!(is_refused || metadata.truncation, "the question is echoed");
            assert_eq!(bytes.len() > QUESTION, message.edns.is_some());
        }
        [_] => {
            let question = request.queries.as_bytes();
            assert_eq!(bytes[QUESTION..][..question.len()], *question);
        }
        other => panic!("{} questions are echoed", other.len()),
    }
    assert_eq!(message.edns.is_some(), opt.is_some(), "OPT");
    if let (Some(asked), Some(edns)) = (opt, &message.edns) {
        assert_eq!(edns.version(), 0);
        assert_eq!(edns.flags().dnssec_ok, asked.flags().dnssec_ok);
        assert!(edns.options().as_ref().is_empty());
    }
    if metadata.response_code != ResponseCode::NoError {
        assert!(message.answers.is_empty());
    }
    // The owner of an answer is what was asked for, in any case.
    let owners: BTreeSet<String> = message
        .answers
        .iter()
        .map(|record| record.name.to_string().to_lowercase())
        .collect();
    for (owner, query) in owners.iter().zip(&message.queries) {
        assert_eq!(*owner, query.name.to_string().to_lowercase());
    }
    assert!(owners.len() <= 1);
}

/// A zone of two agents and some apps, one of which has more instances than fit in a message over UDP.
fn zone(extras: bool) -> Zone {
    let task = |app: &str, n: u64, name: &str| Task {
        id: format!("{app}.{n}"),
        name: name.to_owned(),
        agent_id: format!("a-S{}", n % 2),
        state: "TASK_RUNNING".to_owned(),
        statuses: vec![Status {
            state: "TASK_RUNNING".to_owned(),
            timestamp: 1.0,
            networks: vec![vec![format!("9.0.0.{n}"), format!("fd01::{n}")]],
            ..Status::default()
        }],
        discovery: Some(Discovery {
            name: name.to_owned(),
            ports: vec![DiscoveryPort {
                number: 10000 + n,
                protocol: "tcp".to_owned(),
                name: "http".to_owned(),
            }],
        }),
        ..Task::default()
    };
    let agent = |n: u8| Agent {
        id: format!("a-S{n}"),
        pid: Some(format!("slave(1)@10.0.0.{n}:5051")),
    };
    let many = (0..40).map(|n| task("scale_many", n, "many.scale"));
    let few = (40..43).map(|n| task("zdd_blue", n, "blue.zdd"));
    let long = task("long", 43, &"long".repeat(20));
    let state = State {
        leader: "master@10.0.0.9:5050".to_owned(),
        agents: vec![agent(0), agent(1)],
        frameworks: vec![Framework {
            id: "f".to_owned(),
            name: "marathon".to_owned(),
            tasks: many.chain(few).chain([long]).collect(),
            ..Framework::default()
        }],
    };
    let share = |app: &str, weight| Share {
        app: AppId::absolute(app),
        port: 0,
        weight,
    };
    let gateway = Gateway {
        name: "shop".to_owned(),
        shares: vec![share("/zdd/blue", 20), share("/scale/many", 80)],
    };
    let config = ZoneConfig {
        ip_sources: vec![IpSource::NetInfo],
        extras,
        ..ZoneConfig::default()
    };
    Zone::new(
        Records::with_gateways(&state, &config, &[gateway]),
        &config,
        1,
    )
}

#[cfg(test)]
mod tests;

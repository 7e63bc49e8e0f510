//! What tests stand on: a zone of many instances, and queries.

use std::collections::BTreeMap;

use hickory_server::proto::op::Message;
use hickory_server::proto::rr::RData;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zddcluster_client::mesos::{Agent, Discovery, DiscoveryPort, Framework, State, Task};

use crate::answer::rtype;
use crate::config::ZoneConfig;
use crate::name::Name;
use crate::records::Records;
use crate::zone::Zone;

/// A zone with `n` instances of `many.scale`, each with a port of its own on one agent.
pub(crate) fn zone(n: u64, config: &ZoneConfig) -> Zone {
    let task = |n: u64| Task {
        id: format!("scale_many.{n}"),
        name: "many.scale".to_owned(),
        agent_id: "a-S1".to_owned(),
        state: "TASK_RUNNING".to_owned(),
        discovery: Some(Discovery {
            name: "many.scale".to_owned(),
            ports: vec![DiscoveryPort {
                number: 10000 + n,
                protocol: "tcp".to_owned(),
                name: String::new(),
            }],
        }),
        ..Task::default()
    };
    let state = State {
        leader: "master@10.0.0.9:5050".to_owned(),
        agents: vec![Agent {
            id: "a-S1".to_owned(),
            pid: Some("slave(1)@10.0.0.1:5051".to_owned()),
        }],
        frameworks: vec![Framework {
            id: "f".to_owned(),
            name: "marathon".to_owned(),
            tasks: (0..n).map(task).collect(),
            ..Framework::default()
        }],
    };
    Zone::new(Records::of(&state, config), config, 1)
}

/// A query of type `qtype` with rd set.
pub(crate) fn packet(name: &str, qtype: u16) -> Vec<u8> {
    let mut packet = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    packet.extend_from_slice(Name::from_text(name).expect("a name").as_wire());
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

/// Asked for in tests: the instances of [`zone`].
pub(crate) const MANY: &str = "_many-scale._tcp.marathon.mesos.";

/// A reply's size, whether TC is set, and its numbers of answers and additional records.
pub(crate) fn shape(reply: &[u8]) -> (usize, bool, usize, usize) {
    let decoded = Message::from_vec(reply).expect("a message");
    let (answers, additional) = (decoded.answers.len(), decoded.additionals.len());
    (
        reply.len(),
        decoded.metadata.truncation,
        answers,
        additional,
    )
}

/// Asks for three instances so often that each of their six orders has to come, and none seldom.
pub(crate) fn come_in_every_order(ask: impl Fn(&Zone, &[u8], &mut StdRng) -> Vec<u8>) {
    let zone = zone(3, &ZoneConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let mut orders = BTreeMap::new();
    for _ in 0..600 {
        let bytes = ask(&zone, &packet(MANY, rtype::SRV), &mut rng);
        let decoded = Message::from_vec(&bytes).expect("a message");
        let ports = decoded.answers.iter().map(|record| match &record.data {
            RData::SRV(srv) => srv.port,
            other => panic!("{other} was not asked for"),
        });
        *orders.entry(ports.collect::<Vec<_>>()).or_insert(0) += 1;
    }
    assert_eq!(orders.len(), 6);
    assert!(orders.values().all(|&n| n > 60), "{orders:?}");
}

/// Any bytes, or a query of which one byte is another one, and which may be cut off.
pub(crate) fn any_packet() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(vec![MANY, "mesos.", "slave.mesos.", "a.b.example.", "."]);
    let qtype = prop_oneof![any::<u16>(), Just(rtype::ANY), Just(rtype::SRV)];
    let changed = (
        name,
        qtype,
        0..80_usize,
        any::<prop::sample::Index>(),
        any::<u8>(),
    );
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        changed.prop_map(|(name, qtype, end, flip, with)| {
            let mut packet = packet(name, qtype);
            let at = flip.index(packet.len());
            packet[at] ^= with;
            packet.truncate(end.max(1));
            packet
        }),
    ]
}

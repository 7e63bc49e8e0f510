use hickory_proto::op::Message as Decoded;
use hickory_proto::rr::RData;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zddcluster_client::mesos::{Agent, Discovery, DiscoveryPort, Framework, State, Task};

use super::*;
use crate::config::ZoneConfig;
use crate::records::Records;

/// A zone with `n` instances of `many.scale`, each with a port of its own on one agent.
fn zone(n: u64, config: &ZoneConfig) -> Zone {
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
fn packet(name: &str, qtype: u16) -> Vec<u8> {
    let mut packet = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    packet.extend_from_slice(Name::from_text(name).expect("a name").as_wire());
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(&CLASS_IN.to_be_bytes());
    packet
}

const MANY: &str = "_many-scale._tcp.marathon.mesos.";

/// The reply's size, whether TC is set, and its numbers of answers and additional records.
fn asked(zone: &Zone, limit: usize) -> (usize, bool, usize, usize) {
    let mut rng = StdRng::seed_from_u64(7);
    let bytes = reply(zone, &packet(MANY, rtype::SRV), limit, &mut rng).expect("a reply");
    let decoded = Decoded::from_vec(&bytes).expect("a message");
    let (answers, additional) = (decoded.answers.len(), decoded.additionals.len());
    (
        bytes.len(),
        decoded.metadata.truncation,
        answers,
        additional,
    )
}

#[test]
fn what_does_not_fit_is_cut_as_the_original_cuts() {
    // 49 bytes of header and question, per instance 18 and the target's 36, and 16 for the target's address.
    let config = ZoneConfig::default();
    let cases = [
        (1, (119, false, 1, 1)),
        (6, (469, false, 6, 6)),
        (7, (427, true, 7, 0)),
        (8, (481, true, 8, 0)),
        (9, (481, true, 8, 0)),
        (200, (481, true, 8, 0)),
    ];
    for (n, expected) in cases {
        assert_eq!(
            asked(&zone(n, &config), UDP_LIMIT),
            expected,
            "{n} instances"
        );
    }
    let silent = ZoneConfig {
        set_truncate_bit: false,
        ..ZoneConfig::default()
    };
    assert_eq!(asked(&zone(9, &silent), UDP_LIMIT), (481, false, 8, 0));
}

#[test]
fn hundreds_of_instances_go_over_tcp() {
    let config = ZoneConfig::default();
    assert_eq!(
        asked(&zone(200, &config), TCP_LIMIT),
        (14049, false, 200, 200)
    );
    // Only the additional section is too much for TCP.
    assert_eq!(
        asked(&zone(1000, &config), TCP_LIMIT),
        (54049, true, 1000, 0)
    );
    let (size, is_truncated, n_answers, n_additional) = asked(&zone(2000, &config), TCP_LIMIT);
    assert!(size < TCP_LIMIT && size > TCP_LIMIT - 60, "{size}");
    assert_eq!((is_truncated, n_answers, n_additional), (true, 1212, 0));
}

#[test]
fn answers_come_in_every_order() {
    let zone = zone(3, &ZoneConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let mut orders = std::collections::BTreeMap::new();
    for _ in 0..600 {
        let bytes = reply(&zone, &packet(MANY, rtype::SRV), UDP_LIMIT, &mut rng).expect("a reply");
        let decoded = Decoded::from_vec(&bytes).expect("a message");
        let ports = decoded.answers.iter().map(|record| match &record.data {
            RData::SRV(srv) => srv.port,
            other => panic!("{other} was not asked for"),
        });
        *orders.entry(ports.collect::<Vec<_>>()).or_insert(0) += 1;
    }
    assert_eq!(orders.len(), 6);
    assert!(orders.values().all(|&n| n > 60), "{orders:?}");
}

#[test]
fn malformed_packets_get_a_bare_header() {
    let zone = zone(1, &ZoneConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let mut of = |packet: &[u8]| reply(&zone, packet, UDP_LIMIT, &mut rng);
    assert_eq!(
        of(&packet(MANY, rtype::SRV)[..20]).as_deref(),
        Some(&b"\0\x07\x80\x01\0\0\0\0\0\0\0\0"[..])
    );
    assert_eq!(of(b"\0\x07\x80\0\0\0\0\0\0\0\0\0"), None, "a response");
    assert_eq!(of(b""), None);
}

proptest! {
    #[test]
    fn any_packet_gets_a_sound_reply_or_none(
        start in prop::collection::vec(any::<u8>(), 0..40),
        name in prop::sample::select(vec![MANY, "mesos.", "slave.mesos.", "a.b.example.", "."]),
        qtype in prop_oneof![any::<u16>(), Just(rtype::ANY), Just(rtype::SRV)],
        cut in 0..80_usize,
        flip in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let zone = zone(9, &ZoneConfig::default());
        let mut rng = StdRng::seed_from_u64(7);
        let mut changed = packet(name, qtype);
        let at = flip.index(changed.len());
        changed[at] ^= with;
        changed.truncate(cut.max(1));
        for packet in [start, changed] {
            for limit in [UDP_LIMIT, TCP_LIMIT] {
                let Some(bytes) = reply(&zone, &packet, limit, &mut rng) else {
                    continue;
                };
                prop_assert!(bytes.len() <= limit);
                prop_assert_eq!(&bytes[..2], &packet[..2]);
                let decoded = Decoded::from_vec(&bytes);
                prop_assert!(decoded.is_ok(), "{:?} from {:?}", decoded, bytes);
            }
        }
    }
}

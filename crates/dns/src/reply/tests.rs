use std::net::SocketAddr;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Message as Decoded, MessageType};
use hickory_server::server::Request;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::answer::rtype;
use crate::config::ZoneConfig;
use crate::fixture::{MANY, any_packet, come_in_every_order, packet, shape, zone};

/// A limit that is met soon.
const LOW: u16 = 512;

/// The bytes hickory's server sends back; `None` for what does not come to us.
fn encoded(zone: &Zone, packet: &[u8], limit: u16, rng: &mut StdRng) -> Option<Vec<u8>> {
    let client = SocketAddr::from(([127, 0, 0, 1], 1));
    let request = Request::from_bytes(packet.to_vec(), client, Protocol::Udp).ok()?;
    if request.metadata.message_type == MessageType::Response {
        return None;
    }
    let reply = reply(zone, &request, limit, rng);
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_max_size(limit);
    let sent = reply.response().destructive_emit(&mut encoder);
    let sent = sent.expect("it was made to fit");
    let n_sent = [
        sent.counts().answers,
        sent.counts().authorities,
        sent.counts().additionals,
    ];
    let n_chosen = [&reply.answers, &reply.authority, &reply.additional].map(Vec::len);
    assert_eq!(n_sent.map(usize::from), n_chosen, "hickory cuts nothing");
    assert_eq!(sent.truncation, reply.metadata.truncation);
    Some(bytes)
}

/// The reply's size, whether TC is set, and its numbers of answers and additional records.
fn asked(zone: &Zone, limit: u16) -> (usize, bool, usize, usize) {
    let mut rng = StdRng::seed_from_u64(7);
    shape(&encoded(zone, &packet(MANY, rtype::SRV), limit, &mut rng).expect("a reply"))
}

#[test]
fn what_does_not_fit_is_cut_as_the_original_cuts() {
    // 49 bytes of header and question, 31 since the first owner's name is written again, per instance 18 and the
    // target's 36, and 16 for the target's address. The encoder needs room for a name before it becomes a pointer, so
    // 500 bytes for six whole instances are too many.
    let config = ZoneConfig::default();
    let cases = [
        (1, (150, false, 1, 1)),
        (5, (430, false, 5, 5)),
        (6, (404, true, 6, 0)),
        (7, (458, true, 7, 0)),
        (8, (458, true, 7, 0)),
        (200, (458, true, 7, 0)),
    ];
    for (n, expected) in cases {
        assert_eq!(asked(&zone(n, &config), LOW), expected, "{n} instances");
    }
    let silent = ZoneConfig {
        set_truncate_bit: false,
        ..ZoneConfig::default()
    };
    assert_eq!(asked(&zone(9, &silent), LOW), (458, false, 7, 0));
}

#[test]
fn hundreds_of_instances_go_over_tcp() {
    let config = ZoneConfig::default();
    assert_eq!(
        asked(&zone(500, &config), TCP_LIMIT),
        (63860, false, 500, 500)
    );
    // Only the additional section is too much for TCP.
    assert_eq!(asked(&zone(700, &config), TCP_LIMIT), (55860, true, 700, 0));
    assert_eq!(
        asked(&zone(2000, &config), TCP_LIMIT),
        (65465, true, 813, 0)
    );
}

#[test]
fn answers_come_in_every_order() {
    come_in_every_order(|zone, packet, rng| encoded(zone, packet, LOW, rng).expect("a reply"));
}

#[test]
fn malformed_packets_get_a_bare_header() {
    let zone = zone(1, &ZoneConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let mut truncated = packet(MANY, rtype::SRV);
    truncated[2] |= 0x02;
    assert_eq!(
        encoded(&zone, &truncated, LOW, &mut rng).as_deref(),
        Some(&b"\0\x07\x81\x01\0\0\0\0\0\0\0\0"[..])
    );
}

#[test]
fn a_soa_that_does_not_fit_beside_its_question_is_left_out() {
    let zone = zone(1, &ZoneConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let label = "a".repeat(60);
    let long = format!("{label}.{label}.{label}.{label}.mesos.");
    let packet = packet(&long, rtype::A);
    let of = |bytes: Vec<u8>| {
        let decoded = Decoded::from_vec(&bytes).expect("a message");
        (decoded.authorities.len(), decoded.metadata.truncation)
    };
    let with_little_room = encoded(&zone, &packet, LOW, &mut rng).expect("a reply");
    assert_eq!(of(with_little_room), (0, true));
    let with_much = encoded(&zone, &packet, TCP_LIMIT, &mut rng).expect("a reply");
    assert_eq!(of(with_much), (1, false));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_packet_gets_a_sound_reply_or_none(packet in any_packet()) {
        let zone = zone(9, &ZoneConfig::default());
        let mut rng = StdRng::seed_from_u64(7);
        for limit in [LOW, TCP_LIMIT] {
            let Some(bytes) = encoded(&zone, &packet, limit, &mut rng) else {
                continue;
            };
            prop_assert!(bytes.len() <= usize::from(limit));
            prop_assert_eq!(&bytes[..2], &packet[..2]);
            let decoded = Decoded::from_vec(&bytes);
            prop_assert!(decoded.is_ok(), "{:?} from {:?}", decoded, bytes);
        }
    }
}

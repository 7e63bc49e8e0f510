use hickory_server::proto::op::Message as Decoded;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::*;
use crate::answer::answer;
use crate::config::ZoneConfig;
use crate::fixture::{MANY, any_packet, come_in_every_order, packet, shape, zone};
use crate::packet::Unanswerable;

const UDP: usize = 512;
const TCP: usize = 65535;

/// The answer to a datagram; `None` if there is none.
fn answered(zone: &Zone, datagram: &[u8], limit: usize, rng: &mut StdRng) -> Option<Vec<u8>> {
    let mut out = vec![7; 3];
    match Packet::read(datagram) {
        Ok(packet) => {
            let lower = packet.query.name.to_lowercase();
            let answer = answer(zone, &packet.query, &lower, rng);
            write(zone, &packet, &lower, &answer, limit, &mut out)
        }
        Err(Unanswerable::Malformed(header)) => write_malformed(header, &mut out),
        Err(Unanswerable::NoQuery) => return None,
    };
    Some(out)
}

/// The size of what is said of so many instances, whether TC is set, and its numbers of answers and additional records.
fn asked(n: u64, config: &ZoneConfig, limit: usize) -> (usize, bool, usize, usize) {
    let mut rng = StdRng::seed_from_u64(7);
    let asked = packet(MANY, rtype::SRV);
    shape(&answered(&zone(n, config), &asked, limit, &mut rng).expect("a reply"))
}

#[test]
fn what_does_not_fit_is_cut_as_the_original_cuts() {
    // 49 bytes of header and question, per instance 18 and the target's 36, and 16 for the target's address.
    let config = ZoneConfig::default();
    let cases = [
        (1, (119, false, 1, 1)),
        (4, (329, false, 4, 4)),
        (6, (469, false, 6, 6)),
        (7, (427, true, 7, 0)),
        (8, (481, true, 8, 0)),
        (9, (481, true, 8, 0)),
        (200, (481, true, 8, 0)),
        (1000, (481, true, 8, 0)),
    ];
    for (n, expected) in cases {
        assert_eq!(asked(n, &config, UDP), expected, "{n} instances");
    }
    let silent = ZoneConfig {
        set_truncate_bit: false,
        ..ZoneConfig::default()
    };
    assert_eq!(asked(9, &silent, UDP), (481, false, 8, 0));
    let (size, is_cut, n, more) = asked(1000, &config, TCP);
    assert!(size < TCP && is_cut, "{size}");
    assert_eq!((n, more), (1000, 0));
}

#[test]
fn answers_come_in_every_order() {
    come_in_every_order(|zone, packet, rng| answered(zone, packet, UDP, rng).expect("a reply"));
}

#[test]
fn a_soa_that_does_not_fit_beside_its_question_is_left_out() {
    let zone = zone(1, &ZoneConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let label = "a".repeat(60);
    let packet = packet(&format!("{label}.{label}.{label}.{label}.mesos."), rtype::A);
    let of = |bytes: Option<Vec<u8>>| {
        let decoded = Decoded::from_vec(&bytes.expect("a reply")).expect("a message");
        (decoded.authorities.len(), decoded.metadata.truncation)
    };
    assert_eq!(of(answered(&zone, &packet, UDP, &mut rng)), (1, false));
    assert_eq!(of(answered(&zone, &packet, 300, &mut rng)), (0, true));
}

#[test]
fn a_name_of_another_case_is_pointed_at_as_far_as_it_is_the_same() {
    let zone = zone(1, &ZoneConfig::default());
    let mut rng = StdRng::seed_from_u64(7);
    let of = |name: &str, rng: &mut StdRng| {
        let asked = packet(name, rtype::A);
        answered(&zone, &asked, UDP, rng).expect("a reply").len() - asked.len()
    };
    assert_eq!(of("many-scale.marathon.mesos.", &mut rng), 16);
    assert_eq!(of("MANY-scale.marathon.mesos.", &mut rng), 16 + 11);
    assert_eq!(of("many-scale.marathon.MESOS.", &mut rng), 16 + 26 - 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_datagram_gets_a_sound_reply_or_none(packet in any_packet()) {
        let zone = zone(9, &ZoneConfig::default());
        let mut rng = StdRng::seed_from_u64(7);
        for limit in [UDP, TCP] {
            let Some(bytes) = answered(&zone, &packet, limit, &mut rng) else {
                continue;
            };
            prop_assert!(bytes.len() <= limit);
            prop_assert_eq!(&bytes[..2], &packet[..2]);
            let decoded = Decoded::from_vec(&bytes);
            prop_assert!(decoded.is_ok(), "{:?} from {:?}", decoded, bytes);
        }
    }
}

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::name::Name;

#[test]
fn what_is_kept_goes_well() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dns_packet");
    let mut n = 0;
    for file in fs::read_dir(dir).unwrap() {
        let input = fs::read(file.unwrap().path()).unwrap();
        // Whole, cut off everywhere, and with one bit changed.
        for end in 0..=input.len() {
            packet(&input[..end]);
        }
        for bit in 0..8 * input.len() {
            let mut changed = input.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            packet(&changed);
        }
        n += 1;
    }
    assert!(n > 10, "there are some inputs");
}

const NAMES: &[&str] = &[
    "mesos.",
    ".",
    "_many-scale._tcp.marathon.mesos.",
    "_MANY-scale._tcp.Marathon.mesos.",
    "many-scale.marathon.mesos.",
    "_http._blue-zdd._tcp.marathon.mesos.",
    "blue-zdd.marathon.mesos.",
    "_shop._tcp.gateway.mesos.",
    "_tcp.marathon.mesos.",
    "nope.mesos.",
    "ns1.mesos.",
    "slave.mesos.",
    "1.0.0.9.in-addr.arpa.",
    "1.0.0.10.in-addr.arpa.",
    "a.b.example.",
];

/// A query that may be right, and may have records, options and rubbish behind it.
fn queries() -> impl Strategy<Value = Vec<u8>> {
    let name = prop::sample::select(NAMES);
    let qtype = prop_oneof![
        4 => prop::sample::select(vec![1_u16, 2, 5, 6, 12, 16, 28, 33, 41, 43, 251, 252, 255]),
        1 => any::<u16>(),
    ];
    let class = prop_oneof![9 => Just(1_u16), 1 => any::<u16>()];
    let flags = prop_oneof![4 => Just([1_u8, 0]), 1 => any::<[u8; 2]>()];
    let opt = (
        any::<u16>(),
        prop_oneof![4 => Just(0_u8), 1 => any::<u8>()],
        any::<u8>(),
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 0..12)],
    );
    let opts = prop::collection::vec(opt, 0..3);
    let n_questions = prop_oneof![9 => Just(1_u8), 1 => 0..3_u8];
    let rest = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 0..20)];
    (name, qtype, class, flags, opts, n_questions, rest).prop_map(
        |(name, qtype, class, flags, opts, n_questions, rest)| {
            let n_opts = u8::try_from(opts.len()).expect("few");
            let mut packet = vec![
                0,
                7,
                flags[0],
                flags[1],
                0,
                n_questions,
                0,
                0,
                0,
                0,
                0,
                n_opts,
            ];
            packet.extend_from_slice(Name::from_text(name).expect("a name").as_wire());
            packet.extend_from_slice(&qtype.to_be_bytes());
            packet.extend_from_slice(&class.to_be_bytes());
            for (size, version, flag, options) in opts {
                packet.extend_from_slice(&[0, 0, 41]);
                packet.extend_from_slice(&size.to_be_bytes());
                let length = u8::try_from(options.len()).expect("few");
                packet.extend_from_slice(&[0, version, flag, 0, 0, length]);
                packet.extend_from_slice(&options);
            }
            packet.extend_from_slice(&rest);
            packet
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_query_gets_a_sound_reply(input in queries()) {
        packet(&input);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_bytes_do_no_harm(
        mut input in prop::collection::vec(any::<u8>(), 0..80),
        is_query in any::<bool>(),
    ) {
        if is_query && input.len() > 5 {
            // One question, so that more of it is looked at.
            input[2] &= 0x7f;
            input[4..6].copy_from_slice(&[0, 1]);
        }
        packet(&input);
    }
}

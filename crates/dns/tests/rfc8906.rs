//! The tests of RFC 8906, "Failure to Communicate", §8: as Mesos-DNS, which takes no notice of EDNS, and with extras.

use hickory_server::proto::op::{Message, OpCode, ResponseCode};
use hickory_server::proto::rr::RecordType;
use support::ask::{BOTH, HEADER, Opt, Server, Transport, query, with_opt};
use zddcluster_dns::ZoneConfig;

mod support;

const A: u16 = 1;
const SOA: u16 = 6;
/// No such type is known.
const UNKNOWN: u16 = 1000;
/// The header without RD, as all tests of the RFC have it.
const NO_RD: [u8; 4] = [0, 7, 0, 0];
/// An option whose number is not given to anybody.
const UNKNOWN_OPTION: &[u8] = &[0, 100, 0, 3, 1, 2, 3];
/// COOKIE, NSID, EXPIRE and SUBNET, each well formed.
const KNOWN_OPTIONS: &[u8] = &[
    0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 3, 0, 0, 0, 9, 0, 0, 0, 8, 0, 4, 0, 1, 0, 0,
];
/// An EDNS flag without meaning.
const UNKNOWN_FLAG: u16 = 0x40;
const DO: u16 = 0x8000;

async fn start(extras: bool) -> Server {
    let zone = ZoneConfig {
        extras,
        ..support::config("lab")
    };
    Server::start(support::state_document(), zone).await
}

/// The header's second pair of bytes.
fn flags(answer: &[u8]) -> u16 {
    u16::from_be_bytes([answer[2], answer[3]])
}

const QR: u16 = 0x8000;
const AA: u16 = 0x0400;
const RA: u16 = 0x0080;
const CD: u16 = 0x0010;

/// Whether the zone's SOA is in the answer section: with extras alone, as Mesos-DNS has it among the authorities.
fn has_soa(message: &Message, extras: bool) -> bool {
    let section = match extras {
        true => &message.answers,
        false => &message.authorities,
    };
    matches!(&section[..], [soa] if soa.record_type() == RecordType::SOA)
}

#[tokio::test]
async fn plain_queries() {
    for extras in [false, true] {
        let server = start(extras).await;
        for transport in BOTH {
            let case = format!("extras {extras}, {transport:?}");
            // §8.1.1, §8.1.5: the server is configured for the zone.
            let packet = query(NO_RD, "mesos", SOA);
            let bytes = server.ask(&packet, transport).await;
            assert_eq!(flags(&bytes), QR | AA | RA, "{case}");
            let answer = Message::from_vec(&bytes).expect("a message");
            assert!(has_soa(&answer, extras), "{case}");
            assert_eq!(answer.edns, None, "{case}");

            // §8.1.2: unknown types.
            for (name, code) in [
                ("web.marathon.mesos", ResponseCode::NoError),
                ("nope.mesos", ResponseCode::NXDomain),
            ] {
                let packet = query(NO_RD, name, UNKNOWN);
                let answer = server.asked(&packet, transport).await;
                assert_eq!(answer.metadata.response_code, code, "{case}");
                assert!(answer.answers.is_empty(), "{case}");
                assert!(answer.metadata.authoritative, "{case}");
            }

            // §8.1.3: CD and RD are copied, AD is not, the reserved bit is not.
            for (second, third, expected) in [
                (0, 0x10, CD),
                (0, 0x20, 0),
                (0, 0x40, 0),
                (1, 0, 0x0100),
                (1, 0x70, 0x0100 | CD),
            ] {
                let packet = query([0, 7, second, third], "mesos", SOA);
                let bytes = server.ask(&packet, transport).await;
                assert_eq!(flags(&bytes), QR | AA | RA | expected, "{case}");
                let answer = Message::from_vec(&bytes).expect("a message");
                assert!(has_soa(&answer, extras), "{case}");
            }

            // §8.1.4: unknown operations, without a question and with one.
            let bare = [0, 7, 15 << 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let whole = query([0, 7, 15 << 3, 0], "mesos", SOA);
            for packet in [&bare[..], &whole] {
                let answer = server.asked(packet, transport).await;
                let metadata = answer.metadata;
                assert_eq!(metadata.response_code, ResponseCode::NotImp, "{case}");
                assert_eq!(metadata.op_code, OpCode::from_u8(15), "{case}");
                assert!(!metadata.authoritative, "{case}");
                assert!(!metadata.recursion_desired, "{case}");
                let n_records = answer.all_sections().count();
                assert_eq!((n_records, answer.edns), (0, None), "{case}");
            }
        }
        server.stop().await;
    }
}

/// What §8.2 asks: the OPT record, and whether the version is known.
const EDNS: [(&str, Opt<'static>); 9] = [
    ("§8.2.1 EDNS", opt(0, 0, &[])),
    ("§8.2.2 version 1", opt(1, 0, &[])),
    ("§8.2.3 an unknown option", opt(0, 0, UNKNOWN_OPTION)),
    ("§8.2.4 an unknown flag", opt(0, UNKNOWN_FLAG, &[])),
    (
        "§8.2.5 version 1, an unknown flag",
        opt(1, UNKNOWN_FLAG, &[]),
    ),
    (
        "§8.2.6 version 1, an unknown option",
        opt(1, 0, UNKNOWN_OPTION),
    ),
    ("§8.2.8 DO", opt(0, DO, &[])),
    ("§8.2.9 version 1, DO", opt(1, DO, &[])),
    ("§8.2.10 several options", opt(0, 0, KNOWN_OPTIONS)),
];

const fn opt(version: u8, flags: u16, options: &[u8]) -> Opt<'_> {
    Opt {
        size: 4096,
        version,
        flags,
        options,
    }
}

#[tokio::test]
async fn edns_is_not_seen_as_by_mesos_dns() {
    let server = start(false).await;
    let plain = query(NO_RD, "mesos", SOA);
    for transport in BOTH {
        let expected = server.ask(&plain, transport).await;
        for (case, opt) in EDNS {
            let answer = server.ask(&with_opt(plain.clone(), opt), transport).await;
            assert_eq!(answer, expected, "{case}, {transport:?}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn edns_is_answered_with_extras() {
    let server = start(true).await;
    for transport in BOTH {
        for (case, opt) in EDNS {
            let case = format!("{case}, {transport:?}");
            let packet = with_opt(query(NO_RD, "mesos", SOA), opt);
            let answer = server.asked(&packet, transport).await;
            let metadata = answer.metadata;
            let is_known = opt.version == 0;
            let code = match is_known {
                true => 0,
                // BADVERS
                false => 16,
            };
            assert_eq!(u16::from(metadata.response_code), code, "{case}");
            assert_eq!(has_soa(&answer, true), is_known, "{case}");
            assert_eq!(metadata.authoritative, is_known, "{case}");
            assert!(!metadata.authentic_data, "{case}");
            assert_eq!(answer.queries.len(), 1, "{case}");
            let edns = answer.edns.expect(&case);
            assert_eq!((edns.version(), edns.max_payload()), (0, 1232), "{case}");
            assert_eq!(edns.flags().dnssec_ok, opt.flags & DO != 0, "{case}");
            assert_eq!(edns.flags().z, 0, "{case}");
            assert!(edns.options().as_ref().is_empty(), "{case}");
        }

        // An unknown operation, a name of others, no question.
        let other = with_opt(query([0, 7, 15 << 3, 0], "mesos", SOA), Opt::default());
        let outside = with_opt(query(HEADER, "example.com", A), Opt::default());
        let mut nothing = [0; 12].to_vec();
        nothing[1] = 7;
        let nothing = with_opt(nothing, Opt::default());
        for (packet, code) in [
            (other, ResponseCode::NotImp),
            (outside, ResponseCode::Refused),
            (nothing, ResponseCode::FormErr),
        ] {
            let answer = server.asked(&packet, transport).await;
            assert_eq!(answer.metadata.response_code, code, "{transport:?}");
            assert!(answer.edns.is_some(), "{transport:?}");
        }

        // Two OPT records, and one that is not the root's.
        let once = with_opt(query(HEADER, "mesos", SOA), Opt::default());
        let twice = with_opt(once.clone(), Opt::default());
        let mut named = once;
        let at = named.len() - 11;
        named.splice(at..=at, [1, b'a', 0]);
        for packet in [twice, named] {
            let answer = server.asked(&packet, transport).await;
            assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn without_an_opt_record_there_is_none_in_the_answer() {
    let server = start(true).await;
    let packet = query(HEADER, "mesos", SOA);
    let answer = server.asked(&packet, Transport::Udp).await;
    assert_eq!(answer.edns, None);
    server.stop().await;
}

/// §8.2.7: the client's size holds, below 512 as 512 and above 1232 as 1232.
#[tokio::test]
async fn udp_carries_what_the_client_takes() {
    let server = start(true).await;
    let name = "_many-scale._tcp.marathon.mesos";
    let plain = query(HEADER, name, 33);
    // 24 instances.
    for (size, n_answers) in [
        (0, 7..=8),
        (512, 7..=8),
        (800, 13..=13),
        (1232, 21..=21),
        (4096, 21..=21),
    ] {
        let opt = Opt {
            size,
            ..Opt::default()
        };
        let packet = with_opt(plain.clone(), opt);
        let bytes = server.ask(&packet, Transport::Udp).await;
        let answer = Message::from_vec(&bytes).expect("a message");
        let limit = size.clamp(512, 1232);
        assert!(bytes.len() <= usize::from(limit), "{size}: {}", bytes.len());
        assert!(answer.metadata.truncation, "{size}");
        assert!(answer.additionals.is_empty(), "{size}");
        assert!(answer.edns.is_some(), "{size}");
        let n = answer.answers.len();
        assert!(n_answers.contains(&n), "{size}: {n}");
    }
    // Seven instances are too many for 512 bytes with their addresses, and few enough for 1232.
    let packet = query(HEADER, "_seven-scale._tcp.marathon.mesos", 33);
    let answer = server.asked(&packet, Transport::Udp).await;
    assert!(answer.metadata.truncation && answer.additionals.is_empty());
    let packet = with_opt(packet, Opt::default());
    let answer = server.asked(&packet, Transport::Udp).await;
    assert!(!answer.metadata.truncation);
    assert_eq!((answer.answers.len(), answer.additionals.len()), (7, 7));
    server.stop().await;
}

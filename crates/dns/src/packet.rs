//! A query as it comes in a datagram, read without decoding more of it than is answered.
//!
//! Only the header and the one question count; what follows, an OPT record or rubbish, has no influence on the answer.
//! Source: RFC 1035 §4.1; contract mesos-dns §5.3, §5.6.

use crate::name::Name;
use crate::query::Query;

/// Bytes of a message's header.
pub(crate) const HEADER: usize = 12;
/// The bytes of a question's type and class.
pub(crate) const TYPE_AND_CLASS: usize = 4;

/// Flags of the header's third byte.
pub(crate) mod flag {
    pub(crate) const QR: u8 = 0x80;
    pub(crate) const OP_CODE: u8 = 0x78;
    pub(crate) const AA: u8 = 0x04;
    pub(crate) const TC: u8 = 0x02;
    pub(crate) const RD: u8 = 0x01;
    // And of its fourth.
    pub(crate) const RA: u8 = 0x80;
    pub(crate) const CD: u8 = 0x10;
}

/// A query that can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet<'p> {
    pub(crate) header: &'p [u8; HEADER],
    /// The question as it came: name, type, class.
    pub(crate) question: &'p [u8],
    pub(crate) query: Query,
}

/// What cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswerable<'p> {
    /// It has no whole header, or is itself an answer: nothing is said.
    NoQuery,
    /// It is not exactly one question, written in full: FORMERR.
    Malformed(&'p [u8; HEADER]),
}

impl<'p> Packet<'p> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is nothing that has an answer.
    pub(crate) fn read(bytes: &'p [u8]) -> Result<Self, Unanswerable<'p>> {
        let (header, body) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(Unanswerable::NoQuery)?;
        if header[2] & flag::QR != 0 {
            return Err(Unanswerable::NoQuery);
        }
        let malformed = Unanswerable::Malformed(header);
        if header[2] & flag::TC != 0 || header[4..6] != [0, 1] {
            return Err(malformed);
        }
        let name = Name::from_start(body).ok_or(malformed)?;
        let length = name.as_wire().len();
        let question = body.get(..length + TYPE_AND_CLASS).ok_or(malformed)?;
        let number = |at: usize| u16::from_be_bytes([question[at], question[at + 1]]);
        Ok(Self {
            header,
            question,
            query: Query {
                op_code: (header[2] & flag::OP_CODE) >> 3,
                name,
                qtype: number(length),
                qclass: number(length + 2),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `a.Mesos.` SRV, id 7, rd and cd set, with rubbish at its end.
    const ASKED: &[u8] = b"\0\x07\x01\x10\0\x01\0\0\0\0\0\0\x01a\x05Mesos\0\0\x21\0\x01rest";

    fn changed(at: usize, byte: u8) -> Vec<u8> {
        let mut packet = ASKED.to_vec();
        packet[at] = byte;
        packet
    }

    #[test]
    fn a_question_is_read_and_what_follows_is_not() {
        let packet = Packet::read(ASKED).expect("a question");
        assert_eq!(packet.question, &ASKED[12..25]);
        let query = Query {
            op_code: 0,
            name: Name::from_text("a.Mesos.").expect("a name"),
            qtype: 33,
            qclass: 1,
        };
        assert_eq!(packet.query, query);
        let mut packet = changed(2, 0x79);
        packet[21..25].copy_from_slice(&[0xab, 0xcd, 0x12, 0x34]);
        let query = Packet::read(&packet).expect("a question").query;
        assert_eq!(
            (query.op_code, query.qtype, query.qclass),
            (15, 0xabcd, 0x1234)
        );
    }

    #[test]
    fn what_is_no_question_is_told_apart() {
        fn read(packet: &[u8]) -> Result<u16, Unanswerable<'_>> {
            Packet::read(packet).map(|packet| packet.query.qtype)
        }
        assert_eq!(read(&ASKED[..11]), Err(Unanswerable::NoQuery));
        assert_eq!(read(&changed(2, 0x81)), Err(Unanswerable::NoQuery));
        for (packet, what) in [
            (changed(2, 0x03), "TC"),
            (changed(5, 0), "no question"),
            (changed(5, 2), "two questions"),
            (changed(12, 0xc0), "a pointer"),
            (changed(12, 0x41), "a label of another kind"),
            (changed(14, 63), "a label that goes on behind the end"),
            (ASKED[..24].to_vec(), "half a class"),
            (ASKED[..12].to_vec(), "a header alone"),
            (
                [&ASKED[..12], &[1, b'a'].repeat(128), &[0; 5]].concat(),
                "256 bytes of a name",
            ),
        ] {
            let header = packet.first_chunk().expect("a header");
            assert_eq!(
                read(&packet),
                Err(Unanswerable::Malformed(header)),
                "{what}"
            );
        }
    }
}

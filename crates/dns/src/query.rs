//! What a request asks.
//!
//! Only the header and the one question are looked at. What follows, an OPT record or rubbish, has no influence on the
//! answer: contract mesos-dns §5.3, §5.6.

use hickory_server::proto::op::{Metadata, OpCode};
use hickory_server::zone_handler::Queries;

use crate::name::Name;
use crate::packet::TYPE_AND_CLASS;

/// One question with what of its header is needed to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The operation; only 0, a query, is answered.
    pub op_code: u8,
    /// With its case as asked.
    pub name: Name,
    /// The record type, for instance 33 for SRV.
    pub qtype: u16,
    /// 1 is the Internet's.
    pub qclass: u16,
}

/// It is no question one can answer, but one to be answered with FORMERR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Query {
    /// Reads what hickory has decoded of a request.
    ///
    /// # Errors
    /// When it is not exactly one question, written in full.
    pub(crate) fn of(metadata: &Metadata, queries: &Queries) -> Result<Self, Malformed> {
        let [query] = queries.queries() else {
            return Err(Malformed);
        };
        let query = query.original();
        let name = Name::from_labels(query.name().iter());
        // A first question can only point into the header, which is not the same in the reply.
        let is_whole = queries.as_bytes().len() == name.as_wire().len() + TYPE_AND_CLASS;
        if metadata.truncation || !is_whole {
            return Err(Malformed);
        }
        Ok(Self {
            op_code: match metadata.op_code {
                OpCode::Query => 0,
                other => other.into(),
            },
            name,
            qtype: query.query_type().into(),
            qclass: query.query_class().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use hickory_server::net::xfer::Protocol;
    use hickory_server::server::Request;

    use super::*;

    /// A query for `a.Mesos.` SRV, id 7, rd and cd set, with rubbish at its end.
    const ASKED: &[u8] = b"\0\x07\x01\x10\0\x01\0\0\0\0\0\0\x01a\x05Mesos\0\0\x21\0\x01rest";

    fn read(packet: Vec<u8>) -> Result<Query, Malformed> {
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        let request = Request::from_bytes(packet, client, Protocol::Udp).expect("it is decoded");
        Query::of(&request.metadata, &request.queries)
    }

    #[test]
    fn a_question_is_read_and_what_follows_is_not() {
        assert_eq!(
            read(ASKED.to_vec()),
            Ok(Query {
                op_code: 0,
                name: Name::from_text("a.Mesos.").expect("a name"),
                qtype: 33,
                qclass: 1,
            })
        );
    }

    #[test]
    fn numbers_without_a_meaning_are_kept() {
        let mut packet = ASKED.to_vec();
        packet[2] = 0x79;
        packet[21..25].copy_from_slice(&[0xab, 0xcd, 0x12, 0x34]);
        let query = read(packet).expect("a question");
        assert_eq!(
            (query.op_code, query.qtype, query.qclass),
            (15, 0xabcd, 0x1234)
        );
    }

    #[test]
    fn odd_questions_are_malformed() {
        let changed = |at: usize, byte: u8| {
            let mut packet = ASKED.to_vec();
            packet[at] = byte;
            read(packet)
        };
        assert_eq!(changed(2, 0x03), Err(Malformed), "TC");
        assert_eq!(changed(5, 0), Err(Malformed), "no question");
        let two = [ASKED.split_at(25).0, &ASKED[12..25]].concat();
        let two = [&two[..5], &[2], &two[6..]].concat();
        assert_eq!(read(two), Err(Malformed), "two questions");
        // The header's `\0\x01` is no name, but its last zero is.
        let pointing = [&ASKED[..12], &[0xc0, 0x0b, 0, 0x21, 0, 1]].concat();
        assert_eq!(read(pointing), Err(Malformed), "a pointer into the header");
    }
}

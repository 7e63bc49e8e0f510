//! What a packet asks.
//!
//! Only the header and the one question are read. What follows, an OPT record or rubbish, has no influence on the
//! answer: contract mesos-dns §5.3, §5.6.

use hickory_proto::op::{Header, MessageType, OpCode};
use hickory_proto::rr::Name as ProtoName;
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};

use crate::name::Name;

/// The length of a message's header.
pub(crate) const HEADER: usize = 12;

/// One question with what of its header is needed to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub id: u16,
    pub recursion_desired: bool,
    pub checking_disabled: bool,
    /// The operation; only 0, a query, is answered.
    pub op_code: u8,
    /// With its case as asked.
    pub name: Name,
    pub qtype: u16,
    pub qclass: u16,
}

/// A packet that is not a question one can answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// No id can be read, or it is itself an answer: nothing may be sent back.
    Silence,
    /// To be answered by a bare header with FORMERR.
    FormErr { id: u16 },
}

impl Query {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is not a query with exactly one readable question.
    pub fn read(message: &[u8]) -> Result<Self, Malformed> {
        let mut decoder = BinDecoder::new(message);
        let Ok(Header { metadata, counts }) = Header::read(&mut decoder) else {
            return Err(match *message {
                [high, low, flags, ..] if flags & 0x80 == 0 => Malformed::FormErr {
                    id: u16::from_be_bytes([high, low]),
                },
                _ => Malformed::Silence,
            });
        };
        if metadata.message_type == MessageType::Response {
            return Err(Malformed::Silence);
        }
        let malformed = Malformed::FormErr { id: metadata.id };
        if metadata.truncation || counts.queries != 1 {
            return Err(malformed);
        }
        let name = ProtoName::read(&mut decoder).map_err(|_| malformed)?;
        let [qtype, qclass] = [(); 2].map(|()| decoder.read_u16());
        let (Ok(qtype), Ok(qclass)) = (qtype, qclass) else {
            return Err(malformed);
        };
        Ok(Self {
            id: metadata.id,
            recursion_desired: metadata.recursion_desired,
            checking_disabled: metadata.checking_disabled,
            op_code: match metadata.op_code {
                OpCode::Query => 0,
                other => other.into(),
            },
            name: Name::from_labels(name.iter()),
            // Every number is a type and a class.
            qtype: qtype.unverified(),
            qclass: qclass.unverified(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `a.Mesos.` SRV, id 7, rd and cd set, with an OPT that is never read.
    const ASKED: &[u8] = b"\0\x07\x01\x10\0\x01\0\0\0\0\0\x01\x01a\x05Mesos\0\0\x21\0\x01rest";

    #[test]
    fn a_question_is_read_and_what_follows_is_not() {
        assert_eq!(
            Query::read(ASKED),
            Ok(Query {
                id: 7,
                recursion_desired: true,
                checking_disabled: true,
                op_code: 0,
                name: Name::from_text("a.Mesos.").expect("a name"),
                qtype: 33,
                qclass: 1,
            })
        );
    }

    #[test]
    fn odd_packets_get_an_error_or_nothing() {
        let changed = |at: usize, byte: u8| {
            let mut packet = ASKED.to_vec();
            packet[at] = byte;
            Query::read(&packet)
        };
        let error = || Err(Malformed::FormErr { id: 7 });
        assert_eq!(changed(2, 0x81), Err(Malformed::Silence), "a response");
        assert_eq!(changed(2, 0x03), error(), "TC");
        assert_eq!(changed(5, 0), error(), "no question");
        assert_eq!(changed(5, 2), error(), "two questions");
        assert_eq!(changed(12, 0xc0), error(), "a pointer forward");
        for length in 0..ASKED.len() - 4 {
            let expected = if length < 3 {
                Err(Malformed::Silence)
            } else {
                error()
            };
            assert_eq!(Query::read(&ASKED[..length]), expected, "{length} bytes");
        }
    }
}

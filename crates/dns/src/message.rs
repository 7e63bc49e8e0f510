//! An answer as bytes, with exactly as much of it as the original sends.
//!
//! ```text
//!   all is at most the limit  ─▶ all
//!   else without additional records, if that is below the limit   TC
//!   else as many answers from the front as stay below the limit   TC
//! ```
//!
//! Names are compressed as the original does, since that decides what fits: all but the targets of services, which are written in
//! full and may be pointed at. Hickory's encoder writes the first owner in full, so with it less would fit; and as the size is known
//! while the bytes are written, nothing is encoded twice. There is never an OPT record.
//! Source: contract mesos-dns §5.2-§5.5.

use hickory_server::proto::op::ResponseCode;

use crate::answer::{Answer, CLASS_IN, Data, Owner, Record, rtype};
use crate::name::{Name, suffixes};
use crate::packet::{HEADER, Packet, flag};
use crate::reply::response_code;
use crate::zone::Zone;

/// Where a pointer can point: 14 bits.
const MAX_POINTER: usize = 0x3fff;
/// The two bits that make a pointer.
const POINTER: u16 = 0xc000;
/// Places of an answer's names that are remembered without more memory: those of four targets.
const USUAL_NAMES: usize = 16;

/// Writes the answer to a packet into `out`, at most `limit` bytes of it, and tells its code. `lower` is the name asked for in lower
/// case.
pub(crate) fn write(
    zone: &Zone,
    packet: &Packet<'_>,
    lower: &Name,
    answer: &Answer<'_>,
    limit: usize,
    out: &mut Vec<u8>,
) -> ResponseCode {
    let mut writer = Writer::new(zone, packet, lower, out);
    // Where the message ends with no answer, one, two…
    let mut ends = vec![writer.end()];
    for record in &answer.answers {
        writer.record(record);
        if writer.out.len() > limit {
            break;
        }
        ends.push(writer.end());
    }
    let Answer {
        answers,
        authority,
        additional,
        ..
    } = answer;
    if ends.len() > answers.len() {
        let mut rest = authority.iter().chain(additional);
        rest.by_ref()
            .take_while(|record| {
                writer.record(record);
                writer.out.len() <= limit
            })
            .for_each(drop);
        if writer.out.len() <= limit {
            return writer.finish(
                answer,
                [answers.len(), authority.len(), additional.len()],
                false,
            );
        }
    }
    for (n_answers, &end) in ends.iter().enumerate().rev() {
        writer.back_to(end);
        authority.iter().for_each(|record| writer.record(record));
        if writer.out.len() < limit {
            return writer.finish(
                answer,
                [n_answers, authority.len(), 0],
                zone.set_truncate_bit,
            );
        }
    }
    // A question of almost the greatest length, and names of the SOA that are long too.
    writer.back_to(ends[0]);
    writer.finish(answer, [0; 3], zone.set_truncate_bit)
}

/// Writes the answer to what is no question: its header says so, and there is nothing else. Other operations may do without one
/// (RFC 8906 §8.1.4).
pub(crate) fn write_malformed(header: &[u8; HEADER], out: &mut Vec<u8>) -> ResponseCode {
    let code = match header[2] & flag::OP_CODE {
        0 => ResponseCode::FormErr,
        _ => ResponseCode::NotImp,
    };
    write_bare(header, &[], 0, code, out)
}

/// Writes what a client above its rate gets: the question, and that there is more to be had over TCP.
pub(crate) fn write_truncated(packet: &Packet<'_>, out: &mut Vec<u8>) -> ResponseCode {
    let Packet {
        header, question, ..
    } = packet;
    write_bare(header, question, flag::TC, ResponseCode::NoError, out)
}

/// Writes a reply without records to a query with this header into `out`, and tells its code: with what is kept of the query's flags,
/// with `flags` of the header's third byte, and the question, if there is one.
pub(crate) fn write_bare(
    header: &[u8; HEADER],
    question: &[u8],
    flags: u8,
    code: ResponseCode,
    out: &mut Vec<u8>,
) -> ResponseCode {
    out.clear();
    out.extend_from_slice(header);
    out[2] = flag::QR | flags | out[2] & (flag::OP_CODE | flag::RD);
    out[3] = out[3] & flag::CD | code.low();
    out[4..].fill(0);
    out[5] = u8::from(!question.is_empty());
    out.extend_from_slice(question);
    code
}

/// An end of the message that can be gone back to.
#[derive(Debug, Clone, Copy)]
struct End {
    length: usize,
    n_known: usize,
}

/// A message that is being written.
struct Writer<'a> {
    zone: &'a Zone,
    packet: &'a Packet<'a>,
    lower: &'a Name,
    out: &'a mut Vec<u8>,
    /// Names that were written, and where; each also stands for itself.
    known: Vec<(&'a [u8], u16)>,
}

impl<'a> Writer<'a> {
    /// Begins with room for the header, and the question.
    fn new(zone: &'a Zone, packet: &'a Packet<'a>, lower: &'a Name, out: &'a mut Vec<u8>) -> Self {
        out.clear();
        out.extend_from_slice(packet.header);
        let mut writer = Self {
            zone,
            packet,
            lower,
            out,
            known: Vec::with_capacity(USUAL_NAMES),
        };
        writer.name(&packet.query.name, false);
        let rest = &packet.question[packet.query.name.as_wire().len()..];
        writer.out.extend_from_slice(rest);
        writer
    }

    fn end(&self) -> End {
        End {
            length: self.out.len(),
            n_known: self.known.len(),
        }
    }

    fn back_to(&mut self, end: End) {
        self.out.truncate(end.length);
        self.known.truncate(end.n_known);
    }

    /// Writes the header, with the numbers of answers, authority and additional records.
    fn finish(self, answer: &Answer<'_>, counts: [usize; 3], is_cut: bool) -> ResponseCode {
        let asked = self.packet.header;
        let code = response_code(answer.rcode);
        let set = |is_set, flag| if is_set { flag } else { 0 };
        self.out[2] = flag::QR
            | asked[2] & (flag::OP_CODE | flag::RD)
            | set(answer.authoritative, flag::AA)
            | set(is_cut, flag::TC);
        self.out[3] = asked[3] & flag::CD | set(answer.recursion_available, flag::RA) | code.low();
        for (at, count) in counts.into_iter().enumerate() {
            let count = u16::try_from(count).expect("each record has more than a byte");
            self.out[6 + 2 * at..][..2].copy_from_slice(&count.to_be_bytes());
        }
        code
    }

    fn record(&mut self, record: &Record<'a>) {
        let owner = match record.owner {
            Owner::Asked => &self.packet.query.name,
            Owner::Lower => self.lower,
            Owner::Name(name) => name,
        };
        self.name(owner, true);
        let (soa, ttl) = (&self.zone.soa, self.zone.ttl);
        let rtype = match record.data {
            Data::A(_) => rtype::A,
            Data::Aaaa(_) => rtype::AAAA,
            Data::Srv { .. } => rtype::SRV,
            Data::Ptr(_) => rtype::PTR,
            Data::Soa => rtype::SOA,
            Data::Ns => rtype::NS,
        };
        self.number(rtype);
        self.number(CLASS_IN);
        self.out.extend_from_slice(&ttl.to_be_bytes());
        let at = self.out.len();
        self.number(0);
        match record.data {
            Data::A(address) => self.out.extend_from_slice(&address.octets()),
            Data::Aaaa(address) => self.out.extend_from_slice(&address.octets()),
            Data::Srv {
                weight,
                port,
                target,
            } => {
                self.number(0);
                self.number(weight);
                self.number(port);
                self.name(target, false);
            }
            Data::Soa => {
                self.name(&soa.mname, true);
                self.name(&soa.rname, true);
                for number in [soa.serial, soa.refresh, soa.retry, soa.expire, ttl] {
                    self.out.extend_from_slice(&number.to_be_bytes());
                }
            }
            Data::Ns => self.name(&soa.mname, true),
            Data::Ptr(name) => self.name(name, true),
        }
        let length = u16::try_from(self.out.len() - at - 2).expect("two names and some numbers");
        self.out[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn number(&mut self, number: u16) {
        self.out.extend_from_slice(&number.to_be_bytes());
    }

    /// Writes a name, its end as a pointer if it may be and was written before. Its parts are remembered.
    fn name(&mut self, name: &'a Name, may_point: bool) {
        for suffix in suffixes(name.as_wire()) {
            if suffix.len() == 1 {
                break;
            }
            let known = self.known.iter().find(|(known, _)| *known == suffix);
            match known {
                Some((_, at)) if may_point => return self.number(POINTER | *at),
                Some(_) => {}
                None if self.out.len() <= MAX_POINTER => {
                    let at = u16::try_from(self.out.len()).expect("a pointer holds it");
                    self.known.push((suffix, at));
                }
                None => {}
            }
            self.out
                .extend_from_slice(&suffix[..=usize::from(suffix[0])]);
        }
        self.out.push(0);
    }
}
#[cfg(test)]
mod tests;

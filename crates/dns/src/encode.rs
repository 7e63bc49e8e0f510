//! An answer as bytes, within the size the transport allows.
//!
//! Written here and not by hickory's encoder, because the size decides what is cut, and it must come out as the
//! original's: owner names point back at the question from the first one on, without a limit to their number, and
//! never is there an OPT record. Owner names and the names in NS and SOA are compressed; SRV targets are written in
//! full, but later names may point into them.
//!
//! ```text
//!   all fits          ─▶ all
//!   else without additional records, if that is below the limit   TC
//!   else as many answers from the front as stay below the limit   TC
//! ```
//! Source: contract mesos-dns §5.2-§5.5.

use std::collections::HashMap;

use rand::Rng;

use crate::answer::{Answer, Data, Owner, Rcode, Record, answer, rtype};
use crate::name::{Name, suffixes};
use crate::query::{HEADER, Malformed, Query};
use crate::zone::Zone;

/// The largest answer over UDP, whatever the client says it takes.
pub const UDP_LIMIT: usize = 512;
/// The largest answer over TCP: what its 16-bit length can say.
pub const TCP_LIMIT: usize = 65535;

const FLAG_QR: u16 = 0x8000;
const FLAG_AA: u16 = 0x0400;
const FLAG_TC: u16 = 0x0200;
const FLAG_RD: u16 = 0x0100;
const FLAG_RA: u16 = 0x0080;
const FLAG_CD: u16 = 0x0010;
/// Marks two bytes as a pointer; the rest is the offset pointed at.
const POINTER: u16 = 0xc000;
/// How far a pointer reaches.
const MAX_POINTER: usize = 0x3fff;
const CLASS_IN: u16 = 1;

/// Answers a packet; `None` when nothing may be sent back.
///
/// `limit` is the largest size the transport allows: [`UDP_LIMIT`] or [`TCP_LIMIT`].
pub fn reply(zone: &Zone, packet: &[u8], limit: usize, rng: &mut impl Rng) -> Option<Vec<u8>> {
    let query = match Query::read(packet) {
        Ok(query) => query,
        Err(Malformed::Silence) => return None,
        Err(Malformed::FormErr { id }) => return Some(form_err(id)),
    };
    let lower = query.name.to_lowercase();
    let answer = answer(zone, &query, &lower, rng);
    Some(fit(zone, &query, &lower, &answer, limit))
}

/// A header that says no more than which packet could not be read.
fn form_err(id: u16) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    bytes[2..4].copy_from_slice(&(FLAG_QR | Rcode::FormErr as u16).to_be_bytes());
    bytes
}

/// Encodes as much of an answer as the limit allows.
fn fit(zone: &Zone, query: &Query, lower: &Name, answer: &Answer<'_>, limit: usize) -> Vec<u8> {
    let encode = |n_answers: usize, n_additional: usize, is_cut: bool| {
        let mut message = Message::new(zone, query, lower);
        message.records(&answer.answers[..n_answers]);
        message.records(&answer.authority);
        message.records(&answer.additional[..n_additional]);
        let counts = [n_answers, answer.authority.len(), n_additional];
        message.finish(answer, counts, is_cut && zone.set_truncate_bit)
    };
    let n_answers = answer.answers.len();
    let whole = encode(n_answers, answer.additional.len(), false);
    if whole.len() <= limit {
        return whole;
    }
    let answers_only = encode(n_answers, 0, true);
    if answers_only.len() < limit {
        return answers_only;
    }
    // The size grows with every answer, so the largest number below the limit is found by halving.
    let (mut fits, mut too_many) = (0, n_answers);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if encode(middle, 0, true).len() < limit {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    encode(fits, 0, true)
}

/// A message being written.
struct Message<'a> {
    zone: &'a Zone,
    query: &'a Query,
    lower: &'a Name,
    bytes: Vec<u8>,
    /// Where a name was written in full.
    written: HashMap<&'a [u8], u16>,
}

impl<'a> Message<'a> {
    /// Begins with room for the header, and the question as it was asked.
    fn new(zone: &'a Zone, query: &'a Query, lower: &'a Name) -> Self {
        let mut bytes = Vec::with_capacity(UDP_LIMIT);
        bytes.resize(HEADER, 0);
        let mut message = Self {
            zone,
            query,
            lower,
            bytes,
            written: HashMap::new(),
        };
        message.name(&query.name);
        message.u16(query.qtype);
        message.u16(query.qclass);
        message
    }

    fn records(&mut self, records: &'a [Record<'a>]) {
        for record in records {
            self.record(record);
        }
    }

    fn record(&mut self, record: &'a Record<'a>) {
        let zone = self.zone;
        self.compressed(match record.owner {
            Owner::Asked => &self.query.name,
            Owner::Lower => self.lower,
            Owner::Name(name) => name,
        });
        self.u16(match record.data {
            Data::A(_) => rtype::A,
            Data::Aaaa(_) => rtype::AAAA,
            Data::Srv { .. } => rtype::SRV,
            Data::Soa => rtype::SOA,
            Data::Ns => rtype::NS,
        });
        self.u16(CLASS_IN);
        self.u32(zone.ttl);
        let length_at = self.bytes.len();
        self.u16(0);
        match record.data {
            Data::A(address) => self.bytes.extend_from_slice(&address.octets()),
            Data::Aaaa(address) => self.bytes.extend_from_slice(&address.octets()),
            Data::Srv { port, target } => {
                self.u16(0);
                self.u16(zone.srv_weight);
                self.u16(port);
                self.name(target);
            }
            Data::Soa => {
                let soa = &zone.soa;
                self.compressed(&soa.mname);
                self.compressed(&soa.rname);
                for field in [soa.serial, soa.refresh, soa.retry, soa.expire, zone.ttl] {
                    self.u32(field);
                }
            }
            Data::Ns => self.compressed(&zone.soa.mname),
        }
        let length = self.bytes.len() - length_at - 2;
        let length = u16::try_from(length).expect("two names and five numbers are short");
        self.bytes[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    /// Writes a name in full.
    fn name(&mut self, name: &'a Name) {
        let start = self.bytes.len();
        let wire = name.as_wire();
        for suffix in suffixes(wire).filter(|suffix| suffix.len() > 1) {
            self.remember(suffix, start + wire.len() - suffix.len());
        }
        self.bytes.extend_from_slice(wire);
    }

    /// Writes a name, its known end as a pointer.
    fn compressed(&mut self, name: &'a Name) {
        for suffix in suffixes(name.as_wire()) {
            let [length, ..] = *suffix else {
                return;
            };
            if length == 0 {
                self.bytes.push(0);
                return;
            }
            if let Some(&offset) = self.written.get(suffix) {
                self.u16(POINTER | offset);
                return;
            }
            self.remember(suffix, self.bytes.len());
            self.bytes
                .extend_from_slice(&suffix[..=usize::from(length)]);
        }
    }

    fn remember(&mut self, suffix: &'a [u8], offset: usize) {
        if let Ok(offset) = u16::try_from(offset)
            && usize::from(offset) <= MAX_POINTER
        {
            self.written.entry(suffix).or_insert(offset);
        }
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Writes the header and returns the message. `counts` are those of answers, authority and additional records.
    fn finish(mut self, answer: &Answer<'_>, counts: [usize; 3], is_truncated: bool) -> Vec<u8> {
        let when = |condition: bool, flag: u16| if condition { flag } else { 0 };
        let flags = FLAG_QR
            | u16::from(self.query.op_code & 0xf) << 11
            | when(answer.authoritative, FLAG_AA)
            | when(is_truncated, FLAG_TC)
            | when(self.query.recursion_desired, FLAG_RD)
            | when(answer.recursion_available, FLAG_RA)
            | when(self.query.checking_disabled, FLAG_CD)
            | answer.rcode as u16;
        let mut header = [self.query.id, flags, 1, 0, 0, 0];
        for (field, count) in header[3..].iter_mut().zip(counts) {
            // A count that does not fit belongs to a message that does not, and is cut until both do.
            *field = u16::try_from(count).unwrap_or(u16::MAX);
        }
        for (bytes, field) in self.bytes[..HEADER].chunks_exact_mut(2).zip(header) {
            bytes.copy_from_slice(&field.to_be_bytes());
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests;

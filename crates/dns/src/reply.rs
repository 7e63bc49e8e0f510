//! A reply over TCP, within the size that its transport allows.
//!
//! Hickory encodes and sends it, and would by itself cut it elsewhere than Mesos-DNS does. So what is sent is chosen
//! here, by the sizes hickory's own encoder comes to, and its cutting never sets in:
//!
//! ```text
//!   all fits          ─▶ all
//!   else without additional records, if that is below the limit   TC
//!   else as many answers from the front as stay below the limit   TC
//! ```
//!
//! The encoder writes the first owner name in full where the original points at the question, and no longer compresses
//! after 120 names, so that a reply of several hundred records is longer than the original's. Only with extras
//! is there an OPT record, if the query has one (`edns`). Datagrams come here with extras only, and then may carry more; else `message`
//! writes them. Source: contract mesos-dns §5.2-§5.6.

use std::net::SocketAddr;
use std::slice;
use std::sync::LazyLock;

use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::{Edns, Metadata, OpCode, ResponseCode};
use hickory_server::proto::rr::rdata::{A, AAAA, NS, PTR, SOA, SRV};
use hickory_server::proto::rr::{Name as ProtoName, RData, Record as ProtoRecord};
use hickory_server::proto::serialize::binary::{BinDecodable as _, BinDecoder, BinEncoder};
use hickory_server::server::Request;
use hickory_server::zone_handler::{
    MessageRequest, MessageResponse, MessageResponseBuilder, Queries,
};
use rand::Rng;

use crate::answer::{Answer, Data, Owner, Rcode, Record, answer};
use crate::edns;
use crate::message;
use crate::name::Name;
use crate::query::Query;
use crate::zone::Zone;

/// The largest reply over UDP, whatever the client says it takes: without extras, or without an OPT record.
pub(crate) const UDP_LIMIT: u16 = 512;
/// The largest reply over TCP: what its 16-bit length can say.
pub(crate) const TCP_LIMIT: u16 = u16::MAX;
/// An A record whose owner is a pointer.
const SMALLEST_RECORD: u16 = 16;

static NO_QUESTION: LazyLock<Queries> = LazyLock::new(|| {
    Queries::read(&mut BinDecoder::new(&[]), 0).expect("nothing is read of nothing")
});

/// A reply ready to be encoded.
#[derive(Debug)]
pub(crate) struct Reply<'q> {
    metadata: Metadata,
    question: &'q Queries,
    answers: Vec<ProtoRecord>,
    authority: Vec<ProtoRecord>,
    additional: Vec<ProtoRecord>,
    edns: Option<Edns>,
}

/// What hickory encodes and sends.
pub(crate) type Response<'a> = MessageResponse<
    'a,
    'a,
    slice::Iter<'a, ProtoRecord>,
    slice::Iter<'a, ProtoRecord>,
    slice::Iter<'a, ProtoRecord>,
    slice::Iter<'a, ProtoRecord>,
>;

/// Answers a request with at most `limit` bytes.
pub(crate) fn reply<'q>(
    zone: &Zone,
    request: &'q MessageRequest,
    limit: u16,
    rng: &mut impl Rng,
) -> Reply<'q> {
    let asked = edns::asked(zone, request);
    let edns = asked.map(edns::replied);
    let Ok(query) = Query::of(&request.metadata, &request.queries) else {
        let code = match request.metadata.op_code {
            OpCode::Query => ResponseCode::FormErr,
            // Other operations may do without a question (RFC 8906 §8.1.4).
            _ => ResponseCode::NotImp,
        };
        return Reply {
            question: &NO_QUESTION,
            edns,
            ..Reply::bare(request, code)
        };
    };
    if asked.is_some_and(|asked| !edns::is_understood(asked)) {
        return Reply {
            edns,
            ..Reply::bare(request, ResponseCode::BADVERS)
        };
    }
    let lower = query.name.to_lowercase();
    let answer = answer(zone, &query, &lower, rng);
    Reply::fit(zone, request, edns, &query, &lower, &answer, limit)
}

/// Writes the reply to a datagram into `out`, and tells its code; `None` if it gets none.
pub(crate) fn write(
    zone: &Zone,
    datagram: &[u8],
    rng: &mut impl Rng,
    out: &mut Vec<u8>,
) -> Option<ResponseCode> {
    // It is not looked at.
    let client = SocketAddr::from(([0, 0, 0, 0], 0));
    let Ok(request) = Request::from_bytes(datagram.to_vec(), client, Protocol::Udp) else {
        return Some(message::write_malformed(datagram.first_chunk()?, out));
    };
    let limit = edns::asked(zone, &request).map_or(UDP_LIMIT, edns::udp_limit);
    let reply = reply(zone, &request, limit, rng);
    out.clear();
    let mut encoder = BinEncoder::new(out);
    encoder.set_max_size(u16::MAX);
    let sent = reply.response().destructive_emit(&mut encoder);
    sent.ok().map(|_| reply.metadata.response_code)
}

impl<'q> Reply<'q> {
    /// One without records.
    pub(crate) fn bare(request: &'q MessageRequest, code: ResponseCode) -> Self {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = code;
        Self {
            metadata,
            question: &request.queries,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            edns: None,
        }
    }

    /// One with as much of an answer as the limit allows.
    fn fit(
        zone: &Zone,
        request: &'q MessageRequest,
        edns: Option<Edns>,
        query: &Query,
        lower: &Name,
        answer: &Answer<'_>,
        limit: u16,
    ) -> Self {
        // No more are made than could fit, however many there are.
        let most = usize::from(limit / SMALLEST_RECORD);
        let records = Records {
            zone,
            asked: proto_name(&query.name),
            lower: proto_name(lower),
        };
        let some = |of: &[Record<'_>]| of.iter().take(most).map(|of| records.record(of)).collect();
        let mut reply = Self {
            answers: some(&answer.answers),
            authority: some(&answer.authority),
            additional: some(&answer.additional),
            edns,
            ..Self::bare(request, response_code(answer.rcode))
        };
        reply.metadata.authoritative = answer.authoritative;
        reply.metadata.recursion_available = answer.recursion_available;
        let has_all_answers = reply.answers.len() == answer.answers.len();
        let has_all = has_all_answers && reply.additional.len() == answer.additional.len();
        if has_all && reply.fits(reply.answers.len(), limit) {
            return reply;
        }
        reply.metadata.truncation = zone.set_truncate_bit;
        reply.additional.clear();
        let limit = limit - 1;
        if has_all_answers && reply.fits(reply.answers.len(), limit) {
            return reply;
        }
        let fits = most_that_fit(reply.answers.len(), |n| reply.fits(n, limit));
        reply.answers.truncate(fits);
        if fits == 0 && !reply.fits(0, limit) {
            // A question of almost the greatest length, so that the SOA with the same name does not fit.
            reply.authority.clear();
        }
        reply
    }

    /// Whether hickory's encoder needs at most `limit` bytes for the first answers and all else.
    fn fits(&self, n_answers: usize, limit: u16) -> bool {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        let encoded = self.first(n_answers).destructive_emit(&mut encoder);
        encoded.is_ok_and(|written| {
            let n_written = written.counts();
            usize::from(n_written.answers) == n_answers
                && usize::from(n_written.authorities) == self.authority.len()
                && usize::from(n_written.additionals)
                    == self.additional.len() + usize::from(self.edns.is_some())
        })
    }

    /// The whole as hickory takes it.
    pub(crate) fn response(&self) -> Response<'_> {
        self.first(self.answers.len())
    }

    fn first(&self, n_answers: usize) -> Response<'_> {
        MessageResponseBuilder::new(self.question, self.edns.as_ref()).build(
            self.metadata,
            &self.answers[..n_answers],
            &self.authority,
            &[],
            &self.additional,
        )
    }

    /// The header, without the counts.
    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// How many of `n` answers can be sent, if all cannot and none is more than fits: what they take grows with each, so it is found by
/// halving.
pub(crate) fn most_that_fit(n: usize, mut fit: impl FnMut(usize) -> bool) -> usize {
    let (mut fits, mut too_many) = (0, n);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        match fit(middle) {
            true => fits = middle,
            false => too_many = middle,
        }
    }
    fits
}

/// Hickory's name of a code.
pub(crate) fn response_code(rcode: Rcode) -> ResponseCode {
    match rcode {
        Rcode::NoError => ResponseCode::NoError,
        Rcode::NxDomain => ResponseCode::NXDomain,
        Rcode::NotImp => ResponseCode::NotImp,
        Rcode::Refused => ResponseCode::Refused,
    }
}

fn proto_name(name: &Name) -> ProtoName {
    ProtoName::read(&mut BinDecoder::new(name.as_wire())).expect("a name in wire form is read")
}

/// Makes hickory's records of ours.
struct Records<'a> {
    zone: &'a Zone,
    asked: ProtoName,
    lower: ProtoName,
}

impl Records<'_> {
    fn record(&self, record: &Record<'_>) -> ProtoRecord {
        let owner = match record.owner {
            Owner::Asked => self.asked.clone(),
            Owner::Lower => self.lower.clone(),
            Owner::Name(name) => proto_name(name),
        };
        ProtoRecord::from_rdata(owner, self.zone.ttl, self.data(&record.data))
    }

    fn data(&self, data: &Data<'_>) -> RData {
        let zone = self.zone;
        let soa = &zone.soa;
        match *data {
            Data::A(address) => RData::A(A(address)),
            Data::Aaaa(address) => RData::AAAA(AAAA(address)),
            Data::Srv {
                weight,
                port,
                target,
            } => RData::SRV(SRV::new(0, weight, port, proto_name(target))),
            // Hickory has these three times signed, but writes the same bits.
            Data::Soa => RData::SOA(SOA::new(
                proto_name(&soa.mname),
                proto_name(&soa.rname),
                soa.serial,
                soa.refresh.cast_signed(),
                soa.retry.cast_signed(),
                soa.expire.cast_signed(),
                zone.ttl,
            )),
            Data::Ns => RData::NS(NS(proto_name(&soa.mname))),
            Data::Ptr(name) => RData::PTR(PTR(proto_name(name))),
        }
    }
}

#[cfg(test)]
mod tests;

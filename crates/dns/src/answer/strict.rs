//! What is answered with extras: what the RFCs say, where Mesos-DNS does otherwise.
//!
//! ```text
//!   question     answer                          authority          additional
//!   A, AAAA      all, shuffled                   SOA when empty     –
//!   SRV          all, shuffled                   SOA when empty     one A and one AAAA of each target
//!   SOA          SOA, at a zone's top            SOA when empty     –
//!   NS           NS, at a zone's top             SOA when empty     the name server's addresses
//!   PTR          the names of an address         SOA when empty     –
//!   ANY          all of these                    SOA when empty     as for SRV and NS
//!   others       –                               SOA                –
//! ```
//!
//! The SOA of an empty answer is the zone's, not that of the name asked for. An empty answer is NXDOMAIN only when neither the name
//! nor any name below it has records (RFC 2308, RFC 8020). The name of an address that is known is the top of a zone of its own, as
//! nobody has given us more of `in-addr.arpa`; any other one is outside, as it is without extras.

use rand::Rng;
use rand::seq::SliceRandom as _;

use super::{Answer, Data, NS, Owner, Rcode, Record, SOA, a, aaaa, add_targets, rtype, srv};
use crate::name::Name;
use crate::query::Query;
use crate::zone::{Extras, Zone};

pub(super) fn answer<'a>(
    zone: &'a Zone,
    extras: &'a Extras,
    query: &Query,
    lower: &Name,
    rng: &mut impl Rng,
) -> Answer<'a> {
    let wants = |rtype| query.qtype == rtype || query.qtype == rtype::ANY;
    let node = zone.node(lower);
    let pointers = extras.pointers(lower);
    let is_top = *lower == zone.origin || pointers.is_some();
    let mut answer = Answer::of_zone(zone);
    if wants(rtype::SRV) {
        answer.answers.extend(node.into_iter().flat_map(srv));
        add_targets(zone, node, &mut answer.additional, rng);
    }
    if wants(rtype::A) {
        answer.answers.extend(node.into_iter().flat_map(a));
    }
    if wants(rtype::AAAA) {
        answer.answers.extend(node.into_iter().flat_map(aaaa));
    }
    if wants(rtype::PTR) {
        let names = pointers.into_iter().flatten();
        answer.answers.extend(names.map(|name| Record {
            owner: Owner::Asked,
            data: Data::Ptr(name),
        }));
    }
    answer.answers.shuffle(rng);
    if is_top && wants(rtype::SOA) {
        answer.answers.push(SOA);
    }
    if is_top && wants(rtype::NS) {
        answer.answers.push(NS);
        add_name_server(zone, &mut answer.additional);
    }
    if answer.answers.is_empty() {
        let owner = match pointers {
            Some(_) => Owner::Asked,
            None => Owner::Name(&zone.origin),
        };
        answer.authority.push(Record { owner, ..SOA });
        if node.is_none() && !is_top && !extras.is_non_terminal(lower) {
            answer.rcode = Rcode::NxDomain;
        }
    }
    answer
}

/// Adds all addresses of the name server.
fn add_name_server<'a>(zone: &'a Zone, additional: &mut Vec<Record<'a>>) {
    let name = &zone.soa.mname;
    let Some(node) = zone.node(name) else {
        return;
    };
    let glue = a(node).chain(aaaa(node)).map(|record| Record {
        owner: Owner::Name(name),
        ..record
    });
    additional.extend(glue);
}

#[cfg(test)]
mod tests;

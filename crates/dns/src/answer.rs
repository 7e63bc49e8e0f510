//! What is answered: a pure function of the zone, the query and a source of randomness.
//!
//! ```text
//!   question     answer            authority          additional
//!   A, AAAA      all, shuffled     SOA when empty     –
//!   SRV          all, shuffled     – (even if empty)  one A and one AAAA of each target
//!   SOA          –                 SOA                –
//!   NS           –                 NS                 –
//!   ANY          SRV + A + AAAA    SOA, NS            as for SRV
//!   others       –                 SOA                –
//! ```
//!
//! An empty answer is NOERROR when the name has records of another kind and NXDOMAIN otherwise, but always NOERROR
//! for SRV, SOA and NS. This is not what a stock name server would do; clients of Mesos-DNS know it so. Addresses are
//! owned by the name in lower case, all else by the name as asked. Outside of the domain everything is REFUSED.
//! Source: contract mesos-dns §5.1, §5.2, §7. With extras it is as the RFCs say: `strict`.

mod strict;

use std::net::{Ipv4Addr, Ipv6Addr};

use rand::Rng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};

use crate::name::Name;
use crate::query::Query;
use crate::zone::{Node, Zone};

/// Record types that are answered with more than a SOA.
pub(crate) mod rtype {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const ANY: u16 = 255;
}

/// The class of the Internet, and the one that means any.
pub(crate) const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;

/// The outcome of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    /// The name has records, or the question is one that is always answered so.
    NoError,
    /// The name has no records of any kind.
    NxDomain,
    /// The operation is not a query.
    NotImp,
    /// The name is outside of the domain, or the class is not the Internet's.
    Refused,
}

/// An answer before its size is known. It borrows from the zone and the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// How it went.
    pub rcode: Rcode,
    /// The flag AA.
    pub authoritative: bool,
    /// The flag RA.
    pub recursion_available: bool,
    /// What was asked for, shuffled.
    pub answers: Vec<Record<'a>>,
    /// The zone's SOA and NS, where they belong.
    pub authority: Vec<Record<'a>>,
    /// Addresses of the targets.
    pub additional: Vec<Record<'a>>,
}

/// One record. Its class is IN, its TTL the zone's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Whose it is.
    pub owner: Owner<'a>,
    /// What it says.
    pub data: Data<'a>,
}

/// Who a record belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The name asked for, with its case.
    Asked,
    /// The name asked for, in lower case.
    Lower,
    /// Another name.
    Name(&'a Name),
}

/// The data of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// An address.
    A(Ipv4Addr),
    /// An address.
    Aaaa(Ipv6Addr),
    /// A service; its priority is 0.
    Srv {
        /// Its part of the clients, against those of the others.
        weight: u16,
        /// Where it listens.
        port: u16,
        /// The host's name.
        target: &'a Name,
    },
    /// The zone's.
    Soa,
    /// The zone's only name server.
    Ns,
    /// Whose an address is.
    Ptr(&'a Name),
}

const SOA: Record<'static> = Record {
    owner: Owner::Asked,
    data: Data::Soa,
};
const NS: Record<'static> = Record {
    owner: Owner::Asked,
    data: Data::Ns,
};

impl Answer<'_> {
    /// An empty one of the zone.
    fn of_zone(zone: &Zone) -> Self {
        Self {
            authoritative: true,
            recursion_available: zone.recurse_on,
            ..Self::bare(Rcode::NoError)
        }
    }

    fn bare(rcode: Rcode) -> Self {
        Self {
            rcode,
            authoritative: false,
            recursion_available: false,
            answers: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
        }
    }
}

/// Answers a query. `lower` is the query's name in lower case.
pub fn answer<'a>(zone: &'a Zone, query: &Query, lower: &Name, rng: &mut impl Rng) -> Answer<'a> {
    if query.op_code != 0 {
        return Answer::bare(Rcode::NotImp);
    }
    if !matches!(query.qclass, CLASS_IN | CLASS_ANY) || !zone.is_authoritative_for(lower) {
        return Answer::bare(Rcode::Refused);
    }
    if let Some(extras) = &zone.extras {
        return strict::answer(zone, extras, query, lower, rng);
    }
    let node = zone.node(lower);
    let mut answer = Answer::of_zone(zone);
    match query.qtype {
        rtype::A => answer.answers.extend(node.into_iter().flat_map(a)),
        rtype::AAAA => answer.answers.extend(node.into_iter().flat_map(aaaa)),
        rtype::SRV => {
            answer.answers.extend(node.into_iter().flat_map(srv));
            answer.answers.shuffle(rng);
            add_targets(zone, node, &mut answer.additional, rng);
            return answer;
        }
        rtype::SOA => {
            answer.authority.push(SOA);
            return answer;
        }
        rtype::NS => {
            answer.authority.push(NS);
            return answer;
        }
        rtype::ANY => {
            if let Some(node) = node {
                answer
                    .answers
                    .extend(srv(node).chain(a(node)).chain(aaaa(node)));
            }
            answer.authority.extend([SOA, NS]);
            add_targets(zone, node, &mut answer.additional, rng);
        }
        _ => {}
    }
    answer.answers.shuffle(rng);
    if answer.answers.is_empty() {
        answer.authority.push(SOA);
        if node.is_none() {
            answer.rcode = Rcode::NxDomain;
        }
    }
    answer
}

fn a(node: &Node) -> impl Iterator<Item = Record<'_>> {
    node.a.iter().map(|&address| Record {
        owner: Owner::Lower,
        data: Data::A(address),
    })
}

fn aaaa(node: &Node) -> impl Iterator<Item = Record<'_>> {
    node.aaaa.iter().map(|&address| Record {
        owner: Owner::Lower,
        data: Data::Aaaa(address),
    })
}

fn srv(node: &Node) -> impl Iterator<Item = Record<'_>> {
    node.srv.iter().map(|srv| Record {
        owner: Owner::Asked,
        data: Data::Srv {
            weight: srv.weight,
            port: srv.port,
            target: &srv.target,
        },
    })
}

/// Adds one address per family of each distinct target.
fn add_targets<'a>(
    zone: &'a Zone,
    node: Option<&'a Node>,
    additional: &mut Vec<Record<'a>>,
    rng: &mut impl Rng,
) {
    let mut targets: Vec<&Name> = node
        .into_iter()
        .flat_map(|node| &node.srv)
        .map(|srv| &srv.target)
        .collect();
    targets.sort_unstable_by_key(|target| target.as_wire());
    targets.dedup();
    for target in targets {
        let Some(node) = zone.node(target) else {
            continue;
        };
        let owner = || Owner::Name(target);
        additional.extend(node.a.choose(rng).map(|&address| Record {
            owner: owner(),
            data: Data::A(address),
        }));
        additional.extend(node.aaaa.choose(rng).map(|&address| Record {
            owner: owner(),
            data: Data::Aaaa(address),
        }));
    }
}

//! The zone as it is asked: an immutable table from names to their records, swapped whole at each change.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::{SoaConfig, ZoneConfig};
use crate::name::Name;
use crate::records::Records;

mod extras;

pub(crate) use self::extras::Extras;

/// All that is needed to answer.
#[derive(Debug)]
pub struct Zone {
    /// The records it was made of.
    records: Records,
    table: HashMap<Name, Node>,
    pub(crate) origin: Name,
    pub(crate) soa: Soa,
    pub(crate) ttl: u32,
    pub(crate) set_truncate_bit: bool,
    pub(crate) recurse_on: bool,
    /// Without, all is answered as Mesos-DNS does.
    pub(crate) extras: Option<Extras>,
}

/// The records of one name.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) a: Vec<Ipv4Addr>,
    pub(crate) aaaa: Vec<Ipv6Addr>,
    pub(crate) srv: Vec<Srv>,
}

#[derive(Debug, Clone)]
pub(crate) struct Srv {
    pub(crate) weight: u16,
    pub(crate) port: u16,
    pub(crate) target: Name,
}

/// The data of the SOA record; its minimum is the zone's TTL.
#[derive(Debug)]
pub(crate) struct Soa {
    pub(crate) mname: Name,
    pub(crate) rname: Name,
    pub(crate) serial: u32,
    pub(crate) refresh: u32,
    pub(crate) retry: u32,
    pub(crate) expire: u32,
}

impl Zone {
    /// Makes the table of these records. The configuration has passed [`ZoneConfig::validate`].
    pub fn new(records: Records, config: &ZoneConfig, serial: u32) -> Self {
        let mut table: HashMap<Name, Node> = HashMap::new();
        // `Records` holds only names that fit; one that does not would be left out rather than make answers fail.
        for (name, addresses) in &records.a {
            if let Some(name) = Name::from_text(name) {
                table.entry(name).or_default().a = addresses.to_vec();
            }
        }
        for (name, addresses) in &records.aaaa {
            if let Some(name) = Name::from_text(name) {
                table.entry(name).or_default().aaaa = addresses.to_vec();
            }
        }
        for (name, services) in &records.srv {
            if let Some(name) = Name::from_text(name) {
                table.entry(name).or_default().srv = services
                    .iter()
                    .filter_map(|service| {
                        let target = Name::from_text(&service.target)?;
                        Some(Srv {
                            weight: service.weight.unwrap_or(config.srv_weight),
                            port: service.port,
                            target,
                        })
                    })
                    .collect();
            }
        }
        let SoaConfig {
            mname: _,
            rname: _,
            refresh,
            retry,
            expire,
            minttl: _,
        } = config.soa;
        let name = |text: String| Name::from_text(&text).expect("a validated name fits");
        let origin = name(config.origin());
        let extras = config.extras.then(|| Extras::of(&records, &table, &origin));
        Self {
            records,
            table,
            origin,
            soa: Soa {
                mname: name(config.soa.mname()),
                rname: name(config.soa.rname()),
                serial,
                refresh,
                retry,
                expire,
            },
            ttl: config.ttl,
            set_truncate_bit: config.set_truncate_bit,
            recurse_on: config.recurse_on,
            extras,
        }
    }

    /// The records it was made of.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// The serial of its SOA record.
    pub fn serial(&self) -> u32 {
        self.soa.serial
    }

    /// Whether a name in lower case is ours to answer for: all others are refused or forwarded.
    pub(crate) fn is_authoritative_for(&self, name: &Name) -> bool {
        let is_pointer = |extras: &Extras| extras.pointers(name).is_some();
        name.is_within(&self.origin) || self.extras.as_ref().is_some_and(is_pointer)
    }

    /// The records of a name in lower case.
    pub(crate) fn node(&self, name: &Name) -> Option<&Node> {
        self.table.get(name)
    }
}

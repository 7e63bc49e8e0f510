//! The DNS role: answers as Mesos-DNS does, from the Mesos master's state.
//!
//! ```text
//!   our master ──SUBSCRIBE, state──▶ follow ─┐
//!   any masters ──────state────────▶ poll ───┴─▶ State ──▶ Records ──▶ Zone ══▶ swapped whole
//!                                                                       ║
//!   client ──UDP──▶ packet ─────────▶ Query ──▶ answer() ──▶ message, cut to what the original sends ──▶ client
//!          ──TCP──▶ hickory-server ─▶ Query ──▶ answer() ──▶ reply, cut likewise ──▶ hickory-server ───▶ client
//!                                       └─────▶ forward ──▶ other name servers ───────────────────────▶ client
//! ```
//!
//! The same records are told over HTTP, as Mesos-DNS tells them (`http`).
//!
//! Everything between a state and an answer is pure: [`Records::of`], [`Zone::new`], [`answer`]. The shell follows the
//! master and serves sockets; connections through hickory-server, whose types stay inside this crate. Nothing is answered before the first state was read,
//! so that nobody caches a "no such name" of a cluster that is just starting; afterwards the last zone is served for as
//! long as the process lives, whether or not the master can be reached. Source: contract mesos-dns.

mod config;
#[cfg(test)]
mod fixture;
mod start;
// From a state to a zone.
mod follow;
mod gateways;
mod label;
mod poll;
mod publish;
mod records;
mod state;
mod zone;
// From a packet to an answer.
mod answer;
mod edns;
mod limit;
mod message;
mod name;
mod packet;
mod query;
mod reply;
mod server;
mod udp;
// From a packet to somebody else's answer.
mod forward;
// The same over HTTP.
mod http;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use self::answer::{Answer, Data, Owner, Rcode, Record, answer};
pub use self::config::{
    ConfigError, Flags, ForwardConfig, InvalidAddress, IpSource, MasterAddress, Noted, Resolver,
    Settings, SoaConfig, ZoneConfig, read_file, system_resolvers,
};
pub use self::http::HttpConfig;
pub use self::label::LabelRule;
pub use self::name::Name;
pub use self::query::Query;
pub use self::records::{
    FrameworkRecords, Gateway, OrderedSet, Records, Service, Share, Skipped, TaskRecord,
    TaskRecords,
};
pub use self::start::{Config, Handle, Source, StartError, start};
pub use self::zone::Zone;

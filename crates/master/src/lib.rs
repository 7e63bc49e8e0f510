//! The master role: a thin shell around the engine.
//!
//! ```text
//!   Marathon API, agents, edges ─▶ inbox ─▶ actor ─▶ store
//!          ▲            ▲                     │ snapshot, answers, events, orders
//!          └── snapshot ┴── bus, links ◀──────┴──▶ prober
//! ```
//!
//! One writer decides (`actor`); everybody else reads snapshots. Listeners come in bound; nothing here chooses addresses.
//!
//! Reading order: `actor` is the heart, `shared` what handlers hold, `links` and `events` the ways out;
//! `api` is Marathon's API, `mesos` the Mesos master's, `cosmos` the packages', `admin` the front door around them, `agents`
//! and `edges` our own protocols, `health` the prober, `artifacts` keeps files, `downloads` brings
//! them there, `callbacks` posts events to subscribers, `metrics` counts, `render` the JSON.

mod actor;
mod admin;
mod agents;
mod api;
mod artifacts;
mod callbacks;
mod clock;
mod cosmos;
mod downloads;
mod edges;
mod error;
mod events;
mod explain;
mod health;
mod http;
mod links;
mod log;
mod mesos;
mod metrics;
mod plan;
mod render;
mod shared;
mod start;

#[cfg(test)]
mod tests;

pub use error::CallError;
pub use log::LogFilter;
pub use start::{Config, Handle, StartError, start};

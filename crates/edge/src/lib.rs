//! The edge role: an HTTP and TCP proxy that follows Marathon as Marathon-LB does.
//!
//! One immutable routing table, made of apps' labels and tasks and swapped in whole: no reloads, no dropped connections.
//! A task takes traffic only while it runs, is healthy and does not drain; the master waits for the edge's word before it kills
//! one ([`zddcluster_model::edge`]). When the master is away the last table stays in use.
//!
//! ```text
//!   Marathon ──follow──▶ state ──build──▶ table ──swap──▶ routes ──read by──▶ proxy
//!   master ────drain───▶   │                                │                   │ leases
//!      ▲                   └──────────── loads ◀────────────┴───────────────────┘
//!      └─ acknowledged ◀──────────────── emptied        listeners follow the routes
//! ```
//!
//! Reading order: [`args`](Config), `labels`, `gateways` and `table` decide what is served, `verdict` and `passwords` what becomes of
//! a request; `live` is the table in use, `state` what it is made of; `follow` and `drain` bring news, `checks` and `health` their own; `workers`,
//! `listeners` and `proxy` carry traffic; `admin`, `stats` and `rendering` tell about it.

mod admin;
mod args;
mod bind;
mod checks;
mod choose;
mod counters;
mod crypt;
mod drain;
#[cfg(any(test, feature = "fuzzing"))]
mod fixture;
mod follow;
// For the fuzz targets alone: no part of what the crate is for.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gateways;
mod health;
mod labels;
mod listeners;
mod live;
mod metrics;
mod passwords;
mod proxy;
mod rendering;
mod source;
mod start;
mod state;
mod stats;
mod table;
mod tls;
mod verdict;
mod workers;

pub use args::{ArgsError, Certificate, Config, Ports};
pub use start::{Addresses, Handle, StartError, start};

//! A client that hammers an address and keeps account of every request.
//!
//! [`run`] sends `GET` requests on a steady schedule, whether or not earlier ones were answered (an *open loop*), and
//! returns a [`Report`] in which each request sent is counted once: `sent = ok + failed`. The receipt of a deployment
//! without downtime stands on this account, so nothing is forgiven silently: the one retry that HTTP clients are
//! allowed to make is counted too ([`Report::retried`]).
//!
//! - **Latency** runs from the moment a request was *due*, so that a server which stalls is charged for the requests that could not be
//!   sent meanwhile (no coordinated omission).
//! - **Fresh** connections see what new clients see, **kept-alive** ones what a browser or a pool sees; most failures
//!   of a deployment show on only one of them.

mod account;
mod config;
mod connect;
mod exchange;
mod report;
mod schedule;

pub use account::Live;
pub use config::{Config, ConfigError, Mode};
pub use report::{Failure, FailureKind, Latency, Report, Second, Tally};
pub use schedule::{run, run_watched};

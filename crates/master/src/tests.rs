//! The master as a whole, on real sockets, with a store in memory and a fake agent that speaks the real protocol.

mod apps;
mod cluster;
mod errors;
mod events;
mod mesos;
mod store;

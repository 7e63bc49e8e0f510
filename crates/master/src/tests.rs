//! The master as a whole, on real sockets, with a store in memory and a fake agent that speaks the real protocol.

mod answers;
mod apps;
mod artifacts;
mod asking;
mod callbacks;
mod checks;
mod cluster;
mod cosmos;
mod deployments;
mod downloads;
mod errors;
mod events;
mod explain;
mod fuzz;
mod groups;
mod links;
mod logs;
mod mesos;
mod mesos_calls;
mod mesos_dns;
mod mesos_reads;
mod plan;
mod rest;
mod store;
mod tasks;
mod token;

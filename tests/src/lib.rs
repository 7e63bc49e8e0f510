//! Whole-system tests that start the real binary.
//!
//! [`ClusterSandbox`] is one cluster: `zddcluster up` in a loopback /24 of its own, with a temporary data directory, so that
//! tests run side by side with the usual ports. Its log is printed when the test fails. Nothing here sleeps and then asserts:
//! [`eventually`] waits for a predicate and says what it last saw.

mod apart;
mod binary;
mod bystander;
mod clock;
mod disk;
mod engine;
pub mod lab;
pub mod load;
mod net;
mod processes;
mod request;
mod sandbox;
pub mod source;
pub mod swaps;
mod tasks;
mod wait;

pub use apart::{Apart, TOKEN, pid_of, signal, write_secret};
pub use binary::zddcluster;
pub use bystander::Bystander;
pub use clock::WallClock;
pub use disk::SmallDisk;
pub use engine::{Container, Engine, ShellImage, seconds};
pub use net::Net;
pub use processes::{processes_of, variable_of};
pub use sandbox::{ClusterSandbox, Options};
pub use wait::{LIMIT, eventually};

//! `doctor`: looks at what a cluster needs of this machine. Nothing is changed: sockets are bound and given back.
//!
//! A fault is what `up` with the same settings would end with; a warning what it would do without, and say so.

mod limits;
mod network;
mod storage;
mod tasks;

use zddcluster_cli::{Check, Examined};

/// Everything that is looked at, in the order it is told.
pub(crate) async fn examine(examined: Examined) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(storage::examine(&examined));
    checks.extend(network::examine(&examined).await);
    checks.extend(tasks::examine(&examined).await);
    checks.extend(limits::examine());
    checks
}

//! What every role stands on: supervised tasks, guarded HTTP listeners, retry back-off.
//!
//! - [`Tasks`]: every spawned future has a name, an owner that waits for it, and a rule for what its failure means.
//! - [`Guard`]: no web page may drive or read the cluster: `Host` is checked on every request, `Origin` on writes.
//! - [`Token`]: what agents and edges join with, and what everybody needs where others than this machine can connect.
//! - [`serve()`]: an HTTP/1 server on a listener that is already bound, with limits and a graceful end.
//! - [`Exposition`]: measurements as Prometheus reads them.
//! - [`machine_metrics`]: memory, load and processors under Mesos' names.
//! - [`LogTail`]: the end of the process' log, for those who ask.
//! - [`chain()`]: an error with its causes, for a log.
//! - [`Backoff`]: the pauses between attempts, growing, capped and jittered.

mod backoff;
mod chain;
mod exposition;
mod guard;
mod log_tail;
mod machine;
mod serve;
mod supervise;
mod token;

pub use backoff::Backoff;
pub use chain::chain;
pub use exposition::{Exposition, Form, Kind, Seen};
pub use guard::Guard;
pub use log_tail::{LogTail, whole_characters};
pub use machine::machine_metrics;
pub use serve::{Hangup, serve};
pub use supervise::{Cause, Error, Failure, OnFailure, StillRunning, Tasks};
pub use token::{InvalidToken, Token, Unauthorized, challenge};

//! Five kinds of clients that account for every request, and the service they ask.
//!
//! | kind | what it does |
//! |---|---|
//! | fresh | a `GET` on a connection of its own |
//! | kept alive | a `GET` on a connection that stays |
//! | pipelined | four `GET`s written at once, answers counted in order |
//! | upload | a `POST` in chunks with pauses, which comes back as it went |
//! | websocket | frames that come back, over tunnels that are closed and made again |
//!
//! Each request sent ends as one of two: *answered* by a task of the service, with its name on it and the right bytes, or
//! *failed*, whatever it was: an answer of somebody else, wrong or missing bytes, a reset, silence. A request that was provably not
//! looked at (its kept connection was closed before a byte of an answer, or with the answer before it) and may be sent twice is sent
//! again as any client does, and counted as repeated.
//!
//! [`origin`] is the service: without manners, it dies at the first SIGTERM with all that it has in hand.

mod account;
mod clients;
pub mod origin;
mod websocket;
mod wire;

pub use account::{Failure, Kind, Report, Tally};
pub use clients::Load;

//! What must hold whatever the edge is sent, as functions of bytes: for the fuzz targets in `fuzz/`, and for the tests here, which
//! run them on a corpus and on made-up inputs.
//!
//! | function | bytes | what must hold |
//! |---|---|---|
//! | [`request`] | what a client sends | a server that is strict reads the requests that were forwarded, each with its body, and nothing else |
//! | [`response`] | what a server sends | a client that is strict reads one answer with its body, or sees that it was cut off |
//! | [`session`] | what a client sends, and what its server does with each request | servers get whole requests, clients whole answers, none that is another's, and nobody waits for ever |
//! | [`labels`] | labels of an app | no panic; and no label becomes a line of the configuration |
//! | [`crypt`] | a password as it is kept, and one as it is given | no panic |
//!
//! The strict parties are in [`peer`]: they share no code with the edge, and panic at what is not HTTP/1.1 to the letter.
//! The first byte says how large the pieces are in which the rest arrives.

mod conversation;
mod messages;
mod peer;
mod words;

pub use conversation::session;
pub use messages::{request, response};
pub use words::{crypt, labels};

#[cfg(test)]
mod tests;

//! Typed client of the Marathon, Mesos and zddcluster APIs; and [`ask`], which puts a check's question to a task.

pub mod ask;
mod http;
mod lines;
pub mod marathon;
pub mod mesos;
pub mod sse;
mod web;

pub use self::http::{HttpClient, HttpError};
pub use self::lines::Lines;
pub use self::web::{WebClient, WebError};

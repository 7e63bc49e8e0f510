//! The agent as a whole: a small master in front, real executors and processes behind.

mod api;
mod checks;
mod common;
mod life;
mod restart;
mod volumes;

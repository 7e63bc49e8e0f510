//! The agent as a whole: a small master in front, real executors and processes behind.

mod common;
mod life;
mod restart;

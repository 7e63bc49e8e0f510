//! The definitions as a whole: what is read, refused, merged and printed.

mod common;
mod definitions;
mod fuzz;
mod group_updates;
mod merging;
mod package;
mod printing;
mod reading;
mod recording;
mod rules;
mod rules_of_parts;
mod schema;

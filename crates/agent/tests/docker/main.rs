//! Containers of a real Docker engine. Without one each test says that it was skipped.
//!
//! No registry is needed: the tests' image is made of this machine's shell, built-in images of this very executable.

mod checks;
mod definition;
mod engine;
mod images;
mod life;
mod networks;
mod registry;
mod support;
mod trouble;

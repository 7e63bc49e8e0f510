//! The log: `tracing` to stderr, filtered by `--log` or `ZDD_LOG`, coloured only on a terminal.

use std::io::{self, IsTerminal as _};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use crate::fault::Fault;

/// Reads a filter. A bare level such as `debug` means our own crates; the libraries below stay at `warn`.
fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives = match text.trim() {
        level @ ("trace" | "debug" | "info" | "warn" | "error") => {
            format!("warn,zddcluster={level}")
        }
        other if other == "off" || other.contains("hickory") => other.to_owned(),
        // It tells of every DNS request at `info`; only who names it wants to read that.
        other => format!("hickory_server=warn,{other}"),
    };
    EnvFilter::try_new(&directives).map_err(|error| {
        format!("`{text}` is no log filter ({error}); hint: --log info, or --log warn,zddcluster_edge=debug")
    })
}

/// Says what is wrong with a filter.
pub(crate) fn check(text: &str) -> Result<(), String> {
    filter(text).map(drop)
}

/// Sets up the log of this process.
pub(crate) fn init(text: &str) -> Result<(), Fault> {
    let filter = filter(text).map_err(|fault| Fault::settings(anyhow!(fault)))?;
    let has_colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(has_colour)
        .init();
    Ok(())
}

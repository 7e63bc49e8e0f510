//! The log: `tracing` to stderr, filtered by `--log` or `ZDD_LOG`, coloured only on a terminal. Its end is also kept in memory, for
//! `dcos node log`.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;
use zddcluster_master::LogFilter;
use zddcluster_runtime::LogTail;

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

/// The filter in use, and how to set another one; set up by [`init`].
static IN_USE: OnceLock<LogFilter> = OnceLock::new();

/// Sets up the log of this process.
pub(crate) fn init(text: &str) -> Result<(), Fault> {
    let filter = filter(text).map_err(|fault| Fault::settings(anyhow!(fault)))?;
    let has_colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Tee)
        .with_ansi(has_colour)
        .with_filter_reloading();
    let reload = subscriber.reload_handle();
    let current = Arc::new(Mutex::new(text.to_owned()));
    let shown = Arc::clone(&current);
    let change = move |text: &str| {
        let filter = self::filter(text)?;
        reload.reload(filter).map_err(|error| error.to_string())?;
        text.clone_into(&mut current.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    };
    let show = move || {
        let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    };
    subscriber.init();
    // A process has one log; it is set up once.
    let _ = IN_USE.set(LogFilter::new(show, change));
    Ok(())
}

/// The end of the log.
static TAIL: LazyLock<LogTail> = LazyLock::new(LogTail::default);

/// The end of the log, to be shown while the process runs.
pub(crate) fn tail() -> LogTail {
    TAIL.clone()
}

/// Writes to stderr and keeps the same without colours.
struct Tee;

impl io::Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TAIL.append(&anstream::adapter::strip_bytes(bytes).into_vec());
        // A line is written as one; whoever cannot be told on stderr may still ask for it.
        io::stderr().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The log's filter, to be shown and changed while the process runs.
pub(crate) fn in_use() -> Option<LogFilter> {
    IN_USE.get().cloned()
}

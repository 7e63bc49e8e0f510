//! The original's log lines, with the line numbers of its source that people see in the lab:
//!
//! ```text
//! 2016-10-12T12:00:36 INFO /endpoint0 serving from 10.0.3.193:1765 has been invoked from 10.0.6.211 [at line 59]
//! ```
//!
//! Times are UTC, as in the original's container.

use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// Where the original says that it listens.
const AT_START: u32 = 101;
/// Where Tornado writes its access log.
const AT_ACCESS: u32 = 1946;

/// Writes whole lines to one place. Clones write to the same.
#[derive(Clone)]
pub(crate) struct Log {
    out: Arc<Mutex<dyn Write + Send>>,
}

impl Log {
    pub(crate) fn to_stderr() -> Self {
        Self::to(io::stderr())
    }

    pub(crate) fn to(out: impl Write + Send + 'static) -> Self {
        Self {
            out: Arc::new(Mutex::new(out)),
        }
    }

    pub(crate) fn started(&self, version: &str, port: u16) {
        let message =
            format_args!("This is simple service in version v{version} listening on port {port}");
        self.line("INFO", message, AT_START);
    }

    /// A request reached the handler of `path`, which the original has at `line`.
    pub(crate) fn invoked(&self, path: &str, host: &str, from: IpAddr, line: u32) {
        let message = format_args!("{path} serving from {host} has been invoked from {from}");
        self.line("INFO", message, line);
    }

    pub(crate) fn answered(
        &self,
        status: u16,
        method: &str,
        target: &str,
        from: IpAddr,
        took: Duration,
    ) {
        let level = match status {
            ..400 => "INFO",
            400..500 => "WARNING",
            500.. => "ERROR",
        };
        let ms = took.as_secs_f64() * 1000.0;
        self.line(
            level,
            format_args!("{status} {method} {target} ({from}) {ms:.2}ms"),
            AT_ACCESS,
        );
    }

    pub(crate) fn failed(&self, message: &str) {
        self.line("ERROR", format_args!("{message}"), AT_START);
    }

    fn line(&self, level: &str, message: fmt::Arguments<'_>, line: u32) {
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S");
        // In one piece, so that lines of several processes on one pipe do not mix.
        let text = format!("{now} {level} {message} [at line {line}]\n");
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // Who reads the log may be gone; the service goes on.
        drop(out.write_all(text.as_bytes()));
    }
}

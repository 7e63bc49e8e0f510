//! The log's filter, as far as it can be changed while the process runs.
//!
//! The log belongs to the process and not to the master, so the binary hands over how to read and change it.

use std::fmt;
use std::sync::Arc;

type Current = dyn Fn() -> String + Send + Sync;
type Change = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// Reads and changes the filter of the process' log.
#[derive(Clone)]
pub struct LogFilter {
    current: Arc<Current>,
    change: Arc<Change>,
}

impl LogFilter {
    /// From what tells the filter's text and what sets another one; the latter's error says what is wrong with the text.
    pub fn new(
        current: impl Fn() -> String + Send + Sync + 'static,
        change: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            current: Arc::new(current),
            change: Arc::new(change),
        }
    }

    /// The filter's text.
    pub(crate) fn current(&self) -> String {
        (self.current)()
    }

    /// Sets another filter; the error is for the user.
    pub(crate) fn change(&self, text: &str) -> Result<(), String> {
        (self.change)(text)
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFilter").field(&self.current()).finish()
    }
}

//! Several backends behind one listener or vhost, and whose turn it is.
//!
//! Without weights a connection is given to one of them, in turn, and its requests stay there (two frontends on one port, in the
//! original). As soon as one of them has a weight (`ZDD_{n}_WEIGHT`), each request has its turn, and the shares are exact.

use std::sync::Arc;

use super::LiveBackend;
use crate::choose::Rotation;
use crate::labels::Mode;

/// The backends behind one listener or vhost.
#[derive(Debug)]
pub(crate) struct Split {
    /// At least one, by (app id, port).
    pub(crate) backends: Vec<Arc<LiveBackend>>,
    /// One share a backend; 0 takes nothing.
    shares: Vec<u32>,
    is_weighted: bool,
    /// Whose turn it is; outlives the table.
    turn: Arc<Rotation>,
}

impl Split {
    /// Goes on where `old` was, the split of the same listener or vhost in the table before.
    pub(super) fn new(backends: Vec<Arc<LiveBackend>>, old: Option<&Self>) -> Self {
        let share = |backend: &Arc<LiveBackend>| backend.spec.share;
        Self {
            shares: backends
                .iter()
                .map(|backend| share(backend).unwrap_or(1))
                .collect(),
            is_weighted: backends.iter().any(|backend| share(backend).is_some()),
            turn: old.map_or_else(Arc::default, |old| Arc::clone(&old.turn)),
            backends,
        }
    }

    /// The backend that a new connection begins with. With weights no turn is spent on it: its requests have theirs.
    pub(crate) fn begin(&self) -> Option<&Arc<LiveBackend>> {
        if self.is_weighted {
            self.backends.first()
        } else {
            self.next(|_| true)
        }
    }

    /// The backend for a request or connection in this mode: that with the name `preferred` while it can serve and there are no
    /// weights, else the one whose turn it is.
    pub(crate) fn pick(&self, preferred: &str, mode: Mode) -> Option<&Arc<LiveBackend>> {
        let can_serve = |backend: &LiveBackend| {
            backend.spec.mode == mode && backend.servers.iter().any(|server| server.is_open())
        };
        let same = self
            .backends
            .iter()
            .find(|backend| backend.spec.name == preferred);
        same.filter(|backend| !self.is_weighted && can_serve(backend))
            .or_else(|| self.next(can_serve))
    }

    fn next(&self, usable: impl Fn(&LiveBackend) -> bool) -> Option<&Arc<LiveBackend>> {
        let at = self
            .turn
            .pick(&self.shares, |at| usable(&self.backends[at]))?;
        Some(&self.backends[at])
    }
}

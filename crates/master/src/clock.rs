//! The master's clock: wall time at the start plus monotonic time since, so that a wall clock set back changes nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use zddcluster_model::Timestamp;

/// Tells the time; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Timestamp,
    started: Instant,
}

impl Clock {
    /// A clock that starts now, moved by `offset_millis`.
    pub(crate) fn start(offset_millis: i64) -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
        Self {
            base: Timestamp::from_millis(millis).plus_millis(offset_millis),
            started: Instant::now(),
        }
    }

    /// This clock, moved so that it never showed a time before `earliest`.
    ///
    /// A wall clock that was set back between two lives would else stand still for the engine, whose time never runs
    /// backwards, and with it every deadline.
    #[must_use]
    pub(crate) fn not_before(self, earliest: Timestamp) -> Self {
        Self {
            base: self.base.max(earliest),
            ..self
        }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        let millis = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.base.plus_millis(millis)
    }

    /// What the clock showed when it was started.
    pub(crate) const fn started_at(&self) -> Timestamp {
        self.base
    }

    /// The moment at which this clock shows `at`; now, if that is past.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        /// Farther sleeps make no sense and may overflow the timer.
        const LONGEST_MILLIS: i64 = 24 * 3600 * 1000;
        let millis = at.millis_since(self.now()).clamp(0, LONGEST_MILLIS);
        Instant::now() + Duration::from_millis(millis.unsigned_abs())
    }
}

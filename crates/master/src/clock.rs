//! The master's clock: wall time at the start plus the time since, so that a wall clock set back changes nothing.
//!
//! The time since is what the machine was awake, as timers count it, and what it slept: a laptop that is opened in the morning
//! shows the morning, not the evening before. A timer that was running then ends late, by what it had left when the machine
//! fell asleep; so nobody sleeps for longer than [`LONGEST_SLEEP`] without looking at this clock again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};
use tokio::time::Instant;
use zddcluster_model::Timestamp;

/// How late a deadline may be seen that passed while the machine slept. A look costs nothing worth counting.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// Tells the time; cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    base: Timestamp,
    started: Instant,
    /// Seconds that the machine had slept when it was started.
    slept: u64,
}

/// Whole seconds that this machine has slept since its boot. Never fewer than before: the two clocks cannot be read at once.
fn slept_seconds() -> u64 {
    static MOST: AtomicU64 = AtomicU64::new(0);
    let nanos = |time: Timespec| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    let awake = nanos(clock_gettime(ClockId::Monotonic));
    let in_all = nanos(clock_gettime(ClockId::Boottime));
    let slept = u64::try_from((in_all - awake) / 1_000_000_000).unwrap_or(0);
    MOST.fetch_max(slept, Ordering::Relaxed).max(slept)
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
            slept: slept_seconds(),
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
        self.shown(slept_seconds())
    }

    /// Seconds that the machine has slept since this clock was started.
    pub(crate) fn slept(&self) -> u64 {
        slept_seconds().saturating_sub(self.slept)
    }

    /// The time, if the machine has slept for so many seconds since its boot.
    fn shown(&self, slept: u64) -> Timestamp {
        let slept = Duration::from_secs(slept.saturating_sub(self.slept));
        let since = self.started.elapsed() + slept;
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        self.base.plus_millis(millis)
    }

    /// What the clock showed when it was started.
    pub(crate) const fn started_at(&self) -> Timestamp {
        self.base
    }

    /// When to look whether this clock shows `at`: at that moment, or after [`LONGEST_SLEEP`]; now, if it is past.
    pub(crate) fn instant_of(&self, at: Timestamp) -> Instant {
        let millis = u64::try_from(at.millis_since(self.now())).unwrap_or(0);
        Instant::now() + Duration::from_millis(millis).min(LONGEST_SLEEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_night_asleep_is_seen() {
        let clock = Clock::start(0);
        let evening = clock.now();
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.now().millis_since(evening), 1500);
        let night = 8 * 3600;
        let morning = clock.shown(clock.slept + night);
        assert_eq!(morning.millis_since(evening), 8 * 3_600_000 + 1500);
        // A deadline of the night is looked for soon after the machine is awake.
        let at = evening.plus_millis(3_600_000);
        let wait = clock.instant_of(at).duration_since(Instant::now());
        assert_eq!(wait, LONGEST_SLEEP);
        assert_eq!(clock.instant_of(evening), Instant::now());
    }
}

//! Whether a backend has a server that takes traffic, since when, and how often and how long it had none.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Follows one backend over tables and checks.
#[derive(Debug)]
pub(crate) struct Standing(Mutex<Record>);

#[derive(Debug)]
struct Record {
    is_up: bool,
    since: Instant,
    n_outages: u64,
    /// How long it was down before `since`.
    down_before: Duration,
}

/// What became of a backend until now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct History {
    /// How long it has been as it is.
    pub(crate) since: Duration,
    /// How often it went down.
    pub(crate) n_outages: u64,
    /// How long it was down, all in all.
    pub(crate) downtime: Duration,
}

impl Default for Standing {
    /// Up: a backend is made because it has a server.
    fn default() -> Self {
        Self(Mutex::new(Record {
            is_up: true,
            since: Instant::now(),
            n_outages: 0,
            down_before: Duration::ZERO,
        }))
    }
}

impl Standing {
    /// Takes what holds now.
    pub(crate) fn note(&self, is_up: bool) {
        let mut record = self.lock();
        if record.is_up == is_up {
            return;
        }
        if is_up {
            let down_for = record.since.elapsed();
            record.down_before += down_for;
        } else {
            record.n_outages += 1;
        }
        record.is_up = is_up;
        record.since = Instant::now();
    }

    /// What became of it until now.
    pub(crate) fn history(&self) -> History {
        let record = self.lock();
        let since = record.since.elapsed();
        let down_for = if record.is_up { Duration::ZERO } else { since };
        History {
            since,
            n_outages: record.n_outages,
            downtime: record.down_before + down_for,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn outages_are_counted_and_measured() {
        let standing = Standing::default();
        let mut shown = Vec::new();
        for is_up in [true, false, false, true, false] {
            tokio::time::advance(Duration::from_secs(10)).await;
            standing.note(is_up);
            let history = standing.history();
            let seconds = [history.since, history.downtime].map(|it| it.as_secs());
            shown.push((history.n_outages, seconds));
        }
        let expected = [
            (0, [10, 0]),
            (1, [0, 0]),
            (1, [10, 10]),
            (1, [0, 20]),
            (2, [0, 20]),
        ];
        assert_eq!(shown, expected);
    }
}

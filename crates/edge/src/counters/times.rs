//! Average times of requests, as HAProxy keeps them: over about the last 1024.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// So many requests an average is of, once there were so many.
const WINDOW: u64 = 1024;

/// Sums that forget a share of themselves with each request that is added. They are no more than statistics: of two that end in the
/// same moment, one may be left out.
#[derive(Debug, Default)]
pub(crate) struct Times {
    n: AtomicU64,
    /// Microseconds.
    connect: AtomicU64,
    response: AtomicU64,
    total: AtomicU64,
}

/// How long the parts of a request took, or take on average.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Took {
    /// Until there was a connection to the server.
    pub(crate) connect: Duration,
    /// From then on until the answer's head was there.
    pub(crate) response: Duration,
    /// All of it.
    pub(crate) total: Duration,
}

impl Times {
    /// Adds a request that has ended.
    pub(crate) fn note(&self, took: Took) {
        let is_full = self.n.fetch_add(1, Relaxed) >= WINDOW;
        for (sum, took) in [
            (&self.connect, took.connect),
            (&self.response, took.response),
            (&self.total, took.total),
        ] {
            let before = sum.load(Relaxed);
            let kept = if is_full {
                before - before / WINDOW
            } else {
                before
            };
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            sum.store(kept.saturating_add(micros), Relaxed);
        }
    }

    /// The averages, and of how many requests they are.
    pub(crate) fn averages(&self) -> (u64, Took) {
        let n = self.n.load(Relaxed).min(WINDOW);
        let average = |sum: &AtomicU64| {
            let micros = sum.load(Relaxed).checked_div(n);
            Duration::from_micros(micros.unwrap_or_default())
        };
        let took = Took {
            connect: average(&self.connect),
            response: average(&self.response),
            total: average(&self.total),
        };
        (n, took)
    }
}

impl Took {
    /// The average of averages, each of which is of so many requests.
    pub(crate) fn mean(parts: impl Iterator<Item = (u64, Self)> + Clone) -> Self {
        let n: u64 = parts.clone().map(|(n, _)| n).sum();
        let mean = |pick: fn(&Self) -> Duration| {
            let micros = |(n, took): (u64, Self)| u128::from(n) * pick(&took).as_micros();
            let sum: u128 = parts.clone().map(micros).sum();
            let mean = sum.checked_div(u128::from(n)).unwrap_or_default();
            Duration::from_micros(u64::try_from(mean).unwrap_or(u64::MAX))
        };
        Self {
            connect: mean(|took| took.connect),
            response: mean(|took| took.response),
            total: mean(|took| took.total),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(millis: u64) -> Took {
        Took {
            connect: Duration::from_millis(millis),
            response: Duration::from_millis(2 * millis),
            total: Duration::from_millis(3 * millis),
        }
    }

    #[test]
    fn averages_are_of_the_last_ones() {
        let times = Times::default();
        assert_eq!(times.averages(), (0, took(0)));
        times.note(took(10));
        assert_eq!(times.averages(), (1, took(10)));
        times.note(took(30));
        assert_eq!(times.averages(), (2, took(20)));
        for _ in 0..20 * WINDOW {
            times.note(took(100));
        }
        // What was before has no weight any more, but for rounding.
        let (n, late) = times.averages();
        let apart = late.total.abs_diff(took(100).total);
        assert!(n == WINDOW && apart < Duration::from_millis(1), "{late:?}");
        let half = [(10, took(10)), (30, took(30)), (0, took(99))];
        assert_eq!(Took::mean(half.into_iter()), took(25));
        assert_eq!(Took::mean([].into_iter()), took(0));
    }
}

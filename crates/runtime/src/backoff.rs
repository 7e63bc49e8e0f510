//! The pauses between attempts at something that failed: doubling, capped, and jittered so that many clients
//! of one server that came back do not arrive together.

use std::time::Duration;

/// Produces the pause before each next attempt.
///
/// The n-th pause lies between half and all of `first * 2^n`, never above `max`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    /// The upper bound of the next pause.
    bound: Duration,
}

impl Backoff {
    /// Starts at `first` and grows to at most `max`. A `max` below `first` is taken as `first`.
    pub fn new(first: Duration, max: Duration) -> Self {
        let max = max.max(first);
        Self {
            first,
            max,
            bound: first,
        }
    }

    /// Returns the pause before the next attempt and doubles the bound of the one after it.
    #[expect(
        clippy::should_implement_trait,
        reason = "a back-off never ends, so it is no iterator"
    )]
    pub fn next(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.max);
        bound.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Starts again at the first pause; to be called after a success.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(2);

    #[test]
    fn pauses_double_to_the_cap_with_jitter_below() {
        let mut backoff = Backoff::new(FIRST, MAX);
        for bound in [100, 200, 400, 800, 1600, 2000, 2000, 2000].map(Duration::from_millis) {
            let pause = backoff.next();
            assert!(
                pause >= bound / 2 && pause <= bound,
                "{pause:?} is not within {bound:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn a_cap_below_the_first_pause_is_no_surprise() {
        let mut backoff = Backoff::new(MAX, FIRST);
        assert!(backoff.next() >= MAX / 2);
        assert!(backoff.next() <= MAX);
    }
}

//! Deadlines of one connection on one timer.
//!
//! A request has many waits and nearly all end at once, so a wait that is over leaves the timer as it is. The timer is set back only
//! for a deadline before it; when it fires too early it is set to the deadline of the moment.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

/// The timer of a connection, or of one direction of it.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    /// Made for waits that are at least `shortest` long.
    pub(crate) fn new(shortest: Duration) -> Self {
        Self(Box::pin(sleep_until(Instant::now() + shortest)))
    }

    /// Waits for `what`, but not longer than `limit`. As cancel-safe as `what`.
    pub(crate) async fn within<T>(
        &mut self,
        limit: Duration,
        what: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        let mut what = pin!(what);
        let mut deadline = None;
        std::future::poll_fn(|cx| {
            if let Poll::Ready(output) = what.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
            // The clock is only asked when there is something to wait for.
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
            if self.0.deadline() > deadline {
                self.0.as_mut().reset(deadline);
            }
            while self.0.as_mut().poll(cx).is_ready() {
                if Instant::now() >= deadline {
                    return Poll::Ready(Err(Elapsed));
                }
                self.0.as_mut().reset(deadline);
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_wait_has_its_own_deadline() {
        let millis = Duration::from_millis;
        let mut timer = Timer::new(millis(10));
        for limit in [150, 10, 30, 60, 10, 0] {
            let began = Instant::now();
            let never = std::future::pending::<()>();
            assert_eq!(timer.within(millis(limit), never).await, Err(Elapsed));
            // Not before its time, nor at that of another one.
            let took = began.elapsed();
            assert!(
                took >= millis(limit) && took < millis(limit) + Duration::from_secs(5),
                "{limit}: {took:?}"
            );
        }
        let soon = tokio::time::sleep(millis(5));
        assert_eq!(timer.within(Duration::from_secs(60), soon).await, Ok(()));
    }
}

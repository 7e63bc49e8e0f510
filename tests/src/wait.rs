//! Waiting for a state, never for a time.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a state may take to come, on a machine that does ten other things: far more than it takes.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Looks again and again until `look` returns `Ok`, and returns that.
///
/// # Panics
/// After [`LIMIT`], with `what` was waited for and what the last look saw.
pub async fn eventually<T, E, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    E: Debug,
    F: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + LIMIT;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => {
                panic!(
                    "waited {} s for {what}; last seen: {seen:?}",
                    LIMIT.as_secs()
                )
            }
            Err(_) => sleep(POLL).await,
        }
    }
}

//! The lab's "minimal overcapacity": the event stream of its update, held against what a recorded session of the original shows.

use zddcluster_tests::Options;
use zddcluster_tests::lab::min_over::{check, record};

#[tokio::test]
async fn a_service_that_ignores_sigterm_replays_the_recording() -> anyhow::Result<()> {
    // contract: chapter-min-over, sequence-update, invariant-3.10-1, invariant-3.10-2
    // contract: invariant-3.10-3, invariant-3.10-4, invariant-3.10-5, invariant-3.10-6
    // contract: invariant-3.10-7, invariant-3.10-8, invariant-3.10-9, invariant-3.10-10
    // contract: task-states, event-order-states, health-rounds
    check(&record(Options::default(), true).await?, true);
    Ok(())
}

#[tokio::test]
async fn a_service_that_obeys_is_updated_in_the_same_order() -> anyhow::Result<()> {
    check(&record(Options::default(), false).await?, false);
    Ok(())
}

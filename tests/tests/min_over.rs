//! The lab's "minimal overcapacity": the event stream of its update, held against what a recorded session of the original shows.

use zddcluster_tests::Options;
use zddcluster_tests::lab::min_over::{check, record};

#[tokio::test]
async fn a_service_that_ignores_sigterm_replays_the_recording() -> anyhow::Result<()> {
    check(&record(Options::default(), true).await?, true);
    Ok(())
}

#[tokio::test]
async fn a_service_that_obeys_is_updated_in_the_same_order() -> anyhow::Result<()> {
    check(&record(Options::default(), false).await?, false);
    Ok(())
}

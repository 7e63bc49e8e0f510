//! The lab's blue-green chapter, with a prober that accounts for every request of the switch.

#![expect(clippy::print_stderr, reason = "the control tells its numbers")]

use zddcluster_tests::Options;
use zddcluster_tests::lab::blue_green::{Load, switch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_blue_becomes_green() -> anyhow::Result<()> {
    // contract: chapter-blue-green, lb-run-blue, lb-run-green, lb-users-drain
    let (report, at_end) = switch(Load::Quick, Options::default()).await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(at_end, "1.0");
    assert!(report.by_version.contains_key("0.9") && report.by_version.contains_key("1.0"));
    let last = report.timeline.last().expect("it ran for seconds");
    assert_eq!(
        last.by_version.keys().collect::<Vec<_>>(),
        ["1.0"],
        "{}",
        report.table()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_in_flight_are_let_finish() -> anyhow::Result<()> {
    // contract: lb-users-drain
    let (report, at_end) = switch(Load::Slow, Options::default()).await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(at_end, "1.0");
    Ok(())
}

/// The control: without drain the same switch loses what was in flight, so the zeros above mean something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_drain_requests_in_flight_are_lost() -> anyhow::Result<()> {
    let (report, at_end) = switch(Load::Slow, Options::args(&["--no-drain"])).await?;
    assert!(report.failed > 0, "{}", report.table());
    assert_eq!(at_end, "1.0");
    eprintln!("draining off:\n{}", report.table());
    Ok(())
}

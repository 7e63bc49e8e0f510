//! Swaps in a row with kills in between, in short; `tests/examples/swaps.rs` does a hundred.

use zddcluster_tests::load::Kind;
use zddcluster_tests::swaps::{Outcome, Plan, kill_serving, needless, run};

/// Requests a second: what a busy machine with a slow build can do.
const RATE: f64 = 300.0;

/// The words that start the service.
fn origin() -> String {
    format!("'{}'", env!("CARGO_BIN_EXE_origin"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_though_the_master_and_idle_tasks_are_killed() -> anyhow::Result<()> {
    // contract: lb-zdd-zero
    let plan = Plan {
        n_swaps: 2,
        rate: RATE,
        seed: 4,
        drains: true,
        kills: true,
    };
    let Outcome { report, counts } = run(plan, &origin()).await?;
    assert_eq!(report.total().failed, 0, "{}", report.table());
    for kind in Kind::ALL {
        assert!(report.tallies[&kind].answered > 0, "{}", report.table());
    }
    let versions: Vec<&str> = report.by_version.keys().map(String::as_str).collect();
    assert_eq!(versions, ["0", "1", "2"], "{}", report.table());
    assert!(counts.masters + counts.starting + counts.drained > 0);
    Ok(())
}

/// The control: the same without draining loses requests of every kind that cannot be sent twice, so the zeros above mean something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_drain_rolling_updates_lose_requests() -> anyhow::Result<()> {
    let plan = Plan {
        n_swaps: 2,
        rate: RATE,
        seed: 4,
        drains: false,
        kills: false,
    };
    let Outcome { report, .. } = run(plan, &origin()).await?;
    assert!(
        report.tallies[&Kind::Websocket].failed > 0,
        "{}",
        report.table()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_serving_task_that_dies_costs_what_cannot_be_sent_twice() -> anyhow::Result<()> {
    // contract: lb-zdd-dies
    let (report, killed) = kill_serving(1, RATE, &origin()).await?;
    let needless = needless(&report, &killed);
    assert!(needless.is_empty(), "{needless:?} of {}", report.table());
    // There was something to lose: requests that could be sent twice, too, or nothing is shown.
    assert!(killed.iter().all(|kill| kill.in_flight > 0), "{killed:?}");
    Ok(())
}

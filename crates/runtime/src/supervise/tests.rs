use super::*;

const SOON: Duration = Duration::from_secs(5);

/// Waits for the failure of the tree, but not for ever.
async fn failure_of(tasks: &Tasks) -> Failure {
    tokio::time::timeout(SOON, tasks.failed())
        .await
        .expect("a task has failed")
}

async fn until_cancelled(tasks: &Tasks) -> Result<(), Error> {
    tasks.token().cancelled().await;
    Ok(())
}

#[tokio::test]
async fn a_panic_is_reported_with_the_role_and_the_name() {
    let tasks = Tasks::new();
    let actor = tasks.child("master");
    actor
        .child("api")
        .spawn("actor", OnFailure::Shutdown, async {
            panic!("broken {}", 1)
        });
    let failure = failure_of(&tasks).await;
    assert_eq!(failure.name, "master/api/actor");
    assert_eq!(failure.to_string(), "the task master/api/actor failed");
    assert_eq!(failure.cause.to_string(), "it panicked: broken 1");
    // Any node tells, also later.
    assert_eq!(failure_of(&actor).await.name, "master/api/actor");
}

#[tokio::test]
async fn an_error_is_reported_with_its_cause() {
    let tasks = Tasks::new();
    tasks.spawn("front", OnFailure::Shutdown, async {
        Err("port taken".into())
    });
    let failure = failure_of(&tasks).await;
    assert_eq!(chain(&failure), "the task front failed: port taken");
}

#[tokio::test]
async fn the_first_failure_is_the_one_told() {
    let tasks = Tasks::new();
    tasks.spawn("first", OnFailure::Shutdown, async { Err("1".into()) });
    assert_eq!(failure_of(&tasks).await.name, "first");
    tasks.spawn("second", OnFailure::Shutdown, async { Err("2".into()) });
    tasks.shut_down(SOON).await.unwrap();
    assert_eq!(failure_of(&tasks).await.name, "first");
}

#[tokio::test]
async fn failures_that_are_only_logged_and_good_ends_change_nothing() {
    let tasks = Tasks::new();
    tasks.spawn("panics", OnFailure::Log, async { panic!("broken") });
    tasks.spawn("errs", OnFailure::Log, async { Err("1".into()) });
    tasks.spawn("ends", OnFailure::Shutdown, async { Ok(()) });
    tasks.shut_down(SOON).await.unwrap();
    assert!(tasks.failed().now_or_never().is_none());
}

#[tokio::test]
async fn shutting_down_a_node_ends_its_children_only() {
    let tasks = Tasks::new();
    let agent = tasks.child("agent");
    let link = agent.child("link");
    let master = tasks.child("master");
    for node in [&link, &master] {
        let own = node.clone();
        node.spawn("waits", OnFailure::Log, async move {
            until_cancelled(&own).await
        });
    }
    agent.shut_down(SOON).await.unwrap();
    assert!(link.token().is_cancelled());
    assert!(!master.token().is_cancelled());
    tasks.shut_down(SOON).await.unwrap();
    assert!(master.token().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn tasks_that_do_not_end_are_named() {
    let tasks = Tasks::new();
    let agent = tasks.child("agent");
    let agents = tasks.child("agents");
    for node in [&agent, &agents, &agent.child("link")] {
        node.spawn("stuck", OnFailure::Log, std::future::pending());
    }
    let own = agent.clone();
    agent.spawn("waits", OnFailure::Log, async move {
        until_cancelled(&own).await
    });
    let still = agent.shut_down(SOON).await.unwrap_err();
    assert_eq!(still.names, ["agent/link/stuck", "agent/stuck"]);
    let still = tasks.shut_down(SOON).await.unwrap_err();
    assert_eq!(
        still.names,
        ["agent/link/stuck", "agent/stuck", "agents/stuck"]
    );
    assert_eq!(
        still.to_string(),
        "still running after the grace period: agent/link/stuck, agent/stuck, agents/stuck"
    );
}

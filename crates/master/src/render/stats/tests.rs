//! Counts and statistics, row by row of contract marathon §6.4 and §1.11.

use super::*;

/// A task in this state, started at this second, with these health results, of a version in this second.
fn task(state: &str, started: Option<i64>, alive: &[bool], version: i64) -> Arc<Task> {
    let at = |second: i64| Timestamp::from_millis(second * 1000);
    let task = json!({
        "id": "a.1", "app_id": "/a", "version": at(version), "agent_id": "S0", "host": "h", "ports": [],
        "cpus": 0, "mem": 0, "disk": 0, "state": state, "staged_at": at(0), "started_at": started.map(at),
        "ended_at": null, "message": "", "ip_addresses": [], "container_id": "c", "killing": null,
    });
    let mut task: Task = serde_json::from_value(task).unwrap();
    task.health = alive
        .iter()
        .map(|alive| {
            let result = json!({"alive": alive, "consecutiveFailures": 0, "firstSuccess": null, "lastFailure": null,
                "lastSuccess": null, "lastFailureCause": null, "taskId": "a.1"});
            Some(serde_json::from_value(result).unwrap())
        })
        .collect();
    Arc::new(task)
}

#[test]
fn counts_by_state_and_results() {
    for (state, alive, expected) in [
        ("TASK_STAGING", &[][..], [1, 0, 0, 0]), // contract: count-staged
        ("TASK_STARTING", &[], [0, 0, 0, 0]),    // contract: count-staged
        ("TASK_RUNNING", &[], [0, 1, 0, 0]),     // contract: count-running, count-no-checks
        ("TASK_KILLING", &[], [0, 0, 0, 0]),     // contract: count-running, trap-26
        ("TASK_LOST", &[], [0, 0, 0, 0]),        // contract: count-running
        ("TASK_RUNNING", &[true], [0, 1, 1, 0]), // contract: count-healthy
        ("TASK_RUNNING", &[true, true], [0, 1, 1, 0]), // contract: count-healthy
        ("TASK_RUNNING", &[true, false], [0, 1, 0, 1]), // contract: count-unhealthy
        ("TASK_RUNNING", &[false], [0, 1, 0, 1]), // contract: count-unhealthy
        ("TASK_KILLING", &[true], [0, 0, 1, 0]), // contract: count-running, count-healthy
    ] {
        let Counts {
            staged,
            running,
            healthy,
            unhealthy,
        } = Counts::of(&[&task(state, Some(0), alive, 0)]);
        assert_eq!(
            [staged, running, healthy, unhealthy],
            expected,
            "{state} {alive:?}"
        );
    }
    // A result that is not there yet is no result.
    let mut half = Task::clone(&task("TASK_RUNNING", Some(0), &[true], 0));
    half.health.push(None);
    let counts = Counts::of(&[&Arc::new(half)]);
    assert_eq!((counts.healthy, counts.unhealthy), (1, 0));
}

#[test]
fn statistics_by_version() {
    // contract: shown-task-stats
    let body = json!({"id": "/a", "cmd": "x"}).to_string();
    let update =
        zddcluster_model::app::AppUpdate::read(body.as_bytes(), zddcluster_model::app::Form::Full);
    let id = zddcluster_model::AppId::absolute("/a");
    let at = |second: i64| Timestamp::from_millis(second * 1000);
    let mut app = update.unwrap().into_app(id, at(30)).unwrap();
    app.version_info = Some(zddcluster_model::app::VersionInfo {
        last_scaling_at: at(30),
        last_config_change_at: at(20),
    });
    let tasks = [
        task("TASK_RUNNING", Some(100), &[true], 10),
        task("TASK_RUNNING", Some(90), &[false], 20),
        task("TASK_RUNNING", Some(60), &[], 20),
        task("TASK_STAGING", None, &[], 30),
    ];
    let tasks: Vec<&Arc<Task>> = tasks.iter().collect();
    let counts = |staged, running, healthy, unhealthy| json!({"staged": staged, "running": running, "healthy": healthy, "unhealthy": unhealthy});
    let life =
        |average: f64, median: f64| json!({"averageSeconds": average, "medianSeconds": median});
    let all = task_stats(&app, &tasks, at(110));
    let expected = json!({
        // Nothing of it has started, so it has no life time.
        "startedAfterLastScaling": {"stats": {"counts": counts(1, 0, 0, 0)}},
        "withLatestConfig": {"stats": {"counts": counts(1, 2, 0, 1), "lifeTime": life(35.0, 35.0)}},
        "withOutdatedConfig": {"stats": {"counts": counts(0, 1, 1, 0), "lifeTime": life(10.0, 10.0)}},
        "totalSummary": {"stats": {"counts": counts(1, 3, 1, 1), "lifeTime": life(80.0 / 3.0, 20.0)}},
    });
    assert_eq!(all, expected);
    // Groups without tasks are not there.
    let some = task_stats(&app, &tasks[1..3], at(110));
    let keys: Vec<&String> = some.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["withLatestConfig", "totalSummary"]);
    assert_eq!(task_stats(&app, &[], at(110)), json!({}));
}

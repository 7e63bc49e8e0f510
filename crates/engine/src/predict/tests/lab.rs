//! The lab's chapters, predicted.

use serde_json::json;
use zddcluster_model::deployment::ActionKind;

use super::*;

/// The event stream that comes with the lab.
const RECORDING: &str =
    include_str!("../../../../model/tests/data/event-bus-log-base-min-over.txt");

fn update(cluster: &Cluster, name: &str, keys: &Value, assumptions: Value) -> Timeline {
    let cluster = cluster.after(json!({ "apps": [service(name, "0.9", keys.clone())] }));
    cluster.predict(json!({
        "app": format!("/zdd/{name}"),
        "update": service(name, "1.0", keys.clone()),
        "assumptions": assumptions,
    }))
}

#[test]
fn base_doubles_and_lets_go() {
    let timeline = update(&Cluster::new(), "base", &json!({}), json!({}));
    assert_eq!(
        course(&timeline),
        [
            "0: 4 × 0.9 serving",
            "0: 4 × 0.9 serving, 4 × 1.0 staging",
            "1000: 4 × 0.9 killing, 4 × 1.0 serving",
            "1200: 4 × 1.0 serving",
        ]
    );
    assert_eq!(timeline.total_millis, Some(1_200));
    let app = &timeline.apps[0];
    assert_eq!(app.actions, [ActionKind::RestartApplication]);
    assert_eq!((app.capacity.lowest, app.capacity.share), (4, Some(1.0)));
    assert_eq!(timeline.usage.cluster.cpus, 0.8);
    assert_eq!(timeline.usage.cluster.mem_offered, 8192.0);
    assert_eq!(timeline.usage.agents.len(), 2);
    assert_eq!(timeline.usage.agents[0].peak.cpus, 0.4);
}

#[test]
fn base_health_waits_for_the_first_round() {
    let timeline = update(
        &Cluster::new(),
        "base-health",
        &checked(json!({})),
        json!({}),
    );
    assert_eq!(
        course(&timeline),
        [
            "0: 4 × 0.9 serving",
            "0: 4 × 0.9 serving, 4 × 1.0 staging",
            "1000: 4 × 0.9 serving, 4 × 1.0 running",
            // Asked 5 s after the beginning; the service takes 3 s to answer.
            "8000: 4 × 0.9 killing, 4 × 1.0 serving",
            "8200: 4 × 1.0 serving",
        ]
    );
}

#[test]
fn late_starters_wait_for_the_second_round() {
    let keys = checked(json!({}));
    let timeline = update(
        &Cluster::new(),
        "base-health",
        &keys,
        json!({ "startSeconds": 6 }),
    );
    assert_eq!(timeline.total_millis, Some(68_200));
}

#[test]
fn base_ready_asks_until_the_answer_is_good() {
    let keys = json!({
        "portDefinitions": [{ "name": "main-api", "port": 0 }],
        "readinessChecks": [{ "path": "/health", "portName": "main-api", "intervalSeconds": 30 }],
    });
    let timeline = update(
        &Cluster::new(),
        "base-ready",
        &keys,
        json!({ "readySeconds": 40 }),
    );
    assert_eq!(
        course(&timeline),
        [
            "0: 4 × 0.9 serving",
            "0: 4 × 0.9 serving, 4 × 1.0 staging",
            "1000: 4 × 0.9 serving, 4 × 1.0 running",
            // Asked at 1 s, 31 s and 61 s; the third answer is the first good one.
            "64000: 4 × 0.9 killing, 4 × 1.0 serving",
            "64200: 4 × 1.0 serving",
        ]
    );
}

/// The changes of the app in the recording.
fn recorded() -> Vec<(i64, Change)> {
    let mut found = Vec::new();
    let mut began = None;
    for line in RECORDING.lines() {
        let Some(text) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(text).expect("the recording is JSON");
        let time: zddcluster_model::Timestamp =
            serde_json::from_value(event["timestamp"].clone()).expect("a time");
        let time = time.as_millis();
        let change = match event["eventType"].as_str().expect("a name") {
            "deployment_info" => {
                began = Some(time);
                continue;
            }
            "status_update_event" => match event["taskStatus"].as_str().expect("a state") {
                "TASK_STAGING" => Change::Started,
                "TASK_RUNNING" => Change::Runs,
                "TASK_KILLING" => Change::Killed,
                "TASK_KILLED" => Change::Ended,
                other => panic!("{other}"),
            },
            "health_status_changed_event" => Change::Healthy,
            "deployment_success" => Change::Done,
            _ => continue,
        };
        found.push((time - began.expect("it begins"), change));
    }
    found
}

#[test]
fn minimal_overcapacity_goes_as_it_was_recorded() {
    let keys = checked(strategy(0.25, 0.25));
    // As the recorded tasks: 0.9 s to start, 20 s to end, since they ignore SIGTERM, and 2.6 s for the first answer.
    let assumptions = json!({ "startSeconds": 0.9, "ignoresSigterm": true, "answerSeconds": 2.6 });
    let timeline = update(&Cluster::new(), "base-min-over", &keys, assumptions);
    assert_eq!(
        course(&timeline),
        [
            "0: 4 × 0.9 serving",
            "0: 1 × 0.9 serving, 3 × 0.9 killing, 1 × 1.0 staging",
            "900: 1 × 0.9 serving, 3 × 0.9 killing, 1 × 1.0 running",
            "7600: 4 × 0.9 killing, 1 × 1.0 serving",
            "20000: 1 × 0.9 killing, 1 × 1.0 serving, 3 × 1.0 staging",
            "20900: 1 × 0.9 killing, 1 × 1.0 serving, 3 × 1.0 running",
            "27600: 1 × 1.0 serving, 3 × 1.0 running",
            "67600: 4 × 1.0 serving",
        ]
    );
    let recorded = recorded();
    let of_recording = responses(recorded.iter().map(|(_, change)| *change), Change::Healthy);
    let predicted = responses(changes(&timeline), Change::Healthy);
    assert_eq!(predicted.at_once, of_recording.at_once);
    assert_eq!(predicted.at_once, (3, 1));
    assert_eq!(predicted.kills_for_healthy, of_recording.kills_for_healthy);
    assert_eq!(predicted.kills_for_healthy, [1, 0, 0, 0]);
    // The original asked for offers only every 5 s, so its second and third start come with the third end.
    assert_eq!(predicted.starts_by_ended, [2, 3, 4, 4]);
    assert_eq!(of_recording.starts_by_ended, [2, 2, 4, 4]);

    // The times are the recorded ones but for that, and for the answers' own: 2.6 s to 4.5 s.
    let ends = |change: Change| {
        let times = recorded.iter().filter(|(_, found)| *found == change);
        times.map(|(time, _)| *time).collect::<Vec<_>>()
    };
    let near = |predicted: i64, recorded: i64, most: i64| {
        assert!(
            (predicted - recorded).abs() <= most,
            "{predicted}, {recorded}"
        );
    };
    near(7_600, ends(Change::Healthy)[0], 100);
    near(20_000, ends(Change::Ended)[0], 500);
    near(27_600, ends(Change::Ended)[3], 500);
    near(67_600, ends(Change::Done)[0], 2_000);

    let capacity = timeline.apps[0].capacity;
    assert_eq!((capacity.lowest, capacity.share), (1, Some(0.25)));
    assert_eq!(capacity.for_millis, 67_600);
}

#[test]
fn a_group_goes_level_by_level() {
    let app = |id: &str, more: Value| {
        let mut app = json!({ "id": id, "cmd": "serve", "instances": 1, "cpus": 0.1, "mem": 32 });
        let object = app.as_object_mut().expect("an object");
        object.extend(more.as_object().cloned().unwrap_or_default());
        app
    };
    let apps = [
        app("db", json!({})),
        app("web", json!({ "dependencies": ["/shop/db"] })),
    ];
    let timeline = Cluster::new().predict(json!({ "group": { "id": "/shop", "apps": apps } }));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes);
    let ids: Vec<&str> = timeline.apps.iter().map(|app| app.app.as_str()).collect();
    assert_eq!(ids, ["/shop/db", "/shop/web"]);
    // Both are set up, then one starts after the other.
    assert_eq!(timeline.steps.len(), 3);
    assert_eq!(timeline.total_millis, Some(2_000));
}

#[test]
fn half_and_a_tenth_does_end() {
    // The lab's text calls it unsatisfiable.
    let keys = checked(strategy(0.5, 0.1));
    let timeline = update(&Cluster::new(), "half", &keys, json!({}));
    assert_eq!(timeline.verdict.outcome, Outcome::Finishes);
    let predicted = responses(changes(&timeline), Change::Healthy);
    assert_eq!(predicted.at_once, (2, 0));
    assert_eq!(predicted.kills_for_healthy, [1, 1, 0, 0]);
    assert_eq!(predicted.starts_by_ended, [1, 2, 3, 4]);
    let outline = &timeline.apps[0];
    assert_eq!(outline.capacity.lowest, 2);
    let bounds = outline.bounds.expect("it is a restart");
    assert_eq!(
        (
            bounds.min_healthy,
            bounds.max_capacity,
            bounds.killed_at_once
        ),
        (2, 4, 2)
    );
}

#[test]
fn blue_and_green_run_side_by_side() {
    let cluster = Cluster::new();
    let cluster = cluster.after(json!({ "apps": [service("blue", "0.9", checked(json!({})))] }));
    let green = service("green", "1.0", checked(json!({})));
    let timeline = cluster.predict(json!({ "apps": [&green] }));
    assert_eq!(timeline.steps.len(), 2);
    assert_eq!(timeline.apps.len(), 1);
    assert_eq!(picture(&timeline.points[0]), "");
    assert_eq!(picture(timeline.points.last().unwrap()), "4 × 1.0 serving");
    assert_eq!(timeline.apps[0].capacity.share, None);

    // The cut-over: green gets its labels and blue goes, in one deployment.
    let cluster = cluster.after(json!({ "apps": [green] }));
    let timeline = cluster.predict(json!({ "apps": [
        { "id": "/zdd/green", "labels": { "HAPROXY_GROUP": "external" } },
        { "id": "/zdd/blue", "instances": 0 },
    ] }));
    let [blue, green] = &timeline.apps[..] else {
        panic!("{:?}", timeline.apps)
    };
    assert_eq!(blue.actions, [ActionKind::ScaleApplication]);
    assert_eq!((blue.capacity.lowest, blue.capacity.share), (0, None));
    assert_eq!(green.actions, [ActionKind::RestartApplication]);
    assert_eq!(green.capacity.lowest, 4);
    // Only labels differ, so there is nothing better to tell the two by.
    assert!(
        timeline.points[1].apps[1]
            .tasks
            .iter()
            .any(|tasks| tasks.version == "new")
    );
}

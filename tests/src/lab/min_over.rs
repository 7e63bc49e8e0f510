//! The lab's "minimal overcapacity": the event stream of its update, held against what a recorded session of the original shows.
//!
//! Four instances, both capacities 0.25, one health check a minute. Source: the lab's recording of `/zdd/base-min-over`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use zddcluster_client::sse::EventStream;

use crate::{ClusterSandbox, Options};

/// The cluster's clocks run five times as fast.
const SPEED: f64 = 5.0;

/// `docker stop` waits this long before SIGKILL, seconds.
const STOP_TIMEOUT: f64 = 20.0;

/// No event and no keep-alive for so long means that the stream is dead.
const IDLE: Duration = Duration::from_secs(30);

const APP: &str = "/zdd/base-min-over";

fn app(version: &str, ignores_sigterm: bool) -> Value {
    let mut app = json!({
        "id": APP,
        "instances": 4,
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"}
        },
        "env": {"HEALTH_MIN": "1000", "HEALTH_MAX": "5000", "SIMPLE_SERVICE_VERSION": version},
        "healthChecks": [{
            "protocol": "HTTP",
            "path": "/health",
            "gracePeriodSeconds": 300,
            "intervalSeconds": 60,
            "timeoutSeconds": 20,
            "maxConsecutiveFailures": 3,
            "ignoreHttp1xx": false
        }],
        "upgradeStrategy": {"minimumHealthCapacity": 0.25, "maximumOverCapacity": 0.25}
    });
    if ignores_sigterm {
        app["env"]["SIMPLE_SERVICE_IGNORE_SIGTERM"] = json!("1");
    }
    app
}

/// Adds the app, updates it, and returns the events of the update. Of the options, the speed is set here.
///
/// `ignores_sigterm`: the service does, as the recorded one did.
pub async fn record(mut options: Options, ignores_sigterm: bool) -> anyhow::Result<Vec<Value>> {
    options
        .args
        .extend(["--speed".to_owned(), SPEED.to_string()]);
    let cluster = ClusterSandbox::start_with(options).await?;
    let old = app("1.0", ignores_sigterm).to_string();
    cluster.dcos_ok(&["marathon", "app", "add"], &old).await?;
    cluster.settled().await;

    let url = cluster.url("/v2/events");
    let mut stream = EventStream::open(cluster.http(), &url).await?;
    let attached = stream.next(IDLE).await?.context("the stream begins")?;
    assert_eq!(attached.kind, "event_stream_attached");
    let new = app("0.9", ignores_sigterm).to_string();
    cluster
        .dcos_ok(&["marathon", "app", "update", APP], &new)
        .await?;
    let mut events = Vec::new();
    loop {
        let event = stream.next(IDLE).await?.context("the stream goes on")?;
        let data: Value = serde_json::from_str(&event.data)?;
        assert_eq!(data["eventType"], json!(event.kind));
        events.push(data);
        if event.kind == "deployment_success" {
            return Ok(events);
        }
    }
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

/// When an event was published, milliseconds since 1970.
fn millis(event: &Value) -> i64 {
    let time: jiff::Timestamp = text(event, "timestamp").parse().expect("a timestamp");
    time.as_millisecond()
}

/// Holds the events against the recording. The numbers are those of its invariants.
///
/// # Panics
/// When they differ.
pub fn check(events: &[Value], ignores_sigterm: bool) {
    let all = serde_json::to_string_pretty(
        &events
            .iter()
            .map(|event| {
                let mut event = event.clone();
                event.as_object_mut().map(|event| event.remove("plan"));
                event
            })
            .collect::<Vec<_>>(),
    )
    .expect("JSON prints");
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| text(event, "eventType"))
        .collect();
    let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count();

    // 1.
    assert_eq!(kinds.first(), Some(&"deployment_info"), "{all}");
    assert_eq!(
        kinds[kinds.len() - 2..],
        ["deployment_step_success", "deployment_success"],
        "{all}"
    );
    for kind in [
        "deployment_info",
        "deployment_step_success",
        "deployment_success",
        "add_health_check_event",
    ] {
        assert_eq!(count(kind), 1, "{kind}: {all}");
    }
    assert_eq!(count("remove_health_check_event"), 0, "{all}");
    let new_version = text(&events[0]["plan"], "version");

    // 2.
    let statuses: Vec<&Value> = events
        .iter()
        .filter(|event| text(event, "eventType") == "status_update_event")
        .collect();
    let mut lives: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in &statuses {
        lives
            .entry(text(event, "taskId"))
            .or_default()
            .push(text(event, "taskStatus"));
    }
    let old_life = ["TASK_KILLING", "TASK_KILLED"];
    let new_life = ["TASK_STAGING", "TASK_RUNNING"];
    let old: BTreeSet<&str> = lives
        .iter()
        .filter(|life| life.1[..] == old_life)
        .map(|life| *life.0)
        .collect();
    let new: BTreeSet<&str> = lives
        .iter()
        .filter(|life| life.1[..] == new_life)
        .map(|life| *life.0)
        .collect();
    assert_eq!((old.len(), new.len(), lives.len()), (4, 4, 8), "{all}");
    let healths: Vec<&Value> = events
        .iter()
        .filter(|event| text(event, "eventType") == "health_status_changed_event")
        .collect();
    assert!(
        healths.iter().all(|event| event["alive"] == json!(true)),
        "{all}"
    );
    assert_eq!(
        healths
            .iter()
            .map(|event| text(event, "taskId"))
            .collect::<BTreeSet<_>>(),
        new,
        "{all}"
    );

    // 3, 4 and 5, along the stream.
    let (mut killing, mut killed, mut started, mut alive) = (0, 0, 0, 0);
    for (idx, event) in events.iter().enumerate() {
        match (text(event, "eventType"), text(event, "taskStatus")) {
            ("status_update_event", "TASK_KILLING") => {
                killing += 1;
                assert!(killing <= 3 || alive > 0, "event {idx}: {all}");
            }
            ("status_update_event", "TASK_KILLED") => killed += 1,
            ("status_update_event", "TASK_STAGING") => {
                started += 1;
                assert!(started == 1 || killed >= started - 1, "event {idx}: {all}");
            }
            ("health_status_changed_event", _) => {
                if alive == 0 {
                    assert_eq!(killing, 3, "event {idx}: {all}");
                    let next = &events[idx + 1];
                    assert_eq!(
                        text(next, "taskStatus"),
                        "TASK_KILLING",
                        "event {idx}: {all}"
                    );
                }
                alive += 1;
            }
            _ => {}
        }
        assert!(4 + started - killed <= 5, "event {idx}: {all}");
        assert!(4 - killing + alive >= 1, "event {idx}: {all}");
    }

    // 6 and 7.
    let mut places: BTreeMap<&str, (&Value, &Value)> = BTreeMap::new();
    for event in &statuses {
        let task_id = text(event, "taskId");
        assert!(task_id.starts_with("zdd_base-min-over."), "{all}");
        assert_eq!(
            text(event, "version") == new_version,
            new.contains(task_id),
            "{all}"
        );
        let place = (&event["host"], &event["ports"]);
        assert_eq!(*places.entry(task_id).or_insert(place), place, "{all}");
        let status = text(event, "taskStatus");
        assert_eq!(
            event.get("ipAddresses").is_some(),
            status != "TASK_STAGING",
            "{all}"
        );
        assert_eq!(
            text(event, "message").is_empty(),
            status != "TASK_KILLED",
            "{all}"
        );
    }
    let agents: BTreeSet<&str> = statuses
        .iter()
        .map(|event| text(event, "slaveId"))
        .collect();
    assert_eq!(agents.len(), 2, "{all}");

    // 8.
    for task_id in &old {
        let times: Vec<i64> = statuses
            .iter()
            .filter(|event| text(event, "taskId") == *task_id)
            .map(|event| millis(event))
            .collect();
        let seconds = (times[1] - times[0]) as f64 / 1000.0;
        let full = STOP_TIMEOUT / SPEED;
        if ignores_sigterm {
            assert!(
                (full..full + 2.0).contains(&seconds),
                "{task_id} took {seconds} s: {all}"
            );
        } else {
            assert!(seconds < full, "{task_id} took {seconds} s: {all}");
        }
    }

    // 9: the second round, a minute after the first, makes the last of them healthy.
    let total = (millis(&events[events.len() - 1]) - millis(&events[0])) as f64 / 1000.0;
    if ignores_sigterm {
        let second_round = 65.0 / SPEED;
        assert!(
            (second_round..second_round + 6.0).contains(&total),
            "{total} s: {all}"
        );
    }

    // 10.
    assert!(
        events
            .windows(2)
            .all(|pair| text(&pair[0], "timestamp") <= text(&pair[1], "timestamp")),
        "{all}"
    );
}

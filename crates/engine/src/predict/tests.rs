//! Predictions of the lab's updates, of updates that cannot end, and of clusters that are in the middle of something.

mod lab;
mod stuck;
mod under_way;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zddcluster_model::AppId;
use zddcluster_model::agent::Resources;

use super::timeline::{Change, Hindrance, Outcome, Point, Standing};
use super::{Assumptions, Given, GivenAgent, Limits, Prediction, Request, Timeline, predict};
use crate::effect::Refusal;
use crate::state::State;
use crate::{Config, Engine};

/// Private agents with so many cores each.
fn agents(n: u8, cpus: f64) -> Given {
    let agent = |idx: u8| GivenAgent {
        hostname: format!("127.0.0.{}", 11 + idx),
        role: "*".to_owned(),
        attributes: BTreeMap::new(),
        resources: Resources {
            cpus,
            mem: 4096.0,
            disk: 1000.0,
            gpus: 0,
            ports: vec![(1025, 32_000)],
            dynamic_ports: vec![(20_000, 20_999)],
        },
    };
    Given {
        agents: (0..n).map(agent).collect(),
    }
}

/// A cluster at a moment.
struct Cluster {
    config: Config,
    state: State,
}

impl Cluster {
    /// The lab's: two agents with four cores each.
    fn new() -> Self {
        Self::of(&agents(2, 4.0))
    }

    fn of(given: &Given) -> Self {
        let (config, state) = given.build();
        Self { config, state }
    }

    fn try_predict(&self, request: Value) -> Result<Prediction, Refusal> {
        let request = Request::read(request.to_string().as_bytes()).expect("a good request");
        let now = self.state.clock.plus_millis(60_000);
        let Request {
            command,
            assumptions,
        } = request;
        let (config, state) = (&self.config, &self.state);
        predict(config, state, now, command, &assumptions, &Limits::USUAL)
    }

    fn predict(&self, request: Value) -> Timeline {
        let prediction = self.try_predict(request).expect("the engine takes it");
        hold_invariants(self, &prediction);
        prediction.timeline
    }

    /// This cluster after an update has ended.
    fn after(&self, request: Value) -> Self {
        let prediction = self.try_predict(request).expect("the engine takes it");
        assert_eq!(
            prediction.timeline.verdict.outcome,
            Outcome::Finishes,
            "{:?}",
            prediction.timeline.verdict
        );
        hold_invariants(self, &prediction);
        Self {
            config: self.config.clone(),
            state: prediction.state,
        }
    }
}

/// What holds of every prediction.
fn hold_invariants(cluster: &Cluster, prediction: &Prediction) {
    let engine = Engine {
        config: cluster.config.clone(),
        state: prediction.state.clone(),
    };
    engine.check_invariants();
    let points = &prediction.timeline.points;
    assert!(
        points
            .windows(2)
            .all(|pair| pair[0].millis <= pair[1].millis)
    );
}

/// The lab's service: `zdd/NAME`, four instances, with more keys.
fn service(name: &str, version: &str, more: Value) -> Value {
    let mut app = json!({
        "id": format!("/zdd/{name}"),
        "instances": 4,
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": { "image": "mhausenblas/simpleservice:0.4.0", "network": "HOST" }
        },
        "env": { "HEALTH_MIN": "1000", "HEALTH_MAX": "5000", "SIMPLE_SERVICE_VERSION": version },
    });
    let object = app.as_object_mut().expect("an object");
    object.extend(more.as_object().cloned().unwrap_or_default());
    app
}

/// A minute between checks, as all health checks of the lab.
fn checked(more: Value) -> Value {
    let mut keys = json!({ "healthChecks": [{ "path": "/health" }] });
    let object = keys.as_object_mut().expect("an object");
    object.extend(more.as_object().cloned().unwrap_or_default());
    keys
}

fn strategy(min: f64, over: f64) -> Value {
    json!({ "upgradeStrategy": { "minimumHealthCapacity": min, "maximumOverCapacity": over } })
}

/// `4 × 0.9 serving, 1 × 1.0 staging; 2 waiting`, of the first app.
fn picture(point: &Point) -> String {
    let app = &point.apps[0];
    let mut text = app
        .tasks
        .iter()
        .map(|tasks| {
            let standing = match tasks.standing {
                Standing::Serving => "serving",
                Standing::Running => "running",
                Standing::Staging => "staging",
                Standing::Killing => "killing",
            };
            format!("{} × {} {standing}", tasks.count, tasks.version)
        })
        .collect::<Vec<_>>()
        .join(", ");
    if app.waiting > 0 {
        text.push_str(&format!("; {} waiting", app.waiting));
    }
    text
}

/// Every point as `millis: picture`.
fn course(timeline: &Timeline) -> Vec<String> {
    let points = timeline.points.iter();
    points
        .map(|point| format!("{}: {}", point.millis, picture(point)))
        .collect()
}

/// What an update does at once, and then for each stimulus in turn.
#[derive(Debug, Default, PartialEq, Eq)]
struct Responses {
    /// Old tasks killed, and new ones started, before anything else happened.
    at_once: (u32, u32),
    /// Old tasks killed right after each new task that became healthy.
    kills_for_healthy: Vec<u32>,
    /// New tasks started by the time the first, the second, … old one had ended.
    starts_by_ended: Vec<u32>,
}

/// Responses of a stream of changes; `counts` says which change makes a new task count.
fn responses(changes: impl IntoIterator<Item = Change>, counts: Change) -> Responses {
    let mut found = Responses::default();
    let mut starts = 0;
    let mut last = None;
    for change in changes {
        match change {
            Change::Killed => match last {
                None => found.at_once.0 += 1,
                Some(_) => {
                    if let Some(kills) = found.kills_for_healthy.last_mut() {
                        *kills += 1;
                    }
                }
            },
            Change::Started => {
                starts += 1;
                match last {
                    None => found.at_once.1 += 1,
                    // Those of the original come in one go, after the next offers.
                    Some(_) => {
                        if let Some(by) = found.starts_by_ended.last_mut() {
                            *by = starts;
                        }
                    }
                }
            }
            Change::Ended => {
                found.starts_by_ended.push(starts);
                last = Some(change);
            }
            change if change == counts => {
                found.kills_for_healthy.push(0);
                last = Some(change);
            }
            _ => {}
        }
    }
    found
}

/// The changes of a course, each as often as it happened.
fn changes(timeline: &Timeline) -> Vec<Change> {
    let happened = timeline.points.iter().flat_map(|point| &point.happened);
    happened
        .flat_map(|one| std::iter::repeat_n(one.what, one.count as usize))
        .collect()
}

fn kinds(timeline: &Timeline) -> Vec<Hindrance> {
    let reasons = timeline.verdict.reasons.iter();
    reasons.map(|reason| reason.kind).collect()
}

fn texts(timeline: &Timeline) -> Vec<&str> {
    let reasons = timeline.verdict.reasons.iter();
    reasons.map(|reason| reason.text.as_str()).collect()
}

//! What a prediction takes for granted of the tasks it has never seen.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zddcluster_model::App;
use zddcluster_model::app::EnvValue;

/// The lab's service; it says in its environment how long its answers take.
const SIMPLESERVICE: &str = "mhausenblas/simpleservice";

/// How long an answer to a check takes if nothing says otherwise, seconds: a service on the same network.
const ANSWER_SECONDS: f64 = 0.1;

/// Longest assumption, seconds: a week. Anything longer is a mistake, and would only be waited for.
const LONGEST: f64 = 7.0 * 86_400.0;

/// Assumptions of a prediction. Times are seconds on the cluster's clock; they are not divided by its speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Assumptions {
    /// From the launch to TASK_RUNNING. The lab's recorded tasks took 0.9 s.
    pub start_seconds: f64,
    /// From SIGTERM to the end of a task; the kill grace ends it earlier.
    pub kill_seconds: f64,
    /// Tasks end only by SIGKILL, when their grace is over.
    pub ignores_sigterm: bool,
    /// How long edges take to let a task go that is to be killed; without an edge nothing waits.
    pub drain_seconds: f64,
    /// How long an answer to a check takes; one longer than the check's timeout is a failure. Without it 0.1 s, for the lab's
    /// service the middle of its HEALTH_MIN and HEALTH_MAX.
    pub answer_seconds: Option<f64>,
    /// From TASK_RUNNING until answers to health checks are good, by check; the last one holds for all further checks.
    pub healthy_seconds: Vec<f64>,
    /// From TASK_RUNNING until answers to the readiness check are good.
    pub ready_seconds: f64,
    /// Answers of each new task to its health checks in turn, good or bad; the last one repeats. All good without it.
    pub health_answers: Vec<bool>,
    /// So many new tasks of each app never pass their checks, nor do those that replace them.
    pub fails: Share,
    /// So many new tasks of each app end by themselves as soon as they run, as do those that replace them.
    pub crashes: Share,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            start_seconds: 1.0,
            kill_seconds: 0.2,
            ignores_sigterm: false,
            drain_seconds: 0.1,
            answer_seconds: None,
            healthy_seconds: Vec::new(),
            ready_seconds: 0.0,
            health_answers: Vec::new(),
            fails: Share::Some(0),
            crashes: Share::Some(0),
        }
    }
}

/// A number of tasks, or all of them: in JSON a number or `"all"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Some(u32),
    /// All.
    All,
}

impl Share {
    /// Whether one more is among them when there are `n` already.
    pub(super) const fn has_room(self, n: u32) -> bool {
        match self {
            Self::Some(most) => n < most,
            Self::All => true,
        }
    }

    /// Whether there is none.
    pub const fn is_none(self) -> bool {
        matches!(self, Self::Some(0))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Some(n) => n.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

/// A text that is neither a number nor `all`.
#[derive(Debug, thiserror::Error)]
#[error("must be a number of tasks, or all")]
pub struct InvalidShare;

impl std::str::FromStr for Share {
    type Err = InvalidShare;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            number => number.parse().map(Self::Some).map_err(|_| InvalidShare),
        }
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Some(n) => serializer.serialize_u32(*n),
            Self::All => serializer.serialize_str("all"),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Assumptions {
    /// `Err` names the first time that is none, or longer than a week.
    pub fn check(&self) -> Result<(), String> {
        let single = [
            ("startSeconds", Some(self.start_seconds)),
            ("killSeconds", Some(self.kill_seconds)),
            ("drainSeconds", Some(self.drain_seconds)),
            ("answerSeconds", self.answer_seconds),
            ("readySeconds", Some(self.ready_seconds)),
        ];
        let healthy = self.healthy_seconds.iter();
        let healthy = healthy.map(|seconds| ("healthySeconds", Some(*seconds)));
        for (name, seconds) in single.into_iter().chain(healthy) {
            if seconds.is_some_and(|seconds| !(0.0..=LONGEST).contains(&seconds)) {
                return Err(format!("{name} must be from 0 to {LONGEST} seconds"));
            }
        }
        Ok(())
    }

    /// Milliseconds from RUNNING until this health check's answers are good.
    pub(super) fn healthy_millis(&self, check_idx: usize) -> i64 {
        let given = self.healthy_seconds.get(check_idx);
        given
            .or_else(|| self.healthy_seconds.last())
            .map_or(0, |seconds| millis(*seconds))
    }

    /// Milliseconds that an answer of this app's tasks takes in a cluster at this speed.
    pub(super) fn answer_millis(&self, app: &App, speed: f64) -> i64 {
        if let Some(seconds) = self.answer_seconds {
            return millis(seconds);
        }
        let number = |name| match app.env.get(name) {
            Some(EnvValue::Text(text)) => text.trim().parse::<u32>().ok(),
            Some(EnvValue::Secret { .. }) | None => None,
        };
        let repository = app.image().and_then(|image| image.split(':').next());
        let bounds = (number("HEALTH_MIN"), number("HEALTH_MAX"));
        match bounds {
            (Some(min), Some(max)) if repository == Some(SIMPLESERVICE) && min <= max => {
                ((f64::from(min) + f64::from(max)) / 2.0 / speed).round() as i64
            }
            _ => millis(ANSWER_SECONDS),
        }
    }
}

/// Seconds as whole milliseconds.
pub(super) fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

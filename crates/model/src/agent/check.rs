//! A question to a task's agent: run a command beside the task, for COMMAND health checks.
//!
//! ```text
//!   master ── POST /zdd/v1/tasks/{task id}/check {RunCheck} ──▶ agent   {CheckEnd} | 404 it runs no such task
//! ```

use serde::{Deserialize, Serialize};

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunCheck {
    /// `/bin/sh -c` text, run in the task's environment: its sandbox and control groups, or its container.
    pub command: String,
    /// Milliseconds until it is ended by force.
    pub timeout_millis: u64,
}

/// How a check's command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckEnd {
    /// By itself, with this status.
    Exited {
        /// 0 means healthy.
        status: i32,
    },
    /// By a signal.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It took too long and was ended.
    TimedOut,
    /// It could not be run.
    NotRun {
        /// Why, for the user.
        message: String,
    },
}

//! A question to a task's agent, for a health check: run a command beside the task, or ask the task in its own network.
//!
//! ```text
//!   master ── POST /zdd/v1/tasks/{task id}/check {RunCheck} ──▶ agent   {CheckEnd} | 404 it runs no such task
//! ```
//!
//! The first agents knew commands only: they answer 422 to anything else, and the master asks the task itself.

use serde::{Deserialize, Serialize};

/// What is to be done: `{"command": "…", "timeoutMillis": …}`, or `http` or `tcp` in place of `command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunCheck {
    /// The question.
    #[serde(flatten)]
    pub check: Check,
    /// Milliseconds until it is ended by force, or given up.
    pub timeout_millis: u64,
}

/// A question to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// `/bin/sh -c` text, run in the task's environment: its sandbox and control groups, or its container.
    Command(String),
    /// A GET. No redirect is followed, and any certificate is taken.
    #[serde(rename_all = "camelCase")]
    Http {
        /// Whether over TLS.
        is_https: bool,
        /// Path and query.
        path: String,
        /// Where it listens.
        port: CheckPort,
    },
    /// A connection.
    Tcp {
        /// Where it listens.
        port: CheckPort,
    },
}

/// A port of a task. Which of the two numbers counts depends on how the agent runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckPort {
    /// In a network of the task's own.
    pub own: u16,
    /// In the agent's network.
    pub shared: u16,
}

/// What came of it; what that means for the task's health is not the agent's to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckEnd {
    /// The command ended by itself, with this status.
    Exited {
        /// 0 means healthy.
        status: i32,
    },
    /// The command was ended by a signal.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// The command took too long and was ended.
    TimedOut,
    /// The command could not be run.
    NotRun {
        /// Why, for the user.
        message: String,
    },
    /// The task answered the GET.
    Answered {
        /// The status of HTTP.
        status: u16,
    },
    /// The task took the connection.
    Connected,
    /// The task gave no answer, or none in time.
    NotAnswered {
        /// Why, in Marathon's words.
        cause: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn questions_on_the_wire() {
        let port = CheckPort {
            own: 80,
            shared: 31000,
        };
        for (check, expected) in [
            // As the first version of it was.
            (
                Check::Command("true".to_owned()),
                json!({"command": "true", "timeoutMillis": 5}),
            ),
            (
                Check::Http {
                    is_https: true,
                    path: "/health".to_owned(),
                    port,
                },
                json!({
                    "http": {"isHttps": true, "path": "/health", "port": {"own": 80, "shared": 31000}},
                    "timeoutMillis": 5,
                }),
            ),
            (
                Check::Tcp { port },
                json!({"tcp": {"port": {"own": 80, "shared": 31000}}, "timeoutMillis": 5}),
            ),
        ] {
            let question = RunCheck {
                check,
                timeout_millis: 5,
            };
            assert_eq!(serde_json::to_value(&question).unwrap(), expected);
            let read: RunCheck = serde_json::from_value(expected).unwrap();
            assert_eq!(read, question);
        }
    }
}

//! The protocol between master and edges: who is attached, and which tasks to drain. And what an edge tells of itself.
//!
//! ```text
//!   edge ── GET  /zdd/v1/edges/{edgeId}/drains ──────────▶ master   one DrainOrder a line, for as long as it is attached
//!   edge ── POST /zdd/v1/edges/{edgeId}/drained {Drained} ▶ master   204
//! ```
//!
//! While the stream is open the edge counts as connected: no task that a deployment, scaling or API call kills gets SIGTERM
//! before every connected edge has said that the task is out of its table and nothing is in flight, or the drain deadline passed.
//! Against a real Marathon the GET is answered 404 and the edge does without. Blank lines are keep-alives.
//!
//! On the edge's own port for statistics, `GET` [`STATUS_PATH`] is answered with an [`EdgeStatus`].

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::TaskId;

/// A task that takes no new requests from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainOrder {
    /// The task.
    pub task_id: TaskId,
}

/// Tasks that are out of the edge's table with nothing in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drained {
    /// The tasks.
    pub task_ids: Vec<TaskId>,
}

/// Where an edge tells its [`EdgeStatus`].
pub const STATUS_PATH: &str = "/zdd/v1/status";

/// What an edge tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeStatus {
    /// Whether it has heard of Marathon yet.
    pub attached: bool,
    /// Where it serves vhosts, if it does.
    pub http: Option<SocketAddr>,
    /// Where it serves vhosts with TLS, if it does.
    pub https: Option<SocketAddr>,
    /// What is odd about apps at the moment, by app.
    pub warnings: Vec<EdgeWarning>,
}

/// Something about an app that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeWarning {
    /// The app, with its leading slash.
    pub app_id: String,
    /// The label, or what else it is about.
    pub subject: String,
    /// What is done instead.
    pub text: String,
}

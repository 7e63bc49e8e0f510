//! The protocol between master and edges: who is attached, and which tasks to drain.
//!
//! ```text
//!   edge ── GET  /zdd/v1/edges/{edgeId}/drains ──────────▶ master   one DrainOrder a line, for as long as it is attached
//!   edge ── POST /zdd/v1/edges/{edgeId}/drained {Drained} ▶ master   204
//! ```
//!
//! While the stream is open the edge counts as connected: no task that a deployment, scaling or API call kills gets SIGTERM
//! before every connected edge has said that the task is out of its table and nothing is in flight, or the drain deadline passed.
//! Against a real Marathon the GET is answered 404 and the edge does without. Blank lines are keep-alives.

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

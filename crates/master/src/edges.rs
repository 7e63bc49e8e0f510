//! The endpoints of edges: the stream of drain orders and what has drained (`model::edge` is the specification), and who is attached.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::json;
use zddcluster_engine::Input;
use zddcluster_model::EdgeId;
use zddcluster_model::edge::Drained;

use crate::agents::{line_stream, read};
use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, empty, ok};
use crate::shared::{Message, Shared};

/// `/zdd/v1/edges/…`.
pub(crate) async fn route(shared: &Arc<Shared>, call: &Call, rest: &[&str]) -> Outcome {
    match (&call.method, rest) {
        (&Method::GET, []) => Ok(ok(&json!({ "edges": shared.state().edges }))),
        (&Method::GET, [id, "drains"]) => {
            let edge_id = EdgeId::new(id);
            let (generation, receiver) = shared.links.open_edge(&edge_id);
            shared.send(Message::EdgeOpened(edge_id.clone())).await?;
            tracing::info!(%edge_id, "edge attached");
            let gone = Message::EdgeGone {
                edge_id,
                generation,
            };
            Ok(line_stream(shared, "edge-drains", receiver, gone))
        }
        (&Method::POST, [id, "drained"]) => {
            let edge_id = EdgeId::new(id);
            let drained: Drained = read(&call.body)?;
            for task_id in drained.task_ids {
                let edge_id = edge_id.clone();
                shared
                    .send(Message::Input(Input::Drained { edge_id, task_id }))
                    .await?;
            }
            Ok(empty(StatusCode::NO_CONTENT))
        }
        (_, [] | [_, "drains" | "drained"]) => Err(ApiError::wrong_method()),
        _ => Err(ApiError::unknown_route(&call.path)),
    }
}

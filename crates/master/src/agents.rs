//! The three endpoints of agents: registration, command stream, statuses (`model::agent` is the specification).

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use zddcluster_model::AgentId;
use zddcluster_model::agent::{Acknowledged, KEEP_ALIVE_MILLIS, Registration, StatusUpdate};
use zddcluster_runtime::OnFailure;

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok, with_type};
use crate::shared::{Message, Shared};

/// An agent that registered and opens no stream within this is treated as gone; it does so within milliseconds.
const STREAM_DEADLINE: Duration = Duration::from_secs(15);
/// Silence after which an agent is taken for gone: three missed keep-alives.
const SILENCE: Duration = Duration::from_millis(3 * KEEP_ALIVE_MILLIS);
/// Lines that may wait in a stream's own buffer; what does not fit waits in the link's queue.
const LINE_BUFFER: usize = 64;

/// `/zdd/v1/agents/…`.
pub(crate) async fn route(shared: &Arc<Shared>, call: &Call, rest: &[&str]) -> Outcome {
    match (&call.method, rest) {
        (&Method::POST, ["register"]) => register(shared, call).await,
        (&Method::GET, [id, "commands"]) => commands(shared, AgentId::new(id), epoch(call)?),
        (&Method::POST, [id, "statuses"]) => {
            let updates: Vec<StatusUpdate> = read(&call.body)?;
            let (agent_id, epoch) = (AgentId::new(id), epoch(call)?);
            let is_attached = shared.links.hear(&agent_id, epoch);
            let is_fenced = {
                let state = shared.state();
                let known = state.agents.get(&agent_id);
                known.is_some_and(|agent| agent.epoch > epoch)
            };
            if updates.is_empty() && !is_fenced {
                return match is_attached {
                    true => Ok(ok(&Acknowledged { acknowledged: 0 })),
                    // It registers again.
                    false => Err(ApiError::new(
                        StatusCode::NOT_FOUND,
                        format!("agent {id} is not attached"),
                    )),
                };
            }
            let acknowledged = shared.statuses(agent_id, epoch, updates).await?;
            Ok(ok(&Acknowledged { acknowledged }))
        }
        (_, ["register"] | [_, "commands" | "statuses"]) => Err(ApiError::wrong_method()),
        _ => Err(ApiError::unknown_route(&call.path)),
    }
}

fn epoch(call: &Call) -> Result<u64, ApiError> {
    call.query
        .first("epoch")
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "the query needs epoch=<number>"))
}

/// Reads a body of our own protocols.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn register(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let registration: Registration = read(&call.body)?;
    let registered = shared.register(registration).await?;
    let agent_id = registered.agent_id.clone();
    tracing::info!(%agent_id, "agent registered");
    if let Some(generation) = shared.links.generation(&agent_id) {
        let watcher = Arc::clone(shared);
        shared
            .tasks
            .spawn("agent-stream-deadline", OnFailure::Log, async move {
                let token = watcher.token().clone();
                tokio::select! {
                    // Cancel-safe: both only wait.
                    () = token.cancelled() => {}
                    () = tokio::time::sleep(STREAM_DEADLINE) => {
                        if watcher.links.is_waiting(&agent_id, generation) {
                            tracing::warn!(%agent_id, "agent registered but opened no stream");
                            watcher.send(Message::AgentGone { agent_id, generation }).await?;
                        }
                    }
                }
                Ok(())
            });
    }
    Ok(ok(&registered))
}

fn commands(shared: &Arc<Shared>, agent_id: AgentId, epoch: u64) -> Result<Response, ApiError> {
    let (generation, receiver) = shared
        .links
        .take(&agent_id, epoch)
        .map_err(|error| ApiError::new(StatusCode::CONFLICT, error.to_string()))?;
    watch_silence(shared, agent_id.clone(), generation);
    let gone = Message::AgentGone {
        agent_id,
        generation,
    };
    Ok(line_stream(shared, "agent-commands", receiver, gone))
}

/// Gives an agent up that is silent although its stream is open: frozen, or on a host that is no more.
fn watch_silence(shared: &Arc<Shared>, agent_id: AgentId, generation: u64) {
    let watcher = Arc::clone(shared);
    shared
        .tasks
        .spawn("agent-silence", OnFailure::Log, async move {
            let token = watcher.token().clone();
            while let Some(heard) = watcher.links.heard(&agent_id, generation) {
                if heard.elapsed() >= SILENCE {
                    tracing::warn!(%agent_id, seconds = SILENCE.as_secs(), "agent is silent: taken for gone");
                    watcher
                        .send(Message::AgentGone {
                            agent_id,
                            generation,
                        })
                        .await?;
                    break;
                }
                tokio::select! {
                    // Cancel-safe: both only wait.
                    () = token.cancelled() => break,
                    () = tokio::time::sleep_until(heard + SILENCE) => {}
                }
            }
            Ok(())
        });
}

/// Answers with one JSON object a line, and blank lines while there is nothing to say, until the reader or the queue is gone;
/// then `gone` goes to the one writer.
pub(crate) fn line_stream<T: Serialize + Send + 'static>(
    shared: &Arc<Shared>,
    name: &'static str,
    mut queue: mpsc::Receiver<T>,
    gone: Message,
) -> Response {
    let (lines, receiver) = mpsc::channel::<Bytes>(LINE_BUFFER);
    let pump = Arc::clone(shared);
    shared.tasks.spawn(name, OnFailure::Log, async move {
        let token = pump.token().clone();
        let period = Duration::from_millis(KEEP_ALIVE_MILLIS);
        let mut keep_alive = tokio::time::interval_at(Instant::now() + period, period);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let line = tokio::select! {
                biased;
                // Cancel-safe: only wait for states.
                () = token.cancelled() => return Ok(()),
                () = lines.closed() => break,
                // Cancel-safe: `recv` keeps the order when dropped.
                order = queue.recv() => match order {
                    Some(order) => {
                        let mut line = serde_json::to_vec(&order)?;
                        line.push(b'\n');
                        Bytes::from(line)
                    }
                    None => break,
                },
                // Cancel-safe: a tick is kept.
                _ = keep_alive.tick() => Bytes::from_static(b"\n"),
            };
            if lines.send(line).await.is_err() {
                break;
            }
        }
        drop(lines);
        pump.send(gone).await?;
        Ok(())
    });
    body_of(receiver)
}

/// A streamed answer from a queue of chunks.
pub(crate) fn body_of(receiver: mpsc::Receiver<Bytes>) -> Response {
    let chunks = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let chunk = receiver.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), receiver))
    });
    with_type(
        StatusCode::OK,
        "application/json",
        axum::body::Body::from_stream(chunks),
    )
}

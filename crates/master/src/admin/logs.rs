//! `/system/v1/…/logs/…`: DC/OS' log API over the files that the Mesos APIs show. No capability names it, so that clients use those
//! files themselves; whoever asks here all the same gets an answer.
//!
//! | path | what |
//! |---|---|
//! | `logs/v2/task/{id}[/file/{file}]` | a file of a task's sandbox, `stdout` if none is named |
//! | `agent/{agent}/logs/v1/range\|stream/framework/{f}/executor/{e}/container/{c}` | the same by the older API; `filter=STREAM:STDERR` |
//! | `agent/{agent}/logs/v1/range\|stream`, `agent/{agent}/logs/v2/component[/…]` | an agent's own log |
//! | `leader/mesos\|marathon/logs/v1/range\|stream`, `leader/…/logs/v2/component[/…]` | the master's own log |
//!
//! `skip_prev=N`, or `skip=-N`, begins N lines before the end. A range is text, 204 if there is none; `stream`, or
//! `Accept: text/event-stream`, goes on as server-sent events, one a line. Source: contract dcos-cli §10.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use zddcluster_client::HttpError;
use zddcluster_engine::state::Agent;
use zddcluster_model::{AgentId, TaskId};
use zddcluster_runtime::OnFailure;

use crate::agents::body_of;
use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, empty, text};
use crate::shared::Shared;

/// The most bytes of a range: its end. A log has ten times as much before it is rotated.
const MOST: u64 = 1 << 20;
/// Bytes of one reading: the most that is given at once, and the longest line of a stream; one that is longer comes in parts.
const STEP: u64 = 64 << 10;
/// A piece that is so much shorter may end there because a character did not fit.
const HELD_BACK: u64 = 3;
/// Between two looks at a file that is followed, as the dcos client itself looks.
const LOOK: Duration = Duration::from_secs(1);
/// Lines that may wait for a reader.
const BUFFER: usize = 64;

/// Where lines come from.
enum Source {
    Own,
    /// A path of an agent's `/files`.
    Agent {
        base: String,
        path: String,
    },
}

/// A piece of a file as `/files/read` tells it: the text is as long as what it stands for.
#[derive(Deserialize)]
struct Piece {
    data: String,
    offset: u64,
}

impl Piece {
    /// Where the next one begins.
    const fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    /// There is more where it ends.
    const fn is_full(&self) -> bool {
        self.data.len() as u64 + HELD_BACK >= STEP
    }
}

/// Answers what is below `/system/v1`.
pub(super) async fn route(shared: &Arc<Shared>, call: &Call, segments: &[&str]) -> Outcome {
    let unknown = || ApiError::unknown_route(&call.path);
    let (source, is_stream) = match *segments {
        ["logs", "v2", "task", id] => (of_task(shared, id, "stdout").await?, false),
        ["logs", "v2", "task", id, "file", file] => (of_task(shared, id, file).await?, false),
        ["agent", agent, "logs", "v1", kind, ref rest @ ..] => {
            let is_stream = is_stream(kind).ok_or_else(unknown)?;
            let agent = agent_of(shared, agent)?;
            let source = match rest {
                [] => of_agent(&agent, "/slave/log"),
                ["framework", _, "executor", id, "container", _] => {
                    let is_stderr = call
                        .query
                        .all("filter")
                        .any(|filter| filter.eq_ignore_ascii_case("STREAM:STDERR"));
                    let file = if is_stderr { "stderr" } else { "stdout" };
                    in_sandbox(shared, &agent, id, file).await?
                }
                _ => return Err(unknown()),
            };
            (source, is_stream)
        }
        ["agent", agent, "logs", "v2", "component", ..] => {
            (of_agent(&*agent_of(shared, agent)?, "/slave/log"), false)
        }
        ["leader", "mesos" | "marathon", "logs", "v1", kind] => {
            (Source::Own, is_stream(kind).ok_or_else(unknown)?)
        }
        [
            "leader",
            "mesos" | "marathon",
            "logs",
            "v2",
            "component",
            ..,
        ] => (Source::Own, false),
        _ => return Err(unknown()),
    };
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let tail = source.tail(shared, wanted_lines(call)).await?;
    if is_stream || call.header(ACCEPT.as_str()).contains("text/event-stream") {
        return Ok(follow(shared, source, tail));
    }
    Ok(match tail.data.is_empty() {
        true => empty(StatusCode::NO_CONTENT),
        false => text(StatusCode::OK, tail.data),
    })
}

fn is_stream(kind: &str) -> Option<bool> {
    match kind {
        "range" => Some(false),
        "stream" => Some(true),
        _ => None,
    }
}

/// How many lines from the end on; all without a word.
fn wanted_lines(call: &Call) -> Option<usize> {
    let number = |name: &str| call.query.first(name)?.parse::<i64>().ok();
    let before_end = number("skip").filter(|skip| *skip < 0);
    let before_end = before_end.map(i64::saturating_neg);
    let lines = number("skip_prev").or(before_end)?;
    usize::try_from(lines).ok()
}

fn not_found(what: String) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, what)
}

fn agent_of(shared: &Shared, id: &str) -> Result<Arc<Agent>, ApiError> {
    let state = shared.state();
    let agent = state.agents.get(&AgentId::new(id)).cloned();
    agent.ok_or_else(|| not_found(format!("No slave found with ID \"{id}\".")))
}

fn of_agent(agent: &Agent, path: &str) -> Source {
    Source::Agent {
        base: format!("http://{}:{}", agent.hostname, agent.port),
        path: path.to_owned(),
    }
}

async fn of_task(shared: &Shared, id: &str, file: &str) -> Result<Source, ApiError> {
    let state = shared.state();
    let task_id = TaskId::new(id);
    let ended = || state.completed.iter().find(|task| task.id == task_id);
    let task = state.tasks.get(&task_id).or_else(ended);
    let task = task.ok_or_else(|| not_found(format!("no task {id}")))?;
    let agent = agent_of(shared, task.agent_id.as_str())?;
    in_sandbox(shared, &agent, id, file).await
}

/// Asks an agent where a task's sandbox is.
async fn in_sandbox(
    shared: &Shared,
    agent: &Agent,
    executor: &str,
    file: &str,
) -> Result<Source, ApiError> {
    let url = format!("http://{}:{}/state", agent.hostname, agent.port);
    let state: Value = shared.http.get_json(&url).await.map_err(of_http)?;
    let frameworks = state["frameworks"].as_array().into_iter().flatten();
    let executors = frameworks.flat_map(|framework| {
        ["executors", "completed_executors"]
            .into_iter()
            .filter_map(|list| framework[list].as_array())
            .flatten()
    });
    let found = executors
        .filter(|it| it["id"] == executor)
        .find_map(|it| it["directory"].as_str());
    let directory =
        found.ok_or_else(|| not_found(format!("{executor} has no sandbox any more")))?;
    Ok(of_agent(agent, &format!("{directory}/{file}")))
}

fn of_http(error: HttpError) -> ApiError {
    match error.status() {
        Some(status) if status.is_client_error() => {
            not_found("no such file in the sandbox".to_owned())
        }
        _ => ApiError::new(StatusCode::BAD_GATEWAY, error.to_string()),
    }
}

impl Source {
    /// At most [`STEP`] bytes from `offset` on; without an offset the size.
    async fn read(&self, shared: &Shared, offset: Option<u64>) -> Result<Piece, ApiError> {
        match (self, offset) {
            (Self::Own, None) => Ok(Piece {
                data: String::new(),
                offset: shared.log_tail.size(),
            }),
            (Self::Own, Some(offset)) => {
                let (offset, data) = shared.log_tail.read(offset, STEP);
                Ok(Piece { data, offset })
            }
            (Self::Agent { base, path }, offset) => {
                let offset = offset.map_or(-1, |offset| i64::try_from(offset).unwrap_or(i64::MAX));
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair("path", path)
                    .append_pair("offset", &offset.to_string())
                    .append_pair("length", &STEP.to_string())
                    .finish();
                let url = format!("{base}/files/read?{query}");
                shared.http.get_json(&url).await.map_err(of_http)
            }
        }
    }

    /// The last lines, [`MOST`] bytes at most, and where they end.
    async fn tail(&self, shared: &Shared, lines: Option<usize>) -> Result<Piece, ApiError> {
        let size = self.read(shared, None).await?.offset;
        let first = size.saturating_sub(MOST);
        let mut begin = match lines {
            Some(_) => size.saturating_sub(STEP),
            None => first,
        };
        loop {
            let mut data = String::new();
            let mut offset = begin;
            while offset < size {
                let piece = self.read(shared, Some(offset)).await?;
                if piece.data.is_empty() {
                    break;
                }
                offset = piece.end();
                data.push_str(&piece.data);
            }
            let Some(lines) = lines else {
                return Ok(Piece { data, offset });
            };
            if let Some(at) = begin_of_last(&data, lines) {
                data.drain(..at);
                return Ok(Piece { data, offset });
            }
            if begin <= first {
                return Ok(Piece { data, offset });
            }
            begin = begin.saturating_sub(4 * STEP).max(first);
        }
    }
}

/// Where the last so many lines begin; `None` if there are not more.
fn begin_of_last(text: &str, lines: usize) -> Option<usize> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    match lines {
        0 => Some(text.len()),
        n => body.rmatch_indices('\n').nth(n - 1).map(|(at, _)| at + 1),
    }
}

/// Sends the lines of `tail` and then those that are added.
fn follow(shared: &Arc<Shared>, source: Source, tail: Piece) -> Response {
    let (sender, receiver) = mpsc::channel(BUFFER);
    let feed = Arc::clone(shared);
    shared
        .tasks
        .spawn("log-follower", OnFailure::Log, async move {
            feed_follower(&feed, &source, tail, &sender).await;
            Ok(())
        });
    let mut response = body_of(receiver);
    let events = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, events);
    response
}

/// Ends when the reader is gone, the file is, or the master stops.
async fn feed_follower(
    shared: &Shared,
    source: &Source,
    tail: Piece,
    sender: &mpsc::Sender<Bytes>,
) {
    let (mut begun, mut offset) = (tail.data, tail.offset);
    let mut pause = LOOK;
    let token = shared.token();
    loop {
        for line in take_lines(&mut begun) {
            if sender.send(event(shared, &line)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            // Cancel-safe: all three only wait.
            () = token.cancelled() => return,
            () = sender.closed() => return,
            () = tokio::time::sleep(pause) => {}
        }
        match source.read(shared, Some(offset)).await {
            // The agent tells the size instead of an offset beyond it: the file was rotated, and is read from its begin.
            Ok(piece) if piece.offset < offset => (offset, pause) = (0, Duration::ZERO),
            Ok(piece) => {
                offset = piece.end();
                pause = if piece.is_full() {
                    Duration::ZERO
                } else {
                    LOOK
                };
                begun.push_str(&piece.data);
            }
            Err(_) => return,
        }
    }
}

/// Takes the whole lines off a text, and of one without its end what is longer than a line may be.
fn take_lines(begun: &mut String) -> Vec<String> {
    const MOST: usize = STEP as usize;

    let mut lines = Vec::new();
    let ends = begun.rfind('\n').map_or(0, |at| at + 1);
    for mut line in begun[..ends].split_terminator('\n') {
        while line.len() > MOST {
            let (part, rest) = line.split_at(line.floor_char_boundary(MOST));
            lines.push(part.to_owned());
            line = rest;
        }
        lines.push(line.to_owned());
    }
    begun.drain(..ends);
    while begun.len() > MOST {
        let at = begun.floor_char_boundary(MOST);
        lines.push(begun.drain(..at).collect());
    }
    lines
}

fn event(shared: &Shared, line: &str) -> Bytes {
    let micros = shared.clock.now().as_millis().saturating_mul(1000);
    let data = json!({ "fields": { "MESSAGE": line }, "realtime_timestamp": micros });
    format!("data: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_taken_and_long_ones_cut() {
        const MOST: usize = STEP as usize;
        let check = |text: &str, lengths: &[usize], rest: usize| {
            let mut begun = text.to_owned();
            let lines = take_lines(&mut begun);
            let taken: Vec<usize> = lines.iter().map(String::len).collect();
            assert_eq!((taken.as_slice(), begun.len()), (lengths, rest));
        };
        check("", &[], 0);
        check("a\n\nbcd\ne", &[1, 0, 3], 1);
        check(&"x".repeat(MOST), &[], MOST);
        check(&"x".repeat(2 * MOST + 1), &[MOST, MOST], 1);
        check(&format!("{}\ny", "x".repeat(MOST + 2)), &[MOST, 2], 1);
        // Never within a character.
        check(&format!("a{}", "\u{e4}".repeat(MOST)), &[MOST - 1, MOST], 2);
    }

    #[test]
    fn last_lines_of_a_text() {
        let check = |text: &str, lines, expected: Option<&str>| {
            let found = begin_of_last(text, lines).map(|at| &text[at..]);
            assert_eq!(found, expected, "{text:?} {lines}");
        };
        check("a\nb\nc\n", 2, Some("b\nc\n"));
        check("a\nb\nc", 2, Some("b\nc"));
        check("a\nb\nc\n", 3, None);
        check("a\nb\n", 0, Some(""));
        check("", 1, None);
        check("\n\n", 1, Some("\n"));
    }
}

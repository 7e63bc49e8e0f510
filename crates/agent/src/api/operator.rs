//! `POST /api/v1`: the calls of the agent's operator API that only read, JSON in and out.
//!
//! What would start or enter containers (`LAUNCH_NESTED_CONTAINER_SESSION`, which `dcos task exec` wants) is 501. A call nobody knows
//! is 400, protobuf 415 and 406. Source: Mesos 1.0 `v1/agent/agent.proto`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use super::containers::{measure, statistics_json};
use super::state::container_status;
use super::{Api, VERSION, files, metrics, plain, state};
use crate::actor::{TaskView, View};

/// Calls of Mesos 1.0 to 1.5 that we do not offer.
const NOT_OFFERED: [&str; 13] = [
    "SET_LOGGING_LEVEL",
    "LAUNCH_NESTED_CONTAINER",
    "WAIT_NESTED_CONTAINER",
    "KILL_NESTED_CONTAINER",
    "REMOVE_NESTED_CONTAINER",
    "LAUNCH_NESTED_CONTAINER_SESSION",
    "ATTACH_CONTAINER_INPUT",
    "ATTACH_CONTAINER_OUTPUT",
    "LAUNCH_CONTAINER",
    "WAIT_CONTAINER",
    "KILL_CONTAINER",
    "REMOVE_CONTAINER",
    "PRUNE_IMAGES",
];

pub(super) async fn answer(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Response {
    match respond(&api, &headers, &body).await {
        Ok(value) => Json(value).into_response(),
        Err(refusal) => refusal,
    }
}

async fn respond(api: &Api, headers: &HeaderMap, body: &[u8]) -> Result<Value, Response> {
    if !names_json(headers, &CONTENT_TYPE) {
        let message = "Expecting 'Content-Type' of application/json; protobuf is not offered";
        return Err(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    if headers.contains_key(ACCEPT) && !names_json(headers, &ACCEPT) {
        let message = "Expecting 'Accept' to allow application/json";
        return Err(plain(StatusCode::NOT_ACCEPTABLE, message));
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| bad(format!("Failed to parse body into JSON: {error}")))?;
    let kind = body
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("Failed to validate agent::Call: Expecting 'type' to be present"))?;
    if NOT_OFFERED.contains(&kind) {
        let message = format!("the call {kind} is not offered");
        return Err(plain(StatusCode::NOT_IMPLEMENTED, message));
    }
    let name = kind.to_lowercase();
    let arguments = body.get(&name).unwrap_or(&Value::Null);
    let Some(value) = get(api, kind, arguments).await? else {
        return Err(bad(format!(
            "Failed to validate agent::Call: no call is called {kind:?}"
        )));
    };
    Ok(json!({ "type": kind, name: value }))
}

async fn get(api: &Api, kind: &str, arguments: &Value) -> Result<Option<Value>, Response> {
    let value = match kind {
        "GET_HEALTH" => json!({ "healthy": true }),
        "GET_VERSION" => json!({ "version_info": { "version": VERSION } }),
        "GET_FLAGS" => json!({ "flags": named(state::flags_of(api)) }),
        "GET_METRICS" => {
            json!({ "metrics": named(metrics::numbers(api, &api.view().await?)) })
        }
        "GET_LOGGING_LEVEL" => json!({ "level": 0 }),
        "GET_STATE" => {
            let view = api.view().await?;
            json!({
                "get_tasks": tasks(&view),
                "get_executors": executors(&view),
                "get_frameworks": frameworks(&view),
            })
        }
        "GET_TASKS" => tasks(&api.view().await?),
        "GET_EXECUTORS" => executors(&api.view().await?),
        "GET_FRAMEWORKS" => frameworks(&api.view().await?),
        "GET_CONTAINERS" => containers(api, &api.view().await?).await,
        "LIST_FILES" => {
            let path = text(arguments, "path").map_err(bad)?.to_owned();
            json!({ "file_infos": files::list(api, path).await? })
        }
        "READ_FILE" => {
            let path = text(arguments, "path").map_err(bad)?.to_owned();
            let offset = arguments.get("offset").and_then(Value::as_u64);
            let offset =
                offset.ok_or_else(|| bad("Failed to validate agent::Call: Expecting 'offset'"))?;
            let length = arguments.get("length").and_then(Value::as_u64);
            let size = files::piece(api, path.clone(), None, None).await?.offset;
            let piece = files::piece(api, path, Some(offset), length).await?;
            // The answer has no place for where its data begins.
            if piece.offset > offset {
                let begin = piece.offset;
                return Err(bad(format!(
                    "offset {offset} is not kept any more: what is begins at {begin}"
                )));
            }
            json!({ "data": BASE64.encode(&piece.data), "size": size })
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}

/// Tasks with a framework of their own are the only ones there are: each is its own executor's.
fn tasks(view: &View) -> Value {
    let list = |is_wanted: fn(&TaskView) -> bool| -> Vec<Value> {
        view.tasks
            .iter()
            .filter(|task| is_wanted(task))
            .map(task_json)
            .collect()
    };
    json!({
        "pending_tasks": [],
        "queued_tasks": [],
        "launched_tasks": list(|task| !task.state.is_terminal()),
        "terminated_tasks": [],
        "completed_tasks": list(|task| task.state.is_terminal()),
    })
}

fn task_json(task: &TaskView) -> Value {
    let launch = &task.order.launch;
    let mut json = json!({
        "task_id": { "value": launch.task_id },
        "name": launch.app_id.mesos_name(),
        "framework_id": { "value": launch.framework_id },
        "agent_id": { "value": launch.agent_id },
        "state": task.state,
        "statuses": [{
            "task_id": { "value": launch.task_id },
            "agent_id": { "value": launch.agent_id },
            "state": task.state,
            "message": task.message,
            "timestamp": state::since(task),
            "container_status": container_status(task),
        }],
        "resources": resources(task),
    });
    if let Some(reason) = task.reason {
        json["statuses"][0]["reason"] = json!(reason);
    }
    json
}

fn resources(task: &TaskView) -> Value {
    let launch = &task.order.launch;
    let scalar = |name: &str, value: f64| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value }, "role": "*" });
    let mut resources = vec![
        scalar("cpus", launch.cpus),
        scalar("mem", launch.mem),
        scalar("disk", launch.disk),
    ];
    if !launch.ports.is_empty() {
        let range: Vec<Value> = launch
            .ports
            .iter()
            .map(|port| json!({ "begin": port, "end": port }))
            .collect();
        resources.push(json!({
            "name": "ports", "type": "RANGES", "ranges": { "range": range }, "role": "*",
        }));
    }
    resources.into()
}

fn executors(view: &View) -> Value {
    let list = |is_completed: bool| -> Vec<Value> {
        view.tasks
            .iter()
            .filter(|task| task.state.is_terminal() == is_completed)
            .map(|task| {
                let launch = &task.order.launch;
                json!({
                    "executor_info": {
                        "executor_id": { "value": launch.task_id },
                        "framework_id": { "value": launch.framework_id },
                        "name": "",
                        "source": launch.task_id,
                        "resources": resources(task),
                    },
                })
            })
            .collect()
    };
    json!({ "executors": list(false), "completed_executors": list(true) })
}

fn frameworks(view: &View) -> Value {
    let framework = state::framework_id(view).map(|id| {
        json!({ "framework_info": { "id": { "value": id }, "name": "marathon", "user": "root" } })
    });
    let frameworks: Vec<Value> = framework.into_iter().collect();
    json!({ "frameworks": frameworks, "completed_frameworks": [] })
}

async fn containers(api: &Api, view: &View) -> Value {
    let measured = measure(api, view).await;
    let containers: Vec<Value> = measured
        .into_iter()
        .map(|(task, usage)| {
            let launch = &task.order.launch;
            let mut container = json!({
                "framework_id": { "value": launch.framework_id },
                "executor_id": { "value": launch.task_id },
                "executor_name": "",
                "container_id": { "value": launch.container_id },
                "container_status": container_status(task),
            });
            if let Some(usage) = usage {
                container["resource_statistics"] = statistics_json(task, &usage);
            }
            container
        })
        .collect();
    json!({ "containers": containers })
}

/// Names and values as protobuf lists them.
fn named(map: Map<String, Value>) -> Vec<Value> {
    map.into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}

/// A call's argument; `Err` says what is missing.
fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, String> {
    let given = arguments.get(name).and_then(Value::as_str);
    given.ok_or_else(|| format!("Failed to validate agent::Call: Expecting '{name}' to be present"))
}

/// Whether one of a header's media types is JSON or covers it.
fn names_json(headers: &HeaderMap, header: &HeaderName) -> bool {
    headers.get_all(header).iter().any(|value| {
        let value = value.to_str().unwrap_or_default();
        value
            .split(',')
            .filter_map(|range| range.split(';').next())
            .any(|range| ["application/json", "application/*", "*/*"].contains(&range.trim()))
    })
}

fn bad(message: impl Into<String>) -> Response {
    plain(StatusCode::BAD_REQUEST, message)
}

//! `POST /api/v1`: the calls of the operator API, JSON in and out.
//!
//! | call | answer |
//! |---|---|
//! | `SUBSCRIBE` | a stream in RecordIO ([`super::stream`]) |
//! | `GET_…`, `LIST_FILES`, `READ_FILE` | from the snapshot |
//! | what changes agents, reservations, volumes, quota, weights, maintenance | 501: resources here are not the user's to divide |
//! | anything else | 400, as from a Mesos that does not know it |
//!
//! Protobuf is refused with 415 (body) and 406 (answer). A stream is `application/json` as Mesos 1.0 and 1.1 call it, or
//! `application/recordio` with a `Message-Content-Type`, as later ones do, for who asks for that.
//! Source: Mesos 1.0 and 1.1 `v1/master/master.proto`, `master/http.cpp`.

use std::sync::Arc;

use axum::response::Response;
use data_encoding::BASE64;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value, json};
use zddcluster_engine::State;

use super::record::{Amounts, live};
use super::{FRAMEWORK_ROLE, MESOS_VERSION, files, metrics, state, stream, v1};
use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::shared::Shared;

/// Calls of Mesos 1.0 to 1.5 that would change what is decided here by flags and by Marathon's API.
const NOT_OFFERED: [&str; 16] = [
    "SET_LOGGING_LEVEL",
    "UPDATE_WEIGHTS",
    "RESERVE_RESOURCES",
    "UNRESERVE_RESOURCES",
    "CREATE_VOLUMES",
    "DESTROY_VOLUMES",
    "GROW_VOLUME",
    "SHRINK_VOLUME",
    "UPDATE_MAINTENANCE_SCHEDULE",
    "START_MAINTENANCE",
    "STOP_MAINTENANCE",
    "SET_QUOTA",
    "REMOVE_QUOTA",
    "TEARDOWN",
    "MARK_AGENT_GONE",
    "GET_OPERATIONS",
];

const MESSAGE_ACCEPT: HeaderName = HeaderName::from_static("message-accept");
const MESSAGE_CONTENT_TYPE: HeaderName = HeaderName::from_static("message-content-type");

/// `POST /api/v1`.
pub(super) fn answer(shared: &Arc<Shared>, call: &Call) -> Outcome {
    if call.method != Method::POST {
        return Err(ApiError::wrong_method());
    }
    if media_type(call.header(CONTENT_TYPE.as_str())) != "application/json" {
        let message = "Expecting 'Content-Type' of application/json; protobuf is not offered";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|error| bad(format!("Failed to parse body into JSON: {error}")))?;
    let kind = body
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("Failed to validate master::Call: Expecting 'type' to be present"))?;
    if kind == "SUBSCRIBE" {
        return subscribe(shared, call);
    }
    if !accepts(call, &ACCEPT, "application/json") {
        return Err(not_acceptable("application/json"));
    }
    let arguments = body.get(kind.to_lowercase()).unwrap_or(&Value::Null);
    match get(shared, kind, arguments)? {
        Some((name, value)) => Ok(ok(&json!({ "type": kind, name: value }))),
        None if NOT_OFFERED.contains(&kind) => {
            let message = format!(
                "the call {kind} is not offered: apps are changed by Marathon's API, agents by the flags they start with"
            );
            Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, message))
        }
        None => Err(bad(format!(
            "Failed to validate master::Call: no call is called {kind:?}"
        ))),
    }
}

/// What a call that only reads is answered: the name of the member, and its value.
fn get(
    shared: &Shared,
    kind: &str,
    arguments: &Value,
) -> Result<Option<(String, Value)>, ApiError> {
    let identity = &shared.identity;
    let snapshot = shared.state();
    let snapshot: &State = &snapshot;
    let value = match kind {
        "GET_HEALTH" => json!({ "healthy": true }),
        "GET_VERSION" => json!({ "version_info": { "version": MESOS_VERSION } }),
        "GET_FLAGS" => json!({ "flags": named(state::flags(shared)) }),
        "GET_METRICS" => json!({ "metrics": named(metrics::snapshot(shared)) }),
        // Mesos' own levels go from 0 up; ours is a filter, which Marathon's /logging shows.
        "GET_LOGGING_LEVEL" => json!({ "level": 0 }),
        "GET_STATE" => v1::get_state(shared, snapshot),
        "GET_TASKS" => v1::get_tasks(identity, snapshot),
        "GET_AGENTS" => v1::get_agents(shared, snapshot),
        "GET_FRAMEWORKS" => v1::get_frameworks(identity, snapshot),
        "GET_EXECUTORS" => json!({ "executors": [], "orphan_executors": [] }),
        "GET_ROLES" => roles(snapshot),
        "GET_WEIGHTS" => json!({ "weight_infos": [] }),
        "GET_QUOTA" => json!({ "status": { "infos": [] } }),
        "GET_MAINTENANCE_STATUS" => {
            json!({ "status": { "draining_machines": [], "down_machines": [] } })
        }
        "GET_MAINTENANCE_SCHEDULE" => json!({ "schedule": { "windows": [] } }),
        "GET_MASTER" => {
            let (ip, port) = (identity.mesos.ip().to_string(), identity.mesos.port());
            json!({
                "master_info": {
                    "address": { "hostname": ip, "ip": ip, "port": port },
                    "hostname": ip,
                    "id": identity.uuid,
                    "ip": ip_number(identity.mesos.ip()),
                    "pid": state::pid(identity),
                    "port": port,
                    "version": MESOS_VERSION,
                },
            })
        }
        "LIST_FILES" => json!({ "file_infos": files::list(shared, text(arguments, "path")?)? }),
        "READ_FILE" => {
            let offset = arguments.get("offset").and_then(Value::as_u64);
            let offset =
                offset.ok_or_else(|| bad("Failed to validate master::Call: Expecting 'offset'"))?;
            let length = arguments.get("length").and_then(Value::as_u64);
            let path = text(arguments, "path")?;
            let (data, size) = files::read_part(shared, path, offset, length)?;
            json!({ "data": BASE64.encode(&data), "size": size })
        }
        _ => return Ok(None),
    };
    Ok(Some((kind.to_lowercase(), value)))
}

fn roles(state: &State) -> Value {
    let used = Amounts::of_tasks(live(state)).without_ports();
    let role = |name: &str, frameworks: Vec<Value>, resources: Value| json!({ "name": name, "weight": 1.0, "frameworks": frameworks, "resources": resources });
    let framework = json!({ "value": state.framework_id() });
    json!({
        "roles": [
            role("*", Vec::new(), json!([])),
            role(FRAMEWORK_ROLE, vec![framework], v1::resources(&used, FRAMEWORK_ROLE)),
        ],
    })
}

/// Names and values as protobuf lists them.
fn named(map: Map<String, Value>) -> Vec<Value> {
    map.into_iter()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect()
}

/// An IPv4 address as Mesos' old field has it: its bytes in the order of the net, read on a little-endian machine.
fn ip_number(ip: std::net::IpAddr) -> u32 {
    match ip {
        std::net::IpAddr::V4(ip) => u32::from_le_bytes(ip.octets()),
        std::net::IpAddr::V6(_) => 0,
    }
}

fn text<'a>(arguments: &'a Value, name: &str) -> Result<&'a str, ApiError> {
    let given = arguments.get(name).and_then(Value::as_str);
    given.ok_or_else(|| {
        bad(format!(
            "Failed to validate master::Call: Expecting '{name}' to be present"
        ))
    })
}

fn subscribe(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let wants_recordio = accepts_by_name(call, "application/recordio");
    if wants_recordio && !accepts(call, &MESSAGE_ACCEPT, "application/json") {
        return Err(not_acceptable("messages of application/json"));
    }
    if !wants_recordio && !accepts(call, &ACCEPT, "application/json") {
        return Err(not_acceptable("application/json or application/recordio"));
    }
    let mut response: Response = stream::subscribe(shared);
    if wants_recordio {
        let headers = response.headers_mut();
        let recordio = HeaderValue::from_static("application/recordio");
        headers.insert(CONTENT_TYPE, recordio);
        let json = HeaderValue::from_static("application/json");
        headers.insert(MESSAGE_CONTENT_TYPE, json);
    }
    Ok(response)
}

/// A media type without its parameters, in lower case.
fn media_type(text: &str) -> String {
    let name = text.split(';').next().unwrap_or_default();
    name.trim().to_ascii_lowercase()
}

/// Whether a header lets this type through; an absent one lets everything.
fn accepts(call: &Call, header: &HeaderName, wanted: &str) -> bool {
    let given = call.header(header.as_str());
    given.trim().is_empty()
        || given
            .split(',')
            .map(media_type)
            .any(|range| range == wanted || range == "application/*" || range == "*/*")
}

fn accepts_by_name(call: &Call, wanted: &str) -> bool {
    let given = call.header(ACCEPT.as_str());
    given
        .split(',')
        .map(media_type)
        .any(|range| range == wanted)
}

fn not_acceptable(offered: &str) -> ApiError {
    let message = format!("Expecting 'Accept' to allow {offered}");
    ApiError::new(StatusCode::NOT_ACCEPTABLE, message)
}

fn bad(message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message)
}

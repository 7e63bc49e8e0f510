//! Cases in a line or two: a body, and the app or the faults it gives.

use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, Fault, Form, ReadError};
use zddcluster_model::{App, AppId, Timestamp};

pub(crate) fn id() -> AppId {
    AppId::absolute("/a")
}

/// `{"id": "/a", "cmd": "x"}` with the keys of `extra` over it.
pub(crate) fn body(extra: Value) -> Value {
    let mut body = json!({"id": "/a", "cmd": "x"});
    for (key, value) in extra.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

pub(crate) fn read(body: &Value, form: Form) -> Result<AppUpdate, ReadError> {
    AppUpdate::read(body.to_string().as_bytes(), form)
}

/// The app POSTed with these keys.
pub(crate) fn app(extra: Value) -> App {
    whole(body(extra))
}

/// The app POSTed with exactly this body.
pub(crate) fn whole(body: Value) -> App {
    let update = read(&body, Form::Full).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    update
        .into_app(id(), Timestamp::ZERO)
        .unwrap_or_else(|error| panic!("{body}: {error:?}"))
}

/// The app after a PUT with this body.
pub(crate) fn put(current: &App, body: Value) -> App {
    let update = read(&body, Form::Partial).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    update
        .apply(current)
        .unwrap_or_else(|error| panic!("{body}: {error:?}"))
}

/// The 422 faults of a PUT with this body, as `path: error; error`.
pub(crate) fn put_faults(current: &App, body: Value) -> Vec<String> {
    let update = read(&body, Form::Partial).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    update
        .apply(current)
        .map_or_else(|errors| lines(&errors.0), |_| Vec::new())
}

/// The 400 faults of a body.
pub(crate) fn reading_faults(body: &Value, form: Form) -> Vec<String> {
    match read(body, form) {
        Ok(_) => Vec::new(),
        Err(ReadError::Faults(faults)) => lines(&faults),
        Err(other) => panic!("{body}: {other:?}"),
    }
}

/// The 422 faults of a POST with exactly this body.
pub(crate) fn whole_faults(body: Value) -> Vec<String> {
    let update = read(&body, Form::Full).unwrap_or_else(|error| panic!("{body}: {error:?}"));
    let id = AppId::absolute(update.id.as_deref().unwrap());
    update
        .into_app(id, Timestamp::ZERO)
        .map_or_else(|errors| lines(&errors.0), |_| Vec::new())
}

/// The 422 faults of a POST with these keys.
pub(crate) fn rule_faults(extra: Value) -> Vec<String> {
    whole_faults(body(extra))
}

/// Checks POST bodies with one broken rule each.
#[track_caller]
pub(crate) fn check_broken(rows: &[(Value, &str)]) {
    for (extra, fault) in rows {
        assert_eq!(rule_faults(extra.clone()), [*fault], "{extra}");
    }
}

/// Checks POST bodies that keep the rules.
#[track_caller]
pub(crate) fn check_good(rows: &[Value]) {
    for extra in rows {
        assert_eq!(rule_faults(extra.clone()), Vec::<String>::new(), "{extra}");
    }
}

pub(crate) fn lines(faults: &[Fault]) -> Vec<String> {
    faults
        .iter()
        .map(|fault| format!("{}: {}", fault.path, fault.errors.join("; ")))
        .collect()
}

/// The printed app.
pub(crate) fn printed(app: &App) -> Value {
    serde_json::to_value(app).unwrap()
}

//! What is asked for, as JSON: the body of `POST /zdd/v1/plan`.
//!
//! ```text
//!   {"app": "/zdd/base", "update": {…}}      as PUT /v2/apps/zdd/base
//!   {"apps": [{"id": …}, …]}                 as PUT /v2/apps
//!   {"group": {"id": …, …}}                  as PUT /v2/groups
//!   … with "force": true and "assumptions": {…}, if wanted
//! ```

use serde_json::{Map, Value};
use zddcluster_model::AppId;
use zddcluster_model::app::{AppUpdate, Fault, Form, ReadError};
use zddcluster_model::group::GroupUpdate;

use super::assume::Assumptions;
use crate::input::{Command, Origin};

/// The keys there are.
const KEYS: [&str; 6] = ["app", "apps", "assumptions", "force", "group", "update"];

/// A wanted update, and what is assumed for it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is wanted.
    pub command: Command,
    /// What is assumed.
    pub assumptions: Assumptions,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// In Marathon's words, with a path for each fault.
    pub fn read(body: &[u8]) -> Result<Self, ReadError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            let text = "No content to map due to end-of-input".to_owned();
            return Err(ReadError::Empty(text));
        }
        let body: Value =
            serde_json::from_slice(body).map_err(|error| ReadError::Syntax(error.to_string()))?;
        let Some(body) = body.as_object() else {
            return Err(fault("", "error.expected.jsobject"));
        };
        if let Some(key) = body.keys().find(|key| !KEYS.contains(&key.as_str())) {
            let text = format!("is not known here; known are {}", KEYS.join(", "));
            return Err(fault(&format!("/{key}"), &text));
        }
        let assumptions = match given(body, "assumptions") {
            None => Assumptions::default(),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|error| fault("/assumptions", &error.to_string()))?,
        };
        assumptions
            .check()
            .map_err(|text| fault("/assumptions", &text))?;
        let force = match given(body, "force") {
            None => false,
            Some(Value::Bool(force)) => *force,
            Some(_) => return Err(fault("/force", "error.expected.jsboolean")),
        };
        let command = command(body, force)?;
        Ok(Self {
            command,
            assumptions,
        })
    }
}

fn command(body: &Map<String, Value>, force: bool) -> Result<Command, ReadError> {
    match (
        given(body, "app"),
        given(body, "apps"),
        given(body, "group"),
    ) {
        (Some(app), None, None) => of_app(app, given(body, "update"), force),
        (None, Some(apps), None) => of_apps(apps, force),
        (None, None, Some(group)) => Ok(Command::UpdateGroup {
            base: AppId::root(),
            update: GroupUpdate::read(group.to_string().as_bytes())?,
            force,
        }),
        _ => Err(fault(
            "",
            "give one of `app` (with `update`), `apps` and `group`",
        )),
    }
}

fn of_app(app: &Value, update: Option<&Value>, force: bool) -> Result<Command, ReadError> {
    let Some(id) = app.as_str() else {
        return Err(fault("/app", "error.expected.jsstring"));
    };
    let update = update.ok_or_else(|| fault("/update", "error.path.missing"))?;
    Ok(Command::UpdateApp {
        app_id: AppId::absolute(id),
        update: AppUpdate::from_value(update, Form::Partial, "/update")?,
        is_full: false,
        force,
        origin: Origin {
            client_ip: String::new(),
            uri: String::new(),
        },
    })
}

fn of_apps(apps: &Value, force: bool) -> Result<Command, ReadError> {
    let Some(apps) = apps.as_array() else {
        return Err(fault("/apps", "error.expected.jsarray"));
    };
    let updates = apps.iter().enumerate().map(|(idx, app)| {
        let path = format!("/apps({idx})");
        let update = AppUpdate::from_value(app, Form::Partial, &path)?;
        match update.id {
            Some(_) => Ok(update),
            None => Err(fault(&format!("{path}/id"), "error.path.missing")),
        }
    });
    let updates = updates.collect::<Result<_, _>>()?;
    Ok(Command::UpdateApps { updates, force })
}

/// A key's value; null is absent.
fn given<'a>(body: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    body.get(key).filter(|value| !value.is_null())
}

fn fault(path: &str, text: &str) -> ReadError {
    ReadError::Faults(vec![Fault {
        path: path.to_owned(),
        errors: vec![text.to_owned()],
    }])
}

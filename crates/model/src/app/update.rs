//! What users send: a whole or partial definition, read with Marathon's faults, merged, defaulted and validated.

use super::App;
use crate::id::AppId;
use crate::time::Timestamp;

/// Which reading rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A whole definition (POST): what is missing gets its default, `id` is required.
    Full,
    /// A partial one (PUT): what is missing keeps its value.
    Partial,
}

/// One place in a body and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// `/container/docker/image`.
    pub path: String,
    /// Codes or sentences.
    pub errors: Vec<String>,
}

/// A body that cannot be read: answered with 400 `Invalid JSON`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Nothing was sent.
    #[error("Please specify data in JSON format")]
    Empty(String),
    /// Not JSON; the parser's text.
    #[error("Invalid JSON")]
    Syntax(String),
    /// JSON of the wrong shape.
    #[error("Invalid JSON")]
    Faults(Vec<Fault>),
}

/// A definition that can be read but breaks rules: answered with 422 `Object is not valid`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Object is not valid")]
pub struct RuleErrors(pub Vec<Fault>);

/// A partial app definition.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct AppUpdate {
    /// The id in the body, as written.
    pub id: Option<String>,
    /// A stored version to go back to.
    pub version: Option<Timestamp>,
}

impl AppUpdate {
    /// Reads one definition from a request body.
    pub fn read(body: &[u8], form: Form) -> Result<Self, ReadError> {
        let _ = (body, form);
        Err(ReadError::Empty(String::new()))
    }

    /// Reads a list of partial definitions (`PUT /v2/apps`).
    pub fn read_list(body: &[u8]) -> Result<Vec<Self>, ReadError> {
        let _ = body;
        Err(ReadError::Empty(String::new()))
    }

    /// The whole definition this is (POST, or PUT of a missing app): defaults filled in, validated.
    ///
    /// The app gets `id`, `version` and no `versionInfo`.
    pub fn into_app(self, id: AppId, version: Timestamp) -> Result<App, RuleErrors> {
        let _ = (id, version);
        Err(RuleErrors(Vec::new()))
    }

    /// `current` with the present keys replaced, validated; equal to `current` if nothing changed.
    ///
    /// `version` and `versionInfo` stay as they are: the engine decides on them.
    pub fn apply(self, current: &App) -> Result<App, RuleErrors> {
        let _ = current;
        Err(RuleErrors(Vec::new()))
    }
}

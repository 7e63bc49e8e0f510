//! What users send: a whole or partial definition, read with Marathon's faults.
//!
//! The way of a body: [`AppUpdate::read`] (400) gives the present keys; [`AppUpdate::into_app`] or [`AppUpdate::apply`]
//! fills in defaults or keeps current values and checks the rules (422). Source: contract marathon §1.1, §2.3.

use serde_json::Value;

use super::merge::{default_app, fill_defaults, overlay, resident_faults};
use super::read::{Faults, Object, Parts, is_archive, merge, read_parts};
use super::rules::rule_faults;
use super::{App, Fetch};
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

/// A body that cannot be read: answered with 400 `Invalid JSON`, but for [`ReadError::Argument`].
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
    /// An illegal argument: answered with 422 and this text as `message`, without details.
    #[error("{0}")]
    Argument(String),
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
    /// A stored version to go back to; only with a [`Form::Partial`] body that has no key but it and `id`.
    pub version: Option<Timestamp>,
    /// The other keys that were present.
    parts: Box<Parts>,
    /// Rules that reading saw broken already (a negative count).
    broken: Vec<Fault>,
}

impl AppUpdate {
    /// Reads one definition from a request body.
    ///
    /// All reading faults of the body are reported together; rules wait for [`Self::into_app`] and [`Self::apply`].
    pub fn read(body: &[u8], form: Form) -> Result<Self, ReadError> {
        Self::from_value(&parse(body)?, form, "")
    }

    /// Reads a list of partial definitions (`PUT /v2/apps`).
    pub fn read_list(body: &[u8]) -> Result<Vec<Self>, ReadError> {
        let value = parse(body)?;
        let Some(items) = value.as_array() else {
            let errors = vec!["error.expected.jsarray".to_owned()];
            return Err(ReadError::Faults(vec![Fault {
                path: String::new(),
                errors,
            }]));
        };
        let mut updates = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (idx, item) in items.iter().enumerate() {
            match Self::from_value(item, Form::Partial, &format!("({idx})")) {
                Ok(update) => updates.push(update),
                Err(ReadError::Faults(more)) => faults.extend(more),
                Err(other) => return Err(other),
            }
        }
        if faults.is_empty() {
            Ok(updates)
        } else {
            Err(ReadError::Faults(faults))
        }
    }

    /// Reads one definition from parsed JSON that stands at `path` (`""`, `(0)`, `/apps(0)`) of a body.
    pub fn from_value(value: &Value, form: Form, path: &str) -> Result<Self, ReadError> {
        let mut faults = Faults::default();
        let Some(object) = Object::new(value, path, &mut faults) else {
            return Err(ReadError::Faults(merge(faults.reading)));
        };
        let id = read_id(object, form, &mut faults);
        let version = object.string("version", &mut faults);
        let parts = Box::new(read_parts(object, form, &mut faults));
        if !faults.reading.is_empty() {
            return Err(ReadError::Faults(merge(faults.reading)));
        }
        let version = match version.map(|text| text.parse::<Timestamp>()) {
            Some(Ok(version)) => Some(version),
            Some(Err(invalid)) => return Err(ReadError::Argument(invalid.to_string())),
            None => None,
        };
        // A POST carries the version of what it was copied from, if any; it means nothing there.
        let version = version.filter(|_| form == Form::Partial);
        let update = Self {
            id,
            version,
            parts,
            broken: faults.rules,
        };
        if update.version.is_some() && update.has_other_keys() {
            let text = "The 'version' field may only be combined with the 'id' field.";
            return Err(ReadError::Argument(text.to_owned()));
        }
        Ok(update)
    }

    /// The URLs whose files are to be copied into the artifact store (`storeUrls`), in their order.
    pub fn store_urls(&self) -> &[String] {
        self.parts.store_urls.as_deref().unwrap_or_default()
    }

    /// Forgets `storeUrls` and adds `uris`, where their files are in the artifact store, to `fetch`; one that is there already
    /// is not added again.
    pub fn resolve_store_urls(&mut self, uris: impl IntoIterator<Item = String>) {
        self.parts.store_urls = Some(Vec::new());
        self.parts.stored = uris
            .into_iter()
            .map(|uri| Fetch {
                extract: is_archive(&uri),
                uri,
                executable: false,
                cache: false,
                output_file: None,
            })
            .collect();
    }

    /// The stored version the app is to go back to, if that is what the body asks for.
    pub fn only_version(&self) -> Option<Timestamp> {
        self.version.filter(|_| !self.has_other_keys())
    }

    /// True if the body had a known key besides `id` and `version`.
    pub fn has_other_keys(&self) -> bool {
        *self.parts != Parts::default() || !self.broken.is_empty()
    }

    /// The whole definition this is (POST, or PUT of a missing app): defaults filled in, validated.
    ///
    /// The app gets `id`, `version` and no `versionInfo`. Relative dependencies are resolved against `id`.
    pub fn into_app(self, id: AppId, version: Timestamp) -> Result<App, RuleErrors> {
        let base = id.clone();
        self.into_app_in(id, &base, version)
    }

    /// As [`Self::into_app`], with relative dependencies resolved against `base`: the group, in a group's body.
    pub fn into_app_in(
        self,
        id: AppId,
        base: &AppId,
        version: Timestamp,
    ) -> Result<App, RuleErrors> {
        let Self {
            id: _,
            version: _,
            parts,
            broken,
        } = self;
        let mut faults = broken;
        let lacks_residency = parts.residency.is_none();
        let lacks_strategy = parts.upgrade_strategy.is_none();
        let mut app = overlay(default_app(id, version), *parts, base, &mut faults);
        fill_defaults(&mut app, lacks_residency, lacks_strategy);
        checked(app, faults)
    }

    /// `current` with the present keys replaced, validated; equal to `current` if nothing changed.
    ///
    /// `version` and `versionInfo` stay as they are: the engine decides on them. Port number 0 stays 0: the engine
    /// assigns, reusing the app's own numbers.
    pub fn apply(self, current: &App) -> Result<App, RuleErrors> {
        let Self {
            id: _,
            version: _,
            parts,
            broken,
        } = self;
        let mut faults = broken;
        let app = overlay(current.clone(), *parts, &current.id, &mut faults);
        faults.extend(resident_faults(current, &app));
        checked(app, faults)
    }
}

/// Checks every rule that concerns one app alone (contract marathon §1.2 to §1.10).
pub fn validate(app: &App) -> Result<(), RuleErrors> {
    let faults = rule_faults(app);
    if faults.is_empty() {
        Ok(())
    } else {
        Err(RuleErrors(merge(faults)))
    }
}

/// Checks every rule that concerns one app alone, and what an app with this one's tasks may not change.
pub fn validate_change(current: &App, app: &App) -> Result<(), RuleErrors> {
    let mut faults = rule_faults(app);
    faults.extend(resident_faults(current, app));
    if faults.is_empty() {
        Ok(())
    } else {
        Err(RuleErrors(merge(faults)))
    }
}

fn checked(app: App, mut faults: Vec<Fault>) -> Result<App, RuleErrors> {
    faults.extend(rule_faults(&app));
    if faults.is_empty() {
        Ok(app)
    } else {
        Err(RuleErrors(merge(faults)))
    }
}

/// The body as JSON. Nesting deeper than `serde_json`'s limit (128) and invalid UTF-8 are syntax errors.
pub(crate) fn parse(body: &[u8]) -> Result<Value, ReadError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ReadError::Empty(
            "No content to map due to end-of-input".to_owned(),
        ));
    }
    serde_json::from_slice(body).map_err(|error| ReadError::Syntax(error.to_string()))
}

fn read_id(object: Object<'_>, form: Form, faults: &mut Faults) -> Option<String> {
    let id = match form {
        Form::Full => object.required_string("id", faults)?,
        Form::Partial => object.string("id", faults)?,
    };
    if id.is_empty() {
        faults.read(object.at("id"), "error.minLength");
    } else if AppId::absolute(&id).is_root() {
        // Marathon answers the root path with an empty list of errors.
        faults.reading.push(Fault {
            path: object.at("id"),
            errors: Vec::new(),
        });
    }
    Some(id)
}

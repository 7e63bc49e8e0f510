//! Checking a package's options against its schema and filling in the defaults.
//!
//! The part of JSON schema that packages use: `properties`, `required`, `additionalProperties: false`, `type`, `default`,
//! `minimum`. Every fault is found, not only the first, and each says where it is and what could stand there instead.
//!
//! Source: contract dcos-cli §5, `JsonSchemaMismatch`; JSON schema draft 4.

use std::fmt;

use serde_json::{Map, Value, json};

/// What is wrong at one place of the options.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionFault {
    /// The names from the outermost object to the place; empty for the options as a whole.
    pub path: Vec<String>,
    /// What is wrong.
    pub kind: FaultKind,
}

/// In which way a value breaks its schema.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// Properties that nobody would read.
    Unwanted {
        /// Their names.
        unwanted: Vec<String>,
        /// The names that could have been meant.
        known: Vec<String>,
    },
    /// Properties that must be there and have no default.
    Missing(Vec<String>),
    /// A value of another type.
    Type {
        /// The schema's name of the type.
        expected: String,
        /// The value.
        got: Value,
    },
    /// A number below the minimum.
    TooSmall {
        /// The least value.
        minimum: Value,
        /// The value.
        got: Value,
    },
}

/// The options with every default filled in; options without default stay absent.
pub(super) fn settle(schema: &Value, options: &Value) -> Result<Value, Vec<OptionFault>> {
    let nothing = json!({});
    let options = if options.is_null() { &nothing } else { options };
    let mut faults = Vec::new();
    let settled = settle_at(schema, options, &[], &mut faults);
    if faults.is_empty() {
        Ok(settled)
    } else {
        Err(faults)
    }
}

fn settle_at(
    schema: &Value,
    given: &Value,
    path: &[String],
    faults: &mut Vec<OptionFault>,
) -> Value {
    let mut fault = |kind| {
        let path = path.to_vec();
        faults.push(OptionFault { path, kind });
    };
    if let Some(kind) = fault_of(schema, given) {
        fault(kind);
        return Value::Null;
    }
    let (Some(properties), Some(given)) = (schema["properties"].as_object(), given.as_object())
    else {
        return given.clone();
    };
    let is_unknown = |key: &&String| !properties.contains_key(*key);
    let unwanted: Vec<String> = given.keys().filter(is_unknown).cloned().collect();
    if !unwanted.is_empty() && schema["additionalProperties"] == false {
        let known = properties.keys().cloned().collect();
        fault(FaultKind::Unwanted { unwanted, known });
    }
    let required = schema["required"].as_array().into_iter().flatten();
    let has_default = |schema: &Value| schema.get("default").is_some() || is_object(schema);
    let has_value =
        |key: &&str| given.contains_key(*key) || properties.get(*key).is_some_and(has_default);
    let missing = required
        .filter_map(Value::as_str)
        .filter(|key| !has_value(key));
    let missing: Vec<String> = missing.map(str::to_owned).collect();
    if !missing.is_empty() {
        fault(FaultKind::Missing(missing));
    }
    let nothing = json!({});
    let mut settled = Map::new();
    for (key, schema) in properties {
        // An object is there, if only for the defaults of its properties.
        let default = is_object(schema).then_some(&nothing);
        let Some(value) = given.get(key).or_else(|| schema.get("default")).or(default) else {
            continue;
        };
        let path = [path, std::slice::from_ref(key)].concat();
        settled.insert(key.clone(), settle_at(schema, value, &path, faults));
    }
    Value::Object(settled)
}

fn is_object(schema: &Value) -> bool {
    schema["properties"].is_object()
}

fn fault_of(schema: &Value, value: &Value) -> Option<FaultKind> {
    let is_right = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        _ => true,
    };
    let expected = || schema["type"].as_str().unwrap_or_default().to_owned();
    let got = || value.clone();
    if !is_right {
        return Some(FaultKind::Type {
            expected: expected(),
            got: got(),
        });
    }
    match (schema["minimum"].as_f64(), value.as_f64()) {
        (Some(minimum), Some(number)) if number < minimum => Some(FaultKind::TooSmall {
            minimum: schema["minimum"].clone(),
            got: got(),
        }),
        _ => None,
    }
}

/// A value's type as a schema calls it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl OptionFault {
    /// The fault as an entry of Cosmos' `data.errors`, with the keys that clients read.
    ///
    /// A minimum stands in `expected` too: older clients know no other key for it.
    pub fn report(&self) -> Value {
        let mut report = json!({
            "level": "error",
            "domain": "validation",
            "keyword": self.keyword(),
            "instance": {"pointer": self.pointer("/")},
            "schema": {"loadingURI": "#", "pointer": self.pointer("/properties/")},
            "message": self.to_string(),
        });
        match &self.kind {
            FaultKind::Unwanted { unwanted, known: _ } => report["unwanted"] = json!(unwanted),
            FaultKind::Missing(missing) => report["missing"] = json!(missing),
            FaultKind::Type { expected, got } => {
                report["found"] = json!(type_of(got));
                report["expected"] = match expected.as_str() {
                    "number" => json!(["integer", "number"]),
                    other => json!([other]),
                };
            }
            FaultKind::TooSmall { minimum, got } => {
                report["found"] = got.clone();
                report["minimum"] = minimum.clone();
                report["expected"] = json!([format!("{minimum} or more")]);
            }
        }
        report
    }

    fn keyword(&self) -> &'static str {
        match self.kind {
            FaultKind::Unwanted { .. } => "additionalProperties",
            FaultKind::Missing(_) => "required",
            FaultKind::Type { .. } => "type",
            FaultKind::TooSmall { .. } => "minimum",
        }
    }

    /// The path as a JSON pointer, with `before` in front of each name.
    fn pointer(&self, before: &str) -> String {
        let names = self.path.iter().map(|name| name.replace('~', "~0"));
        names.fold(String::new(), |pointer, name| {
            pointer + before + &name.replace('/', "~1")
        })
    }

    /// `marathon-lb.cpus`.
    fn name(&self) -> String {
        match self.path.as_slice() {
            [] => "options".to_owned(),
            path => path.join("."),
        }
    }

    fn named_below(&self, keys: &[String]) -> String {
        let named = keys.iter().map(|key| {
            let path = self.path.iter().chain([key]);
            path.map(String::as_str).collect::<Vec<_>>().join(".")
        });
        named.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for OptionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match &self.kind {
            FaultKind::Unwanted { unwanted, known } => {
                let s = if unwanted.len() == 1 { "" } else { "s" };
                let (unwanted, known) = (self.named_below(unwanted), self.named_below(known));
                write!(f, "unknown option{s} '{unwanted}'; known are: {known}")
            }
            FaultKind::Missing(missing) => {
                write!(f, "option '{}' is missing", self.named_below(missing))
            }
            FaultKind::Type { expected, got } => {
                let expected = match expected.as_str() {
                    "object" => "an object",
                    "string" => "text",
                    "boolean" => "true or false",
                    "integer" => "a whole number",
                    "number" => "a number",
                    other => other,
                };
                write!(f, "option '{name}' must be {expected}, got {got}")
            }
            FaultKind::TooSmall { minimum, got } => {
                write!(f, "option '{name}' must be {minimum} or more, got {got}")
            }
        }
    }
}

//! The fields of a request: a JSON object, each field of one type. What is not known is skipped, as newer clients send more.

use serde_json::{Map, Value};

use super::error::CosmosError;

/// The object that a request brings.
#[derive(Debug)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn read(body: &[u8]) -> Result<Self, CosmosError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(CosmosError::NotPresent);
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(other) => {
                let message = format!(
                    "The request body must be a JSON object, got {}",
                    shown(&other)
                );
                Err(CosmosError::NotParsed(message))
            }
            Err(error) => {
                let message = format!("The request body is not JSON: {error}");
                Err(CosmosError::NotParsed(message))
            }
        }
    }

    /// A field, unless it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A text that may be absent.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, CosmosError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let text = value.as_str().map(Some);
        text.ok_or_else(|| wrong(key, "text", value))
    }

    /// A text that must be there.
    pub(super) fn required(&self, key: &str) -> Result<&str, CosmosError> {
        self.text(key)?
            .ok_or_else(|| CosmosError::NotParsed(format!("The field '{key}' is missing")))
    }

    /// True or false; false if absent.
    pub(super) fn flag(&self, key: &str) -> Result<bool, CosmosError> {
        let Some(value) = self.get(key) else {
            return Ok(false);
        };
        let flag = value.as_bool();
        flag.ok_or_else(|| wrong(key, "true or false", value))
    }

    /// A whole number that may be absent.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>, CosmosError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value.as_u64().map(Some);
        number.ok_or_else(|| wrong(key, "a whole number", value))
    }
}

fn wrong(key: &str, expected: &str, value: &Value) -> CosmosError {
    let value = shown(value);
    CosmosError::NotParsed(format!("The field '{key}' must be {expected}, got {value}"))
}

/// A value as an error shows it: the whole may be as large as the body.
fn shown(value: &Value) -> String {
    /// Characters; enough to find the place.
    const MOST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

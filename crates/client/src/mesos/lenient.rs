//! Reading JSON that may be wrong in places: a part of the wrong shape counts as absent, and is logged.

use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

/// Reads a field; `null` or a value of the wrong shape gives the default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    if value.is_null() {
        return Ok(T::default());
    }
    Ok(item(value).unwrap_or_default())
}

/// Reads a list; items of the wrong shape are left out, and what is no list is empty.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    match Value::deserialize(deserializer)? {
        Value::Array(items) => Ok(items.into_iter().filter_map(item).collect()),
        Value::Null => Ok(Vec::new()),
        other => {
            skipped::<Vec<T>>("not a list", &other);
            Ok(Vec::new())
        }
    }
}

fn item<T: DeserializeOwned>(value: Value) -> Option<T> {
    match T::deserialize(&value) {
        Ok(item) => Some(item),
        Err(error) => {
            skipped::<T>(&error.to_string(), &value);
            None
        }
    }
}

/// The most of a faulty item that is logged, in bytes: enough to find it in the document.
const SHOWN: usize = 200;

fn skipped<T>(reason: &str, value: &Value) {
    let mut json = value.to_string();
    if json.len() > SHOWN {
        let end = (0..=SHOWN)
            .rev()
            .find(|&at| json.is_char_boundary(at))
            .unwrap_or(0);
        json.truncate(end);
    }
    tracing::warn!(
        kind = std::any::type_name::<T>(),
        reason,
        json,
        "skipping a faulty part of the master's state"
    );
}

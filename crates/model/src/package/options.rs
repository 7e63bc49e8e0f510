//! Checking a package's options against its schema and filling in the defaults.
//!
//! The part of JSON schema that packages use: objects with `properties`, `type`, `default`, `minimum`.

use serde_json::{Map, Value, json};

use super::PackageError;

/// The options with every default filled in; options without default stay absent.
pub(super) fn settle(schema: &Value, options: &Value) -> Result<Value, PackageError> {
    settle_at(schema, options, "")
}

fn settle_at(schema: &Value, given: &Value, path: &str) -> Result<Value, PackageError> {
    let Some(properties) = schema["properties"].as_object() else {
        check_value(schema, given, path)?;
        return Ok(given.clone());
    };
    let none = Map::new();
    let given = match given {
        Value::Null => &none,
        Value::Object(given) => given,
        other => return Err(wrong_type(path, "an object", other)),
    };
    let at = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    if let Some(unknown) = given.keys().find(|key| !properties.contains_key(*key)) {
        let known = properties.keys().map(|key| at(key)).collect();
        return Err(PackageError::UnknownOption {
            option: at(unknown),
            known,
        });
    }
    let mut settled = Map::new();
    for (key, schema) in properties {
        let value = given.get(key).filter(|value| !value.is_null());
        if schema["properties"].is_object() {
            let inner = settle_at(schema, value.unwrap_or(&Value::Null), &at(key))?;
            settled.insert(key.clone(), inner);
        } else if let Some(value) = value {
            settled.insert(key.clone(), settle_at(schema, value, &at(key))?);
        } else if let Some(default) = schema.get("default") {
            settled.insert(key.clone(), default.clone());
        }
    }
    Ok(json!(settled))
}

fn check_value(schema: &Value, value: &Value, path: &str) -> Result<(), PackageError> {
    let (is_right, expected) = match schema["type"].as_str() {
        Some("string") => (value.is_string(), "text"),
        Some("boolean") => (value.is_boolean(), "true or false"),
        Some("integer") => (value.is_i64() || value.is_u64(), "a whole number"),
        Some("number") => (value.is_number(), "a number"),
        _ => (true, "anything"),
    };
    if !is_right {
        return Err(wrong_type(path, expected, value));
    }
    if let (Some(minimum), Some(number)) = (schema["minimum"].as_f64(), value.as_f64())
        && number < minimum
    {
        return Err(PackageError::TooSmall {
            option: path.to_owned(),
            minimum: schema["minimum"].to_string(),
            got: value.to_string(),
        });
    }
    Ok(())
}

fn wrong_type(path: &str, expected: &'static str, got: &Value) -> PackageError {
    let option = if path.is_empty() {
        "options".to_owned()
    } else {
        path.to_owned()
    };
    PackageError::WrongType {
        option,
        expected,
        got: got.to_string(),
    }
}

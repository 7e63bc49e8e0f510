//! `key=value` on the command line, typed as the original types it.
//!
//! Tried in this order: whole number, number, true or false, null, JSON array or object, else text. One pair of quotes
//! around the value is taken off first, so `"3"` is the number 3. From 0.4.16 on the original turns texts and objects into
//! `https://…`; that is a fault nobody relies on, so ours is the typing of 0.4.14.
//!
//! Source: dcos 0.4.14 `jsonitem.py`; contract dcos-cli §7.

use serde_json::{Map, Number, Value};

use crate::failure::Failure;
use crate::text::quoted;

/// The object that a list of `key=value` describes.
pub(crate) fn object(properties: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut object = Map::new();
    for property in properties {
        let Some((key, text)) = property.split_once('=') else {
            return Err(Failure::with_hint(
                format!("{} is not a valid json-item", quoted(property)),
                "write it as KEY=VALUE, for instance instances=5",
            ));
        };
        if object.insert(key.to_owned(), value(text)).is_some() {
            let message = format!("Key {} was specified more than once", quoted(key));
            return Err(Failure::stated(message));
        }
    }
    Ok(object)
}

fn value(text: &str) -> Value {
    let text = unquoted(text);
    if text == "null" {
        return Value::Null;
    }
    if let Some(number) = number(text) {
        return Value::Number(number);
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    match serde_json::from_str(text) {
        Ok(value @ (Value::Array(_) | Value::Object(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// A number as Python reads it: blanks around it and a leading `+` are fine. What JSON cannot hold stays a text.
fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let is_numeric = text.contains(|c: char| c.is_ascii_digit());
    let number = text.parse::<f64>().ok().filter(|_| is_numeric)?;
    Number::from_f64(number)
}

/// The text without one pair of equal quotes around it.
fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = text
            .strip_prefix(quote)
            .and_then(|text| text.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_get_the_type_they_look_like() {
        for (text, expected) in [
            ("5", json!(5)),
            ("-1", json!(-1)),
            ("+7", json!(7)),
            ("0.1", json!(0.1)),
            ("2.0", json!(2.0)),
            ("1e3", json!(1000.0)),
            ("\"3\"", json!(3)),
            ("'3'", json!(3)),
            ("true", json!(true)),
            ("False", json!(false)),
            ("null", json!(null)),
            ("[1, \"a\"]", json!([1, "a"])),
            ("{\"A\": \"b\"}", json!({"A": "b"})),
            ("sleep 100", json!("sleep 100")),
            ("a=b", json!("a=b")),
            ("", json!("")),
            ("\"", json!("\"")),
            ("nan", json!("nan")),
            ("infinity", json!("infinity")),
            ("[1", json!("[1")),
            ("99999999999999999999", json!(1e20)),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        let check = |items: &[&str]| {
            let items: Vec<String> = items.iter().map(|&item| item.to_owned()).collect();
            object(&items)
                .map(Value::Object)
                .map_err(|failure| failure.to_string())
        };
        assert_eq!(
            check(&["instances=5", "mem=64"]),
            Ok(json!({"instances": 5, "mem": 64}))
        );
        assert_eq!(
            check(&["instances"]),
            Err("'instances' is not a valid json-item".into())
        );
        assert_eq!(
            check(&["a=1", "a=2"]),
            Err("Key 'a' was specified more than once".into())
        );
    }
}

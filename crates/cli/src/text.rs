//! Texts as Python prints them, and texts of others made safe for a terminal.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// A document as `json.dumps(value, sort_keys=True, indent=2)` writes it: ASCII only, numbers as received.
pub(crate) fn sorted_json(value: &Value) -> String {
    let pretty = format!("{:#}", sorted(value));
    let mut ascii = String::with_capacity(pretty.len());
    for character in pretty.chars() {
        // DEL is ASCII, but not for a terminal; serde_json has escaped the other controls.
        if character.is_ascii() && character != '\u{7f}' {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// The same document with the keys of every object in order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key.clone(), sorted(value)));
            Value::Object(Map::from_iter(entries))
        }
        scalar => scalar.clone(),
    }
}

/// A value as Python's `str` prints it, which the original does where it forgot to format.
pub(crate) fn python(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => python_repr(other),
    }
}

/// A value as Python's `repr` prints it: `['a', True, None]`.
pub(crate) fn python_repr(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(python_repr).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entries = entries.iter();
            let entries: Vec<_> = entries
                .map(|(key, value)| format!("{}: {}", quoted(key), python_repr(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// A text in Python's quotes.
pub(crate) fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut quoted = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c == quote => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push(quote);
    quoted
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}

/// A text of others with what could steer a terminal shown as `\u{1b}`; line ends and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    if !text.contains(is_steering) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_steering(character) {
            let _ = write!(safe, "{}", character.escape_unicode());
        } else {
            safe.push(character);
        }
    }
    safe
}

fn is_steering(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

/// At most `width` characters of `text`, whole words and `...` behind them if some are left out, and all white space
/// single blanks: Python's `textwrap.shorten`.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    const ELLIPSIS: &str = "...";
    let words: Vec<&str> = text.split_whitespace().collect();
    let whole = words.join(" ");
    if whole.chars().count() <= width {
        return whole;
    }
    let mut kept = String::new();
    for word in words {
        let blank = usize::from(!kept.is_empty());
        if kept.chars().count() + blank + word.chars().count() + ELLIPSIS.len() > width {
            break;
        }
        if blank == 1 {
            kept.push(' ');
        }
        kept.push_str(word);
    }
    kept.push_str(ELLIPSIS);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_is_sorted_and_ascii() {
        let value = json!({"b": [], "a": {"z": 0.1, "y": 32.0, "x": 32}, "c": "ü\u{1b}\u{7f}𝄞"});
        assert_eq!(
            sorted_json(&value),
            "{\n  \"a\": {\n    \"x\": 32,\n    \"y\": 32.0,\n    \"z\": 0.1\n  },\n  \"b\": [],\n  \
             \"c\": \"\\u00fc\\u001b\\u007f\\ud834\\udd1e\"\n}"
        );
    }

    #[test]
    fn python_values() {
        let value = json!([{"id": "it's", "alive": true, "cause": null}, 1.5]);
        assert_eq!(
            python_repr(&value),
            r#"[{'id': "it's", 'alive': True, 'cause': None}, 1.5]"#
        );
    }

    #[test]
    fn terminals_are_not_steered() {
        assert_eq!(
            printable("a\u{1b}[31mb\n\u{9b}c"),
            "a\\u{1b}[31mb\n\\u{9b}c"
        );
    }

    #[test]
    fn long_texts_are_shortened_at_words() {
        assert_eq!(shortened("sleep  100", 35), "sleep 100");
        assert_eq!(
            shortened("while true; do echo hello world; sleep 10; done", 35),
            "while true; do echo hello world;..."
        );
        assert_eq!(shortened(&"x".repeat(40), 35), "...");
    }
}

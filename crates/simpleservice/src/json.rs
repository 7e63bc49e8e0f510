//! JSON as Python's `json.dumps` spaces and escapes it, and Tornado's `json_encode` after it: `{"a": 1, "b": [2, 3]}`,
//! all but ASCII as `\uXXXX`, and `</` as `<\/`.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Renders a value whose serialisation cannot fail (string keys only).
pub(crate) fn dumps(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, Python);
    value
        .serialize(&mut serializer)
        .expect("our values have string keys and memory does not fail");
    String::from_utf8(bytes)
        .expect("only ASCII was written")
        .replace("</", "<\\/")
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            // DEL is ASCII, and Python leaves it alone.
            if character.is_ascii() {
                out.write_all(&[character as u8])?;
            } else {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spaces_and_escapes_as_python_does() {
        let value = json!({"a": [1, 2], "b": {}, "c": "é𝄞\"\n", "d": "</script>", "e": true});
        let expected = r#"{"a": [1, 2], "b": {}, "c": "\u00e9\ud834\udd1e\"\n", "d": "<\/script>", "e": true}"#;
        assert_eq!(dumps(&value), expected);
    }
}

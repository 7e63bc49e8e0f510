//! Words of HAProxy's configuration, whatever is in labels.

use crate::labels::Mode;

/// HAProxy's name.
pub(super) fn of(mode: Mode) -> &'static str {
    match mode {
        Mode::Http => "http",
        Mode::Tcp => "tcp",
    }
}

/// A text that does not end its line.
pub(super) fn line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// One word, in which nothing has a meaning.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", line(text).replace('\'', "'\\''"))
}

/// One word where HAProxy would put samples for `%`.
pub(super) fn format(text: &str) -> String {
    quoted(&text.replace('%', "%%"))
}

/// A piece of a regular expression that matches this text, in capitals or not.
pub(super) fn in_any_case(text: &str) -> String {
    let piece = |c: char| match c {
        'a'..='z' | 'A'..='Z' => format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase()),
        c => exactly(c),
    };
    text.chars().map(piece).collect()
}

/// A piece of a regular expression that matches this text and no other.
pub(super) fn literally(text: &str) -> String {
    text.chars().map(exactly).collect()
}

fn exactly(c: char) -> String {
    match c {
        c if c.is_ascii_punctuation() => format!("\\{c}"),
        c => c.to_string(),
    }
}

/// A text that stands where pieces of a match are put in.
pub(super) fn replacement(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "%%")
}

//! How a command line is written into a task's log.

/// One word of a line, with quotes where a reader needs them and without ends of line.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"'\"\\$`".contains(&b));
    if is_plain {
        text.to_owned()
    } else {
        format!("{text:?}")
    }
}

//! What Marathon's `java.net.URI` takes for a URI: RFC 2396, with any non-ASCII character allowed.

/// True if the text can be a URI reference: `http://x/y`, `/local/file`, `file:///a`, `name`.
pub(super) fn is_valid(text: &str) -> bool {
    has_legal_characters(text) && has_legal_scheme(text)
}

fn has_legal_characters(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_legal = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => false,
            0..=b' ' | 0x7f => false,
            _ => true,
        };
        if !is_legal {
            return false;
        }
    }
    // A fragment may follow once.
    text.matches('#').count() <= 1
}

/// What stands before the first colon, if that comes before any slash, is a scheme and something must follow it.
fn has_legal_scheme(text: &str) -> bool {
    let Some(at) = text.find([':', '/', '?', '#']) else {
        return true;
    };
    if !text[at..].starts_with(':') {
        return true;
    }
    let (scheme, rest) = (&text[..at], &text[at + 1..]);
    let has_legal_form = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let specific = rest.split('#').next().unwrap_or_default();
    has_legal_form && !specific.is_empty() && specific != "//"
}

#[cfg(test)]
mod tests {
    use super::is_valid;

    #[test]
    fn uris_as_java_reads_them() {
        for good in [
            "http://x.y/z.tgz",
            "file:///a",
            "/a/b",
            "name",
            "",
            "hdfs://h:1/a%20b?x=1#f",
        ] {
            assert!(is_valid(good), "{good}");
        }
        for bad in [
            "a b",
            "d\\:\\some",
            "http:",
            "http://",
            ":x",
            "1a:b",
            "%zz",
            "a%2",
            "a#b#c",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}

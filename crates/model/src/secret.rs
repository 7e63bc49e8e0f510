//! What may be told of texts that hold a secret.

use url::Url;

/// A URL as messages, logs and answers may show it: `https://me:***@host/x`. A text that is none, or has no password, as it is.
///
/// Who reads what a cluster waits for need not be the one who may fetch it.
pub fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => {
            // It can be set where there is one.
            let _ = parsed.set_password(Some("***"));
            parsed.into()
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_passwords_are_hidden() {
        for (url, shown) in [
            (
                "http://me:s@cret@files/x?y=a:b@c",
                "http://me:***@files/x?y=a:b@c",
            ),
            // As browsers and our own clients read it.
            ("http:\\\\me:secret@files\\x", "http://me:***@files/x"),
            ("ftp://me:secret@files/x", "ftp://me:***@files/x"),
            ("http://me@files:80/x", "http://me@files:80/x"),
            ("https://files/x#a:b@c", "https://files/x#a:b@c"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}

//! Cosmos' media types: how they are written, and which one a caller would rather have.
//!
//! `application/vnd.dcos.package.describe-response+json;charset=utf-8;version=v2`: clients look for exactly these letters in
//! the answer's header, without a space. What they send is read as HTTP has it, in any case and with spaces.

use std::fmt;

use http::HeaderValue;

/// Which shape an answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
    V3,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

/// A media type of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MediaType {
    /// `application/vnd.dcos.package.error+json`.
    essence: String,
    version: Version,
}

impl MediaType {
    /// Of something that has to do with packages: `describe-request`, `error`.
    pub(super) fn package(name: &str, version: Version) -> Self {
        let essence = format!("application/vnd.dcos.package.{name}+json");
        Self { essence, version }
    }

    pub(super) fn capabilities() -> Self {
        Self {
            essence: "application/vnd.dcos.capabilities+json".to_owned(),
            version: Version::V1,
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// For `Content-Type`.
    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("verbs and versions are ASCII words")
    }

    /// Whether a `Content-Type` says that the body is of this type.
    pub(super) fn is_meant_by(&self, content_type: &str) -> bool {
        let named = Range::parse(content_type);
        named.essence == self.essence
            && named.version.as_deref() == Some(self.version.name())
            && named.is_utf8
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { essence, version } = self;
        write!(f, "{essence};charset=utf-8;version={}", version.name())
    }
}

/// One entry of an `Accept` header, in lower case.
#[derive(Debug)]
struct Range {
    essence: String,
    version: Option<String>,
    is_utf8: bool,
    /// In thousandths, so that it can be compared.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self {
            essence: parts.next().unwrap_or_default().to_owned(),
            version: None,
            is_utf8: true,
            quality: 1000,
        };
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim().trim_matches('"');
            match key.trim() {
                "version" => range.version = Some(value.to_owned()),
                "charset" => range.is_utf8 = value == "utf-8",
                "q" => {
                    let quality = value.parse::<f64>().unwrap_or(1.0).clamp(0.0, 1.0);
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "between 0 and 1000"
                    )]
                    let quality = (quality * 1000.0) as u16;
                    range.quality = quality;
                }
                _ => {}
            }
        }
        range
    }

    fn takes(&self, media_type: &MediaType) -> bool {
        match self.essence.as_str() {
            "*/*" | "application/*" => true,
            essence => {
                let version = self.version.as_deref();
                essence == media_type.essence
                    && version.is_none_or(|version| version == media_type.version.name())
                    && self.is_utf8
            }
        }
    }
}

/// The index of the served type that an `Accept` header prefers: of equals the one named first, of those the oldest. `None` if
/// it takes none. Without a header everything is taken.
pub(super) fn choose(accept: &str, served: &[MediaType]) -> Option<usize> {
    if accept.trim().is_empty() {
        return (!served.is_empty()).then_some(0);
    }
    let mut best: Option<(u16, usize)> = None;
    for range in accept.split(',').map(Range::parse) {
        let is_better = best.is_none_or(|(quality, _)| range.quality > quality);
        if range.quality == 0 || !is_better {
            continue;
        }
        if let Some(at) = served.iter().position(|served| range.takes(served)) {
            best = Some((range.quality, at));
        }
    }
    best.map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Vec<MediaType> {
        [Version::V1, Version::V2]
            .map(|version| MediaType::package("install-response", version))
            .into()
    }

    #[test]
    fn the_preferred_version_is_chosen() {
        let name = "application/vnd.dcos.package.install-response+json";
        let check = |accept: &str, expected: Option<usize>| {
            let accept = accept.replace("NAME", name);
            assert_eq!(choose(&accept, &served()), expected, "{accept}");
        };
        check("", Some(0));
        check("*/*", Some(0));
        check("application/*;q=0.1", Some(0));
        check("NAME", Some(0));
        check("NAME;charset=utf-8;version=v1", Some(0));
        check("NAME;charset=utf-8;version=v2", Some(1));
        check("NAME; Charset=UTF-8; version=\"v2\"", Some(1));
        check("NAME;version=v2, NAME;version=v1", Some(1));
        check("NAME;version=v2;q=0.2, NAME;version=v1;q=0.3", Some(0));
        check("NAME;version=v9, */*;q=0.1", Some(0));
        for none in [
            "NAME;version=v3",
            "NAME;version=",
            "NAME;charset=latin1;version=v2",
            "NAME;version=v1;q=0",
            "application/json",
            "text/html, application/json",
            "application/vnd.dcos.package.install-request+json;version=v1",
            ",",
            ";",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn bodies_are_of_one_type() {
        let media_type = MediaType::package("install-request", Version::V1);
        let name = "application/vnd.dcos.package.install-request+json";
        assert_eq!(
            media_type.to_string(),
            format!("{name};charset=utf-8;version=v1")
        );
        for (content_type, is_meant) in [
            (media_type.to_string(), true),
            (format!("{name}; version=v1"), true),
            (name.to_owned(), false),
            (format!("{name};charset=utf-8;version=v2"), false),
            (format!("{name};charset=utf-16;version=v1"), false),
            ("application/json".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(
                media_type.is_meant_by(&content_type),
                is_meant,
                "{content_type}"
            );
        }
    }
}

//! Where a file comes from, and what it is called in the sandbox.

use std::path::{Component, Path, PathBuf};

use url::Url;

use super::FetchError;

/// What Mesos' fetcher knows beside these goes through Hadoop's client or curl's other protocols.
const KNOWN: &str = "http://, https://, file:// and absolute paths are";

/// Where a file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A file of this machine.
    Local(PathBuf),
    /// A server's.
    Web(Url),
}

impl Source {
    pub(super) fn parse(uri: &str) -> Result<Self, FetchError> {
        let uri = uri.trim();
        let path = match uri.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                rest.strip_prefix("localhost").unwrap_or(rest)
            }
            Some((scheme, _))
                if ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) =>
            {
                return Url::parse(uri).map(Self::Web).map_err(FetchError::Url);
            }
            Some((scheme, _)) => {
                let scheme = scheme.to_owned();
                return Err(FetchError::Scheme {
                    scheme,
                    known: KNOWN,
                });
            }
            None => uri,
        };
        if !path.starts_with('/') {
            return Err(FetchError::Relative);
        }
        Ok(Self::Local(PathBuf::from(path)))
    }

    /// The last part of its path. A query is no part of it.
    pub(super) fn name(&self) -> Result<&str, FetchError> {
        let name = match self {
            Self::Local(path) => path.file_name().and_then(|name| name.to_str()),
            Self::Web(url) => url.path_segments().and_then(|mut parts| parts.next_back()),
        };
        name.filter(|name| !name.is_empty())
            .ok_or(FetchError::NoName)
    }
}

/// A path of the sandbox, as an order or an archive names it; `None` if it would lead out.
pub(super) fn inside(name: &Path) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

/// The file's place in the sandbox by the name it is to have.
pub(super) fn target(name: &str) -> Result<PathBuf, FetchError> {
    let is_log = |path: &Path| {
        ["stdout", "stderr"]
            .iter()
            .any(|log| path == Path::new(log))
    };
    inside(Path::new(name))
        .filter(|path| path.file_name().is_some() && !is_log(path))
        .ok_or_else(|| FetchError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_and_their_names() {
        for (uri, name) in [
            ("/opt/tool", "tool"),
            ("file:///opt/tool.tgz", "tool.tgz"),
            ("file://localhost/opt/a b", "a b"),
            ("http://example.com/a/b.tgz?token=x/y#z", "b.tgz"),
            ("HTTPS://example.com/b", "b"),
        ] {
            assert_eq!(Source::parse(uri).unwrap().name().unwrap(), name, "{uri}");
        }
        for (uri, why) in [
            (
                "hdfs://namenode/x.tgz",
                "hdfs:// is not supported; http://, https://, file:// and",
            ),
            ("s3://bucket/x", "s3:// is not supported"),
            ("relative/x", "must be absolute"),
            ("http://", "not a usable address"),
        ] {
            let error = Source::parse(uri).unwrap_err().to_string();
            assert!(error.contains(why), "{uri}: {error}");
        }
        for uri in ["http://example.com", "http://example.com/a/", "/"] {
            let source = Source::parse(uri).unwrap();
            assert!(matches!(source.name(), Err(FetchError::NoName)), "{uri}");
        }
    }

    #[test]
    fn a_name_stays_in_the_sandbox() {
        assert_eq!(target("bin/./it").unwrap(), Path::new("bin/it"));
        for name in ["../x", "/etc/x", "", ".", "a/../../x", "stderr", "./stdout"] {
            assert!(target(name).is_err(), "{name}");
        }
    }
}

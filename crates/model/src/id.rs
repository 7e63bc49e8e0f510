//! The identifiers of apps, tasks, agents, deployments and edges.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What Marathon says about a segment that breaks the naming rule (contract marathon §1.3).
pub const SEGMENT_FAULT: &str = r"must fully match regular expression '^(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)$'";

/// Groups nest as deep as ids have segments, and JSON readers give up at about 60 groups (a nesting of 128).
pub(crate) const MAX_SEGMENTS: usize = 32;

/// A task id (`<safe name>.<UUID>`) names a directory, and file systems allow 255 bytes; the rest is room for suffixes.
pub(crate) const MAX_ID_LENGTH: usize = 200;

/// An absolute path of an app or group: `/zdd/base`; the root group is `/`.
///
/// Always normalised: one leading slash, no trailing slash, no empty segments, no `.` or `..`. Whether the segments
/// use legal characters is a rule of its own ([`AppId::segment_faults`]), because Marathon answers it with 422, not 400.
/// Ordered by the list of segments, as Marathon sorts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AppId(Arc<str>);

impl AppId {
    /// The root group, `/`.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Reads `path` relative to the root: `zdd//base/` is `/zdd/base`.
    pub fn absolute(path: &str) -> Self {
        Self::resolve(path, &Self::root())
    }

    /// Reads `path`: absolute with a leading slash, else relative to `base`.
    pub fn resolve(path: &str, base: &Self) -> Self {
        let mut segments: Vec<&str> = Vec::new();
        if !path.starts_with('/') {
            segments.extend(base.segments());
        }
        for segment in path.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                other => segments.push(other),
            }
        }
        Self(format!("/{}", segments.join("/")).into())
    }

    /// The path as text, with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `/`.
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The segments from the root down; none for the root itself.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The group that holds this app or group; the root is its own parent.
    #[must_use]
    pub fn parent(&self) -> Self {
        match self.0.rfind('/') {
            Some(0) | None => Self::root(),
            Some(at) => Self(self.0[..at].into()),
        }
    }

    /// The path one level below, `/zdd` and `base` giving `/zdd/base`.
    #[must_use]
    pub fn child(&self, segment: &str) -> Self {
        if self.is_root() {
            Self(format!("/{segment}").into())
        } else {
            Self(format!("{}/{segment}", self.0).into())
        }
    }

    /// True if this path is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self.0 == ancestor.0
            || self
                .0
                .strip_prefix(&*ancestor.0)
                .is_some_and(|rest| rest.starts_with('/'))
    }

    /// Segments joined by `_`, as in task ids and the text listing: `zdd_base`.
    pub fn safe_name(&self) -> String {
        self.segments().collect::<Vec<_>>().join("_")
    }

    /// Segments reversed and joined by `.`, as Mesos task names and DNS have it: `base.zdd`.
    pub fn mesos_name(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }

    /// The segments that break Marathon's naming rule; empty if the path is legal.
    ///
    /// A segment is lower-case letters, digits, inner hyphens, labels joined by dots (contract marathon §1.3).
    pub fn segment_faults(&self) -> Vec<&str> {
        self.segments()
            .filter(|segment| !is_legal_segment(segment))
            .collect()
    }

    /// True if the last segment breaks the naming rule; the root has none.
    pub(crate) fn last_segment_is_illegal(&self) -> bool {
        self.segments()
            .next_back()
            .is_some_and(|segment| !is_legal_segment(segment))
    }
}

fn is_legal_segment(segment: &str) -> bool {
    segment.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    })
}

impl Ord for AppId {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash sorts before every other character: that is the order of the lists of segments.
        let key = |byte: u8| if byte == b'/' { 0 } else { byte };
        self.0.bytes().map(key).cmp(other.0.bytes().map(key))
    }
}

impl PartialOrd for AppId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A task: `<safe app name>.<UUID version 1>`, never reused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Arc<str>);

impl TaskId {
    /// Takes an id that is already known to be one (from the engine, an agent or a URL).
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The id of a new task of `app_id`.
    pub fn for_app(app_id: &AppId, uuid: &uuid::Uuid) -> Self {
        Self(format!("{}.{uuid}", app_id.safe_name()).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The app a task id names: a greedy prefix, then `.` or `_`, then a part without either; `_` in the prefix is `/`.
    ///
    /// `None` if the text holds no separator (Marathon: `Invalid task id`).
    pub fn app_id(&self) -> Option<AppId> {
        let at = self.0.rfind(['.', '_'])?;
        (at > 0 && at + 1 < self.0.len()).then(|| AppId::absolute(&self.0[..at].replace('_', "/")))
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it stands.
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// An agent: `<master's UUID>-S<n>`.
    AgentId
}
text_id! {
    /// A deployment plan: a UUID.
    DeploymentId
}
text_id! {
    /// A connected edge: the task id it runs as, or a name it chose.
    EdgeId
}

macro_rules! as_text {
    ($($name:ident => $read:expr;)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Ok($read(&text))
            }
        }
    )*};
}

as_text! {
    AppId => AppId::absolute;
    TaskId => TaskId::new;
    AgentId => AgentId::new;
    DeploymentId => DeploymentId::new;
    EdgeId => EdgeId::new;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        // contract: id-normalised, id-relative, id-good-relative
        let base = AppId::absolute("/zdd");
        for (given, absolute, relative) in [
            ("//a//b/", "/a/b", "/a/b"),
            ("a/b", "/a/b", "/zdd/a/b"),
            ("../db", "/db", "/db"),
            ("./x", "/x", "/zdd/x"),
            ("/", "/", "/"),
        ] {
            assert_eq!(AppId::absolute(given).as_str(), absolute, "{given}");
            assert_eq!(AppId::resolve(given, &base).as_str(), relative, "{given}");
        }
    }

    #[test]
    fn segments_follow_the_rule() {
        // contract: id-good-a, id-good-dots, id-good-digit
        for good in ["/a", "/a/b.c-d", "/9", "/a/b"] {
            assert!(AppId::absolute(good).segment_faults().is_empty(), "{good}");
        }
        for bad in ["/uppER", "/a_b", "/-a", "/a-", "/a b", "/a..b", "/a."] {
            assert_eq!(AppId::absolute(bad).segment_faults().len(), 1, "{bad}");
        }
    }

    #[test]
    fn names_derived_from_a_path() {
        // contract: id-safe-name
        let id = AppId::absolute("/prod/api.v2");
        assert_eq!(id.safe_name(), "prod_api.v2");
        assert_eq!(id.mesos_name(), "api.v2.prod");
        assert_eq!(id.parent().as_str(), "/prod");
        assert!(id.is_within(&AppId::absolute("/prod")));
        assert!(!AppId::absolute("/product").is_within(&AppId::absolute("/prod")));
    }

    #[test]
    fn a_task_id_names_its_app() {
        // contract: task-id-read
        let id = TaskId::new("zdd_base.75440e42-9070-11e6-aae4-3a4b79075094");
        assert_eq!(id.app_id(), Some(AppId::absolute("/zdd/base")));
        assert_eq!(TaskId::new("nothing").app_id(), None);
    }

    #[test]
    fn sorted_by_segments() {
        // contract: id-sorted
        let mut ids = ["/a-b", "/a/c", "/a"].map(AppId::absolute);
        ids.sort();
        assert_eq!(ids.map(|id| id.to_string()), ["/a", "/a/c", "/a-b"]);
    }
}

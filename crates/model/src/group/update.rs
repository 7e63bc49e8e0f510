//! What users send to `/v2/groups`: read, checked, and laid over a group as it is.
//!
//! ```text
//!   body ──read──▶ GroupUpdate ──check──▶ GroupRequest ──▶ Content.apply(current) ──▶ Group
//!          400                   422         ├──▶ ScaleBy, Restore: the engine's business
//!                                            └── an item without id: 422 with a text alone
//! ```
//!
//! `apps` and `groups`, where present, replace the children; where absent, these are kept. Apps are whole definitions, and ids
//! are relative to the group they stand in. Source: contract marathon §1.3, §2.5; Marathon 1.3 `GroupUpdate`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::Group;
use super::tree::{is_child, misplaced};
use crate::app::{
    App, AppUpdate, Fault, Faults, Form, Object, ReadError, RuleErrors, merge_faults, parse,
};
use crate::id::{AppId, MAX_ID_LENGTH, MAX_SEGMENTS, SEGMENT_FAULT};
use crate::time::Timestamp;

/// What a key that has to stand alone is told when it does not.
const NOT_ALONE: &str = "not allowed in conjunction with other properties.";

/// A group's body as it was sent; `None` is an absent key.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct GroupUpdate {
    /// The id in the body, as written.
    pub id: Option<String>,
    /// Its own apps, whole definitions.
    pub apps: Option<Vec<AppUpdate>>,
    /// The groups directly below.
    pub groups: Option<Vec<Self>>,
    /// What every app below depends on, as written.
    pub dependencies: Option<Vec<String>>,
    /// Multiplies the instances of every app below; only alone.
    pub scale_by: Option<f64>,
    /// The version of the tree to go back to; only alone.
    pub version: Option<Timestamp>,
}

/// What a group's body asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum GroupRequest {
    /// Other children, dependencies, or just the group itself.
    Content(GroupContent),
    /// Each app below gets ⌈instances · this⌉ instances.
    ScaleBy(f64),
    /// The whole subtree as it was in this version of the tree.
    Restore(Timestamp),
}

/// The parts of a group that are given, with absolute ids; none of them breaks a rule by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupContent {
    /// `None` in an item of a list that names no id.
    id: Option<AppId>,
    apps: Option<BTreeMap<AppId, Arc<App>>>,
    groups: Option<Vec<Self>>,
    dependencies: Option<BTreeSet<AppId>>,
}

/// A group in a list without an id: answered with 422 and this text alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No group id was given!")]
pub struct MissingId;

impl GroupUpdate {
    /// Reads a request body; all reading faults of the body are reported together.
    pub fn read(body: &[u8]) -> Result<Self, ReadError> {
        let mut faults = Faults::default();
        let value = parse(body)?;
        let update = Object::new(&value, "", &mut faults)
            .map(|object| read_group(object, &mut faults))
            .transpose()?;
        match update {
            Some(update) if faults.reading.is_empty() => Ok(update),
            Some(_) | None => Err(ReadError::Faults(merge_faults(faults.reading))),
        }
    }

    /// The group that is addressed by a request to `base` with this body.
    pub fn path(&self, base: &AppId) -> AppId {
        match &self.id {
            Some(id) => AppId::resolve(id, base),
            None => base.clone(),
        }
    }

    /// Every app of the body, of its groups too, with its id and its place in the body: `/groups(0)/apps(1)`.
    pub fn apps_mut(&mut self, base: &AppId) -> Vec<(AppId, String, &mut AppUpdate)> {
        let at = self.path(base);
        let mut apps = Vec::new();
        let mut waiting = vec![(at, String::new(), self)];
        while let Some((at, path, update)) = waiting.pop() {
            let own = update.apps.iter_mut().flatten().enumerate();
            apps.extend(own.map(|(idx, app)| {
                let id = AppId::resolve(app.id.as_deref().unwrap_or_default(), &at);
                (id, format!("{path}/apps({idx})"), app)
            }));
            let groups = update.groups.iter_mut().flatten().enumerate();
            waiting.extend(
                groups
                    .map(|(idx, group)| (group.path(&at), format!("{path}/groups({idx})"), group)),
            );
        }
        apps
    }

    /// Checks every rule that can be checked without looking at the tree; apps get `version` and no `versionInfo`.
    ///
    /// `Err` has the paths of the body: `/apps(0)/cpus`, `/groups(1)/id`; `/apps(0)` for a rule on a whole app.
    pub fn check(self, base: &AppId, version: Timestamp) -> Result<GroupRequest, RuleErrors> {
        let at = self.path(base);
        let mut faults = Vec::new();
        if self.id.is_some() {
            // One for the whole id: it names one group.
            let is_legal = at.segment_faults().is_empty();
            faults.extend((!is_legal).then(|| fault("/id", SEGMENT_FAULT)));
        }
        let (scale_by, restored) = (self.scale_by, self.version);
        let content = self.checked(None, &at, "", version, &mut faults);
        if !faults.is_empty() {
            return Err(RuleErrors(merge_faults(faults)));
        }
        Ok(match (scale_by, restored) {
            (Some(factor), _) => GroupRequest::ScaleBy(factor),
            (None, Some(version)) => GroupRequest::Restore(version),
            (None, None) => GroupRequest::Content(content),
        })
    }

    /// The content of the group `at`, which stands at `path` of the body; `id` is its own if it stands in a list.
    fn checked(
        self,
        id: Option<AppId>,
        at: &AppId,
        path: &str,
        version: Timestamp,
        faults: &mut Vec<Fault>,
    ) -> GroupContent {
        let n_given = self.n_given();
        let Self {
            id: _,
            apps,
            groups,
            dependencies,
            scale_by,
            version: restored,
        } = self;
        if at.segments().count() >= MAX_SEGMENTS {
            let text = format!("must have fewer than {MAX_SEGMENTS} segments");
            faults.push(fault(format!("{path}/id"), text));
        }
        if at.as_str().len() > MAX_ID_LENGTH {
            let text = format!("must be at most {MAX_ID_LENGTH} characters long");
            faults.push(fault(format!("{path}/id"), text));
        }
        if n_given > 1 {
            for (key, is_given) in [
                ("version", restored.is_some()),
                ("scaleBy", scale_by.is_some()),
            ] {
                faults.extend(is_given.then(|| fault(format!("{path}/{key}"), NOT_ALONE)));
            }
        }
        if let Some(factor) = scale_by.filter(|factor| *factor < 0.0) {
            let text = format!("got {factor:?}, expected 0.0 or more");
            faults.push(fault(format!("{path}/scaleBy"), text));
        }
        let dependencies: Option<Vec<AppId>> =
            dependencies.map(|paths| paths.iter().map(|to| AppId::resolve(to, at)).collect());
        for (idx, dependency) in dependencies.iter().flatten().enumerate() {
            if !dependency.segment_faults().is_empty() {
                faults.push(fault(format!("{path}/dependencies({idx})"), SEGMENT_FAULT));
            }
        }
        GroupContent {
            id,
            apps: apps.map(|apps| checked_apps(apps, at, path, version, faults)),
            groups: groups.map(|groups| checked_groups(groups, at, path, version, faults)),
            dependencies: dependencies.map(|ids| ids.into_iter().collect()),
        }
    }

    /// How many of the known keys are there.
    const fn n_given(&self) -> usize {
        let Self {
            id,
            apps,
            groups,
            dependencies,
            scale_by,
            version,
        } = self;
        id.is_some() as usize
            + apps.is_some() as usize
            + groups.is_some() as usize
            + dependencies.is_some() as usize
            + scale_by.is_some() as usize
            + version.is_some() as usize
    }
}

impl GroupContent {
    /// `current`, the group `id` as it is (`None`: not there yet), with the given parts in the place of its own.
    ///
    /// The group and every group given below it get `version`.
    pub fn apply(
        self,
        id: &AppId,
        current: Option<&Group>,
        version: Timestamp,
    ) -> Result<Group, MissingId> {
        let mut group = current
            .cloned()
            .unwrap_or_else(|| Group::empty(id.clone(), version));
        group.version = version;
        if let Some(apps) = self.apps {
            group.apps = apps;
        }
        if let Some(dependencies) = self.dependencies {
            group.dependencies = dependencies;
        }
        if let Some(contents) = self.groups {
            let mut groups = BTreeMap::new();
            for content in contents {
                let child_id = content.id.clone().ok_or(MissingId)?;
                let before = group.groups.get(&child_id).map(|child| &**child);
                let child = content.apply(&child_id, before, version)?;
                groups.insert(child_id, Arc::new(child));
            }
            group.groups = groups;
        }
        Ok(group)
    }
}

fn fault(path: impl Into<String>, error: impl Into<String>) -> Fault {
    Fault {
        path: path.into(),
        errors: vec![error.into()],
    }
}

fn checked_apps(
    apps: Vec<AppUpdate>,
    group: &AppId,
    path: &str,
    version: Timestamp,
    faults: &mut Vec<Fault>,
) -> BTreeMap<AppId, Arc<App>> {
    let mut checked = BTreeMap::new();
    for (idx, update) in apps.into_iter().enumerate() {
        let path = format!("{path}/apps({idx})");
        // A whole definition without id cannot be read.
        let id = AppId::resolve(update.id.as_deref().unwrap_or_default(), group);
        if !is_child(&id, group) {
            faults.push(fault(format!("{path}/id"), misplaced(group)));
        }
        if checked.contains_key(&id) {
            faults.push(fault(format!("{path}/id"), listed_twice(&id)));
        }
        match update.into_app_in(id.clone(), group, version) {
            Ok(app) => {
                checked.insert(id, Arc::new(app));
            }
            Err(RuleErrors(more)) => {
                faults.extend(more.into_iter().map(|fault| below(&path, fault)))
            }
        }
    }
    checked
}

fn checked_groups(
    groups: Vec<GroupUpdate>,
    group: &AppId,
    path: &str,
    version: Timestamp,
    faults: &mut Vec<Fault>,
) -> Vec<GroupContent> {
    let mut seen = BTreeSet::new();
    let mut checked = Vec::with_capacity(groups.len());
    for (idx, update) in groups.into_iter().enumerate() {
        let path = format!("{path}/groups({idx})");
        let id = update.id.as_ref().map(|id| AppId::resolve(id, group));
        if let Some(id) = &id {
            if !is_child(id, group) {
                faults.push(fault(format!("{path}/id"), misplaced(group)));
            }
            if id.last_segment_is_illegal() {
                faults.push(fault(format!("{path}/id"), SEGMENT_FAULT));
            }
            if !seen.insert(id.clone()) {
                faults.push(fault(format!("{path}/id"), listed_twice(id)));
            }
        }
        let at = id.clone().unwrap_or_else(|| group.clone());
        checked.push(update.checked(id, &at, &path, version, faults));
    }
    checked
}

fn listed_twice(id: &AppId) -> String {
    format!("{id} is listed twice")
}

/// A fault of an app with the app's place in the body before its path, if it is not there yet.
fn below(path: &str, fault: Fault) -> Fault {
    let Fault {
        path: inner,
        errors,
    } = fault;
    let path = match inner.as_str() {
        "/" => path.to_owned(),
        // Reading has noted it with the whole path.
        inner if inner.starts_with(path) => inner.to_owned(),
        inner => format!("{path}{inner}"),
    };
    Fault { path, errors }
}

/// Reads one group; `Err` is an illegal argument, everything else goes to `faults`.
fn read_group(object: Object<'_>, faults: &mut Faults) -> Result<GroupUpdate, ReadError> {
    let id = object.string("id", faults);
    if id.as_deref() == Some("") {
        faults.read(object.at("id"), "error.minLength");
    }
    let version = match object.string("version", faults) {
        Some(text) => match text.parse() {
            Ok(version) => Some(version),
            Err(error) => {
                let error: crate::time::InvalidTimestamp = error;
                return Err(ReadError::Argument(error.to_string()));
            }
        },
        None => None,
    };
    Ok(GroupUpdate {
        id,
        apps: read_items(
            object,
            "apps",
            faults,
            |value, path, faults| match AppUpdate::from_value(value, Form::Full, path) {
                Ok(app) => Ok(Some(app)),
                Err(ReadError::Faults(more)) => {
                    faults.reading.extend(more);
                    Ok(None)
                }
                Err(other) => Err(other),
            },
        )?,
        groups: read_items(object, "groups", faults, |value, path, faults| {
            Object::new(value, path, faults)
                .map(|object| read_group(object, faults))
                .transpose()
        })?,
        dependencies: read_dependencies(object, faults),
        scale_by: object.double("scaleBy", faults),
        version,
    })
}

fn read_dependencies(object: Object<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let paths = object.strings("dependencies", faults)?;
    for (idx, _) in paths.iter().enumerate().filter(|(_, path)| path.is_empty()) {
        let path = format!("{}({idx})", object.at("dependencies"));
        faults.read(path, "error.minLength");
    }
    Some(paths)
}

/// Reads a list; the first illegal argument ends it.
fn read_items<T>(
    object: Object<'_>,
    key: &str,
    faults: &mut Faults,
    mut read: impl FnMut(&Value, &str, &mut Faults) -> Result<Option<T>, ReadError>,
) -> Result<Option<Vec<T>>, ReadError> {
    let mut illegal = None;
    let items = object.list(key, faults, |value, path, faults| {
        if illegal.is_some() {
            return None;
        }
        read(value, path, faults).unwrap_or_else(|error| {
            illegal = Some(error);
            None
        })
    });
    match illegal {
        Some(error) => Err(error),
        None => Ok(items),
    }
}

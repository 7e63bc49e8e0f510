//! The tree of groups and apps.

mod tree;
mod update;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::app::App;
use crate::id::AppId;
use crate::time::Timestamp;

pub use tree::{check_tree, levels, place};
pub use update::{GroupContent, GroupRequest, GroupUpdate, MissingId};

/// A group: apps and groups below one path. The whole cluster is the root group.
///
/// Shared by `Arc`: a change copies only the groups on the path to what changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The group's path.
    pub id: AppId,
    /// Its own apps, by full id.
    pub apps: BTreeMap<AppId, Arc<App>>,
    /// The groups directly below, by full id.
    pub groups: BTreeMap<AppId, Arc<Self>>,
    /// What every app below depends on.
    pub dependencies: BTreeSet<AppId>,
    /// When anything below was last changed by a request.
    pub version: Timestamp,
}

impl Group {
    /// A group without apps, groups or dependencies.
    pub const fn empty(id: AppId, version: Timestamp) -> Self {
        Self {
            id,
            apps: BTreeMap::new(),
            groups: BTreeMap::new(),
            dependencies: BTreeSet::new(),
            version,
        }
    }

    /// The app with this full id, anywhere below.
    pub fn app(&self, id: &AppId) -> Option<&Arc<App>> {
        self.group(&id.parent())?.apps.get(id)
    }

    /// The group with this full id: itself or any below.
    pub fn group(&self, id: &AppId) -> Option<&Self> {
        if !id.is_within(&self.id) {
            return None;
        }
        let depth = self.id.segments().count();
        let mut segments = id.segments().skip(depth);
        segments.try_fold(self, |group, segment| {
            group
                .groups
                .get(&group.id.child(segment))
                .map(|child| &**child)
        })
    }

    /// All apps below, in the order of their ids within each group, groups after apps.
    pub fn transitive_apps(&self) -> Vec<&Arc<App>> {
        let mut apps: Vec<&Arc<App>> = self.apps.values().collect();
        for group in self.groups.values() {
            apps.extend(group.transitive_apps());
        }
        apps
    }

    /// True if there is an app anywhere below.
    pub fn has_apps(&self) -> bool {
        !self.apps.is_empty() || self.groups.values().any(|group| group.has_apps())
    }

    /// This group and everything below it with `version`, each app as `change` gives it back.
    #[must_use]
    pub fn with_apps(
        &self,
        version: Timestamp,
        change: &mut dyn FnMut(&Arc<App>) -> Arc<App>,
    ) -> Self {
        let apps = self.apps.iter();
        let groups = self.groups.iter();
        Self {
            id: self.id.clone(),
            apps: apps.map(|(id, app)| (id.clone(), change(app))).collect(),
            groups: groups
                .map(|(id, group)| (id.clone(), Arc::new(group.with_apps(version, change))))
                .collect(),
            dependencies: self.dependencies.clone(),
            version,
        }
    }

    /// This tree with `app` put in its place; missing groups on the way are made, all on the way get `version`.
    ///
    /// A group with the app's id gives way if there is no app in it, as in Marathon; an emptied group outlives its apps.
    #[must_use]
    pub fn with_app(&self, app: Arc<App>, version: Timestamp) -> Self {
        let parent = app.id.parent();
        self.edit(&parent, version, &mut |group| {
            group.insert(Arc::clone(&app))
        })
    }

    /// Puts `app` in its place, as [`Self::with_app`] does; what is not shared is changed where it stands, so that a list of
    /// apps costs no copy each.
    pub fn put_app(&mut self, app: Arc<App>, version: Timestamp) {
        let parent = app.id.parent();
        let mut group = self;
        group.version = version;
        for segment in parent.segments() {
            let id = group.id.child(segment);
            let child = group
                .groups
                .entry(id.clone())
                .or_insert_with(|| Arc::new(Self::empty(id, version)));
            group = Arc::make_mut(child);
            group.version = version;
        }
        group.insert(app);
    }

    fn insert(&mut self, app: Arc<App>) {
        if let Some(group) = self.groups.get(&app.id)
            && !group.has_apps()
        {
            self.groups.remove(&app.id);
        }
        self.apps.insert(app.id.clone(), app);
    }

    /// This tree with `group` in its place; missing groups on the way are made, all on the way get `version`.
    #[must_use]
    pub fn with_group(&self, group: Self, version: Timestamp) -> Self {
        if group.id == self.id {
            return group;
        }
        let group = Arc::new(group);
        self.edit(&group.id.parent(), version, &mut |parent| {
            parent.groups.insert(group.id.clone(), Arc::clone(&group));
        })
    }

    /// This tree without that group and all below it; all groups on the way get `version`.
    #[must_use]
    pub fn without_group(&self, id: &AppId, version: Timestamp) -> Self {
        self.edit(&id.parent(), version, &mut |parent| {
            parent.groups.remove(id);
        })
    }

    /// The group at a place below this one, to be changed; it and missing ones on the way are made with `version`.
    pub fn group_mut(&mut self, id: &AppId, version: Timestamp) -> &mut Self {
        let depth = self.id.segments().count();
        let mut group = self;
        for segment in id.segments().skip(depth) {
            let id = group.id.child(segment);
            let child = group
                .groups
                .entry(id.clone())
                .or_insert_with(|| Arc::new(Self::empty(id, version)));
            group = Arc::make_mut(child);
        }
        group
    }

    /// This tree without that app; its group stays, all groups on the way get `version`.
    #[must_use]
    pub fn without_app(&self, id: &AppId, version: Timestamp) -> Self {
        self.edit(&id.parent(), version, &mut |group| {
            group.apps.remove(id);
        })
    }

    fn edit(&self, at: &AppId, version: Timestamp, change: &mut dyn FnMut(&mut Self)) -> Self {
        let mut copy = self.clone();
        copy.version = version;
        if *at == self.id {
            change(&mut copy);
            return copy;
        }
        let depth = self.id.segments().count();
        let Some(segment) = at.segments().nth(depth) else {
            return copy;
        };
        let child_id = self.id.child(segment);
        let child = match copy.groups.get(&child_id) {
            Some(child) => child.edit(at, version, change),
            None => Self::empty(child_id.clone(), version).edit(at, version, change),
        };
        copy.groups.insert(child_id, Arc::new(child));
        copy
    }
}

impl Serialize for Group {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            id,
            apps,
            groups,
            dependencies,
            version,
        } = self;
        let mut group = serializer.serialize_struct("Group", 5)?;
        group.serialize_field("id", id)?;
        group.serialize_field("apps", &apps.values().collect::<Vec<_>>())?;
        group.serialize_field("groups", &groups.values().collect::<Vec<_>>())?;
        group.serialize_field("dependencies", dependencies)?;
        group.serialize_field("version", version)?;
        group.end()
    }
}

impl<'de> Deserialize<'de> for Group {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            id: AppId,
            apps: Vec<Arc<App>>,
            groups: Vec<Arc<Group>>,
            dependencies: BTreeSet<AppId>,
            version: Timestamp,
        }
        let Wire {
            id,
            apps,
            groups,
            dependencies,
            version,
        } = Wire::deserialize(deserializer)?;
        Ok(Self {
            id,
            apps: apps.into_iter().map(|app| (app.id.clone(), app)).collect(),
            groups: groups
                .into_iter()
                .map(|group| (group.id.clone(), group))
                .collect(),
            dependencies,
            version,
        })
    }
}

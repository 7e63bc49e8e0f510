//! The trees of before: what `/v2/groups/{id}/versions` shows and `{"version": ..}` goes back to.
//!
//! In memory a tree of before is a tree; it shares what has not changed since. In the store it is the way back to it from the
//! next newer one, which is as long as the change was, not as the tree is:
//!
//! ```text
//!   undo/<oldest> ◀── … ◀── undo/<version> ◀── group/…, version/… (the present tree)
//! ```
//!
//! A step back names app versions. Those that the app itself no longer lists (it has had too many since, or is gone) are
//! kept under `past/…` as long as a tree needs them. Source: contract marathon §2.5; `zk_max_versions`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zddcluster_model::app::App;
use zddcluster_model::{AppId, Group, Timestamp};

use crate::Mutation;
use crate::persist::{json, remove_version, version_key};
use crate::state::{ReplayError, State, VERSIONS_KEPT};
use crate::turn::Turn;

/// One step back in the history of the tree: what has to be set in the newer tree to get the older one; `None` is not there.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Undo {
    groups: BTreeMap<AppId, Option<GroupHead>>,
    apps: BTreeMap<AppId, Option<Timestamp>>,
}

/// A group without its children.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct GroupHead {
    version: Timestamp,
    dependencies: BTreeSet<AppId>,
}

impl State {
    /// The versions of the tree that have this group, newest first; the present one is the first if it does.
    pub fn group_versions(&self, group_id: &AppId) -> Vec<Timestamp> {
        let trees = std::iter::once(&self.root).chain(self.history.values().rev());
        trees
            .filter(|root| root.group(group_id).is_some())
            .map(|root| root.version)
            .collect()
    }

    /// A group as it was in a version of the tree; `None` if that is not known or did not have it.
    pub fn group_at(&self, group_id: &AppId, version: Timestamp) -> Option<&Group> {
        let root = if version == self.root.version {
            &self.root
        } else {
            self.history.get(&version)?
        };
        root.group(group_id)
    }

    /// Whether a tree of before has the app in this version.
    fn is_in_history(&self, app_id: &AppId, version: Timestamp) -> bool {
        self.history
            .values()
            .any(|root| root.app(app_id).is_some_and(|app| app.version == version))
    }
}

impl Turn<'_> {
    /// Keeps the present tree before `next` takes its place; the oldest one goes if there are too many.
    ///
    /// Call it before any app version is dropped.
    pub(crate) fn remember_tree(&mut self, next: &Group) {
        let tree = Arc::clone(&self.state.root);
        self.persist(put_undo(next, &tree));
        self.state.history.insert_mut(tree.version, tree);
        // The present tree is one of them.
        while self.state.history.size() >= VERSIONS_KEPT {
            self.forget_oldest_tree();
        }
    }

    fn forget_oldest_tree(&mut self) {
        let mut trees = self.state.history.iter();
        let Some((version, oldest)) = trees.next().map(|(v, tree)| (*v, Arc::clone(tree))) else {
            return;
        };
        let next = trees.next().map_or(&self.state.root, |(_, tree)| tree);
        // An app version that the next tree has as well is still needed.
        let Undo { apps, groups: _ } = way_back(next, &oldest);
        self.state.history.remove_mut(&version);
        self.persist(Mutation::Remove(undo_key(version)));
        for (app_id, version) in apps {
            let Some(version) = version else { continue };
            let key = (app_id, version);
            if self.state.past.contains_key(&key) && !self.state.is_in_history(&key.0, version) {
                self.state.past.remove_mut(&key);
                self.persist(Mutation::Remove(past_key(&key.0, version)));
            }
        }
    }

    /// An app no longer lists this version of it; a tree of before may still need it.
    pub(crate) fn drop_version(&mut self, app: &Arc<App>) {
        self.persist(remove_version(&app.id, app.version));
        if self.state.is_in_history(&app.id, app.version) {
            self.persist(put_past(app));
            let key = (app.id.clone(), app.version);
            self.state.past.insert_mut(key, Arc::clone(app));
        }
    }
}

// === the way back ===

/// What turns `newer` into `older`.
fn way_back(newer: &Group, older: &Group) -> Undo {
    let mut undo = Undo::default();
    add_way_back(newer, older, &mut undo);
    undo
}

fn add_way_back(newer: &Group, older: &Group, undo: &mut Undo) {
    if newer.version != older.version || newer.dependencies != older.dependencies {
        undo.groups.insert(older.id.clone(), Some(head(older)));
    }
    for (id, app) in &older.apps {
        let is_same = newer
            .apps
            .get(id)
            .is_some_and(|newer| newer.version == app.version);
        if !is_same {
            undo.apps.insert(id.clone(), Some(app.version));
        }
    }
    let added = newer.apps.keys().filter(|id| !older.apps.contains_key(*id));
    undo.apps.extend(added.map(|id| (id.clone(), None)));
    for (id, group) in &older.groups {
        match newer.groups.get(id) {
            Some(newer) if Arc::ptr_eq(newer, group) => {}
            Some(newer) => add_way_back(newer, group, undo),
            None => {
                undo.groups.insert(id.clone(), Some(head(group)));
                let mut empty = Group::empty(id.clone(), group.version);
                empty.dependencies.clone_from(&group.dependencies);
                add_way_back(&empty, group, undo);
            }
        }
    }
    let added = newer.groups.keys();
    let added = added.filter(|id| !older.groups.contains_key(*id));
    undo.groups.extend(added.map(|id| (id.clone(), None)));
}

fn head(group: &Group) -> GroupHead {
    GroupHead {
        version: group.version,
        dependencies: group.dependencies.clone(),
    }
}

/// The older tree, from the newer one and the way back.
fn go_back(state: &State, newer: &Group, undo: &Undo) -> Result<Group, ReplayError> {
    let mut root = newer.clone();
    // Parents come before their children.
    for (id, head) in &undo.groups {
        match head {
            Some(head) => {
                let group = root.group_mut(id, head.version);
                group.version = head.version;
                group.dependencies.clone_from(&head.dependencies);
            }
            None => {
                let parent = root.group_mut(&id.parent(), Timestamp::ZERO);
                parent.groups.remove(id);
            }
        }
    }
    for (id, version) in &undo.apps {
        let parent = root.group_mut(&id.parent(), Timestamp::ZERO);
        match version {
            Some(version) => {
                let app = state
                    .version_of(id, *version)
                    .or_else(|| state.past.get(&(id.clone(), *version)))
                    .ok_or_else(|| ReplayError::Missing(version_key(id, *version)))?;
                parent.apps.insert(id.clone(), Arc::clone(app));
            }
            None => {
                parent.apps.remove(id);
            }
        }
    }
    Ok(root)
}

// === records ===

fn undo_key(version: Timestamp) -> String {
    format!("undo/{version}")
}

fn put_undo(newer: &Group, older: &Group) -> Mutation {
    Mutation::Put(undo_key(older.version), json(&way_back(newer, older)))
}

fn past_key(app_id: &AppId, version: Timestamp) -> String {
    format!("past/{app_id}@{version}")
}

fn put_past(app: &App) -> Mutation {
    Mutation::Put(past_key(&app.id, app.version), json(app))
}

/// Every record of the history.
pub(crate) fn export(state: &State) -> impl Iterator<Item = Mutation> {
    let newer = state.history.values().skip(1);
    let newer = newer.chain(std::iter::once(&state.root));
    let trees = state.history.values().zip(newer);
    let undos = trees.map(|(older, newer)| put_undo(newer, older));
    undos.chain(state.past.values().map(|app| put_past(app)))
}

/// Rebuilds the history from its records; `state` has the present tree and all app versions.
pub(crate) fn replay(
    state: &mut State,
    past: Vec<App>,
    undos: BTreeMap<Timestamp, Undo>,
) -> Result<(), ReplayError> {
    for app in past {
        let key = (app.id.clone(), app.version);
        state.past.insert_mut(key, Arc::new(app));
    }
    let mut newer = Arc::clone(&state.root);
    for (version, undo) in undos.into_iter().rev() {
        let older = Arc::new(go_back(state, &newer, &undo)?);
        state.history.insert_mut(version, Arc::clone(&older));
        newer = older;
    }
    Ok(())
}

//! What a plan does to groups themselves, apart from their apps: which it adds and removes, and whose dependencies it changes.
//!
//! A plan's record needs it, since apps alone do not tell whether a group was there; a rollback undoes it.
//! Source: contract marathon §3.8; Marathon 1.3 `DeploymentPlanReverter`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zddcluster_model::{AppId, Group, Timestamp};

/// The dependencies of a group before and after a plan; `None` where it is not there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct GroupChange {
    pub(crate) before: Option<BTreeSet<AppId>>,
    pub(crate) after: Option<BTreeSet<AppId>>,
}

/// The groups that differ between two trees in more than their apps, by id. Shared subtrees are skipped.
pub(crate) fn group_changes(old: &Group, new: &Group) -> BTreeMap<AppId, GroupChange> {
    let mut changes = BTreeMap::new();
    let mut waiting = vec![(Some(old), Some(new))];
    while let Some((before, after)) = waiting.pop() {
        let Some(id) = before.or(after).map(|group| &group.id) else {
            continue;
        };
        let change = GroupChange {
            before: before.map(|group| group.dependencies.clone()),
            after: after.map(|group| group.dependencies.clone()),
        };
        if change.before != change.after {
            changes.insert(id.clone(), change);
        }
        let children = [before, after].into_iter().flatten();
        let ids: BTreeSet<&AppId> = children.flat_map(|group| group.groups.keys()).collect();
        for id in ids {
            let before = before.and_then(|group| group.groups.get(id));
            let after = after.and_then(|group| group.groups.get(id));
            match (before, after) {
                (Some(before), Some(after)) if Arc::ptr_eq(before, after) => {}
                (before, after) => waiting.push((before.map(Arc::as_ref), after.map(Arc::as_ref))),
            }
        }
    }
    changes
}

/// Makes a group be there with these dependencies, or not be there at all.
pub(crate) fn set_group(
    root: &mut Group,
    id: &AppId,
    dependencies: Option<&BTreeSet<AppId>>,
    version: Timestamp,
) {
    match dependencies {
        Some(dependencies) => {
            group_mut(root, id, version)
                .dependencies
                .clone_from(dependencies);
        }
        None => remove_group(root, id, version),
    }
}

/// Undoes these changes as far as nobody has built on them: an added group goes if it is empty, a removed one comes back, of
/// changed dependencies only those that were changed are set back.
pub(crate) fn revert_groups(
    root: &mut Group,
    changes: &BTreeMap<AppId, GroupChange>,
    version: Timestamp,
) {
    // The inner groups first: an outer one may be empty only without them.
    for (id, change) in changes.iter().rev() {
        match (&change.before, &change.after) {
            (Some(before), after) => {
                let added = after.iter().flatten().filter(|id| !before.contains(*id));
                let group = group_mut(root, id, version);
                for dependency in added {
                    group.dependencies.remove(dependency);
                }
                let kept = after.as_ref();
                let lost = before
                    .iter()
                    .filter(|id| kept.is_none_or(|after| !after.contains(*id)));
                group.dependencies.extend(lost.cloned());
            }
            (None, _) => {
                let is_empty = root
                    .group(id)
                    .is_some_and(|group| group.apps.is_empty() && group.groups.is_empty());
                if is_empty {
                    remove_group(root, id, version);
                }
            }
        }
    }
}

/// The group with this id, made with all above it where missing; it and those above get `version`.
fn group_mut<'a>(root: &'a mut Group, id: &AppId, version: Timestamp) -> &'a mut Group {
    let mut group = root;
    group.version = version;
    for segment in id.segments() {
        let id = group.id.child(segment);
        let child = group
            .groups
            .entry(id.clone())
            .or_insert_with(|| Arc::new(Group::empty(id, version)));
        group = Arc::make_mut(child);
        group.version = version;
    }
    group
}

fn remove_group(root: &mut Group, id: &AppId, version: Timestamp) {
    if root.group(id).is_some() {
        group_mut(root, &id.parent(), version).groups.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> BTreeSet<AppId> {
        names.iter().map(|name| AppId::absolute(name)).collect()
    }

    fn tree(groups: &[(&str, &[&str])]) -> Group {
        let mut root = Group::empty(AppId::root(), Timestamp::ZERO);
        for (id, dependencies) in groups {
            let dependencies = ids(dependencies);
            set_group(
                &mut root,
                &AppId::absolute(id),
                Some(&dependencies),
                Timestamp::ZERO,
            );
        }
        root
    }

    #[test]
    fn only_what_was_changed_is_set_back() {
        let original = tree(&[("/gone/inner", &["/x"]), ("/kept", &["/a", "/b"])]);
        let target = tree(&[
            ("/new/inner", &[]),
            ("/used/inner", &[]),
            ("/kept", &["/b", "/c"]),
        ]);
        let changes = group_changes(&original, &target);
        let changed: Vec<&str> = changes.keys().map(AppId::as_str).collect();
        let expected = [
            "/gone",
            "/gone/inner",
            "/kept",
            "/new",
            "/new/inner",
            "/used",
            "/used/inner",
        ];
        assert_eq!(changed, expected);

        // Meanwhile somebody has put a group into one that the plan had added, and a dependency to another.
        let mut root = tree(&[
            ("/new/inner", &[]),
            ("/used/inner/mine", &[]),
            ("/kept", &["/b", "/c", "/d"]),
        ]);
        revert_groups(&mut root, &changes, Timestamp::ZERO);
        let expected = tree(&[
            ("/gone/inner", &["/x"]),
            ("/used/inner/mine", &[]),
            ("/kept", &["/a", "/b", "/d"]),
        ]);
        assert_eq!(root, expected);
    }
}

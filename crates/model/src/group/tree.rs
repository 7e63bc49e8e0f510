//! What concerns several apps at once: clashing names, cyclic dependencies, and the order dependencies impose.
//!
//! Dependencies are kept as a graph whose size is that of the tree, not of all pairs of apps:
//!
//! ```text
//!   app ──▶ app                     depends on an app
//!   app ──▶ content of a group      depends on a group: on everything in it
//!   app ──▶ duty of its group       what the groups around it depend on
//!   duty of a group ──▶ duty of its parent, app or content of each dependency
//!   content of a group ──▶ its apps, content of its groups
//! ```
//!
//! Walked without recursion: its depth is the user's. Source: contract marathon §1.2, §1.3, §3.1.

use std::collections::BTreeMap;

use super::Group;
use crate::app::Fault;
use crate::id::{AppId, SEGMENT_FAULT};

/// Checks the rules across apps and groups: names, places, cycles.
///
/// `Err` holds one entry a path, the root group at `/`, its first group at `/groups(0)`.
pub fn check_tree(root: &Group) -> Result<(), Vec<Fault>> {
    let mut faults: Vec<(String, String)> = Vec::new();
    let mut waiting = vec![(root, String::new())];
    while let Some((group, path)) = waiting.pop() {
        let mut fault = |path: String, text: &str| {
            let path = if path.is_empty() {
                "/".to_owned()
            } else {
                path
            };
            faults.push((path, text.to_owned()));
        };
        if group.apps.keys().any(|id| group.groups.contains_key(id)) {
            let text = "Groups and Applications may not have the same identifier.";
            fault(path.clone(), text);
        }
        let misplaced = misplaced(&group.id);
        for (idx, id) in group.apps.keys().enumerate() {
            if !is_child(id, &group.id) {
                fault(format!("{path}/apps({idx})/id"), &misplaced);
            }
        }
        for (idx, (id, child)) in group.groups.iter().enumerate() {
            let child_path = format!("{path}/groups({idx})");
            if !is_child(id, &group.id) {
                fault(format!("{child_path}/id"), &misplaced);
            }
            // The segments before the last are the parent's, and have been looked at there.
            if id.last_segment_is_illegal() {
                fault(format!("{child_path}/id"), SEGMENT_FAULT);
            }
            waiting.push((child, child_path));
        }
        for (idx, dependency) in group.dependencies.iter().enumerate() {
            if !dependency.segment_faults().is_empty() {
                fault(format!("{path}/dependencies({idx})"), SEGMENT_FAULT);
            }
        }
    }
    if Graph::new(root).weigh().has_cycle {
        faults.push((
            "/".to_owned(),
            "Dependency graph has cyclic dependencies.".to_owned(),
        ));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let faults = faults
        .into_iter()
        .map(|(path, error)| Fault {
            path,
            errors: vec![error],
        })
        .collect();
    Err(crate::app::merge_faults(faults))
}

/// The length of the longest dependency path that starts at each app: 0 for an app that depends on nothing.
///
/// Dependencies on a group count as dependencies on all its apps; those on nothing known do not count. In a tree with a cycle
/// ([`check_tree`] refuses it) the edge that closes it is left out.
pub fn levels(root: &Group) -> BTreeMap<AppId, usize> {
    let graph = Graph::new(root);
    let Weighed { lengths, .. } = graph.weigh();
    graph
        .apps
        .into_iter()
        // An app's length counts itself.
        .map(|(id, node)| (id.clone(), lengths[node].saturating_sub(1)))
        .collect()
}

/// Where an app stands in the tree, in the words of faults: `/groups(0)/apps(1)`; `/` for one that is not there.
pub fn place(root: &Group, app_id: &AppId) -> String {
    fn find(group: &Group, app_id: &AppId) -> Option<String> {
        if let Some(idx) = group.apps.keys().position(|id| id == app_id) {
            return Some(format!("/apps({idx})"));
        }
        let mut groups = group.groups.iter().enumerate();
        let (idx, (_, child)) = groups.find(|(_, (id, _))| app_id.is_within(id))?;
        find(child, app_id).map(|rest| format!("/groups({idx}){rest}"))
    }
    find(root, app_id).unwrap_or_else(|| "/".to_owned())
}

pub(super) fn is_child(id: &AppId, group: &AppId) -> bool {
    !id.is_root() && id.parent() == *group
}

/// What an id is told that does not stand directly below its group.
pub(super) fn misplaced(group: &AppId) -> String {
    format!("Identifier is not child of {group}. Hint: use relative paths.")
}

/// The nodes are numbers; apps weigh 1, the duties and contents of groups nothing.
struct Graph<'a> {
    apps: BTreeMap<&'a AppId, usize>,
    edges: Vec<Vec<usize>>,
    weights: Vec<usize>,
}

/// What a walk over the graph gave.
struct Weighed {
    /// The number of apps on the longest path from each node, itself included.
    lengths: Vec<usize>,
    has_cycle: bool,
}

impl<'a> Graph<'a> {
    fn new(root: &'a Group) -> Self {
        let mut graph = Self {
            apps: BTreeMap::new(),
            edges: Vec::new(),
            weights: Vec::new(),
        };
        // First the nodes and the edges along the tree, then those of dependencies, when every target has a node.
        let mut contents: BTreeMap<&AppId, usize> = BTreeMap::new();
        let mut wanted: Vec<(usize, &AppId)> = Vec::new();
        let (content, duty) = (graph.node(0), graph.node(0));
        let mut waiting = vec![(root, content, duty)];
        while let Some((group, content, duty)) = waiting.pop() {
            contents.insert(&group.id, content);
            wanted.extend(
                group
                    .dependencies
                    .iter()
                    .map(|dependency| (duty, dependency)),
            );
            for (id, app) in &group.apps {
                let node = graph.node(1);
                graph.apps.insert(id, node);
                graph.edges[content].push(node);
                graph.edges[node].push(duty);
                wanted.extend(app.dependencies.iter().map(|dependency| (node, dependency)));
            }
            for child in group.groups.values() {
                let (child_content, child_duty) = (graph.node(0), graph.node(0));
                graph.edges[content].push(child_content);
                graph.edges[child_duty].push(duty);
                waiting.push((child, child_content, child_duty));
            }
        }
        for (from, dependency) in wanted {
            let target = graph
                .apps
                .get(dependency)
                .or_else(|| contents.get(dependency));
            if let Some(&target) = target {
                graph.edges[from].push(target);
            }
        }
        graph
    }

    fn node(&mut self, weight: usize) -> usize {
        self.edges.push(Vec::new());
        self.weights.push(weight);
        self.edges.len() - 1
    }

    /// A depth-first walk with a stack of its own.
    fn weigh(&self) -> Weighed {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            Unseen,
            Open,
            Done,
        }
        let mut marks = vec![Mark::Unseen; self.edges.len()];
        let mut lengths = self.weights.clone();
        let mut has_cycle = false;
        for start in 0..self.edges.len() {
            if marks[start] != Mark::Unseen {
                continue;
            }
            marks[start] = Mark::Open;
            // Each open node with the number of its edges already followed.
            let mut open = vec![(start, 0)];
            while let Some((node, followed)) = open.last_mut() {
                let node = *node;
                let Some(&next) = self.edges[node].get(*followed) else {
                    marks[node] = Mark::Done;
                    open.pop();
                    if let Some(&(parent, _)) = open.last() {
                        lengths[parent] = lengths[parent].max(self.weights[parent] + lengths[node]);
                    }
                    continue;
                };
                *followed += 1;
                match marks[next] {
                    Mark::Unseen => {
                        marks[next] = Mark::Open;
                        open.push((next, 0));
                    }
                    Mark::Open => has_cycle = true,
                    Mark::Done => {
                        lengths[node] = lengths[node].max(self.weights[node] + lengths[next]);
                    }
                }
            }
        }
        Weighed { lengths, has_cycle }
    }
}

#[cfg(test)]
mod tests;

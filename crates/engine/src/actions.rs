//! The actions of a running step, by app.
//!
//! A task that changes concerns one action only. So an action is found by its app, and changing it copies nothing of the
//! others: the work of a change does not grow with the size of the plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use zddcluster_model::deployment::{Action, Step};
use zddcluster_model::task::ReadinessResult;
use zddcluster_model::{AppId, TaskId};

use crate::effect::Attempt;
use crate::rollout::Rollout;
use crate::scale::Scaling;

/// The actions of the running step of a deployment, one an app.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Actions {
    by_app: RedBlackTreeMapSync<AppId, Arc<RunningAction>>,
    /// Apps whose action is not done.
    open: RedBlackTreeSetSync<AppId>,
}

/// One action of the running step.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningAction {
    /// What and which app.
    pub action: Action,
    /// Nothing left to do.
    pub is_done: bool,
    /// Standing of the readiness checks of its new tasks.
    pub readiness: Vec<ReadinessResult>,
    /// How far it is.
    pub(crate) progress: Progress,
}

/// How far an action is.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Progress {
    /// Set by the first look at the app.
    pub(crate) rollout: Option<Rollout>,
    /// Set by the first look at the app.
    pub(crate) scaling: Option<Scaling>,
    /// How its downloads stand.
    pub(crate) download: DownloadState,
    /// Tasks whose readiness is being asked.
    pub(crate) asked: BTreeSet<TaskId>,
    /// Tasks that have once answered that they are ready.
    pub(crate) ready: BTreeSet<TaskId>,
}

/// How the downloads of one app stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum DownloadState {
    #[default]
    NotOrdered,
    Ordered(Attempt),
    Done,
}

impl Actions {
    /// The actions of a step that begins.
    pub(crate) fn of(step: &Step) -> Self {
        let mut actions = Self::default();
        for action in &step.actions {
            actions.put(RunningAction {
                action: action.clone(),
                is_done: false,
                readiness: Vec::new(),
                progress: Progress::default(),
            });
        }
        actions
    }

    /// All of them, by app.
    pub fn iter(&self) -> impl Iterator<Item = &RunningAction> {
        self.by_app.values().map(Arc::as_ref)
    }

    /// The action on this app.
    pub fn get(&self, app_id: &AppId) -> Option<&RunningAction> {
        self.by_app.get(app_id).map(Arc::as_ref)
    }

    /// Whether none is left to do.
    pub fn are_done(&self) -> bool {
        self.open.is_empty()
    }

    /// The apps whose action is not done.
    pub(crate) fn open(&self) -> impl Iterator<Item = &AppId> {
        self.open.iter()
    }

    /// Sets the action on its app.
    pub(crate) fn put(&mut self, running: RunningAction) {
        let app_id = running.action.app.clone();
        if running.is_done {
            self.open.remove_mut(&app_id);
        } else {
            self.open.insert_mut(app_id.clone());
        }
        self.by_app.insert_mut(app_id, Arc::new(running));
    }
}

impl<'a> IntoIterator for &'a Actions {
    type Item = &'a RunningAction;
    type IntoIter = Box<dyn Iterator<Item = &'a RunningAction> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

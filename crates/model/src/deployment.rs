//! Deployment plans: what has to happen, step by step, to go from one tree to another.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::group::Group;
use crate::id::{AppId, DeploymentId};
use crate::time::Timestamp;

/// What one action of a plan does to its app. The names are the wire's; older clients know no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    /// Fetches what `storeUrls` name.
    ResolveArtifacts,
    /// Sets up a new app with 0 instances.
    StartApplication,
    /// Brings an app to its number of instances.
    ScaleApplication,
    /// Replaces every task of an app.
    RestartApplication,
    /// Ends an app that is no longer wanted.
    StopApplication,
}

/// A file that is to be brought into the artifact store before tasks can fetch it from there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Where it comes from.
    pub url: String,
    /// Its path in the artifact store.
    pub path: String,
}

/// One action: `{"action": .., "app": ..}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What is done.
    pub action: ActionKind,
    /// To which app.
    pub app: AppId,
}

/// Actions that run side by side; the next step begins when all are done.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Step {
    /// The actions, sorted by app.
    pub actions: Vec<Action>,
}

/// A plan as events carry it: `id, original, target, steps, version` (contract marathon §3.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The plan's id.
    pub id: DeploymentId,
    /// The whole tree before.
    pub original: Arc<Group>,
    /// The whole tree after.
    pub target: Arc<Group>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The version of the target tree.
    pub version: Timestamp,
}

impl Plan {
    /// Whether the plan acts on this app.
    pub fn affects(&self, app_id: &AppId) -> bool {
        self.steps
            .iter()
            .any(|step| step.actions.iter().any(|action| action.app == *app_id))
    }

    /// The apps the plan acts on, sorted; each once.
    pub fn affected_apps(&self) -> Vec<AppId> {
        let mut apps: Vec<AppId> = self
            .steps
            .iter()
            .flat_map(|step| step.actions.iter().map(|action| action.app.clone()))
            .collect();
        apps.sort();
        apps.dedup();
        apps
    }
}

//! Going back from a running plan: a new, forced plan to the state before it.
//!
//! Only what the plan touched is set back, and that whatever others did to it since; what others did elsewhere stays. An app
//! whose definition differs comes back as a new config, so that every task of the half-done version is replaced.
//! Source: contract marathon §3.8, §1.12; Marathon 1.3 `DeploymentPlanReverter`.

use std::sync::Arc;

use zddcluster_model::app::{App, VersionInfo};
use zddcluster_model::deployment::Plan;
use zddcluster_model::{AppId, DeploymentId, Group, Timestamp};

use super::deploy::Change;
use super::with_versions;
use crate::effect::{Answer, Refusal};
use crate::regroup::revert_groups;
use crate::turn::Turn;

impl Turn<'_> {
    /// Cancels a plan and deploys the state before it.
    pub(super) fn roll_back(&mut self, id: DeploymentId) -> Result<Answer, Refusal> {
        let Some(deployment) = self.state.deployments.get(&id) else {
            return Err(Refusal::UnknownDeployment(id));
        };
        let plan = Arc::clone(&deployment.plan);
        #[cfg(test)]
        let plan = match self.config.plant {
            Some(plant) => plant.spoil_plan(plan, self.state),
            None => plan,
        };
        let version = self.new_version();
        let mut root = reverted(&self.state.root, &plan, version);
        revert_groups(&mut root, &deployment.groups, version);
        let answer = self.deploy(Change {
            undoes: Some(id),
            ..Change::new(AppId::root(), root, version, true)
        })?;
        // An app that has nothing to go back to (a cancelled restart) is in no plan now, and may have too many tasks.
        for app_id in plan.affected_apps() {
            self.unbalance(&app_id);
        }
        Ok(answer)
    }
}

/// The present tree without what `plan` has changed in apps.
fn reverted(root: &Group, plan: &Plan, version: Timestamp) -> Group {
    let mut reverted = root.clone();
    reverted.version = version;
    for app_id in plan.affected_apps() {
        let current = root.app(&app_id);
        match (plan.original.app(&app_id), current) {
            (Some(original), Some(current)) => {
                let app = with_versions((**original).clone(), current, version);
                if app != **current {
                    reverted.put_app(Arc::new(app), version);
                }
            }
            (Some(original), None) => {
                let info = VersionInfo {
                    last_scaling_at: version,
                    last_config_change_at: version,
                };
                let app = App {
                    version,
                    version_info: Some(info),
                    ..(**original).clone()
                };
                reverted.put_app(Arc::new(app), version);
            }
            (None, Some(_)) => reverted = reverted.without_app(&app_id, version),
            (None, None) => {}
        }
    }
    reverted
}

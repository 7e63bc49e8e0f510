//! From a wanted tree to a stored plan: validation, lock, versions, and the beginning of the deployment.
//!
//! Source: contract marathon §3.1, §3.7.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::{App, Fault};
use zddcluster_model::deployment::Plan;
use zddcluster_model::event::EventKind;
use zddcluster_model::group::check_tree;
use zddcluster_model::{AppId, DeploymentId, Group, TaskId, Timestamp};

use crate::actions::Actions;
use crate::effect::{Answer, Refusal};
use crate::input::Origin;
use crate::persist;
use crate::plan::{resolve_step, steps};
use crate::regroup::group_changes;
use crate::state::{Deployment, VERSIONS_KEPT};
use crate::turn::Turn;

/// A wanted change of the tree.
pub(super) struct Change {
    /// The group named in `group_change_*`.
    pub(super) group_id: AppId,
    pub(super) root: Group,
    pub(super) version: Timestamp,
    /// Cancel deployments in the way.
    pub(super) force: bool,
    /// Tasks that a kill with `scale` has named.
    pub(super) sentenced: BTreeMap<AppId, BTreeSet<TaskId>>,
    /// What to say in `api_post_event`.
    pub(super) api_post: Option<(Origin, Arc<App>)>,
    /// The app to show in the answer, if one was created.
    pub(super) created: Option<Arc<App>>,
    /// The plan that is rolled back: it is cancelled, and what comes back is what was there.
    pub(super) undoes: Option<DeploymentId>,
}

impl Change {
    /// A change that names no tasks and no app.
    pub(super) const fn new(group_id: AppId, root: Group, version: Timestamp, force: bool) -> Self {
        Self {
            group_id,
            root,
            version,
            force,
            sentenced: BTreeMap::new(),
            api_post: None,
            created: None,
            undoes: None,
        }
    }
}

impl Turn<'_> {
    /// Publishes that a change failed and hands the reason back.
    pub(super) fn refuse_change(
        &mut self,
        group_id: AppId,
        version: Timestamp,
        refusal: Refusal,
    ) -> Refusal {
        let reason = refusal.to_string();
        self.publish(EventKind::GroupChangeFailed {
            group_id,
            version,
            reason,
        });
        refusal
    }

    /// As [`Self::refuse_change`], but silent for a definition that breaks rules: the change has not begun.
    pub(super) fn refuse_inside(
        &mut self,
        group_id: AppId,
        version: Timestamp,
        refusal: Refusal,
    ) -> Refusal {
        match refusal {
            Refusal::Invalid(_) => refusal,
            refusal => self.refuse_change(group_id, version, refusal),
        }
    }

    /// Checks the rules that concern a whole tree.
    pub(super) fn check_wanted(&self, root: &Group) -> Result<(), Vec<Fault>> {
        check_tree(root).and_then(|()| self.check_max_apps(root))
    }

    /// Refuses a tree that has grown beyond the most apps.
    fn check_max_apps(&self, root: &Group) -> Result<(), Vec<Fault>> {
        let Some(max) = self.config.max_apps else {
            return Ok(());
        };
        let n_apps = root.transitive_apps().len();
        if n_apps <= max || n_apps <= self.state.root.transitive_apps().len() {
            return Ok(());
        }
        let text = format!(
            "This Marathon instance may only handle up to {max} Apps!\n(Override with command line option --max_apps)"
        );
        Err(vec![Fault {
            path: "/".to_owned(),
            errors: vec![text],
        }])
    }

    /// Validates the new tree, plans, checks the lock, stores, and begins the deployment.
    pub(super) fn deploy(&mut self, change: Change) -> Result<Answer, Refusal> {
        let Change {
            group_id,
            root,
            version,
            force,
            sentenced,
            api_post,
            created,
            undoes,
        } = change;
        if let Err(faults) = self.check_wanted(&root) {
            return Err(self.refuse_change(group_id, version, Refusal::Invalid(faults)));
        }
        let steps = steps(&self.state.root, &root);
        #[cfg(test)]
        let steps = match self.config.plant {
            Some(plant) => plant.spoil_steps(steps),
            None => steps,
        };
        let mut steps = steps;
        let downloads = std::mem::take(&mut self.downloads);
        if let Some(step) = resolve_step(&downloads) {
            steps.insert(0, step);
        }
        let original = Arc::clone(&self.state.root);
        let target = Arc::new(root);
        let id = DeploymentId::new(&self.random_uuid().to_string());
        let plan = Plan {
            id: id.clone(),
            original,
            target,
            steps,
            version,
        };

        let conflicts = self.conflicts(&plan);
        if !conflicts.is_empty() && !force {
            return Err(self.refuse_change(group_id, version, Refusal::Locked(conflicts)));
        }
        for conflict in conflicts.iter().filter(|id| undoes.as_ref() != Some(*id)) {
            self.fail_step(conflict);
            self.cancel(conflict);
        }
        let undone = undoes.as_ref().map(|id| self.halt(id));
        self.store_tree(&plan, undoes.is_some());

        let plan = Arc::new(plan);
        if plan.steps.is_empty() {
            self.publish_change(group_id, version, api_post);
            self.publish(EventKind::DeploymentSuccess {
                id: id.clone(),
                plan,
            });
        } else {
            let groups = Arc::new(group_changes(&plan.original, &plan.target));
            let deployment = Deployment {
                plan,
                groups,
                step_idx: 0,
                actions: Actions::default(),
                sentenced,
                downloads,
            };
            self.persist(persist::put_deployment(&deployment));
            self.state.add_deployment(deployment);
            self.begin_step(&id);
            self.publish_change(group_id, version, api_post);
            self.advance(&id);
        }
        // Only now, when the apps that come back are in the tree again, with all their past.
        self.forget_gone(&undone.unwrap_or_default());
        Ok(Answer::Deployment {
            version,
            deployment_id: id,
            created,
        })
    }

    fn publish_change(
        &mut self,
        group_id: AppId,
        version: Timestamp,
        api_post: Option<(Origin, Arc<App>)>,
    ) {
        self.publish(EventKind::GroupChangeSuccess { group_id, version });
        if let Some((Origin { client_ip, uri }, app)) = api_post {
            self.publish(EventKind::ApiPost {
                client_ip,
                uri,
                app,
            });
        }
    }

    /// The running plans that act on an app of this one.
    fn conflicts(&self, plan: &Plan) -> Vec<DeploymentId> {
        let affected = plan.affected_apps();
        let locks = affected
            .iter()
            .filter_map(|app_id| self.state.locks.get(app_id));
        let conflicts: BTreeSet<&DeploymentId> = locks.collect();
        conflicts.into_iter().cloned().collect()
    }

    fn store_tree(&mut self, plan: &Plan, is_rollback: bool) {
        self.remember_tree(&plan.target);
        for app_id in plan.affected_apps() {
            let Some(app) = plan.target.app(&app_id).map(Arc::clone) else {
                continue;
            };
            if plan.original.app(&app_id).is_none() && !is_rollback {
                self.forget_past(&app_id);
            }
            self.add_version(app);
        }
        let mut mutations = Vec::new();
        persist::put_tree(&self.state.root, &plan.target, &mut mutations);
        for mutation in mutations {
            self.persist(mutation);
        }
        self.state.root = Arc::clone(&plan.target);
    }

    /// An app made anew, perhaps before its earlier self has ended: failures, delays and history are not its own.
    ///
    /// Source: contract marathon, trap 21.
    pub(super) fn forget_past(&mut self, app_id: &AppId) {
        self.reset_backoff(app_id);
        if self.state.failures.remove_mut(app_id) {
            self.persist(persist::remove_failure(app_id));
        }
        self.forget_versions(app_id);
        self.condemn_all(app_id);
    }

    /// Forgets the definitions of an app, but for those that a task on its way out or a plan still refers to.
    pub(crate) fn forget_versions(&mut self, app_id: &AppId) {
        let Some(apps) = self.state.versions.get(app_id).map(Arc::clone) else {
            return;
        };
        let needed = self.needed_versions(app_id);
        let (kept, gone): (Vec<_>, Vec<_>) = apps
            .iter()
            .cloned()
            .partition(|app| needed.contains(&app.version));
        for app in gone {
            self.drop_version(&app);
        }
        if kept.is_empty() {
            self.state.versions.remove_mut(app_id);
        } else {
            self.state
                .versions
                .insert_mut(app_id.clone(), Arc::new(kept));
        }
    }

    /// Keeps a definition; the oldest ones beyond the limit go, unless a task or a plan still needs them.
    fn add_version(&mut self, app: Arc<App>) {
        let app_id = app.id.clone();
        self.persist(persist::put_version(&app));
        let mut apps = self
            .state
            .versions
            .get(&app_id)
            .map(|v| (**v).clone())
            .unwrap_or_default();
        apps.retain(|other| other.version != app.version);
        apps.push(app);
        let surplus = apps.len().saturating_sub(VERSIONS_KEPT);
        if surplus > 0 {
            let needed = self.needed_versions(&app_id);
            let (old, kept) = apps.split_at(surplus);
            let mut kept = kept.to_vec();
            for app in old.iter().rev() {
                if needed.contains(&app.version) {
                    kept.insert(0, Arc::clone(app));
                } else {
                    self.drop_version(app);
                }
            }
            apps = kept;
        }
        self.state.versions.insert_mut(app_id, Arc::new(apps));
    }

    /// The versions that tasks of the app run, and those that the plan acting on it leads from and to. Other plans have the
    /// app in their trees, too, but do nothing to it.
    fn needed_versions(&self, app_id: &AppId) -> BTreeSet<Timestamp> {
        let of_tasks = self.state.tasks_of(app_id).map(|task| task.version);
        let of_plans = self.state.deployments_of(app_id).flat_map(|deployment| {
            let plan = &deployment.plan;
            [plan.original.app(app_id), plan.target.app(app_id)]
                .into_iter()
                .flatten()
                .map(|app| app.version)
        });
        of_tasks.chain(of_plans).collect()
    }
}

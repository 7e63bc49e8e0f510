//! Running deployments: steps, actions, and what each waits for.
//!
//! Level-triggered: [`Turn::advance`] looks at the tasks as they are and does what may be done. Whenever a task changes, the
//! action on its app is looked at again, and no other. So a resumed, a forced and an undisturbed deployment take the same way.
//!
//! ```text
//!   begin_step ──▶ deployment_info, checks ──▶ advance* ──all actions done──▶ step_success ──▶ begin_step │ finish
//!                                                  └──cancel (stopped, rolled back, forced over)──▶ failed
//! ```
//!
//! Source: contract marathon §3.2-3.4, §3.7, §3.9.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::App;
use zddcluster_model::deployment::ActionKind;
use zddcluster_model::event::EventKind;
use zddcluster_model::task::{ReadinessResponse, ReadinessResult};
use zddcluster_model::{AppId, DeploymentId, TaskId, TaskState};

use crate::actions::{Actions, DownloadState, Progress, RunningAction};
use crate::effect::{Attempt, CheckOrder, DownloadOrder, Effect};
use crate::kill::KillReason;
use crate::persist;
use crate::rollout::{Bounds, Rollout, View};
use crate::scale::{Preference, Scaling, replacement_order, victims};
use crate::state::{Deployment, Task};
use crate::turn::Turn;

impl Turn<'_> {
    /// Starts the current step of a deployment: says so, and starts the health checks its apps need.
    pub(crate) fn begin_step(&mut self, id: &DeploymentId) {
        let Some(deployment) = self.state.deployments.get(id).map(|d| (**d).clone()) else {
            return;
        };
        let plan = Arc::clone(&deployment.plan);
        let step = plan.steps[deployment.step_idx].clone();
        self.put_deployment(Deployment {
            actions: Actions::of(&step),
            ..deployment
        });
        self.publish(EventKind::DeploymentInfo {
            plan: Arc::clone(&plan),
            current_step: step.clone(),
        });
        for action in &step.actions {
            if let Some(app) = plan.target.app(&action.app) {
                self.start_checks(app, true);
                self.drop_checks_without_tasks(app);
            }
        }
    }

    /// Does what a deployment may do now, and goes on to further steps as long as they are done.
    pub(crate) fn advance(&mut self, id: &DeploymentId) {
        let open = |deployment: &Arc<Deployment>| deployment.actions.open().cloned().collect();
        while let Some(apps) = self.state.deployments.get(id).map(open) {
            if !self.advance_apps(id, apps) {
                return;
            }
        }
    }

    /// Does what a deployment may do now for these apps, something of which has changed; the others wait for what they did.
    pub(crate) fn advance_touched(&mut self, id: &DeploymentId, touched: Vec<AppId>) {
        if self.advance_apps(id, touched) {
            self.advance(id);
        }
    }

    /// True if that was the end of a step and another one has begun.
    fn advance_apps(&mut self, id: &DeploymentId, apps: Vec<AppId>) -> bool {
        let Some(mut deployment) = self.state.deployments.get(id).map(|d| (**d).clone()) else {
            return false;
        };
        let plan = Arc::clone(&deployment.plan);
        for app_id in apps {
            let running = deployment.actions.get(&app_id);
            let Some(mut running) = running.filter(|running| !running.is_done).cloned() else {
                continue;
            };
            let no_one = BTreeSet::new();
            let sentenced = deployment.sentenced.get(&app_id).unwrap_or(&no_one);
            match (running.action.action, plan.target.app(&app_id)) {
                (ActionKind::ScaleApplication, Some(app)) => {
                    self.scale(app, &mut running, sentenced);
                }
                (ActionKind::RestartApplication, Some(app)) => self.restart(app, &mut running),
                (ActionKind::StopApplication, _) => self.stop(&app_id, &mut running),
                (ActionKind::ResolveArtifacts, _) => self.download(&deployment, &mut running),
                (ActionKind::StartApplication, _) | (_, None) => running.is_done = true,
            }
            deployment.actions.put(running);
        }
        self.put_deployment(deployment.clone());
        if !deployment.actions.are_done() {
            return false;
        }
        self.call_off(&deployment);
        let step_idx = deployment.step_idx;
        self.publish(EventKind::DeploymentStepSuccess {
            plan: Arc::clone(&plan),
            current_step: plan.steps[step_idx].clone(),
        });
        if step_idx + 1 == plan.steps.len() {
            self.publish(EventKind::DeploymentSuccess {
                id: id.clone(),
                plan: Arc::clone(&plan),
            });
            let affected = self.remove_deployment(id);
            self.forget_gone(&affected);
            for app_id in plan.affected_apps() {
                self.unbalance(&app_id);
            }
            return false;
        }
        self.put_deployment(Deployment {
            step_idx: step_idx + 1,
            ..deployment
        });
        self.begin_step(id);
        true
    }

    /// Sets how far a deployment is.
    fn put_deployment(&mut self, deployment: Deployment) {
        let id = deployment.plan.id.clone();
        self.state.deployments.insert_mut(id, Arc::new(deployment));
    }

    /// Says that the current step of a deployment fails: another one is forced over it.
    pub(crate) fn fail_step(&mut self, id: &DeploymentId) {
        if let Some(deployment) = self.state.deployments.get(id).map(Arc::clone) {
            self.publish(EventKind::DeploymentStepFailure {
                plan: Arc::clone(&deployment.plan),
                current_step: deployment.plan.steps[deployment.step_idx].clone(),
            });
        }
    }

    /// Stops a deployment where it is: tasks stay as they are, queued launches are dropped, nothing is rolled back.
    pub(crate) fn cancel(&mut self, id: &DeploymentId) {
        let affected = self.halt(id);
        self.forget_gone(&affected);
    }

    /// Stops a deployment as [`Self::cancel`] does, but forgets nothing yet of the apps that are gone: those it names may come back.
    pub(crate) fn halt(&mut self, id: &DeploymentId) -> Vec<AppId> {
        let Some(deployment) = self.state.deployments.get(id).map(Arc::clone) else {
            return Vec::new();
        };
        let plan = Arc::clone(&deployment.plan);
        self.call_off(&deployment);
        for app_id in plan.affected_apps() {
            self.state.remove_queued(&app_id);
        }
        self.publish(EventKind::DeploymentFailed {
            id: id.clone(),
            plan,
        });
        self.remove_deployment(id)
    }

    fn remove_deployment(&mut self, id: &DeploymentId) -> Vec<AppId> {
        let affected = self.state.remove_deployment(id);
        for app_id in &affected {
            self.touch(app_id);
        }
        self.persist(persist::remove_deployment(id));
        affected
    }

    /// Forgets the definitions of those of these apps that are gone, and what they keep on agents; a plan that has ended kept them
    /// for a rollback, and one that still acts on them does.
    pub(crate) fn forget_gone(&mut self, affected: &[AppId]) {
        for app_id in affected {
            if self.state.locks.get(app_id).is_some() {
                continue;
            }
            match self.state.root.app(app_id).map(|app| app.is_resident()) {
                None => {
                    self.forget_versions(app_id);
                    self.condemn_all(app_id);
                }
                // Only a rollback leads there from a resident app; what instances have left is of no use to it.
                Some(false) => self.condemn_all(app_id),
                Some(true) => {}
            }
        }
    }

    /// Takes up the deployments of an earlier process, each from its first step.
    pub(crate) fn resume_deployments(&mut self) {
        let mut order: Vec<Arc<Deployment>> =
            self.state.deployments.values().map(Arc::clone).collect();
        order.sort_by_key(|deployment| deployment.plan.version);
        for deployment in order {
            let id = deployment.plan.id.clone();
            #[cfg(test)]
            if let Some(plant) = self.config.plant {
                let step_idx = plant.first_step(&deployment.plan);
                let spoiled = Deployment {
                    step_idx,
                    ..(*deployment).clone()
                };
                self.state
                    .deployments
                    .insert_mut(id.clone(), Arc::new(spoiled));
            }
            self.begin_step(&id);
            self.advance(&id);
        }
    }

    /// Takes up the running deployments as a process that has just been elected does: each from its first step (§3.9).
    pub(crate) fn begin_anew(&mut self) {
        let running: Vec<Arc<Deployment>> =
            self.state.deployments.values().map(Arc::clone).collect();
        for deployment in running {
            self.call_off(&deployment);
            // What a step before had queued waits for that step again.
            for app_id in deployment.plan.affected_apps() {
                self.state.remove_queued(&app_id);
            }
            self.put_deployment(Deployment {
                step_idx: 0,
                actions: Actions::default(),
                ..(*deployment).clone()
            });
        }
        self.resume_deployments();
    }

    // === the actions ===

    /// ResolveArtifacts: has an app's files brought into the artifact store, and waits for them.
    fn download(&mut self, deployment: &Deployment, running: &mut RunningAction) {
        let app_id = &running.action.app;
        let downloads = deployment.downloads.get(app_id).cloned();
        let downloads = downloads.unwrap_or_default();
        match running.progress.download {
            DownloadState::NotOrdered => {
                self.state.last_attempt += 1;
                let attempt = Attempt(self.state.last_attempt);
                running.progress.download = DownloadState::Ordered(attempt);
                self.effects.push(Effect::Download(DownloadOrder {
                    attempt,
                    deployment_id: deployment.plan.id.clone(),
                    app_id: app_id.clone(),
                    downloads,
                }));
            }
            DownloadState::Ordered(_) => {}
            DownloadState::Done => running.is_done = true,
        }
    }

    /// Takes the end of an app's downloads; one that failed fails the deployment.
    pub(crate) fn downloaded(
        &mut self,
        id: &DeploymentId,
        app_id: &AppId,
        attempt: Attempt,
        result: &Result<(), String>,
    ) {
        let Some(deployment) = self.state.deployments.get(id) else {
            return;
        };
        let mut deployment = (**deployment).clone();
        let running = deployment.actions.get(app_id).cloned();
        let Some(mut running) =
            running.filter(|running| running.progress.download == DownloadState::Ordered(attempt))
        else {
            return;
        };
        running.progress.download = DownloadState::Done;
        deployment.actions.put(running);
        if result.is_err() {
            let plan = Arc::clone(&deployment.plan);
            self.publish(EventKind::DeploymentStepFailure {
                current_step: plan.steps[deployment.step_idx].clone(),
                plan,
            });
            self.put_deployment(deployment);
            return self.cancel(id);
        }
        self.put_deployment(deployment);
        self.touch(app_id);
    }

    /// RestartApplication: replaces every task of another version.
    fn restart(&mut self, app: &Arc<App>, running: &mut RunningAction) {
        let tasks: Vec<Arc<Task>> = self.state.launched_of(&app.id).map(Arc::clone).collect();
        let (new, mut old): (Vec<_>, Vec<_>) = tasks
            .into_iter()
            .partition(|task| task.version == app.version);
        replacement_order(&mut old);

        if app.instances == 0 {
            self.purge_queue(&app.id);
            for task in old.iter().chain(&new) {
                self.kill(&task.id, KillReason::Deployment);
            }
            running.is_done = old.is_empty() && new.is_empty();
            return;
        }

        let mut rollout = match running.progress.rollout.take() {
            Some(rollout) => rollout,
            None => {
                self.reset_backoff(&app.id);
                self.purge_queue(&app.id);
                let (n_old, n_new) = (old.len(), new.len());
                let strategy = app.upgrade_strategy;
                let bounds = Bounds::new(app.instances, strategy, n_old, n_new, app.is_resident());
                #[cfg(test)]
                let bounds = self
                    .config
                    .plant
                    .map_or(bounds, |plant| plant.spoil(bounds));
                for task in old
                    .iter()
                    .take(usize::try_from(bounds.kill_now).unwrap_or(0))
                {
                    self.kill(&task.id, KillReason::Deployment);
                }
                Rollout::new(app.instances, bounds, n_old, n_new)
            }
        };

        self.ask_readiness(app, &new, &mut running.progress);
        // Read again: the kills above have changed them.
        let kept: Vec<Arc<Task>> = old
            .iter()
            .filter_map(|task| self.state.tasks.get(&task.id))
            .filter(|task| task.killing.is_none())
            .map(Arc::clone)
            .collect();
        let good: BTreeSet<TaskId> = new
            .iter()
            .filter(|task| {
                #[cfg(test)]
                if self.config.plant == Some(crate::sim::Plant::TakesRunningForGood) {
                    return task.state == TaskState::Running;
                }
                is_good(task, app, &running.progress)
            })
            .map(|task| task.id.clone())
            .collect();
        #[cfg(test)]
        let old = if self.config.plant == Some(crate::sim::Plant::CountsRunningOnly) {
            kept.clone()
        } else {
            old
        };
        let view = View {
            old_launched: old.len() as i64,
            old_kept: kept.len() as i64,
            new_launched: new.len() as i64,
            queued: i64::from(self.state.queued_of(&app.id)),
            good,
        };
        let moves = rollout.look(&view);
        for task in kept.iter().take(usize::try_from(moves.kill).unwrap_or(0)) {
            self.kill(&task.id, KillReason::Deployment);
        }
        if moves.queue > 0 {
            self.enqueue(app, moves.queue);
        }
        running.is_done = moves.is_done;
        running.progress.rollout = Some(rollout);
        self.show_readiness(app, &new, running);
    }

    /// ScaleApplication: kills the surplus and waits for it, then launches what is missing and waits for that.
    fn scale(&mut self, app: &Arc<App>, running: &mut RunningAction, sentenced: &BTreeSet<TaskId>) {
        let tasks: Vec<Arc<Task>> = self.state.launched_of(&app.id).map(Arc::clone).collect();
        let mut scaling = match running.progress.scaling.take() {
            Some(scaling) => scaling,
            None => {
                self.purge_queue(&app.id);
                let preference = Preference::of(self.state, app, &tasks);
                #[cfg(test)]
                let preference = match self.config.plant {
                    Some(plant) => plant.spoil_preference(preference),
                    None => preference,
                };
                let victims = victims(&tasks, app.instances, sentenced, &preference);
                for task in &victims {
                    self.kill(&task.id, KillReason::Deployment);
                }
                let victims: BTreeSet<TaskId> =
                    victims.iter().map(|task| task.id.clone()).collect();
                let leaving = tasks
                    .iter()
                    .filter(|task| task.killing.is_some() && !victims.contains(&task.id))
                    .map(|task| task.id.clone())
                    .collect();
                Scaling {
                    victims,
                    leaving,
                    wanted: None,
                }
            }
        };
        if tasks.iter().any(|task| scaling.victims.contains(&task.id)) {
            running.progress.scaling = Some(scaling);
            return;
        }

        let staying: Vec<&Arc<Task>> = tasks
            .iter()
            .filter(|task| !scaling.leaving.contains(&task.id))
            .collect();
        let new: Vec<Arc<Task>> = staying
            .iter()
            .filter(|task| task.version == app.version)
            .map(|task| Arc::clone(task))
            .collect();
        let wanted = *scaling.wanted.get_or_insert_with(|| {
            let missing = (i64::from(app.instances) - staying.len() as i64).max(0);
            missing + new.len() as i64
        });
        let queued = i64::from(self.state.queued_of(&app.id));
        let missing = wanted - new.len() as i64 - queued;
        if missing > 0 {
            self.enqueue(app, missing);
        }
        self.ask_readiness(app, &new, &mut running.progress);
        let n_good = new
            .iter()
            .filter(|task| is_good(task, app, &running.progress))
            .count() as i64;
        running.is_done = n_good >= wanted;
        running.progress.scaling = Some(scaling);
        self.show_readiness(app, &new, running);
    }

    /// StopApplication: kills all, waits, then takes away everything that was kept for the app.
    fn stop(&mut self, app_id: &AppId, running: &mut RunningAction) {
        self.purge_queue(app_id);
        let tasks: Vec<Arc<Task>> = self.state.tasks_of(app_id).map(Arc::clone).collect();
        for task in &tasks {
            if task.is_launched() {
                self.kill(&task.id, KillReason::Deployment);
            } else {
                self.finalize(&task.id, TaskState::Lost, "its app is gone".to_owned());
            }
        }
        if self.state.launched_of(app_id).next().is_some() {
            return;
        }
        let checked: Vec<(AppId, zddcluster_model::Timestamp)> =
            self.state.checks_of(app_id).cloned().collect();
        for (app_id, version) in checked {
            let key = (app_id.clone(), version);
            let n_checks = self
                .state
                .checks
                .get(&key)
                .map_or(0, |app| app.health_checks.len());
            self.state.checks.remove_mut(&key);
            self.effects.push(Effect::Check(CheckOrder::StopHealth {
                app_id: app_id.clone(),
                version,
            }));
            for _ in 0..n_checks {
                self.publish(EventKind::RemoveHealthCheck {
                    app_id: app_id.clone(),
                });
            }
        }
        self.reset_backoff(app_id);
        if self.state.failures.remove_mut(app_id) {
            self.persist(persist::remove_failure(app_id));
        }
        self.publish(EventKind::AppTerminated {
            app_id: app_id.clone(),
        });
        running.is_done = true;
    }

    // === readiness ===

    /// Asks the new tasks that run and have not been asked yet.
    fn ask_readiness(&mut self, app: &Arc<App>, new: &[Arc<Task>], progress: &mut Progress) {
        if app.readiness_checks.is_empty() {
            return;
        }
        for task in new.iter().filter(|task| task.state == TaskState::Running) {
            if progress.asked.insert(task.id.clone()) {
                self.effects.push(Effect::Check(CheckOrder::StartReadiness {
                    task_id: task.id.clone(),
                    app: Arc::clone(app),
                }));
            }
        }
    }

    /// Brings the results shown in the deployment up to the tasks there are.
    fn show_readiness(&mut self, app: &App, new: &[Arc<Task>], running: &mut RunningAction) {
        let Some(check) = app.readiness_checks.first() else {
            return;
        };
        let mut before: BTreeMap<TaskId, ReadinessResult> = std::mem::take(&mut running.readiness)
            .into_iter()
            .map(|result| (result.task_id.clone(), result))
            .collect();
        running.readiness = new
            .iter()
            .filter(|task| running.progress.asked.contains(&task.id))
            .map(|task| {
                before.remove(&task.id).unwrap_or_else(|| ReadinessResult {
                    name: check.name.clone(),
                    task_id: task.id.clone(),
                    ready: false,
                    last_response: None,
                })
            })
            .collect();
    }

    /// Takes one answer to a readiness check.
    pub(crate) fn readiness(&mut self, id: &TaskId, is_ready: bool, response: ReadinessResponse) {
        let Some(task) = self.state.tasks.get(id).map(Arc::clone) else {
            return;
        };
        let running = self.state.deployments_of(&task.app_id).next();
        if let Some(deployment) = running.map(Arc::clone)
            && let Some(running) = deployment.actions.get(&task.app_id)
            && running.progress.asked.contains(id)
        {
            let keeps_response = deployment
                .plan
                .target
                .app(&task.app_id)
                .and_then(|app| app.readiness_checks.first())
                .is_some_and(|check| check.preserve_last_response);
            let mut running = running.clone();
            let results = running.readiness.iter_mut();
            for result in results.filter(|result| result.task_id == *id) {
                result.ready = is_ready;
                result.last_response = keeps_response.then(|| response.clone());
            }
            if is_ready {
                running.progress.ready.insert(id.clone());
            }
            let mut deployment = (*deployment).clone();
            deployment.actions.put(running);
            self.put_deployment(deployment);
        }
        if is_ready {
            let task_id = id.clone();
            self.effects
                .push(Effect::Check(CheckOrder::StopReadiness { task_id }));
        }
        self.touch(&task.app_id);
    }

    /// Ends the questions and downloads of a deployment whose step or whole is over.
    fn call_off(&mut self, deployment: &Deployment) {
        for running in &deployment.actions {
            if let DownloadState::Ordered(attempt) = running.progress.download {
                self.effects.push(Effect::StopDownload(attempt));
            }
            for task_id in running.progress.asked.difference(&running.progress.ready) {
                let task_id = task_id.clone();
                self.effects
                    .push(Effect::Check(CheckOrder::StopReadiness { task_id }));
            }
        }
    }
}

/// A new task counts: it runs, was healthy once, and, if there is a readiness check, has said that it is ready.
fn is_good(task: &Task, app: &App, progress: &Progress) -> bool {
    task.state == TaskState::Running
        && task.has_been_healthy()
        && (app.readiness_checks.is_empty() || progress.ready.contains(&task.id))
}

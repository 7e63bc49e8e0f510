//! Commands: from a request to a new tree, a plan, and the answer.
//!
//! Source: contract marathon §1.12, §2.3, §2.4, §3.1, §3.7.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::{App, AppUpdate, Fault, RuleErrors, VersionInfo};
use zddcluster_model::deployment::Plan;
use zddcluster_model::event::EventKind;
use zddcluster_model::group::check_tree;
use zddcluster_model::{AppId, DeploymentId, Group, TaskId, Timestamp};

use crate::effect::{Answer, Effect, Refusal};
use crate::input::{Command, Origin, Selection, Ticket};
use crate::kill::KillReason;
use crate::persist;
use crate::plan::{differs_in_instances_only, steps};
use crate::state::{Deployment, Task, VERSIONS_KEPT};
use crate::turn::Turn;

/// Service ports are assigned from here, Marathon's default range.
const SERVICE_PORTS: std::ops::Range<u16> = 10_000..20_000;

/// A wanted change of the tree.
struct Change {
    /// The group named in `group_change_*`.
    group_id: AppId,
    root: Group,
    version: Timestamp,
    force: bool,
    sentenced: BTreeMap<AppId, BTreeSet<TaskId>>,
    /// What to say in `api_post_event`.
    api_post: Option<(Origin, Arc<App>)>,
    created: Option<Arc<App>>,
}

impl From<RuleErrors> for Refusal {
    fn from(RuleErrors(faults): RuleErrors) -> Self {
        Self::Invalid(faults)
    }
}

impl Turn<'_> {
    /// Carries out a command and answers it.
    pub(crate) fn command(&mut self, ticket: Ticket, command: Command) {
        let answer = if self.state.is_stopping {
            Err(Refusal::Stopping)
        } else {
            self.carry_out(command)
        };
        self.effects.push(Effect::Reply(ticket, answer));
    }

    fn carry_out(&mut self, command: Command) -> Result<Answer, Refusal> {
        match command {
            Command::CreateApp {
                update,
                force,
                origin,
            } => self.create_app(update, force, origin),
            Command::UpdateApp {
                app_id,
                update,
                is_full,
                force,
                origin,
            } => self.update_app(&app_id, update, is_full, force, origin),
            Command::UpdateApps { updates, force } => self.update_apps(updates, force),
            Command::DeleteApp { app_id, force } => self.delete_app(&app_id, force),
            Command::RestartApp { app_id, force } => self.restart_app(&app_id, force),
            Command::KillTasks {
                selection,
                scale,
                force,
            } => self.kill_tasks(selection, scale, force),
            Command::CancelDeployment { deployment_id } => {
                if self.state.deployments.contains_key(&deployment_id) {
                    self.cancel(&deployment_id);
                    Ok(Answer::Done)
                } else {
                    Err(Refusal::UnknownDeployment(deployment_id))
                }
            }
            Command::ResetDelay { app_id } => {
                if self.state.queue.contains_key(&app_id) {
                    self.reset_backoff(&app_id);
                    Ok(Answer::Done)
                } else {
                    Err(Refusal::NotQueued(app_id))
                }
            }
            Command::StopTasks => {
                self.state.is_stopping = true;
                let ids: Vec<TaskId> = self.state.tasks.keys().cloned().collect();
                for id in ids {
                    self.kill(&id, KillReason::Down);
                }
                Ok(Answer::Done)
            }
        }
    }

    fn create_app(
        &mut self,
        update: AppUpdate,
        force: bool,
        origin: Origin,
    ) -> Result<Answer, Refusal> {
        let app_id = AppId::absolute(update.id.as_deref().unwrap_or_default());
        let version = self.new_version();
        let app = update.into_app(app_id.clone(), version)?;
        let group_id = app_id.parent();
        if self.state.root.app(&app_id).is_some() {
            return Err(self.refuse_change(group_id, version, Refusal::AppExists(app_id)));
        }
        self.deploy_new(app, version, force, origin)
    }

    /// Deploys an app that is not there yet.
    fn deploy_new(
        &mut self,
        mut app: App,
        version: Timestamp,
        force: bool,
        origin: Origin,
    ) -> Result<Answer, Refusal> {
        let group_id = app.id.parent();
        app.version = version;
        app.version_info = Some(VersionInfo {
            last_scaling_at: version,
            last_config_change_at: version,
        });
        // The answer shows the app as submitted, its service ports not yet assigned.
        let submitted = Arc::new(App {
            version_info: None,
            ..app.clone()
        });
        if let Err(refusal) =
            assign_service_ports(&mut app, None, &mut used_ports(&self.state.root))
        {
            return Err(self.refuse_change(group_id, version, refusal));
        }
        let app = Arc::new(app);
        let root = self.state.root.with_app(Arc::clone(&app), version);
        self.deploy(Change {
            group_id,
            root,
            version,
            force,
            sentenced: BTreeMap::new(),
            api_post: Some((origin, app)),
            created: Some(submitted),
        })
    }

    fn update_app(
        &mut self,
        app_id: &AppId,
        update: AppUpdate,
        is_full: bool,
        force: bool,
        origin: Origin,
    ) -> Result<Answer, Refusal> {
        let version = self.new_version();
        let Some(current) = self.state.root.app(app_id).map(Arc::clone) else {
            if update.version.is_some() {
                let refusal = Refusal::UnknownApp(app_id.clone());
                return Err(self.refuse_change(app_id.parent(), version, refusal));
            }
            let app = update.into_app(app_id.clone(), version)?;
            return self.deploy_new(app, version, force, origin);
        };
        let mut used = used_ports(&self.state.root);
        let app = self
            .merged(&current, update, is_full, version, &mut used)
            .map_err(|refusal| self.refuse_inside(app_id.parent(), version, refusal))?;
        let app = Arc::new(app);
        let root = self.state.root.with_app(Arc::clone(&app), version);
        self.deploy(Change {
            group_id: app_id.parent(),
            root,
            version,
            force,
            sentenced: BTreeMap::new(),
            api_post: Some((origin, app)),
            created: None,
        })
    }

    fn update_apps(&mut self, updates: Vec<AppUpdate>, force: bool) -> Result<Answer, Refusal> {
        let version = self.new_version();
        let mut root = (*self.state.root).clone();
        root.version = version;
        let mut used = used_ports(&root);
        for update in updates {
            let Some(id) = &update.id else { continue };
            let app_id = AppId::absolute(id);
            let app = match root.app(&app_id).map(Arc::clone) {
                Some(current) => self.merged(&current, update, false, version, &mut used),
                None => new_app(app_id, update, version, &mut used),
            };
            let app = app.map_err(|refusal| self.refuse_inside(AppId::root(), version, refusal))?;
            root.put_app(Arc::new(app), version);
        }
        self.deploy(Change {
            group_id: AppId::root(),
            root,
            version,
            force,
            sentenced: BTreeMap::new(),
            api_post: None,
            created: None,
        })
    }

    /// `current` as the update wants it, with its versions set; equal to `current` if nothing changes. `used` are the service
    /// ports of all apps, to which its own are added.
    fn merged(
        &self,
        current: &App,
        update: AppUpdate,
        is_full: bool,
        version: Timestamp,
        used: &mut BTreeSet<u16>,
    ) -> Result<App, Refusal> {
        let mut app = if let Some(wanted) = update.version {
            let stored = self
                .state
                .version_of(&current.id, wanted)
                .ok_or_else(|| Refusal::UnknownApp(current.id.clone()))?;
            (**stored).clone()
        } else if is_full {
            update.into_app(current.id.clone(), version)?
        } else {
            update.apply(current)?
        };
        assign_service_ports(&mut app, Some(current), used)?;
        app.version = current.version;
        app.version_info = current.version_info;
        if app == *current {
            return Ok(app);
        }
        let is_scaled = differs_in_instances_only(current, &app);
        let last_config_change_at = if is_scaled {
            current.config_version()
        } else {
            version
        };
        app.version = version;
        app.version_info = Some(VersionInfo {
            last_scaling_at: version,
            last_config_change_at,
        });
        Ok(app)
    }

    fn delete_app(&mut self, app_id: &AppId, force: bool) -> Result<Answer, Refusal> {
        let version = self.new_version();
        if self.state.root.app(app_id).is_none() {
            let refusal = Refusal::UnknownApp(app_id.clone());
            return Err(self.refuse_change(app_id.parent(), version, refusal));
        }
        let root = self.state.root.without_app(app_id, version);
        self.deploy(Change {
            group_id: app_id.parent(),
            root,
            version,
            force,
            sentenced: BTreeMap::new(),
            api_post: None,
            created: None,
        })
    }

    fn restart_app(&mut self, app_id: &AppId, force: bool) -> Result<Answer, Refusal> {
        let version = self.new_version();
        let Some(current) = self.state.root.app(app_id) else {
            let refusal = Refusal::UnknownApp(app_id.clone());
            return Err(self.refuse_change(app_id.parent(), version, refusal));
        };
        let info = VersionInfo {
            last_scaling_at: version,
            last_config_change_at: current.config_version(),
        };
        let app = App {
            version,
            version_info: Some(info),
            ..(**current).clone()
        };
        let root = self.state.root.with_app(Arc::new(app), version);
        self.deploy(Change {
            group_id: app_id.parent(),
            root,
            version,
            force,
            sentenced: BTreeMap::new(),
            api_post: None,
            created: None,
        })
    }

    fn kill_tasks(
        &mut self,
        selection: Selection,
        scale: bool,
        force: bool,
    ) -> Result<Answer, Refusal> {
        let selected = self.selected(selection, scale)?;
        if !scale {
            for task in &selected {
                self.kill(&task.id, KillReason::Api);
            }
            return Ok(Answer::Killed(selected));
        }
        let version = self.new_version();
        let mut root = (*self.state.root).clone();
        let mut sentenced: BTreeMap<AppId, BTreeSet<TaskId>> = BTreeMap::new();
        for task in &selected {
            sentenced
                .entry(task.app_id.clone())
                .or_default()
                .insert(task.id.clone());
        }
        for (app_id, ids) in &sentenced {
            let Some(current) = root.app(app_id) else {
                continue;
            };
            let info = VersionInfo {
                last_scaling_at: version,
                last_config_change_at: current.config_version(),
            };
            let n_killed = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            let app = App {
                instances: current.instances.saturating_sub(n_killed),
                version,
                version_info: Some(info),
                ..(**current).clone()
            };
            root = root.with_app(Arc::new(app), version);
        }
        self.deploy(Change {
            group_id: AppId::root(),
            root,
            version,
            force,
            sentenced,
            api_post: None,
            created: None,
        })
    }

    fn selected(&self, selection: Selection, scale: bool) -> Result<Vec<Arc<Task>>, Refusal> {
        let known = |app_id: &AppId| {
            if self.state.root.app(app_id).is_some() {
                Ok(())
            } else {
                Err(Refusal::UnknownApp(app_id.clone()))
            }
        };
        match selection {
            Selection::Ids(ids) => Ok(ids
                .iter()
                .filter_map(|id| self.state.tasks.get(id))
                .filter(|task| task.is_launched() && self.state.root.app(&task.app_id).is_some())
                .map(Arc::clone)
                .collect()),
            Selection::App { app_id, host } => {
                known(&app_id)?;
                let tasks: Vec<Arc<Task>> = self
                    .state
                    .launched_of(&app_id)
                    .filter(|task| host.as_ref().is_none_or(|host| *host == task.host))
                    .map(Arc::clone)
                    .collect();
                if scale && self.state.launched_of(&app_id).next().is_none() {
                    return Err(Refusal::UnknownApp(app_id));
                }
                Ok(tasks)
            }
            Selection::One { app_id, task_id } => {
                known(&app_id)?;
                let task = self
                    .state
                    .tasks
                    .get(&task_id)
                    .filter(|task| task.is_launched() && task.app_id == app_id);
                match task {
                    Some(task) => Ok(vec![Arc::clone(task)]),
                    None if scale => Ok(Vec::new()),
                    None => Err(Refusal::UnknownTask(task_id)),
                }
            }
        }
    }

    /// Publishes that a change failed and hands the reason back.
    fn refuse_change(&mut self, group_id: AppId, version: Timestamp, refusal: Refusal) -> Refusal {
        let reason = refusal.to_string();
        self.publish(EventKind::GroupChangeFailed {
            group_id,
            version,
            reason,
        });
        refusal
    }

    /// As [`Self::refuse_change`], but silent for a definition that breaks rules: the change has not begun.
    fn refuse_inside(&mut self, group_id: AppId, version: Timestamp, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Invalid(_) => refusal,
            refusal => self.refuse_change(group_id, version, refusal),
        }
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
    fn deploy(&mut self, change: Change) -> Result<Answer, Refusal> {
        let Change {
            group_id,
            root,
            version,
            force,
            sentenced,
            api_post,
            created,
        } = change;
        if let Err(faults) = check_tree(&root).and_then(|()| self.check_max_apps(&root)) {
            return Err(self.refuse_change(group_id, version, Refusal::Invalid(faults)));
        }
        let steps = steps(&self.state.root, &root);
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
        for conflict in &conflicts {
            self.cancel(conflict);
        }
        self.store_tree(&plan);

        let plan = Arc::new(plan);
        if plan.steps.is_empty() {
            self.publish_change(group_id, version, api_post);
            self.publish(EventKind::DeploymentSuccess {
                id: id.clone(),
                plan,
            });
        } else {
            let deployment = Deployment {
                plan,
                step_idx: 0,
                actions: Vec::new(),
                sentenced,
            };
            self.persist(persist::put_deployment(&deployment));
            self.state
                .deployments
                .insert_mut(id.clone(), Arc::new(deployment));
            self.begin_step(&id);
            self.publish_change(group_id, version, api_post);
            self.advance(&id);
        }
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
        self.state
            .deployments
            .values()
            .filter(|running| affected.iter().any(|app_id| running.plan.affects(app_id)))
            .map(|running| running.plan.id.clone())
            .collect()
    }

    fn store_tree(&mut self, plan: &Plan) {
        for app_id in plan.affected_apps() {
            let Some(app) = plan.target.app(&app_id).map(Arc::clone) else {
                continue;
            };
            if plan.original.app(&app_id).is_none() {
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
    fn forget_past(&mut self, app_id: &AppId) {
        self.reset_backoff(app_id);
        if self.state.failures.remove_mut(app_id) {
            self.persist(persist::remove_failure(app_id));
        }
        let Some(apps) = self.state.versions.get(app_id).map(Arc::clone) else {
            return;
        };
        // Tasks on their way out still refer to theirs.
        let needed = self.needed_versions(app_id);
        let (kept, gone): (Vec<_>, Vec<_>) = apps
            .iter()
            .cloned()
            .partition(|app| needed.contains(&app.version));
        for app in gone {
            self.persist(persist::remove_version(app_id, app.version));
        }
        self.state
            .versions
            .insert_mut(app_id.clone(), Arc::new(kept));
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
                    self.effects.push(Effect::Persist(persist::remove_version(
                        &app_id,
                        app.version,
                    )));
                }
            }
            apps = kept;
        }
        self.state.versions.insert_mut(app_id, Arc::new(apps));
    }

    fn needed_versions(&self, app_id: &AppId) -> BTreeSet<Timestamp> {
        let of_tasks = self.state.tasks_of(app_id).map(|task| task.version);
        let of_plans = self.state.deployments.values().flat_map(|deployment| {
            let plan = &deployment.plan;
            [plan.original.app(app_id), plan.target.app(app_id)]
                .into_iter()
                .flatten()
                .map(|app| app.version)
        });
        of_tasks.chain(of_plans).collect()
    }
}

/// An app of a list that is not there yet; `used` are the service ports of all apps, to which its own are added.
fn new_app(
    app_id: AppId,
    update: AppUpdate,
    version: Timestamp,
    used: &mut BTreeSet<u16>,
) -> Result<App, Refusal> {
    if update.version.is_some() {
        return Err(Refusal::UnknownApp(app_id));
    }
    let mut app = update.into_app(app_id, version)?;
    app.version_info = Some(VersionInfo {
        last_scaling_at: version,
        last_config_change_at: version,
    });
    assign_service_ports(&mut app, None, used)?;
    Ok(app)
}

/// The service ports of all apps.
fn used_ports(root: &Group) -> BTreeSet<u16> {
    let apps = root.transitive_apps().into_iter();
    apps.flat_map(|app| app.service_ports()).collect()
}

/// Gives each service port 0 a number: first the app's own earlier ones, then the lowest that no app uses.
///
/// `used` are the ports of all apps of the old tree and the new one so far; the app's are added.
/// Source: contract marathon §1.5.
fn assign_service_ports(
    app: &mut App,
    previous: Option<&App>,
    used: &mut BTreeSet<u16>,
) -> Result<(), Refusal> {
    let mut ports = app.service_ports();
    used.extend(ports.iter().copied());
    if !ports.contains(&0) {
        return Ok(());
    }
    let mut own = previous
        .map(App::service_ports)
        .unwrap_or_default()
        .into_iter()
        .filter(|port| SERVICE_PORTS.contains(port) && !ports.contains(port))
        .collect::<Vec<_>>()
        .into_iter();
    let mut free = SERVICE_PORTS.filter(|port| !used.contains(port));
    for port in ports.iter_mut().filter(|port| **port == 0) {
        *port = match own.next() {
            Some(port) => port,
            None => free.next().ok_or(Refusal::PortsExhausted)?,
        };
    }
    used.extend(ports.iter().copied());
    app.set_service_ports(&ports);
    Ok(())
}

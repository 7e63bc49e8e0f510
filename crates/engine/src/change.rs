//! Commands: from a request to the tree it wants, and the answer.
//!
//! What becomes of the wanted tree is decided in [`deploy`]; which service ports apps get, in [`ports`]; how a plan is undone,
//! in [`rollback`]; [`groups`] are changed as a whole.
//! Source: contract marathon §1.12, §2.3, §2.4.

mod deploy;
mod groups;
mod ports;
mod rollback;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::{App, AppUpdate, RuleErrors, VersionInfo};
use zddcluster_model::{AppId, TaskId, Timestamp};

use crate::effect::{Answer, Effect, Refusal};
use crate::input::{Command, Origin, Selection, Ticket};
use crate::kill::KillReason;
use crate::plan::differs_in_instances_only;
use crate::state::Task;
use crate::turn::Turn;
use deploy::Change;
use ports::{assign_service_ports, used_ports};

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
            Command::CreateGroup {
                base,
                update,
                force,
            } => self.create_group(&base, update, force),
            Command::UpdateGroup {
                base,
                update,
                force,
            } => self.update_group(&base, update, force),
            Command::PlanGroup { base, update } => self.plan_group(&base, update),
            Command::DeleteGroup { group_id, force } => self.delete_group(&group_id, force),
            Command::KillTasks {
                selection,
                scale,
                wipe,
                force,
            } => self.kill_tasks(selection, scale, wipe, force),
            Command::CancelDeployment { deployment_id } => {
                if self.state.deployments.contains_key(&deployment_id) {
                    self.cancel(&deployment_id);
                    Ok(Answer::Done)
                } else {
                    Err(Refusal::UnknownDeployment(deployment_id))
                }
            }
            Command::RollBackDeployment { deployment_id } => self.roll_back(deployment_id),
            Command::ResetDelay { app_id } => {
                if self.state.queue.contains_key(&app_id) {
                    self.reset_backoff(&app_id);
                    Ok(Answer::Done)
                } else {
                    Err(Refusal::NotQueued(app_id))
                }
            }
            Command::WithDownloads { downloads, command } => {
                self.downloads = downloads;
                self.carry_out(*command)
            }
            Command::Abdicate => {
                self.begin_anew();
                Ok(Answer::Done)
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
        app: App,
        version: Timestamp,
        force: bool,
        origin: Origin,
    ) -> Result<Answer, Refusal> {
        let group_id = app.id.parent();
        let mut app = as_new(app, version);
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
            api_post: Some((origin, app)),
            created: Some(submitted),
            ..Change::new(group_id, root, version, force)
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
        let root = self.state.root.with_app(Arc::clone(&app), version);
        self.deploy(Change {
            api_post: Some((origin, app)),
            ..Change::new(app_id.parent(), root, version, force)
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
            root.put_app(app, version);
        }
        self.deploy(Change::new(AppId::root(), root, version, force))
    }

    /// `current` as the update wants it, with its versions set; equal to `current` if nothing changes. `used` are the service
    /// ports of all apps, to which its own are added.
    fn merged(
        &self,
        current: &Arc<App>,
        update: AppUpdate,
        is_full: bool,
        version: Timestamp,
        used: &mut BTreeSet<u16>,
    ) -> Result<Arc<App>, Refusal> {
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
        let app = with_versions(app, current, version);
        Ok(if app == **current {
            Arc::clone(current)
        } else {
            Arc::new(app)
        })
    }

    fn delete_app(&mut self, app_id: &AppId, force: bool) -> Result<Answer, Refusal> {
        let version = self.new_version();
        if self.state.root.app(app_id).is_none() {
            let refusal = Refusal::UnknownApp(app_id.clone());
            return Err(self.refuse_change(app_id.parent(), version, refusal));
        }
        let root = self.state.root.without_app(app_id, version);
        self.deploy(Change::new(app_id.parent(), root, version, force))
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
        self.deploy(Change::new(app_id.parent(), root, version, force))
    }

    fn kill_tasks(
        &mut self,
        selection: Selection,
        scale: bool,
        wipe: bool,
        force: bool,
    ) -> Result<Answer, Refusal> {
        let wiped = match &selection {
            Selection::App { app_id, host } if wipe => Some((app_id.clone(), host.clone())),
            _ => None,
        };
        let selected = self.selected(selection, scale, wipe)?;
        if !scale {
            for task in &selected {
                if wipe {
                    self.wipe(&task.id);
                }
                self.kill(&task.id, KillReason::Api);
            }
            if let Some((app_id, host)) = wiped {
                self.wipe_free(&app_id, host.as_deref());
            }
            return Ok(Answer::Killed(selected));
        }
        let version = self.new_version();
        let mut root = (*self.state.root).clone();
        root.version = version;
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
            sentenced,
            ..Change::new(AppId::root(), root, version, force)
        })
    }

    /// The tasks named by a kill: launched ones, and with `wipe` also lost ones.
    fn selected(
        &self,
        selection: Selection,
        scale: bool,
        wipe: bool,
    ) -> Result<Vec<Arc<Task>>, Refusal> {
        let may_end = |task: &Task| task.is_launched() || wipe;
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
                .filter(|task| may_end(task) && self.state.root.app(&task.app_id).is_some())
                .map(Arc::clone)
                .collect()),
            Selection::App { app_id, host } => {
                known(&app_id)?;
                let tasks: Vec<Arc<Task>> = self
                    .state
                    .tasks_of(&app_id)
                    .filter(|task| may_end(task))
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
                    .filter(|task| may_end(task) && task.app_id == app_id);
                match task {
                    Some(task) => Ok(vec![Arc::clone(task)]),
                    None if scale => Ok(Vec::new()),
                    None => Err(Refusal::UnknownTask(task_id)),
                }
            }
        }
    }
}

/// `app`, which is to replace `current`, with the versions that come of their difference: `current`'s own without any.
///
/// Source: contract marathon §1.12.
fn with_versions(mut app: App, current: &App, version: Timestamp) -> App {
    app.keep_order_of(current);
    app.version = current.version;
    app.version_info = current.version_info;
    if app == *current {
        return app;
    }
    let last_config_change_at = if differs_in_instances_only(current, &app) {
        current.config_version()
    } else {
        version
    };
    app.version = version;
    app.version_info = Some(VersionInfo {
        last_scaling_at: version,
        last_config_change_at,
    });
    app
}

/// An app of a list that is not there yet; `used` are the service ports of all apps, to which its own are added.
fn new_app(
    app_id: AppId,
    update: AppUpdate,
    version: Timestamp,
    used: &mut BTreeSet<u16>,
) -> Result<Arc<App>, Refusal> {
    if update.version.is_some() {
        return Err(Refusal::UnknownApp(app_id));
    }
    let mut app = as_new(update.into_app(app_id, version)?, version);
    assign_service_ports(&mut app, None, used)?;
    Ok(Arc::new(app))
}

/// The versions of an app that is not there yet.
fn as_new(app: App, version: Timestamp) -> App {
    App {
        version,
        version_info: Some(VersionInfo {
            last_scaling_at: version,
            last_config_change_at: version,
        }),
        ..app
    }
}

//! The world's users: what they ask for.

use std::sync::Arc;

use serde_json::{Value, json};
use zddcluster_model::app::{App, AppUpdate, Form};
use zddcluster_model::{AppId, DeploymentId, TaskId};

use super::checks::fate;
use super::definitions::{APPS, RESIDENT};
pub(super) use super::journal::Users;
use super::journal::Want;
use super::world::{Happening, World};
use crate::input::{Command, Input, Origin, Selection};

impl World {
    pub(super) fn user(&mut self) {
        if self.is_peaceful {
            return;
        }
        let app_id = AppId::absolute(self.pick(&APPS));
        let is_there = self.engine.state().root.app(&app_id).is_some();
        let force = self.one_in(3);
        match self.below(27) {
            0 => self.write_list(force),
            1 | 26 => self.write_group(force),
            24..=25 | 2 => self.stop_some(),
            3 => self.reset_delay(app_id),
            4 => self.kill_by_api(),
            _ if !is_there => self.write(&app_id, false, force),
            5..=11 => self.write(&app_id, true, force),
            12..=16 => {
                let instances = self.below(6);
                self.update(
                    app_id,
                    Want::Instances(instances),
                    &json!({ "instances": instances }),
                    force,
                );
            }
            17 => self.go_back(app_id, force),
            18..=19 => {
                let id = app_id.clone();
                self.ask_for(vec![(id, Want::Restarted)], force, false, |_| {
                    Command::RestartApp { app_id, force }
                });
            }
            20..=21 => {
                let id = app_id.clone();
                self.ask_for(vec![(id, Want::Gone)], force, false, |_| {
                    Command::DeleteApp { app_id, force }
                });
            }
            _ => self.kill_and_scale(app_id, force),
        }
        let next = 200 + i64::from(self.below(30_000));
        self.after(next, Happening::User);
    }

    /// Gives a command; `wants` is what it will have done to apps when it is acknowledged.
    pub(super) fn ask_for(
        &mut self,
        wants: Vec<(AppId, Want)>,
        force: bool,
        may_be_refused: bool,
        command: impl FnOnce(Origin) -> Command,
    ) {
        let origin = Origin {
            client_ip: "127.0.0.1".to_owned(),
            uri: "/v2/apps".to_owned(),
        };
        let ticket = self.new_ticket();
        self.users.asks(ticket, wants, force, may_be_refused);
        self.step(Input::Command {
            ticket,
            command: command(origin),
        });
    }

    /// Gives a command that changes no definition.
    pub(super) fn request(&mut self, command: Command) {
        self.ask_for(Vec::new(), true, true, |_| command);
    }

    fn update(&mut self, app_id: AppId, want: Want, update: &Value, force: bool) {
        let update = read(update);
        self.ask_for(vec![(app_id.clone(), want)], force, false, |origin| {
            Command::UpdateApp {
                app_id,
                update,
                is_full: false,
                force,
                origin,
            }
        });
    }

    fn written(&mut self, app_id: &AppId, is_plain: bool) -> (Want, AppUpdate) {
        let release = self.users.next_release();
        let instances = 1 + self.below(5);
        let definition = self.definition(app_id, release, instances, is_plain);
        let want = Want::Written { release, instances };
        (want, read(&definition))
    }

    fn write(&mut self, app_id: &AppId, is_update: bool, force: bool) {
        let (want, update) = self.written(app_id, false);
        let id = app_id.clone();
        self.ask_for(vec![(id.clone(), want)], force, true, |origin| {
            if is_update {
                Command::UpdateApp {
                    app_id: id,
                    update,
                    is_full: true,
                    force,
                    origin,
                }
            } else {
                Command::CreateApp {
                    update,
                    force,
                    origin,
                }
            }
        });
    }

    /// PUT of a list: new apps and changes in one plan.
    fn write_list(&mut self, force: bool) {
        let mut wants = Vec::new();
        let mut updates = Vec::new();
        for id in APPS {
            if id != RESIDENT && self.one_in(2) {
                let app_id = AppId::absolute(id);
                let (want, update) = self.written(&app_id, false);
                wants.push((app_id, want));
                updates.push(update);
            }
        }
        self.ask_for(wants, force, true, |_| Command::UpdateApps {
            updates,
            force,
        });
    }

    /// PUT of an earlier version.
    fn go_back(&mut self, app_id: AppId, force: bool) {
        let Some(versions) = self.engine.state().versions.get(&app_id).map(Arc::clone) else {
            return;
        };
        let pick = self.below(versions.len() as u32) as usize;
        let Some(wanted) = versions.get(pick).map(Arc::clone) else {
            return;
        };
        let update = read(&json!({ "version": wanted.version }));
        // What depends on what may have changed meanwhile.
        let want = vec![(app_id.clone(), Want::Like(Some(wanted)))];
        self.ask_for(want, force, true, |origin| Command::UpdateApp {
            app_id,
            update,
            is_full: false,
            force,
            origin,
        });
    }

    fn some_deployment(&mut self) -> Option<DeploymentId> {
        let ids: Vec<DeploymentId> = self.engine.state().deployments.keys().cloned().collect();
        let pick = self.below(ids.len() as u32) as usize;
        ids.get(pick).cloned()
    }

    /// A running deployment is stopped, or undone.
    fn stop_some(&mut self) {
        let Some(deployment_id) = self.some_deployment() else {
            return;
        };
        if self.one_in(2) {
            self.request(Command::CancelDeployment { deployment_id });
            return;
        }
        let Some(before) = self.users.before(&deployment_id) else {
            return;
        };
        let wants = before
            .iter()
            .map(|(app_id, app)| (app_id.clone(), Want::Like(app.clone())))
            .collect();
        // What it depends on, or what depends on it, may have changed so that there would be a cycle.
        self.ask_for(wants, true, true, |_| Command::RollBackDeployment {
            deployment_id,
        });
    }

    fn reset_delay(&mut self, app_id: AppId) {
        self.request(Command::ResetDelay { app_id });
    }

    fn kill_and_scale(&mut self, app_id: AppId, force: bool) {
        let host = format!("127.0.0.{}", 11 + self.below(3));
        let launched: Vec<(TaskId, String)> = self
            .engine
            .state()
            .launched_of(&app_id)
            .map(|task| (task.id.clone(), task.host.clone()))
            .collect();
        let (selection, named) = match self.below(4) {
            0 => {
                let named: Vec<TaskId> = launched
                    .into_iter()
                    .filter(|(_, at)| *at == host)
                    .map(|(id, _)| id)
                    .collect();
                let host = Some(host);
                let app_id = app_id.clone();
                (Selection::App { app_id, host }, named)
            }
            1 if !launched.is_empty() => {
                let pick = self.below(launched.len() as u32) as usize;
                let task_id = launched[pick].0.clone();
                let app_id = app_id.clone();
                let named = vec![task_id.clone()];
                (Selection::One { app_id, task_id }, named)
            }
            _ => {
                let most = 1 + self.below(2) as usize;
                let named: Vec<TaskId> =
                    launched.into_iter().take(most).map(|(id, _)| id).collect();
                (Selection::Ids(named.clone()), named)
            }
        };
        // A plan that names no task changes nothing.
        let wants = if named.is_empty() {
            Vec::new()
        } else {
            vec![(app_id, Want::Without(named))]
        };
        self.ask_for(wants, force, true, |_| Command::KillTasks {
            selection,
            scale: true,
            wipe: false,
            force,
        });
    }

    /// A task is killed through the API, to be replaced.
    pub(super) fn kill_by_api(&mut self) {
        let ids: Vec<TaskId> = self.engine.state().tasks.keys().cloned().collect();
        let pick = self.below(ids.len() as u32) as usize;
        let named: Vec<TaskId> = ids.get(pick).cloned().into_iter().collect();
        self.watch.fault();
        let wipe = self.one_in(4);
        let selection = if wipe && self.one_in(3) {
            let host = self.one_in(2).then(|| "127.0.0.11".to_owned());
            let app_id = AppId::absolute(RESIDENT);
            Selection::App { app_id, host }
        } else {
            Selection::Ids(named)
        };
        self.request(Command::KillTasks {
            selection,
            scale: false,
            wipe,
            force: false,
        });
    }

    /// After all is at rest, what cannot end by itself is replaced by something that can.
    pub(super) fn mend(&mut self) {
        for app_id in self.doomed() {
            self.tell(|| format!("{app_id} is mended"));
            if app_id.as_str() == RESIDENT {
                // Its data may be where nobody is any more.
                let selection = Selection::App {
                    app_id: app_id.clone(),
                    host: None,
                };
                self.request(Command::KillTasks {
                    selection,
                    scale: false,
                    wipe: true,
                    force: false,
                });
            }
            let (want, update) = self.written(&app_id, true);
            self.ask_for(vec![(app_id.clone(), want)], true, false, |origin| {
                Command::UpdateApp {
                    app_id,
                    update,
                    is_full: true,
                    force: true,
                    origin,
                }
            });
        }
    }

    /// Apps that cannot come to their instances, are in a plan that cannot end, or keep more on agents than their tasks use.
    fn doomed(&self) -> Vec<AppId> {
        let state = self.engine.state();
        let is_doomed = |app: &App| {
            let mut tasks = state.tasks_of(&app.id).filter_map(|task| task.app.as_ref());
            let launched = state.launched_of(&app.id);
            let held: Vec<_> = launched.filter_map(|task| task.reservation).collect();
            state.deployments_of(&app.id).next().is_some()
                || state.queued_of(&app.id) > 0
                || !fate(app).is_empty()
                || tasks.any(|app| !fate(app).is_empty())
                || state
                    .reservations_of(&app.id)
                    .any(|it| !held.contains(&it.id))
        };
        let apps = state.root.transitive_apps().into_iter();
        let mut doomed: Vec<AppId> = apps
            .filter(|app| is_doomed(app))
            .map(|app| app.id.clone())
            .collect();
        doomed.sort();
        doomed
    }
}

fn read(definition: &Value) -> AppUpdate {
    AppUpdate::read(definition.to_string().as_bytes(), Form::Partial).expect("a good definition")
}

//! The world's users: what they ask for, and their journal of what was acknowledged.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zddcluster_model::app::{AppUpdate, EnvValue, Form};
use zddcluster_model::{AppId, DeploymentId, TaskId};

use super::world::{Happening, World};
use crate::effect::{Answer, Refusal};
use crate::input::{Command, Input, Origin, Selection, Ticket};

/// What a user last got acknowledged of an app.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) release: u64,
    pub(super) instances: u32,
}

/// The users.
#[derive(Default)]
pub(super) struct Users {
    /// Acknowledged definitions; `None` for a deleted app.
    journal: BTreeMap<AppId, Option<Entry>>,
    /// What is being asked, until it is answered.
    pending: BTreeMap<Ticket, (AppId, Pending)>,
    /// What was acknowledged of the app before each deployment: what a rollback brings back.
    before: BTreeMap<DeploymentId, (AppId, Option<Entry>)>,
    release: u64,
}

pub(super) enum Pending {
    Write(Entry),
    Scale(u32),
    Delete,
    KillAndScale(u32),
    RollBack(DeploymentId),
    Other,
}

/// Minimum health and maximum over capacities that users choose from.
const STRATEGIES: [(f64, f64); 8] = [
    (1.0, 1.0),
    (0.25, 0.25),
    (1.0, 0.0),
    (0.5, 0.1),
    (0.5, 0.5),
    (0.0, 0.0),
    (0.0, 1.0),
    (1.0, 0.1),
];

impl World {
    pub(super) fn user(&mut self) {
        if self.is_peaceful {
            return;
        }
        let app_id = AppId::absolute(["/a", "/b", "/zdd/base"][self.below(3) as usize]);
        let is_there = self.engine.state().root.app(&app_id).is_some();
        let force = self.one_in(3);
        let running = self.engine.state().deployments.keys().next().cloned();
        if let Some(deployment_id) = running.filter(|_| self.one_in(8)) {
            self.undo(deployment_id);
        } else if self.one_in(6) {
            self.write_group(force);
        } else if is_there {
            match self.below(10) {
                0..=3 => self.write(&app_id, true, force),
                4..=6 => {
                    let instances = self.below(6);
                    let update = read(&json!({ "instances": instances }));
                    self.request(app_id.clone(), Pending::Scale(instances), |origin| {
                        Command::UpdateApp {
                            app_id,
                            update,
                            is_full: false,
                            force,
                            origin,
                        }
                    });
                }
                7 => {
                    self.request(app_id.clone(), Pending::Other, |_| Command::RestartApp {
                        app_id,
                        force,
                    });
                }
                8 => self.request(app_id.clone(), Pending::Delete, |_| Command::DeleteApp {
                    app_id,
                    force,
                }),
                _ => self.kill_and_scale(app_id, force),
            }
        } else {
            self.write(&app_id, false, force);
        }
        let next = 200 + i64::from(self.below(40_000));
        self.after(next, Happening::User);
    }

    pub(super) fn request(
        &mut self,
        app_id: AppId,
        pending: Pending,
        command: impl FnOnce(Origin) -> Command,
    ) {
        let origin = Origin {
            client_ip: "127.0.0.1".to_owned(),
            uri: format!("/v2/apps{app_id}"),
        };
        let ticket = self.new_ticket();
        self.users.pending.insert(ticket, (app_id, pending));
        self.step(Input::Command {
            ticket,
            command: command(origin),
        });
    }

    /// A definition that nobody has asked for before.
    pub(super) fn definition(&mut self, app_id: &AppId) -> (Entry, Value) {
        self.users.release += 1;
        let entry = Entry {
            release: self.users.release,
            instances: 1 + self.below(5),
        };
        let (min, over) = STRATEGIES[self.below(STRATEGIES.len() as u32) as usize];
        let mut definition = json!({
            "id": app_id,
            "cmd": "serve",
            "instances": entry.instances,
            "cpus": 0.1,
            "mem": 32,
            "env": { "RELEASE": entry.release.to_string() },
            "upgradeStrategy": { "minimumHealthCapacity": min, "maximumOverCapacity": over },
            "portDefinitions": [{ "port": 0, "protocol": "tcp", "name": "main" }],
            "healthChecks": [],
            "readinessChecks": [],
        });
        if self.one_in(2) {
            definition["healthChecks"] =
                json!([{ "path": "/health", "gracePeriodSeconds": 20, "intervalSeconds": 20 }]);
        }
        if self.one_in(3) {
            definition["readinessChecks"] = json!([{ "portName": "main" }]);
        }
        (entry, definition)
    }

    fn write(&mut self, app_id: &AppId, is_update: bool, force: bool) {
        let (entry, definition) = self.definition(app_id);
        let update = read(&definition);
        let id = app_id.clone();
        self.request(app_id.clone(), Pending::Write(entry), |origin| {
            if is_update {
                Command::UpdateApp {
                    app_id: id,
                    update,
                    is_full: false,
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

    /// Stops a deployment, or goes back from it.
    fn undo(&mut self, deployment_id: DeploymentId) {
        let Some((app_id, _)) = self.users.before.get(&deployment_id).cloned() else {
            return;
        };
        self.watch.fault();
        if self.one_in(3) {
            self.request(app_id, Pending::Other, |_| Command::CancelDeployment {
                deployment_id,
            });
        } else {
            let pending = Pending::RollBack(deployment_id.clone());
            self.request(app_id, pending, |_| Command::RollBackDeployment {
                deployment_id,
            });
        }
    }

    fn kill_and_scale(&mut self, app_id: AppId, force: bool) {
        let state = self.engine.state();
        let ids: Vec<TaskId> = state
            .launched_of(&app_id)
            .take(1)
            .map(|task| task.id.clone())
            .collect();
        let n_killed = ids.len() as u32;
        self.request(app_id, Pending::KillAndScale(n_killed), |_| {
            Command::KillTasks {
                selection: Selection::Ids(ids),
                scale: true,
                force,
            }
        });
    }

    /// A task is killed through the API, to be replaced.
    pub(super) fn kill_by_api(&mut self) {
        let ids: Vec<TaskId> = self
            .engine
            .state()
            .tasks
            .values()
            .take(1)
            .map(|task| task.id.clone())
            .collect();
        self.watch.fault();
        self.request(AppId::root(), Pending::Other, |_| Command::KillTasks {
            selection: Selection::Ids(ids),
            scale: false,
            force: false,
        });
    }

    /// Takes an answer into the journal.
    pub(super) fn answered(&mut self, ticket: Ticket, answer: Result<Answer, Refusal>) {
        if let Ok(Answer::Registered(registered)) = &answer {
            self.agents
                .registered(ticket.0, registered.agent_id.clone());
            return;
        }
        let Some((app_id, pending)) = self.users.pending.remove(&ticket) else {
            return;
        };
        let entry = self.users.journal.entry(app_id.clone()).or_default();
        if let Ok(Answer::Deployment { deployment_id, .. }) = &answer {
            let before = (app_id, entry.clone());
            self.users.before.insert(deployment_id.clone(), before);
        }
        match (answer, pending) {
            (Err(Refusal::Locked(_)), _) | (Ok(_), Pending::Other) => {}
            (Err(refusal), _) => panic!("an unexpected refusal: {refusal}"),
            (Ok(_), Pending::Write(written)) => *entry = Some(written),
            (Ok(_), Pending::Delete) => *entry = None,
            (Ok(_), Pending::RollBack(undone)) => {
                let (_, before) = &self.users.before[&undone];
                entry.clone_from(before);
            }
            (Ok(_), Pending::Scale(instances)) => {
                if let Some(entry) = entry {
                    entry.instances = instances;
                }
            }
            (Ok(_), Pending::KillAndScale(n_killed)) => {
                if let Some(entry) = entry {
                    entry.instances = entry.instances.saturating_sub(n_killed);
                }
            }
        }
    }

    /// The end: every acknowledged write is there, and every app runs as it says.
    pub(super) fn judge(&self) {
        let state = self.engine.state();
        if let Some(deployment) = state.deployments.values().next() {
            let waits: Vec<&str> = deployment
                .actions
                .iter()
                .map(|action| action.waits_for.as_str())
                .collect();
            panic!(
                "deployment {} never ended: {}",
                deployment.plan.id,
                waits.join("; ")
            );
        }
        for (app_id, entry) in &self.users.journal {
            let app = state.root.app(app_id);
            let Some(entry) = entry else {
                assert!(app.is_none(), "{app_id} was deleted and is there");
                assert_eq!(
                    state.tasks_of(app_id).count(),
                    0,
                    "{app_id} was deleted and runs"
                );
                continue;
            };
            let app = app.unwrap_or_else(|| panic!("{app_id} was acknowledged and is not there"));
            let release = EnvValue::Text(entry.release.to_string());
            assert_eq!(
                app.env.get("RELEASE"),
                Some(&release),
                "{app_id}: an acknowledged write is lost"
            );
            assert_eq!(
                app.instances, entry.instances,
                "{app_id}: an acknowledged write is lost"
            );
            let running = state.launched_of(app_id).filter(|task| task.is_serving());
            let releases: Vec<Option<EnvValue>> = running
                .map(|task| {
                    task.app
                        .as_ref()
                        .and_then(|app| app.env.get("RELEASE").cloned())
                })
                .collect();
            let wanted = vec![Some(release); entry.instances as usize];
            let queued = state.queued_of(app_id);
            // A deployment that was forced over may leave older releases among the instances; then only the number counts.
            assert_eq!(
                releases.len(),
                wanted.len(),
                "{app_id}: {} run, {queued} queued, {} wanted",
                releases.len(),
                wanted.len()
            );
        }
    }
}

fn read(definition: &Value) -> AppUpdate {
    AppUpdate::read(definition.to_string().as_bytes(), Form::Partial).expect("a good definition")
}

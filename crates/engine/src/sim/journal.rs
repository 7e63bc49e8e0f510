//! The users' journal: what was acknowledged, and whether it is so.

use std::collections::BTreeMap;
use std::sync::Arc;

use zddcluster_model::app::{App, EnvValue};
use zddcluster_model::{AppId, DeploymentId, TaskId};

use super::world::World;
use crate::State;
use crate::effect::{Answer, Refusal};
use crate::input::Ticket;

/// What a command does to an app when it is acknowledged.
#[derive(Clone, Debug)]
pub(super) enum Want {
    /// A whole definition was written.
    Written { release: u64, instances: u32 },
    /// Only the number of instances changes.
    Instances(u32),
    /// As many instances less, and these tasks go.
    Without(Vec<TaskId>),
    /// Only the versions change.
    Restarted,
    /// The app is gone.
    Gone,
    /// The app is as it once was.
    Like(Option<Arc<App>>),
}

/// An app's definition as it was acknowledged; `None` if it was not there.
type Entry = (AppId, Option<Arc<App>>);

/// What is being asked, until it is answered.
struct Pending {
    wants: Vec<(AppId, Want)>,
    force: bool,
    may_be_refused: bool,
}

/// The users and what they know.
#[derive(Default)]
pub(super) struct Users {
    /// Acknowledged definitions; `None` for a deleted app.
    journal: BTreeMap<AppId, Option<Arc<App>>>,
    /// What was there before each plan.
    plans: BTreeMap<DeploymentId, Vec<Entry>>,
    pending: BTreeMap<Ticket, Pending>,
    release: u64,
}

impl Users {
    pub(super) fn next_release(&mut self) -> u64 {
        self.release += 1;
        self.release
    }

    pub(super) fn asks(
        &mut self,
        ticket: Ticket,
        wants: Vec<(AppId, Want)>,
        force: bool,
        may_be_refused: bool,
    ) {
        let pending = Pending {
            wants,
            force,
            may_be_refused,
        };
        self.pending.insert(ticket, pending);
    }

    /// A caller heard 503.
    pub(super) fn refused(&mut self, ticket: Ticket) {
        self.pending.remove(&ticket);
    }

    /// Callers without an answer do not know what became of their wish: they look.
    pub(super) fn master_died(&mut self, state: &State) {
        for pending in std::mem::take(&mut self.pending).into_values() {
            for (app_id, _) in pending.wants {
                let app = state.root.app(&app_id).map(Arc::clone);
                self.journal.insert(app_id, app);
            }
        }
    }

    /// Every acknowledged definition is there as it was acknowledged.
    pub(super) fn check(&mut self, state: &State) {
        for (app_id, known) in &mut self.journal {
            match (&mut *known, state.root.app(app_id)) {
                (None, None) => {}
                (Some(known), Some(app)) if Arc::ptr_eq(known, app) => {}
                (Some(known), Some(app)) if **known == **app => *known = Arc::clone(app),
                (known, app) => panic!(
                    "{app_id}: an acknowledged write is lost: {:?} instead of {:?}",
                    app.map(|app| app.version),
                    known.as_ref().map(|known| known.version)
                ),
            }
        }
    }

    /// What the apps of a plan were before it, if the users know.
    pub(super) fn before(&self, id: &DeploymentId) -> Option<&[Entry]> {
        self.plans.get(id).map(Vec::as_slice)
    }

    /// Takes a good answer into the journal; `state` is that of the same step.
    fn accept(&mut self, wants: Vec<(AppId, Want)>, plan: Option<DeploymentId>, state: &State) {
        let mut before = Vec::new();
        for (app_id, want) in wants {
            let known = self.journal.get(&app_id).cloned().flatten();
            let app = state.root.app(&app_id);
            assert!(
                is_granted(&want, known.as_deref(), app.map(|app| &**app)),
                "{app_id}: {want:?} was acknowledged, and is {app:?}"
            );
            before.push((app_id.clone(), known));
            self.journal.insert(app_id, app.map(Arc::clone));
        }
        if let Some(id) = plan {
            self.plans.insert(id, before);
        }
    }
}

/// Whether an app is what was asked for.
fn is_granted(want: &Want, known: Option<&App>, app: Option<&App>) -> bool {
    let with_instances = |change: &dyn Fn(u32) -> u32| match (known, app) {
        (Some(known), Some(app)) => {
            let wanted = App {
                instances: change(known.instances),
                ..known.clone()
            };
            is_same(&wanted, app)
        }
        _ => false,
    };
    match want {
        Want::Written { release, instances } => app.is_some_and(|app| {
            let wanted = EnvValue::Text(release.to_string());
            app.env.get("RELEASE") == Some(&wanted) && app.instances == *instances
        }),
        Want::Instances(instances) => with_instances(&|_| *instances),
        Want::Without(named) => with_instances(&|n| n.saturating_sub(named.len() as u32)),
        Want::Restarted => {
            let is_newer = known
                .zip(app)
                .is_some_and(|(k, app)| app.version > k.version);
            is_newer && with_instances(&|n| n)
        }
        Want::Gone => app.is_none(),
        Want::Like(None) => app.is_none(),
        Want::Like(Some(wanted)) => app.is_some_and(|app| is_same(wanted, app)),
    }
}

/// Equal but for the versions.
fn is_same(wanted: &App, app: &App) -> bool {
    let wanted = App {
        version: app.version,
        version_info: app.version_info,
        ..wanted.clone()
    };
    wanted == *app
}

impl World {
    /// Takes an answer; `after` is the state that the answered step left.
    pub(super) fn answered(
        &mut self,
        ticket: Ticket,
        answer: Result<Answer, Refusal>,
        after: &State,
    ) {
        if let Ok(Answer::Registered(registered)) = &answer {
            self.agents.registered(ticket, registered.agent_id.clone());
            return;
        }
        if matches!(answer, Err(Refusal::Fenced { .. })) {
            panic!("an agent with its newest epoch is fenced off");
        }
        let Some(pending) = self.users.pending.remove(&ticket) else {
            panic!("an answer nobody waits for");
        };
        let Pending {
            wants,
            force,
            may_be_refused,
        } = pending;
        match answer {
            Ok(Answer::Deployment { deployment_id, .. }) => {
                for (_, want) in &wants {
                    if let Want::Without(named) = want {
                        self.watch.sentenced(&deployment_id, named);
                    }
                }
                self.users.accept(wants, Some(deployment_id), after);
            }
            Ok(_) => self.users.accept(wants, None, after),
            Err(Refusal::Locked(plans)) => {
                assert!(!force, "a forced change is refused");
                assert!(!plans.is_empty(), "locked by no plan");
            }
            Err(Refusal::Stopping) => assert!(self.watch.is_stopping(), "refused as if stopping"),
            Err(refusal) => assert!(may_be_refused, "an unexpected refusal: {refusal:?}"),
        }
    }

    /// The end: every acknowledged write is there, and every app runs as it says.
    pub(super) fn judge(&mut self) {
        let state = self.engine.state();
        assert!(self.users.pending.is_empty(), "a caller was not answered");
        assert!(state.deployments.is_empty(), "a plan has not ended");
        self.users.check(&self.snapshot);
        let n_known = self.users.journal.values().flatten().count();
        assert_eq!(
            state.root.transitive_apps().len(),
            n_known,
            "apps nobody asked for"
        );
        for (app_id, known) in &self.users.journal {
            let running: Vec<_> = state
                .tasks_of(app_id)
                .filter(|task| task.is_serving())
                .collect();
            let wanted = known.as_ref().map_or(0, |app| app.instances) as usize;
            assert_eq!(running.len(), wanted, "{app_id}: running instances");
            assert_eq!(state.tasks_of(app_id).count(), wanted, "{app_id}: tasks");
        }
    }
}

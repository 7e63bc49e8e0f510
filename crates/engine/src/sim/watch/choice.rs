//! Who goes when an app has more tasks than it should: those whose loss keeps GROUP_BY even, and those that do not run before
//! those that do (§3.4).
//!
//! Judged at the end of the step, from the tasks as they were before its first kill and as the kills leave them. The app's wish
//! for the oldest or the youngest is not looked at: events do not tell how old a task is.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::app::{App, Operator};
use zddcluster_model::deployment::ActionKind;
use zddcluster_model::{AgentId, AppId, TaskId, TaskState};

use crate::State;
use crate::sim::mirror::Mirror;

/// The choices of the present step, by app.
#[derive(Default)]
pub(super) struct Choices(BTreeMap<AppId, Choice>);

struct Choice {
    /// Tasks that were not on their way out before the first kill.
    free: BTreeMap<TaskId, (AgentId, TaskState)>,
    chosen: BTreeSet<TaskId>,
    /// None of the step's kills of this app had another reason.
    is_pure: bool,
}

impl Choices {
    /// A kill was decided; `reason` is empty if the task ended in the same step. The mirror does not know of it yet.
    pub(super) fn killed(
        &mut self,
        app_id: &AppId,
        task_id: &TaskId,
        reason: &str,
        mirror: &Mirror,
    ) {
        let choice = self.0.entry(app_id.clone()).or_insert_with(|| Choice {
            free: mirror
                .launched_of(app_id)
                .filter(|(_, task)| task.state != TaskState::Killing)
                .map(|(id, task)| (id.clone(), (task.held.agent_id.clone(), task.state)))
                .collect(),
            chosen: BTreeSet::new(),
            is_pure: true,
        });
        choice.is_pure &= match reason {
            "more tasks than instances" => true,
            "replaced or removed by a deployment" => is_scaled(mirror, app_id),
            _ => false,
        };
        choice.chosen.insert(task_id.clone());
    }

    pub(super) fn end_of_step(&mut self, after: &State) {
        for (app_id, mut choice) in std::mem::take(&mut self.0) {
            let plan = after.deployments_of(&app_id).next();
            let app = match plan {
                Some(plan) => plan.plan.target.app(&app_id),
                None => after.root.app(&app_id),
            };
            let Some(app) = app.filter(|_| choice.is_pure) else {
                continue;
            };
            let named = plan.and_then(|plan| plan.sentenced.get(&app_id));
            for task_id in named.into_iter().flatten() {
                choice.free.remove(task_id);
                choice.chosen.remove(task_id);
            }
            choice.judge(app, after);
        }
    }
}

/// Whether a plan is scaling the app now.
fn is_scaled(mirror: &Mirror, app_id: &AppId) -> bool {
    let step = mirror.plan_of(app_id).and_then(|plan| plan.step.as_ref());
    step.is_some_and(|step| {
        let mut actions = step.actions.iter();
        actions.any(|one| one.app == *app_id && one.action == ActionKind::ScaleApplication)
    })
}

impl Choice {
    fn judge(&self, app: &App, after: &State) {
        let groupings: Vec<&str> = app
            .constraints
            .iter()
            .filter(|constraint| constraint.operator == Operator::GroupBy)
            .map(|constraint| constraint.field.as_str())
            .collect();
        match groupings[..] {
            [] => self.runs_longest(app),
            [field] => self.stays_even(app, field, after),
            // Two may want the opposite of each other.
            _ => {}
        }
    }

    fn runs_longest(&self, app: &App) {
        let is = |state: TaskState, is_chosen: bool| {
            let mut free = self.free.iter();
            free.any(|(id, (_, is))| *is == state && self.chosen.contains(id) == is_chosen)
        };
        assert!(
            !(is(TaskState::Running, true) && is(TaskState::Staging, false)),
            "{}: one that runs goes before one that does not: {:?} of {:?}",
            app.id,
            self.chosen,
            self.free
        );
    }

    fn stays_even(&self, app: &App, field: &str, after: &State) {
        let value = |agent_id: &AgentId| {
            let agent = after.agents.get(agent_id)?;
            match field {
                "hostname" => Some(agent.hostname.clone()),
                name => agent.attributes.get(name).cloned(),
            }
        };
        let mut before: BTreeMap<Option<String>, usize> = BTreeMap::new();
        let mut left = BTreeMap::new();
        for (task_id, (agent_id, _)) in &self.free {
            let value = value(agent_id);
            *before.entry(value.clone()).or_default() += 1;
            *left.entry(value).or_default() += usize::from(!self.chosen.contains(task_id));
        }
        let gap = |sizes: &BTreeMap<Option<String>, usize>| {
            let (least, most) = (sizes.values().min(), sizes.values().max());
            most.zip(least).map_or(0, |(most, least)| most - least)
        };
        let most = before.values().max();
        let is_one_fullest = before.values().filter(|size| Some(*size) == most).count() == 1;
        let is_any_chosen = self.free.keys().any(|id| self.chosen.contains(id));
        let allowed = match gap(&before) {
            0 | 1 => 1,
            // The first to go is of the fullest group, and so on.
            uneven if is_one_fullest && is_any_chosen => uneven - 1,
            // Of several that are equally full none may go alone: Marathon then looks no further.
            _ => return,
        };
        assert!(
            gap(&left) <= allowed,
            "{}: GROUP_BY {field} had {before:?}, and kills leave {left:?}",
            app.id
        );
    }
}

//! Mistakes built into the engine or its world, each of which the simulation has to find.

use std::collections::BTreeSet;
use std::sync::Arc;

use zddcluster_model::app::{App, Operator};
use zddcluster_model::deployment::{ActionKind, Plan, Step};

use crate::rollout::Bounds;
use crate::scale::Preference;
use crate::state::{State, Task};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A rolling restart kills one old task more at once.
    KillsOneMore,
    /// A rolling restart counts only the old tasks that are not on their way out.
    CountsRunningOnly,
    /// A rolling restart takes a new task that runs for a good one.
    TakesRunningForGood,
    /// A write is acknowledged but its app version never reaches the store.
    LosesAWrite,
    /// A plan scales and restarts everything in one step, whatever depends on what.
    IgnoresDependencies,
    /// Constraints that count tasks do not hold at a launch.
    ForgetsConstraints,
    /// Those who go when an app is scaled down are chosen whatever GROUP_BY says.
    ForgetsBalance,
    /// A rollback takes the present definitions for those before the plan.
    UndoesNothing,
    /// A new master takes up deployments at their last step.
    SkipsSteps,
    /// A new master does not know which tasks were to be killed.
    ForgetsKills,
}

impl Plant {
    /// Every one.
    pub(super) const ALL: [Self; 10] = [
        Self::KillsOneMore,
        Self::CountsRunningOnly,
        Self::TakesRunningForGood,
        Self::LosesAWrite,
        Self::IgnoresDependencies,
        Self::ForgetsConstraints,
        Self::ForgetsBalance,
        Self::UndoesNothing,
        Self::SkipsSteps,
        Self::ForgetsKills,
    ];

    /// The bounds as the mistake has them.
    pub(crate) fn spoil(self, bounds: Bounds) -> Bounds {
        let kill_now = bounds.kill_now + i64::from(self == Self::KillsOneMore);
        Bounds { kill_now, ..bounds }
    }

    /// The steps as the mistake has them.
    pub(crate) fn spoil_steps(self, steps: Vec<Step>) -> Vec<Step> {
        if self != Self::IgnoresDependencies {
            return steps;
        }
        let (mut first, last): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| {
            step.actions.iter().any(|action| {
                matches!(
                    action.action,
                    ActionKind::ResolveArtifacts
                        | ActionKind::StopApplication
                        | ActionKind::StartApplication
                )
            })
        });
        let actions: Vec<_> = last.into_iter().flat_map(|step| step.actions).collect();
        if !actions.is_empty() {
            first.push(Step { actions });
        }
        first
    }

    /// A definition that waits to be launched as the mistake has it.
    pub(crate) fn spoil_queued(self, app: Arc<App>) -> Arc<App> {
        if self != Self::ForgetsConstraints {
            return app;
        }
        let mut app = (*app).clone();
        app.constraints
            .retain(|constraint| matches!(constraint.operator, Operator::Like | Operator::Unlike));
        Arc::new(app)
    }

    /// How those who go are chosen as the mistake has it.
    pub(crate) fn spoil_preference(self, preference: Preference) -> Preference {
        if self != Self::ForgetsBalance {
            return preference;
        }
        Preference {
            groupings: Vec::new(),
            ..preference
        }
    }

    /// The plan to undo as the mistake has it.
    pub(crate) fn spoil_plan(self, plan: Arc<Plan>, state: &State) -> Arc<Plan> {
        if self != Self::UndoesNothing {
            return plan;
        }
        Arc::new(Plan {
            original: Arc::clone(&state.root),
            ..(*plan).clone()
        })
    }

    /// The step with which a new master begins, as the mistake has it.
    pub(crate) fn first_step(self, plan: &Plan) -> usize {
        if self == Self::SkipsSteps {
            plan.steps.len() - 1
        } else {
            0
        }
    }

    /// What a new master has read, as the mistake has it.
    pub(crate) fn spoil_state(self, state: &mut State) {
        if self != Self::ForgetsKills {
            return;
        }
        let dying: BTreeSet<_> = state.killing.iter().cloned().collect();
        for id in dying {
            state.killing.remove_mut(&id);
            if let Some(task) = state.tasks.get(&id).map(|task| (**task).clone()) {
                let task = Task {
                    killing: None,
                    ..task
                };
                state.tasks.insert_mut(id, Arc::new(task));
            }
        }
    }
}

//! What an update will do, before it happens: the same engine under a virtual clock.
//!
//! ```text
//!   a state (the live one's clone, or one made of given agents) ─▶ World ─▶ the wanted command
//!        ▲ agents, tasks and checks behave as assumed            │  │
//!        └───────────────────────────────────────────────────────┘  └─▶ Recorder ─▶ Timeline
//! ```
//!
//! [`predict`] drives the very [`crate::Engine::step`] that the master drives, so it cannot decide otherwise. It ends when the
//! deployment does; or when no running deployment has come forward for longer than any of its tasks can take to (then it never
//! will, and [`reason`](self) says why); or when it has cost enough.
//!
//! Reading order: `request` is what is asked, `assume` what is taken for granted, `world` the virtual cluster, `record` the
//! picture, `reason` the words, [`timeline`] the answer; `given` makes a cluster out of nothing or of a file.

mod assume;
mod calendar;
mod given;
mod label;
mod reason;
mod record;
mod request;
#[cfg(test)]
mod tests;
pub mod timeline;
mod world;

pub use assume::{Assumptions, InvalidShare, Share};
pub use given::{Cluster, ClusterError, Given, GivenAgent};
pub use request::Request;
pub use timeline::Timeline;

use zddcluster_model::Timestamp;
use zddcluster_model::app::App;
use zddcluster_model::deployment::Plan;
use zddcluster_model::event::EventKind;

use self::record::Recorder;
use self::timeline::{Outcome, Verdict};
use self::world::{Turned, World};
use crate::Config;
use crate::effect::{Effect, Refusal};
use crate::input::Command;
use crate::state::State;

/// How much work a prediction may be.
pub struct Limits<'a> {
    /// Things that happen in the virtual world.
    pub steps: u64,
    /// Asked every now and then; `true` ends the work.
    pub is_over: &'a dyn Fn() -> bool,
}

/// Steps between two questions to [`Limits::is_over`].
const STEPS_BETWEEN_LOOKS: u64 = 64;

impl Limits<'static> {
    /// Enough for hundreds of tasks.
    pub const USUAL: Self = Self {
        steps: 500_000,
        is_over: &|| false,
    };
}

/// A course, and the state at its end.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The course.
    pub timeline: Timeline,
    /// The state when it ended, or when it was given up.
    pub state: State,
}

/// Lets `command` happen to a clone of `state` and tells its course.
///
/// `config` is that of the engine whose state it is; `now` is the time at which the command is given. Nothing outside changes.
///
/// # Errors
/// What the engine would answer to the command; and [`Refusal::IllegalArgument`] for one that makes no deployment, or for
/// assumptions that cannot be.
pub fn predict(
    config: &Config,
    state: &State,
    now: Timestamp,
    command: Command,
    assumptions: &Assumptions,
    limits: &Limits<'_>,
) -> Result<Prediction, Refusal> {
    assumptions.check().map_err(Refusal::IllegalArgument)?;
    let mut world = World::new(config, state.clone(), now, assumptions);
    let start = world.now;
    let (plan, mut turned) = world.submit(command)?;
    let mut recorder = Recorder::new(&plan, state, start);
    let mut patience = 0;
    let outcome = loop {
        recorder.observe(world.now, &turned, world.state());
        if !world.state().deployments.contains_key(&plan.id) {
            break if was_cancelled(&turned, &plan) {
                Outcome::CannotFinish
            } else {
                Outcome::Finishes
            };
        }
        let stood_still = world.now.millis_since(recorder.stands_still_since());
        // What was enough when it was last worked out is no less now, most likely; if it is, the course ends a bit later.
        if stood_still > patience {
            patience = patience_with(&world, &recorder);
            if stood_still > patience {
                break Outcome::CannotFinish;
            }
        }
        let asks = world.n_steps.is_multiple_of(STEPS_BETWEEN_LOOKS);
        if world.n_steps >= limits.steps || asks && (limits.is_over)() {
            break Outcome::Unknown;
        }
        match world.advance() {
            Some(next) => turned = next,
            None => break Outcome::CannotFinish,
        }
    };
    let total_millis = (outcome == Outcome::Finishes).then(|| world.now.millis_since(start));
    let verdict = Verdict {
        outcome,
        stands_since: (outcome != Outcome::Finishes).then(|| recorder.last_step_forward()),
        reasons: match outcome {
            Outcome::Finishes => Vec::new(),
            Outcome::CannotFinish | Outcome::Unknown => reason::reasons(&world, &plan.id),
        },
    };
    let timeline = Timeline {
        steps: plan.steps.clone(),
        apps: recorder.outlines(assumptions, config.speed),
        usage: recorder.usage(),
        points_left_out: recorder.points_left_out,
        points: recorder.points,
        total_millis,
        verdict,
        notes: notes(&plan, assumptions, limits, outcome),
        assumptions: assumptions.clone(),
        speed: config.speed,
    };
    let state = world.state().clone();
    Ok(Prediction { timeline, state })
}

fn was_cancelled(turned: &Turned, plan: &Plan) -> bool {
    turned.effects.iter().any(|effect| {
        matches!(effect, Effect::Publish(event)
            if matches!(&event.kind, EventKind::DeploymentFailed { id, .. } if *id == plan.id))
    })
}

/// How long no running deployment may come forward: longer than its tasks can take, and they stand still.
fn patience_with(world: &World<'_>, recorder: &Recorder) -> i64 {
    let state = world.state();
    let mut patience = 0;
    let since = recorder.stands_still_since();
    let mut begins = since;
    for deployment in state.deployments.values() {
        for app_id in deployment.plan.affected_apps() {
            let app = deployment.plan.target.app(&app_id).map(|app| &**app);
            patience = patience.max(world.patience(app, &app_id));
            // A delay from before the plan ends some time; one that grows from its own tasks is not waited for.
            let delay = state
                .queue
                .get(&app_id)
                .and_then(|entry| entry.delayed_until);
            if world.has_no_crashes() {
                begins = begins.max(delay.unwrap_or(begins));
            }
        }
    }
    begins.millis_since(since).saturating_add(patience)
}

fn notes(
    plan: &Plan,
    assumptions: &Assumptions,
    limits: &Limits<'_>,
    outcome: Outcome,
) -> Vec<String> {
    let mut notes = Vec::new();
    if plan.steps.is_empty() {
        notes.push("nothing changes: the definitions are what they were".to_owned());
    }
    let lacks_checks = |app: &App| !app.is_checked();
    if !assumptions.fails.is_none() {
        for app_id in plan.affected_apps() {
            if plan
                .target
                .app(&app_id)
                .is_some_and(|app| lacks_checks(app))
            {
                notes.push(format!(
                    "{app_id} has no checks, so none can fail: a task counts as soon as it runs"
                ));
            }
        }
    }
    if outcome == Outcome::Unknown {
        notes.push(format!(
            "given up after as much work as is allowed ({} steps at most); the picture is its beginning",
            limits.steps
        ));
    }
    notes
}

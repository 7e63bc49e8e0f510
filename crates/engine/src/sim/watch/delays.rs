//! Back-off: no launch of a config before its delay has passed (contract marathon §4.6).

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::app::App;
use zddcluster_model::deployment::{ActionKind, Plan, Step};
use zddcluster_model::{AppId, DeploymentId, Timestamp};

/// Run-out delays are dropped by a sweep this often, milliseconds: until then it is open which delay comes next.
const SWEEP_MILLIS: i64 = 10_000;

/// What is known of a delay: its shortest and longest possible length, milliseconds, and since when it counts.
#[derive(Clone, Copy)]
struct Delay {
    shortest: i64,
    longest: i64,
    since: i64,
}

/// Delays by app and config version.
#[derive(Default)]
pub(super) struct Delays {
    delays: BTreeMap<(AppId, Timestamp), Delay>,
    /// Plans that have begun.
    begun: BTreeSet<DeploymentId>,
}

impl Delays {
    /// A task has ended by itself.
    pub(super) fn ended(&mut self, now: i64, app: &App) {
        let first = app.backoff_seconds as i64 * 1000;
        let most = app.max_launch_delay_seconds as i64 * 1000;
        let longer = |millis: i64| ((millis as f64 * app.backoff_factor) as i64).min(most);
        let key = (app.id.clone(), app.config_version());
        let (shortest, longest) = match self.delays.get(&key) {
            None => (first, first),
            Some(delay) if now < delay.since + delay.shortest => {
                (longer(delay.shortest), longer(delay.longest))
            }
            Some(delay) if now >= delay.since + delay.longest + SWEEP_MILLIS => (first, first),
            Some(delay) => (
                first.min(longer(delay.shortest)),
                first.max(longer(delay.longest)),
            ),
        };
        let delay = Delay {
            shortest,
            longest,
            since: now,
        };
        self.delays.insert(key, delay);
    }

    /// A restart, a stop or a request forgets an app's delays.
    pub(super) fn reset(&mut self, app_id: &AppId) {
        self.delays.retain(|(id, _), _| id != app_id);
    }

    /// A step begins: restarts and apps made anew start without delay.
    pub(super) fn begins(&mut self, plan: &Plan, step: &Step) {
        for action in &step.actions {
            if action.action == ActionKind::RestartApplication {
                self.reset(&action.app);
            }
        }
        if self.begun.insert(plan.id.clone()) {
            for app_id in plan.affected_apps() {
                if plan.original.app(&app_id).is_none() {
                    self.reset(&app_id);
                }
            }
        }
    }

    pub(super) fn launched(&self, now: i64, app: &App) {
        if let Some(delay) = self.delays.get(&(app.id.clone(), app.config_version())) {
            let at = delay.since + delay.shortest;
            assert!(now >= at, "{}: launched {} ms too early", app.id, at - now);
        }
    }

    /// An app waits for its delay: it must have one, and not a longer one than the contract's.
    pub(super) fn is_due(&self, now: i64, app: &App) {
        let delay = self.delays.get(&(app.id.clone(), app.config_version()));
        let delay = delay.unwrap_or_else(|| panic!("{}: waits without a delay", app.id));
        let late = now - delay.since - delay.longest;
        assert!(
            late <= 0,
            "{}: waits {late} ms longer than its delay",
            app.id
        );
    }
}

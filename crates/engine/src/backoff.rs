//! Delays of launches whose tasks keep ending by themselves.
//!
//! Per app and config version. A delay that has run out is dropped by a sweep every 10 s; a failure after that starts at
//! `backoffSeconds` again. Kills by us never delay. Source: contract marathon §4.6.

use std::sync::Arc;

use zddcluster_model::{AppId, Timestamp};

use crate::state::{Delay, QueueEntry, Task, versions_of};
use crate::turn::Turn;

/// Time between two sweeps of run-out delays, milliseconds.
const SWEEP_MILLIS: i64 = 10_000;

impl Turn<'_> {
    /// A task has ended by itself: the next launch of its config waits longer.
    pub(crate) fn delay(&mut self, task: &Task) {
        let Some(app) = task.app.clone() else { return };
        let key = (app.id.clone(), app.config_version());
        let sweep = self.scaled(SWEEP_MILLIS);
        let standing = self.state.backoff.get(&key).copied().filter(|delay| {
            // Not swept yet: no sweep has come since it ran out.
            let next_sweep = (delay.until.as_millis() / sweep + 1).saturating_mul(sweep);
            self.now.as_millis() < next_sweep
        });
        let millis = match standing {
            None => seconds(app.backoff_seconds),
            Some(delay) => {
                let longer = (delay.millis as f64 * app.backoff_factor) as i64;
                longer.min(seconds(app.max_launch_delay_seconds))
            }
        };
        let until = self.now.plus_millis(self.scaled(millis));
        self.state.backoff.insert_mut(key, Delay { millis, until });
        self.set_queue_delay(&app.id, app.config_version());
    }

    /// When an app at a config version may be launched; `None` = now.
    pub(crate) fn delayed_until(&self, app_id: &AppId, config: Timestamp) -> Option<Timestamp> {
        let delay = self.state.backoff.get(&(app_id.clone(), config))?;
        (delay.until > self.now).then_some(delay.until)
    }

    /// Forgets the delays of an app.
    pub(crate) fn reset_backoff(&mut self, app_id: &AppId) {
        let keys: Vec<_> = self
            .state
            .backoff
            .range(versions_of(app_id))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.state.backoff.remove_mut(&key);
        }
        if let Some(entry) = self.state.queue.get(app_id) {
            let entry = QueueEntry {
                delayed_until: None,
                is_tried: false,
                ..(**entry).clone()
            };
            self.state.put_queued(entry);
        }
    }

    fn set_queue_delay(&mut self, app_id: &AppId, config: Timestamp) {
        let Some(entry) = self.state.queue.get(app_id).map(Arc::clone) else {
            return;
        };
        if entry.app.config_version() == config {
            let delayed_until = self.delayed_until(app_id, config);
            let entry = QueueEntry {
                delayed_until,
                is_tried: false,
                ..(*entry).clone()
            };
            self.state.put_queued(entry);
        }
    }
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds)
        .unwrap_or(i64::MAX / 1000)
        .saturating_mul(1000)
}

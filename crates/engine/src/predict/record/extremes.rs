//! The extremes of a course: how much is used at most, how few tasks serve at worst.

use super::{Recorder, actions_on};
use crate::predict::timeline::{
    AgentPeak, AppOutline, Capacity, Peak, Point, RestartBounds, Usage,
};
use crate::state::State;

impl Recorder {
    pub(super) fn measure(&mut self, state: &State) {
        for app_id in &self.apps {
            let tasks = state.launched_of(app_id);
            self.hosts.extend(tasks.map(|task| task.agent_id.clone()));
        }
        let mut all = Peak::default();
        for agent in state.agents.values().filter(|agent| agent.is_connected) {
            let usage = state.usage.get(&agent.id);
            let amount = |millionths: i64| millionths as f64 / 1e6;
            let used = Peak {
                cpus: usage.map_or(0.0, |usage| amount(usage.cpus)),
                cpus_offered: agent.resources.cpus,
                mem: usage.map_or(0.0, |usage| amount(usage.mem)),
                mem_offered: agent.resources.mem,
            };
            all.cpus += used.cpus;
            all.mem += used.mem;
            all.cpus_offered += used.cpus_offered;
            all.mem_offered += used.mem_offered;
            let known = self.agents.entry(agent.id.clone());
            let peak = known.or_insert_with(|| AgentPeak {
                agent_id: agent.id.clone(),
                hostname: agent.hostname.clone(),
                peak: used,
            });
            rise(&mut peak.peak, used);
        }
        rise(&mut self.cluster, all);
    }

    /// The most that was used, of the agents that have held tasks of the plan's apps.
    pub(in crate::predict) fn usage(&self) -> Usage {
        let agents = self.agents.values();
        Usage {
            cluster: tidy(self.cluster),
            agents: agents
                .filter(|agent| self.hosts.contains(&agent.agent_id))
                .map(|agent| AgentPeak {
                    peak: tidy(agent.peak),
                    ..agent.clone()
                })
                .collect(),
        }
    }

    pub(super) fn note_bounds(&mut self, state: &State) {
        let Some(deployment) = state.deployments.get(&self.plan.id) else {
            return;
        };
        for running in &deployment.actions {
            let Some(rollout) = &running.progress.rollout else {
                continue;
            };
            let bounds = rollout.bounds();
            self.bounds
                .entry(running.action.app.clone())
                .or_insert(RestartBounds {
                    min_healthy: bounds.min_healthy,
                    max_capacity: bounds.max_capacity,
                    killed_at_once: bounds.kill_now,
                });
        }
    }

    /// What is done to each app, and how few of its tasks served at worst.
    pub(in crate::predict) fn outlines(&self) -> Vec<AppOutline> {
        self.apps
            .iter()
            .enumerate()
            .map(|(idx, app_id)| {
                let before = self.plan.original.app(app_id).map(|app| app.instances);
                let after = self.plan.target.app(app_id).map(|app| app.instances);
                AppOutline {
                    app: app_id.clone(),
                    actions: actions_on(&self.plan, app_id),
                    instances_before: before,
                    instances_after: after,
                    bounds: self.bounds.get(app_id).copied(),
                    capacity: self.capacity(idx, before, after),
                }
            })
            .collect()
    }

    fn capacity(&self, idx: usize, before: Option<u32>, after: Option<u32>) -> Capacity {
        let serving = |point: &Point| point.apps[idx].serving;
        let lowest = self.points.iter().map(serving).min().unwrap_or(0);
        let at = self
            .points
            .iter()
            .position(|point| serving(point) == lowest);
        let for_millis = self
            .points
            .windows(2)
            .filter(|pair| serving(&pair[0]) == lowest)
            .map(|pair| pair[1].millis - pair[0].millis)
            .sum();
        let wanted = before.zip(after).map(|(before, after)| before.min(after));
        let share = wanted
            .filter(|wanted| *wanted > 0)
            .map(|wanted| f64::from(lowest) / f64::from(wanted));
        Capacity {
            lowest,
            share,
            at: at.unwrap_or(0),
            for_millis,
        }
    }
}

fn rise(peak: &mut Peak, now: Peak) {
    peak.cpus = peak.cpus.max(now.cpus);
    peak.mem = peak.mem.max(now.mem);
    peak.cpus_offered = now.cpus_offered;
    peak.mem_offered = now.mem_offered;
}

/// Sums of tenths come with dust.
fn tidy(peak: Peak) -> Peak {
    let tidy = |amount: f64| (amount * 1e6).round() / 1e6;
    Peak {
        cpus: tidy(peak.cpus),
        cpus_offered: tidy(peak.cpus_offered),
        mem: tidy(peak.mem),
        mem_offered: tidy(peak.mem_offered),
    }
}

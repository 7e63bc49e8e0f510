//! The extremes of a course: how much is used at most, how few tasks serve at worst.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::{AgentId, AppId};

use super::{Recorder, actions_on};
use crate::effect::Effect;
use crate::predict::assume::Assumptions;
use crate::predict::timeline::{
    AgentPeak, AppOutline, AppPicture, Capacity, Peak, RestartBounds, Usage,
};
use crate::state::State;

/// The most that was used.
#[derive(Default)]
pub(super) struct Most {
    cluster: Peak,
    agents: BTreeMap<AgentId, AgentPeak>,
    /// Agents that have held tasks of the plan's apps.
    hosts: BTreeSet<AgentId>,
}

impl Most {
    /// Begins with what is used before the plan.
    pub(super) fn at_first(before: &State, apps: &[AppId]) -> Self {
        let tasks = apps.iter().flat_map(|app_id| before.launched_of(app_id));
        let mut most = Self {
            hosts: tasks.map(|task| task.agent_id.clone()).collect(),
            ..Self::default()
        };
        most.measure(before);
        most
    }

    /// Only a launch uses more.
    pub(super) fn note_launches(
        &mut self,
        effects: &[Effect],
        own: &BTreeMap<AppId, usize>,
        state: &State,
    ) {
        let mut has_launched = false;
        for effect in effects {
            let Effect::Launch(agent_id, launch) = effect else {
                continue;
            };
            has_launched = true;
            if own.contains_key(&launch.app_id) {
                self.hosts.insert(agent_id.clone());
            }
        }
        if has_launched {
            self.measure(state);
        }
    }

    fn measure(&mut self, state: &State) {
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
}

/// The fewest tasks of an app that served in any moment, moments being told one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lowest {
    so_far: Option<Capacity>,
    /// The moment that lasts: its tasks that serve, the number of its point, and since when it does.
    serving: u32,
    point: usize,
    since: i64,
}

impl Lowest {
    /// Begins with T0.
    pub(super) const fn at_first(picture: &AppPicture) -> Self {
        Self {
            so_far: None,
            serving: picture.serving,
            point: 0,
            since: 0,
        }
    }

    /// Another moment begins.
    pub(super) fn begin(&mut self, point: usize, millis: i64, serving: u32) {
        self.so_far = Some(self.until(millis));
        *self = Self {
            serving,
            point,
            since: millis,
            ..*self
        };
    }

    /// The same moment, seen further.
    pub(super) const fn put(&mut self, serving: u32) {
        self.serving = serving;
    }

    /// All moments with the one that lasts, if it ends now.
    fn until(&self, millis: i64) -> Capacity {
        let last = Capacity {
            lowest: self.serving,
            share: None,
            at: self.point,
            for_millis: millis - self.since,
        };
        match self.so_far {
            Some(before) if before.lowest < last.lowest => before,
            Some(before) if before.lowest == last.lowest => Capacity {
                for_millis: before.for_millis + last.for_millis,
                ..before
            },
            Some(_) | None => last,
        }
    }
}

impl Recorder {
    /// The most that was used, of the agents that have held tasks of the plan's apps.
    pub(in crate::predict) fn usage(&self) -> Usage {
        let Most {
            cluster,
            agents,
            hosts,
        } = &self.most;
        let of_hosts = agents
            .values()
            .filter(|agent| hosts.contains(&agent.agent_id));
        Usage {
            cluster: tidy(*cluster),
            agents: of_hosts
                .map(|agent| AgentPeak {
                    peak: tidy(agent.peak),
                    ..agent.clone()
                })
                .collect(),
        }
    }

    /// Keeps the arithmetic of the rolling restarts that have been begun.
    pub(super) fn note_bounds(&mut self, touched: &BTreeSet<AppId>, state: &State) {
        let Some(deployment) = state.deployments.get(&self.plan.id) else {
            return;
        };
        for app_id in touched {
            let running = deployment.actions.get(app_id);
            let Some(rollout) = running.and_then(|running| running.progress.rollout.as_ref())
            else {
                continue;
            };
            let bounds = rollout.bounds();
            let known = self.bounds.entry(app_id.clone());
            known.or_insert(RestartBounds {
                min_healthy: bounds.min_healthy,
                max_capacity: bounds.max_capacity,
                killed_at_once: bounds.kill_now,
            });
        }
    }

    /// What is done to each app, and how few of its tasks served at worst.
    pub(in crate::predict) fn outlines(
        &self,
        assumptions: &Assumptions,
        speed: f64,
    ) -> Vec<AppOutline> {
        let apps = self.apps.iter().zip(&self.lowest);
        apps.map(|(app_id, lowest)| {
            let before = self.plan.original.app(app_id).map(|app| app.instances);
            let after = self.plan.target.app(app_id).map(|app| app.instances);
            let lowest = lowest.until(lowest.since);
            let checked = self.plan.target.app(app_id).filter(|app| app.is_checked());
            let answer = checked.map(|app| assumptions.answer_millis(app, speed));
            let wanted = before.zip(after).map(|(before, after)| before.min(after));
            AppOutline {
                app: app_id.clone(),
                actions: actions_on(&self.plan, app_id),
                instances_before: before,
                instances_after: after,
                bounds: self.bounds.get(app_id).copied(),
                answer_seconds: answer.map(|millis| millis as f64 / 1e3),
                capacity: Capacity {
                    share: wanted
                        .filter(|wanted| *wanted > 0)
                        .map(|wanted| f64::from(lowest.lowest) / f64::from(wanted)),
                    ..lowest
                },
            }
        })
        .collect()
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

//! The launch queue: instances that wait, and the tasks made of them.
//!
//! Launching is immediate while back-off and resources allow. An instance that no agent takes stays queued, with the reason
//! of each agent. Source: contract marathon §4.1, §4.5, Z18.

use std::sync::Arc;

use zddcluster_model::agent::LaunchTask;
use zddcluster_model::app::{App, Container, Docker};
use zddcluster_model::{AppId, TaskState, Timestamp};

use crate::effect::Effect;
use crate::env::{container_ports, environment};
use crate::placement::{Fellows, Placement, place, unplaced};
use crate::reason::Unplaced;
use crate::state::{QueueEntry, State, Task};
use crate::turn::{Turn, millionths};

/// Tasks launched in one step at most: what waits beyond that is due again at once, and other inputs come in between.
const LAUNCHES_A_STEP: usize = 500;

/// Whether instances were left over by a step that had launched its share.
pub(crate) fn is_left_over(state: &State) -> bool {
    !state.is_stopping && state.queue_is_stale && !state.queue.is_empty()
}

impl State {
    /// Puts what waits of an app, new or changed, and brings the index up to it.
    pub(crate) fn put_queued(&mut self, entry: QueueEntry) {
        let app_id = entry.app.id.clone();
        self.remove_queued(&app_id);
        if !entry.is_tried {
            let due = (entry.delayed_until, app_id.clone());
            self.untried.insert_mut(due);
        }
        self.queue.insert_mut(app_id, Arc::new(entry));
    }

    /// Forgets what waits of an app.
    pub(crate) fn remove_queued(&mut self, app_id: &AppId) {
        let Some(entry) = self.queue.get(app_id).map(Arc::clone) else {
            return;
        };
        if !entry.is_tried {
            let due = (entry.delayed_until, app_id.clone());
            self.untried.remove_mut(&due);
        }
        self.queue.remove_mut(app_id);
    }

    /// The end of the next delay of what waits.
    pub(crate) fn next_delay(&self) -> Option<Timestamp> {
        // Those without a delay come first: none after a step, unless it has left launches to the next one.
        self.untried.iter().find_map(|(until, _)| *until)
    }

    /// The apps with instances that were tried or not, and are not delayed.
    fn all_due(&self, now: Timestamp) -> Vec<AppId> {
        let waiting = self.queue.values();
        waiting
            .filter(|entry| entry.delayed_until.is_none_or(|until| until <= now))
            .map(|entry| entry.app.id.clone())
            .collect()
    }

    /// The apps with instances that were not tried since something last changed for them, and are not delayed.
    fn untried_due(&self, now: Timestamp) -> Vec<AppId> {
        let untried = self.untried.iter();
        let mut due: Vec<AppId> = untried
            .take_while(|(until, _)| until.is_none_or(|until| until <= now))
            .map(|(_, app_id)| app_id.clone())
            .collect();
        // As everywhere in the order of their ids, not of their delays' ends.
        due.sort();
        due
    }
}

impl Turn<'_> {
    /// Adds instances of an app to the queue; its definition replaces the one queued before.
    pub(crate) fn enqueue(&mut self, app: &Arc<App>, count: i64) {
        let delayed_until = self.delayed_until(&app.id, app.config_version());
        let queued = self.state.queue.get(&app.id).map(Arc::clone);
        let total = i64::from(queued.as_ref().map_or(0, |entry| entry.count)) + count;
        let entry = QueueEntry {
            app: Arc::clone(app),
            count: u32::try_from(total).unwrap_or(u32::MAX),
            delayed_until,
            since: queued.as_ref().map_or(self.now, |entry| entry.since),
            refusals: Arc::default(),
            offers: queued.map_or_else(Default::default, |entry| entry.offers.clone()),
            is_tried: false,
        };
        self.state.put_queued(entry);
    }

    /// Drops all queued instances of an app.
    pub(crate) fn purge_queue(&mut self, app_id: &AppId) {
        self.state.remove_queued(app_id);
    }

    /// Launches what can be launched now. True if anything was.
    pub(crate) fn launch_queued(&mut self) -> bool {
        if self.state.is_stopping {
            return false;
        }
        if self.n_launched >= LAUNCHES_A_STEP {
            self.state.queue_is_stale = true;
            return false;
        }
        let retry_all = std::mem::take(&mut self.state.queue_is_stale);
        let due = match retry_all {
            true => self.state.all_due(self.now),
            false => self.state.untried_due(self.now),
        };
        let mut has_launched = false;
        for app_id in due {
            has_launched |= self.launch_app(&app_id);
        }
        has_launched
    }

    fn launch_app(&mut self, app_id: &AppId) -> bool {
        let mut has_launched = false;
        let Some(app) = self.state.queue.get(app_id).map(|it| Arc::clone(&it.app)) else {
            return false;
        };
        #[cfg(test)]
        let app = match self.config.plant {
            Some(plant) => plant.spoil_queued(app),
            None => app,
        };
        let mut fellows = Fellows::of(self.state, &app);
        while let Some(entry) = self.state.queue.get(app_id).map(Arc::clone) {
            if self.n_launched >= LAUNCHES_A_STEP {
                self.state.queue_is_stale = true;
                break;
            }
            let bound = u32::from(u16::MAX);
            let random = self.random_below(bound);
            match place(self.state, &app, &fellows, random) {
                Some(placement) => {
                    fellows.count(&placement.agent);
                    self.n_launched += 1;
                    self.launch(&app, placement);
                    has_launched = true;
                    if entry.count > 1 {
                        let count = entry.count - 1;
                        let mut offers = entry.offers.clone();
                        offers.used(self.now);
                        let entry = QueueEntry {
                            count,
                            refusals: Arc::default(),
                            offers,
                            ..(*entry).clone()
                        };
                        self.state.put_queued(entry);
                    } else {
                        self.state.remove_queued(app_id);
                    }
                }
                None => {
                    let Unplaced { refusals, declined } = unplaced(self.state, &app, &fellows);
                    let mut offers = entry.offers.clone();
                    offers.unused(self.now, &declined);
                    let entry = QueueEntry {
                        refusals,
                        offers,
                        is_tried: true,
                        delayed_until: None,
                        ..(*entry).clone()
                    };
                    self.state.put_queued(entry);
                    break;
                }
            }
        }
        has_launched
    }

    fn launch(&mut self, app: &Arc<App>, placement: Placement) {
        let Placement {
            agent,
            ports,
            reservation,
        } = placement;
        let reservation = if app.is_resident() {
            Some(reservation.unwrap_or_else(|| self.reserve(app, &agent.id)))
        } else {
            None
        };
        let id = self.new_task_id(&app.id);
        let container_id = self.random_uuid().to_string();
        let task = Task {
            id,
            app_id: app.id.clone(),
            app: Some(Arc::clone(app)),
            version: app.version,
            agent_id: agent.id.clone(),
            host: agent.hostname.clone(),
            ports,
            cpus: millionths(app.cpus),
            mem: millionths(app.mem),
            disk: millionths(app.disk),
            state: TaskState::Staging,
            staged_at: self.now,
            started_at: None,
            ended_at: None,
            message: String::new(),
            reason: None,
            ip_addresses: Vec::new(),
            container_id,
            health: vec![None; app.health_checks.len()],
            killing: None,
            local_volumes: reservation
                .as_ref()
                .map_or_else(Vec::new, |reservation| reservation.volumes.clone()),
            reservation: reservation.map(|reservation| reservation.id),
        };
        self.publish_status(&task);
        self.order_launch(&task);
        self.touch(&task.app_id);
        self.put_task(task);
    }

    /// Sends (again) what the agent needs to start a task.
    pub(crate) fn order_launch(&mut self, task: &Task) {
        let Some(app) = task.app.as_deref() else {
            return;
        };
        let launch = LaunchTask {
            task_id: task.id.clone(),
            app_id: app.id.clone(),
            app_version: app.version,
            framework_id: self.state.framework_id(),
            agent_id: task.agent_id.clone(),
            container_id: task.container_id.clone(),
            cmd: app.cmd.clone(),
            args: app.args.clone(),
            user: app.user.clone(),
            container: container_of(app, task),
            network_name: app
                .ip_address
                .as_ref()
                .and_then(|ip_address| ip_address.network_name.clone()),
            env: environment(app, task),
            cpus: app.cpus,
            mem: app.mem,
            disk: app.disk,
            ports: task.ports.clone(),
            fetch: app.fetch.clone(),
            volumes: self.state.mounts_of(task),
            grace_millis: self.grace_millis(task),
        };
        self.effects
            .push(Effect::Launch(task.agent_id.clone(), Box::new(launch)));
    }
}

/// The app's container with the ports that the task has in it.
fn container_of(app: &App, task: &Task) -> Option<Container> {
    let mut container = app.container.clone()?;
    if let Some(Docker::Engine(engine)) = &mut container.docker
        && let Some(mappings) = &mut engine.port_mappings
    {
        let ports = container_ports(mappings, task);
        for (mapping, port) in mappings.iter_mut().zip(ports) {
            mapping.container_port = port;
        }
    }
    Some(container)
}

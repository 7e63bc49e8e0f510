//! Clusters to predict on that do not run: some agents given by their resources, or a cluster that was written down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zddcluster_model::agent::{PROTOCOL, Registration, Resources};
use zddcluster_model::task::HealthResult;
use zddcluster_model::{AgentId, TaskId, Timestamp};

use crate::input::{Input, Ticket};
use crate::persist;
use crate::state::{Agent, ReplayError, State, Task};
use crate::turn::index_task;
use crate::{Config, Engine};

/// 2016-10-12T11:38:55.934Z, when the lab's first app was created: the time in clusters that never were.
const START: Timestamp = Timestamp::from_millis(1_476_272_335_934);

/// An agent away longer than this loses its tasks, milliseconds; as in a real master.
const AGENT_TIMEOUT_MILLIS: i64 = 75_000;

/// Version of [`Cluster`]'s form.
const FORMAT: u32 = 1;

/// An agent of a cluster that never was.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenAgent {
    /// Host name; no other agent's.
    pub hostname: String,
    /// `*` or `slave_public`.
    pub role: String,
    /// Attributes, for constraints.
    pub attributes: BTreeMap<String, String>,
    /// What it offers.
    pub resources: Resources,
}

/// A cluster of given agents, without apps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Its agents.
    pub agents: Vec<GivenAgent>,
}

impl Given {
    /// The configuration and state of such a cluster.
    pub fn build(&self) -> (Config, State) {
        let config = config(uuid::Builder::from_random_bytes([7; 16]).into_uuid());
        let mut engine = Engine::new(config.clone(), START);
        engine.step(START, Input::Wake);
        for (ticket, agent) in (1..).zip(&self.agents) {
            let GivenAgent {
                hostname,
                role,
                attributes,
                resources,
            } = agent.clone();
            let registration = Registration {
                protocol: PROTOCOL,
                agent_id: None,
                epoch: 1,
                hostname,
                port: 5051,
                role,
                attributes,
                resources,
                tasks: Vec::new(),
                volumes: Vec::new(),
            };
            engine.step(
                START,
                Input::AgentRegistered {
                    ticket: Ticket(ticket),
                    registration: Box::new(registration),
                },
            );
        }
        (config, engine.state().clone())
    }
}

fn config(master_uuid: uuid::Uuid) -> Config {
    Config {
        master_uuid,
        node: [0; 6],
        seed: 1,
        speed: 1.0,
        drain_millis: 0,
        agent_timeout_millis: AGENT_TIMEOUT_MILLIS,
        max_apps: None,
        #[cfg(test)]
        plant: None,
    }
}

/// A cluster written down: `GET /zdd/v1/cluster`, read back by `zddcluster plan --cluster`.
///
/// The records are those of the store, by their keys (`agent/…`, `version/…`, `task/…`, `deployment/…`); beside them stands
/// what a store does not hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// The version of this form: 1.
    pub format: u32,
    /// When it was written down.
    pub time: Timestamp,
    /// Divides its control-plane durations.
    pub speed: f64,
    /// Longest hold of a SIGTERM for edges to drain, milliseconds.
    pub drain_millis: i64,
    /// An agent away longer than this loses its tasks, milliseconds.
    pub agent_timeout_millis: i64,
    /// Most apps.
    pub max_apps: Option<usize>,
    /// Agents that were connected; the others are away.
    pub connected: BTreeSet<AgentId>,
    /// Standing of each health check of each task that has one.
    pub health: BTreeMap<TaskId, Vec<Option<HealthResult>>>,
    /// What the store holds.
    pub records: Map<String, Value>,
}

/// A text that describes no cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Not this form at all.
    #[error("it is not a cluster as GET /zdd/v1/cluster writes it")]
    Form(#[source] serde_json::Error),
    /// A form of another release.
    #[error("it has the form {0}, and only 1 is known")]
    Format(u32),
    /// A speed that is none.
    #[error("the speed must be a number above 0")]
    Speed,
    /// Records that do not fit together.
    #[error("its records do not make a cluster")]
    Records(#[source] ReplayError),
}

impl Cluster {
    /// Writes a cluster down.
    pub fn of(config: &Config, state: &State, time: Timestamp) -> Self {
        let connected = state
            .agents
            .values()
            .filter(|agent| agent.is_connected)
            .map(|agent| agent.id.clone())
            .collect();
        let health = state
            .tasks
            .values()
            .filter(|task| task.health.iter().any(Option::is_some))
            .map(|task| (task.id.clone(), task.health.clone()))
            .collect();
        let records = persist::export(state).into_iter().map(|(key, value)| {
            let value = serde_json::from_slice(&value).expect("records are JSON");
            (key, value)
        });
        Self {
            format: FORMAT,
            time,
            speed: config.speed,
            drain_millis: config.drain_millis,
            agent_timeout_millis: config.agent_timeout_millis,
            max_apps: config.max_apps,
            connected,
            health,
            records: records.collect(),
        }
    }

    /// Reads what [`Self::of`] has written.
    ///
    /// # Errors
    /// For a text that is no such cluster.
    pub fn read(text: &[u8]) -> Result<Self, ClusterError> {
        let cluster: Self = serde_json::from_slice(text).map_err(ClusterError::Form)?;
        if cluster.format != FORMAT {
            return Err(ClusterError::Format(cluster.format));
        }
        if !(cluster.speed.is_finite() && cluster.speed > 0.0) {
            return Err(ClusterError::Speed);
        }
        Ok(cluster)
    }

    /// The configuration and state of this cluster; its deployments go on from their first step.
    ///
    /// # Errors
    /// For records that do not fit together.
    pub fn restore(&self) -> Result<(Config, State), ClusterError> {
        let records = self.records.iter();
        let records = records.map(|(key, value)| (key.clone(), value.to_string().into_bytes()));
        let config = config(uuid::Uuid::nil());
        let mut state =
            State::replay(&config, self.time, records).map_err(ClusterError::Records)?;
        let config = Config {
            master_uuid: state.master_uuid,
            speed: self.speed,
            drain_millis: self.drain_millis,
            agent_timeout_millis: self.agent_timeout_millis,
            max_apps: self.max_apps,
            ..config
        };
        // Nobody is awaited: who was there is there.
        state.edges_awaited.clear();
        for id in &self.connected {
            if let Some(agent) = state.agents.get(id).map(|agent| (**agent).clone()) {
                let agent = Agent {
                    is_connected: true,
                    away_since: None,
                    ..agent
                };
                state.agents.insert_mut(id.clone(), Arc::new(agent));
            }
        }
        for (id, health) in &self.health {
            if let Some(task) = state.tasks.get(id).map(|task| (**task).clone())
                && task.health.len() == health.len()
            {
                let health = health.clone();
                index_task(&mut state, Arc::new(Task { health, ..task }));
            }
        }
        Ok((config, state))
    }
}

//! The queues towards agents and edges: who is attached, and what was ordered but not yet taken by a stream.
//!
//! ```text
//!   registered ──take()──▶ streaming ──close(generation)──▶ (none)
//!       ▲                      │
//!       └──────open()──────────┘   a new registration replaces the queue; the old stream ends by itself
//! ```
//!
//! An agent's queue exists from its registration on, so that orders decided before its stream is open are not lost. Every
//! queue has a generation: the end of a replaced stream says nothing about the present one. A full queue is closed: its
//! agent registers again and gets anew what it misses.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use tokio::time::Instant;
use zddcluster_model::agent::Command;
use zddcluster_model::edge::DrainOrder;
use zddcluster_model::{AgentId, EdgeId, TaskId};

/// Orders that may wait for one agent: launches of a hundred thousand tasks spread over a few agents.
const AGENT_QUEUE: usize = 65_536;
/// Drain orders that may wait for one edge.
const EDGE_QUEUE: usize = 65_536;

/// All queues.
#[derive(Debug, Default)]
pub(crate) struct Links {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    last_generation: u64,
    agents: BTreeMap<AgentId, AgentLink>,
    edges: BTreeMap<EdgeId, EdgeLink>,
}

#[derive(Debug)]
struct AgentLink {
    epoch: u64,
    generation: u64,
    /// When it last sent something.
    heard: Instant,
    sender: mpsc::Sender<Command>,
    /// Waits for the stream.
    receiver: Option<mpsc::Receiver<Command>>,
}

#[derive(Debug)]
struct EdgeLink {
    generation: u64,
    sender: mpsc::Sender<DrainOrder>,
}

/// Why a command stream cannot be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TakeError {
    /// It has to register (again) first.
    #[error("agent {0} has to register before it opens a stream")]
    NotRegistered(AgentId),
    /// Another process of that agent registered later.
    #[error("agent {agent_id} is here with epoch {known}, this is {given}")]
    OtherEpoch {
        agent_id: AgentId,
        known: u64,
        given: u64,
    },
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves only whole entries behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a fresh queue for an agent that has just been accepted; returns its generation.
    pub(crate) fn open(&self, agent_id: &AgentId, epoch: u64) -> u64 {
        let (sender, receiver) = mpsc::channel(AGENT_QUEUE);
        let mut inner = self.lock();
        inner.last_generation += 1;
        let generation = inner.last_generation;
        let link = AgentLink {
            epoch,
            generation,
            heard: Instant::now(),
            sender,
            receiver: Some(receiver),
        };
        inner.agents.insert(agent_id.clone(), link);
        generation
    }

    /// The waiting end of an agent's queue, for its stream; once for each registration.
    pub(crate) fn take(
        &self,
        agent_id: &AgentId,
        epoch: u64,
    ) -> Result<(u64, mpsc::Receiver<Command>), TakeError> {
        let mut inner = self.lock();
        let not_registered = || TakeError::NotRegistered(agent_id.clone());
        let link = inner.agents.get_mut(agent_id).ok_or_else(not_registered)?;
        if link.epoch != epoch {
            let (known, given) = (link.epoch, epoch);
            return Err(TakeError::OtherEpoch {
                agent_id: agent_id.clone(),
                known,
                given,
            });
        }
        let receiver = link.receiver.take().ok_or_else(not_registered)?;
        Ok((link.generation, receiver))
    }

    /// Notes that an agent sent something; false if no such one is attached.
    pub(crate) fn hear(&self, agent_id: &AgentId, epoch: u64) -> bool {
        let mut inner = self.lock();
        let link = inner.agents.get_mut(agent_id);
        let Some(link) = link.filter(|link| link.epoch == epoch) else {
            return false;
        };
        link.heard = Instant::now();
        true
    }

    /// When an agent last sent something; `None` if it has attached anew since this generation, or left.
    pub(crate) fn heard(&self, agent_id: &AgentId, generation: u64) -> Option<Instant> {
        let inner = self.lock();
        let link = inner.agents.get(agent_id)?;
        (link.generation == generation).then_some(link.heard)
    }

    /// The present generation of an agent's queue.
    pub(crate) fn generation(&self, agent_id: &AgentId) -> Option<u64> {
        self.lock().agents.get(agent_id).map(|link| link.generation)
    }

    /// True if this generation of an agent's queue still waits for a stream.
    pub(crate) fn is_waiting(&self, agent_id: &AgentId, generation: u64) -> bool {
        self.lock()
            .agents
            .get(agent_id)
            .is_some_and(|link| link.generation == generation && link.receiver.is_some())
    }

    /// Drops an agent's queue if it is of this generation; its epoch comes back.
    pub(crate) fn close(&self, agent_id: &AgentId, generation: u64) -> Option<u64> {
        let mut inner = self.lock();
        let link = inner
            .agents
            .get(agent_id)
            .filter(|link| link.generation == generation)?;
        let epoch = link.epoch;
        inner.agents.remove(agent_id);
        Some(epoch)
    }

    /// Queues an order. An agent that is away gets it after its next registration, from the engine.
    pub(crate) fn order(&self, agent_id: &AgentId, command: Command) {
        let mut inner = self.lock();
        let Some(link) = inner.agents.get_mut(agent_id) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = link.sender.try_send(command) {
            tracing::warn!(%agent_id, "agent does not take its orders; its stream is closed");
            // Ends the stream, whose pump reports it. The entry stays until then.
            let (closed, _) = mpsc::channel(1);
            link.sender = closed;
            link.receiver = None;
        }
    }

    /// Makes a queue for an edge's stream; a live one of that edge ends.
    pub(crate) fn open_edge(&self, edge_id: &EdgeId) -> (u64, mpsc::Receiver<DrainOrder>) {
        let (sender, receiver) = mpsc::channel(EDGE_QUEUE);
        let mut inner = self.lock();
        inner.last_generation += 1;
        let generation = inner.last_generation;
        inner
            .edges
            .insert(edge_id.clone(), EdgeLink { generation, sender });
        (generation, receiver)
    }

    /// Drops an edge's queue if it is of this generation; false if it was not.
    pub(crate) fn close_edge(&self, edge_id: &EdgeId, generation: u64) -> bool {
        let mut inner = self.lock();
        let is_mine = inner
            .edges
            .get(edge_id)
            .is_some_and(|link| link.generation == generation);
        if is_mine {
            inner.edges.remove(edge_id);
        }
        is_mine
    }

    /// Queues a drain order; a full or missing queue loses it, and the drain deadline ends the wait.
    pub(crate) fn drain(&self, edge_id: &EdgeId, task_id: TaskId) {
        if let Some(link) = self.lock().edges.get(edge_id)
            && link.sender.try_send(DrainOrder { task_id }).is_err()
        {
            tracing::warn!(%edge_id, "edge does not take its drain orders");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_before_the_stream_are_kept() {
        let links = Links::default();
        let agent_id = AgentId::new("S1");
        links.open(&agent_id, 7);
        let kill = Command::Kill {
            task_id: TaskId::new("a.b"),
            grace_millis: 1,
        };
        links.order(&agent_id, kill.clone());
        let (_, mut receiver) = links.take(&agent_id, 7).unwrap();
        assert_eq!(receiver.try_recv().unwrap(), kill);
    }

    #[test]
    fn one_stream_a_registration() {
        let links = Links::default();
        let agent_id = AgentId::new("S1");
        let not_registered = TakeError::NotRegistered(agent_id.clone());
        assert_eq!(links.take(&agent_id, 1).unwrap_err(), not_registered);
        links.open(&agent_id, 1);
        assert!(matches!(
            links.take(&agent_id, 2),
            Err(TakeError::OtherEpoch { .. })
        ));
        links.take(&agent_id, 1).unwrap();
        assert_eq!(links.take(&agent_id, 1).unwrap_err(), not_registered);
    }

    #[test]
    fn the_end_of_a_replaced_stream_is_ignored() {
        let links = Links::default();
        let agent_id = AgentId::new("S1");
        let first = links.open(&agent_id, 1);
        let second = links.open(&agent_id, 1);
        assert_eq!(links.close(&agent_id, first), None);
        assert_eq!(links.close(&agent_id, second), Some(1));
    }
}

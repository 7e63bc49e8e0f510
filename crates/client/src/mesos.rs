//! A Mesos master's state, read as a document or followed as a stream.
//!
//! Two dialects tell the same things: `GET /master/state` (v0, flat strings: `"pid": "slave(1)@10.0.3.192:5051"`) and
//! the operator API's `SUBSCRIBE` (v1, protobuf in JSON: `{"value": …}` around each identifier). Both are read into
//! the plain types here, which keep only what name records are made of.
//!
//! Reading is lenient on purpose: a master of another version, or one faulty framework, must not take away the names
//! of everything else. An item whose shape is not understood is left out and logged; only a document without a
//! `leader` is no state at all. Sources: contract mesos-dns §2 and §6, Mesos `mesos.proto` and `v1/master/master.proto`.

use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{Method, Request};
use bytes::Bytes;

use crate::{HttpClient, HttpError};

mod leading;
mod lenient;
mod recordio;
mod v0;
mod v1;
mod wire;

pub use self::leading::Leading;
pub use self::recordio::Subscription;

/// How long the master may take to begin its answer to `SUBSCRIBE`. It answers from memory.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The leading master's view of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// The leader's pid, `master@IP:PORT`.
    pub leader: String,
    /// The registered agents, in the master's order.
    pub agents: Vec<Agent>,
    /// The registered frameworks, in the master's order.
    pub frameworks: Vec<Framework>,
}

/// A registered agent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Agent {
    /// For example `6c1a9b1e-3f0d-4a57-9d0e-52a7c1b0e6d2-S1`.
    pub id: String,
    /// `slave(1)@IP:PORT`; absent when the master did not tell it.
    pub pid: Option<String>,
}

/// A registered framework with its unfinished tasks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Framework {
    /// The master's identifier of it.
    pub id: String,
    /// The name the framework gave itself.
    pub name: String,
    /// `scheduler-…@IP:PORT`; absent for schedulers that speak the HTTP API.
    pub pid: Option<String>,
    /// Where its scheduler runs, as it says.
    pub hostname: Option<String>,
    /// Its tasks, in the master's order.
    pub tasks: Vec<Task>,
}

/// A task that has not come to its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Task {
    /// The framework's identifier of it, unique in the framework.
    pub id: String,
    /// The name the framework gave it.
    pub name: String,
    /// The agent it runs on.
    pub agent_id: String,
    /// `TASK_STAGING`, `TASK_RUNNING`, …
    pub state: String,
    /// The host ports it holds, as ranges with both ends included.
    pub ports: Vec<PortRange>,
    /// How it wishes to be found.
    pub discovery: Option<Discovery>,
    /// What was reported of it, oldest first.
    pub statuses: Vec<Status>,
}

/// Ports `begin` to `end`, both included; none when `end` is below `begin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The first port.
    pub begin: u64,
    /// The last port.
    pub end: u64,
}

/// How a task wishes to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The name to be found by; may be empty.
    pub name: String,
    /// The ports to be found at.
    pub ports: Vec<DiscoveryPort>,
}

/// One port of a task's discovery information.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiscoveryPort {
    /// The port's number, on the host or in the task's own address.
    pub number: u64,
    /// `tcp`, `udp`, …; may be empty.
    pub protocol: String,
    /// The port's name; may be empty.
    pub name: String,
}

/// One report of a task's state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// `TASK_RUNNING`, …
    pub state: String,
    /// Seconds since 1970; 0 when not told.
    pub timestamp: f64,
    /// Labels set by the executor.
    pub labels: Vec<(String, String)>,
    /// The addresses of each network the task's container is on.
    pub networks: Vec<Vec<String>>,
}

/// A change told by the master.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The first event of a stream: what there is now, and how often the master gives a sign of life. It carries no
    /// `leader` and no framework `pid`, so a state read afterwards says more.
    Subscribed {
        /// The time between two signs of life, if it is told.
        heartbeat: Option<Duration>,
    },
    /// A task was launched.
    TaskAdded {
        /// Whose it is.
        framework_id: String,
        /// As it is in the state.
        task: Box<Task>,
    },
    /// A task's state changed.
    TaskUpdated {
        /// Whose it is.
        framework_id: String,
        /// Which one.
        task_id: String,
        /// What its agent reported.
        status: Box<Status>,
        /// The task's latest state, which may be ahead of the status that is told.
        state: String,
    },
    /// An agent registered.
    AgentAdded(Agent),
    /// An agent is gone.
    AgentRemoved {
        /// Which one.
        agent_id: String,
    },
    /// A framework registered, changed or left: the state has to be read again.
    FrameworksChanged,
    /// A sign of life.
    Heartbeat,
    /// Something of no interest for names.
    Other,
}

/// Why the master could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum MesosError {
    /// The request failed, or the stream broke off or went silent.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The state document does not say who leads: a master that is not elected yet.
    #[error("the master's state names no leader")]
    NoLeader,
    /// The master sends on to an address that cannot be asked.
    #[error("the master redirects to {location:?}, where it cannot be followed")]
    Redirect {
        /// As it says.
        location: String,
    },
    /// The stream does not follow RecordIO.
    #[error("the event stream is not framed as RecordIO: {reason}")]
    Framing {
        /// What is wrong, in words.
        reason: String,
    },
    /// A record of the stream is not the JSON of an event.
    #[error("an event is not JSON")]
    Event(#[source] serde_json::Error),
}

/// One Mesos master, addressed by the root of its API.
#[derive(Debug, Clone)]
pub struct MesosMaster {
    http: HttpClient,
    base: String,
}

impl MesosMaster {
    /// Addresses the master whose API is at `base`, for example `http://127.0.0.1:5050`.
    pub fn new(http: HttpClient, base: &str) -> Self {
        Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// Returns the address given to [`new`](Self::new), without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads the whole state.
    ///
    /// # Errors
    /// When the request fails, the answer is not a JSON object, or it names no leader.
    pub async fn state(&self) -> Result<State, MesosError> {
        let url = format!("{}/master/state", self.base);
        let document: serde_json::Value = self.http.get_json(&url).await?;
        State::from_v0(document)
    }

    /// Asks to be told of changes.
    ///
    /// # Errors
    /// When the request fails or is refused.
    pub async fn subscribe(&self) -> Result<Subscription, MesosError> {
        let url = format!("{}/api/v1", self.base);
        let request = Request::builder()
            .method(Method::POST)
            .uri(&url)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .body(Bytes::from_static(br#"{"type":"SUBSCRIBE"}"#))
            .map_err(|error| HttpError::Address {
                url,
                reason: error.to_string(),
            })?;
        let response = self.http.open(request, SUBSCRIBE_TIMEOUT).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(HttpError::Status {
                status,
                body: Bytes::new(),
            }
            .into());
        }
        Ok(Subscription::new(response.into_body()))
    }
}

impl State {
    /// Reads a `/master/state` document. Items of an unknown shape are left out and logged.
    ///
    /// # Errors
    /// [`MesosError::NoLeader`] when it names no leader, which also holds for what is not an object.
    pub fn from_v0(document: serde_json::Value) -> Result<Self, MesosError> {
        v0::state(document)
    }
}

#[cfg(test)]
mod tests;

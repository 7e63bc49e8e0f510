//! What every handler and stream of the master holds: the snapshot, the way to the one writer, the bus, the links.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::HeaderMap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use zddcluster_client::HttpClient;
use zddcluster_engine::{Answer, Command, Input, State};
use zddcluster_model::agent::{Registered, Registration, StatusUpdate};
use zddcluster_model::event::Event;
use zddcluster_model::{AgentId, EdgeId};
use zddcluster_runtime::{LogTail, Tasks, Token, Unauthorized};

use crate::actor::own::Subscription;
use crate::artifacts::Artifacts;
use crate::callbacks::Callbacks;
use crate::clock::Clock;
use crate::downloads::Downloads;
use crate::error::CallError;
use crate::events::Bus;
use crate::links::Links;
use crate::log::LogFilter;
use crate::metrics::Metrics;

/// Who this master is; stable over restarts but for the addresses.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// UUID v4 of the master: prefix of agent and framework ids, and the cluster's id.
    pub(crate) uuid: uuid::Uuid,
    /// The name clients show.
    pub(crate) cluster: String,
    /// Address of front door, as others reach it.
    pub(crate) front: SocketAddr,
    /// Address of the Mesos API, as others reach it.
    pub(crate) mesos: SocketAddr,
}

impl Identity {
    /// The framework that all tasks belong to.
    pub(crate) fn framework_id(&self) -> String {
        format!("{}-0000", self.uuid)
    }
}

/// What can be put into the one writer's inbox.
#[derive(Debug)]
pub(crate) enum Message {
    /// A result that nobody waits for.
    Input(Input),
    /// A caller of the API wants something.
    Command {
        command: Command,
        reply: oneshot::Sender<Result<Answer, CallError>>,
    },
    /// An agent registers.
    Register {
        registration: Box<Registration>,
        reply: oneshot::Sender<Result<Answer, CallError>>,
    },
    /// An agent's statuses, acknowledged up to the last number after the flush.
    Statuses {
        agent_id: AgentId,
        epoch: u64,
        updates: Vec<StatusUpdate>,
        reply: oneshot::Sender<Result<u64, CallError>>,
    },
    /// An agent's command stream ended; ignored if the agent has a newer one.
    AgentGone { agent_id: AgentId, generation: u64 },
    /// An edge opened its drain stream.
    EdgeOpened(EdgeId),
    /// An edge's drain stream ended; ignored if the edge has a newer one.
    EdgeGone { edge_id: EdgeId, generation: u64 },
    /// A caller adds or takes away a callback URL.
    Subscription(Subscription),
}

/// The parts that handlers share.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) speed: f64,
    /// The engine's own, for predictions.
    pub(crate) engine_config: zddcluster_engine::Config,
    /// The DNS role's HTTP API.
    pub(crate) mesos_dns: Option<SocketAddr>,
    snapshot: ArcSwap<State>,
    published: watch::Sender<u64>,
    inbox: mpsc::Sender<Message>,
    pub(crate) bus: Bus,
    pub(crate) links: Links,
    pub(crate) callbacks: Callbacks,
    pub(crate) downloads: Downloads,
    pub(crate) metrics: Metrics,
    /// None if there is no directory for it.
    pub(crate) artifacts: Option<Artifacts>,
    /// None if the process does not let it be changed.
    pub(crate) log: Option<LogFilter>,
    /// The end of the process' log.
    pub(crate) log_tail: LogTail,
    /// What agents and edges have to bring.
    token: Option<Token>,
    /// Everybody has to bring it who comes to the front door.
    pub(crate) wants_login: bool,
    /// For the agents' own APIs.
    pub(crate) http: HttpClient,
    pub(crate) tasks: Tasks,
}

/// What [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) identity: Identity,
    pub(crate) clock: Clock,
    pub(crate) engine_config: zddcluster_engine::Config,
    pub(crate) mesos_dns: Option<SocketAddr>,
    pub(crate) inbox: mpsc::Sender<Message>,
    pub(crate) token: Option<Token>,
    pub(crate) wants_login: bool,
    pub(crate) artifacts: Option<Artifacts>,
    pub(crate) log: Option<LogFilter>,
    pub(crate) log_tail: LogTail,
    pub(crate) tasks: Tasks,
}

impl Shared {
    pub(crate) fn new(parts: Parts, state: State) -> Self {
        let Parts {
            identity,
            clock,
            engine_config,
            mesos_dns,
            inbox,
            token,
            wants_login,
            artifacts,
            log,
            log_tail,
            tasks,
        } = parts;
        let authorization = token.as_ref().map(Token::authorization);
        Self {
            identity,
            clock,
            speed: engine_config.speed,
            engine_config,
            mesos_dns,
            snapshot: ArcSwap::from_pointee(state),
            published: watch::Sender::new(0),
            inbox,
            bus: Bus::new(clock),
            links: Links::default(),
            callbacks: Callbacks::default(),
            downloads: Downloads::default(),
            metrics: Metrics::default(),
            artifacts,
            log,
            log_tail,
            token,
            wants_login,
            http: HttpClient::new().with_authorization(authorization),
            tasks,
        }
    }

    /// Whether an agent or an edge with these headers is let in.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> Result<(), Unauthorized> {
        match &self.token {
            Some(token) => token.check(headers),
            None => Ok(()),
        }
    }

    /// Whether a text is the cluster's token.
    pub(crate) fn is_token(&self, text: &str) -> bool {
        self.token.as_ref().is_some_and(|token| token.is(text))
    }

    /// The latest durable state.
    pub(crate) fn state(&self) -> Arc<State> {
        self.snapshot.load_full()
    }

    /// Makes `state` the one that readers see. Only the one writer calls it.
    pub(crate) fn publish(&self, state: State) {
        self.snapshot.store(Arc::new(state));
        self.published.send_modify(|n| *n += 1);
    }

    /// Counts the published states; changes when a new one is there.
    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    /// Ends with the master.
    pub(crate) fn token(&self) -> &CancellationToken {
        self.tasks.token()
    }

    /// Hands a command of a user to the one writer and waits for its answer. A full inbox is an answer too: 503.
    ///
    /// Dropping the future does not take the command back.
    pub(crate) async fn submit(&self, command: Command) -> Result<Answer, CallError> {
        let (reply, answer) = oneshot::channel();
        self.inbox
            .try_send(Message::Command { command, reply })
            .map_err(|error| {
                CallError::Unavailable(match error {
                    mpsc::error::TrySendError::Full(_) => {
                        "the master has too much to do".to_owned()
                    }
                    mpsc::error::TrySendError::Closed(_) => "the master is stopping".to_owned(),
                })
            })?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Registers an agent.
    pub(crate) async fn register(
        &self,
        registration: Registration,
    ) -> Result<Registered, CallError> {
        let (reply, answer) = oneshot::channel();
        let registration = Box::new(registration);
        self.send(Message::Register {
            registration,
            reply,
        })
        .await?;
        match answer.await.unwrap_or_else(|_| Err(stopping()))? {
            Answer::Registered(registered) => Ok(registered),
            Answer::Deployment { .. } | Answer::Steps(_) | Answer::Killed(_) | Answer::Done => Err(
                CallError::Unavailable("the registration was not understood".to_owned()),
            ),
        }
    }

    /// Hands in an agent's statuses; the number up to which they are durable comes back.
    pub(crate) async fn statuses(
        &self,
        agent_id: AgentId,
        epoch: u64,
        updates: Vec<StatusUpdate>,
    ) -> Result<u64, CallError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Statuses {
            agent_id,
            epoch,
            updates,
            reply,
        })
        .await?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Adds or takes away a callback URL; the event that tells of it comes back once that is durable.
    pub(crate) async fn subscribe(
        &self,
        url: String,
        is_wanted: bool,
        client_ip: String,
    ) -> Result<Event, CallError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Subscription(Subscription {
            url,
            is_wanted,
            client_ip,
            reply,
        }))
        .await?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Puts a message into the inbox, waiting for room.
    pub(crate) async fn send(&self, message: Message) -> Result<(), CallError> {
        self.inbox.send(message).await.map_err(|_| stopping())
    }
}

fn stopping() -> CallError {
    CallError::Unavailable("the master is stopping".to_owned())
}

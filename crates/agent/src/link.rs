//! The link to the master: register, then one stream of commands in and statuses out, for ever again.
//!
//! ```text
//!   register ──▶ commands ∥ statuses ──(one of them ends)──▶ pause ──▶ register …
//!      └─ 409: a younger agent process took this id: this one stops
//! ```
//!
//! Source: the protocol in `zddcluster_model::agent`.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zddcluster_client::{HttpClient, HttpError, Lines};
use zddcluster_model::AgentId;
use zddcluster_model::agent::{
    Acknowledged, Command, KEEP_ALIVE_MILLIS, PROTOCOL, Registered, Registration, Resources,
};
use zddcluster_runtime::{Backoff, Error, chain};

use crate::actor::{Inbox, Message};
use crate::journal::{Identity, Journal};
use crate::outbox::Outbox;

/// Silence after which a master is taken for dead: three missed keep-alives.
const IDLE_LIMIT: Duration = Duration::from_millis(3 * KEEP_ALIVE_MILLIS);

/// An agent that has nothing to say says so this often.
const KEEP_ALIVE: Duration = Duration::from_millis(KEEP_ALIVE_MILLIS);

/// How long a request may take; the master flushes before it answers.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// First and longest pause between attempts. The first is short: on one machine the master is often just starting.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Statuses in one request; with Mesos' long messages still well below a MiB.
const BATCH: usize = 256;

/// How long a registration waits for tasks found after a restart to be known. A slow one is then reported as staging.
const RECOVER_LIMIT: Duration = Duration::from_secs(5);

/// What a registration says beside tasks.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) role: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) resources: Resources,
}

/// The link; [`Link::run`] is its life.
pub(crate) struct Link {
    pub(crate) client: HttpClient,
    pub(crate) master_url: String,
    pub(crate) about: About,
    pub(crate) identity: Identity,
    pub(crate) journal: Journal,
    pub(crate) inbox: Inbox,
    pub(crate) outbox: Outbox,
    pub(crate) recovered: watch::Receiver<bool>,
    pub(crate) is_registered: watch::Sender<bool>,
}

/// Why a registration, a stream or a delivery ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("another process runs as this agent with a later epoch ({message}); this one stops")]
    Fenced { message: String },
    #[error("the master does not know this agent")]
    Unknown,
    #[error("the master closed the command stream")]
    Closed,
    #[error("the master does not let this agent in: {message}")]
    Unauthorized { message: String },
    #[error("the master answered {status}: {body}")]
    Refused { status: StatusCode, body: String },
    #[error("the master acknowledged {acknowledged} of statuses from {first} on")]
    NotAcknowledged { acknowledged: u64, first: u64 },
    #[error("the answer is not what the protocol says")]
    Unreadable(#[source] serde_json::Error),
    #[error("the request cannot be made")]
    Request(#[from] http::Error),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the agent's identity cannot be written down")]
    Identity(#[source] std::io::Error),
    #[error("the agent's persistent volumes cannot be listed")]
    Volumes(#[source] std::io::Error),
    #[error("the agent is shutting down")]
    ShuttingDown,
}

impl Link {
    pub(crate) async fn run(mut self, token: CancellationToken) -> Result<(), Error> {
        tokio::select! {
            ended = self.link() => ended,
            () = token.cancelled() => Ok(()),
        }
    }

    async fn link(&mut self) -> Result<(), Error> {
        let recovered = self.recovered.wait_for(|&recovered| recovered);
        let _ = tokio::time::timeout(RECOVER_LIMIT, recovered).await;
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        // The condition is logged when it changes, not at every attempt.
        let mut said = None;
        loop {
            let error = match self.register().await {
                Ok(agent_id) => {
                    tracing::info!(%agent_id, master = self.master_url, "registered");
                    self.is_registered.send_replace(true);
                    backoff.reset();
                    said = None;
                    let ended = self.serve(&agent_id).await;
                    self.is_registered.send_replace(false);
                    ended
                }
                Err(error) => error,
            };
            match error {
                LinkError::Fenced { .. } => return Err(error.into()),
                LinkError::ShuttingDown => return Ok(()),
                error if said == Some(discriminant(&error)) => {
                    tracing::debug!(error = chain(&error), "still no link to the master")
                }
                error => {
                    said = Some(discriminant(&error));
                    tracing::warn!(
                        error = chain(&error),
                        master = self.master_url,
                        "no link to the master; tasks go on"
                    );
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn register(&mut self) -> Result<AgentId, LinkError> {
        let tasks = self
            .inbox
            .ask(Message::Report)
            .await
            .ok_or(LinkError::ShuttingDown)?;
        let volumes = self.journal.volumes();
        let volumes = tokio::task::spawn_blocking(move || volumes.list())
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(LinkError::Volumes)?;
        let About {
            hostname,
            port,
            role,
            attributes,
            resources,
        } = self.about.clone();
        let registration = Registration {
            protocol: PROTOCOL,
            agent_id: self.identity.agent_id.clone(),
            epoch: self.identity.epoch,
            hostname,
            port,
            role,
            attributes,
            resources,
            tasks,
            volumes,
        };
        let url = format!("{}/zdd/v1/agents/register", self.master_url);
        let registered: Registered = self.post(&url, &registration).await?;
        let changed = self.identity.agent_id.as_ref() != Some(&registered.agent_id)
            || self.identity.framework_id.as_ref() != Some(&registered.framework_id);
        if changed {
            self.identity.agent_id = Some(registered.agent_id.clone());
            self.identity.framework_id = Some(registered.framework_id.clone());
            let (journal, identity) = (self.journal.clone(), self.identity.clone());
            tokio::task::spawn_blocking(move || journal.set_identity(&identity))
                .await
                .map_err(std::io::Error::other)
                .flatten()
                .map_err(LinkError::Identity)?;
        }
        let agent_id = registered.agent_id.clone();
        if !self.inbox.send(Message::Registered(registered)).await {
            return Err(LinkError::ShuttingDown);
        }
        Ok(agent_id)
    }

    /// Takes commands and delivers statuses until one of both ends.
    async fn serve(&self, agent_id: &AgentId) -> LinkError {
        let ended = tokio::select! {
            ended = self.commands(agent_id) => ended,
            ended = self.statuses(agent_id) => ended,
        };
        match ended {
            Ok(()) => LinkError::ShuttingDown,
            Err(error) => error,
        }
    }

    async fn commands(&self, agent_id: &AgentId) -> Result<(), LinkError> {
        let epoch = self.identity.epoch;
        let url = format!(
            "{}/zdd/v1/agents/{agent_id}/commands?epoch={epoch}",
            self.master_url
        );
        let request = Request::get(&url).body(Bytes::new())?;
        let response = self.client.open(request, REQUEST_LIMIT).await?;
        let status = response.status();
        let mut lines = Lines::new(response.into_body());
        if status != StatusCode::OK {
            let body = lines.next(REQUEST_LIMIT).await?.unwrap_or_default();
            return Err(refusal(status, body));
        }
        while let Some(line) = lines.next(IDLE_LIMIT).await? {
            if line.is_empty() {
                continue;
            }
            match serde_json::from_str::<Command>(&line) {
                Ok(command) => {
                    if !self.inbox.send(Message::Command(command)).await {
                        return Ok(());
                    }
                }
                // Of a younger master perhaps; the others still count.
                Err(error) => tracing::error!(%error, "a command of the master cannot be read"),
            }
        }
        Err(LinkError::Closed)
    }

    async fn statuses(&self, agent_id: &AgentId) -> Result<(), LinkError> {
        let epoch = self.identity.epoch;
        let url = format!(
            "{}/zdd/v1/agents/{agent_id}/statuses?epoch={epoch}",
            self.master_url
        );
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            // Cancel-safe: nothing is taken out.
            let batch = tokio::time::timeout(KEEP_ALIVE, self.outbox.next_batch(BATCH))
                .await
                .unwrap_or_default();
            let first = batch.first().map_or(0, |update| update.seq);
            let error = match self.post::<_, Acknowledged>(&url, &batch).await {
                Ok(_) if batch.is_empty() => continue,
                Ok(Acknowledged { acknowledged }) if acknowledged >= first => {
                    if !self.inbox.send(Message::Acknowledged(acknowledged)).await {
                        return Ok(());
                    }
                    // The actor drops them from the queue; asking it something waits until it did.
                    if self.inbox.ask(Message::View).await.is_none() {
                        return Ok(());
                    }
                    backoff.reset();
                    continue;
                }
                Ok(Acknowledged { acknowledged }) => LinkError::NotAcknowledged {
                    acknowledged,
                    first,
                },
                Err(error @ (LinkError::Fenced { .. } | LinkError::Unknown)) => return Err(error),
                Err(error) => error,
            };
            tracing::debug!(error = chain(&error), "statuses wait");
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn post<B, T>(&self, url: &str, body: &B) -> Result<T, LinkError>
    where
        B: serde::Serialize + ?Sized,
        T: serde::de::DeserializeOwned,
    {
        let body = serde_json::to_vec(body).map_err(LinkError::Unreadable)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))?;
        let response = self.client.send(request, REQUEST_LIMIT).await?;
        if !response.status().is_success() {
            let body = String::from_utf8_lossy(response.body()).into_owned();
            return Err(refusal(response.status(), body));
        }
        serde_json::from_slice(response.body()).map_err(LinkError::Unreadable)
    }
}

fn refusal(status: StatusCode, body: String) -> LinkError {
    match status {
        StatusCode::CONFLICT => LinkError::Fenced { message: body },
        StatusCode::NOT_FOUND => LinkError::Unknown,
        StatusCode::UNAUTHORIZED => LinkError::Unauthorized {
            message: message_of(body),
        },
        _ => LinkError::Refused { status, body },
    }
}

/// The `message` of a refusal, or all of it.
fn message_of(body: String) -> String {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    serde_json::from_str(&body).map_or(body, |Refusal { message }| message)
}

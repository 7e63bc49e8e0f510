//! The one writer: owns the engine and the store, and carries out what the engine decides.
//!
//! ```text
//!   inbox ─drain─▶ step each ─▶ one batch, one flush ─▶ snapshot ─▶ answers ─▶ events ─▶ orders
//!                                   │ fails
//!                                   ▼
//!                        roll back, 503 to the callers ─▶ broken: reads go on, writes 503
//!                                   ▲                          │ reopen, with back-off
//!                                   └── still fails ◀──────────┴──▶ replace_all, what was put off, on
//! ```
//!
//! An answer therefore means durable, and a GET made after an event was seen shows at least that state. While the store is
//! broken nothing is decided: results of checks are dropped (they come again), agents keep their statuses (unacknowledged),
//! and what would not come again is put off.

mod broken;
pub(crate) mod own;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use zddcluster_engine::{
    Answer, Attempt, CheckOrder, Command, DownloadOrder, Effect, Engine, Input, KillOrder,
    Mutation, Refusal, State, Ticket,
};
use zddcluster_model::agent::{Command as AgentCommand, LaunchTask};
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::{AgentId, EdgeId, TaskId};
use zddcluster_runtime::Error;
use zddcluster_store::{Change, Store, StoreError};

use self::broken::{Broken, is_unrepeated};
use self::own::Own;
use crate::downloads;
use crate::error::CallError;
use crate::shared::{Message, Shared};

/// Most messages decided in one batch: bounds the time between a message and its answer.
const MAX_BATCH: usize = 1024;
/// Shortest sleep before a wake, so that a deadline that stays in the past cannot keep a core busy.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

/// The writer.
pub(crate) struct Actor {
    pub(crate) engine: Engine,
    /// Away while a blocking thread works on it.
    pub(crate) store: Option<Box<dyn Store>>,
    /// Records that are the master's own, not the engine's.
    pub(crate) own: Own,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: mpsc::Receiver<Message>,
    pub(crate) checks: mpsc::Sender<CheckOrder>,
    pub(crate) last_ticket: u64,
    pub(crate) broken: Option<Broken>,
    /// Seconds that the machine slept, as far as the engine has heard of it.
    pub(crate) slept: u64,
}

/// What one batch has decided so far.
#[derive(Default)]
struct Turn {
    mutations: Vec<Change>,
    answers: Vec<(Ticket, Result<Answer, Refusal>)>,
    events: Vec<Event>,
    /// Abdications, each with the number of `events` before it.
    abdications: Vec<(Ticket, usize)>,
    orders: Vec<Order>,
    callers: BTreeMap<Ticket, oneshot::Sender<Result<Answer, CallError>>>,
    acknowledgements: Vec<(u64, oneshot::Sender<Result<u64, CallError>>)>,
    /// Agents whose queue was made in this batch.
    opened: Vec<(AgentId, u64)>,
    put_off: Vec<Message>,
    own: own::Decided,
}

enum Order {
    Launch(AgentId, Box<LaunchTask>),
    Kill(KillOrder),
    Destroy(AgentId, Vec<String>),
    Drain(EdgeId, TaskId),
    Check(CheckOrder),
    Download(DownloadOrder),
    StopDownload(Attempt),
}

impl Actor {
    /// Decides until the token is cancelled; then whatever is in the inbox is dropped, and its callers hear 503.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let token = shared.token().clone();
        self.turn(vec![Message::Input(Input::Wake)]).await?;
        let mut messages = Vec::with_capacity(MAX_BATCH);
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                // Cancel-safe: only waits for a state.
                () = token.cancelled() => return Ok(()),
                // Cancel-safe: nothing is taken unless it returns.
                n = self.inbox.recv_many(&mut messages, MAX_BATCH) => {
                    if n == 0 {
                        return Ok(());
                    }
                    let batch = std::mem::take(&mut messages);
                    self.turn(batch).await?;
                }
                // Cancel-safe: the deadline is asked for anew on every turn.
                () = sleep_until(wake_at) => self.wake().await?,
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        if let Some(broken) = &self.broken {
            return Some(broken.retry_at());
        }
        let at = self.shared.clock.instant_of(self.engine.next_wake()?);
        Some(at.max(Instant::now() + SHORTEST_SLEEP))
    }

    async fn wake(&mut self) -> Result<(), Error> {
        if self.broken.is_some() {
            self.try_repair().await
        } else {
            self.turn(vec![Message::Input(Input::Wake)]).await
        }
    }

    /// Decides one batch of messages and carries it out.
    async fn turn(&mut self, messages: Vec<Message>) -> Result<(), Error> {
        if let Some(broken) = &mut self.broken {
            for message in messages {
                broken.refuse(message);
            }
            // Callers that keep the inbox full must not keep the store from being repaired.
            if broken.retry_at() > Instant::now() {
                return Ok(());
            }
            return Box::pin(self.try_repair()).await;
        }
        let mut turn = Turn::default();
        // Before anything that is judged by the time, and kept whatever becomes of the rest.
        let slept = self.shared.clock.slept();
        if slept > self.slept {
            let seconds = i64::try_from(slept - self.slept).unwrap_or(i64::MAX / 1000);
            tracing::info!(seconds, "the machine was asleep");
            self.slept = slept;
            let millis = seconds.saturating_mul(1000);
            self.step(Input::Slept { millis }, &mut turn);
        }
        let before = self.engine.state().clone();
        for message in messages {
            self.decide(message, &mut turn);
        }
        // A full inbox must not keep deadlines waiting.
        if self
            .engine
            .next_wake()
            .is_some_and(|at| at <= self.shared.clock.now())
        {
            self.step(Input::Wake, &mut turn);
        }
        if !turn.mutations.is_empty() {
            let batch = std::mem::take(&mut turn.mutations);
            let began = Instant::now();
            let committed = self.with_store(|store| store.commit(batch)).await?;
            let is_durable = committed.is_ok();
            self.shared.metrics.flushed(is_durable, began.elapsed());
            if let Err(error) = committed {
                self.fail(&error, before, turn);
                return Ok(());
            }
        }
        self.carry_out(turn).await;
        Ok(())
    }

    /// Runs the engine for one message.
    fn decide(&mut self, message: Message, turn: &mut Turn) {
        match message {
            Message::Input(input) => {
                if is_unrepeated(&input) {
                    turn.put_off.push(Message::Input(input.clone()));
                }
                self.step(input, turn);
            }
            Message::Command { command, reply } => {
                let ticket = self.ticket(reply, turn);
                if matches!(command, Command::Abdicate) {
                    turn.abdications.push((ticket, turn.events.len()));
                }
                self.step(Input::Command { ticket, command }, turn);
            }
            Message::Register {
                registration,
                reply,
            } => {
                let ticket = self.ticket(reply, turn);
                let epoch = registration.epoch;
                self.step(
                    Input::AgentRegistered {
                        ticket,
                        registration,
                    },
                    turn,
                );
                // The queue is there before the first order of this batch and before the end of an older stream is read.
                if let Some((_, Ok(Answer::Registered(registered)))) = turn
                    .answers
                    .iter()
                    .rev()
                    .find(|(other, _)| *other == ticket)
                {
                    let agent_id = registered.agent_id.clone();
                    let generation = self.shared.links.open(&agent_id, epoch);
                    turn.opened.push((agent_id, generation));
                }
            }
            Message::Statuses {
                agent_id,
                epoch,
                updates,
                reply,
            } => {
                let known = self
                    .engine
                    .state()
                    .agents
                    .get(&agent_id)
                    .map(|agent| agent.epoch);
                if known != Some(epoch) {
                    let known = known.unwrap_or_default();
                    let refusal = Refusal::Fenced {
                        agent_id,
                        known,
                        given: epoch,
                    };
                    let _ = reply.send(Err(refusal.into()));
                    return;
                }
                let last = updates
                    .iter()
                    .map(|update| update.seq)
                    .max()
                    .unwrap_or_default();
                for update in updates {
                    let input = Input::TaskStatus {
                        agent_id: agent_id.clone(),
                        report: update.report,
                    };
                    self.step(input, turn);
                }
                turn.acknowledgements.push((last, reply));
            }
            Message::AgentGone {
                ref agent_id,
                generation,
            } => {
                if let Some(epoch) = self.shared.links.close(agent_id, generation) {
                    let input = Input::AgentDisconnected {
                        agent_id: agent_id.clone(),
                        epoch,
                    };
                    turn.put_off.push(Message::Input(input.clone()));
                    self.step(input, turn);
                }
            }
            Message::Subscription(subscription) => self.subscribe(subscription, turn),
            Message::EdgeOpened(edge_id) => {
                // Also for an edge that is still here: the engine asks again what the old stream may have lost.
                turn.put_off.push(Message::EdgeOpened(edge_id.clone()));
                self.step(Input::EdgeConnected(edge_id), turn);
            }
            Message::EdgeGone {
                edge_id,
                generation,
            } => {
                if self.shared.links.close_edge(&edge_id, generation) {
                    let input = Input::EdgeDisconnected(edge_id);
                    turn.put_off.push(Message::Input(input.clone()));
                    self.step(input, turn);
                }
            }
        }
    }

    fn ticket(
        &mut self,
        reply: oneshot::Sender<Result<Answer, CallError>>,
        turn: &mut Turn,
    ) -> Ticket {
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        turn.callers.insert(ticket, reply);
        ticket
    }

    fn step(&mut self, input: Input, turn: &mut Turn) {
        for effect in self.engine.step(self.shared.clock.now(), input) {
            match effect {
                Effect::Persist(Mutation::Put(key, value)) => {
                    turn.mutations.push(Change::Put(key, value));
                }
                Effect::Persist(Mutation::Remove(key)) => turn.mutations.push(Change::Remove(key)),
                Effect::Reply(ticket, answer) => turn.answers.push((ticket, answer)),
                Effect::Publish(event) => turn.events.push(event),
                Effect::Launch(agent_id, task) => turn.orders.push(Order::Launch(agent_id, task)),
                Effect::Kill(order) => turn.orders.push(Order::Kill(order)),
                Effect::DestroyVolumes {
                    agent_id,
                    volume_ids,
                } => turn.orders.push(Order::Destroy(agent_id, volume_ids)),
                Effect::Drain(edge_id, task_id) => turn.orders.push(Order::Drain(edge_id, task_id)),
                Effect::Check(order) => turn.orders.push(Order::Check(order)),
                Effect::Download(order) => turn.orders.push(Order::Download(order)),
                Effect::StopDownload(attempt) => turn.orders.push(Order::StopDownload(attempt)),
            }
        }
    }

    /// Everything of a durable batch, in the order that the module's page draws.
    async fn carry_out(&mut self, turn: Turn) {
        let Turn {
            mutations: _,
            answers,
            mut events,
            abdications,
            orders,
            mut callers,
            acknowledgements,
            opened: _,
            put_off: _,
            own,
        } = turn;
        self.shared.publish(self.engine.state().clone());
        if let Some(urls) = &own.urls {
            self.shared.callbacks.follow(&self.shared, urls);
        }
        own.answer();
        let is_done = |ticket: Ticket| {
            let mut answers = answers.iter();
            answers.any(|(other, answer)| *other == ticket && answer.is_ok())
        };
        let elections: Vec<usize> = abdications
            .into_iter()
            .filter_map(|(ticket, n_before)| is_done(ticket).then_some(n_before))
            .collect();
        for (ticket, answer) in answers {
            if let Some(caller) = callers.remove(&ticket) {
                let _ = caller.send(answer.map_err(CallError::Refused));
            }
        }
        for (ticket, caller) in callers {
            tracing::error!(?ticket, "the engine left a caller without an answer");
            let _ = caller.send(Err(CallError::Unavailable(
                "no decision was made".to_owned(),
            )));
        }
        for (last, caller) in acknowledgements {
            let _ = caller.send(Ok(last));
        }
        let state = self.shared.state();
        for event in &events {
            self.shared.metrics.published(event, &state);
        }
        drop(state);
        let mut n_published = 0;
        for n_before in elections {
            // What the new leader does is for those who come back.
            let of_the_old = events.drain(..n_before - n_published);
            self.shared.bus.publish(of_the_old);
            n_published = n_before;
            let master = self.shared.identity.mesos.ip().to_string();
            self.shared.bus.abdicate(&master);
        }
        self.shared.bus.publish(events);
        for order in orders {
            match order {
                Order::Launch(agent_id, task) => {
                    self.shared
                        .links
                        .order(&agent_id, AgentCommand::Launch(task));
                }
                Order::Kill(KillOrder {
                    agent_id,
                    task_id,
                    grace_millis,
                }) => {
                    self.shared.links.order(
                        &agent_id,
                        AgentCommand::Kill {
                            task_id,
                            grace_millis,
                        },
                    );
                }
                Order::Destroy(agent_id, volume_ids) => {
                    let command = AgentCommand::DestroyVolumes { volume_ids };
                    self.shared.links.order(&agent_id, command);
                }
                Order::Drain(edge_id, task_id) => self.shared.links.drain(&edge_id, task_id),
                Order::Download(order) => downloads::start(&self.shared, order),
                Order::StopDownload(attempt) => self.shared.downloads.stop(attempt),
                // The checker takes orders without waiting for anything; it is gone only at shutdown.
                Order::Check(order) => {
                    let _ = self.checks.send(order).await;
                }
            }
        }
    }

    /// Takes back a batch that could not be made durable.
    fn fail(&mut self, error: &StoreError, before: State, turn: Turn) {
        let broken = Broken::new(error, turn.put_off);
        let reason = broken.reason();
        tracing::error!(%reason, "the store failed; writes are refused until it works again");
        self.engine.roll_back(before);
        // The same state as before; whoever waits for the first one after the start goes on.
        self.shared.publish(self.engine.state().clone());
        for (agent_id, generation) in turn.opened {
            self.shared.links.close(&agent_id, generation);
        }
        for (_, caller) in turn.callers {
            let _ = caller.send(Err(broken.refusal()));
        }
        for (_, caller) in turn.acknowledgements {
            let _ = caller.send(Err(broken.refusal()));
        }
        turn.own.take_back(&mut self.own, || broken.refusal());
        self.broken = Some(broken);
        self.shared.bus.tell(EventKind::SchedulerDisconnected);
    }

    /// Reopens the store, writes everything anew, and goes on with what was put off.
    async fn try_repair(&mut self) -> Result<(), Error> {
        let mut records = self.engine.export();
        records.extend(self.own.records().iter().cloned());
        let repaired = self
            .with_store(move |store| {
                store.reopen()?;
                store.replace_all(records)
            })
            .await?;
        let Some(mut broken) = self.broken.take() else {
            return Ok(());
        };
        match repaired {
            Ok(()) => {
                tracing::info!("the store works again");
                let master = self.shared.identity.mesos.ip().to_string();
                self.shared
                    .bus
                    .tell(EventKind::SchedulerReregistered { master });
                let mut messages = broken.into_put_off();
                messages.push(Message::Input(Input::Wake));
                self.turn(messages).await
            }
            Err(error) => {
                broken.again(&error);
                tracing::debug!(reason = broken.reason(), "the store still fails");
                self.broken = Some(broken);
                Ok(())
            }
        }
    }

    /// Works on the store in a blocking thread; `Err` only if that panicked.
    async fn with_store<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Result<T, StoreError>, Error> {
        let mut store = self.store.take().ok_or("the store was lost in a panic")?;
        let (store, result) = tokio::task::spawn_blocking(move || {
            let result = work(store.as_mut());
            (store, result)
        })
        .await?;
        self.store = Some(store);
        Ok(result)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

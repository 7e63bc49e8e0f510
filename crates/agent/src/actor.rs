//! The one writer of the agent's books in memory: takes orders and news, decides, queues statuses.
//!
//! Each task has a [`Driver`] that does the waiting; the actor itself never waits for a task.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};
use zddcluster_model::agent::{Command, LaunchTask, Registered, TaskReport};
use zddcluster_model::task::{IpAddress, StatusReason};
use zddcluster_model::{TaskId, TaskState};
use zddcluster_runtime::{Error, OnFailure, Tasks};

use crate::containerizer::{Addresses, Containerizer, Exit, Order, reason, verdict};
use crate::drive::{Driver, News, Origin};
use crate::fetch::Fetcher;
use crate::headroom;
use crate::ip_address;
use crate::journal::{Identity, Journal, KillOrder, Recorded};
use crate::outbox::Outbox;

/// Sandboxes of ended tasks that are kept for their logs.
const KEPT_SANDBOXES: usize = 20;

/// Orders that wait for the actor; a stream that brings more waits with them.
const INBOX: usize = 256;

/// What others ask of the actor.
#[derive(Debug)]
pub(crate) enum Message {
    /// From the master.
    Command(Command),
    /// The master answered a registration.
    Registered(Registered),
    /// The master has these statuses for good.
    Acknowledged(u64),
    /// For a registration.
    Report(oneshot::Sender<Vec<TaskReport>>),
    /// A task, if it runs here.
    Running(TaskId, oneshot::Sender<Option<RunningTask>>),
    /// For the API.
    View(oneshot::Sender<View>),
}

/// A task that runs.
#[derive(Clone, Debug)]
pub(crate) struct RunningTask {
    pub(crate) order: Arc<Order>,
    pub(crate) addresses: Addresses,
}

/// What the API shows.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) identity: Identity,
    pub(crate) tasks: Vec<TaskView>,
}

/// One task for the API.
#[derive(Clone, Debug)]
pub(crate) struct TaskView {
    pub(crate) order: Arc<Order>,
    pub(crate) state: TaskState,
    pub(crate) ip_addresses: Vec<IpAddress>,
    pub(crate) message: String,
    /// Why it ended, if there is a word for it.
    pub(crate) reason: Option<StatusReason>,
    /// When it came into this state.
    pub(crate) since: SystemTime,
}

/// A younger process has taken the work directory over.
#[derive(Debug, thiserror::Error)]
#[error("another process runs in {} with a later epoch; this one stops", .0.display())]
struct TakenOver(PathBuf);

/// A task in memory.
struct Task {
    /// None for one that was killed before anybody had ordered it here.
    order: Option<Arc<Order>>,
    state: TaskState,
    addresses: Addresses,
    message: String,
    reason: Option<StatusReason>,
    since: SystemTime,
    is_acknowledged: bool,
    /// Found in the books, and its containerizer has not said yet what it is.
    is_unknown: bool,
    kill: watch::Sender<Option<KillOrder>>,
}

/// Sends to the actor.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(mpsc::Sender<Message>);

impl Inbox {
    /// False once the agent ends.
    pub(crate) async fn send(&self, message: Message) -> bool {
        self.0.send(message).await.is_ok()
    }

    /// Asks and waits; `None` once the agent ends.
    pub(crate) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.0.send(question(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// The actor; [`Actor::run`] is its life.
pub(crate) struct Actor {
    journal: Journal,
    identity: Identity,
    containerizer: Arc<dyn Containerizer>,
    fetcher: Fetcher,
    address: IpAddress,
    outbox: Outbox,
    tasks: BTreeMap<TaskId, Task>,
    /// Launches that wait until a task of before has let their persistent volumes go. The master orders them again if need be.
    waiting: BTreeMap<TaskId, LaunchTask>,
    /// Volumes to be destroyed as soon as no task uses them. The master orders that again if need be.
    doomed: BTreeSet<String>,
    /// Found tasks that nobody knows the state of yet.
    n_unknown: usize,
    /// True once all found tasks are known.
    is_recovered: watch::Sender<bool>,
    owner: Tasks,
    inbox: mpsc::Receiver<Message>,
    news: mpsc::Receiver<(TaskId, News)>,
    news_sender: mpsc::Sender<(TaskId, News)>,
}

/// What an actor is made of.
pub(crate) struct Parts {
    pub(crate) journal: Journal,
    pub(crate) identity: Identity,
    pub(crate) containerizer: Arc<dyn Containerizer>,
    pub(crate) fetcher: Fetcher,
    pub(crate) address: IpAddress,
    pub(crate) outbox: Outbox,
    pub(crate) owner: Tasks,
}

impl Actor {
    /// Takes up the books as they were found.
    pub(crate) fn new(parts: Parts, found: Vec<Recorded>) -> (Self, Inbox, watch::Receiver<bool>) {
        let Parts {
            journal,
            identity,
            containerizer,
            fetcher,
            address,
            outbox,
            owner,
        } = parts;
        let (sender, inbox) = mpsc::channel(INBOX);
        let (news_sender, news) = mpsc::channel(INBOX);
        let (is_recovered, recovered) =
            watch::channel(found.iter().all(|task| task.exit.is_some()));
        let mut actor = Self {
            journal,
            identity,
            containerizer,
            fetcher,
            address,
            outbox,
            tasks: BTreeMap::new(),
            waiting: BTreeMap::new(),
            doomed: BTreeSet::new(),
            n_unknown: 0,
            is_recovered,
            owner,
            inbox,
            news,
            news_sender,
        };
        for task in found {
            actor.take_up(task);
        }
        actor.collect_garbage();
        (actor, Inbox(sender), recovered)
    }

    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let token = self.owner.token().clone();
        loop {
            tokio::select! {
                // Cancel-safe: `recv` keeps the message when dropped.
                Some((task_id, news)) = self.news.recv() => self.hear(&task_id, news),
                // Cancel-safe: as above.
                Some(message) = self.inbox.recv() => {
                    // Locks can be lost: a frozen process may wake up with orders that another one carried out.
                    if matches!(message, Message::Command(_)) && self.journal.has_later_epoch(self.identity.epoch) {
                        return Err(TakenOver(self.journal.work_dir().to_owned()).into());
                    }
                    self.handle(message);
                }
                () = token.cancelled() => return Ok(()),
            }
        }
    }

    /// One task from the books.
    fn take_up(&mut self, recorded: Recorded) {
        let Recorded {
            order,
            kill,
            exit,
            ended_at,
            is_acknowledged,
        } = recorded;
        let order = Arc::new(order);
        let task_id = order.task_id().clone();
        let mut task = Task::new(Some(Arc::clone(&order)));
        task.kill.send_replace(kill);
        match exit {
            Some(exit) => {
                task.end(&exit);
                task.since = ended_at.unwrap_or(task.since);
                task.is_acknowledged = is_acknowledged;
                if !is_acknowledged {
                    self.outbox.push(self.report_of(&task_id, &task));
                }
                // The executor may have ended after the agent: its groups are still there.
                let containerizer = Arc::clone(&self.containerizer);
                self.owner.spawn("clean", OnFailure::Log, async move {
                    containerizer.clean(&order).await;
                    Ok(())
                });
            }
            None => {
                self.n_unknown += 1;
                task.is_unknown = true;
                self.drive(order, &task, Origin::Found);
            }
        }
        self.tasks.insert(task_id, task);
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Command(Command::Launch(launch)) => self.launch(*launch),
            Message::Command(Command::Kill {
                task_id,
                grace_millis,
            }) => {
                self.kill(&task_id, Duration::from_millis(grace_millis));
            }
            Message::Command(Command::DestroyVolumes { volume_ids }) => {
                self.doomed.extend(volume_ids);
                self.destroy_doomed();
            }
            Message::Registered(Registered {
                agent_id,
                framework_id,
            }) => {
                self.identity.agent_id = Some(agent_id);
                self.identity.framework_id = Some(framework_id);
            }
            Message::Acknowledged(seq) => self.acknowledged(seq),
            Message::Report(answer) => {
                let tasks = self.tasks.iter().filter(|(_, task)| !task.is_acknowledged);
                let _ = answer.send(
                    tasks
                        .map(|(task_id, task)| self.report_of(task_id, task))
                        .collect(),
                );
            }
            Message::Running(task_id, answer) => {
                let running = self
                    .tasks
                    .get(&task_id)
                    .filter(|task| task.state == TaskState::Running);
                let _ = answer.send(running.and_then(|task| {
                    Some(RunningTask {
                        order: task.order.clone()?,
                        addresses: task.addresses.clone(),
                    })
                }));
            }
            Message::View(answer) => {
                let _ = answer.send(self.view());
            }
        }
    }

    fn launch(&mut self, launch: LaunchTask) {
        let task_id = launch.task_id.clone();
        if let Some(known) = self.tasks.get(&task_id) {
            tracing::debug!(task = %task_id, state = known.state.as_str(), "ordered again");
            if known.state.is_terminal() {
                self.outbox.push(self.report_of(&task_id, known));
            }
            return;
        }
        let mut volumes = launch.volumes.iter();
        if volumes.any(|volume| self.is_in_use(&volume.persistence_id)) {
            tracing::info!(task = %task_id, "waits until another task has let its volumes go");
            self.waiting.insert(task_id, launch);
            return;
        }
        match self.journal.order(launch, &self.address.ip_address) {
            Ok(order) => {
                let order = Arc::new(order);
                let task = Task::new(Some(Arc::clone(&order)));
                self.drive(order, &task, Origin::Ordered);
                self.tasks.insert(task_id, task);
            }
            Err(error) => {
                let mut task = Task::new(None);
                task.end(&Exit::NotStarted {
                    message: error.message,
                });
                self.outbox.push(self.report_of(&task_id, &task));
                self.tasks.insert(task_id, task);
            }
        }
    }

    fn kill(&mut self, task_id: &TaskId, grace: Duration) {
        let Some(task) = self.tasks.get(task_id) else {
            // Remembered until the master knows, so that a launch that comes late is not carried out.
            let mut task = Task::new(None);
            task.kill.send_replace(Some(KillOrder::now(grace)));
            let message = match self.waiting.remove(task_id) {
                Some(_) => "Task killed before it was launched",
                None => "Task is not known to this agent",
            };
            task.end(&Exit::NotStarted {
                message: message.to_owned(),
            });
            self.outbox.push(self.report_of(task_id, &task));
            self.tasks.insert(task_id.clone(), task);
            return;
        };
        if task.state.is_terminal() {
            // The master has not heard of it, or forgot.
            self.outbox.push(self.report_of(task_id, task));
            return;
        }
        let new = KillOrder::now(grace);
        task.kill.send_if_modified(|kill| {
            let is_sooner = kill.is_none_or(|old| new.remaining() < old.remaining());
            if is_sooner {
                *kill = Some(new);
            }
            is_sooner
        });
    }

    fn hear(&mut self, task_id: &TaskId, news: News) {
        let Some(task) = self.tasks.get_mut(task_id) else {
            return;
        };
        // The first news of a found task says what it is.
        let was_found = std::mem::replace(&mut task.is_unknown, false);
        if was_found {
            self.n_unknown -= 1;
        }
        match news {
            News::Running(addresses) => {
                task.state = TaskState::Running;
                task.addresses = addresses;
                task.since = SystemTime::now();
            }
            News::Ended(exit) => task.end(&exit),
            News::FoundEnded(exit, addresses) => {
                task.addresses = addresses;
                task.end(&exit);
            }
            News::NeverStarted => {
                tracing::info!(task = %task_id, "ordered before a restart and never started; forgotten");
                self.tasks.remove(task_id);
            }
        }
        if let Some(task) = self.tasks.get(task_id) {
            let state = task.state.as_str();
            tracing::info!(task = %task_id, state, message = task.message, found = was_found, "task");
            self.outbox.push(self.report_of(task_id, task));
        }
        if self.n_unknown == 0 {
            self.is_recovered.send_replace(true);
        }
        let has_ended = |task: &Task| task.state.is_terminal();
        if self.tasks.get(task_id).is_some_and(has_ended) {
            self.make_room();
        }
        self.destroy_doomed();
        for launch in std::mem::take(&mut self.waiting).into_values() {
            self.launch(launch);
        }
    }

    /// Whether a task that has not ended has this persistent volume.
    fn is_in_use(&self, volume_id: &str) -> bool {
        let live = self.tasks.values().filter(|it| !it.state.is_terminal());
        live.filter_map(|task| task.order.as_ref())
            .flat_map(|order| order.launch.volumes.iter())
            .any(|volume| volume.persistence_id == volume_id)
    }

    /// Destroys those volumes that were freed and are used no more.
    fn destroy_doomed(&mut self) {
        let doomed = std::mem::take(&mut self.doomed);
        let (in_use, free): (BTreeSet<_>, BTreeSet<_>) =
            doomed.into_iter().partition(|id| self.is_in_use(id));
        self.doomed = in_use;
        for id in free {
            let volumes = self.journal.volumes();
            self.owner.spawn("destroy", OnFailure::Log, async move {
                let of = id.clone();
                match tokio::task::spawn_blocking(move || volumes.destroy(&of)).await? {
                    Ok(()) => tracing::info!(volume = id, "persistent volume destroyed"),
                    // The master orders it again at the next registration.
                    Err(error) => {
                        tracing::warn!(volume = id, %error, "persistent volume cannot be destroyed");
                    }
                }
                Ok(())
            });
        }
    }

    /// Sees to it that ended tasks do not fill the disk.
    fn make_room(&self) {
        let mut ended: Vec<(SystemTime, Arc<Order>)> = self
            .tasks
            .values()
            .filter(|task| task.state.is_terminal())
            .filter_map(|task| Some((task.since, task.order.clone()?)))
            .collect();
        ended.sort_by_key(|(since, _)| *since);
        let work_dir = self.journal.work_dir().to_owned();
        self.owner.spawn("headroom", OnFailure::Log, async move {
            let make = move || {
                let sandboxes = ended.iter().map(|(_, order)| order.sandbox.as_path());
                headroom::make_room(&work_dir, sandboxes);
            };
            tokio::task::spawn_blocking(make).await?;
            Ok(())
        });
    }

    fn acknowledged(&mut self, seq: u64) {
        for task_id in self.outbox.acknowledge(seq) {
            let Some(task) = self.tasks.get_mut(&task_id) else {
                continue;
            };
            task.is_acknowledged = true;
            let Some(order) = &task.order else {
                self.tasks.remove(&task_id);
                continue;
            };
            // A write of no bytes without a flush: done here, so that it precedes the files' removal.
            if let Err(error) = order.record_acknowledged() {
                tracing::warn!(task = %task_id, %error, "cannot note that it is settled; it will be told again");
            }
        }
        self.collect_garbage();
    }

    /// Lets go of settled tasks but for the last [`KEPT_SANDBOXES`].
    fn collect_garbage(&mut self) {
        let mut settled: Vec<(SystemTime, TaskId)> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.is_acknowledged && task.state.is_terminal())
            .map(|(task_id, task)| (task.since, task_id.clone()))
            .collect();
        settled.sort();
        let n_surplus = settled.len().saturating_sub(KEPT_SANDBOXES);
        for (_, task_id) in settled.into_iter().take(n_surplus) {
            if let Some(order) = self.tasks.remove(&task_id).and_then(|task| task.order) {
                self.remove_files(order);
            }
        }
    }

    fn remove_files(&self, order: Arc<Order>) {
        self.owner.spawn("remove", OnFailure::Log, async move {
            tokio::task::spawn_blocking(move || order.remove()).await?;
            Ok(())
        });
    }

    fn drive(&self, order: Arc<Order>, task: &Task, origin: Origin) {
        let driver = Driver {
            order,
            containerizer: Arc::clone(&self.containerizer),
            fetcher: self.fetcher.clone(),
            kill: task.kill.subscribe(),
            news: self.news_sender.clone(),
        };
        let token = self.owner.token().clone();
        self.owner.spawn("driver", OnFailure::Shutdown, async move {
            tokio::select! {
                () = driver.run(origin) => {}
                // Tasks outlive the agent; what was begun is found again by the next one.
                () = token.cancelled() => {}
            }
            Ok(())
        });
    }

    fn report_of(&self, task_id: &TaskId, task: &Task) -> TaskReport {
        TaskReport {
            task_id: task_id.clone(),
            state: task.state,
            message: task.message.clone(),
            reason: task.reason,
            ip_addresses: self.addresses_of(task),
        }
    }

    fn addresses_of(&self, task: &Task) -> Vec<IpAddress> {
        match &task.addresses {
            Addresses::OfAgent => vec![self.address.clone()],
            Addresses::Own(addresses) => addresses.iter().copied().map(ip_address).collect(),
        }
    }

    fn view(&self) -> View {
        let view_of = |task: &Task| {
            let order = task.order.clone()?;
            Some(TaskView {
                order,
                state: task.state,
                ip_addresses: self.addresses_of(task),
                message: task.message.clone(),
                reason: task.reason,
                since: task.since,
            })
        };
        View {
            identity: self.identity.clone(),
            tasks: self.tasks.values().filter_map(view_of).collect(),
        }
    }
}

impl Task {
    fn new(order: Option<Arc<Order>>) -> Self {
        Self {
            order,
            state: TaskState::Staging,
            addresses: Addresses::OfAgent,
            message: String::new(),
            reason: None,
            since: SystemTime::now(),
            is_acknowledged: false,
            is_unknown: false,
            kill: watch::Sender::new(None),
        }
    }

    fn end(&mut self, exit: &Exit) {
        let has_image = self.order.as_ref().is_some_and(|order| order.has_image());
        let is_killed = self.kill.borrow().is_some();
        (self.state, self.message) = verdict(exit, has_image, is_killed);
        self.reason = reason(exit, is_killed);
        self.since = SystemTime::now();
    }
}

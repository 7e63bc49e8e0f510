//! Runs tasks as containers of a Docker engine.
//!
//! ```text
//!   launch ─▶ image ─▶ sandbox ─▶ create ─▶ claim flushed ─▶ start      clean ─▶ remove (or doomed until it can be)
//!                                                                     │          ▲
//!   recover ─▶ by name and claim ───────────────────────────────▶ wait: inspect, follow the output, look again when nudged
//! ```
//!
//! A container is known by its name, which the order gives; nothing of it is kept in memory. While the engine is away nothing
//! is concluded: a container that was started is taken to run until the engine says otherwise. Tasks without an image are
//! processes, as in Mesos with `--containerizers=docker,mesos`; so are those that an earlier agent started as processes.

mod address;
mod bundle;
mod check;
mod create;
mod detect;
mod engine;
mod exit;
mod image;
mod leftovers;
mod logs;
mod parameters;
mod stats;
mod watcher;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::models::ContainerCreateBody;
use tokio::time::Instant;
use zddcluster_model::agent::CheckEnd;
use zddcluster_runtime::{Backoff, OnFailure, Tasks};

pub use self::detect::{detect, hint, holds_containers, socket};
pub use self::engine::{DEFAULT_SOCKET, EngineError};

use self::engine::Engine;
use self::exit::{exit_of, is_untouched, removed};
use self::image::{Images, Present};
use self::logs::Follower;
use self::watcher::Watcher;
use crate::containerizer::{
    Addresses, Containerizer, Exit, KillSignal, LaunchError, Order, Owner, Recovered,
};
use crate::executor::{self, glog_line};
use crate::process::user;
use crate::usage::Usage;
use crate::{ProcessContainerizer, durable};

pub(crate) use self::leftovers::{finish, is_container, is_running, signal};

/// In a task's directory: its container was about to be started, and may have run since. Holds the engine's socket.
const CLAIM: &str = "container";

/// How long a launch waits for an engine that is away: a restart of one takes some seconds.
const LAUNCH_PATIENCE: Duration = Duration::from_secs(30);

/// How long a signal is tried again while the engine is away, before the grace period goes on without it.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(10);

/// How long a removal is waited for; after that it is the watcher's. A task's end is told only then.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(15);

/// First and longest pause between two tries at an engine that is away.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// A container is looked at so often even if nothing is heard of it; the watcher's own list is ten times as quick.
const LOOK_AGAIN: Duration = Duration::from_secs(120);

/// What the containerizer is told at its start.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// The engine's socket: a path.
    pub socket: String,
    /// Our own executable, which must be the one that runs.
    pub executable: PathBuf,
    /// Environment of built-in images, under the app's own.
    pub built_in_env: BTreeMap<String, String>,
    /// What becomes of new tasks that have an image.
    pub images: NewImages,
}

/// Who runs new tasks that have an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewImages {
    /// The engine.
    AsContainers,
    /// The processes' containerizer: only containers that are there already are looked after, until they end.
    AsProcesses,
}

/// The containerizer for a Docker engine.
#[derive(Debug)]
pub struct DockerContainerizer {
    engine: Arc<Engine>,
    images: Images,
    watcher: Arc<Watcher>,
    /// Of what must be finished whoever asked for it.
    owner: Tasks,
    built_in_env: BTreeMap<String, String>,
    new_images: NewImages,
    processes: ProcessContainerizer,
}

impl DockerContainerizer {
    /// Starts to follow an engine, which need not answer now; `processes` runs tasks without an image.
    ///
    /// One serves all agents of a process. What it starts ends with `tasks`; containers live on.
    pub fn start(config: DockerConfig, processes: ProcessContainerizer, tasks: &Tasks) -> Self {
        let DockerConfig {
            socket,
            executable,
            built_in_env,
            images,
        } = config;
        let engine = Arc::new(Engine::new(socket));
        let watcher = Arc::new(Watcher::new(Arc::clone(&engine), create::TASK_LABEL));
        let owner = tasks.child("docker");
        let token = owner.token().clone();
        owner.spawn(
            "watcher",
            OnFailure::Shutdown,
            Arc::clone(&watcher).run(token),
        );
        Self {
            images: Images::new(Arc::clone(&engine), executable),
            engine,
            watcher,
            owner,
            built_in_env,
            new_images: images,
            processes,
        }
    }

    async fn launch_container(&self, order: &Order) -> Result<(), LaunchError> {
        let deadline = Instant::now() + LAUNCH_PATIENCE;
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        // Before anything else: an engine that is only being restarted costs no task.
        while let Err(error) = self.engine.version().await {
            if Instant::now() >= deadline {
                return Err(failed(&error));
            }
            tokio::time::sleep(backoff.next()).await;
        }
        self.watcher.spare(&order.container_name).await;
        let (image, pulls) = wanted(order)?;
        let present = self.images.ensure(image, pulls).await?;
        let line = Box::pin(self.create(order, image, present)).await?;
        let prepared = {
            let (order, socket) = (order.clone(), self.engine.socket().to_owned());
            tokio::task::spawn_blocking(move || {
                logs::create(&order, &glog_line(&line))?;
                durable::write(&order.task_dir.join(CLAIM), socket.as_bytes())
            })
        };
        if let Err(error) = prepared.await.map_err(io::Error::other).flatten() {
            self.take_away(order).await;
            return Err(LaunchError::new(format!(
                "Failed to write down the container: {error}"
            )));
        }
        let started = self.engine.start(&order.container_name).await;
        let Err(error) = started else { return Ok(()) };
        // It may have started all the same, if the answer only was slow.
        if error.is_passing() && self.runs_after_all(order).await {
            return Ok(());
        }
        self.take_away(order).await;
        Err(failed(&error))
    }

    /// Makes sandbox and container; returns what to write first into its stderr.
    async fn create(
        &self,
        order: &Order,
        image: &str,
        present: Present,
    ) -> Result<String, LaunchError> {
        {
            let order = order.clone();
            tokio::task::spawn_blocking(move || make_sandbox(&order))
                .await
                .map_err(|error| LaunchError::new(error.to_string()))??;
        }
        let plan = create::plan(order, &present, &self.built_in_env, self.engine.socket())?;
        let name = &order.container_name;
        let mut created = self.create_once(name, plan.body.clone()).await;
        match &created {
            Err(error) if error.is_not_found() => {
                // Somebody took the image away since it was seen.
                self.images.forget(image);
                self.images.ensure(image, false).await?;
                created = self.create_once(name, plan.body).await;
            }
            // Left by an agent that died between creating and starting it; one that ever ran is never replaced.
            Err(error) if error.is_conflict() => {
                let found = self
                    .engine
                    .inspect(name)
                    .await
                    .map_err(|error| failed(&error))?;
                if !is_untouched(&found) {
                    return Err(failed(error));
                }
                self.engine
                    .remove(name)
                    .await
                    .map_err(|error| failed(&error))?;
                created = self.create_once(name, plan.body).await;
            }
            Ok(_) | Err(_) => {}
        }
        created.map_err(|error| failed(&error))?;
        Ok(plan.line)
    }

    /// Asks the engine for a container; one that it makes after nobody waits any more is taken away.
    async fn create_once(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let making = self.watcher.making(name);
        let created = self.engine.create(name, body).await;
        if !matches!(&created, Err(error) if error.is_passing()) {
            making.done();
        }
        created
    }

    async fn runs_after_all(&self, order: &Order) -> bool {
        let deadline = Instant::now() + LAUNCH_PATIENCE;
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        while Instant::now() < deadline {
            match self.engine.inspect(&order.container_name).await {
                Ok(container) => return !is_untouched(&container),
                Err(error) if error.is_passing() => tokio::time::sleep(backoff.next()).await,
                Err(_) => return false,
            }
        }
        false
    }

    /// Removes a container, now or when the engine answers; whether it is gone now.
    async fn take_away(&self, order: &Order) -> bool {
        let name = &order.container_name;
        let removal = tokio::time::timeout(REMOVAL_PATIENCE, self.engine.remove(name)).await;
        let why = match removal {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the engine is slow".to_owned(),
        };
        tracing::warn!(container = name, why, "a container stays for now");
        self.watcher.doom(name).await;
        false
    }

    /// Takes away a container whose end is in the books.
    async fn clean_up(&self, order: &Order) {
        if self.take_away(order).await {
            // From here on nothing is in the engine; at worst it is looked for once more.
            let claim = order.task_dir.join(CLAIM);
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_file(claim)).await;
        }
    }

    async fn recover_container(&self, order: &Order) -> io::Result<Recovered> {
        if let Some(exit) = order.exit()? {
            return Ok(Recovered::Ended(exit));
        }
        if !is_container(order) {
            // No claim, no start; at most it was created.
            self.take_away(order).await;
            return Ok(Recovered::NeverStarted);
        }
        match self.engine.inspect(&order.container_name).await {
            // Nobody starts it any more: the agent that would have is gone. Taken away, so that this stays true.
            Ok(container) if is_untouched(&container) => {
                self.engine
                    .remove(&order.container_name)
                    .await
                    .map_err(io::Error::other)?;
                Ok(Recovered::NeverStarted)
            }
            Ok(_) => Ok(Recovered::Running),
            // Whether it lives is for `wait` to find out, and without an engine nobody knows.
            Err(error) if error.is_not_found() || error.is_passing() => Ok(Recovered::Running),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    async fn wait_for_container(&self, order: &Order) -> Exit {
        let follower = Follower::resume(Arc::clone(&self.engine), order).await;
        if let Err(error) = &follower {
            tracing::warn!(task = %order.launch.task_id, %error, "its output is not written");
        }
        let follower = follower.ok();
        let follow = async {
            match &follower {
                Some(follower) => follower.follow().await,
                None => std::future::pending().await,
            }
        };
        let exit = tokio::select! {
            // Cancel-safe: looks anew at each turn.
            exit = self.end_of(order) => exit,
            // Cancel-safe: what it has taken, it writes.
            () = follow => Exit::Unknown { message: "its output ended".to_owned() },
        };
        if let Some(follower) = &follower {
            follower.drain().await;
        }
        // Written down before the container is taken away, which knows it too until then.
        let (owned, recorded) = (order.clone(), exit.clone());
        let written = tokio::task::spawn_blocking(move || owned.record_exit(&recorded));
        if let Err(error) = written.await.map_err(io::Error::other).flatten() {
            tracing::warn!(task = %order.launch.task_id, %error, "its end cannot be written down");
        }
        exit
    }

    /// Looks at a container until it has ended.
    async fn end_of(&self, order: &Order) -> Exit {
        let watch = self.watcher.watch(&order.container_name);
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            match self.engine.inspect(&order.container_name).await {
                Ok(container) => {
                    if let Some(exit) = exit_of(order, &container) {
                        return exit;
                    }
                    backoff.reset();
                }
                Err(error) if error.is_not_found() => return removed(&watch),
                Err(error) => {
                    tracing::debug!(container = order.container_name, %error, "cannot tell what it does");
                    tokio::time::sleep(backoff.next()).await;
                    continue;
                }
            }
            tokio::select! {
                // Cancel-safe: a nudge is kept until it is taken.
                () = watch.look() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// Whether a task is, or is to be, a process. What it was given to before counts, not what would be chosen today.
    fn is_process(&self, order: &Order) -> bool {
        if is_container(order) {
            return false;
        }
        let is_to_be = !order.has_image() || self.new_images == NewImages::AsProcesses;
        is_to_be || order.task_dir.join(executor::SPEC).exists()
    }
}

async fn signal_container(
    engine: &Engine,
    order: &Order,
    signal: KillSignal,
) -> Result<(), EngineError> {
    let name = &order.container_name;
    let signal = match signal {
        KillSignal::Kill => "SIGKILL".to_owned(),
        // What the image or a parameter names, as `docker stop` would.
        KillSignal::Terminate => engine
            .inspect(name)
            .await?
            .config
            .and_then(|config| config.stop_signal)
            .unwrap_or_else(|| "SIGTERM".to_owned()),
    };
    engine.kill(name, &signal).await
}

/// Makes or opens the sandbox, and gives it and the task's volumes to the user that the container runs as. Blocks.
fn make_sandbox(order: &Order) -> Result<(), LaunchError> {
    let owner = owner_of(order);
    order.make_sandbox(owner.as_ref())?;
    match &owner {
        Some(owner) => order.give_volumes(owner),
        None => Ok(()),
    }
}

/// Whose the files of a container are to be, if not the agent's own. Blocks.
fn owner_of(order: &Order) -> Option<Owner> {
    let user = order.launch.user.as_ref()?;
    let owner = user::of_container(user, &user::users());
    let is_root = rustix::process::geteuid().is_root();
    owner.filter(|owner| is_root && owner.uid != 0)
}

/// The image of an order, and whether it is to be pulled whatever is there.
fn wanted(order: &Order) -> Result<(&str, bool), LaunchError> {
    use zddcluster_model::app::Docker;
    let docker = order
        .launch
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref());
    match docker {
        Some(Docker::Engine(engine)) => Ok((&engine.image, engine.force_pull_image)),
        Some(Docker::Image(image)) if image.credential.is_some() => Err(LaunchError::new(
            "Failed to launch container: registry credentials are not supported; \
             log in with `docker login` and pull the image on this machine",
        )),
        Some(Docker::Image(image)) => Ok((&image.image, image.force_pull_image)),
        None => Err(LaunchError::new(
            "Failed to launch container: the app has no image",
        )),
    }
}

fn failed(error: &EngineError) -> LaunchError {
    LaunchError::new(format!("Failed to launch container: {error}"))
}

#[async_trait]
impl Containerizer for DockerContainerizer {
    fn name(&self) -> &'static str {
        match self.new_images {
            NewImages::AsContainers => "docker",
            NewImages::AsProcesses => self.processes.name(),
        }
    }

    async fn prepare(&self, order: &Order) -> Result<Option<Owner>, LaunchError> {
        if self.is_process(order) {
            return self.processes.prepare(order).await;
        }
        wanted(order)?;
        let order = order.clone();
        let prepared = tokio::task::spawn_blocking(move || {
            order.make_closed_sandbox()?;
            Ok(owner_of(&order))
        });
        prepared
            .await
            .map_err(|error| LaunchError::new(error.to_string()))?
    }

    async fn launch(&self, order: &Order) -> Result<(), LaunchError> {
        if self.is_process(order) {
            return self.processes.launch(order).await;
        }
        Box::pin(self.launch_container(order)).await
    }

    async fn recover(&self, order: &Order) -> io::Result<Recovered> {
        if self.is_process(order) {
            return self.processes.recover(order).await;
        }
        self.recover_container(order).await
    }

    async fn addresses(&self, order: &Order) -> Addresses {
        if self.is_process(order) {
            return self.processes.addresses(order).await;
        }
        address::addresses(&self.engine, order).await
    }

    async fn last_addresses(&self, order: &Order) -> Option<Addresses> {
        if self.is_process(order) {
            return self.processes.last_addresses(order).await;
        }
        address::last(order).await
    }

    async fn wait(&self, order: &Order) -> Exit {
        if self.is_process(order) {
            return self.processes.wait(order).await;
        }
        self.wait_for_container(order).await
    }

    async fn kill(&self, order: &Order, signal: KillSignal) -> io::Result<()> {
        if self.is_process(order) {
            return self.processes.kill(order, signal).await;
        }
        let deadline = Instant::now() + SIGNAL_PATIENCE;
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            match signal_container(&self.engine, order, signal).await {
                // Gone, or not running.
                Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
                Err(error) if error.is_passing() && Instant::now() < deadline => {
                    tokio::time::sleep(backoff.next()).await;
                }
                other => return other.map_err(io::Error::other),
            }
        }
    }

    async fn check(&self, order: &Order, command: &str, limit: Duration) -> io::Result<CheckEnd> {
        if self.is_process(order) {
            return self.processes.check(order, command, limit).await;
        }
        check::run(&self.engine, &self.owner, order, command, limit).await
    }

    async fn usage(&self, order: &Order) -> io::Result<Usage> {
        if self.is_process(order) {
            return self.processes.usage(order).await;
        }
        stats::usage(&self.engine, order).await
    }

    async fn clean(&self, order: &Order) {
        if self.is_process(order) {
            return self.processes.clean(order).await;
        }
        self.clean_up(order).await;
    }
}

//! The agent's books on disk: who it is, what it was ordered to run, what it was told to kill, what is settled.
//!
//! ```text
//!   <work_dir>/agent.lock                held while an agent runs here
//!   <work_dir>/agent.json                id, framework, epoch
//!   <work_dir>/meta/tasks/<task>/        private: intent.json, kill.json, exit.json, acknowledged, and the executor's files
//!   <work_dir>/volumes/<persistence id>  persistent volumes
//!   <work_dir>/slaves/…/runs/<container> sandboxes, laid out as Mesos does
//! ```
//!
//! An intent is flushed before anything is started; a kill before its first signal. So after any crash the files
//! alone tell what a task's last status must be.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use zddcluster_model::agent::LaunchTask;
use zddcluster_model::{AgentId, TaskId};

use crate::containerizer::{Exit, LaunchError, Order};
use crate::durable;
use crate::executor::EXIT;
use crate::executor::procfs::boot_id;
use crate::volumes::Volumes;

/// How long a lock is waited for: a process that the last agent was just forking holds it until it executes.
const LOCK_LIMIT: Duration = Duration::from_secs(1);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

const INTENT: &str = "intent.json";
const KILL: &str = "kill.json";
const ACKNOWLEDGED: &str = "acknowledged";

/// Who this agent is, over restarts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity {
    /// Given by the master at the first registration.
    pub(crate) agent_id: Option<AgentId>,
    /// Given by the master too.
    pub(crate) framework_id: Option<String>,
    /// Grows with every start.
    pub(crate) epoch: u64,
}

/// An order to end a task, as it was taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KillOrder {
    /// When SIGTERM goes out, in milliseconds that this machine was awake since its boot: clocks are set, and a task that
    /// slept with the machine has not had that time. In another boot it means nothing, and the task is gone.
    pub(crate) at: u64,
    /// From there to SIGKILL.
    pub(crate) grace_millis: u64,
}

impl KillOrder {
    /// An order that starts now.
    pub(crate) fn now(grace: Duration) -> Self {
        Self {
            at: awake_millis(),
            grace_millis: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// From SIGTERM to SIGKILL.
    pub(crate) fn grace(self) -> Duration {
        Duration::from_millis(self.grace_millis)
    }

    /// What is left of the grace; an order from before a restart has used some of it.
    pub(crate) fn remaining(self) -> Duration {
        let passed = awake_millis().saturating_sub(self.at);
        Duration::from_millis(self.grace_millis.saturating_sub(passed))
    }
}

fn awake_millis() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1000 + nanos / 1_000_000
}

/// One task as the files tell it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) order: Order,
    pub(crate) kill: Option<KillOrder>,
    pub(crate) exit: Option<Exit>,
    /// When it ended.
    pub(crate) ended_at: Option<SystemTime>,
    /// The master has its last status.
    pub(crate) is_acknowledged: bool,
}

/// All tasks of a work directory.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) recorded: Vec<Recorded>,
    /// Task directories whose files cannot be read.
    pub(crate) unreadable: Vec<(PathBuf, io::Error)>,
}

/// The files under one work directory.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    work_dir: PathBuf,
    /// The boot of the machine in which this process runs.
    boot_id: Option<String>,
}

impl Journal {
    pub(crate) fn new(work_dir: &Path) -> Self {
        Self {
            work_dir: work_dir.to_owned(),
            boot_id: boot_id().ok(),
        }
    }

    pub(crate) fn work_dir(&self) -> &Path {
        &self.work_dir
    }

    pub(crate) fn volumes(&self) -> Volumes {
        Volumes::new(&self.work_dir)
    }

    fn tasks(&self) -> PathBuf {
        self.work_dir.join("meta/tasks")
    }

    /// Makes the directories; `meta` is for the agent's eyes only, since intents hold environments.
    pub(crate) fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::create_dir_all(self.work_dir.join("slaves"))?;
        self.volumes().create()?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.tasks())
    }

    /// Takes the lock that keeps a second agent out; `None` if one runs here. May block for [`LOCK_LIMIT`].
    #[expect(
        clippy::disallowed_methods,
        reason = "for commands without a runtime; the agent calls it where it may block"
    )]
    pub(crate) fn lock(&self) -> io::Result<Option<std::fs::File>> {
        let path = self.work_dir.join("agent.lock");
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let until = Instant::now() + LOCK_LIMIT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(std::fs::TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    pub(crate) fn identity(&self) -> io::Result<Identity> {
        Ok(durable::read_json(&self.work_dir.join("agent.json"))?.unwrap_or_default())
    }

    /// Whether a process that was started after the one of this epoch has written itself down here.
    pub(crate) fn has_later_epoch(&self, epoch: u64) -> bool {
        match self.identity() {
            Ok(identity) => identity.epoch > epoch,
            // Nobody is known to have taken over, and to give up would leave the tasks without an agent.
            Err(error) => {
                let work_dir = self.work_dir.display();
                tracing::warn!(%work_dir, %error, "cannot tell whether another agent has taken over");
                false
            }
        }
    }

    pub(crate) fn set_identity(&self, identity: &Identity) -> io::Result<()> {
        durable::write_json(&self.work_dir.join("agent.json"), identity)
    }

    /// The order for a launch, with its places; refuses names that would leave the work directory.
    pub(crate) fn order(&self, launch: LaunchTask, ip: &str) -> Result<Order, LaunchError> {
        let segments = [
            launch.agent_id.as_str(),
            &launch.framework_id,
            launch.task_id.as_str(),
            &launch.container_id,
        ];
        if let Some(bad) = segments.into_iter().find(|segment| !is_segment(segment)) {
            return Err(LaunchError::new(format!(
                "'{bad}' cannot be the name of a directory"
            )));
        }
        let [agent, framework, task, container] = segments;
        let sandbox = self.work_dir.join(format!(
            "slaves/{agent}/frameworks/{framework}/executors/{task}/runs/{container}"
        ));
        let task_dir = self.tasks().join(task);
        let container_name = format!("mesos-{agent}.{container}");
        Ok(Order {
            sandbox,
            volumes: self.volumes().directory().to_owned(),
            task_dir,
            container_name,
            ip: ip.to_owned(),
            boot_id: self.boot_id.clone(),
            launch,
        })
    }

    /// Every task on disk; what cannot be read is returned beside, by its directory.
    pub(crate) fn scan(&self) -> io::Result<Scan> {
        let mut scan = Scan::default();
        let entries = match std::fs::read_dir(self.tasks()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(scan);
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let task_dir = entry?.path();
            match read(&task_dir) {
                Ok(Some(task)) => scan.recorded.push(task),
                // A directory without its intent: the order was never taken on.
                Ok(None) => {
                    let _ = std::fs::remove_dir_all(&task_dir);
                }
                Err(error) => scan.unreadable.push((task_dir, error)),
            }
        }
        Ok(scan)
    }
}

pub(crate) fn is_segment(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '\0'])
}

fn read(task_dir: &Path) -> io::Result<Option<Recorded>> {
    let Some(order) = durable::read_json(&task_dir.join(INTENT))? else {
        return Ok(None);
    };
    let exit = task_dir.join(EXIT);
    Ok(Some(Recorded {
        order,
        kill: durable::read_json(&task_dir.join(KILL))?,
        exit: durable::read_json(&exit)?,
        ended_at: exit
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok(),
        is_acknowledged: task_dir.join(ACKNOWLEDGED).exists(),
    }))
}

impl Order {
    /// Writes the intent, flushed: the first thing that happens for a task.
    pub(crate) fn record(&self) -> io::Result<()> {
        std::fs::create_dir_all(&self.task_dir)?;
        durable::write_json(&self.task_dir.join(INTENT), self)?;
        if let Some(tasks) = self.task_dir.parent() {
            std::fs::File::open(tasks)?.sync_all()?;
        }
        Ok(())
    }

    /// Writes that the task is to end; before its first signal.
    pub(crate) fn record_kill(&self, kill: KillOrder) -> io::Result<()> {
        durable::write_json(&self.task_dir.join(KILL), &kill)
    }

    /// Writes how it ended, where the executor could not.
    pub(crate) fn record_exit(&self, exit: &Exit) -> io::Result<()> {
        durable::write_json(&self.task_dir.join(EXIT), exit)
    }

    /// How it ended, if it did.
    pub(crate) fn exit(&self) -> io::Result<Option<Exit>> {
        durable::read_json(&self.task_dir.join(EXIT))
    }

    /// Notes that the master has the last status. Not flushed: at worst it is told twice.
    pub(crate) fn record_acknowledged(&self) -> io::Result<()> {
        std::fs::write(self.task_dir.join(ACKNOWLEDGED), [])
    }

    /// Takes away the books of a task that never started.
    pub(crate) fn forget(&self) -> io::Result<()> {
        std::fs::remove_dir_all(&self.task_dir)
    }

    /// Takes away all files of an ended task, and the directories above the sandbox that became empty.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.sandbox);
        // runs/, executors/<task>/
        for parent in self.sandbox.ancestors().skip(1).take(2) {
            if std::fs::remove_dir(parent).is_err() {
                break;
            }
        }
        let _ = std::fs::remove_dir_all(&self.task_dir);
    }

    /// The task.
    pub(crate) fn task_id(&self) -> &TaskId {
        &self.launch.task_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grace_is_counted_while_the_machine_is_awake() {
        let kill = KillOrder::now(Duration::from_secs(60));
        let left = kill.remaining();
        assert!(left > Duration::from_secs(50) && left <= kill.grace());
        // Long ago in this boot; and one by the wall clock, as agents once wrote it.
        let old = KillOrder { at: 0, ..kill };
        assert!(old.remaining() < kill.grace());
        let foreign = KillOrder {
            at: 1_795_558_823_000,
            ..kill
        };
        assert_eq!(foreign.remaining(), kill.grace());
    }
}

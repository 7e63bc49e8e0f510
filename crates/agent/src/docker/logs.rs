//! A container's output, from the engine into the sandbox, each line once.
//!
//! The engine dates each message. What was written last, and how long the file was then, is noted beside the task's books
//! once a second: an agent that takes over cuts the file to that length and asks for what came after.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use zddcluster_model::Timestamp;
use zddcluster_runtime::Backoff;

use super::engine::{Engine, EngineError};
use crate::containerizer::Order;
use crate::durable;
use crate::executor::pump::RotatingLog;

/// Beside the task's books.
const POSITION: &str = "logs.json";

/// As for processes: Mesos' own logrotate module keeps 10 MB by default.
const LIMIT: u64 = 10 << 20;

/// Between two notes of the position: what a new agent has to ask for again.
const NOTE: Duration = Duration::from_secs(1);

/// Messages written at once.
const BATCH: usize = 256;

/// How long the rest may take to come after a container's end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// First and longest pause before the output is asked for again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Seconds asked for twice: the engine's two streams are not dated in one order. What is known already is dropped.
const OVERLAP: i64 = 2;

/// Where the two files stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    stdout: Mark,
    stderr: Mark,
}

/// Where one file stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mark {
    /// The engine's date of the last message, as it wrote it: `2026-11-24T22:20:23.123456789Z`, so that texts compare.
    at: String,
    /// Bytes in the file then.
    size: u64,
}

/// The two files.
#[derive(Debug)]
struct Files {
    stdout: RotatingLog,
    stderr: RotatingLog,
    position: Position,
    path: PathBuf,
    noted: Instant,
}

/// Makes the files of a container that is about to start; `banner` stands first in stderr. Blocks.
pub(crate) fn create(order: &Order, banner: &str) -> io::Result<()> {
    let mut files = Files {
        stdout: RotatingLog::open(&order.sandbox, "stdout", LIMIT)?,
        stderr: RotatingLog::open(&order.sandbox, "stderr", LIMIT)?,
        position: Position::default(),
        path: order.task_dir.join(POSITION),
        noted: Instant::now(),
    };
    files.stderr.write(format!("{banner}\n").as_bytes());
    files.note()
}

impl Files {
    fn resume(order: &Order) -> io::Result<Self> {
        let path = order.task_dir.join(POSITION);
        let position: Position = durable::read_json(&path)?.unwrap_or_default();
        let log = |name, mark: &Mark| RotatingLog::resume(&order.sandbox, name, LIMIT, mark.size);
        Ok(Self {
            stdout: log("stdout", &position.stdout)?,
            stderr: log("stderr", &position.stderr)?,
            position,
            path,
            noted: Instant::now(),
        })
    }

    fn take(&mut self, output: &LogOutput) {
        let (log, mark, message) = match output {
            LogOutput::StdErr { message } => (&mut self.stderr, &mut self.position.stderr, message),
            LogOutput::StdOut { message }
            | LogOutput::Console { message }
            | LogOutput::StdIn { message } => {
                (&mut self.stdout, &mut self.position.stdout, message)
            }
        };
        let (at, text) = dated(message);
        if !at.is_empty() && at <= mark.at.as_str() {
            return;
        }
        if !at.is_empty() {
            at.clone_into(&mut mark.at);
        }
        log.write(text);
        mark.size = log.size();
    }

    /// Not flushed: after a power cut the container is gone too.
    fn note(&mut self) -> io::Result<()> {
        self.position.stdout.size = self.stdout.size();
        self.position.stderr.size = self.stderr.size();
        let beside = self.path.with_extension("tmp");
        std::fs::write(&beside, serde_json::to_vec(&self.position)?)?;
        std::fs::rename(&beside, &self.path)?;
        self.noted = Instant::now();
        Ok(())
    }
}

/// Follows one container.
pub(crate) struct Follower {
    engine: Arc<Engine>,
    name: String,
    files: Arc<Mutex<Files>>,
}

impl Follower {
    /// Goes on where the files are.
    pub(crate) async fn resume(engine: Arc<Engine>, order: &Order) -> io::Result<Self> {
        let owned = order.clone();
        let files = tokio::task::spawn_blocking(move || Files::resume(&owned))
            .await
            .map_err(io::Error::other)??;
        Ok(Self {
            engine,
            name: order.container_name.clone(),
            files: Arc::new(Mutex::new(files)),
        })
    }

    /// Writes what comes, for ever. Cancel-safe: a batch that is being written is written.
    pub(crate) async fn follow(&self) {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        loop {
            match self.pass(true).await {
                Ok(0) => {}
                Ok(_) => backoff.reset(),
                Err(error) if error.is_passing() || error.is_not_found() => {
                    tracing::debug!(container = self.name, %error, "its output is not to be had now");
                }
                Err(error) => {
                    self.complain(&error).await;
                    return std::future::pending().await;
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Writes what the engine still has of an ended container.
    pub(crate) async fn drain(&self) {
        let drained = tokio::time::timeout(DRAIN_LIMIT, self.pass(false)).await;
        match drained {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.is_not_found() => {}
            Ok(Err(error)) => {
                tracing::warn!(container = self.name, %error, "the last of its output is lost");
            }
            Err(_) => tracing::warn!(
                container = self.name,
                "the last of its output is lost: the engine is slow"
            ),
        }
        self.write(Vec::new(), true).await;
    }

    /// One stream from where the files are to its end; how many messages it brought.
    async fn pass(&self, follows: bool) -> Result<usize, EngineError> {
        let options = self.options(follows);
        let mut batches = self
            .engine
            .logs(&self.name, options)
            .await?
            .ready_chunks(BATCH);
        let mut n_messages = 0;
        while let Some(batch) = batches.next().await {
            let mut failure = None;
            let mut outputs = Vec::with_capacity(batch.len());
            for output in batch {
                match output {
                    Ok(output) => outputs.push(output),
                    Err(error) => failure = Some(error),
                }
            }
            n_messages += outputs.len();
            self.write(outputs, false).await;
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(n_messages)
    }

    fn options(&self, follows: bool) -> LogsOptions {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let last = files
            .position
            .stdout
            .at
            .as_str()
            .max(files.position.stderr.at.as_str());
        let since = last
            .parse::<Timestamp>()
            .map_or(0, |last| last.as_millis() / 1000 - OVERLAP);
        LogsOptionsBuilder::new()
            .follow(follows)
            .stdout(true)
            .stderr(true)
            .timestamps(true)
            // Past the year 2038 all is asked for, and what is known is dropped.
            .since(i32::try_from(since).unwrap_or(0))
            .build()
    }

    async fn write(&self, outputs: Vec<LogOutput>, is_last: bool) {
        let files = Arc::clone(&self.files);
        let written = tokio::task::spawn_blocking(move || {
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            for output in &outputs {
                files.take(output);
            }
            if is_last || files.noted.elapsed() >= NOTE {
                return files.note();
            }
            Ok(())
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(container = self.name, %error, "the position of its output is not noted")
            }
            Err(error) => tracing::warn!(container = self.name, %error, "its output is lost"),
        }
    }

    async fn complain(&self, error: &EngineError) {
        let text = format!("the engine does not give this container's output: {error}\n");
        self.write(
            vec![LogOutput::StdErr {
                message: text.into(),
            }],
            true,
        )
        .await;
    }
}

/// A message without its date, and the date; no date is an empty one.
fn dated(message: &[u8]) -> (&str, &[u8]) {
    // 2026-11-24T22:20:23.123456789Z
    const LENGTH: usize = 30;
    match (message.get(..LENGTH), message.get(LENGTH)) {
        (Some(date), Some(b' ')) if date[LENGTH - 1] == b'Z' && date[10] == b'T' => {
            let date = std::str::from_utf8(date).unwrap_or_default();
            (date, &message[LENGTH + 1..])
        }
        _ => ("", message),
    }
}

#[cfg(test)]
#[path = "logs/tests.rs"]
mod tests;

//! Files in the sandboxes of tasks, read through the front door, also while they grow.
//!
//! ```text
//!   /slave/<id>/state.json   ─▶ the executor's directory is the sandbox
//!   /slave/<id>/files/read.json?path=<directory>/<file>&offset=-1&length=0    ─▶ how long it is, in bytes
//!                              …&offset=<from>&length=<n>                     ─▶ text; empty at the end
//! ```
//!
//! Offsets are bytes. The original counts characters and so repeats parts of texts that are not ASCII; we count what the text
//! takes in UTF-8, and take U+FFFD (which stands for a byte that is none) for one byte, so that nothing is ever left out.
//!
//! Source: contract dcos-cli §10; dcoscli 0.4.14 `log.py`.

use serde::Deserialize;

use crate::failure::Failure;
use crate::front::{Front, path_segment, query_value};

/// How long a line is taken to be, bytes: what is fetched at first is this for each wanted line.
const LINE_SIZE: u64 = 200;

/// A file that is read.
#[derive(Debug)]
pub(crate) struct Tail {
    /// `task:<task id>:<file>`.
    header: String,
    /// The request but for offset and length.
    request: String,
    /// Where to go on, bytes.
    cursor: u64,
    /// The begin of a line whose end had not been written when it was read.
    partial: String,
}

/// An answer of files/read.json.
#[derive(Debug, Deserialize)]
struct Chunk {
    data: String,
    offset: u64,
}

impl Tail {
    /// A file in the sandbox of a task, which is `directory` of that agent.
    pub(crate) fn of_task(task_id: &str, agent_id: &str, directory: &str, file: &str) -> Self {
        let path = format!("{}/{file}", directory.trim_end_matches('/'));
        let header = format!("task:{task_id}:{file}");
        Self::at(header, &format!("/slave/{}", path_segment(agent_id)), &path)
    }

    /// A file that a Mesos master or agent at `service` knows by `path`.
    pub(crate) fn at(header: String, service: &str, path: &str) -> Self {
        Self {
            header,
            request: format!("{service}/files/read.json?path={}", query_value(path)),
            cursor: 0,
            partial: String::new(),
        }
    }

    /// `task:<task id>:<file>`.
    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// One answer; `None` when there is no such file.
    async fn chunk(
        &self,
        offset: i64,
        length: i64,
        front: &Front,
    ) -> Result<Option<Chunk>, Failure> {
        let path = format!("{}&offset={offset}&length={length}", self.request);
        front.mesos_if_there(&path).await
    }

    /// The last `n` lines; one empty line when the file is empty.
    pub(crate) async fn last_lines(
        &mut self,
        n: usize,
        front: &Front,
    ) -> Result<Option<Vec<String>>, Failure> {
        let Some(end) = self.chunk(-1, 0, front).await? else {
            return Ok(None);
        };
        let size = end.offset;
        let mut window = LINE_SIZE.saturating_mul(n as u64).max(LINE_SIZE);
        loop {
            let start = size.saturating_sub(window);
            let Some(text) = self.read(start, Some(size), front).await? else {
                return Ok(None);
            };
            let whole = text.strip_suffix('\n').unwrap_or(&text);
            let mut lines: Vec<&str> = whole.split('\n').collect();
            // The first line may be cut, unless the file begins there.
            if lines.len() > n || start == 0 {
                lines.drain(..lines.len().saturating_sub(n));
                return Ok(Some(lines.into_iter().map(str::to_owned).collect()));
            }
            window = window.saturating_mul(2);
        }
    }

    /// The lines that were added. A line without its end is held back, but only until the next look.
    pub(crate) async fn new_lines(
        &mut self,
        front: &Front,
    ) -> Result<Option<Vec<String>>, Failure> {
        let Some(added) = self.read(self.cursor, None, front).await? else {
            return Ok(None);
        };
        let is_stalled = added.is_empty();
        let mut text = std::mem::take(&mut self.partial) + &added;
        if text.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if !is_stalled {
            let ends = text.rfind('\n').map_or(0, |at| at + 1);
            self.partial = text.split_off(ends);
        }
        let whole = text.strip_suffix('\n').unwrap_or(&text);
        if text.is_empty() {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(whole.split('\n').map(str::to_owned).collect()))
    }

    /// The text from `start` to `end`, or to the end of the file; the cursor stands behind it.
    ///
    /// Without an `end`, a file that has become shorter is read from its begin: the log was rotated meanwhile.
    async fn read(
        &mut self,
        start: u64,
        end: Option<u64>,
        front: &Front,
    ) -> Result<Option<String>, Failure> {
        let mut text = String::new();
        self.cursor = start;
        while end.is_none_or(|end| self.cursor < end) {
            let length = end.map_or(-1, |end| signed(end - self.cursor));
            let Some(chunk) = self.chunk(signed(self.cursor), length, front).await? else {
                return Ok(None);
            };
            // The agent tells the size instead of an offset beyond it.
            if end.is_none() && chunk.offset < self.cursor {
                self.cursor = 0;
                continue;
            }
            if chunk.data.is_empty() {
                break;
            }
            // The text is as long as what it stands for; it begins later than asked where a log's begin is not kept.
            self.cursor = chunk.offset.saturating_add(chunk.data.len() as u64);
            text.push_str(&chunk.data);
        }
        if let Some(end) = end {
            self.cursor = self.cursor.max(end);
        }
        Ok(Some(text))
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The state of an agent, as far as sandboxes are concerned.
#[derive(Debug, Deserialize)]
pub(crate) struct AgentState {
    #[serde(default)]
    frameworks: Vec<AgentFramework>,
    #[serde(default)]
    completed_frameworks: Vec<AgentFramework>,
}

#[derive(Debug, Deserialize)]
struct AgentFramework {
    #[serde(default)]
    executors: Vec<Executor>,
    #[serde(default)]
    completed_executors: Vec<Executor>,
}

#[derive(Debug, Deserialize)]
struct Executor {
    directory: String,
    #[serde(default)]
    tasks: Vec<TaskRef>,
    #[serde(default)]
    completed_tasks: Vec<TaskRef>,
    #[serde(default)]
    queued_tasks: Vec<TaskRef>,
}

#[derive(Debug, Deserialize)]
struct TaskRef {
    id: String,
}

impl AgentState {
    /// Asks an agent.
    pub(crate) async fn read(agent_id: &str, front: &Front) -> Result<Self, Failure> {
        front
            .mesos(&format!("/slave/{}/state.json", path_segment(agent_id)))
            .await
    }

    /// The directory of the executor that has the task.
    pub(crate) fn sandbox_of(&self, task_id: &str) -> Option<&str> {
        let frameworks = self.frameworks.iter().chain(&self.completed_frameworks);
        let mut executors = frameworks.flat_map(|framework| {
            framework
                .executors
                .iter()
                .chain(&framework.completed_executors)
        });
        let executor = executors.find(|executor| {
            let Executor {
                directory: _,
                tasks,
                completed_tasks,
                queued_tasks,
            } = executor;
            let mut tasks = tasks.iter().chain(completed_tasks).chain(queued_tasks);
            tasks.any(|task| task.id == task_id)
        });
        executor.map(|executor| executor.directory.as_str())
    }
}

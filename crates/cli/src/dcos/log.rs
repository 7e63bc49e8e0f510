//! `dcos task log`: the last lines of a file in a task's sandbox, and what is added to it.
//!
//! ```text
//!   /mesos/master/state.json ─▶ tasks that match
//!   /slave/<id>/state.json   ─▶ the executor's directory is the sandbox
//!   /slave/<id>/files/read.json?path=<directory>/<file>&offset=-1&length=0    ─▶ how long it is, in bytes
//!                              …&offset=<from>&length=<n>                     ─▶ text; empty at the end
//! ```
//!
//! Offsets are bytes. The original counts characters and so repeats parts of texts that are not ASCII; we count what the text
//! takes in UTF-8, and take U+FFFD (which stands for a byte that is none) for one byte, so that nothing is ever left out.
//! A file that cannot be read is dropped silently, as by the original; with none left the command ends.
//!
//! Source: contract dcos-cli §10; dcoscli 0.4.14 `log.py`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::Context;
use super::task::State;
use crate::args::TaskLogArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{path_segment, query_value};
use crate::text::printable;

/// How long a line is taken to be, bytes: what is fetched at first is this for each wanted line.
const LINE_SIZE: u64 = 200;
/// How often a followed file is looked at; the original's second.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn run(args: TaskLogArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let TaskLogArgs {
        follow,
        lines,
        completed,
        task,
        file,
    } = args;
    let state = State::read(context).await?;
    let tasks = state.tasks(task.as_deref(), completed);
    if tasks.is_empty() {
        return Err(no_tasks(&state, task.as_deref(), completed));
    }
    let mut agents = BTreeMap::new();
    for found in &tasks {
        if agents.contains_key(found.agent_id()) {
            continue;
        }
        let path = format!("/slave/{}/state.json", path_segment(found.agent_id()));
        match context.front.mesos::<AgentState>(&path).await {
            Ok(agent) => {
                agents.insert(found.agent_id(), agent);
            }
            Err(failure) => {
                context
                    .printer
                    .say(&printable(&format!("Error accessing slave: {failure}")));
            }
        }
    }
    let files = tasks.iter().filter_map(|found| {
        let directory = agents.get(found.agent_id())?.sandbox_of(found.id())?;
        Some(LogFile::new(found.id(), found.agent_id(), directory, &file))
    });
    let files: Vec<LogFile> = files.collect();
    if files.is_empty() {
        let which = if task.is_some() {
            "matching tasks"
        } else {
            "tasks found"
        };
        return Err(Failure::stated(format!("No {which}. Exiting.")));
    }
    print(files, lines, follow, context).await
}

/// Why there is nothing to read.
fn no_tasks(state: &State, filter: Option<&str>, completed: bool) -> Failure {
    let Some(filter) = filter else {
        return Failure::stated("No tasks found. Exiting.");
    };
    let ended = if completed {
        0
    } else {
        state.tasks(Some(filter), true).len()
    };
    let those = match ended {
        0 => return Failure::stated("No matching tasks. Exiting."),
        1 => "is 1 matching completed task".to_owned(),
        n => format!("are {n} matching completed tasks"),
    };
    Failure::stated(format!(
        "No running tasks match ID [{filter}]; however, there {those}. Run with --completed to see these logs."
    ))
}

/// Prints the last lines of each file and, when following, whatever comes after.
async fn print(
    mut files: Vec<LogFile>,
    lines: usize,
    follow: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let mut last_header = None;
    let mut is_first = true;
    loop {
        let mut kept = Vec::new();
        let has_headers = files.len() > 1;
        for mut file in files {
            let read = match is_first {
                true => file.last_lines(lines, context).await,
                false => file.new_lines(context).await,
            };
            match read {
                Ok(Some(lines)) => {
                    output(&lines, &file.header, has_headers, &mut last_header, context)?;
                    kept.push(file);
                }
                // Gone: its sandbox was cleaned up, or the file never was.
                Ok(None) => {}
                // While following, an agent that starts again is waited for.
                Err(_) if !is_first => kept.push(file),
                Err(failure) => return Err(failure),
            }
        }
        files = kept;
        if files.is_empty() {
            return Err(Failure::stated("No files exist. Exiting."));
        }
        if !follow {
            return Ok(ExitStatus::Success);
        }
        is_first = false;
        tokio::time::sleep(FOLLOW_INTERVAL).await;
    }
}

fn output(
    lines: &[String],
    header: &str,
    has_headers: bool,
    last_header: &mut Option<String>,
    context: &Context<'_>,
) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    if has_headers && last_header.as_deref() != Some(header) {
        context
            .printer
            .data(&printable(&format!("===> {header} <===")))?;
    }
    *last_header = Some(header.to_owned());
    if lines.iter().all(String::is_empty) && lines.len() == 1 {
        context.printer.say("No logs for this task");
    }
    let mut text = lines.join("\n");
    text.push('\n');
    context.printer.raw(&text)
}

/// A file that is read.
#[derive(Debug)]
struct LogFile {
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

impl LogFile {
    fn new(task_id: &str, agent_id: &str, directory: &str, file: &str) -> Self {
        let path = format!("{}/{file}", directory.trim_end_matches('/'));
        let agent_id = path_segment(agent_id);
        Self {
            header: format!("task:{task_id}:{file}"),
            request: format!(
                "/slave/{agent_id}/files/read.json?path={}",
                query_value(&path)
            ),
            cursor: 0,
            partial: String::new(),
        }
    }

    /// One answer; `None` when there is no such file.
    async fn chunk(
        &self,
        offset: i64,
        length: i64,
        context: &Context<'_>,
    ) -> Result<Option<Chunk>, Failure> {
        let path = format!("{}&offset={offset}&length={length}", self.request);
        context.front.mesos_if_there(&path).await
    }

    /// The last `n` lines; one empty line when the file is empty.
    async fn last_lines(
        &mut self,
        n: usize,
        context: &Context<'_>,
    ) -> Result<Option<Vec<String>>, Failure> {
        let Some(end) = self.chunk(-1, 0, context).await? else {
            return Ok(None);
        };
        let size = end.offset;
        let mut window = LINE_SIZE.saturating_mul(n as u64).max(LINE_SIZE);
        loop {
            let start = size.saturating_sub(window);
            let Some(text) = self.read(start, Some(size), context).await? else {
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
    async fn new_lines(&mut self, context: &Context<'_>) -> Result<Option<Vec<String>>, Failure> {
        let Some(added) = self.read(self.cursor, None, context).await? else {
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
    async fn read(
        &mut self,
        start: u64,
        end: Option<u64>,
        context: &Context<'_>,
    ) -> Result<Option<String>, Failure> {
        let mut text = String::new();
        self.cursor = start;
        while end.is_none_or(|end| self.cursor < end) {
            let length = end.map_or(-1, |end| signed(end - self.cursor));
            let Some(chunk) = self.chunk(signed(self.cursor), length, context).await? else {
                return Ok(None);
            };
            if chunk.data.is_empty() {
                break;
            }
            self.cursor += bytes_of(&chunk.data);
            text.push_str(&chunk.data);
        }
        if let Some(end) = end {
            self.cursor = end;
        }
        Ok(Some(text))
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// How many bytes of the file a text stands for: at least its own, never more.
fn bytes_of(text: &str) -> u64 {
    let replaced = text.matches(char::REPLACEMENT_CHARACTER).count();
    let extra = char::REPLACEMENT_CHARACTER.len_utf8() - 1;
    (text.len() - replaced * extra) as u64
}

/// The state of an agent, as far as sandboxes are concerned.
#[derive(Debug, Deserialize)]
struct AgentState {
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
    /// The directory of the executor that has the task.
    fn sandbox_of(&self, task_id: &str) -> Option<&str> {
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

//! `zddcluster logs APP`: the logs of all tasks of an app, line by line, each with its task before it.
//!
//! ```text
//!   every second:  /v2/apps/<app>/tasks ─▶ who runs      new: its files are read from the begin
//!                                                        gone: its files are read to the end, then it leaves
//!                  files/read.json of each file ─▶ lines
//! ```
//!
//! What is there at the beginning counts from its last lines. stdout stands after `|`, stderr after `!`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use http::Method;
use serde_json::{Value, json};
use zddcluster_model::AppId;

use crate::args::LogsArgs;
use crate::dcos::TaskState;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{Front, app_path};
use crate::printer::Printer;
use crate::sandbox::{AgentState, Tail};
use crate::text::printable;

/// How often tasks and files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// The files that every task has, and what stands between task and line.
const FILES: [(&str, char); 2] = [("stdout", '|'), ("stderr", '!')];

/// One for each task, in the order they come, then again from the first.
const COLORS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

/// A task whose files are read.
#[derive(Debug)]
struct Followed {
    name: String,
    style: Style,
    files: Vec<Source>,
}

/// One file of a task.
#[derive(Debug)]
struct Source {
    file: String,
    mark: char,
    tail: Tail,
    /// Nothing of it was read yet.
    is_new: bool,
}

/// A task and its agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Task {
    id: String,
    agent_id: String,
}

/// All that is followed.
struct Follower<'a> {
    app_id: AppId,
    file: Option<&'a str>,
    front: &'a Front,
    printer: &'a Printer,
    followed: BTreeMap<String, Followed>,
    n_seen: usize,
}

pub(super) async fn run(args: &LogsArgs, printer: &Printer) -> Result<ExitStatus, Failure> {
    let front = Front::locate(&args.data_dir)?;
    follow(args, &front, printer).await
}

async fn follow(args: &LogsArgs, front: &Front, printer: &Printer) -> Result<ExitStatus, Failure> {
    let mut follower = Follower {
        app_id: AppId::absolute(&args.app),
        file: args.file.as_deref(),
        front,
        printer,
        followed: BTreeMap::new(),
        n_seen: 0,
    };
    let mut tasks = follower.running().await?;
    if args.completed {
        tasks.extend(follower.ended().await?);
    }
    follower.join(&tasks).await?;
    if follower.followed.is_empty() && !args.follow {
        let app_id = &follower.app_id;
        return Err(Failure::with_hint(
            format!("no task of {app_id} runs"),
            format!(
                "why: zddcluster explain {app_id}; what ended: zddcluster logs --completed {app_id}"
            ),
        ));
    }
    follower.print(args.lines).await?;
    if !args.follow {
        return Ok(ExitStatus::Success);
    }
    loop {
        tokio::time::sleep(INTERVAL).await;
        // A master or an agent that starts again is waited for.
        let Ok(running) = follower.running().await else {
            continue;
        };
        // Before those who are gone leave: what they wrote last is to be read.
        follower.join(&running).await?;
        follower.print(usize::MAX).await?;
        follower.leave(&running).await?;
    }
}

impl Follower<'_> {
    async fn running(&self) -> Result<BTreeSet<Task>, Failure> {
        let path = format!("{}/tasks", app_path(self.app_id.as_str()));
        let answer = self.front.marathon(Method::GET, &path, None).await?;
        let tasks = answer["tasks"].as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tasks = tasks.map(|task| Task {
            id: text(&task["id"]),
            agent_id: text(&task["slaveId"]),
        });
        // One without an agent has not been given a place yet.
        Ok(tasks.filter(|task| !task.agent_id.is_empty()).collect())
    }

    /// Those that have ended and are remembered.
    async fn ended(&self) -> Result<BTreeSet<Task>, Failure> {
        let state = TaskState::read(self.front).await?;
        let prefix = self.app_id.segments().collect::<Vec<_>>().join("_");
        let tasks = state.tasks(None, true).into_iter().map(|found| Task {
            id: found.id().to_owned(),
            agent_id: found.agent_id().to_owned(),
        });
        let is_of_app = |task: &Task| {
            let app = task.id.rsplit_once('.').map(|(app, _)| app);
            app == Some(&prefix)
        };
        Ok(tasks.filter(is_of_app).collect())
    }

    /// Begins to follow those that are new.
    async fn join(&mut self, tasks: &BTreeSet<Task>) -> Result<(), Failure> {
        let new: Vec<&Task> = tasks
            .iter()
            .filter(|task| !self.followed.contains_key(&task.id))
            .collect();
        let is_first = self.n_seen == 0;
        let mut agents = BTreeMap::new();
        for task in new {
            let agent_id = &task.agent_id;
            if !agents.contains_key(agent_id) {
                let Ok(state) = AgentState::read(agent_id, self.front).await else {
                    // Later, when it answers.
                    continue;
                };
                agents.insert(agent_id, state);
            }
            let sandbox = agents
                .get(agent_id)
                .and_then(|state| state.sandbox_of(&task.id));
            let Some(sandbox) = sandbox else { continue };
            let files = match self.file {
                Some(file) => vec![(file, '|')],
                None => FILES.to_vec(),
            };
            let files = files.into_iter().map(|(file, mark)| Source {
                file: file.to_owned(),
                mark,
                tail: Tail::of_task(&task.id, agent_id, sandbox, file),
                is_new: true,
            });
            let color = COLORS[self.n_seen % COLORS.len()];
            let followed = Followed {
                name: self.name_of(&task.id),
                style: color.on_default(),
                files: files.collect(),
            };
            if !is_first {
                let name = &followed.name;
                self.printer.talk(&format!("{name} has started"));
            }
            self.n_seen += 1;
            self.followed.insert(task.id.clone(), followed);
        }
        Ok(())
    }

    /// The short id, unless another task has it, too.
    fn name_of(&self, task_id: &str) -> String {
        let short = short_id(task_id);
        match self.followed.values().any(|other| other.name == short) {
            true => task_id.to_owned(),
            false => short.to_owned(),
        }
    }

    /// Prints what was added; of files that were not read before the last `lines`.
    async fn print(&mut self, lines: usize) -> Result<(), Failure> {
        for (task_id, followed) in &mut self.followed {
            let Followed { name, style, files } = followed;
            for source in files {
                let read = match source.is_new {
                    true => source.tail.last_lines(lines, self.front).await,
                    false => source.tail.new_lines(self.front).await,
                };
                // Not there yet, or its agent is away for a moment.
                let Ok(Some(read)) = read else { continue };
                // An empty file reads as one empty line.
                let is_empty = source.is_new && read == [""];
                source.is_new = false;
                if is_empty {
                    continue;
                }
                for line in read {
                    print_line(task_id, name, *style, source, &line, self.printer)?;
                }
            }
        }
        Ok(())
    }

    /// Lets those go that run no more, when all that they wrote is printed.
    async fn leave(&mut self, running: &BTreeSet<Task>) -> Result<(), Failure> {
        let gone: Vec<String> = self
            .followed
            .keys()
            .filter(|id| !running.iter().any(|task| task.id == **id))
            .cloned()
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        // Once for what was written since, once for a last line without an end.
        self.print(usize::MAX).await?;
        self.print(usize::MAX).await?;
        for id in gone {
            if let Some(Followed { name, .. }) = self.followed.remove(&id) {
                self.printer.talk(&format!("{name} has ended"));
            }
        }
        Ok(())
    }
}

fn print_line(
    task_id: &str,
    name: &str,
    style: Style,
    source: &Source,
    line: &str,
    printer: &Printer,
) -> Result<(), Failure> {
    if printer.is_json() {
        let document = json!({ "task": task_id, "file": source.file, "line": line });
        return printer.raw(&format!("{document}\n"));
    }
    let name = printable(name);
    let mark = source.mark;
    let prefix = match printer.has_color() {
        true => format!("{style}{name} {mark}{style:#} "),
        false => format!("{name} {mark} "),
    };
    printer.raw(&format!("{prefix}{line}\n"))
}

/// `75443553` of `zdd_base.75443553-9070-11e6-aae4-3a4b79075094`.
fn short_id(task_id: &str) -> &str {
    let unique = task_id.rsplit_once('.').map_or(task_id, |(_, rest)| rest);
    unique.split('-').next().unwrap_or(unique)
}

#[cfg(test)]
mod tests;

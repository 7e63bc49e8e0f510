//! `dcos task log`: the last lines of a file in a task's sandbox, and what is added to it.
//!
//! A file that cannot be read is dropped silently, as by the original; with none left the command ends.
//!
//! Source: contract dcos-cli §10; dcoscli 0.4.14 `log.py`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Context;
use super::task::State;
use crate::args::TaskLogArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::sandbox::{AgentState, Tail};
use crate::text::printable;

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
    let state = State::read(&context.front).await?;
    let tasks = state.tasks(task.as_deref(), completed);
    if tasks.is_empty() {
        return Err(no_tasks(&state, task.as_deref(), completed));
    }
    let mut agents = BTreeMap::new();
    for found in &tasks {
        if agents.contains_key(found.agent_id()) {
            continue;
        }
        match AgentState::read(found.agent_id(), &context.front).await {
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
        Some(Tail::of_task(
            found.id(),
            found.agent_id(),
            directory,
            &file,
        ))
    });
    let files: Vec<Tail> = files.collect();
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
pub(super) async fn print(
    mut files: Vec<Tail>,
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
                true => file.last_lines(lines, &context.front).await,
                false => file.new_lines(&context.front).await,
            };
            match read {
                Ok(Some(lines)) => {
                    output(
                        &lines,
                        file.header(),
                        has_headers,
                        &mut last_header,
                        context,
                    )?;
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

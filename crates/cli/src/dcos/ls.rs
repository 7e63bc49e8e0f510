//! `dcos task ls`: the files in the sandboxes of tasks.
//!
//! Source: dcoscli 0.6.1 `task/main.py`; contract dcos-cli §9.

use serde::Deserialize;
use zddcluster_model::Timestamp;

use super::Context;
use super::task::State;
use crate::args::TaskLsArgs;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{path_segment, query_value};
use crate::sandbox::AgentState;
use crate::table::{Align, Table};
use crate::text::printable;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// An entry of files/browse.json.
#[derive(Debug, Deserialize, serde::Serialize)]
struct Entry {
    path: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    nlink: u64,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    gid: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    mtime: f64,
}

impl Entry {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

pub(super) async fn run(args: TaskLsArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    let TaskLsArgs {
        completed,
        long,
        task,
        path,
    } = args;
    let path = path.strip_prefix('/').unwrap_or(&path);
    let state = State::read(&context.front).await?;
    let tasks = state.tasks(task.as_deref(), completed);
    if tasks.is_empty() {
        return Err(Failure::stated(match task {
            None => "No tasks found".to_owned(),
            Some(task) => format!("Cannot find a task with ID containing \"{task}\""),
        }));
    }
    let missing = || Failure::stated(format!("Cannot access [{path}]: No such file or directory"));
    let mut listings = Vec::new();
    for found in &tasks {
        let agent = AgentState::read(found.agent_id(), &context.front).await?;
        let directory = agent.sandbox_of(found.id()).ok_or_else(missing)?;
        let directory = format!("{}/{path}", directory.trim_end_matches('/'));
        let request = format!(
            "/slave/{}/files/browse.json?path={}",
            path_segment(found.agent_id()),
            query_value(&directory)
        );
        let entries: Option<Vec<Entry>> = context.front.mesos_if_there(&request).await?;
        listings.push((found.id(), entries.ok_or_else(missing)?));
    }
    if context.printer.is_json() {
        let listings = listings.into_iter().map(|(id, entries)| {
            let entries = serde_json::to_value(entries).map_err(Failure::Encode)?;
            Ok((id.to_owned(), entries))
        });
        let listings = listings.collect::<Result<serde_json::Map<_, _>, Failure>>()?;
        context.printer.json(&listings)?;
        return Ok(ExitStatus::Success);
    }
    let has_headers = listings.len() > 1;
    for (id, entries) in listings {
        if has_headers {
            context
                .printer
                .data(&printable(&format!("===> {id} <===")))?;
        }
        if long {
            context.table(table(&entries))?;
        } else {
            let names: Vec<&str> = entries.iter().map(Entry::name).collect();
            context.printer.data(&printable(&names.join("  ")))?;
        }
    }
    Ok(ExitStatus::Success)
}

fn table(entries: &[Entry]) -> Option<String> {
    // Without heads, as the original has it, and in the order of the names.
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut table = Table::new([("", Align::Right); 7]);
    for entry in entries {
        table.row([
            entry.mode.clone(),
            entry.nlink.to_string(),
            entry.uid.clone(),
            entry.gid.clone(),
            entry.size.to_string(),
            date(entry.mtime),
            entry.name().to_owned(),
        ]);
    }
    table.headless()
}

/// `Oct 12 11:38`, in UTC; the original takes the local time.
fn date(seconds: f64) -> String {
    let text = Timestamp::from_millis((seconds * 1000.0) as i64).to_string();
    let part = |range| text.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().unwrap_or(1);
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&MONTHS[0]);
    format!("{month} {} {}", part(8..10), part(11..16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_shortly() {
        assert_eq!(date(1_476_272_336.86), "Oct 12 11:38");
        assert_eq!(date(0.0), "Jan 01 00:00");
    }
}

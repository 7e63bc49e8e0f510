//! `dcos task …`: tasks as Mesos knows them.

use serde::Deserialize;
use serde_json::Value;

use super::{Context, exec, log, ls, metrics};
use crate::args::{MetricsVerb, TaskArgs, TaskVerb};
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::front::{Front, path_segment};
use crate::table::{Align, Table};

/// Where the master's state is.
const STATE: &str = "/mesos/master/state.json";

pub(super) async fn run(args: TaskArgs, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match args.verb {
        Some(TaskVerb::Log(args)) => log::run(args, context).await,
        Some(TaskVerb::Ls(args)) => ls::run(args, context).await,
        Some(TaskVerb::Exec(args)) => exec::run(args, context).await,
        Some(TaskVerb::Metrics(verb)) => {
            let (MetricsVerb::Details { id, .. } | MetricsVerb::Summary { id, .. }) = &verb;
            let state = State::read(&context.front).await?;
            let found = state.one(id)?;
            let container = found.container_id().ok_or_else(|| {
                Failure::stated("Invalid executor info. Missing field `container_id`")
            })?;
            let agent_id = path_segment(found.agent_id());
            let container = path_segment(container);
            let path = format!("/system/v1/agent/{agent_id}/metrics/v0/containers/{container}");
            let mut points = metrics::read(&path, context).await?;
            points.extend(metrics::read(&format!("{path}/app"), context).await?);
            metrics::print_task(&verb, points, context)
        }
        None => list(args.task.as_deref(), args.completed, args.json, context).await,
    }
}

/// The master's state, as far as tasks are concerned.
#[derive(Debug, Deserialize)]
pub(crate) struct State {
    #[serde(default)]
    frameworks: Vec<Framework>,
    #[serde(default)]
    completed_frameworks: Vec<Framework>,
    #[serde(default)]
    slaves: Vec<Slave>,
}

#[derive(Debug, Deserialize)]
struct Framework {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    active: bool,
    #[serde(default)]
    tasks: Vec<Value>,
    #[serde(default)]
    completed_tasks: Vec<Value>,
}

#[derive(Debug, Deserialize)]
struct Slave {
    id: String,
    #[serde(default)]
    hostname: Option<String>,
}

/// A task with what its framework says of it.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    task: &'a Value,
    user: Option<&'a str>,
}

impl Found<'_> {
    pub(crate) fn id(&self) -> &str {
        self.text("id")
    }

    pub(crate) fn agent_id(&self) -> &str {
        self.text("slave_id")
    }

    /// What runs it: `DOCKER`, or nothing where it says nothing.
    pub(super) fn container_type(&self) -> Option<&str> {
        self.task["container"]["type"].as_str()
    }

    /// Its container, as its last status names it.
    pub(super) fn container_id(&self) -> Option<&str> {
        let statuses = self.task["statuses"].as_array()?;
        let mut ids = statuses
            .iter()
            .rev()
            .filter_map(|status| status["container_status"]["container_id"]["value"].as_str());
        ids.next()
    }

    fn text(&self, key: &str) -> &str {
        self.task[key].as_str().unwrap_or_default()
    }

    /// `TASK_RUNNING` is `R`.
    fn state_letter(&self) -> String {
        let word = self.text("state").rsplit('_').next().unwrap_or_default();
        word.chars().take(1).collect()
    }
}

impl State {
    pub(crate) async fn read(front: &Front) -> Result<Self, Failure> {
        front.mesos(STATE).await
    }

    /// The tasks that match: of active frameworks, or, with `completed`, all that are remembered.
    pub(crate) fn tasks(&self, filter: Option<&str>, completed: bool) -> Vec<Found<'_>> {
        let mut frameworks: Vec<&Framework> = self
            .frameworks
            .iter()
            .filter(|framework| completed || framework.active)
            .collect();
        if completed {
            frameworks.extend(&self.completed_frameworks);
        }
        let mut found = Vec::new();
        for framework in frameworks {
            let ended = completed
                .then_some(&framework.completed_tasks)
                .into_iter()
                .flatten();
            let tasks = framework.tasks.iter().chain(ended);
            let tasks = tasks.map(|task| Found {
                task,
                user: framework.user.as_deref(),
            });
            found.extend(
                tasks.filter(|task| filter.is_none_or(|filter| is_match(filter, task.id()))),
            );
        }
        found
    }

    /// The one task that runs and matches.
    pub(super) fn one(&self, filter: &str) -> Result<Found<'_>, Failure> {
        let mut found = self.tasks(Some(filter), false);
        match (found.pop(), found.as_slice()) {
            (Some(one), []) => Ok(one),
            (None, _) => Err(Failure::stated(format!(
                "Cannot find a task with ID containing \"{filter}\""
            ))),
            (Some(last), others) => {
                let mut ids: Vec<&str> = others.iter().map(Found::id).collect();
                ids.push(last.id());
                Err(Failure::stated(format!(
                    "There are multiple tasks with ID matching [{filter}]. Please choose one:\n\t{}",
                    ids.join("\n\t")
                )))
            }
        }
    }

    fn hostname_of(&self, agent_id: &str) -> &str {
        let agent = self.slaves.iter().find(|slave| slave.id == agent_id);
        agent
            .and_then(|slave| slave.hostname.as_deref())
            .unwrap_or("N/A")
    }
}

async fn list(
    filter: Option<&str>,
    completed: bool,
    json: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let state = State::read(&context.front).await?;
    let mut tasks = state.tasks(filter, completed);
    if context.wants_json(json) {
        tasks.sort_by(|a, b| a.text("name").cmp(b.text("name")));
        let tasks: Vec<&Value> = tasks.into_iter().map(|found| found.task).collect();
        context.printer.json(&tasks)?;
        return Ok(ExitStatus::Success);
    }
    let mut table = Table::new([
        ("NAME", Align::Left),
        ("HOST", Align::Left),
        ("USER", Align::Center),
        ("STATE", Align::Center),
        ("ID", Align::Left),
    ]);
    for task in tasks {
        table.row([
            task.text("name").to_owned(),
            state.hostname_of(task.agent_id()).to_owned(),
            task.user.unwrap_or("N/A").to_owned(),
            task.state_letter(),
            task.id().to_owned(),
        ]);
    }
    context.table(table.sorted())
}

/// Whether `filter` is a part of `id` or a shell pattern for all of it.
fn is_match(filter: &str, id: &str) -> bool {
    id.contains(filter) || {
        let pattern: Vec<char> = filter.chars().collect();
        let text: Vec<char> = id.chars().collect();
        glob(&pattern, &text)
    }
}

/// Python's `fnmatchcase`: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    // After the last star: where the pattern goes on, and the text that it may still swallow.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) => text.get(t).and_then(|&c| one(&pattern[p..], c)),
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((after, swallowed))) if swallowed < text.len() => {
                star = Some((after, swallowed + 1));
                p = after;
                t = swallowed + 1;
            }
            (None, _) => return false,
        }
    }
}

/// How much of the pattern stands for the character, if it stands for it.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern[0] {
        '?' => Some(1),
        '[' => {
            let is_negated = pattern.get(1) == Some(&'!');
            let begin = 1 + usize::from(is_negated);
            // A `]` right at the begin is a member.
            let close = pattern.iter().skip(begin + 1).position(|&c| c == ']');
            let Some(close) = close.map(|at| at + begin + 1) else {
                return (c == '[').then_some(1);
            };
            let mut members = &pattern[begin..close];
            let mut is_member = false;
            while let [first, rest @ ..] = members {
                match rest {
                    ['-', last, rest @ ..] => {
                        is_member |= (*first..=*last).contains(&c);
                        members = rest;
                    }
                    rest => {
                        is_member |= *first == c;
                        members = rest;
                    }
                }
            }
            (is_member != is_negated).then_some(close + 1)
        }
        literal => (literal == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_parts_or_patterns() {
        let id = "zdd_base.75440e42-9070";
        for filter in [
            "zdd_base",
            "base.75",
            "",
            "zdd_*",
            "*9070",
            "zdd_base.????0e42-*",
            "zdd[_.]b*",
            "[!a]*",
        ] {
            assert!(is_match(filter, id), "{filter}");
        }
        for filter in [
            "zdd-base",
            "base_*",
            "*907",
            "zdd_base.?",
            "zdd[!_]*",
            "[a-f]*",
            "zdd[_*",
        ] {
            assert!(!is_match(filter, id), "{filter}");
        }
    }
}

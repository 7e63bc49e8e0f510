//! Every row of the contract has a test.
//!
//! `tests/contract/*.toml` list the rows, tests cite them: a comment of the mark and the rows' ids, separated by commas.
//! A citation counts inside a test, or inside a table or a helper of the same file that a test names.
//! What is neither cited nor declared pending, and what is cited and not listed, is told by name. A row that cannot come about
//! here is cited like the others: its test holds what is there instead.

#![expect(
    clippy::print_stderr,
    reason = "how many rows there are is worth a line"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;
use zddcluster_tests::source::{read, root, rust_files};

/// In pieces, so that this file does not cite anything.
const MARK: [&str; 2] = ["// contract", ": "];

/// The files, without their ending.
const FILES: [&str; 2] = ["marathon", "marathon-lb"];

#[derive(Default, Deserialize)]
struct Contract {
    /// Why a row has no test.
    pending: BTreeMap<String, String>,
    /// Why a row cannot come about here.
    never: BTreeMap<String, String>,
    /// The tables: a row's id, and what holds.
    #[serde(flatten)]
    tables: BTreeMap<String, BTreeMap<String, String>>,
}

impl Contract {
    /// All files as one; a table's name comes after its file's.
    fn read() -> Self {
        let mut all = Self::default();
        for file in FILES {
            let Self {
                pending,
                never,
                tables,
            } = toml::from_str(&read(&format!("tests/contract/{file}.toml")))
                .expect("the rows are TOML");
            all.pending.extend(pending);
            all.never.extend(never);
            let named = tables
                .into_iter()
                .map(|(table, rows)| (format!("{file}: {table}"), rows));
            all.tables.extend(named);
        }
        all
    }
}

/// A function or constant of a source file.
#[derive(Debug)]
struct Item {
    name: String,
    is_test: bool,
    /// Its lines, the last one included.
    lines: std::ops::RangeInclusive<usize>,
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name that a line begins to define as a function, constant or static.
fn defined(line: &str) -> Option<&str> {
    let words = line.trim_start();
    let rest = ["fn ", "const ", "static "].iter().find_map(|keyword| {
        let at = words.find(keyword)?;
        let before = &words[..at];
        let is_definition = before
            .split_whitespace()
            .all(|word| word == "async" || word == "const" || word.starts_with("pub"));
        is_definition.then(|| &words[at + keyword.len()..])
    })?;
    let rest = rest.strip_prefix("fn ").unwrap_or(rest);
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    (end > 0).then(|| &rest[..end])
}

/// The functions and constants of a formatted source: each ends at the first line that closes it at its own indentation.
fn items(lines: &[&str]) -> Vec<Item> {
    let mut items = Vec::new();
    for (begin, line) in lines.iter().enumerate() {
        let Some(name) = defined(line) else { continue };
        let depth = indentation(line);
        let closes =
            |line: &str| indentation(line) == depth && (line.ends_with('}') || line.ends_with(';'));
        let Some(end) = (begin..lines.len()).find(|at| closes(lines[*at])) else {
            continue;
        };
        let attributes = lines[..begin]
            .iter()
            .rev()
            .take_while(|line| indentation(line) == depth && !line.trim().is_empty())
            .take_while(|line| !line.ends_with('}') && !line.ends_with(';'));
        let is_test = attributes
            .filter(|line| line.trim_start().starts_with("#["))
            .any(|line| line.contains("#[test]") || line.contains("::test"));
        items.push(Item {
            name: name.to_owned(),
            is_test,
            lines: begin..=end,
        });
    }
    items
}

/// The items that a test is, or names, or that are named by one of those.
fn used_by_tests(items: &[Item], lines: &[&str]) -> Vec<bool> {
    let mut is_used: Vec<bool> = items.iter().map(|item| item.is_test).collect();
    let mut waiting: Vec<usize> = (0..items.len()).filter(|idx| is_used[*idx]).collect();
    while let Some(idx) = waiting.pop() {
        let text = lines[items[idx].lines.clone()].join("\n");
        let words: BTreeSet<&str> = text
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        for (other, item) in items.iter().enumerate() {
            if !is_used[other] && words.contains(item.name.as_str()) {
                is_used[other] = true;
                waiting.push(other);
            }
        }
    }
    is_used
}

/// The ids cited in a source, with their lines (from 1); `Err` for a citation that no test reaches.
fn citations(text: &str) -> Vec<Result<(usize, String), usize>> {
    let mark = MARK.concat();
    let lines: Vec<&str> = text.lines().collect();
    let cited = || {
        let found = lines.iter().enumerate();
        found.filter_map(|(idx, line)| Some((idx, line.split_once(&mark)?.1)))
    };
    if cited().next().is_none() {
        return Vec::new();
    }
    let items = items(&lines);
    let is_used = used_by_tests(&items, &lines);
    let mut found = Vec::new();
    for (idx, ids) in cited() {
        let around = items
            .iter()
            .zip(&is_used)
            .filter(|(item, _)| item.lines.contains(&idx));
        let innermost = around.max_by_key(|(item, _)| *item.lines.start());
        if innermost.is_some_and(|(_, is_used)| *is_used) {
            found.extend(ids.split(',').map(|id| Ok((idx + 1, id.trim().to_owned()))));
        } else {
            found.push(Err(idx + 1));
        }
    }
    found
}

#[test]
fn every_row_has_a_test() {
    let contract = Contract::read();
    let mut faults = Vec::new();
    let mut rows: BTreeSet<&str> = BTreeSet::new();
    for (table, entries) in &contract.tables {
        for (id, fact) in entries {
            if fact.is_empty() {
                faults.push(format!("{id} says nothing"));
            }
            if !rows.insert(id) {
                faults.push(format!("{id} is there twice, once in {table}"));
            }
        }
    }
    let mut cited: BTreeSet<String> = BTreeSet::new();
    for path in rust_files() {
        let text = fs::read_to_string(&path).expect("a source is text");
        let shown = path.strip_prefix(root()).unwrap_or(&path).display();
        for citation in citations(&text) {
            match citation {
                Ok((_, id)) if rows.contains(id.as_str()) => {
                    cited.insert(id);
                }
                Ok((line, id)) => {
                    faults.push(format!("{shown}:{line} cites {id}, which is no row"))
                }
                Err(line) => faults.push(format!("{shown}:{line} cites rows where no test is")),
            }
        }
    }
    for id in &rows {
        match (cited.contains(*id), contract.pending.get(*id)) {
            (false, None) => faults.push(format!("{id} has no test")),
            (true, Some(_)) => faults.push(format!("{id} is pending and has a test")),
            (false, Some(reason)) if reason.is_empty() => {
                faults.push(format!("{id} is pending without a reason"));
            }
            (true, None) | (false, Some(_)) => {}
        }
    }
    for id in contract.pending.keys() {
        if !rows.contains(id.as_str()) {
            faults.push(format!("{id} is pending and no row"));
        }
    }
    for (id, reason) in &contract.never {
        if !rows.contains(id.as_str()) || contract.pending.contains_key(id) {
            faults.push(format!(
                "{id} never comes about and is no row, or is pending"
            ));
        }
        if reason.is_empty() {
            faults.push(format!("{id} never comes about, without a reason"));
        }
    }
    let (n_pending, n_never) = (contract.pending.len(), contract.never.len());
    eprintln!(
        "{} rows, {} with a test, {n_never} of which never come about, {n_pending} pending",
        rows.len(),
        cited.len()
    );
    for (id, reason) in &contract.pending {
        eprintln!("pending: {id}: {reason}");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The event types of Marathon, sorted.
const CATALOGUE: [&str; 24] = [
    "add_health_check_event",
    "api_post_event",
    "app_terminated_event",
    "deployment_failed",
    "deployment_info",
    "deployment_step_failure",
    "deployment_step_success",
    "deployment_success",
    "event_stream_attached",
    "event_stream_detached",
    "failed_health_check_event",
    "framework_message_event",
    "group_change_failed",
    "group_change_success",
    "health_status_changed_event",
    "remove_health_check_event",
    "scheduler_disconnected_event",
    "scheduler_registered_event",
    "scheduler_reregistered_event",
    "status_update_event",
    "subscribe_event",
    "unhealthy_task_kill_event",
    "unknown_task_terminated_event",
    "unsubscribe_event",
];

/// All that is published is an `EventKind`, and each has its name in one place.
#[test]
fn events_are_those_of_the_catalogue_but_for_one() {
    // contract: event-framework_message_event
    let source = read("crates/model/src/event/print.rs");
    let names = source.lines().filter_map(|line| {
        let (kind, name) = line.trim().split_once(" => \"")?;
        kind.starts_with("Self::")
            .then(|| name.trim_end_matches("\","))
    });
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let never = "framework_message_event";
    let wanted: Vec<&str> = CATALOGUE
        .into_iter()
        .filter(|name| *name != never)
        .collect();
    assert_eq!(names, wanted);
    // Whoever waits for it is told.
    let told = format!("`{never}` never comes");
    assert!(read("docs/events.md").contains(&told), "{told}");
}

#[test]
fn citations_count_inside_tests_only() {
    let mark = MARK.concat();
    let text = format!(
        "const TABLE: [&str; 1] = [\n    {mark}a-1\n    \"x\",\n];\n\n\
         const UNUSED: [&str; 1] = [\n    {mark}b-1\n    \"x\",\n];\n\n\
         fn helper() {{\n    check(TABLE);\n}}\n\n\
         #[test]\nfn one() {{\n    {mark}c-1, c-2\n    helper();\n}}\n\n\
         #[tokio::test(flavor = \"x\")]\nasync fn two() {{\n    row(1); {mark}d-1\n}}\n\n\
         {mark}e-1\n"
    );
    let ids: Vec<Result<String, usize>> = citations(&text)
        .into_iter()
        .map(|found| found.map(|(_, id)| id))
        .collect();
    let cited = |id: &str| Ok(id.to_owned());
    let wanted = [
        cited("a-1"),
        Err(7),
        cited("c-1"),
        cited("c-2"),
        cited("d-1"),
        Err(26),
    ];
    assert_eq!(ids, wanted);
}

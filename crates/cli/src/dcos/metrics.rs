//! `dcos node metrics …` and `dcos task metrics …`: what dcos-metrics tells of a node or a container.
//!
//! Source: dcoscli 0.6.1 `metrics.py`. Its column DISK of a task has used and limit the wrong way round; ours has not.

use http::{Method, StatusCode};
use serde_json::Value;

use super::Context;
use crate::args::MetricsVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::text::python;

/// The points that `path` tells; none where it has nothing to tell.
pub(super) async fn read(path: &str, context: &Context<'_>) -> Result<Vec<Value>, Failure> {
    let (status, answer) = context.front.ask(Method::GET, path, None).await?;
    let url = format!("{}{path}", context.front.origin());
    if status == StatusCode::NO_CONTENT {
        return Ok(Vec::new());
    }
    if !status.is_success() {
        return Err(Failure::from_mesos(&url, status));
    }
    let mut answer: Value =
        serde_json::from_slice(&answer).map_err(|error| Failure::Undecodable {
            url,
            reason: error.to_string(),
        })?;
    match answer["datapoints"].take() {
        Value::Array(points) => Ok(points),
        _ => Ok(Vec::new()),
    }
}

pub(super) fn print_node(
    verb: &MetricsVerb,
    points: Vec<Value>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    let (cpu, mem, disk) = ("cpu.total", "memory.total", "filesystem.capacity.total");
    print(
        verb,
        points,
        &[
            (cpu, None),
            (mem, None),
            ("memory.free", None),
            (disk, Some("/")),
            ("filesystem.capacity.used", Some("/")),
        ],
        |points| {
            let value = |name| number(points, name, None);
            let root = |name| number(points, name, Some("/"));
            let used = value(mem) - value("memory.free");
            [
                format!("{:.2} ({:.2}%)", value("load.1min"), value(cpu)),
                share(used, value(mem)),
                share(root("filesystem.capacity.used"), root(disk)),
            ]
        },
        true,
        context,
    )
}

pub(super) fn print_task(
    verb: &MetricsVerb,
    points: Vec<Value>,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    if points.is_empty() {
        return Err(Failure::stated("No metrics found"));
    }
    print(
        verb,
        points,
        &[
            ("cpus.user.time", None),
            ("mem.total", None),
            ("disk.used", None),
        ],
        |points| {
            let value = |name| number(points, name, None);
            let used = value("cpus.user.time") + value("cpus.system.time");
            let total = used + value("cpus.throttled.time");
            [
                format!("{used:.2} ({:.2}%)", percentage(used, total)),
                share(value("mem.total"), value("mem.limit")),
                share(value("disk.used"), value("disk.limit")),
            ]
        },
        false,
        context,
    )
}

fn print(
    verb: &MetricsVerb,
    points: Vec<Value>,
    summarised: &[(&str, Option<&str>)],
    summary: impl FnOnce(&[Value]) -> [String; 3],
    has_tags: bool,
    context: &Context<'_>,
) -> Result<ExitStatus, Failure> {
    match verb {
        MetricsVerb::Summary { json, id: _ } if context.wants_json(*json) => {
            let found: Vec<Value> = summarised
                .iter()
                .map(|(name, path)| find(&points, name, *path).cloned().unwrap_or_default())
                .collect();
            context.printer.json(&found)?;
        }
        MetricsVerb::Details { json, id: _ } if context.wants_json(*json) => {
            context.printer.json(&points)?;
        }
        MetricsVerb::Summary { .. } => {
            let mut table = Table::new([
                ("CPU", Align::Left),
                ("MEM", Align::Left),
                ("DISK", Align::Left),
            ]);
            table.row(summary(&points));
            return context.table(table.unsorted());
        }
        MetricsVerb::Details { .. } if has_tags => {
            let mut table = Table::new([
                ("NAME", Align::Left),
                ("VALUE", Align::Left),
                ("TAGS", Align::Left),
            ]);
            for point in &points {
                table.row([text(&point["name"]), formatted(point), tags(point)]);
            }
            return context.table(table.unsorted());
        }
        MetricsVerb::Details { .. } => {
            let mut table = Table::new([("NAME", Align::Left), ("VALUE", Align::Left)]);
            for point in &points {
                table.row([text(&point["name"]), formatted(point)]);
            }
            return context.table(table.unsorted());
        }
    }
    Ok(ExitStatus::Success)
}

/// The point of a name, and of a path if one is given.
fn find<'a>(points: &'a [Value], name: &str, path: Option<&str>) -> Option<&'a Value> {
    points.iter().find(|point| {
        point["name"] == name && path.is_none_or(|path| point["tags"]["path"] == path)
    })
}

fn number(points: &[Value], name: &str, path: Option<&str>) -> f64 {
    let point = find(points, name, path);
    point
        .and_then(|point| point["value"].as_f64())
        .unwrap_or(0.0)
}

fn percentage(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        part / whole * 100.0
    } else {
        0.0
    }
}

fn gib(bytes: f64) -> f64 {
    bytes / 1_073_741_824.0
}

/// `0.12GiB (3.40%)`.
fn share(used: f64, total: f64) -> String {
    format!("{:.2}GiB ({:.2}%)", gib(used), percentage(used, total))
}

fn formatted(point: &Value) -> String {
    let value = &point["value"];
    match (point["unit"].as_str(), value.as_f64()) {
        (Some("bytes"), Some(bytes)) => format!("{:.2}GiB", gib(bytes)),
        (Some("percent"), Some(percent)) => format!("{percent:.2}%"),
        (_, Some(number)) if value.is_f64() => format!("{number:.2}"),
        _ => text(value),
    }
}

fn tags(point: &Value) -> String {
    let pairs = point["tags"].as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs
        .map(|(key, value)| format!("{key}: {}", python(value)))
        .collect();
    pairs.join(", ")
}

fn text(value: &Value) -> String {
    python(value)
}

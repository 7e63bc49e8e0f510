//! `dcos marathon debug …`: what waits in Marathon's queue, and why.
//!
//! Source: dcoscli 0.4.17 `tables.py`. One thing is put right: the column PORTS of `details` tells of ports; the original's tells of
//! roles.

use http::Method;
use serde_json::Value;
use zddcluster_model::AppId;

use super::Context;
use crate::args::DebugVerb;
use crate::exit::ExitStatus;
use crate::failure::Failure;
use crate::table::{Align, Table};
use crate::text::python;

/// Stands for nothing.
const NONE: &str = "---";

/// What an offer may lack, as Marathon calls it, and the field of the app that asks for it.
const REASONS: [(&str, &str, &str); 6] = [
    ("ROLE", "UnfulfilledRole", "acceptedResourceRoles"),
    ("CONSTRAINTS", "UnfulfilledConstraint", "constraints"),
    ("CPUS", "InsufficientCpus", "cpus"),
    ("MEM", "InsufficientMemory", "mem"),
    ("DISK", "InsufficientDisk", "disk"),
    ("PORTS", "InsufficientPorts", "ports"),
];

pub(super) async fn run(verb: DebugVerb, context: &Context<'_>) -> Result<ExitStatus, Failure> {
    match verb {
        DebugVerb::List { json } => {
            // With this even a Marathon that does not say so unasked says since when.
            let queue = queue("v2/queue?embed=lastUnusedOffers", context).await?;
            print(json, queue.into(), context, list)
        }
        DebugVerb::Summary { json, app_id } => {
            let item = waiting(&app_id, context).await?;
            if !item["processedOffersSummary"].is_object() {
                return Err(Failure::with_hint(
                    "This command is not supported on your cluster",
                    "a Marathon of 1.4 or later counts offers",
                ));
            }
            print(json, item, context, summary)
        }
        DebugVerb::Details { json, app_id } => {
            let item = waiting(&app_id, context).await?;
            print(json, item, context, details)
        }
    }
}

fn print(
    json: bool,
    document: Value,
    context: &Context<'_>,
    table: fn(&Value) -> Option<String>,
) -> Result<ExitStatus, Failure> {
    if context.wants_json(json) {
        context.printer.json(&document)?;
        return Ok(ExitStatus::Success);
    }
    context.table(table(&document))
}

async fn queue(path: &str, context: &Context<'_>) -> Result<Vec<Value>, Failure> {
    let mut answer = context.front.marathon(Method::GET, path, None).await?;
    match answer.get_mut("queue").map(Value::take) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(Failure::stated(
            "The answer names no queue: is this a Marathon?",
        )),
    }
}

async fn waiting(app_id: &str, context: &Context<'_>) -> Result<Value, Failure> {
    let app_id = AppId::absolute(app_id);
    let queue = queue("v2/queue?embed=lastUnusedOffers", context).await?;
    let mut queue = queue.into_iter();
    let found = queue.find(|item| item["app"]["id"] == app_id.as_str());
    found.ok_or_else(|| Failure::stated("No apps found in Marathon queue"))
}

fn list(queue: &Value) -> Option<String> {
    let mut table = Table::new([
        ("ID", Align::Left),
        ("SINCE", Align::Left),
        ("INSTANCES TO LAUNCH", Align::Left),
        ("WAITING", Align::Left),
        ("PROCESSED OFFERS", Align::Left),
        ("UNUSED OFFERS", Align::Left),
        ("LAST UNUSED OFFER", Align::Left),
        ("LAST USED OFFER", Align::Left),
    ]);
    for item in queue.as_array().into_iter().flatten() {
        let offers = &item["processedOffersSummary"];
        table.row([
            or_none(&item["app"]["id"]),
            or_none(&item["since"]),
            or_none(&item["count"]),
            or_none(&item["delay"]["overdue"]),
            or_none(&offers["processedOffersCount"]),
            or_none(&offers["unusedOffersCount"]),
            or_none(&offers["lastUnusedOfferAt"]),
            or_none(&offers["lastUsedOfferAt"]),
        ]);
    }
    table.sorted()
}

fn summary(item: &Value) -> Option<String> {
    let app = &item["app"];
    let steps = &item["processedOffersSummary"]["rejectSummaryLastOffers"];
    let mut table = Table::new([
        ("RESOURCE", Align::Left),
        ("REQUESTED", Align::Left),
        ("MATCHED", Align::Left),
        ("PERCENTAGE", Align::Left),
    ]);
    for (resource, reason, field) in REASONS {
        let mut found = steps.as_array().into_iter().flatten();
        let step = found.find(|step| step["reason"] == reason);
        let count = |key: &str| step.and_then(|step| step[key].as_u64()).unwrap_or(0);
        let processed = count("processed");
        let matched = processed.saturating_sub(count("declined"));
        let percentage = match processed {
            0 => NONE.to_owned(),
            processed => format!("{:.2}%", 100.0 * matched as f64 / processed as f64),
        };
        table.row([
            resource.to_owned(),
            requested(resource, &app[field]),
            format!("{matched} / {processed}"),
            percentage,
        ]);
    }
    table.unsorted()
}

/// What an app asks for.
fn requested(resource: &str, value: &Value) -> String {
    match value {
        Value::Null if resource == "ROLE" => "[*]".to_owned(),
        Value::Array(roles) if resource == "ROLE" && roles.is_empty() => "[*]".to_owned(),
        value => or_none(value),
    }
}

fn details(item: &Value) -> Option<String> {
    let mut table = Table::new([
        ("HOSTNAME", Align::Left),
        ("ROLE", Align::Center),
        ("CONSTRAINTS", Align::Center),
        ("CPUS", Align::Center),
        ("MEM", Align::Center),
        ("DISK", Align::Center),
        ("PORTS", Align::Center),
        ("RECEIVED", Align::Left),
    ]);
    for unused in item["lastUnusedOffers"].as_array().into_iter().flatten() {
        let declined = |reason: &str| {
            let mut reasons = unused["reason"].as_array().into_iter().flatten();
            let is_declined = reasons.any(|given| given == reason);
            if is_declined { "-" } else { "ok" }.to_owned()
        };
        let [role, constraints, cpus, mem, disk, ports] =
            REASONS.map(|(_, reason, _)| declined(reason));
        table.row([
            or_none(&unused["offer"]["hostname"]),
            role,
            constraints,
            cpus,
            mem,
            disk,
            ports,
            or_none(&unused["timestamp"]),
        ]);
    }
    table.sorted()
}

fn or_none(value: &Value) -> String {
    match value {
        Value::Null => NONE.to_owned(),
        value => python(value),
    }
}

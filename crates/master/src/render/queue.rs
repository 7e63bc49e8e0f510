//! Instances that wait: Marathon's launch queue, and ours with reasons in words.
//!
//! With `embed=lastUnusedOffers` an item has what Marathon shows since 1.4, facts from its `QueueInfoConversion`: every agent
//! counts for its first reason, in the order of [`OfferReason`], and each step tells how many offers had come so far.
//! An agent makes one offer at each attempt, of all it has free. Agents that are away make none.
//! Those who ask for it expect the app as since 1.5, without roles that are not set: dcos 0.4.17 and 0.6.1 count their number
//! where 1.3 writes null.

use serde_json::{Map, Value, json};
use zddcluster_engine::State;
use zddcluster_engine::reason::{Declined, OfferReason, Reason, Refused};
use zddcluster_engine::state::{Agent, QueueEntry};
use zddcluster_model::Timestamp;

/// One item of `GET /v2/queue`.
pub(crate) fn queue_json(
    state: &State,
    entry: &QueueEntry,
    now: Timestamp,
    with_offers: bool,
) -> Value {
    let left_millis = left_millis(entry, now);
    let mut item = json!({
        "app": &*entry.app,
        "count": entry.count,
        "delay": { "timeLeftSeconds": left_millis / 1000, "overdue": left_millis == 0 },
    });
    if with_offers {
        item["since"] = json!(entry.since);
        item["processedOffersSummary"] = summary(entry);
        let refusals = entry.refusals.iter();
        let offers = refusals.filter_map(|refused| unused_offer(state, entry, refused));
        item["lastUnusedOffers"] = offers.collect();
        if let Some(app) = item["app"].as_object_mut() {
            app.retain(|key, value| key != "acceptedResourceRoles" || !value.is_null());
        }
    }
    item
}

/// Why the instances of one app wait, in words: `GET /zdd/v1/queue`.
pub(crate) fn waiting_json(state: &State, entry: &QueueEntry, now: Timestamp) -> Value {
    let refusals: Vec<Value> = entry
        .refusals
        .iter()
        .map(|Refused { agent_id, reasons }| {
            let hostname = state
                .agents
                .get(agent_id)
                .map(|agent| agent.hostname.as_str());
            let words: Vec<String> = reasons.iter().map(Reason::to_string).collect();
            json!({
                "agentId": agent_id,
                "hostname": hostname,
                "reason": words.join("; "),
                "reasons": reasons.iter().map(reason_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "appId": entry.app.id,
        "count": entry.count,
        "waitingSince": entry.since,
        "delayedForMillis": left_millis(entry, now),
        "refusals": refusals,
    })
}

/// A reason with its parts; `reason` is Marathon's name, or one of ours where it has none.
fn reason_json(reason: &Reason) -> Value {
    let own = match reason {
        Reason::ExternalVolume { .. } => "ExternalVolume",
        _ => "AgentAway",
    };
    let name = reason.of_offer().map_or(own, OfferReason::as_str);
    let mut json = json!({ "reason": name, "text": reason.to_string() });
    let parts = match reason {
        Reason::Away => json!({}),
        Reason::Role { offered, accepted } => json!({ "offered": offered, "accepted": accepted }),
        Reason::Constraint { constraint, value } => {
            json!({ "constraint": constraint, "value": value })
        }
        Reason::Resource {
            resource,
            wanted,
            free,
            total,
        } => {
            let resource = resource.as_str();
            json!({ "resource": resource, "wanted": wanted, "free": free, "total": total })
        }
        Reason::PortNotOffered { port } | Reason::PortTaken { port } => json!({ "port": port }),
        Reason::Ports { wanted, free } => {
            json!({ "resource": "ports", "wanted": wanted, "free": free })
        }
        Reason::Tasks { most } => json!({ "most": most }),
        Reason::Volume { hosts, away } => json!({ "hosts": hosts, "away": away }),
        Reason::ExternalVolume { name } => json!({ "volume": name }),
    };
    if let (Value::Object(json), Value::Object(parts)) = (&mut json, parts) {
        json.extend(parts);
    }
    json
}

fn left_millis(entry: &QueueEntry, now: Timestamp) -> i64 {
    entry
        .delayed_until
        .map_or(0, |until| until.millis_since(now).max(0))
}

fn summary(entry: &QueueEntry) -> Value {
    let offers = &entry.offers;
    let mut summary = Map::new();
    let mut put = |key: &str, value: Value| summary.insert(key.to_owned(), value);
    put("processedOffersCount", offers.processed.into());
    put("unusedOffersCount", offers.unused.into());
    if let Some(at) = offers.last_unused_at {
        put("lastUnusedOfferAt", json!(at));
    }
    if let Some(at) = offers.last_used_at {
        put("lastUsedOfferAt", json!(at));
    }
    let last: u64 = offers.last_declined.iter().sum();
    put(
        "rejectSummaryLastOffers",
        steps(last, &offers.last_declined),
    );
    put(
        "rejectSummaryLaunchAttempt",
        steps(offers.processed, &offers.declined),
    );
    Value::Object(summary)
}

/// The reasons as a funnel: `processed` offers come in, and each step lets through what it does not decline.
fn steps(mut processed: u64, declined: &Declined) -> Value {
    let steps = OfferReason::ALL.into_iter().zip(declined);
    let steps = steps.map(|(reason, declined)| {
        let step = json!({
            "reason": reason.as_str(),
            "declined": declined,
            "processed": processed,
        });
        processed -= declined;
        step
    });
    steps.collect()
}

/// An agent's offer that was not used; `None` if it made none.
fn unused_offer(state: &State, entry: &QueueEntry, refused: &Refused) -> Option<Value> {
    let agent = state.agents.get(&refused.agent_id)?;
    let mut reasons: Vec<OfferReason> = refused
        .reasons
        .iter()
        .filter_map(Reason::of_offer)
        .collect();
    reasons.dedup();
    if reasons.is_empty() {
        return None;
    }
    let names: Vec<&str> = reasons.into_iter().map(OfferReason::as_str).collect();
    Some(json!({
        "offer": offer(state, agent),
        "reason": names,
        "timestamp": entry.offers.last_unused_at,
    }))
}

/// What an agent has free, as an offer.
fn offer(state: &State, agent: &Agent) -> Value {
    let free = state.free_on(agent);
    let role = &agent.role;
    let scalar = |name: &str, amount: f64| {
        // Whole amounts print without a fraction, as everywhere in this API.
        let amount = if amount.fract() == 0.0 {
            json!(amount as i64)
        } else {
            json!(amount)
        };
        json!({ "name": name, "role": role, "scalar": amount })
    };
    let ranges: Vec<Value> = free
        .ports
        .iter()
        .map(|(begin, end)| json!({ "begin": begin, "end": end }))
        .collect();
    let attributes: Vec<Value> = agent
        .attributes
        .iter()
        .map(|(name, text)| json!({ "name": name, "text": text }))
        .collect();
    json!({
        // There are no offers here that could be named; this one is the agent's.
        "id": format!("{}-O", agent.id),
        "hostname": agent.hostname,
        "agentId": agent.id,
        "resources": [
            scalar("cpus", free.cpus),
            scalar("mem", free.mem),
            scalar("disk", free.disk),
            scalar("gpus", free.gpus.into()),
            { "name": "ports", "role": role, "ranges": ranges },
        ],
        "attributes": attributes,
    })
}

//! The bodies, as values and as the original's bytes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Shown;
use crate::config::{STATE_TIMEOUT, Told};
use crate::records::{Records, Service, TaskRecords};
use crate::start::Source;
use crate::zone::Zone;

/// What clients of Mesos-DNS look for in `Service`; the version is ours.
const SERVICE: &str = "Mesos-DNS";
const URL: &str = "https://github.com/mesosphere/mesos-dns";

/// Go's `json.MarshalIndent(value, " ", " ")`.
pub(super) fn indented(value: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(value, &mut serializer).expect("a value is JSON");
    // No line feed is part of a string: there it is written `\n`.
    String::from_utf8_lossy(&text).replace('\n', "\n ")
}

/// `/v1/version`.
pub(super) fn version() -> Value {
    json!({ "Service": SERVICE, "URL": URL, "Version": env!("CARGO_PKG_VERSION") })
}

/// `/v1/config`: the settings in effect.
pub(super) fn config(shown: &Shown) -> Value {
    let (masters, state_timeout) = match &shown.source {
        Source::Follow { master: _ } => {
            let masters = shown.zone.masters.iter().map(ToString::to_string);
            (masters.collect(), STATE_TIMEOUT)
        }
        Source::Poll {
            masters,
            refresh: _,
            state_timeout,
        } => {
            let masters = masters.iter().map(ToString::to_string);
            (masters.collect(), *state_timeout)
        }
    };
    let told = Told {
        masters,
        refresh: shown.source.refresh(),
        state_timeout,
        dns: shown.dns,
        dns_on: shown.dns.is_some(),
        http: Some(shown.http),
        http_on: true,
        enumeration_on: shown.enumeration_on,
        zone: &shown.zone,
        forward: &shown.forward,
        file: shown.file.as_deref(),
    };
    told.json()
}

/// The key of a name as asked: any case, with or without final dot, `.*` taken out.
fn key(name: &str) -> String {
    let name = name.replace(".*", "").to_lowercase();
    format!("{}.", name.strip_suffix('.').unwrap_or(&name))
}

/// The addresses of a name as texts, IPv4 first.
fn addresses<'a>(records: &'a Records, name: &str) -> impl Iterator<Item = String> + use<'a> {
    let v4 = records.a.get(name).into_iter().flat_map(|set| set.iter());
    let v6 = records
        .aaaa
        .get(name)
        .into_iter()
        .flat_map(|set| set.iter());
    v4.map(ToString::to_string)
        .chain(v6.map(ToString::to_string))
}

/// `/v1/hosts/{name}`.
pub(super) fn hosts(zone: &Zone, name: &str) -> Value {
    let key = key(name);
    let found: Vec<Value> = addresses(zone.records(), &key)
        .map(|ip| json!({ "host": key, "ip": ip }))
        .collect();
    or_empty(found, &["host", "ip"])
}

/// `/v1/services/{name}`: for each service one IPv4 and one IPv6 address of its target.
pub(super) fn services(zone: &Zone, name: &str) -> Value {
    let records = zone.records();
    let mut found = Vec::new();
    for Service { port, target, .. } in records
        .srv
        .get(&key(name))
        .into_iter()
        .flat_map(|s| s.iter())
    {
        let v4 = records.a.get(&**target).and_then(|set| set.first());
        let v6 = records.aaaa.get(&**target).and_then(|set| set.first());
        let ips = [v4.map(ToString::to_string), v6.map(ToString::to_string)];
        found.extend(ips.into_iter().flatten().map(
            |ip| json!({ "service": name, "host": &**target, "ip": ip, "port": port.to_string() }),
        ));
    }
    or_empty(found, &["service", "host", "ip", "port"])
}

/// Clients expect an element whose texts are empty where there is nothing.
fn or_empty(found: Vec<Value>, keys: &[&str]) -> Value {
    if !found.is_empty() {
        return found.into();
    }
    let empty: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), "".into()))
        .collect();
    json!([empty])
}

/// `/v1/enumerate`: what each task has added. Go writes a list that was never made as `null`.
pub(super) fn enumerate(zone: &Zone) -> Value {
    let task_json = |task: &TaskRecords| {
        let records: Vec<Value> = task
            .records
            .iter()
            .map(
                |record| json!({ "name": record.name, "host": record.host, "rtype": record.rtype }),
            )
            .collect();
        let records = match records.is_empty() {
            true => Value::Null,
            false => records.into(),
        };
        json!({ "name": task.name, "id": task.id, "records": records })
    };
    let frameworks: Vec<Value> = zone
        .records()
        .frameworks
        .iter()
        .map(|framework| {
            let tasks: Vec<Value> = framework.tasks.iter().map(task_json).collect();
            json!({ "tasks": tasks, "name": framework.name })
        })
        .collect();
    match frameworks.is_empty() {
        true => json!({ "frameworks": null }),
        false => json!({ "frameworks": frameworks }),
    }
}

/// `/v1/axfr`: the whole zone.
pub(super) fn axfr(zone: &Zone, told: &Shown) -> Value {
    fn shown<T>(
        sets: &BTreeMap<String, crate::records::OrderedSet<T>>,
        text: impl Fn(&T) -> String,
    ) -> Value
    where
        T: Clone + Eq + std::hash::Hash,
    {
        let entries = sets.iter().map(|(name, values)| {
            let values: Vec<Value> = values.iter().map(|value| text(value).into()).collect();
            (name.clone(), Value::from(values))
        });
        Value::Object(entries.collect())
    }
    let records = zone.records();
    let config = &told.zone;
    json!({
        "TTL": config.ttl,
        "Serial": zone.serial(),
        "RefreshSeconds": told.source.refresh().as_secs(),
        "Mname": config.soa.mname(),
        "Rname": config.soa.rname(),
        "Domain": config.domain,
        "Records": {
            "As": shown(&records.a, ToString::to_string),
            "AAAAs": shown(&records.aaaa, ToString::to_string),
            "SRVs": shown(&records.srv, |service| format!("{}:{}", service.target, service.port)),
        },
    })
}

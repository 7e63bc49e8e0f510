//! Reading the keys of a definition: which are there, and which reading rules (400) they break.
//!
//! Source: contract marathon §1.2, §1.5, §1.7, §1.10. Containers, checks and networks have files of their own.

use std::collections::BTreeMap;

use serde_json::Value;

use super::checks::{read_health_checks, read_readiness_check};
use super::container::{
    GivenContainer, GivenNetwork, read_container, read_ip_address, read_network,
};
use super::{Faults, Object, int, port, string, without_duplicates};
use crate::app::{
    AppIpAddress, Constraint, EnvValue, Fetch, Form, HealthCheck, KillSelection, Operator,
    PortDefinition, ReadinessCheck, Residency, Secret, UpgradeStrategy,
};

/// The endings of archives that `uris` of a POST unpack.
const ARCHIVES: [&str; 7] = [
    ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip",
];

/// Whether a URI names an archive, by its ending.
pub(in crate::app) fn is_archive(uri: &str) -> bool {
    ARCHIVES.iter().any(|ending| uri.ends_with(ending))
}

/// The present keys of a body; `None` is absent.
#[derive(Clone, Debug, PartialEq, Default)]
pub(in crate::app) struct Parts {
    pub(in crate::app) cmd: Option<String>,
    pub(in crate::app) args: Option<Vec<String>>,
    pub(in crate::app) user: Option<String>,
    pub(in crate::app) env: Option<BTreeMap<String, EnvValue>>,
    pub(in crate::app) instances: Option<u32>,
    pub(in crate::app) cpus: Option<f64>,
    pub(in crate::app) mem: Option<f64>,
    pub(in crate::app) disk: Option<f64>,
    pub(in crate::app) gpus: Option<u32>,
    pub(in crate::app) executor: Option<String>,
    pub(in crate::app) constraints: Option<Vec<Constraint>>,
    pub(in crate::app) fetch: Option<Vec<Fetch>>,
    pub(in crate::app) store_urls: Option<Vec<String>>,
    /// Added to `fetch`: where the files of `storeUrls` are in the artifact store.
    pub(in crate::app) stored: Vec<Fetch>,
    pub(in crate::app) backoff_seconds: Option<u64>,
    pub(in crate::app) backoff_factor: Option<f64>,
    pub(in crate::app) max_launch_delay_seconds: Option<u64>,
    pub(in crate::app) container: Option<GivenContainer>,
    pub(in crate::app) networks: Option<Vec<GivenNetwork>>,
    pub(in crate::app) health_checks: Option<Vec<HealthCheck>>,
    pub(in crate::app) readiness_checks: Option<Vec<ReadinessCheck>>,
    pub(in crate::app) dependencies: Option<Vec<String>>,
    pub(in crate::app) upgrade_strategy: Option<UpgradeStrategy>,
    pub(in crate::app) labels: Option<BTreeMap<String, String>>,
    pub(in crate::app) accepted_resource_roles: Option<Vec<String>>,
    pub(in crate::app) ip_address: Option<AppIpAddress>,
    pub(in crate::app) residency: Option<Residency>,
    pub(in crate::app) secrets: Option<BTreeMap<String, Secret>>,
    pub(in crate::app) task_kill_grace_period_seconds: Option<u64>,
    pub(in crate::app) port_definitions: Option<Vec<PortDefinition>>,
    pub(in crate::app) require_ports: Option<bool>,
    pub(in crate::app) kill_selection: Option<KillSelection>,
}

/// Reads every key of a definition but `id` and `version`.
pub(in crate::app) fn read_parts(body: Object<'_>, form: Form, faults: &mut Faults) -> Parts {
    let cmd = body.string("cmd", faults);
    if cmd.as_deref() == Some("") {
        faults.read(body.at("cmd"), "error.minLength");
    }
    let ip_address = body.object("ipAddress", faults, read_ip_address);
    let port_definitions = read_ports(body, faults);
    if ip_address.is_some()
        && port_definitions
            .as_ref()
            .is_some_and(|ports| !ports.is_empty())
    {
        faults.read(body.path, "You cannot specify both an IP address and ports");
    }
    Parts {
        cmd,
        args: body.strings("args", faults),
        user: body.string("user", faults),
        env: body.map("env", faults, read_env_value),
        instances: body.count("instances", faults),
        cpus: body.double("cpus", faults),
        mem: body.double("mem", faults),
        disk: body.double("disk", faults),
        gpus: body.count("gpus", faults),
        executor: read_executor(body, faults),
        constraints: body
            .list("constraints", faults, read_constraint)
            .map(without_duplicates),
        fetch: read_fetch(body, form, faults),
        store_urls: body.strings("storeUrls", faults),
        stored: Vec::new(),
        backoff_seconds: body.seconds("backoffSeconds", faults),
        backoff_factor: body.double("backoffFactor", faults),
        max_launch_delay_seconds: body.seconds("maxLaunchDelaySeconds", faults),
        container: body.object("container", faults, read_container),
        networks: body.objects("networks", faults, read_network),
        health_checks: read_health_checks(body, form, faults).map(without_duplicates),
        readiness_checks: body.objects("readinessChecks", faults, read_readiness_check),
        dependencies: body.strings("dependencies", faults),
        upgrade_strategy: body.object("upgradeStrategy", faults, read_upgrade_strategy),
        labels: body.string_map("labels", faults),
        accepted_resource_roles: read_roles(body, faults),
        ip_address,
        residency: body.object("residency", faults, read_residency),
        secrets: body.map("secrets", faults, read_secret),
        task_kill_grace_period_seconds: body.seconds("taskKillGracePeriodSeconds", faults),
        port_definitions,
        require_ports: body.boolean("requirePorts", faults),
        kill_selection: body.word(
            "killSelection",
            faults,
            read_kill_selection,
            "is not a valid kill selection",
        ),
    }
}

fn read_kill_selection(word: &str) -> Option<KillSelection> {
    match word {
        "YOUNGEST_FIRST" => Some(KillSelection::YoungestFirst),
        "OLDEST_FIRST" => Some(KillSelection::OldestFirst),
        _ => None,
    }
}

fn read_env_value(value: &Value, path: &str, faults: &mut Faults) -> Option<EnvValue> {
    if let Value::String(text) = value {
        return Some(EnvValue::Text(text.clone()));
    }
    // Marathon reads all that is no text as a reference to a secret, and so complains about the missing key.
    match value.get("secret") {
        Some(secret) => {
            let secret = string(secret, || format!("{path}/secret"), faults)?;
            Some(EnvValue::Secret { secret })
        }
        None => {
            faults.read(format!("{path}/secret"), "error.path.missing");
            None
        }
    }
}

fn read_secret(value: &Value, path: &str, faults: &mut Faults) -> Option<Secret> {
    let source = Object::new(value, path, faults)?.required_string("source", faults)?;
    Some(Secret { source })
}

/// `""`, `//cmd` or a path without empty segments.
fn read_executor(body: Object<'_>, faults: &mut Faults) -> Option<String> {
    let executor = body.string("executor", faults)?;
    let path = executor.strip_prefix('/').unwrap_or(&executor);
    if !executor.is_empty() && executor != "//cmd" && path.split('/').any(str::is_empty) {
        faults.read(body.at("executor"), "error.pattern");
    }
    Some(executor)
}

fn read_constraint(value: &Value, path: &str, faults: &mut Faults) -> Option<Constraint> {
    let words: Option<Vec<&str>> = value
        .as_array()
        .and_then(|words| words.iter().map(Value::as_str).collect());
    let (field, operator, value) = match words.as_deref() {
        Some(&[field, operator]) => (field, operator, None),
        Some(&[field, operator, value]) => (field, operator, Some(value.to_owned())),
        _ => {
            let form = "<key>, <operator>[, value]";
            let text = "Constraint definition must be an array of strings in format:";
            faults.read(path, format!("{text} {form}"));
            return None;
        }
    };
    let Some(operator) = Operator::parse(operator) else {
        let operators = "[UNIQUE, LIKE, CLUSTER, GROUP_BY, UNLIKE, MAX_PER]";
        faults.read(
            path,
            format!("Constraint operator must be one of the following: {operators}"),
        );
        return None;
    };
    Some(Constraint {
        field: field.to_owned(),
        operator,
        value,
    })
}

/// `fetch`, or `uris` turned into it.
fn read_fetch(body: Object<'_>, form: Form, faults: &mut Faults) -> Option<Vec<Fetch>> {
    let uris = body.strings("uris", faults);
    let fetch = body.objects("fetch", faults, read_fetch_item);
    let collide = match form {
        Form::Partial => uris.is_some() && fetch.is_some(),
        Form::Full => [uris.as_ref().map(Vec::len), fetch.as_ref().map(Vec::len)]
            .iter()
            .all(|n| n.is_some_and(|n| n > 0)),
    };
    if collide {
        faults.read(body.path, "You cannot specify both uris and fetch fields");
        return None;
    }
    let from_uri = |uri: String| Fetch {
        extract: form == Form::Partial || is_archive(&uri),
        uri,
        executable: false,
        cache: false,
        output_file: None,
    };
    match (uris, fetch) {
        (Some(uris), Some(fetch)) if uris.is_empty() => Some(fetch),
        (Some(uris), _) => Some(uris.into_iter().map(from_uri).collect()),
        (None, fetch) => fetch,
    }
}

fn read_fetch_item(item: Object<'_>, faults: &mut Faults) -> Option<Fetch> {
    let uri = item.required_string("uri", faults);
    let extract = item.boolean("extract", faults).unwrap_or(true);
    let executable = item.boolean("executable", faults).unwrap_or(false);
    let cache = item.boolean("cache", faults).unwrap_or(false);
    let output_file = item.string("outputFile", faults);
    Some(Fetch {
        uri: uri?,
        extract,
        executable,
        cache,
        output_file,
    })
}

fn read_upgrade_strategy(object: Object<'_>, faults: &mut Faults) -> Option<UpgradeStrategy> {
    Some(UpgradeStrategy {
        minimum_health_capacity: object
            .double("minimumHealthCapacity", faults)
            .unwrap_or(1.0),
        maximum_over_capacity: object.double("maximumOverCapacity", faults).unwrap_or(1.0),
    })
}

fn read_roles(body: Object<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let roles = body.strings("acceptedResourceRoles", faults)?;
    let is_empty = body
        .get("acceptedResourceRoles")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty);
    if is_empty {
        faults.read(body.at("acceptedResourceRoles"), "set must not be empty");
    }
    Some(without_duplicates(roles))
}

fn read_residency(object: Object<'_>, faults: &mut Faults) -> Option<Residency> {
    let known = |word: &str| {
        ["WAIT_FOREVER", "RELAUNCH_AFTER_TIMEOUT"]
            .contains(&word)
            .then(|| word.to_owned())
    };
    let timeout = object.seconds("relaunchEscalationTimeoutSeconds", faults);
    let behavior = object.word(
        "taskLostBehavior",
        faults,
        known,
        "is not a valid taskLostBehavior",
    );
    let default = Residency::default();
    Some(Residency {
        relaunch_escalation_timeout_seconds: timeout
            .unwrap_or(default.relaunch_escalation_timeout_seconds),
        task_lost_behavior: behavior.unwrap_or(default.task_lost_behavior),
    })
}

/// `portDefinitions`, or `ports` turned into them; both only if their numbers agree.
fn read_ports(body: Object<'_>, faults: &mut Faults) -> Option<Vec<PortDefinition>> {
    let ports = body.list("ports", faults, |value, path, faults| {
        let number = int(value, || path.to_owned(), faults)?;
        Some(port(number, || path.to_owned(), faults))
    });
    let definitions = body.objects("portDefinitions", faults, read_port_definition);
    if let Some(ports) = &ports
        && has_repeated_port(ports.iter().copied())
    {
        faults.read(body.at("ports"), "Ports must be unique.");
    }
    let Some(ports) = ports else {
        return definitions;
    };
    let Some(definitions) = definitions else {
        return Some(ports.into_iter().map(PortDefinition::plain).collect());
    };
    if !definitions
        .iter()
        .map(|definition| definition.port)
        .eq(ports)
    {
        faults.read(
            body.path,
            "You cannot specify both ports and port definitions",
        );
    }
    Some(definitions)
}

/// True if a number other than 0 is there twice.
pub(in crate::app) fn has_repeated_port(ports: impl Iterator<Item = u16>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    ports
        .filter(|port| *port != 0)
        .any(|port| !seen.insert(port))
}

fn read_port_definition(object: Object<'_>, faults: &mut Faults) -> Option<PortDefinition> {
    Some(PortDefinition {
        port: object.port("port", faults).unwrap_or(0),
        protocol: object
            .string("protocol", faults)
            .unwrap_or_else(|| "tcp".to_owned()),
        name: object.string("name", faults),
        labels: object.string_map("labels", faults).unwrap_or_default(),
    })
}

//! Laying the present keys of a body over an app: the defaults for a new one, the current values for an update.
//!
//! Whole values are replaced, never merged inside; what Marathon holds as a set keeps its current order when the
//! members are the same, so that an update that changes nothing gives an equal app. Source: contract marathon §1.2,
//! §1.5, §2.3.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::Hash;

use super::networks::{settle_networks, settle_ports};
use super::read::Parts;
use super::{
    App, Fault, HealthProtocol, KillSelection, PortDefinition, Residency, UpgradeStrategy, Volume,
};
use crate::id::AppId;
use crate::time::Timestamp;

/// The upgrade strategy of apps that hold something only one task can hold: volumes.
const WITH_VOLUMES: UpgradeStrategy = UpgradeStrategy {
    minimum_health_capacity: 0.5,
    maximum_over_capacity: 0.0,
};

/// An app with nothing but defaults. It breaks rules: it has neither command nor container.
pub(super) fn default_app(id: AppId, version: Timestamp) -> App {
    App {
        id,
        cmd: None,
        args: None,
        user: None,
        env: BTreeMap::new(),
        instances: 1,
        cpus: 1.0,
        mem: 128.0,
        disk: 0.0,
        gpus: 0,
        executor: String::new(),
        constraints: Vec::new(),
        fetch: Vec::new(),
        store_urls: Vec::new(),
        backoff_seconds: 1,
        backoff_factor: 1.15,
        max_launch_delay_seconds: 3600,
        container: None,
        health_checks: Vec::new(),
        readiness_checks: Vec::new(),
        dependencies: BTreeSet::new(),
        upgrade_strategy: UpgradeStrategy {
            minimum_health_capacity: 1.0,
            maximum_over_capacity: 1.0,
        },
        labels: BTreeMap::new(),
        accepted_resource_roles: None,
        ip_address: None,
        version,
        residency: None,
        secrets: BTreeMap::new(),
        task_kill_grace_period_seconds: None,
        port_definitions: vec![PortDefinition::plain(0)],
        require_ports: false,
        version_info: None,
        kill_selection: KillSelection::default(),
    }
}

/// `app` with the present keys replaced. Relative dependencies are resolved against `base`.
pub(super) fn overlay(mut app: App, parts: Parts, base: &AppId, faults: &mut Vec<Fault>) -> App {
    let Parts {
        cmd,
        args,
        user,
        env,
        instances,
        cpus,
        mem,
        disk,
        gpus,
        executor,
        constraints,
        fetch,
        store_urls,
        stored,
        backoff_seconds,
        backoff_factor,
        max_launch_delay_seconds,
        container,
        networks,
        health_checks,
        readiness_checks,
        dependencies,
        upgrade_strategy,
        labels,
        accepted_resource_roles,
        ip_address,
        residency,
        secrets,
        task_kill_grace_period_seconds,
        port_definitions,
        require_ports,
        kill_selection,
    } = parts;
    replace(&mut app.cmd, cmd.map(Some));
    replace(&mut app.args, args.map(Some));
    replace(&mut app.user, user.map(Some));
    replace(&mut app.env, env);
    replace(&mut app.instances, instances);
    replace(&mut app.cpus, cpus);
    replace(&mut app.mem, mem);
    replace(&mut app.disk, disk);
    replace(&mut app.gpus, gpus);
    replace(&mut app.executor, executor);
    replace_set(&mut app.constraints, constraints);
    replace(&mut app.fetch, fetch);
    replace(&mut app.store_urls, store_urls);
    for file in stored {
        if !app.fetch.iter().any(|known| known.uri == file.uri) {
            app.fetch.push(file);
        }
    }
    replace(&mut app.backoff_seconds, backoff_seconds);
    replace(&mut app.backoff_factor, backoff_factor);
    replace(&mut app.max_launch_delay_seconds, max_launch_delay_seconds);
    replace_set(&mut app.health_checks, health_checks);
    replace(&mut app.readiness_checks, readiness_checks);
    let resolved = |path: String| AppId::resolve(&path, base);
    let dependencies = dependencies.map(|paths| paths.into_iter().map(resolved).collect());
    replace(&mut app.dependencies, dependencies);
    replace(&mut app.upgrade_strategy, upgrade_strategy);
    replace(&mut app.labels, labels);
    match (&mut app.accepted_resource_roles, accepted_resource_roles) {
        (Some(current), roles) => replace_set(current, roles),
        (none, roles) => *none = roles,
    }
    replace(&mut app.residency, residency.map(Some));
    replace(&mut app.secrets, secrets);
    replace(
        &mut app.task_kill_grace_period_seconds,
        task_kill_grace_period_seconds.map(Some),
    );
    replace(&mut app.require_ports, require_ports);
    replace(&mut app.kill_selection, kill_selection);
    let had_ip_address = app.ip_address.is_some();
    settle_networks(&mut app, container, networks, ip_address, faults);
    settle_ports(&mut app, port_definitions, had_ip_address);
    app
}

/// What depends on the rest of a whole definition: residency, upgrade strategy, the checks' port index.
pub(super) fn fill_defaults(app: &mut App, lacks_residency: bool, lacks_strategy: bool) {
    if lacks_residency && app.volumes().any(|volume| volume.persistent.is_some()) {
        app.residency = Some(Residency::default());
    }
    let is_external = app.volumes().any(|volume| volume.external.is_some());
    if lacks_strategy && (app.is_resident() || is_external) {
        app.upgrade_strategy = WITH_VOLUMES;
    }
    if app.port_count() > 0 {
        for check in &mut app.health_checks {
            let is_command = check.protocol == HealthProtocol::Command;
            if check.port_index.is_none() && check.port.is_none() && !is_command {
                check.port_index = Some(0);
            }
        }
    }
}

/// What an update may not change once tasks hold volumes.
pub(super) fn resident_faults(current: &App, app: &App) -> Vec<Fault> {
    if !current.is_resident() {
        return Vec::new();
    }
    let fault = |text: &str| Fault {
        path: "/".to_owned(),
        errors: vec![text.to_owned()],
    };
    let mut faults = Vec::new();
    let persistent = |app: &App| -> Vec<Volume> {
        app.volumes()
            .filter(|volume| volume.persistent.is_some())
            .cloned()
            .collect()
    };
    if persistent(current) != persistent(app) {
        faults.push(fault("Persistent volumes can not be changed!"));
    }
    let resources = |app: &App| (app.cpus, app.mem, app.disk, app.gpus);
    if resources(current) != resources(app) || !are_same_ports(current, app) {
        faults.push(fault(
            "Resident Tasks may not change resource requirements!",
        ));
    }
    faults
}

/// True if the service ports are the same; 0 stands for the number assigned before.
fn are_same_ports(current: &App, app: &App) -> bool {
    let (before, after) = (current.service_ports(), app.service_ports());
    before.len() == after.len()
        && before
            .iter()
            .zip(&after)
            .all(|(before, after)| *after == 0 || before == after)
}

impl App {
    /// Puts what Marathon holds as sets into the order of `current` where the members are the same, so that a whole definition
    /// that changes nothing gives an equal app.
    pub fn keep_order_of(&mut self, current: &Self) {
        let mut constraints = current.constraints.clone();
        replace_set(
            &mut constraints,
            Some(std::mem::take(&mut self.constraints)),
        );
        self.constraints = constraints;
        let mut health_checks = current.health_checks.clone();
        replace_set(
            &mut health_checks,
            Some(std::mem::take(&mut self.health_checks)),
        );
        self.health_checks = health_checks;
        if let (Some(roles), Some(current)) = (
            &mut self.accepted_resource_roles,
            &current.accepted_resource_roles,
        ) {
            let mut kept = current.clone();
            replace_set(&mut kept, Some(std::mem::take(roles)));
            *roles = kept;
        }
    }
}

fn replace<T>(current: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *current = given;
    }
}

/// Replaces a list without duplicates unless it has the same members.
fn replace_set<T: Eq + Hash>(current: &mut Vec<T>, given: Option<Vec<T>>) {
    if let Some(given) = given {
        let is_same = given.len() == current.len()
            && given.iter().collect::<HashSet<_>>() == current.iter().collect();
        if !is_same {
            *current = given;
        }
    }
}

//! What the edge knows, and the routes made of it.
//!
//! Followers put in what they learn (apps, draining tasks); every change makes a new table at once, under one lock, and swaps
//! it in. The data path only reads the swapped pointer. When the source is away nothing is put in, so the last
//! table stays.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;
use zddcluster_client::marathon::{App, AppsAnswer};
use zddcluster_model::TaskId;

use crate::args::Config;
use crate::counters::Counters;
use crate::gateways;
use crate::labels::{Policy, Warning};
use crate::live::{Lease, Load, Moment, Registry, Routes};
use crate::passwords::Passwords;
use crate::proxy::pool::Broom;
use crate::start::Addresses;
use crate::table::{self, Rules};
use crate::tls::{OfServices, Tls};

/// What all parts of the edge share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The configuration.
    pub(crate) config: Config,
    policy: Policy,
    hidden_apps: BTreeSet<String>,
    /// The routes in use.
    pub(crate) routes: ArcSwap<Routes>,
    /// The loads of all tasks.
    pub(crate) registry: Registry,
    /// Counters of the fixed frontends.
    pub(crate) fixed: Fixed,
    /// Where the fixed listeners are.
    pub(crate) addresses: Addresses,
    /// What ends TLS, if it is served.
    pub(crate) tls: Option<Tls>,
    /// What ends TLS on service ports.
    pub(crate) tls_of_services: OfServices,
    /// What is odd about apps at the moment.
    pub(crate) warnings: ArcSwap<Vec<Warning>>,
    /// Passwords of clients.
    pub(crate) passwords: Passwords,
    /// Sweeps idle connections to servers.
    pub(crate) broom: Broom,
    /// When the edge started.
    pub(crate) started: Instant,
    /// How often everything was asked for anew, and how many of these wishes are fulfilled.
    wishes: watch::Sender<u64>,
    fulfilled: watch::Sender<u64>,
    /// Counts new routes; the listeners follow it.
    changes: watch::Sender<u64>,
    /// Whether apps were ever received.
    attached: watch::Sender<bool>,
    known: Mutex<Known>,
}

/// Counters of the frontends that are always there.
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) stats: Arc<Counters>,
    pub(crate) http: Arc<Counters>,
    pub(crate) https: Arc<Counters>,
    pub(crate) app_id: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Known {
    apps: BTreeMap<String, App>,
    /// The last word on the health of each task that is listed.
    last_health: BTreeMap<String, bool>,
    hosts: BTreeMap<String, IpAddr>,
    /// Tasks the master ordered to drain. Kept while they are listed, and a while longer: a late answer of Marathon must not
    /// bring one back.
    draining: HashMap<TaskId, (Instant, Arc<Load>)>,
    gateways: gateways::Set,
    /// The warnings already given, by app and its version.
    warned: HashMap<String, (String, BTreeSet<Warning>)>,
}

/// How long a draining task that is no longer listed is remembered: longer than any answer can be under way.
const DRAINED_MEMORY: std::time::Duration = std::time::Duration::from_secs(3600);

impl Shared {
    pub(crate) fn new(
        config: Config,
        policy: Policy,
        addresses: Addresses,
        tls: Option<Tls>,
    ) -> Self {
        let own_app = TaskId::new(config.edge_id.as_str())
            .app_id()
            .map(|id| id.to_string());
        let marathon = config.framework_name.as_ref();
        let marathon = marathon.map(|name| format!("/{}", name.trim_start_matches('/')));
        Self {
            config,
            policy,
            hidden_apps: own_app.into_iter().chain(marathon).collect(),
            routes: ArcSwap::default(),
            registry: Registry::default(),
            fixed: Fixed::default(),
            addresses,
            tls,
            tls_of_services: OfServices::default(),
            warnings: ArcSwap::default(),
            passwords: Passwords::default(),
            broom: Broom::default(),
            started: Instant::now(),
            wishes: watch::Sender::new(0),
            fulfilled: watch::Sender::new(0),
            changes: watch::Sender::new(0),
            attached: watch::Sender::new(false),
            known: Mutex::default(),
        }
    }

    /// The second of the process' life.
    pub(crate) fn second(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// A reading of the clock.
    pub(crate) fn now(&self) -> Moment {
        let at = Instant::now();
        let second = at.saturating_duration_since(self.started).as_secs();
        Moment { at, second }
    }

    /// Notes which backends have a server that takes traffic now.
    pub(crate) fn note_standings(&self) {
        for backend in &self.routes.load().backends {
            backend.note_standing();
        }
    }

    /// Changes whenever there are new routes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Becomes true when apps have been received for the first time.
    pub(crate) fn attached(&self) -> watch::Receiver<bool> {
        self.attached.subscribe()
    }

    /// Asks the follower to fetch everything anew, also if it is waiting to attach again. Returns the number of the wish.
    pub(crate) fn wish(&self) -> u64 {
        self.wishes.send_modify(|n| *n += 1);
        *self.wishes.borrow()
    }

    /// The wishes that a fetch fulfils if it begins now.
    pub(crate) fn wishes(&self) -> u64 {
        *self.wishes.borrow()
    }

    /// Notes that a fetch that began when there were `n` wishes has been taken in.
    pub(crate) fn fulfil(&self, n: u64) {
        self.fulfilled.send_replace(n);
    }

    /// Waits until the wish `n` is fulfilled. Cancel-safe.
    pub(crate) async fn fulfilled(&self, n: u64) {
        // The sender lives as long as `self`.
        let _ = self
            .fulfilled
            .subscribe()
            .wait_for(|fulfilled| *fulfilled >= n)
            .await;
    }

    /// Waits until there is a wish that is not fulfilled. Cancel-safe.
    pub(crate) async fn unfulfilled(&self) {
        let fulfilled = *self.fulfilled.borrow();
        let _ = self.wishes.subscribe().wait_for(|n| *n > fulfilled).await;
    }

    /// Whether some backend in use has no server but those of this task.
    pub(crate) fn is_last(&self, task_id: &TaskId) -> bool {
        let routes = self.routes.load();
        routes.table.backends.iter().any(|backend| {
            let mut servers = backend.servers.iter();
            !backend.servers.is_empty()
                && servers.all(|server| server.task_id == *task_id || server.is_draining)
        })
    }

    /// Takes the whole list of apps. One that could not be read stays as it was.
    pub(crate) fn put_all(&self, answer: AppsAnswer, hosts: BTreeMap<String, IpAddr>) {
        let mut known = self.lock();
        let mut before = std::mem::take(&mut known.apps);
        for (id, reason) in answer.unreadable {
            tracing::warn!(app_id = %id, reason, "cannot read the app: it stays as it was");
            if let Some(app) = before.remove(&id) {
                known.apps.insert(id, app);
            }
        }
        known
            .apps
            .extend(answer.apps.into_iter().map(|app| (app.id.clone(), app)));
        known.hosts = hosts;
        let listed: BTreeSet<TaskId> = {
            let tasks = known.apps.values().flat_map(|app| &app.tasks);
            tasks.map(|task| TaskId::new(&task.id)).collect()
        };
        known
            .draining
            .retain(|id, (since, _)| listed.contains(id) || since.elapsed() < DRAINED_MEMORY);
        known
            .last_health
            .retain(|id, _| listed.contains(&TaskId::new(id)));
        let Known { warned, apps, .. } = &mut *known;
        warned.retain(|id, _| apps.contains_key(id));
        self.rebuild(&mut known);
        drop(known);
        self.attached.send_replace(true);
    }

    /// Takes one app.
    pub(crate) fn put(&self, app: App, hosts: BTreeMap<String, IpAddr>) {
        let mut known = self.lock();
        known.hosts.extend(hosts);
        known.apps.insert(app.id.clone(), app);
        self.rebuild(&mut known);
    }

    /// Forgets an app.
    pub(crate) fn remove(&self, app_id: &str) {
        let mut known = self.lock();
        if known.apps.remove(app_id).is_some() {
            self.rebuild(&mut known);
        }
    }

    /// Makes the table anew of what is known.
    pub(crate) fn reapply(&self) {
        self.rebuild(&mut self.lock());
    }

    /// The gateways in use.
    pub(crate) fn gateways(&self) -> gateways::Set {
        self.lock().gateways.clone()
    }

    /// Takes these gateways instead of those in use.
    pub(crate) fn put_gateways(&self, gateways: gateways::Set) {
        let mut known = self.lock();
        known.gateways = gateways;
        self.rebuild(&mut known);
    }

    /// Whether a port is the edge's own, so that neither a service nor a gateway can have it.
    pub(crate) fn is_reserved(&self, port: u16) -> bool {
        self.policy.reserved.contains(&port) || self.policy.http_port == Some(port)
    }

    /// The apps with tasks that a running deployment calls not ready.
    pub(crate) fn unready(&self) -> Vec<String> {
        let known = self.lock();
        let is_unready = |app: &&App| app.readiness_check_results.iter().any(|it| !it.ready);
        known
            .apps
            .values()
            .filter(is_unready)
            .map(|app| app.id.clone())
            .collect()
    }

    /// The hosts that were resolved.
    pub(crate) fn hosts(&self) -> BTreeMap<String, IpAddr> {
        self.lock().hosts.clone()
    }

    /// Takes a task out of the routes for good and lets nothing new in; what is in flight goes on. Returns its load.
    pub(crate) fn drain(&self, task_id: &TaskId) -> Arc<Load> {
        let mut known = self.lock();
        if let Some((_, load)) = known.draining.get(task_id) {
            return Arc::clone(load);
        }
        let load = self.registry.load(task_id);
        known
            .draining
            .insert(task_id.clone(), (Instant::now(), Arc::clone(&load)));
        self.rebuild(&mut known);
        // After the swap: who is refused here finds a table that knows better.
        load.start_draining();
        load
    }

    /// Takes a lease by the routes of the moment. Where `take` gets none of them it is asked again if they were replaced
    /// meanwhile: a task may begin to drain while it is being chosen, and another serves instead of it by then.
    pub(crate) fn lease(&self, take: impl Fn(&Routes) -> Option<Lease>) -> Option<Lease> {
        let mut routes = self.routes.load();
        loop {
            if let Some(lease) = take(&routes) {
                return Some(lease);
            }
            let newest = self.routes.load();
            if Arc::ptr_eq(&routes, &newest) {
                return None;
            }
            routes = newest;
        }
    }

    fn rebuild(&self, known: &mut Known) {
        for app in known
            .apps
            .values()
            .filter(|app| !app.health_checks.is_empty())
        {
            for task in &app.tasks {
                if let Some(is_alive) = table::health(task) {
                    known.last_health.insert(task.id.clone(), is_alive);
                }
            }
        }
        let rules = Rules {
            policy: &self.policy,
            health_check: self.config.health_check,
            hidden_apps: &self.hidden_apps,
            draining: &|id| known.draining.contains_key(id),
            last_health: &known.last_health,
            hosts: &known.hosts,
            assignable: self.config.own_address_ports.as_ref(),
            gateways: &known.gateways,
        };
        let (table, warnings) = table::build(known.apps.values(), &rules);
        if **self.warnings.load() != warnings {
            self.warnings.store(Arc::new(warnings.clone()));
        }
        for warning in warnings {
            let version = known
                .apps
                .get(&warning.app_id)
                .map_or("", |app| app.version.as_str());
            warn_once(&mut known.warned, version, warning);
        }
        let old = self.routes.load_full();
        if table == old.table {
            return;
        }
        let diff = table.diff(&old.table);
        self.routes
            .store(Arc::new(self.registry.routes(table, &old)));
        self.note_standings();
        self.changes.send_modify(|n| *n += 1);
        if !diff.is_empty() {
            let names = |servers: &[(String, String)]| {
                servers
                    .iter()
                    .map(|(b, s)| format!("{b}/{s}"))
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            tracing::info!(
                opened = ?diff.opened,
                closed = ?diff.closed,
                added = names(&diff.added),
                removed = names(&diff.removed),
                "new routes"
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a warning unless this version of the app had it already.
fn warn_once(
    warned: &mut HashMap<String, (String, BTreeSet<Warning>)>,
    version: &str,
    warning: Warning,
) {
    let (known_version, given) = warned.entry(warning.app_id.clone()).or_default();
    if known_version != version {
        version.clone_into(known_version);
        given.clear();
    }
    if !given.contains(&warning) {
        tracing::warn!(app_id = %warning.app_id, about = %warning.subject, "{}", warning.text);
        given.insert(warning);
    }
}

#[cfg(test)]
mod tests;

//! The table in use: its servers with what is in flight on them, their idle connections and counters.
//!
//! A [`Routes`] is made anew for each table and swapped in atomically; what outlives a table is carried over
//! from the one before: a server by backend, name, task and address; a backend's turn and counters by name.
//!
//! # A request is never handed to a drained task
//! Everything in flight holds a [`Lease`]. Taking one counts first and looks at the task's draining flag then; draining
//! sets the flag first and looks at the count then. Both orders are sequentially consistent, so either the
//! taker sees the flag and gives up, or the drainer sees the count and waits.

mod gateway;
mod load;
mod split;
mod standing;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::time::Instant;
use zddcluster_model::TaskId;

pub(crate) use self::gateway::LiveGateway;
pub(crate) use self::load::Load;
pub(crate) use self::split::Split;
pub(crate) use self::standing::{History, Standing};
use crate::choose::{Rotation, hash_of, pick_by_hash};
use crate::counters::{Counters, Took};
use crate::gateways::condition::Asked;
use crate::health::Health;
use crate::labels::{Balance, Mode};
use crate::proxy::pool::Pool;
use crate::proxy::wire::Tally;
use crate::table::{Backend, Server, Table};

/// A reading of the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    /// The second of the process' life.
    pub(crate) second: u64,
}

/// A server that takes traffic, or did a moment ago.
#[derive(Debug)]
pub(crate) struct LiveServer {
    /// As in the table.
    pub(crate) spec: Server,
    /// What is counted.
    pub(crate) counters: Arc<Counters>,
    /// What is counted of its backend.
    pub(crate) backend: Arc<Counters>,
    /// Idle connections.
    pub(crate) pool: Pool,
    /// What the edge's checks say.
    pub(crate) health: Arc<Health>,
    load: Arc<Load>,
}

impl LiveServer {
    /// Whether it takes new requests. The answer may be outdated at once.
    pub(crate) fn is_open(&self) -> bool {
        !self.spec.is_draining && !self.health.is_down() && !self.load.is_draining()
    }

    /// What counts bytes towards the server: its own counter and its backend's.
    pub(crate) fn bytes_in(&self) -> Tally<'_> {
        (&self.counters.bytes_in, Some(&self.backend.bytes_in))
    }

    /// What counts bytes from the server.
    pub(crate) fn bytes_out(&self) -> Tally<'_> {
        (&self.counters.bytes_out, Some(&self.backend.bytes_out))
    }

    /// Counts something of the server and of its backend.
    pub(crate) fn count(&self, pick: impl Fn(&Counters) -> &AtomicU64) {
        for counters in [&self.counters, &self.backend] {
            pick(counters).fetch_add(1, Relaxed);
        }
    }

    /// Takes a lease for one request or connection; `None` if the task is draining.
    pub(crate) fn lease(self: &Arc<Self>, now: Moment) -> Option<Lease> {
        if !self.load.enter() {
            return None;
        }
        self.counters.begin(now.second);
        self.backend.begin(now.second);
        Some(Lease {
            server: Arc::clone(self),
            began: now,
            connected_at: now.at,
        })
    }
}

/// The right to have one request or connection in flight on a server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The server.
    pub(crate) server: Arc<LiveServer>,
    /// When it was taken.
    pub(crate) began: Moment,
    /// When there was a connection to the server.
    pub(crate) connected_at: Instant,
}

impl Lease {
    /// Ends it at `now`, and notes how long all took. `answered_at`: when the head of the answer was there.
    pub(crate) fn end(self, answered_at: Instant, now: Instant) {
        let (began, connected_at) = (self.began.at, self.connected_at);
        self.server.counters.times.note(Took {
            connect: connected_at.saturating_duration_since(began),
            response: answered_at.saturating_duration_since(connected_at),
            total: now.saturating_duration_since(began),
        });
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.server.counters.end();
        self.server.backend.end();
        self.server.load.leave();
    }
}

/// A backend of the table in use.
#[derive(Debug)]
pub(crate) struct LiveBackend {
    /// As in the table.
    pub(crate) spec: Arc<Backend>,
    /// Its name there, for connections that stay with it.
    pub(crate) name: Arc<str>,
    /// The servers, in table order.
    pub(crate) servers: Vec<Arc<LiveServer>>,
    /// One weight a server.
    weights: Vec<u32>,
    /// What outlives the table.
    pub(crate) kept: Arc<Kept>,
}

/// What outlives tables of a backend and its frontend.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    rotation: Rotation,
    /// The service listener's side.
    pub(crate) frontend: Arc<Counters>,
    /// The servers' side.
    pub(crate) backend: Arc<Counters>,
    /// Whether it has a server that takes traffic.
    pub(crate) standing: Standing,
}

impl LiveBackend {
    /// Average times of the last requests of each of its servers.
    pub(crate) fn times(&self) -> Took {
        let averages = |server: &Arc<LiveServer>| server.counters.times.averages();
        Took::mean(self.servers.iter().map(averages))
    }

    /// Notes whether it has a server that takes traffic now.
    pub(crate) fn note_standing(&self) {
        let is_up = self.servers.iter().any(|server| server.is_open());
        self.kept.standing.note(is_up);
    }

    /// Takes a lease on the server whose turn it is, leaving out those that `tried` holds, that drain or that are down.
    pub(crate) fn lease(&self, tried: &[SocketAddr], client: IpAddr, now: Moment) -> Option<Lease> {
        let usable = |at: usize| self.is_usable(at, tried);
        // A server may begin to drain between the choice and the lease: then the next one's turn comes.
        for _ in 0..=self.servers.len() {
            let at = match self.spec.options.balance {
                Balance::RoundRobin => self.kept.rotation.pick(&self.weights, usable)?,
                Balance::LeastConn => {
                    let load = |at: usize| self.servers[at].counters.sessions.now.load(Relaxed);
                    self.kept.rotation.pick_least(&self.weights, load, usable)?
                }
                Balance::Source => pick_by_hash(&self.weights, hash_of(client), usable)?,
            };
            if let Some(lease) = self.servers[at].lease(now) {
                return Some(lease);
            }
        }
        None
    }
}

impl LiveBackend {
    /// Takes a lease on a certain server, unless `tried` holds it, it drains or is down.
    pub(crate) fn lease_of(&self, at: usize, tried: &[SocketAddr], now: Moment) -> Option<Lease> {
        self.is_usable(at, tried)
            .then(|| self.servers[at].lease(now))
            .flatten()
    }

    /// Whether there is a server for a new request, leaving out those that `tried` holds.
    fn can_serve(&self, tried: &[SocketAddr]) -> bool {
        (0..self.servers.len()).any(|at| self.is_usable(at, tried))
    }

    fn is_usable(&self, at: usize, tried: &[SocketAddr]) -> bool {
        let server = &self.servers[at];
        server.is_open() && !tried.contains(&server.spec.address)
    }
}

/// The table in use.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// The table.
    pub(crate) table: Table,
    /// Its backends, at the table's positions.
    pub(crate) backends: Vec<Arc<LiveBackend>>,
    /// Its service listeners.
    pub(crate) ports: BTreeMap<u16, Split>,
    /// Vhosts that several apps share by weight, by the name of the split.
    splits: HashMap<String, Split>,
    /// Its gateways, by name.
    pub(crate) gateways: BTreeMap<String, Arc<LiveGateway>>,
}

/// What a new connection to a service listener begins with.
pub(crate) struct Beginning<'a> {
    /// The backend that its requests stay with, or the gateway.
    pub(crate) name: &'a Arc<str>,
    /// Who counts it.
    pub(crate) frontend: &'a Arc<Counters>,
    /// How it is understood.
    pub(crate) mode: Mode,
}

impl Routes {
    /// The backend for a request to the vhost port that no service claims otherwise. Servers that were `tried` count as not there for
    /// gateways.
    pub(crate) fn by_host(
        &self,
        host: &str,
        asked: &Asked<'_>,
        tried: &[SocketAddr],
    ) -> Option<&Arc<LiveBackend>> {
        if let Some(gateway) = self.table.claimed(host, asked.path) {
            return self.gateways.get(gateway)?.pick(Some(asked), tried);
        }
        let rule = self.table.matching(host, asked.path).next()?;
        match &rule.split {
            Some(split) => self.splits.get(split)?.pick("", Mode::Http),
            None => Some(&self.backends[rule.backend]),
        }
    }

    /// The backend for a request with an app id.
    pub(crate) fn by_app_id(&self, app_id: &str) -> Option<&Arc<LiveBackend>> {
        let at = self.table.by_app_id.get(&app_id.to_ascii_lowercase())?;
        Some(&self.backends[*at])
    }

    /// The backend for a request or connection in this mode on a service listener: whom its gateway chooses by what is `asked`, else
    /// that with the name `preferred` while it can serve, else another one on the port.
    pub(crate) fn by_port(
        &self,
        port: u16,
        preferred: &str,
        mode: Mode,
        asked: Option<&Asked<'_>>,
        tried: &[SocketAddr],
    ) -> Option<&Arc<LiveBackend>> {
        match self.gateway_at(port) {
            Some(gateway) => gateway.pick(asked, tried),
            None => self.ports.get(&port)?.pick(preferred, mode),
        }
    }

    /// What a new connection to a service listener begins with, if there is still one.
    pub(crate) fn begin(&self, port: u16) -> Option<Beginning<'_>> {
        if let Some(gateway) = self.gateway_at(port) {
            return Some(Beginning {
                name: &gateway.name,
                frontend: &gateway.frontend,
                mode: gateway.spec.spec.listen.mode.into(),
            });
        }
        let backend = self.ports.get(&port)?.begin()?;
        Some(Beginning {
            name: &backend.name,
            frontend: &backend.kept.frontend,
            mode: backend.spec.mode,
        })
    }

    fn gateway_at(&self, port: u16) -> Option<&Arc<LiveGateway>> {
        self.gateways.get(self.table.gateway_ports.get(&port)?)
    }
}

/// Makes [`Routes`] of tables and knows every task's load.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Every task with a server in a table in use. Weak: an old table that a request still holds keeps its loads
    /// alive, and nobody can take a lease on a load that is gone.
    loads: Mutex<HashMap<TaskId, Weak<Load>>>,
}

impl Registry {
    /// The load of a task, new if nobody holds one.
    pub(crate) fn load(&self, task_id: &TaskId) -> Arc<Load> {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get(task_id).and_then(Weak::upgrade) {
            return load;
        }
        let load = Arc::new(Load::default());
        loads.insert(task_id.clone(), Arc::downgrade(&load));
        load
    }

    /// Whether a task that is in no table any more, or drains in it, still has something in flight.
    pub(crate) fn has_leftovers(&self, routes: &Routes) -> bool {
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = loads
            .iter()
            .filter(|(_, load)| load.upgrade().is_some_and(|l| l.in_flight() > 0));
        let mut servers = busy.map(|(task_id, _)| {
            let mut servers = routes.backends.iter().flat_map(|backend| &backend.servers);
            servers.any(|server| server.spec.task_id == *task_id && !server.spec.is_draining)
        });
        servers.any(|is_listed| !is_listed)
    }

    /// Makes the routes of `table`, keeping of `old` what is the same. Idle connections to servers that are gone are
    /// closed.
    pub(crate) fn routes(&self, table: Table, old: &Routes) -> Routes {
        let kept: HashMap<&str, &Arc<LiveBackend>> = old
            .backends
            .iter()
            .map(|backend| (backend.spec.name.as_str(), backend))
            .collect();
        let live = |spec: &Arc<Backend>| {
            let before = kept.get(spec.name.as_str());
            let kept = before.map_or_else(Arc::default, |before| Arc::clone(&before.kept));
            let fall = spec.check.as_ref().map(|check| check.fall);
            let server = |server: &Server| {
                let former = before
                    .and_then(|before| before.servers.iter().find(|s| s.spec.name == server.name));
                if let Some(former) = former.filter(|former| former.spec == *server) {
                    former.health.follow(fall, server.is_draining);
                    return Arc::clone(former);
                }
                // Health belongs to the name, as in the original; what was counted to the task.
                let health = former.map_or_else(
                    || Arc::new(Health::new(fall, server.is_draining)),
                    |former| Arc::clone(&former.health),
                );
                health.follow(fall, server.is_draining);
                let of_task = former.filter(|former| former.spec.task_id == server.task_id);
                Arc::new(LiveServer {
                    spec: server.clone(),
                    counters: of_task
                        .map_or_else(Arc::default, |former| Arc::clone(&former.counters)),
                    backend: Arc::clone(&kept.backend),
                    pool: Pool::default(),
                    health,
                    load: self.load(&server.task_id),
                })
            };
            Arc::new(LiveBackend {
                spec: Arc::clone(spec),
                name: spec.name.as_str().into(),
                servers: spec.servers.iter().map(server).collect(),
                weights: spec.servers.iter().map(|server| server.weight).collect(),
                kept,
            })
        };
        let backends: Vec<_> = table.backends.iter().map(live).collect();
        let live = |at: &Vec<usize>| at.iter().map(|&at| Arc::clone(&backends[at])).collect();
        let port = |(port, at): (&u16, _)| (*port, Split::new(live(at), old.ports.get(port)));
        let split =
            |(name, at): (&String, _)| (name.clone(), Split::new(live(at), old.splits.get(name)));
        let ports = table.ports.iter().map(port).collect();
        let splits = table.splits.iter().map(split).collect();
        let gateways = gateway::all(&table, &backends, &old.gateways);
        let routes = Routes {
            table,
            ports,
            splits,
            backends,
            gateways,
        };

        let servers = |routes: &Routes| -> Vec<Arc<LiveServer>> {
            routes
                .backends
                .iter()
                .flat_map(|backend| backend.servers.iter().cloned())
                .collect()
        };
        let kept: HashSet<_> = servers(&routes).iter().map(Arc::as_ptr).collect();
        for gone in servers(old)
            .iter()
            .filter(|server| !kept.contains(&Arc::as_ptr(server)))
        {
            gone.pool.close();
        }
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.retain(|_, load| load.strong_count() > 0);
        routes
    }
}

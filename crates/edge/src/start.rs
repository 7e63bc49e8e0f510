//! Starting and ending the edge.
//!
//! Order of the start: bind the fixed ports, follow, drain, listen. Order of the end: stop accepting, stop following, let what is in
//! flight finish for [`GRACE`].

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use zddcluster_client::HttpClient;
use zddcluster_runtime::{OnFailure, StillRunning, Tasks, Token};

use crate::args::Config;
use crate::bind::{Bound, bind};
use crate::checks;
use crate::drain;
use crate::follow::follow;
use crate::gateways::file::{self, FileError};
use crate::labels::Policy;
use crate::listeners::{Listeners, Role};
use crate::proxy::pool::Pool;
use crate::source::Source;
use crate::state::Shared;
use crate::tls::Tls;
use crate::workers::Workers;

/// How long requests in flight may go on after SIGTERM: as long as the master waits for a draining task.
const GRACE: Duration = Duration::from_secs(10);
/// Where clients look for TLS; no service may have it.
const HTTPS: u16 = 443;

/// Why the edge did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Any free port was asked for, and there is none.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The file of gateways is there and cannot be used.
    #[error(transparent)]
    Gateways(#[from] FileError),
    /// No threads for traffic.
    #[error("cannot start the threads that carry traffic")]
    Workers(#[source] io::Error),
}

/// Where the fixed listeners are, or will be once their port is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Vhosts, if they are served.
    pub http: Option<SocketAddr>,
    /// Vhosts with TLS, if they are served.
    pub https: Option<SocketAddr>,
    /// Statistics and administration.
    pub stats: SocketAddr,
    /// Routing by app id.
    pub app_id: SocketAddr,
}

/// A running edge.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    tasks: Tasks,
    addresses: Addresses,
}

impl Handle {
    /// Where the fixed listeners are.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Waits until Marathon has been heard for the first time. Cancel-safe.
    pub async fn attached(&self) {
        let mut attached = self.shared.attached();
        // The sender lives as long as `self`.
        let _ = attached.wait_for(|attached| *attached).await;
    }

    /// Stops accepting and lets what is in flight finish.
    ///
    /// # Errors
    /// When something was still in flight after 10 s; it goes on until the process ends.
    pub async fn shut_down(&self) -> Result<(), StillRunning> {
        self.tasks.shut_down(GRACE).await
    }
}

/// Starts the edge as tasks below `tasks`.
///
/// # Errors
/// When any free port was asked for and there is none, or the file of gateways cannot be used; a given port that is taken is tried
/// again.
pub async fn start(config: Config, tasks: &Tasks) -> Result<Handle, StartError> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    for note in &config.notes {
        tracing::info!("{note}");
    }
    let at = |port| SocketAddr::new(config.bind, port);
    let ports = config.ports;
    let tasks = tasks.child("edge");
    let workers = Workers::start(&tasks, config.threads).map_err(StartError::Workers)?;
    let n = workers.len();
    let (stats, stats_listener) = bind_fixed(at(ports.stats), 1)?;
    let (app_id, app_id_listener) = bind_fixed(at(ports.app_id), n)?;
    let mut fixed = vec![
        (stats.port(), Role::Stats, stats_listener),
        (app_id.port(), Role::AppIds, app_id_listener),
    ];
    let http = if config.bind_http {
        let (http, listener) = bind_or(at(ports.http), at(ports.http_unprivileged), |it| {
            bind(it, n)
        })?;
        fixed.push((http.port(), Role::Http, listener));
        Some(http)
    } else {
        None
    };
    let (https, tls) = match tls(&config) {
        Some(tls) => {
            let (https, listener) = bind_or(at(ports.https), at(ports.https_unprivileged), |it| {
                bind(it, n)
            })?;
            fixed.push((https.port(), Role::Https, listener));
            (Some(https), Some(tls))
        }
        None => (None, None),
    };
    let addresses = Addresses {
        http,
        https,
        stats,
        app_id,
    };
    tracing::info!(?http, ?https, %stats, %app_id, edge_id = %config.edge_id, "edge started");

    let policy = Policy {
        groups: config.groups.clone(),
        strict_mode: config.strict_mode,
        has_token: config.token.is_some(),
        http_port: http.map(|address| address.port()),
        reserved: BTreeSet::from([
            HTTPS,
            https.map_or(HTTPS, |https| https.port()),
            stats.port(),
            app_id.port(),
        ]),
    };
    let token = tasks.token().clone();
    let source = Arc::new(Source::new(config.marathon.clone()));
    let shared = Arc::new(Shared::new(config, policy, addresses, tls));
    if let Some(path) = &shared.config.gateways {
        let gateways = file::load(path, |port| shared.is_reserved(port))?;
        shared.put_gateways(gateways);
    }
    let authorization = shared.config.token.as_ref().map(Token::authorization);
    let client = HttpClient::new().with_authorization(authorization);
    let (orders, draining) = drain::queue();
    tasks.spawn(
        "listeners",
        OnFailure::Shutdown,
        Listeners::new(Arc::clone(&shared), tasks.clone(), workers, fixed).keep(token.clone()),
    );
    tasks.spawn(
        "follow",
        OnFailure::Shutdown,
        follow(
            Arc::clone(&shared),
            Arc::clone(&source),
            client.clone(),
            token.clone(),
        ),
    );
    tasks.spawn(
        "drain orders",
        OnFailure::Shutdown,
        drain::follow_orders(
            Arc::clone(&shared),
            Arc::clone(&source),
            client.clone(),
            orders,
            token.clone(),
        ),
    );
    tasks.spawn(
        "drain acknowledgements",
        OnFailure::Shutdown,
        drain::acknowledge(Arc::clone(&shared), source, client, draining, token.clone()),
    );
    tasks.spawn(
        "checks",
        OnFailure::Shutdown,
        checks::keep(Arc::clone(&shared), token.clone()),
    );
    let swept = Arc::clone(&shared);
    tasks.spawn("sweep", OnFailure::Shutdown, async move {
        let pools = |visit: &mut dyn FnMut(&Pool)| {
            let routes = swept.routes.load();
            let servers = routes.backends.iter().flat_map(|backend| &backend.servers);
            servers.for_each(|server| visit(&server.pool));
        };
        tokio::select! {
            // Cancel-safe: nothing is done any more.
            () = token.cancelled() => {}
            () = swept.broom.sweep(pools) => {}
        }
        Ok(())
    });
    Ok(Handle {
        shared,
        tasks,
        addresses,
    })
}

/// What ends TLS, if vhosts are served; without it all else goes on.
fn tls(config: &Config) -> Option<Tls> {
    if !config.bind_http {
        return None;
    }
    match Tls::new(config.certificates.clone()) {
        Ok((tls, faults)) => {
            for fault in faults {
                let error = &fault as &dyn std::error::Error;
                tracing::warn!(error, "a certificate cannot be used: another one is served");
            }
            Some(tls)
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, "no certificate can be made: TLS is not served");
            None
        }
    }
}

/// Binds a fixed port, or the other one if the process may not have it.
fn bind_or(
    wanted: SocketAddr,
    otherwise: SocketAddr,
    bind: impl Fn(SocketAddr) -> io::Result<Bound>,
) -> Result<(SocketAddr, Option<Bound>), StartError> {
    match bind(wanted) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            tracing::info!(
                wanted = wanted.port(),
                used = otherwise.port(),
                "may not bind the port for vhosts: another one is used"
            );
            taken_or_bound(otherwise, bind(otherwise))
        }
        bound => taken_or_bound(wanted, bound),
    }
}

/// Binds a fixed port. One that is taken comes without a listener, to be tried again.
fn bind_fixed(address: SocketAddr, n: usize) -> Result<(SocketAddr, Option<Bound>), StartError> {
    taken_or_bound(address, bind(address, n))
}

fn taken_or_bound(
    address: SocketAddr,
    bound: io::Result<Bound>,
) -> Result<(SocketAddr, Option<Bound>), StartError> {
    match bound.and_then(|bound| Ok((bound.local_addr()?, Some(bound)))) {
        Ok(bound) => Ok(bound),
        Err(source) if address.port() == 0 => Err(StartError::Bind { address, source }),
        // Warned about when it is tried again.
        Err(_) => Ok((address, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_the_process_may_not_have_is_another_one() {
        // contract: lb-unprivileged, lb-taken-port
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let bound = |refusal: io::ErrorKind| {
            let bind = move |address: SocketAddr| match address.port() {
                80 => Err(refusal.into()),
                _ => bind(at(0), 1),
            };
            bind_or(at(80), at(8000), bind).unwrap()
        };
        let (address, listener) = bound(io::ErrorKind::PermissionDenied);
        assert_eq!(Some(address), listener.map(|it| it.local_addr().unwrap()));
        assert_ne!(address.port(), 80);
        // One that is taken is waited for.
        let (address, listener) = bound(io::ErrorKind::AddrInUse);
        assert!(listener.is_none());
        assert_eq!(address, at(80));
    }
}

//! Starts the role.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use zddcluster_client::HttpClient;
use zddcluster_client::mesos::MesosMaster;
use zddcluster_runtime::{OnFailure, Tasks, Token, serve};

use crate::config::{ConfigError, ForwardConfig, MasterAddress, ZoneConfig};
use crate::follow::{Follower, REREAD};
use crate::forward::Forwarder;
use crate::gateways;
use crate::http::{self, Counts, HttpConfig, Shown};
use crate::poll::Poller;
use crate::publish::{Current, Publisher};
use crate::server::{Served, serve_tcp};
use crate::udp::serve_udp;
use crate::zone::Zone;

/// What the role needs.
#[derive(Debug)]
pub struct Config {
    /// Where the state of the cluster comes from.
    pub source: Source,
    /// What the master wants to see of its callers, if it does.
    pub token: Option<Token>,
    /// Bound; served once the first state was read. Nothing is answered over UDP without.
    pub udp: Option<UdpSocket>,
    /// Bound; served once the first state was read. Nothing is answered over TCP without.
    pub tcp: Option<TcpListener>,
    /// The HTTP API; none without.
    pub http: Option<HttpConfig>,
    /// How records are made and answers given.
    pub zone: ZoneConfig,
    /// What happens to names outside of the domain.
    pub forward: ForwardConfig,
    /// The `config.json` these settings came from, if any; only told.
    pub file: Option<String>,
}

/// Where the state of the cluster comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A master of ours, which tells of every change.
    Follow {
        /// The root of its Mesos API, for example `http://127.0.0.1:5050`.
        master: String,
    },
    /// Any Mesos masters, which are asked for the whole state again and again.
    Poll {
        /// The first one tried first.
        masters: Vec<MasterAddress>,
        /// How often.
        refresh: Duration,
        /// How long that may take.
        state_timeout: Duration,
    },
}

impl Source {
    /// How often everything is read anew.
    pub(crate) fn refresh(&self) -> Duration {
        match self {
            Self::Follow { master: _ } => REREAD,
            Self::Poll { refresh, .. } => *refresh,
        }
    }
}

/// Why the role cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error("the DNS configuration cannot be used")]
    Config(#[from] ConfigError),
    /// A socket does not tell where it is bound.
    #[error("a DNS socket cannot be used")]
    Socket(#[from] io::Error),
}

/// The running role. It runs until its tasks are shut down; dropping this does not end it.
#[derive(Debug, Clone)]
pub struct Handle {
    udp: Option<SocketAddr>,
    tcp: Option<SocketAddr>,
    http: Option<SocketAddr>,
    current: Current,
    is_ready: watch::Receiver<bool>,
}

impl Handle {
    /// Where queries are answered over UDP.
    pub fn udp_address(&self) -> Option<SocketAddr> {
        self.udp
    }

    /// Where queries are answered over TCP.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Where the HTTP API is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Waits until the first state was read and queries are answered. Returns at once ever after, and never when the
    /// role is shut down before. Cancel-safe.
    pub async fn ready(&self) {
        let mut is_ready = self.is_ready.clone();
        if is_ready.wait_for(|&is_ready| is_ready).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The zone being served; `None` before the first state was read.
    pub fn zone(&self) -> Option<Arc<Zone>> {
        self.current.load_full()
    }
}

/// Starts the role: it follows the master and serves the sockets until `tasks` is shut down.
///
/// # Errors
/// When the configuration or a socket cannot be used. A master that cannot be reached is no error: it is waited for.
///
/// # Panics
/// When called outside of a tokio runtime.
pub fn start(config: Config, tasks: &Tasks) -> Result<Handle, StartError> {
    let Config {
        source,
        token,
        udp,
        tcp,
        http,
        zone,
        forward,
        file,
    } = config;
    zone.validate()?;
    forward.validate(&zone.domain)?;
    let tasks = tasks.child("dns");
    let current: Current = Arc::new(ArcSwapOption::empty());
    let counts = Arc::new(Counts::default());
    let (ready_sender, is_ready) = watch::channel(false);
    let handle = Handle {
        udp: udp.as_ref().map(UdpSocket::local_addr).transpose()?,
        tcp: tcp.as_ref().map(TcpListener::local_addr).transpose()?,
        http: http
            .as_ref()
            .map(|http| http.listener.local_addr())
            .transpose()?,
        current: Arc::clone(&current),
        is_ready: is_ready.clone(),
    };
    let forwarder = Forwarder::new(&forward).map(Arc::new);
    let own = [handle.udp, handle.tcp];
    let machine = &zone.name_server;
    let is_own = |to: &SocketAddr| own.iter().flatten().any(|&own| reaches(*to, own, machine));
    let mut resolvers = forwarder.iter().flat_map(|it| it.everybody());
    if let Some(resolver) = resolvers.find(is_own) {
        return Err(ConfigError::Itself { resolver }.into());
    }
    drop(resolvers);
    let served = Served {
        current: Arc::clone(&current),
        is_ready,
        counts: Arc::clone(&counts),
        forwarder,
    };
    if let (Some(http), Some(address)) = (http, handle.http) {
        let HttpConfig {
            listener,
            allowed_hosts,
            enumeration_on,
        } = http;
        let shown = Shown {
            current: Arc::clone(&current),
            source: source.clone(),
            zone: zone.clone(),
            forward,
            dns: handle.tcp.or(handle.udp),
            http: address,
            enumeration_on,
            file,
            counts: Arc::clone(&counts),
        };
        let router = http::router(shown, allowed_hosts);
        let token = tasks.token().clone();
        tasks.spawn("http", OnFailure::Shutdown, serve(listener, router, token));
    }
    let client = HttpClient::new().with_authorization(token.as_ref().map(Token::authorization));
    let (gateways_sender, gateways) = watch::channel(Vec::new());
    if let Some(base) = zone.gateways_url.clone().filter(|_| zone.extras) {
        let poller = gateways::Poller {
            http: client.clone(),
            base,
            gateways: gateways_sender,
        };
        let token = tasks.token().clone();
        tasks.spawn("gateways", OnFailure::Log, poller.run(token));
    }
    let publisher = Publisher::new(zone, gateways, current, ready_sender, counts);
    let token = tasks.token().clone();
    match source {
        Source::Follow { master } => {
            let follower = Follower {
                master: MesosMaster::new(client, &master),
                publisher,
            };
            tasks.spawn("follow", OnFailure::Shutdown, follower.run(token.clone()));
        }
        Source::Poll {
            masters,
            refresh,
            state_timeout,
        } => {
            let poller = Poller {
                masters,
                http: client,
                refresh,
                state_timeout,
                publisher,
            };
            tasks.spawn("poll", OnFailure::Shutdown, poller.run(token.clone()));
        }
    }
    if let Some(udp) = udp {
        let serving = serve_udp(udp, served.clone(), token.clone());
        tasks.spawn("udp", OnFailure::Shutdown, serving);
    }
    if let Some(tcp) = tcp {
        let serving = serve_tcp(tcp, served, token);
        tasks.spawn("tcp", OnFailure::Shutdown, serving);
    }
    Ok(handle)
}

/// Whether what is sent to `to` arrives at a socket bound at `own`, on a machine with these addresses.
fn reaches(to: SocketAddr, own: SocketAddr, machine: &[IpAddr]) -> bool {
    let ip = match to.ip().to_canonical() {
        // As the kernel takes it.
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    let is_here = own.ip().is_unspecified() && (ip.is_loopback() || machine.contains(&ip));
    to.port() == own.port() && (ip == own.ip().to_canonical() || is_here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_reached_by_more_names_than_its_own() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let machine = ["10.0.0.5".parse().expect("an address")];
        let everywhere = at("0.0.0.0:53");
        for to in [
            "0.0.0.0:53",
            "127.0.0.1:53",
            "10.0.0.5:53",
            "[::ffff:10.0.0.5]:53",
        ] {
            assert!(reaches(at(to), everywhere, &machine), "{to}");
        }
        for to in ["10.0.0.6:53", "10.0.0.5:54", "8.8.8.8:53"] {
            assert!(!reaches(at(to), everywhere, &machine), "{to}");
        }
        let one = at("127.0.0.1:53");
        assert!(reaches(at("0.0.0.0:53"), one, &machine));
        assert!(!reaches(at("10.0.0.5:53"), one, &machine));
        assert!(!reaches(at("127.0.0.2:53"), one, &machine));
    }
}

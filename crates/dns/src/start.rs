//! Starts the role.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use zddcluster_client::HttpClient;
use zddcluster_client::mesos::MesosMaster;
use zddcluster_runtime::{OnFailure, Tasks, Token, serve};

use crate::config::{ConfigError, ZoneConfig};
use crate::follow::{Current, Follower, Link};
use crate::gateways::Poller;
use crate::http::{self, Counts, HttpConfig, Shown};
use crate::server::{Served, serve_tcp};
use crate::udp::serve_udp;
use crate::zone::Zone;

/// What the role needs.
#[derive(Debug)]
pub struct Config {
    /// The root of the Mesos master's API, for example `http://127.0.0.1:5050`.
    pub master: String,
    /// What the master wants to see of its callers, if it does.
    pub token: Option<Token>,
    /// Bound; served once the first state was read.
    pub udp: UdpSocket,
    /// Bound; served once the first state was read.
    pub tcp: TcpListener,
    /// The HTTP API; none without.
    pub http: Option<HttpConfig>,
    /// How records are made and answers given.
    pub zone: ZoneConfig,
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
    udp: SocketAddr,
    tcp: SocketAddr,
    http: Option<SocketAddr>,
    current: Current,
    is_ready: watch::Receiver<bool>,
}

impl Handle {
    /// Where queries are answered over UDP.
    pub fn udp_address(&self) -> SocketAddr {
        self.udp
    }

    /// Where queries are answered over TCP.
    pub fn tcp_address(&self) -> SocketAddr {
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
        master,
        token,
        udp,
        tcp,
        http,
        zone,
    } = config;
    zone.validate()?;
    let tasks = tasks.child("dns");
    let current: Current = Arc::new(ArcSwapOption::empty());
    let counts = Arc::new(Counts::default());
    let (ready_sender, is_ready) = watch::channel(false);
    let handle = Handle {
        udp: udp.local_addr()?,
        tcp: tcp.local_addr()?,
        http: http
            .as_ref()
            .map(|http| http.listener.local_addr())
            .transpose()?,
        current: Arc::clone(&current),
        is_ready: is_ready.clone(),
    };
    let served = Served {
        current: Arc::clone(&current),
        is_ready,
        counts: Arc::clone(&counts),
    };
    if let (Some(http), Some(address)) = (http, handle.http) {
        let HttpConfig {
            listener,
            allowed_hosts,
            enumeration_on,
        } = http;
        let shown = Shown {
            current: Arc::clone(&current),
            config: zone.clone(),
            dns: handle.tcp,
            http: address,
            enumeration_on,
            counts: Arc::clone(&counts),
        };
        let router = http::router(shown, allowed_hosts);
        let token = tasks.token().clone();
        tasks.spawn("http", OnFailure::Shutdown, serve(listener, router, token));
    }
    let client = HttpClient::new().with_authorization(token.as_ref().map(Token::authorization));
    let (gateways_sender, gateways) = watch::channel(Vec::new());
    if let Some(base) = zone.gateways_url.clone().filter(|_| zone.extras) {
        let poller = Poller {
            http: client.clone(),
            base,
            gateways: gateways_sender,
        };
        let token = tasks.token().clone();
        tasks.spawn("gateways", OnFailure::Log, poller.run(token));
    }
    let follower = Follower {
        master: MesosMaster::new(client, &master),
        config: zone,
        gateways,
        current,
        is_ready: ready_sender,
        link: Link::Starting,
        counts,
        skipped: Vec::new(),
    };
    let token = tasks.token().clone();
    tasks.spawn("follow", OnFailure::Shutdown, follower.run(token.clone()));
    tasks.spawn(
        "udp",
        OnFailure::Shutdown,
        serve_udp(udp, served.clone(), token.clone()),
    );
    tasks.spawn("tcp", OnFailure::Shutdown, serve_tcp(tcp, served, token));
    Ok(handle)
}

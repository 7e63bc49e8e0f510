//! The roles of a cluster, wired and started in one process.
//!
//! They meet on the wire only: agents and DNS are given the master's addresses, as if they were elsewhere. Each gets a node of
//! the task tree, so that a failure carries its name: `master/…`, `agent/…`, `dns/…`.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use zddcluster_agent::Containerizer;
use zddcluster_dns::{Settings, Source};
use zddcluster_runtime::{Tasks, Token};
use zddcluster_store::Store;

use crate::containerizer::Choice;
use crate::fault::Fault;
use crate::interfaces;
use crate::listeners::Listeners;
use crate::logging;
use crate::plan::{AgentPlan, Plan};

/// Where DNS looks for a master if nothing is said.
pub(crate) const MESOS_URL: &str = "http://127.0.0.1:5050";

/// Where in the data directory the artifact store is.
pub(crate) const ARTIFACTS: &str = "artifacts";

/// Everything the roles are started from.
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) listeners: Listeners,
    pub(crate) store: Box<dyn Store>,
    pub(crate) data_dir: PathBuf,
    pub(crate) speed: f64,
    /// SIGTERM waits for the edges.
    pub(crate) drains: bool,
    pub(crate) clock_offset_seconds: i64,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) containerizer: Choice,
    /// DNS answers as the RFCs say.
    pub(crate) dns_extras: bool,
}

/// A cluster that runs.
pub(crate) struct Cluster {
    master: zddcluster_master::Handle,
    agents: Vec<zddcluster_agent::Handle>,
    dns: zddcluster_dns::Handle,
}

impl Cluster {
    /// Starts the master, then the agents and DNS that look for it.
    pub(crate) async fn start(parts: Parts, tasks: &Tasks) -> Result<Self, Fault> {
        let Parts {
            plan,
            listeners,
            store,
            data_dir,
            speed,
            drains,
            clock_offset_seconds,
            allowed_hosts,
            containerizer,
            dns_extras,
        } = parts;
        let gateways_url = plan.edge_admin().map(|edge| format!("http://{edge}"));
        let Listeners {
            front,
            mesos,
            dns_udp,
            dns_tcp,
            dns_http,
            agents,
            dns_note: _,
        } = listeners;
        let master_url = format!("http://{}", plan.front);

        let master = master(
            MasterParts {
                front,
                mesos,
                store,
                artifacts: data_dir.join(ARTIFACTS),
                speed,
                drains,
                clock_offset_seconds,
                allowed_hosts: allowed_hosts.clone(),
                token: None,
                shown: (None, None),
                mesos_dns: Some(dns_http.local_addr()?),
            },
            tasks,
        )
        .await?;
        let executable = executable()?;
        let containerizer = containerizer
            .make(
                &executable,
                built_in_env(&master_url, speed, drains, &allowed_hosts),
                tasks,
            )
            .await?;
        let mut running = Vec::new();
        for (plan, listener) in plan.agents.into_iter().zip(agents) {
            let work_dir = data_dir.join(plan.dir_name());
            let master_url = master_url.clone();
            let parts = AgentParts {
                plan,
                listener,
                master_url,
                work_dir,
                allowed_hosts: allowed_hosts.clone(),
                token: None,
                executable: executable.clone(),
                containerizer: Arc::clone(&containerizer),
            };
            running.push(agent(parts, tasks).await?);
        }
        let dns = dns(
            DnsParts {
                dns: Some((dns_udp, dns_tcp)),
                http: Some(dns_http),
                allowed_hosts,
                mesos_url: format!("http://{}", plan.mesos),
                settings: Settings::default(),
                extras: dns_extras,
                gateways_url,
                token: None,
            },
            tasks,
        )?;
        Ok(Self {
            master,
            agents: running,
            dns,
        })
    }

    /// Resolves when every role does its work: agents are registered, names are answered. Cancel-safe.
    pub(crate) async fn ready(&self) {
        let n_agents = self.agents.len();
        self.master
            .wait_until(|state| {
                state
                    .agents
                    .values()
                    .filter(|agent| agent.is_connected)
                    .count()
                    >= n_agents
            })
            .await;
        self.dns.ready().await;
    }

    /// No more writes; every task gets SIGTERM and this long to end. `Err` if some did not.
    pub(crate) async fn stop_tasks(&self, grace: Duration) -> Result<(), Fault> {
        match self.master.stop_tasks(grace).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::failure(anyhow!(
                "after {} s some tasks still run",
                grace.as_secs()
            ))),
            Err(error) => Err(Fault::failure(error)),
        }
    }
}

/// What a master is started from.
pub(crate) struct MasterParts {
    pub(crate) front: TcpListener,
    pub(crate) mesos: TcpListener,
    pub(crate) store: Box<dyn Store>,
    /// Directory of the artifact store.
    pub(crate) artifacts: PathBuf,
    pub(crate) speed: f64,
    /// SIGTERM waits for the edges.
    pub(crate) drains: bool,
    pub(crate) clock_offset_seconds: i64,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) token: Option<Token>,
    /// Where front door and Mesos API are reached, if not where they listen.
    pub(crate) shown: (Option<SocketAddr>, Option<SocketAddr>),
    /// The DNS role's HTTP API.
    pub(crate) mesos_dns: Option<SocketAddr>,
}

/// Starts a master.
pub(crate) async fn master(
    parts: MasterParts,
    tasks: &Tasks,
) -> Result<zddcluster_master::Handle, Fault> {
    let MasterParts {
        front,
        mesos,
        store,
        artifacts,
        speed,
        drains,
        clock_offset_seconds,
        allowed_hosts,
        token,
        shown,
        mesos_dns,
    } = parts;
    let front = tokio::net::TcpListener::from_std(front)?;
    let mesos = tokio::net::TcpListener::from_std(mesos)?;
    let mut config = zddcluster_master::Config::new(front, mesos, store);
    config.speed = speed;
    config.drain = drains;
    config.allowed_hosts = allowed_hosts;
    config.token = token;
    (config.shown_front, config.shown_mesos) = shown;
    config.mesos_dns = mesos_dns;
    config.artifacts = Some(artifacts);
    config.log = logging::in_use();
    config.log_tail = logging::tail();
    config.clock_offset_millis = clock_offset_seconds.saturating_mul(1000);
    zddcluster_master::start(config, tasks)
        .await
        .map_err(Fault::settings)
}

/// What an agent is started from.
pub(crate) struct AgentParts {
    pub(crate) plan: AgentPlan,
    pub(crate) listener: TcpListener,
    pub(crate) master_url: String,
    pub(crate) work_dir: PathBuf,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) token: Option<Token>,
    pub(crate) executable: PathBuf,
    pub(crate) containerizer: Arc<dyn Containerizer>,
}

/// This program's own file.
pub(crate) fn executable() -> Result<PathBuf, Fault> {
    Ok(std::env::current_exe().context("this executable has no path")?)
}

/// What built-in images get beside their apps' own environment. `drains`: SIGTERM waits for the edges.
pub(crate) fn built_in_env(
    master_url: &str,
    speed: f64,
    drains: bool,
    allowed_hosts: &[String],
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::from([
        ("ZDD_MARATHON_URL".to_owned(), master_url.to_owned()),
        ("ZDD_SPEED".to_owned(), speed.to_string()),
    ]);
    if !allowed_hosts.is_empty() {
        env.insert("ZDD_ALLOW_HOST".to_owned(), allowed_hosts.join(","));
    }
    if !drains {
        // Nothing of ours covers up what a kill without drain breaks.
        env.insert("ZDD_NO_RESEND".to_owned(), "1".to_owned());
    }
    env
}

/// Starts an agent.
pub(crate) async fn agent(
    parts: AgentParts,
    tasks: &Tasks,
) -> Result<zddcluster_agent::Handle, Fault> {
    let AgentParts {
        plan,
        listener,
        master_url,
        work_dir,
        allowed_hosts,
        token,
        executable,
        containerizer,
    } = parts;
    let role = plan.role().to_owned();
    let AgentPlan {
        address,
        port: _,
        is_public: _,
        resources,
        attributes,
    } = plan;
    let config = zddcluster_agent::Config {
        master_url,
        hostname: address.to_string(),
        listener: tokio::net::TcpListener::from_std(listener)?,
        work_dir,
        role,
        attributes,
        resources,
        executable,
        // The containerizer has it.
        builtin_env: BTreeMap::new(),
        allowed_hosts,
        token,
        containerizer: Some(containerizer),
        log_tail: logging::tail(),
    };
    zddcluster_agent::start(config, tasks)
        .await
        .map_err(Fault::settings)
}

/// What a DNS server is started from.
pub(crate) struct DnsParts {
    /// Where DNS is answered, if it is.
    pub(crate) dns: Option<(UdpSocket, TcpListener)>,
    /// Where the HTTP API is, if there is one.
    pub(crate) http: Option<TcpListener>,
    /// Names by which the HTTP API may be asked.
    pub(crate) allowed_hosts: Vec<String>,
    /// The master to follow, if the settings do not list some to poll.
    pub(crate) mesos_url: String,
    pub(crate) settings: Settings,
    /// Answers as the RFCs say.
    pub(crate) extras: bool,
    /// The edge's admin port.
    pub(crate) gateways_url: Option<String>,
    pub(crate) token: Option<Token>,
}

/// Starts a DNS server, which names itself and its master by the addresses they have.
pub(crate) fn dns(parts: DnsParts, tasks: &Tasks) -> Result<zddcluster_dns::Handle, Fault> {
    let DnsParts {
        dns,
        http,
        mut allowed_hosts,
        mesos_url,
        settings,
        extras,
        gateways_url,
        token,
    } = parts;
    let own = dns.as_ref().map(|(_, tcp)| tcp.local_addr()).transpose()?;
    let own = own.unwrap_or_else(|| settings.dns_address());
    let mut zone = settings.zone_at(interfaces::reached_at(own.ip()));
    zone.extras = extras;
    zone.gateways_url = gateways_url;
    let source = if settings.follows {
        let address = mesos_url.strip_prefix("http://");
        let address = address.and_then(|address| address.trim_end_matches('/').parse().ok());
        zone.masters = address.into_iter().collect();
        Source::Follow { master: mesos_url }
    } else {
        Source::Poll {
            masters: settings.masters,
            refresh: settings.refresh,
            state_timeout: settings.state_timeout,
        }
    };
    let (udp, tcp) = dns.unzip();
    let http = http.map(tokio::net::TcpListener::from_std).transpose()?;
    if let Some(http) = &http {
        // It may be asked by any address that it is reached at, which is no name that could be pointed elsewhere.
        let reached_at = interfaces::reached_at(http.local_addr()?.ip());
        allowed_hosts.extend(reached_at.iter().map(ToString::to_string));
    }
    let config = zddcluster_dns::Config {
        source,
        token,
        udp: udp.map(tokio::net::UdpSocket::from_std).transpose()?,
        tcp: tcp.map(tokio::net::TcpListener::from_std).transpose()?,
        http: http.map(|listener| zddcluster_dns::HttpConfig {
            listener,
            allowed_hosts,
            enumeration_on: settings.enumeration_on,
        }),
        zone,
        forward: settings.forward,
        file: settings.file,
    };
    zddcluster_dns::start(config, tasks).map_err(Fault::settings)
}

//! The settings of the roles on their own.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{ConfigArgs, HostArgs, MemberArgs, TokenArgs};
use super::tools::DnsVerb;
use super::up::{Containerizer, DataDirArgs, LogArgs};
use super::value::{self, AttributeSpec, ResourceSpec};

/// The settings of `master`.
#[derive(Clone, Debug, Args)]
pub struct MasterArgs {
    /// Where the Marathon API and everything else for users listens
    #[arg(long, env = "ZDD_FRONT", value_name = "ADDRESS:PORT", default_value_t = loopback(1, 8080))]
    pub front: SocketAddr,
    /// Where the Mesos master API listens
    #[arg(long, env = "ZDD_MESOS", value_name = "ADDRESS:PORT", default_value_t = loopback(1, 5050))]
    pub mesos: SocketAddr,
    /// Where the front door is reached, if not where it listens
    #[arg(long, env = "ZDD_SHOWN_FRONT", value_name = "ADDRESS:PORT")]
    pub shown_front: Option<SocketAddr>,
    /// Where the Mesos master API is reached, if not where it listens
    #[arg(long, env = "ZDD_SHOWN_MESOS", value_name = "ADDRESS:PORT")]
    pub shown_mesos: Option<SocketAddr>,
    /// Where the HTTP API of DNS is, which the front door shows below /mesos_dns [default: port 8123 beside the Mesos master API]
    #[arg(long, env = "ZDD_MESOS_DNS", value_name = "ADDRESS:PORT")]
    pub mesos_dns: Option<SocketAddr>,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub hosts: HostArgs,
    #[command(flatten)]
    data_dir: DataDirArgs,
    /// Divide the control plane's times by N
    #[arg(long, env = "ZDD_SPEED", value_name = "N", default_value_t = 1.0, value_parser = value::speed)]
    pub speed: f64,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// Send SIGTERM without waiting for the edges to drain the task
    #[arg(long, env = "ZDD_NO_DRAIN", hide = true)]
    pub no_drain: bool,
}

impl MasterArgs {
    /// `--data-dir`, if given: see [`data_dir`](crate::data_dir).
    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.get()
    }
}

/// The settings of `agent`.
#[derive(Clone, Debug, Args)]
pub struct AgentArgs {
    /// The master's front door
    #[arg(
        long,
        env = "ZDD_MASTER_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub master: String,
    /// The address of the agent and its tasks
    #[arg(long, env = "ZDD_HOSTNAME", value_name = "ADDRESS", default_value_t = Ipv4Addr::new(127, 0, 0, 11))]
    pub hostname: Ipv4Addr,
    /// The port of the agent's API
    #[arg(long, env = "ZDD_AGENT_PORT", default_value_t = 5051)]
    pub port: u16,
    /// Offer the resources for public apps
    #[arg(long, env = "ZDD_PUBLIC")]
    pub public: bool,
    /// What the agent offers [default: cpus:4;mem:14861;disk:35577]
    #[arg(long, env = "ZDD_RESOURCES", value_name = "RESOURCES", default_value_t = ResourceSpec::default(), hide_default_value = true)]
    pub resources: ResourceSpec,
    /// Its attributes, for constraints: rack:a;zone:north
    #[arg(long, env = "ZDD_ATTRIBUTES", value_name = "ATTRIBUTES", default_value_t = AttributeSpec::default(), hide_default_value = true)]
    pub attributes: AttributeSpec,
    /// Where sandboxes are kept
    #[arg(long, env = "ZDD_WORK_DIR", value_name = "DIR")]
    pub work_dir: PathBuf,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub hosts: HostArgs,
    /// What runs the tasks
    #[arg(long, env = "ZDD_CONTAINERIZER", value_enum, default_value_t = Containerizer::Auto)]
    pub containerizer: Containerizer,
    /// Divide the control plane's times by N; must be the master's
    #[arg(long, env = "ZDD_SPEED", value_name = "N", default_value_t = 1.0, value_parser = value::speed)]
    pub speed: f64,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The settings of `dns`.
#[derive(Clone, Debug, Args)]
pub struct DnsArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<DnsVerb>,
    /// The master of a zddcluster to follow
    #[arg(
        long,
        env = "ZDD_MESOS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:5050"
    )]
    pub master: Option<String>,
    /// Masters of any Mesos, whose state is read again and again instead; the first one is tried first
    #[arg(
        long,
        env = "ZDD_DNS_MASTERS",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub masters: Vec<String>,
    /// How often their state is read [default: 60]
    #[arg(long, env = "ZDD_DNS_REFRESH_SECONDS", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub refresh_seconds: Option<u64>,
    /// Where queries are answered, UDP and TCP
    #[arg(
        long,
        env = "ZDD_DNS_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8053"
    )]
    pub listen: Option<SocketAddr>,
    /// Where Mesos-DNS' HTTP API and /metrics are [default: port 8123 where queries are answered, or another one if it is taken]
    #[arg(long, env = "ZDD_DNS_HTTP", value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// The domain of all names
    #[arg(long, env = "ZDD_DNS_DOMAIN", default_value = "mesos")]
    pub domain: Option<String>,
    /// Seconds an answer may be kept
    #[arg(
        long,
        env = "ZDD_DNS_TTL",
        value_name = "SECONDS",
        default_value = "60"
    )]
    pub ttl: Option<u32>,
    /// Forward questions about names outside of the domain, which are refused otherwise
    #[arg(
        long,
        env = "ZDD_DNS_EXTERNALON",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub externalon: Option<bool>,
    /// Name servers to forward to, the first one tried first [default: those of /etc/resolv.conf]
    #[arg(
        long,
        env = "ZDD_DNS_RESOLVERS",
        value_name = "IP[:PORT]",
        value_delimiter = ','
    )]
    pub resolvers: Vec<String>,
    /// Name servers for a zone and all below it; a zone may be given several times
    #[arg(
        long,
        env = "ZDD_DNS_ZONE_RESOLVERS",
        value_name = "ZONE=IP[:PORT]",
        value_delimiter = ','
    )]
    pub zone_resolvers: Vec<String>,
    /// How long each of them is waited for [default: 5]
    #[arg(long, env = "ZDD_DNS_TIMEOUT", value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Answer as the RFCs say where Mesos-DNS does not, with EDNS, and name addresses and gateways
    #[arg(long, env = "ZDD_DNS_EXTRAS")]
    pub dns_extras: bool,
    /// The edge's admin port, whose gateways make the weights of services; with --dns-extras
    #[arg(long, env = "ZDD_GATEWAYS_URL", value_name = "URL")]
    pub gateways_url: Option<String>,
    #[command(flatten)]
    pub hosts: HostArgs,
    #[command(flatten)]
    pub member: MemberArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The settings of `edge`: marathon-lb's own command line, which the edge reads itself, and a few of ours before it. Those of
/// marathon-lb are here too, so that a file may have them; on the command line they count wherever they stand.
#[derive(Clone, Debug, Args)]
pub struct EdgeArgs {
    /// Marathon's address; the next one is taken when it does not answer
    #[arg(long, short = 'm', value_name = "URL")]
    pub marathon: Vec<String>,
    /// The group whose services are exposed; `*` for all; may be given more than once
    #[arg(long, env = "ZDD_GROUP", value_name = "NAME", value_delimiter = ',')]
    pub group: Vec<String>,
    /// Send traffic only to tasks whose health checks are good
    #[arg(long, short = 'H', env = "ZDD_HEALTH_CHECK")]
    pub health_check: bool,
    /// List vhosts and apps at the admin port
    #[arg(long, env = "ZDD_HAPROXY_MAP")]
    pub haproxy_map: bool,
    /// Expose only services whose label HAPROXY_0_ENABLED (or _1_, ...) is true
    #[arg(long, env = "ZDD_STRICT_MODE")]
    pub strict_mode: bool,
    /// Do not serve vhosts
    #[arg(long, env = "ZDD_DONT_BIND_HTTP_HTTPS")]
    pub dont_bind_http_https: bool,
    /// Believe what proxies at these addresses and networks say of their clients; may be given more than once
    #[arg(
        long,
        env = "ZDD_TRUST_FORWARDED",
        value_name = "NETWORK",
        value_delimiter = ','
    )]
    pub trust_forwarded: Vec<String>,
    /// Keep gateways here, so that they outlive the edge
    #[arg(long, env = "ZDD_GATEWAYS", value_name = "FILE")]
    pub gateways: Option<PathBuf>,
    /// The address to listen on
    #[arg(long, env = "HOST", value_name = "ADDRESS", default_value_t = Ipv4Addr::LOCALHOST)]
    pub host: Ipv4Addr,
    #[command(flatten)]
    pub member: MemberArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    config: ConfigArgs,
    /// As for marathon-lb, for instance `sse -m http://master.mesos:8080 --group external`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub args: Vec<OsString>,
}

/// The test service has no flags: it is set up by its environment, as in the lab.
#[derive(Clone, Copy, Debug, Args)]
pub struct SimpleserviceArgs {}

/// An address of the default cluster.
const fn loopback(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), port)
}

//! All sockets of a cluster, bound before anything starts: either all of them are ours, or nothing happened.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use tracing::warn;

use crate::plan::Plan;
use crate::sockets;

/// What is bound, blocking mode off, ready for tokio.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) front: TcpListener,
    pub(crate) mesos: TcpListener,
    pub(crate) dns_udp: UdpSocket,
    pub(crate) dns_tcp: TcpListener,
    pub(crate) dns_http: TcpListener,
    /// In the order of the plan's agents.
    pub(crate) agents: Vec<TcpListener>,
    /// Why DNS is not on its well-known port; none if it is.
    pub(crate) dns_note: Option<String>,
}

/// An address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("{}; hint: {}", self.finding(), self.hint())]
pub(crate) struct BindError {
    address: SocketAddr,
    /// Who has it, in words.
    holder: Option<String>,
    #[source]
    source: io::Error,
}

impl BindError {
    /// What is wrong.
    pub(crate) fn finding(&self) -> String {
        let used_by = used_by(self.holder.as_deref());
        format!("cannot listen on {}{used_by}", self.address)
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        hint(&self.source, self.address)
    }

    /// Whether it is a right that is missing.
    pub(crate) fn is_denied(&self) -> bool {
        self.source.kind() == io::ErrorKind::PermissionDenied
    }
}

fn used_by(holder: Option<&str>) -> String {
    holder.map_or_else(String::new, |holder| format!(", which {holder} uses"))
}

fn hint(error: &io::Error, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "end that program, or start this cluster in another net, for instance with --net 127.0.1.0/24"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            format!("this system has no loopback address {}; Linux has all of 127.0.0.0/8", address.ip())
        }
        _ => "choose another net with --net".to_owned(),
    }
}

impl Listeners {
    /// Binds everything in the plan.
    pub(crate) fn bind(plan: &Plan) -> Result<Self, BindError> {
        let front = tcp(plan.front)?;
        let mesos = tcp(plan.mesos)?;
        let agents = plan
            .agents
            .iter()
            .map(|agent| tcp(agent.api()))
            .collect::<Result<Vec<_>, _>>()?;
        let [well_known, other] = plan.dns;
        let (dns_udp, dns_tcp, dns_note) = match dns(well_known) {
            Ok((udp, tcp)) => (udp, tcp, None),
            Err(error) => {
                let reason = match error.is_denied() {
                    true => "only root may bind port 53".to_owned(),
                    false => error.to_string(),
                };
                warn!(port = other.port(), %reason, "DNS is on another port than its own");
                let (udp, tcp) = dns(other)?;
                (udp, tcp, Some(reason))
            }
        };
        let dns_http = dns_http(plan.dns_http)?;
        Ok(Self {
            front,
            mesos,
            dns_udp,
            dns_tcp,
            dns_http,
            agents,
            dns_note,
        })
    }
}

/// Binds one TCP address.
pub(crate) fn tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let listener = TcpListener::bind(address).map_err(|source| bind_error(address, source))?;
    listener.set_nonblocking(true).map_err(|source| BindError {
        address,
        holder: None,
        source,
    })?;
    Ok(listener)
}

/// Binds an address for UDP and TCP.
pub(crate) fn dns(address: SocketAddr) -> Result<(UdpSocket, TcpListener), BindError> {
    let tcp = tcp(address)?;
    let udp = UdpSocket::bind(address)
        .and_then(|udp| udp.set_nonblocking(true).map(|()| udp))
        .map_err(|source| BindError {
            address,
            holder: None,
            source,
        })?;
    Ok((udp, tcp))
}

/// Binds the DNS role's HTTP API. Its clients come through the front door, so that any port will do where its own is taken.
pub(crate) fn dns_http(wanted: SocketAddr) -> Result<TcpListener, BindError> {
    tcp(wanted).or_else(|error| {
        warn!(%error, "the HTTP API of DNS is on another port than its own");
        tcp(SocketAddr::new(wanted.ip(), 0))
    })
}

fn bind_error(address: SocketAddr, source: io::Error) -> BindError {
    let holder = match (source.kind(), address) {
        (io::ErrorKind::AddrInUse, SocketAddr::V4(wanted)) => sockets::listening()
            .into_iter()
            .find(|socket| socket.blocks(*wanted.ip(), wanted.port()))
            .and_then(|socket| sockets::owner(&socket))
            .map(|(pid, command)| describe(pid, &command)),
        _ => None,
    };
    BindError {
        address,
        holder,
        source,
    }
}

/// `zddcluster up --net …` reads as another cluster, all else by its command.
pub(crate) fn describe(pid: u32, command: &str) -> String {
    let mut words = command.split(' ');
    let program = words
        .next()
        .unwrap_or_default()
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if program == "zddcluster" && words.next() == Some("up") {
        format!("another cluster (pid {pid}: {command})")
    } else {
        format!("pid {pid} ({command})")
    }
}

#[cfg(test)]
mod tests {
    use zddcluster_cli::ResourceSpec;

    use super::*;

    #[test]
    fn a_taken_address_is_named_with_its_holder() {
        // A net of this test's own.
        let plan = Plan::new(
            "127.91.3.0/24".parse().unwrap(),
            0,
            1,
            &ResourceSpec::default(),
            &[],
        );
        let first = Listeners::bind(&plan).unwrap();
        let error = Listeners::bind(&plan).unwrap_err().to_string();
        assert!(error.contains("127.91.3.1:8080"), "{error}");
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        assert!(error.contains("--net"), "{error}");
        drop(first);
        Listeners::bind(&plan).unwrap();
    }

    #[test]
    fn another_cluster_reads_as_one() {
        assert_eq!(
            describe(7, "/x/zddcluster up --net 127.0.0.0/24"),
            "another cluster (pid 7: /x/zddcluster up --net 127.0.0.0/24)"
        );
        assert_eq!(
            describe(8, "python3 -m http.server"),
            "pid 8 (python3 -m http.server)"
        );
    }
}

//! Addresses and ports of a default cluster in this net, the names below `mesos`, and other clusters.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use zddcluster_cli::{Check, Examined, ResourceSpec};

use crate::listeners::{self, BindError};
use crate::plan::{FRONT_PORT, Plan};
use crate::sockets;

/// A name that every cluster has.
const LEADER: &str = "leader.mesos";
/// How long the machine's resolver may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// Where the edge serves vhosts, if it may, and where not.
const VHOSTS: [(u16, u16); 2] = [(80, 8000), (443, 8443)];
/// Statistics and app ids.
const EDGE_PORTS: [u16; 2] = [9090, 9091];

pub(super) async fn examine(examined: &Examined) -> Vec<Check> {
    // What `up` starts without flags.
    let plan = Plan::new(examined.net, 1, 2, &ResourceSpec::default(), &[]);
    let mut checks = match &examined.running {
        Some(cluster) => vec![
            Check::ok(
                "ports",
                format!("held by the cluster at {}", cluster.front_url()),
            ),
            dns_in_use(cluster.addresses.dns),
            names(cluster.addresses.front.ip(), cluster.addresses.dns).await,
        ],
        None => {
            let mut checks = ports(&plan);
            checks.push(dns(&plan));
            checks.extend(edge(&plan));
            checks
        }
    };
    checks.extend(others(&plan));
    checks
}

/// What a cluster cannot start without.
fn ports(plan: &Plan) -> Vec<Check> {
    let agents = plan.agents.iter().map(|agent| agent.api());
    let addresses: Vec<SocketAddr> = [plan.front, plan.mesos].into_iter().chain(agents).collect();
    let faults: Vec<Check> = addresses
        .iter()
        .filter_map(|address| listeners::tcp(*address).err())
        .map(|error| Check::fault("ports", error.finding(), error.hint()))
        .collect();
    match faults.as_slice() {
        [] => {
            let shown: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            vec![Check::ok("ports", format!("{} are free", shown.join(", ")))]
        }
        _ => faults,
    }
}

fn dns(plan: &Plan) -> Check {
    let [well_known, other] = plan.dns;
    let Err(error) = listeners::dns(well_known) else {
        return Check::ok("DNS", format!("{well_known} is free"));
    };
    match listeners::dns(other) {
        Ok(_) => Check::warning(
            "DNS",
            format!("{}; it will be {other}", reason(&error)),
            if error.is_denied() {
                format!(
                    "start the cluster as root, or let everybody have the port: sysctl net.ipv4.ip_unprivileged_port_start={}",
                    well_known.port()
                )
            } else {
                error.hint()
            },
        ),
        Err(error) => Check::fault("DNS", error.finding(), error.hint()),
    }
}

fn dns_in_use(dns: SocketAddr) -> Check {
    match dns.port() {
        53 => Check::ok("DNS", format!("answers at {dns}")),
        _ => Check::warning(
            "DNS",
            format!("answers at {dns}, where few programs ask"),
            "as root, `zddcluster up` takes port 53 if it is free",
        ),
    }
}

fn edge(plan: &Plan) -> Vec<Check> {
    let Some(public) = plan.agents.iter().find(|agent| agent.is_public) else {
        return Vec::new();
    };
    let mut checks = Vec::new();
    let bind = |port: u16| listeners::tcp((public.address, port).into());
    for (port, instead) in VHOSTS {
        if let Err(error) = bind(port) {
            checks.push(Check::warning(
                "edge",
                format!("{}; it will be {instead}", reason(&error)),
                if error.is_denied() {
                    format!("start the cluster as root, or: sysctl net.ipv4.ip_unprivileged_port_start={port}")
                } else {
                    error.hint()
                },
            ));
        }
    }
    for port in EDGE_PORTS {
        if let Err(error) = bind(port) {
            checks.push(Check::warning("edge", error.finding(), error.hint()));
        }
    }
    if checks.is_empty() {
        let address = public.address;
        checks.push(Check::ok(
            "edge",
            format!("80, 443, 9090 and 9091 are free on {address}"),
        ));
    }
    checks
}

fn reason(error: &BindError) -> String {
    match error.is_denied() {
        true => format!("{}: only root may", error.finding()),
        false => error.finding(),
    }
}

/// Whether this machine resolves the cluster's names.
async fn names(leader: IpAddr, dns: SocketAddr) -> Check {
    let lookup = tokio::net::lookup_host((LEADER, FRONT_PORT));
    let found: Vec<IpAddr> = match tokio::time::timeout(RESOLVE_LIMIT, lookup).await {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let hint = match dns.port() {
        53 => {
            "`zddcluster shell` opens a shell in which they do; `zddcluster dns install` has the whole machine resolve them"
        }
        _ => "`zddcluster dns install` has the machine resolve them",
    };
    match found.as_slice() {
        [] => Check::warning(
            "names",
            "names below mesos do not resolve on this machine",
            hint,
        ),
        found if found.contains(&leader) => {
            Check::ok("names", format!("{LEADER} resolves to {leader}"))
        }
        [other, ..] => Check::warning(
            "names",
            format!("{LEADER} resolves to {other}, which is another cluster's"),
            hint,
        ),
    }
}

/// Clusters in other nets, beside which this one can run.
fn others(plan: &Plan) -> Vec<Check> {
    let fronts = sockets::listening().into_iter().filter(|socket| {
        let ip = *socket.address.ip();
        socket.address.port() == FRONT_PORT && ip.is_loopback() && IpAddr::V4(ip) != plan.front.ip()
    });
    let owned = fronts.filter_map(|socket| {
        let (pid, command) = sockets::owner(&socket)?;
        let who = listeners::describe(pid, &command);
        who.starts_with("another cluster")
            .then(|| Check::ok("others", format!("{who} at {}", socket.address)))
    });
    owned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zddcluster_cli::Verdict;

    fn plan(net: &str) -> Plan {
        Plan::new(net.parse().unwrap(), 1, 2, &ResourceSpec::default(), &[])
    }

    #[test]
    fn a_taken_port_is_a_fault_with_its_holder() {
        // A net of this test's own.
        let plan = plan("127.91.4.0/24");
        assert_eq!(ports(&plan)[0].verdict, Verdict::Ok);
        let _taken = std::net::TcpListener::bind(plan.mesos).unwrap();
        let checks = ports(&plan);
        assert_eq!(checks.len(), 1, "{checks:?}");
        assert_eq!(checks[0].verdict, Verdict::Fault);
        let finding = &checks[0].finding;
        let pid = format!("pid {}", std::process::id());
        assert!(
            finding.contains("127.91.4.1:5050") && finding.contains(&pid),
            "{finding}"
        );
        // And what was bound to look is free again.
        assert_eq!(ports(&plan).len(), 1);
    }

    #[test]
    fn without_port_53_another_is_taken() {
        let plan = plan("127.91.6.0/24");
        let [well_known, other] = plan.dns;
        // Where it may not be bound, it need not be taken.
        let _taken = std::net::TcpListener::bind(well_known);
        let check = dns(&plan);
        assert_eq!(check.verdict, Verdict::Warning);
        assert!(check.finding.contains(&other.to_string()), "{check:?}");
        let _taken_too = std::net::TcpListener::bind(other).unwrap();
        assert_eq!(dns(&plan).verdict, Verdict::Fault);
        assert_eq!(dns_in_use(other).verdict, Verdict::Warning);
        assert_eq!(dns_in_use(well_known).verdict, Verdict::Ok);
    }
}

//! Who lives where: the addresses, roles and resources of a cluster's parts. Pure.
//!
//! ```text
//!   .1         master: front door 8080, Mesos API 5050, DNS 53 or 8053, its HTTP API 8123
//!   .2 - .10   public agents, API 5051; the edge binds 80/443, 9090, 9091 and service ports on the first of them
//!   .11 - .254 private agents, API 5051
//! ```
//!
//! Dynamic ports. All agents live on one host, and a task may bind every address at once, so no two agents draw from the same
//! ports: [`DYNAMIC`] is cut into slices. In a cluster of up to twelve agents an agent keeps its slice whatever the others do
//! (private ones count from the bottom, public ones from the top), so that an adopted task's ports stay its agent's.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use zddcluster_cli::{AttributeSpec, LoopbackNet, ResourceSpec};
use zddcluster_model::agent::Resources;

/// The front door: UI, Marathon API, admin router.
pub(crate) const FRONT_PORT: u16 = 8080;

/// The Mesos master API.
const MESOS_PORT: u16 = 5050;

/// The agent API.
const AGENT_PORT: u16 = 5051;

/// DNS, where it may be bound, and where not.
pub(crate) const DNS_PORTS: [u16; 2] = [53, 8053];

/// Mesos-DNS' HTTP API.
pub(crate) const DNS_HTTP_PORT: u16 = 8123;

/// Dynamic ports: above what the lab's apps declare, below the kernel's ephemeral range (32768 and up). Inclusive.
const DYNAMIC: (u16, u16) = (20_000, 31_999);

/// The edge's statistics and gateways.
const EDGE_ADMIN_PORT: u16 = 9090;

/// What the names of the agents' directories begin with.
pub(crate) const AGENT_DIR_PREFIX: &str = "agent-";

/// A slice's width in a cluster of up to twelve agents.
const SLICE: u16 = 1000;

/// What a node of the lab's cluster offers (m3.xlarge): shown to users, not measured on this host.
const NOMINAL: (f64, f64, f64) = (4.0, 14_861.0, 35_577.0);

/// Port ranges of a DC/OS private agent.
const PRIVATE_PORTS: [(u16, u16); 6] = [
    (1025, 2180),
    (2182, 3887),
    (3889, 5049),
    (5052, 8079),
    (8082, 8180),
    (8182, 32_000),
];

/// Port ranges of a DC/OS public agent.
const PUBLIC_PORTS: [(u16, u16); 3] = [(1, 21), (23, 5050), (5052, 32_000)];

/// The whole cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Front door and Marathon API.
    pub(crate) front: SocketAddr,
    /// Mesos master API.
    pub(crate) mesos: SocketAddr,
    /// DNS, in order of preference.
    pub(crate) dns: [SocketAddr; 2],
    /// The DNS role's HTTP API, if the port is free.
    pub(crate) dns_http: SocketAddr,
    /// Public agents first.
    pub(crate) agents: Vec<AgentPlan>,
}

/// One agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentPlan {
    /// Where it and its tasks live.
    pub(crate) address: Ipv4Addr,
    /// Port of its API.
    pub(crate) port: u16,
    /// Its resources have the role `slave_public`, else `*`.
    pub(crate) is_public: bool,
    /// What it offers.
    pub(crate) resources: Resources,
    /// For constraints.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl AgentPlan {
    /// An agent in a process of its own: the slice it would have in a cluster of up to twelve.
    pub(crate) fn alone(
        address: Ipv4Addr,
        port: u16,
        is_public: bool,
        resources: &ResourceSpec,
        attributes: &AttributeSpec,
    ) -> Self {
        let host = u16::from(address.octets()[3]);
        let slot = if is_public {
            13_u16.saturating_sub(host).min(11)
        } else {
            (host + 1) % 12
        };
        let mut agent = Self::new(address, port, is_public, resources, slice(12, slot));
        agent.attributes.extend(attributes.0.clone());
        agent
    }

    fn new(
        address: Ipv4Addr,
        port: u16,
        is_public: bool,
        resources: &ResourceSpec,
        dynamic: (u16, u16),
    ) -> Self {
        let (ports, attributes) = if is_public {
            // DC/OS marks its public agents so.
            (
                &PUBLIC_PORTS[..],
                BTreeMap::from([("public_ip".to_owned(), "true".to_owned())]),
            )
        } else {
            (&PRIVATE_PORTS[..], BTreeMap::new())
        };
        let resources = offer(resources, ports, dynamic);
        Self {
            address,
            port,
            is_public,
            resources,
            attributes,
        }
    }

    /// The role of its resources, in Mesos' words.
    pub(crate) const fn role(&self) -> &'static str {
        if self.is_public { "slave_public" } else { "*" }
    }

    /// Its directory's name below the data directory.
    pub(crate) fn dir_name(&self) -> String {
        format!("{AGENT_DIR_PREFIX}{}", self.address.octets()[3])
    }

    /// The address of its API.
    pub(crate) fn api(&self) -> SocketAddr {
        (self.address, self.port).into()
    }
}

impl Plan {
    /// The plan for so many agents in this net. The numbers are those the command line lets through.
    pub(crate) fn new(
        net: LoopbackNet,
        n_public: u16,
        n_private: u16,
        resources: &ResourceSpec,
        attributes: &[AttributeSpec],
    ) -> Self {
        let master = net.master();
        let n_agents = n_public + n_private;
        let agent = |address, is_public, slot| {
            AgentPlan::new(
                address,
                AGENT_PORT,
                is_public,
                resources,
                slice(n_agents, slot),
            )
        };
        let top = n_agents.max(12) - 1;
        let public = (0..n_public).map(|index| agent(net.public_agent(index), true, top - index));
        // One after the other, and from the start again: racks a and b of four agents have two each.
        let mut in_turn = attributes.iter().cycle();
        let private = (0..n_private).map(|index| {
            let mut agent = agent(net.private_agent(index), false, index);
            agent
                .attributes
                .extend(in_turn.next().cloned().unwrap_or_default().0);
            agent
        });
        Self {
            front: (master, FRONT_PORT).into(),
            mesos: (master, MESOS_PORT).into(),
            dns: DNS_PORTS.map(|port| (master, port).into()),
            dns_http: (master, DNS_HTTP_PORT).into(),
            agents: public.chain(private).collect(),
        }
    }

    /// Where the edge is asked for its gateways, if there is a public agent it can run on.
    pub(crate) fn edge_admin(&self) -> Option<SocketAddr> {
        let public = self.agents.iter().find(|agent| agent.is_public)?;
        Some((public.address, EDGE_ADMIN_PORT).into())
    }
}

fn offer(spec: &ResourceSpec, ports: &[(u16, u16)], dynamic: (u16, u16)) -> Resources {
    let (cpus, mem, disk) = NOMINAL;
    let ports = ports.to_vec();
    let mut resources = Resources {
        cpus,
        mem,
        disk,
        gpus: 0,
        ports,
        dynamic_ports: vec![dynamic],
    };
    spec.apply_to(&mut resources);
    resources
}

/// The slice number `slot` of the dynamic ports, for so many agents; inclusive.
fn slice(n_agents: u16, slot: u16) -> (u16, u16) {
    let (first, last) = DYNAMIC;
    let width = SLICE.min((last - first + 1) / n_agents.max(1));
    let begin = first + slot * width;
    (begin, begin + width - 1)
}

/// `ranges` without these ports; all inclusive.
pub(crate) fn without(
    ranges: &[(u16, u16)],
    taken: impl IntoIterator<Item = u16>,
) -> Vec<(u16, u16)> {
    let mut left = ranges.to_vec();
    for port in taken {
        left = left
            .into_iter()
            .flat_map(|(begin, end)| {
                if port < begin || port > end {
                    return [Some((begin, end)), None];
                }
                let below = (port > begin).then(|| (begin, port - 1));
                let above = (port < end).then(|| (port + 1, end));
                [below, above]
            })
            .flatten()
            .collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(n_public: u16, n_private: u16) -> Plan {
        Plan::new(
            LoopbackNet::DEFAULT,
            n_public,
            n_private,
            &ResourceSpec::default(),
            &[],
        )
    }

    #[test]
    fn the_edge_is_on_the_first_public_agent() {
        let edge = |n_public| plan(n_public, 2).edge_admin().map(|at| at.to_string());
        assert_eq!(edge(2).as_deref(), Some("127.0.0.2:9090"));
        assert_eq!(edge(0), None);
    }

    #[test]
    fn the_default_cluster() {
        let plan = plan(1, 2);
        assert_eq!(plan.front.to_string(), "127.0.0.1:8080");
        assert_eq!(plan.mesos.to_string(), "127.0.0.1:5050");
        let shown: Vec<String> = plan
            .agents
            .iter()
            .map(|agent| {
                format!(
                    "{} {} {:?}",
                    agent.api(),
                    agent.role(),
                    agent.resources.dynamic_ports
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "127.0.0.2:5051 slave_public [(31000, 31999)]",
                "127.0.0.11:5051 * [(20000, 20999)]",
                "127.0.0.12:5051 * [(21000, 21999)]",
            ]
        );
        assert_eq!(plan.agents[1].resources.mem, 14_861.0);
    }

    #[test]
    fn agents_offer_the_ports_of_dcos_nodes() {
        // contract: agent-ranges
        let plan = plan(1, 1);
        let ports = |is_public: bool| {
            let mut agents = plan.agents.iter();
            let agent = agents.find(|agent| agent.is_public == is_public).unwrap();
            agent.resources.ports.clone()
        };
        assert_eq!(ports(true), [(1, 21), (23, 5050), (5052, 32_000)]);
        let private = [
            (1025, 2180),
            (2182, 3887),
            (3889, 5049),
            (5052, 8079),
            (8082, 8180),
            (8182, 32_000),
        ];
        assert_eq!(ports(false), private);
    }

    #[test]
    fn slices_are_disjoint_and_inside() {
        for (n_public, n_private) in [(0, 1), (1, 2), (9, 3), (9, 4), (0, 13), (9, 244)] {
            let mut slices: Vec<(u16, u16)> = plan(n_public, n_private)
                .agents
                .iter()
                .map(|agent| agent.resources.dynamic_ports[0])
                .collect();
            slices.sort_unstable();
            assert!(slices[0].0 >= DYNAMIC.0 && slices.last().unwrap().1 <= DYNAMIC.1);
            for pair in slices.windows(2) {
                assert!(
                    pair[0].0 <= pair[0].1 && pair[0].1 < pair[1].0,
                    "{slices:?}"
                );
            }
        }
    }

    #[test]
    fn an_agent_keeps_its_slice_when_others_come() {
        let few = plan(1, 2);
        let more = plan(2, 5);
        for agent in &few.agents {
            let later = more
                .agents
                .iter()
                .find(|later| later.address == agent.address)
                .unwrap();
            assert_eq!(agent.resources, later.resources);
        }
    }

    #[test]
    fn an_agent_alone_has_the_slice_it_has_in_a_cluster() {
        for agent in plan(2, 5).agents {
            let spec = ResourceSpec::default();
            let none = AttributeSpec::default();
            let alone = AgentPlan::alone(agent.address, agent.port, agent.is_public, &spec, &none);
            assert_eq!(alone, agent);
        }
    }

    #[test]
    fn private_agents_take_attributes_in_turn() {
        let given: Vec<AttributeSpec> = ["rack:a", "rack:b;zone:north"]
            .map(|text| text.parse().unwrap())
            .into();
        let spec = ResourceSpec::default();
        let plan = Plan::new(LoopbackNet::DEFAULT, 1, 3, &spec, &given);
        let attributes: Vec<String> = plan
            .agents
            .into_iter()
            .map(|agent| AttributeSpec(agent.attributes).to_string())
            .collect();
        let expected = ["public_ip:true", "rack:a", "rack:b;zone:north", "rack:a"];
        assert_eq!(attributes, expected);
        let address = LoopbackNet::DEFAULT.host(2);
        let alone = AgentPlan::alone(address, 5051, true, &spec, &given[0]);
        let shown = AttributeSpec(alone.attributes).to_string();
        assert_eq!(shown, "public_ip:true;rack:a");
    }

    #[test]
    fn taken_ports_leave_gaps() {
        assert_eq!(without(&[(10, 20)], []), [(10, 20)]);
        assert_eq!(without(&[(10, 20)], [10, 15, 20, 30]), [(11, 14), (16, 19)]);
        assert_eq!(without(&[(10, 10)], [10]), []);
    }
}

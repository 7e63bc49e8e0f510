use rand::SeedableRng as _;
use rand::rngs::StdRng;
use zddcluster_client::mesos::{Agent, Discovery, DiscoveryPort, Framework, State, Status, Task};

use super::super::answer as answer_any;
use super::*;
use crate::config::{IpSource, ZoneConfig};
use crate::records::Records;

fn task(name: &str, agent: &str, address: &str, port: u64) -> Task {
    Task {
        id: format!("{name}.{agent}"),
        name: name.to_owned(),
        agent_id: agent.to_owned(),
        state: "TASK_RUNNING".to_owned(),
        statuses: vec![Status {
            state: "TASK_RUNNING".to_owned(),
            timestamp: 1.0,
            networks: vec![vec![address.to_owned()]],
            ..Status::default()
        }],
        discovery: Some(Discovery {
            name: name.to_owned(),
            ports: vec![DiscoveryPort {
                number: port,
                protocol: "tcp".to_owned(),
                name: String::new(),
            }],
        }),
        ..Task::default()
    }
}

/// Two tasks with addresses of their own, the second one's shared with a third, and one that uses its agent's.
fn zone() -> Zone {
    let agent = |id: &str, ip: &str| Agent {
        id: id.to_owned(),
        pid: Some(format!("slave(1)@{ip}:5051")),
    };
    let state = State {
        leader: "master@10.0.0.9:5050".to_owned(),
        agents: vec![agent("a-S1", "10.0.0.1"), agent("a-S2", "10.0.0.2")],
        frameworks: vec![Framework {
            id: "f".to_owned(),
            name: "marathon".to_owned(),
            tasks: vec![
                task("web", "a-S1", "9.0.0.1", 80),
                task("db", "a-S2", "fd01::1", 81),
                task("log", "a-S2", "fd01::1", 82),
                task("host", "a-S1", "10.0.0.1", 83),
            ],
            ..Framework::default()
        }],
    };
    let config = ZoneConfig {
        ip_sources: vec![IpSource::NetInfo, IpSource::Host],
        extras: true,
        ..ZoneConfig::default()
    };
    Zone::new(Records::of(&state, &config), &config, 1)
}

/// The rcode and the three sections of an answer: records by `;`, sections by `|`.
fn shown(zone: &Zone, name: &str, qtype: u16) -> String {
    let query = Query {
        op_code: 0,
        name: Name::from_text(name).expect("a name"),
        qtype,
        qclass: 1,
    };
    let lower = query.name.to_lowercase();
    let answer = answer_any(zone, &query, &lower, &mut StdRng::seed_from_u64(7));
    let record = |record: &Record<'_>| {
        let owner = match &record.owner {
            Owner::Asked => &query.name,
            Owner::Lower => &lower,
            Owner::Name(name) => name,
        };
        let data = match &record.data {
            Data::A(address) => format!("A {address}"),
            Data::Aaaa(address) => format!("AAAA {address}"),
            Data::Srv {
                weight,
                port,
                target,
            } => format!("SRV {weight} {port} {target}"),
            Data::Soa => "SOA".to_owned(),
            Data::Ns => "NS".to_owned(),
            Data::Ptr(name) => format!("PTR {name}"),
        };
        format!("{owner} {data}")
    };
    let section = |records: &[Record<'_>]| {
        let mut lines: Vec<String> = records.iter().map(record).collect();
        lines.sort();
        lines.join("; ")
    };
    let sections = [&answer.answers, &answer.authority, &answer.additional];
    let sections = sections.map(|records| section(records)).join(" | ");
    format!("{:?} {sections}", answer.rcode)
}

const NO_DATA: &str = "NoError  | mesos. SOA | ";
const NO_NAME: &str = "NxDomain  | mesos. SOA | ";

#[test]
fn negative_answers_are_those_of_the_rfcs() {
    let zone = zone();
    let cases = [
        // Names that are not there, whatever the type.
        ("nope.marathon.mesos.", rtype::A, NO_NAME),
        ("nope.marathon.mesos.", rtype::SRV, NO_NAME),
        ("nope.marathon.mesos.", rtype::SOA, NO_NAME),
        ("nope.marathon.mesos.", rtype::NS, NO_NAME),
        ("nope.marathon.mesos.", rtype::ANY, NO_NAME),
        ("nope.marathon.mesos.", 1000, NO_NAME),
        ("a.web.marathon.mesos.", rtype::A, NO_NAME),
        // Names without records above others.
        ("_tcp.marathon.mesos.", rtype::A, NO_DATA),
        ("_TCP.Marathon.mesos.", rtype::SRV, NO_DATA),
        ("marathon.slave.mesos.", rtype::A, NO_DATA),
        ("marathon.mesos.", rtype::A, NO_DATA),
        ("mesos.", rtype::A, NO_DATA),
        ("mesos.", rtype::SRV, NO_DATA),
        // Names with records of another type.
        ("web.marathon.mesos.", rtype::AAAA, NO_DATA),
        ("web.marathon.mesos.", rtype::SRV, NO_DATA),
        ("web.marathon.mesos.", rtype::SOA, NO_DATA),
        ("web.marathon.mesos.", rtype::NS, NO_DATA),
        ("web.marathon.mesos.", rtype::PTR, NO_DATA),
        ("_web._tcp.marathon.mesos.", rtype::A, NO_DATA),
    ];
    for (name, qtype, expected) in cases {
        assert_eq!(shown(&zone, name, qtype), expected, "{name} {qtype}");
    }
}

#[test]
fn the_apex_has_its_soa_and_name_server() {
    let zone = zone();
    let glue = "ns1.mesos. A 127.0.0.1";
    assert_eq!(
        shown(&zone, "mesos.", rtype::SOA),
        "NoError mesos. SOA |  | "
    );
    assert_eq!(
        shown(&zone, "MESOS.", rtype::NS),
        format!("NoError MESOS. NS |  | {glue}")
    );
    assert_eq!(
        shown(&zone, "mesos.", rtype::ANY),
        format!("NoError mesos. NS; mesos. SOA |  | {glue}")
    );
}

#[test]
fn what_is_there_is_answered_as_ever() {
    let zone = zone();
    let hash = crate::label::task_hash("web.a-S1");
    let own = format!("web-{hash}-s1.marathon.mesos.");
    assert_eq!(
        shown(&zone, "Web.marathon.mesos.", rtype::A),
        "NoError web.marathon.mesos. A 9.0.0.1 |  | "
    );
    let service = format!("NoError _web._tcp.marathon.mesos. SRV 0 80 {own} |  | {own} A 9.0.0.1");
    assert_eq!(
        shown(&zone, "_web._tcp.marathon.mesos.", rtype::SRV),
        service
    );
    assert_eq!(
        shown(&zone, "_web._tcp.marathon.mesos.", rtype::ANY),
        service
    );
}

#[test]
fn addresses_have_names() {
    let zone = zone();
    let own = |name: &str, agent: &str| {
        let hash = crate::label::task_hash(&format!("{name}.a-{agent}"));
        format!("{name}-{hash}-{}.marathon.mesos.", agent.to_lowercase())
    };
    let task = "1.0.0.9.in-addr.arpa.";
    assert_eq!(
        shown(&zone, task, rtype::PTR),
        format!("NoError {task} PTR {} |  | ", own("web", "S1"))
    );
    // An agent's is the agent's, though a task uses it.
    let agent = "1.0.0.10.in-addr.arpa.";
    assert_eq!(
        shown(&zone, agent, rtype::PTR),
        format!("NoError {agent} PTR slave.mesos. |  | ")
    );
    let both = format!("1.{}1.0.d.f.IP6.arpa.", "0.".repeat(27));
    let mut pointers = [own("db", "S2"), own("log", "S2")].map(|own| format!("{both} PTR {own}"));
    pointers.sort();
    assert_eq!(
        shown(&zone, &both, rtype::PTR),
        format!("NoError {} |  | ", pointers.join("; "))
    );
    // Each is the top of its own zone.
    assert_eq!(
        shown(&zone, task, rtype::A),
        format!("NoError  | {task} SOA | ")
    );
    assert_eq!(
        shown(&zone, task, rtype::SOA),
        format!("NoError {task} SOA |  | ")
    );
    for name in [
        "2.0.0.9.in-addr.arpa.",
        "a.1.0.0.9.in-addr.arpa.",
        "0.0.9.in-addr.arpa.",
        "example.com.",
    ] {
        assert_eq!(shown(&zone, name, rtype::PTR), "Refused  |  | ", "{name}");
    }
}

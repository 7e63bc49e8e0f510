//! What tests stand on: a zone of many instances, and queries.

use zddcluster_client::mesos::{Agent, Discovery, DiscoveryPort, Framework, State, Task};

use crate::config::ZoneConfig;
use crate::name::Name;
use crate::records::Records;
use crate::zone::Zone;

/// A zone with `n` instances of `many.scale`, each with a port of its own on one agent.
pub(crate) fn zone(n: u64, config: &ZoneConfig) -> Zone {
    let task = |n: u64| Task {
        id: format!("scale_many.{n}"),
        name: "many.scale".to_owned(),
        agent_id: "a-S1".to_owned(),
        state: "TASK_RUNNING".to_owned(),
        discovery: Some(Discovery {
            name: "many.scale".to_owned(),
            ports: vec![DiscoveryPort {
                number: 10000 + n,
                protocol: "tcp".to_owned(),
                name: String::new(),
            }],
        }),
        ..Task::default()
    };
    let state = State {
        leader: "master@10.0.0.9:5050".to_owned(),
        agents: vec![Agent {
            id: "a-S1".to_owned(),
            pid: Some("slave(1)@10.0.0.1:5051".to_owned()),
        }],
        frameworks: vec![Framework {
            id: "f".to_owned(),
            name: "marathon".to_owned(),
            tasks: (0..n).map(task).collect(),
            ..Framework::default()
        }],
    };
    Zone::new(Records::of(&state, config), config, 1)
}

/// A query of type `qtype` with rd set.
pub(crate) fn packet(name: &str, qtype: u16) -> Vec<u8> {
    let mut packet = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    packet.extend_from_slice(Name::from_text(name).expect("a name").as_wire());
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

/// Asked for in tests: the instances of [`zone`].
pub(crate) const MANY: &str = "_many-scale._tcp.marathon.mesos.";

//! Answers about apps of hundreds of instances: contract mesos-dns §5.4.

use std::collections::BTreeSet;

use hickory_server::proto::op::Message;
use hickory_server::proto::rr::RData;
use serde_json::{Value, json};
use support::ask::{HEADER, Opt, Server, Transport, query, with_opt};
use zddcluster_dns::ZoneConfig;

mod support;

const SRV: u16 = 33;
const A: u16 = 1;

/// A state with `n` instances of an app of the shortest name, each with a port of its own, on `n_agents` agents of names so long that
/// 1,000 services fit into a message, and their addresses do not.
fn state(n: usize, n_agents: usize) -> Value {
    let agents: Vec<Value> = (0..n_agents)
        .map(|at| {
            let pid = format!("slave(1)@10.0.{}.{}:5051", at / 250, at % 250 + 1);
            json!({"id": agent_id(at), "pid": pid})
        })
        .collect();
    let tasks: Vec<Value> = (0..n)
        .map(|at| {
            json!({
                "id": format!("m.{at}"), "name": "m", "state": "TASK_RUNNING",
                "slave_id": agent_id(at % n_agents),
                "discovery": {"name": "m", "ports": {"ports": [
                    {"number": 10000 + at, "protocol": "tcp"},
                ]}},
            })
        })
        .collect();
    json!({
        "leader": "master@10.0.9.9:5050",
        "slaves": agents,
        "frameworks": [{"id": "f", "name": "m", "tasks": tasks}],
    })
}

fn agent_id(at: usize) -> String {
    format!("a-SABCDEFGHIJ{at:03}")
}

/// What an answer is like: its size, TC, and the numbers of its answers and additional records.
#[derive(Debug, PartialEq)]
struct Shape {
    size: usize,
    is_truncated: bool,
    n_answers: usize,
    n_additional: usize,
}

fn shape(bytes: &[u8]) -> Shape {
    let message = Message::from_vec(bytes).expect("a message");
    Shape {
        size: bytes.len(),
        is_truncated: message.metadata.truncation,
        n_answers: message.answers.len(),
        n_additional: message.additionals.len(),
    }
}

/// The ports of the services in an answer.
fn ports(bytes: &[u8]) -> BTreeSet<u16> {
    let message = Message::from_vec(bytes).expect("a message");
    let ports = message.answers.iter().map(|record| match &record.data {
        RData::SRV(srv) => srv.port,
        other => panic!("{other} was not asked for"),
    });
    ports.collect()
}

#[tokio::test]
async fn services_of_many_instances() {
    for extras in [false, true] {
        for n in [200, 1000_usize] {
            let zone = ZoneConfig {
                extras,
                ..support::config("lab")
            };
            let server = Server::start(state(n, 2), zone).await;
            let packet = query(HEADER, "_m._tcp.m.mesos", SRV);

            let over_udp = server.ask(&packet, Transport::Udp).await;
            let shape_of = shape(&over_udp);
            assert!(shape_of.size < 512, "{shape_of:?}");
            assert_eq!((shape_of.is_truncated, shape_of.n_additional), (true, 0));
            assert_eq!(shape_of.n_answers, 9);

            let over_tcp = server.ask(&packet, Transport::Tcp).await;
            let shape_of = shape(&over_tcp);
            assert_eq!(shape_of.n_answers, n, "all answers");
            let all: BTreeSet<u16> = (10000_u16..).take(n).collect();
            assert_eq!(ports(&over_tcp), all);
            match n {
                200 => assert_eq!((shape_of.is_truncated, shape_of.n_additional), (false, 200)),
                // The addresses no longer fit, all answers do.
                _ => assert_eq!((shape_of.is_truncated, shape_of.n_additional), (true, 0)),
            }

            let packet = with_opt(packet, Opt::default());
            let shape_of = shape(&server.ask(&packet, Transport::Udp).await);
            let (limit, n_answers) = match extras {
                true => (1232, 23),
                false => (512, 9),
            };
            assert!(shape_of.size < limit, "{shape_of:?}");
            assert_eq!((shape_of.is_truncated, shape_of.n_additional), (true, 0));
            assert_eq!(shape_of.n_answers, n_answers);
            server.stop().await;
        }
    }
}

#[tokio::test]
async fn addresses_of_many_instances() {
    let server = Server::start(state(1000, 200), support::config("lab")).await;
    let packet = query(HEADER, "m.m.mesos", A);
    let over_udp = shape(&server.ask(&packet, Transport::Udp).await);
    assert!(over_udp.is_truncated && over_udp.size < 512, "{over_udp:?}");
    // 27 bytes of header and question and 16 an address; the first owner may be written in full.
    assert!((29..=30).contains(&over_udp.n_answers), "{over_udp:?}");
    let over_tcp = shape(&server.ask(&packet, Transport::Tcp).await);
    assert_eq!((over_tcp.is_truncated, over_tcp.n_answers), (false, 200));
    server.stop().await;
}

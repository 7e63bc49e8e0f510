use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde_json::json;

use super::*;

const IDLE: Duration = Duration::from_secs(5);

/// A body of given chunks.
struct Chunks(std::vec::IntoIter<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        std::task::Poll::Ready(self.0.next().map(|chunk| Ok(Frame::data(chunk))))
    }
}

fn record(event: &serde_json::Value) -> String {
    let json = event.to_string();
    format!("{}\n{json}", json.len())
}

/// The stream's bytes arriving `size` at a time.
fn stream(bytes: &str, size: usize) -> Subscription<Chunks> {
    let chunks: Vec<Bytes> = bytes
        .as_bytes()
        .chunks(size)
        .map(Bytes::copy_from_slice)
        .collect();
    Subscription::new(Chunks(chunks.into_iter()))
}

async fn events(bytes: &str, size: usize) -> Result<Vec<Event>, MesosError> {
    let mut stream = stream(bytes, size);
    let mut events = Vec::new();
    while let Some(event) = stream.next(IDLE).await? {
        events.push(event);
    }
    Ok(events)
}

fn blue() -> serde_json::Value {
    json!({
        "task_id": {"value": "zdd_blue.1"}, "name": "blue.zdd", "framework_id": {"value": "f"},
        "agent_id": {"value": "a-S2"}, "state": "TASK_STAGING",
        "resources": [
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
            {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 19301, "end": 19302}]}},
        ],
        "discovery": {"visibility": "FRAMEWORK", "name": "blue.zdd",
                      "ports": {"ports": [{"number": 19301, "protocol": "tcp"}]}},
    })
}

#[tokio::test]
async fn events_are_read_however_the_stream_is_cut() -> Result<(), Infallible> {
    let bytes: String = [
        json!({"type": "SUBSCRIBED", "subscribed": {"get_state": {}, "heartbeat_interval_seconds": 15}}),
        json!({"type": "HEARTBEAT"}),
        json!({"type": "TASK_ADDED", "task_added": {"task": blue()}}),
        json!({"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": "f"}, "state": "TASK_RUNNING",
               "status": {"task_id": {"value": "zdd_blue.1"}, "state": "TASK_RUNNING", "timestamp": 7.5,
                          "container_status": {"network_infos": [{"ip_addresses": [{"ip_address": "10.0.0.1"}]}]}}}}),
        json!({"type": "AGENT_ADDED", "agent_added": {"agent": {
               "agent_info": {"id": {"value": "a-S2"}, "hostname": "127.0.0.11", "port": 5051}, "active": true}}}),
        json!({"type": "AGENT_REMOVED", "agent_removed": {"agent_id": {"value": "a-S2"}}}),
        json!({"type": "FRAMEWORK_ADDED", "framework_added": {"framework": {}}}),
        json!({"type": "SOMETHING_NEW"}),
        json!({"type": "TASK_ADDED", "task_added": 3}),
    ]
    .iter()
    .map(record)
    .collect();
    let expected = vec![
        Event::Subscribed {
            heartbeat: Some(Duration::from_secs(15)),
        },
        Event::Heartbeat,
        Event::TaskAdded {
            framework_id: "f".to_owned(),
            task: Box::new(Task {
                id: "zdd_blue.1".to_owned(),
                name: "blue.zdd".to_owned(),
                agent_id: "a-S2".to_owned(),
                state: "TASK_STAGING".to_owned(),
                ports: vec![PortRange {
                    begin: 19301,
                    end: 19302,
                }],
                discovery: Some(Discovery {
                    name: "blue.zdd".to_owned(),
                    ports: vec![DiscoveryPort {
                        number: 19301,
                        protocol: "tcp".to_owned(),
                        name: String::new(),
                    }],
                }),
                statuses: Vec::new(),
            }),
        },
        Event::TaskUpdated {
            framework_id: "f".to_owned(),
            task_id: "zdd_blue.1".to_owned(),
            status: Box::new(Status {
                state: "TASK_RUNNING".to_owned(),
                timestamp: 7.5,
                labels: Vec::new(),
                networks: vec![vec!["10.0.0.1".to_owned()]],
            }),
            state: "TASK_RUNNING".to_owned(),
        },
        Event::AgentAdded(Agent {
            id: "a-S2".to_owned(),
            pid: Some("slave(1)@127.0.0.11:5051".to_owned()),
        }),
        Event::AgentRemoved {
            agent_id: "a-S2".to_owned(),
        },
        Event::FrameworksChanged,
        Event::Other,
        Event::Other,
    ];
    for size in [1, 2, 7, 64, bytes.len()] {
        assert_eq!(events(&bytes, size).await.expect("well framed"), expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_is_not_recordio_is_an_error() {
    for bytes in [
        "x\n{}",
        "9999999999\n",
        "12345678901",
        "999999999\n{}",
        "5\n{}",
    ] {
        let error = events(bytes, 3).await.expect_err(bytes);
        assert!(
            matches!(error, MesosError::Framing { .. }),
            "{bytes}: {error}"
        );
    }
    assert!(matches!(
        events("2\n{]", 3).await,
        Err(MesosError::Event(_))
    ));
    assert_eq!(events("", 1).await.expect("an end is no error"), vec![]);
}

#[test]
fn faulty_parts_of_a_state_are_left_out() {
    let state = State::from_v0(json!({
        "leader": "master@127.0.0.1:5050",
        "slaves": [{"id": "S1"}, {"id": 7}, "x", {"id": "S2", "pid": "slave(1)@127.0.0.11:5051"}],
        "frameworks": [
            {"id": "f", "name": "marathon", "pid": "", "hostname": null, "tasks": [
                {"id": "t", "name": "web", "slave_id": "S2", "state": "TASK_RUNNING",
                 "resources": {"ports": "[31000, 31001-31002, x-y, 9-8]"},
                 "discovery": {"name": "web", "ports": {"ports": [{"number": "80"}, {"number": 81}]}}},
                {"id": "u", "resources": "none", "discovery": "none", "statuses": 3},
                {"name": "no id"},
            ]},
            {"id": "nameless"},
            {"id": "g", "name": "other", "tasks": null},
        ],
    }))
    .expect("a state");
    assert_eq!(
        state.agents,
        vec![
            Agent {
                id: "S1".to_owned(),
                pid: None
            },
            Agent {
                id: "S2".to_owned(),
                pid: Some("slave(1)@127.0.0.11:5051".to_owned())
            },
        ]
    );
    let [marathon, other] = &state.frameworks[..] else {
        panic!("two frameworks, not {:?}", state.frameworks);
    };
    assert_eq!((marathon.pid.as_deref(), &marathon.hostname), (None, &None));
    assert_eq!(other.tasks, vec![]);
    let [web, bare] = &marathon.tasks[..] else {
        panic!("two tasks, not {:?}", marathon.tasks);
    };
    assert_eq!(
        web.ports,
        vec![
            PortRange {
                begin: 31001,
                end: 31002
            },
            PortRange { begin: 9, end: 8 }
        ]
    );
    let ports = &web.discovery.as_ref().expect("discovery").ports;
    assert_eq!(
        ports.iter().map(|port| port.number).collect::<Vec<_>>(),
        [81]
    );
    assert_eq!(bare.discovery, None);
    assert_eq!(bare.statuses, vec![]);
}

#[test]
fn a_document_without_a_leader_is_no_state() {
    for document in [
        json!({}),
        json!({"leader": ""}),
        json!({"leader": 3}),
        json!([]),
        json!("x"),
    ] {
        assert!(
            matches!(State::from_v0(document.clone()), Err(MesosError::NoLeader)),
            "{document}"
        );
    }
}

#[tokio::test]
async fn both_dialects_tell_the_same_status() {
    let networks = json!({"network_infos": [
        {"ip_addresses": [{"ip_address": "10.0.0.1"}, {"protocol": "IPv6"}]},
        {"ip_address": "10.0.0.2"},
    ]});
    let labels = json!([{"key": "a", "value": "b"}, {"key": "bare"}, {"value": "no key"}]);
    let v0 = json!({"state": "TASK_RUNNING", "timestamp": 7.5, "labels": labels, "container_status": networks});
    let v1 = json!({"state": "TASK_RUNNING", "timestamp": 7.5, "labels": {"labels": labels},
        "container_status": networks, "task_id": {"value": "t"}, "agent_id": {"value": "a-S2"}});
    let expected = Status {
        state: "TASK_RUNNING".to_owned(),
        timestamp: 7.5,
        labels: vec![
            ("a".to_owned(), "b".to_owned()),
            ("bare".to_owned(), String::new()),
        ],
        networks: vec![vec!["10.0.0.1".to_owned()], vec!["10.0.0.2".to_owned()]],
    };
    let state = State::from_v0(json!({"leader": "m", "frameworks": [
        {"name": "marathon", "tasks": [{"id": "t", "statuses": [v0]}]},
    ]}));
    let state = state.expect("a state");
    assert_eq!(state.frameworks[0].tasks[0].statuses.len(), 1);
    assert_eq!(state.frameworks[0].tasks[0].statuses[0], expected);
    let update = json!({"type": "TASK_UPDATED", "task_updated": {"framework_id": {"value": "f"}, "status": v1}});
    let told = events(&record(&update), 64).await.expect("well framed");
    let expected = Event::TaskUpdated {
        framework_id: "f".to_owned(),
        task_id: "t".to_owned(),
        state: "TASK_RUNNING".to_owned(),
        status: Box::new(expected),
    };
    assert_eq!(told, [expected]);
}

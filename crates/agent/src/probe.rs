//! MESOS_HTTP, MESOS_HTTPS and MESOS_TCP checks: a task is asked in the network where it listens.
//!
//! | the task | asked at |
//! |---|---|
//! | in a network of its own | its address there, at the port inside of its container |
//! | in the agent's | the agent's address, at the host port; if nobody takes the connection, 127.0.0.1 |
//!
//! Mesos' executor enters the task's network and asks 127.0.0.1 only. We begin with the address that tasks are told to listen at
//! (`$HOST`). Where that is a loopback address itself, it stands for a host of its own, and 127.0.0.1 is another host.
//! Source: contract marathon §1.8, §6.2; Mesos 1.2 `health_checker.cpp`.

use std::net::IpAddr;
use std::time::Duration;

use zddcluster_client::ask::{self, Failure, Refusal, Scheme};
use zddcluster_model::agent::{CheckEnd, CheckPort};

use crate::actor::RunningTask;
use crate::containerizer::Addresses;

/// Where a task listens that is not to be reached from elsewhere.
const LOOPBACK: &str = "127.0.0.1";

/// Asks for `path`, for at most `limit`.
pub(crate) async fn get(
    task: &RunningTask,
    port: CheckPort,
    scheme: Scheme,
    path: &str,
    limit: Duration,
) -> CheckEnd {
    let Some(at) = Place::of(task, port) else {
        return nowhere();
    };
    let ask = async |host: &str| ask::get(scheme, (host, at.port), path, limit, 0).await;
    let mut answer = ask(&at.host).await;
    if matches!(answer, Err(Failure::Connect { .. }))
        && at.has_loopback
        && let Ok(inner) = ask(LOOPBACK).await
    {
        answer = Ok(inner);
    }
    match answer {
        Ok(answer) => CheckEnd::Answered {
            status: answer.status.as_u16(),
        },
        Err(failure) => CheckEnd::NotAnswered {
            cause: failure.to_string(),
        },
    }
}

/// Connects, for at most `limit`.
pub(crate) async fn connect(task: &RunningTask, port: CheckPort, limit: Duration) -> CheckEnd {
    let Some(at) = Place::of(task, port) else {
        return nowhere();
    };
    let mut connected = ask::connect(&at.host, at.port, limit).await;
    if matches!(connected, Err(Refusal::Refused)) && at.has_loopback {
        connected = ask::connect(LOOPBACK, at.port, limit).await;
    }
    match connected {
        Ok(()) => CheckEnd::Connected,
        Err(refusal) => CheckEnd::NotAnswered {
            cause: refusal.to_string(),
        },
    }
}

fn nowhere() -> CheckEnd {
    CheckEnd::NotAnswered {
        cause: "the task's own address is not known".to_owned(),
    }
}

/// Where a task listens.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    /// Perhaps only at 127.0.0.1.
    has_loopback: bool,
}

impl Place {
    fn of(task: &RunningTask, port: CheckPort) -> Option<Self> {
        Some(match &task.addresses {
            Addresses::Own(addresses) => Self {
                host: addresses.first()?.to_string(),
                port: port.own,
                has_loopback: false,
            },
            Addresses::OfAgent => {
                let host = task.order.ip.clone();
                let is_loopback = host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
                Self {
                    host,
                    port: port.shared,
                    has_loopback: !is_loopback,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::containerizer::Order;

    fn task(ip: &str, addresses: Addresses) -> RunningTask {
        let launch = json!({
            "taskId": "a.1", "appId": "/a", "appVersion": "2016-10-12T11:38:55.934Z", "frameworkId": "F",
            "agentId": "S0", "containerId": "c", "cmd": "x", "args": null, "user": null, "container": null,
            "env": {}, "cpus": 0.1, "mem": 32.0, "disk": 0.0, "ports": [], "fetch": [], "graceMillis": 3000,
        });
        let order: Order = serde_json::from_value(json!({
            "launch": launch, "sandbox": "/s", "taskDir": "/t", "containerName": "mesos-S0.c", "ip": ip,
        }))
        .unwrap();
        RunningTask {
            order: Arc::new(order),
            addresses,
        }
    }

    #[test]
    fn a_task_is_asked_in_its_own_network() {
        let port = CheckPort {
            own: 80,
            shared: 31000,
        };
        let place = |host: &str, port, has_loopback| {
            Some(Place {
                host: host.to_owned(),
                port,
                has_loopback,
            })
        };
        let own = |address: &str| Addresses::Own(vec![address.parse().unwrap()]);
        for (ip, addresses, expected) in [
            (
                "10.0.0.7",
                own("172.17.0.2"),
                place("172.17.0.2", 80, false),
            ),
            ("10.0.0.7", own("fd00::2"), place("fd00::2", 80, false)),
            (
                "10.0.0.7",
                Addresses::OfAgent,
                place("10.0.0.7", 31000, true),
            ),
            (
                "127.0.0.11",
                Addresses::OfAgent,
                place("127.0.0.11", 31000, false),
            ),
            ("10.0.0.7", Addresses::Own(Vec::new()), None),
        ] {
            assert_eq!(Place::of(&task(ip, addresses), port), expected, "{ip}");
        }
    }

    /// One that is no loopback's, if there is any: that from which others would be spoken to.
    fn address_of_this_machine() -> Option<IpAddr> {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect("192.0.2.1:9").ok()?;
        let address = socket.local_addr().unwrap().ip();
        (!address.is_loopback()).then_some(address)
    }

    #[tokio::test]
    async fn who_listens_on_loopback_only_is_found_on_a_host_of_its_own() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = listener.local_addr().unwrap().port();
        let port = CheckPort { own: 1, shared };
        let limit = Duration::from_secs(20);
        // No host of ours: nobody listens at it.
        let elsewhere = task("127.0.0.2", Addresses::OfAgent);
        let end = connect(&elsewhere, port, limit).await;
        assert!(matches!(end, CheckEnd::NotAnswered { .. }), "{end:?}");
        if let Some(address) = address_of_this_machine() {
            let here = task(&address.to_string(), Addresses::OfAgent);
            assert_eq!(connect(&here, port, limit).await, CheckEnd::Connected);
        }
        let nowhere = task("10.0.0.7", Addresses::Own(Vec::new()));
        let cause = "the task's own address is not known".to_owned();
        assert_eq!(
            connect(&nowhere, port, limit).await,
            CheckEnd::NotAnswered { cause }
        );
    }
}

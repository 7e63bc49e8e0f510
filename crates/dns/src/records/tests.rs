use zddcluster_client::mesos::{
    Agent, Discovery, DiscoveryPort, Framework, PortRange, Status, Task,
};

use super::*;
use crate::config::IpSource;

/// One agent `a-S1` at 10.0.0.1 and one framework with these tasks.
fn state(tasks: Vec<Task>) -> State {
    State {
        leader: "master@10.0.0.9:5050".to_owned(),
        agents: vec![Agent {
            id: "a-S1".to_owned(),
            pid: Some("slave(1)@10.0.0.1:5051".to_owned()),
        }],
        frameworks: vec![Framework {
            id: "f".to_owned(),
            name: "marathon".to_owned(),
            pid: Some("scheduler@10.0.0.9:15101".to_owned()),
            hostname: None,
            tasks,
        }],
    }
}

fn task(name: &str) -> Task {
    Task {
        id: "0".to_owned(),
        name: name.to_owned(),
        agent_id: "a-S1".to_owned(),
        state: "TASK_RUNNING".to_owned(),
        ..Task::default()
    }
}

fn discovered(name: &str, number: u64) -> Task {
    Task {
        discovery: Some(Discovery {
            name: name.to_owned(),
            ports: vec![DiscoveryPort {
                number,
                protocol: "tcp".to_owned(),
                name: String::new(),
            }],
        }),
        ..task(name)
    }
}

/// The records of tasks alone, one a line.
fn task_records(state: &State, config: &ZoneConfig) -> Vec<String> {
    Records::of(state, config)
        .frameworks
        .into_iter()
        .flat_map(|framework| framework.tasks)
        .flat_map(|task| task.records)
        .map(|record| format!("{} {} {}", record.name, record.rtype, record.host))
        .collect()
}

#[test]
fn ports_and_ranges_that_cannot_be_are_left_out() {
    let mut task = task("web");
    task.ports = vec![
        PortRange { begin: 9, end: 8 },
        PortRange {
            begin: 31000,
            end: 31000,
        },
        PortRange {
            begin: 70000,
            end: u64::MAX,
        },
    ];
    let records = Records::of(&state(vec![task]), &ZoneConfig::default());
    let services = &records.srv["_web._tcp.marathon.mesos."];
    assert_eq!(services[0].port, 31000);
    assert_eq!(services[1].port, 4464);
    // 31000 is among the others once more.
    assert_eq!(services.len(), 65535);
}

#[test]
fn the_latest_running_status_gives_the_addresses() {
    let status = |state: &str, timestamp, address: &str| Status {
        state: state.to_owned(),
        timestamp,
        labels: vec![(
            "Docker.NetworkSettings.IPAddress".to_owned(),
            "::ffff:172.17.0.2".to_owned(),
        )],
        networks: vec![vec!["not an address".to_owned(), address.to_owned()]],
    };
    let task = Task {
        statuses: vec![
            status("TASK_RUNNING", 2.0, "9.0.0.2"),
            status("TASK_RUNNING", 2.0, "9.0.0.3"),
            status("TASK_RUNNING", 1.0, "9.0.0.1"),
            status("TASK_FAILED", 3.0, "9.0.0.4"),
        ],
        ..task("web")
    };
    let state = state(vec![task]);
    let cases = [
        (vec![IpSource::NetInfo, IpSource::Host], Some("9.0.0.2")),
        (vec![IpSource::Mesos, IpSource::Docker], Some("172.17.0.2")),
        (vec![IpSource::Host, IpSource::NetInfo], Some("10.0.0.1")),
        (vec![IpSource::Mesos], None),
    ];
    for (ip_sources, expected) in cases {
        let config = ZoneConfig {
            ip_sources,
            ..ZoneConfig::default()
        };
        let records = Records::of(&state, &config);
        let found = records
            .a
            .get("web.marathon.mesos.")
            .map(|a| a[0].to_string());
        assert_eq!(found.as_deref(), expected);
        assert!(records.a.contains_key("web.marathon.slave.mesos."));
    }
}

#[test]
fn only_running_tasks_on_known_agents_are_published() {
    let tasks = ["TASK_STAGING", "TASK_STARTING", "TASK_KILLING", "TASK_LOST"].map(|state| Task {
        state: state.to_owned(),
        ..task("web")
    });
    let lost = Task {
        agent_id: "a-S9".to_owned(),
        ..task("web")
    };
    let tasks = tasks.into_iter().chain([lost]).collect();
    assert_eq!(
        task_records(&state(tasks), &ZoneConfig::default()),
        Vec::<String>::new()
    );
}

#[test]
fn names_that_do_not_fit_are_cut_or_left_out() {
    let long = "n".repeat(63);
    let state = state(vec![
        discovered(&long, 80),
        discovered(".x", 81),
        discovered("$$$", 82),
    ]);
    let cut = "n".repeat(54);
    let service = "n".repeat(62);
    assert_eq!(
        task_records(&state, &ZoneConfig::default()),
        [
            format!("{long}.marathon.mesos. A 10.0.0.1"),
            format!("{long}.marathon.slave.mesos. A 10.0.0.1"),
            format!("{cut}-s3cj9-s1.marathon.mesos. A 10.0.0.1"),
            format!("{cut}-s3cj9-s1.marathon.slave.mesos. A 10.0.0.1"),
            format!("_{service}._tcp.marathon.mesos. SRV {cut}-s3cj9-s1.marathon.mesos.:80"),
            "x.marathon.mesos. A 10.0.0.1".to_owned(),
            "x-s3cj9-s1.marathon.mesos. A 10.0.0.1".to_owned(),
            "x.marathon.slave.mesos. A 10.0.0.1".to_owned(),
            "x-s3cj9-s1.marathon.slave.mesos. A 10.0.0.1".to_owned(),
            "_x._tcp.marathon.mesos. SRV x-s3cj9-s1.marathon.mesos.:81".to_owned(),
            "$$$.marathon.mesos. A 10.0.0.1".to_owned(),
            "$$$-s3cj9-s1.marathon.mesos. A 10.0.0.1".to_owned(),
            "$$$.marathon.slave.mesos. A 10.0.0.1".to_owned(),
            "$$$-s3cj9-s1.marathon.slave.mesos. A 10.0.0.1".to_owned(),
            "_$$$._tcp.marathon.mesos. SRV $$$-s3cj9-s1.marathon.mesos.:82".to_owned(),
        ]
    );
}

#[test]
fn faulty_agents_and_frameworks_are_left_out_and_named() {
    let mut state = state(vec![task("web")]);
    state.agents.push(Agent {
        id: "a-S2".to_owned(),
        pid: None,
    });
    state.agents.push(Agent {
        id: "a-S3".to_owned(),
        pid: Some("slave(1)@some.host:5051".to_owned()),
    });
    for (name, pid, hostname) in [
        ("nowhere", Some("scheduler@nowhere:1"), None),
        ("$", None, Some("10.0.0.7")),
        ("spark", None, Some("10.0.0.7")),
        ("by-name", None, Some("some.host")),
    ] {
        state.frameworks.push(Framework {
            id: name.to_owned(),
            name: name.to_owned(),
            pid: pid.map(str::to_owned),
            hostname: hostname.map(str::to_owned),
            tasks: Vec::new(),
        });
    }
    let records = Records::of(&state, &ZoneConfig::default());
    let what: Vec<&str> = records.skipped.iter().map(|s| s.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "framework nowhere",
            "framework $",
            "agent a-S2",
            "agent a-S3"
        ]
    );
    assert_eq!(records.a["spark.mesos."][..], [Ipv4Addr::new(10, 0, 0, 7)]);
    assert!(!records.a.contains_key("by-name.mesos."));
    assert!(!records.srv.contains_key("_framework._tcp.spark.mesos."));
}

#[test]
fn masters_are_numbered_as_configured() {
    let masters = |masters: &[&str]| {
        let config = ZoneConfig {
            masters: masters
                .iter()
                .map(|m| m.parse().expect("an address"))
                .collect(),
            ..ZoneConfig::default()
        };
        let mut found = Vec::new();
        for (name, addresses) in Records::of(&state(Vec::new()), &config).a {
            if name.starts_with("master") {
                found.push(format!("{name} {addresses:?}"));
            }
        }
        found
    };
    let alone = ["master.mesos. [10.0.0.9]", "master0.mesos. [10.0.0.9]"];
    assert_eq!(masters(&[]), alone);
    assert_eq!(masters(&["10.0.0.9:5050", "10.0.0.9:5050"]), alone);
    assert_eq!(masters(&["10.0.0.9:6060"]), alone);
    assert_eq!(
        masters(&["10.0.0.8:5050", "10.0.0.8:5051", "10.0.0.9:5050"]),
        [
            "master.mesos. [10.0.0.9, 10.0.0.8]",
            "master0.mesos. [10.0.0.8]",
            "master1.mesos. [10.0.0.9]"
        ]
    );
}

/// A task of an app with some ports.
fn instance(app: &str, n: usize, ports: &[u64]) -> Task {
    let port = |&number: &u64| DiscoveryPort {
        number,
        protocol: "tcp".to_owned(),
        name: String::new(),
    };
    Task {
        id: format!("shop_{app}.{n}"),
        discovery: Some(Discovery {
            name: format!("{app}.shop"),
            ports: ports.iter().map(port).collect(),
        }),
        ..task(&format!("{app}.shop"))
    }
}

fn gateway(name: &str, shares: &[(&str, usize, u64)]) -> Gateway {
    let share = |&(app, port, weight): &(&str, usize, u64)| Share {
        app: zddcluster_model::AppId::absolute(app),
        port,
        weight,
    };
    Gateway {
        name: name.to_owned(),
        shares: shares.iter().map(share).collect(),
    }
}

/// The weights and ports of a name's services, sorted.
fn services(records: &Records, name: &str) -> Vec<(Option<u16>, u16)> {
    let services = records.srv.get(name).into_iter().flat_map(|s| s.iter());
    let mut services: Vec<_> = services.map(|s| (s.weight, s.port)).collect();
    services.sort_unstable();
    services
}

#[test]
fn gateways_weigh_the_instances_of_their_apps() {
    let state = state(vec![
        instance("old", 1, &[1, 11]),
        instance("old", 2, &[2, 12]),
        instance("new", 1, &[3]),
        instance("off", 1, &[4]),
        instance("other", 1, &[5]),
    ]);
    let gateways = [
        gateway(
            "shop/web",
            &[
                ("/shop/old", 0, 80),
                ("/shop/new", 0, 20),
                ("/shop/off", 0, 0),
                ("/shop/gone", 0, 9),
            ],
        ),
        gateway("admin", &[("/shop/old", 1, 1), ("/shop/new", 7, 1)]),
        gateway("shopweb", &[("/shop/other", 0, 1)]),
        gateway("/", &[("/shop/other", 0, 1)]),
    ];
    let config = ZoneConfig {
        extras: true,
        ..ZoneConfig::default()
    };
    let records = Records::with_gateways(&state, &config, &gateways);
    let (old, new) = (Some(65535), Some(32768));
    assert_eq!(
        services(&records, "_shopweb._tcp.gateway.mesos."),
        [(new, 3), (old, 1), (old, 2)]
    );
    // The second one has no such port.
    assert_eq!(
        services(&records, "_admin._tcp.gateway.mesos."),
        [(Some(32768), 11), (Some(32768), 12)]
    );
    let own = |app: &str| services(&records, &format!("_{app}-shop._tcp.marathon.mesos."));
    assert_eq!(own("old"), [(old, 1), (old, 2), (old, 11), (old, 12)]);
    assert_eq!(own("new"), [(new, 3)]);
    assert_eq!(own("off"), [(Some(0), 4)]);
    assert_eq!(own("other"), [(None, 5)]);
    let skipped: Vec<&str> = records.skipped.iter().map(|s| s.what.as_str()).collect();
    assert_eq!(skipped, ["gateway shopweb", "gateway /"]);

    // A task's own records are what they are without gateways, and without extras there is nothing of it.
    let plain = Records::with_gateways(&state, &ZoneConfig::default(), &gateways);
    assert_eq!(plain, Records::of(&state, &ZoneConfig::default()));
    assert_eq!(plain.frameworks, records.frameworks);
    assert!(plain.ptr.is_empty() && !records.ptr.is_empty());
}

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use serde_json::json;
use zddcluster_model::edge::{EdgeWarning, STATUS_PATH};

use super::*;
use crate::args::{Format, LoopbackNet};
use crate::cluster::{Addresses, AgentEntry};
use crate::verbs::{ClientVerb, Verb, run_client};

#[expect(
    clippy::disallowed_methods,
    reason = "the server ends with the test's runtime"
)]
async fn cluster_with(more_apps: &[Value]) -> ClusterFile {
    let slave = |id: &str, hostname: &str| {
        json!({ "id": id, "hostname": hostname, "active": true,
                "resources": { "cpus": 4.0, "mem": 14861.0, "disk": 35577.0, "ports": "[1025-32000]" },
                "used_resources": { "cpus": 0.30000000000000004, "mem": 96.0, "disk": 0.0 } })
    };
    let state = json!({
        "slaves": [slave("M-S0", "127.0.0.2"), slave("M-S1", "127.0.0.11")],
        "frameworks": [{ "tasks": [{ "slave_id": "M-S1" }, { "slave_id": "M-S1" }, { "slave_id": "M-S0" }] }],
    });
    let mut apps = json!({ "apps": [
        { "id": "/zdd/blue", "instances": 4, "tasksRunning": 3, "tasksHealthy": 2, "healthChecks": [{}],
          "deployments": [{ "id": "D" }], "ports": [10000], "labels": { "HAPROXY_GROUP": "external" } },
        { "id": "/a", "instances": 1, "tasksRunning": 1, "healthChecks": [], "deployments": [], "ports": [] },
    ]});
    let list = apps["apps"].as_array_mut().unwrap();
    list.extend_from_slice(more_apps);
    let answer = |body: Value| get(move || async move { body.to_string() });
    let router = Router::new()
        .route("/mesos/master/state.json", answer(state))
        .route("/service/marathon/v2/apps", answer(apps));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    ClusterFile {
        pid: std::process::id(),
        version: "0.1.0".into(),
        started_at: Timestamp::from_millis(0),
        net: LoopbackNet::DEFAULT,
        addresses: Addresses {
            front,
            mesos: "127.0.0.1:5050".parse().unwrap(),
            dns: "127.0.0.1:8053".parse().unwrap(),
            edge: Some("127.0.0.2".parse().unwrap()),
        },
        agents: vec![
            AgentEntry {
                id: None,
                hostname: "127.0.0.2".into(),
                role: "slave_public".into(),
            },
            AgentEntry {
                id: None,
                hostname: "127.0.0.11".into(),
                role: "*".into(),
            },
        ],
        speed: 1.0,
        containerizer: "process".into(),
        log: None,
    }
}

async fn cluster() -> ClusterFile {
    cluster_with(&[]).await
}

async fn status(dir: &std::path::Path, format: Format) -> (String, String, ExitStatus) {
    let (printer, captured) = Printer::captured(format);
    let verb = ClientVerb(Verb::Status(DataDirArgs::at(dir)));
    let hooks = Hooks {
        leftovers: |_| vec!["pid 77, zdd_base.1".to_owned()],
        roles: |dir| match dir.ends_with("apart") {
            true => vec![
                "master (pid 5)".to_owned(),
                "dns at 127.0.0.1:53 (pid 6)".to_owned(),
            ],
            false => Vec::new(),
        },
        ..Hooks::NONE
    };
    let status = run_client(verb, &printer, &hooks).await;
    (captured.out(), captured.err(), status)
}

#[tokio::test]
async fn everything_at_a_glance() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = cluster().await;
    cluster.write(dir.path()).unwrap();
    let (out, err, code) = status(dir.path(), Format::Table).await;
    let (head, tables) = out.split_once("\n\n").unwrap();
    assert!(
        head.starts_with("zddcluster 0.1.0, up for ")
            && head.ends_with(&dir.path().display().to_string())
    );
    insta::assert_snapshot!(tables.replace(&cluster.addresses.front.to_string(), "FRONT"), @r"
    ROLE        ADDRESS
    front door  http://FRONT
    Mesos API   http://127.0.0.1:5050
    DNS         127.0.0.1:8053 (udp, tcp)

    AGENT       ROLE          CPUS   MEM       DISK     TASKS  ID
    127.0.0.2   slave_public  0.3/4  96/14861  0/35577  1      M-S0
    127.0.0.11  *             0.3/4  96/14861  0/35577  2      M-S1
    used/offered; what an agent offers is nominal, whatever the host has

    APP        TASKS  HEALTHY  DEPLOYING  SERVICE PORTS
    /a         1/1    ---      no
    /zdd/blue  3/4    2/3      yes        10000
    ");
    assert!(
        err.starts_with("hint: the app has HAPROXY_ labels"),
        "{err}"
    );
    assert_eq!(code, ExitStatus::Success);

    let (out, _, _) = status(dir.path(), Format::Json).await;
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["agents"][1]["tasks"], 2);
    assert_eq!(document["apps"][0]["healthy"], 2);
    assert_eq!(document["hints"].as_array().unwrap().len(), 1);
}

/// The edge's own word on where it is and what is odd about apps.
#[tokio::test]
async fn what_the_edge_warns_about() {
    // contract: lb-warnings, lb-unprivileged
    let [.., b, c, d] = std::process::id().to_be_bytes();
    let ip = IpAddr::from([127, 64 | b, c, d.clamp(1, 254)]);
    let told = EdgeStatus {
        attached: true,
        http: Some(SocketAddr::new(ip, 8000)),
        https: Some(SocketAddr::new(ip, 8443)),
        warnings: vec![EdgeWarning {
            app_id: "/zdd/blue".into(),
            subject: "HAPROXY_0_BALANCE".into(),
            text: "roundrobin is used".into(),
        }],
    };
    let lb =
        json!({ "id": "/lb", "instances": 1, "labels": { "DCOS_PACKAGE_NAME": "marathon-lb" } });
    let (mut cluster, dir) = (cluster_with(&[lb]).await, tempfile::tempdir().unwrap());
    cluster.addresses.edge = Some(ip);
    cluster.write(dir.path()).unwrap();
    // While the edge starts, nobody answers.
    assert_eq!(edge::ask(ip).await, None);
    let stats = edge::addresses(ip, None);
    assert_eq!(stats, format!("{ip}, stats http://{ip}:9090/haproxy?stats"));

    let answer = serde_json::to_string(&told).unwrap();
    let router = Router::new().route(STATUS_PATH, get(move || async move { answer }));
    let listener = tokio::net::TcpListener::bind((ip, 9090)).await.unwrap();
    #[expect(
        clippy::disallowed_methods,
        reason = "the server ends with the test's runtime"
    )]
    tokio::spawn(async move { axum::serve(listener, router).await });
    assert_eq!(edge::ask(ip).await.as_ref(), Some(&told));
    let stats = edge::addresses(ip, Some(&told));
    let vhosts = format!("{ip}, vhosts http://{ip}:8000, vhosts https://{ip}:8443, ");
    assert!(stats.starts_with(&vhosts), "{stats}");

    let (out, _, _) = status(dir.path(), Format::Json).await;
    let document: Value = serde_json::from_str(&out).unwrap();
    let edge: EdgeStatus = serde_json::from_value(document["edge"].clone()).unwrap();
    assert_eq!(edge, told);
    let (out, _, _) = status(dir.path(), Format::Table).await;
    let end = "\nthe edge warns:\n  /zdd/blue HAPROXY_0_BALANCE: roundrobin is used\n";
    assert!(out.ends_with(end) && out.contains(&vhosts), "{out}");
}

#[tokio::test]
async fn no_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let (out, err, code) = status(dir.path(), Format::Table).await;
    assert_eq!(out, "");
    assert_eq!(
        err,
        format!(
            "1 task was left behind (zddcluster up adopts them, zddcluster down ends them):\n  pid 77, zdd_base.1\n\
             error: no cluster runs in {}\nhint: start it with: zddcluster up\n",
            dir.path().display()
        )
    );
    assert_eq!(code, ExitStatus::NotRunning);
}

#[tokio::test]
async fn roles_on_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("apart");
    let (out, err, code) = status(&dir, Format::Table).await;
    assert_eq!(out, "");
    assert_eq!(
        err,
        format!(
            "2 roles run on their own (zddcluster down ends them):\n  master (pid 5)\n  dns at 127.0.0.1:53 (pid 6)\n\
             1 task was left behind (zddcluster up adopts them, zddcluster down ends them):\n  pid 77, zdd_base.1\n\
             error: no `zddcluster up` runs in {}, only roles on their own\n\
             hint: DCOS_URL=http://MASTER:8080 zddcluster dcos ... speaks to their master\n",
            dir.display()
        )
    );
    assert_eq!(code, ExitStatus::NotRunning);
}

#[test]
fn lengths_of_time() {
    for (seconds, text) in [
        (5, "5 s"),
        (65, "1 min 5 s"),
        (3_700, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ] {
        assert_eq!(length_of_time(seconds * 1000), text);
    }
}

//! `dcos node …`.

use serde_json::{Value, json};

use super::{AGENT, Cluster, said};
use crate::verbs::{Hooks, NamespaceError};

/// A cluster of one agent.
fn with_agent(cluster: &Cluster, pid: &str) {
    let slave = json!({
        "id": AGENT, "hostname": "10.0.3.193", "pid": pid, "resources": { "cpus": 4.0 }, "attributes": { "rack": "a" },
    });
    let summary = json!({ "slaves": [slave] });
    cluster.answer("GET /mesos/master/state-summary", 200, summary);
    let leader = json!([{ "host": "leader.mesos.", "ip": "10.0.3.1" }]);
    cluster.answer("GET /mesos_dns/v1/hosts/leader.mesos.", 200, leader.clone());
    cluster.answer("GET /mesos_dns/v1/hosts/leader.mesos", 200, leader);
}

#[tokio::test]
async fn nodes_are_listed_with_the_fields_that_are_asked_for() {
    let cluster = Cluster::start().await;
    with_agent(&cluster, "slave(1)@10.0.3.193:5051");
    let fields = "node --field cores:resources.cpus --field attributes.rack --field id";
    assert_eq!(
        cluster.dcos(fields).await.out,
        format!(
            " HOSTNAME       IP                         ID                    CORES  ATTRIBUTES.RACK\n\
             10.0.3.193  10.0.3.193  {AGENT}   4.0          a\n"
        )
    );
    assert_eq!(
        cluster.dcos("node --field resources.gold").await,
        said("", "Field \"resources.gold\" is invalid.\n", 1)
    );
}

#[tokio::test]
async fn names_are_looked_up() {
    let cluster = Cluster::start().await;
    let hosts = json!([
        { "host": "base-zdd.marathon.mesos.", "ip": "127.0.0.11" },
        { "host": "base-zdd.marathon.mesos.", "ip": "127.0.0.12" },
    ]);
    let path = "GET /mesos_dns/v1/hosts/base-zdd.marathon.mesos";
    cluster.answer(path, 200, hosts.clone());
    assert_eq!(
        cluster.dcos("node dns base-zdd.marathon.mesos").await.out,
        "HOST                          IP\n\
         base-zdd.marathon.mesos.  127.0.0.11\n\
         base-zdd.marathon.mesos.  127.0.0.12\n"
    );
    let told = cluster
        .dcos("node dns --json base-zdd.marathon.mesos")
        .await;
    assert_eq!(serde_json::from_str::<Value>(&told.out).unwrap(), hosts);
    // Mesos-DNS tells of a name that is not there so.
    let none = json!([{ "host": "", "ip": "" }]);
    cluster.answer("GET /mesos_dns/v1/hosts/x.mesos", 200, none);
    assert_eq!(cluster.dcos("node dns x.mesos").await, said("", "", 0));
}

#[tokio::test]
async fn logs_of_master_and_agents_are_read() {
    let cluster = Cluster::start().await;
    cluster.append("/master/log", b"m1\nm2\n");
    cluster.append("/slave/log", b"s1\n");
    assert_eq!(
        cluster.dcos("node log --leader --lines=1").await,
        said("m2\n", "", 0)
    );
    let both = format!("node log --leader --mesos-id={AGENT}");
    assert_eq!(
        cluster.dcos(&both).await,
        said(
            &format!(
                "===> master:/master/log <===\nm1\nm2\n===> slave:{AGENT}:/slave/log <===\ns1\n"
            ),
            "",
            0
        )
    );
    assert_eq!(
        cluster.dcos("node log").await,
        said("", "You must choose one of --leader or --mesos-id.\n", 1)
    );
    for (line, refusal) in [
        (
            "node log --leader --component dcos-marathon",
            "--component or --filter is not supported by files API\n",
        ),
        (
            "node log --master",
            "--master has been deprecated. Please use --leader.\n",
        ),
        (
            "node log --slave S1",
            "--slave has been deprecated. Please use --mesos-id.\n",
        ),
    ] {
        assert_eq!(cluster.dcos(line).await, said("", refusal, 1));
    }
}

#[tokio::test]
async fn components_are_listed_where_the_cluster_tells_of_them() {
    let cluster = Cluster::start().await;
    with_agent(&cluster, "slave(1)@10.0.3.193:5051");
    for (line, refusal) in [
        (
            "node list-components",
            "--leader or --mesos-id must be provided\n",
        ),
        (
            "node list-components --leader --mesos-id=S1",
            "Unable to use leader and mesos id at the same time\n",
        ),
        (
            "node list-components --mesos-id=S9",
            "Agent `S9` not found\n",
        ),
    ] {
        assert_eq!(cluster.dcos(line).await, said("", refusal, 1));
    }
    let refused = cluster.dcos("node list-components --leader").await;
    let words = format!(
        "Error while fetching [{}/system/health/v1/nodes/10.0.3.1/units]: HTTP 404: Not Found",
        cluster.origin
    );
    assert_eq!(
        (refused.code, refused.err.trim_end_matches(['.', '\n'])),
        (1, words.as_str())
    );
    let units = json!({ "units": [{ "id": "dcos-mesos-slave.service" }, { "id": "dcos-spartan.service" }] });
    cluster.answer(
        "GET /system/health/v1/nodes/10.0.3.193/units",
        200,
        units.clone(),
    );
    let line = format!("node list-components --mesos-id={AGENT}");
    assert_eq!(
        cluster.dcos(&line).await,
        said("dcos-mesos-slave.service\ndcos-spartan.service\n", "", 0)
    );
    let told = cluster.dcos(&format!("{line} --json")).await.out;
    assert_eq!(
        serde_json::from_str::<Value>(&told).unwrap(),
        units["units"]
    );
}

#[tokio::test]
async fn bundles_of_diagnostics_are_refused_as_the_original_does() {
    let cluster = Cluster::start().await;
    let none = json!({ "capabilities": [{ "name": "PACKAGE_MANAGEMENT" }] });
    cluster.answer("GET /capabilities", 200, none);
    for line in [
        "node diagnostics --list",
        "node diagnostics create all",
        "node diagnostics delete bundle.zip",
    ] {
        let words = "DC/OS backend does not support diagnostics capabilities in this version. Must be DC/OS >= 1.8\n";
        assert_eq!(cluster.dcos(line).await, said("", words, 1), "{line}");
    }
}

#[tokio::test]
async fn ssh_goes_where_the_node_is() {
    // What would take this process' place is told instead.
    let told = Hooks {
        namespace: |ssh| NamespaceError::Execute {
            program: format!("{:?}", ssh.argv),
            source: std::io::ErrorKind::NotFound.into(),
        },
        ..Hooks::NONE
    };
    let cluster = Cluster::start().await;
    with_agent(&cluster, "slave(1)@10.0.3.193:5051");
    for (line, argv) in [
        (
            "node ssh --leader".to_owned(),
            r#"["ssh", "-t", "core@10.0.3.1"]"#,
        ),
        (
            format!(
                "node ssh --option Port=2222 --config-file=/f --user me --mesos-id={AGENT} uptime"
            ),
            r#"["ssh", "-t", "-o", "Port=2222", "-F", "/f", "me@10.0.3.193", "uptime"]"#,
        ),
        (
            "node ssh --private-ip=10.0.3.7".to_owned(),
            r#"["ssh", "-t", "core@10.0.3.7"]"#,
        ),
    ] {
        let said = cluster.dcos_hooked(&line, "", &told).await;
        let words = argv.trim_matches(['[', ']']).replace(['"', ','], "");
        assert!(
            said.err
                .starts_with(&format!("Running `{words}`\nIf you are running this")),
            "{said:?}"
        );
        assert!(
            said.err.contains(&format!("cannot execute {argv}")),
            "{said:?}"
        );
        assert_eq!(said.code, 1);
    }
    // Nobody logs in to himself without being told so.
    with_agent(&cluster, "slave(1)@127.0.0.11:5051");
    let here = format!("node ssh --mesos-id={AGENT}");
    let said = cluster.dcos_hooked(&here, "", &told).await;
    assert!(
        said.err
            .contains("hint: 127.0.0.11 is an address of the machine that runs the cluster"),
        "{said:?}"
    );
    // Neither ssh nor a shell is given what a cluster makes up.
    for host in ["-oProxyCommand=x", "$(x)", "a;b"] {
        with_agent(&cluster, &format!("slave(1)@{host}:5051"));
        let said = cluster.dcos_hooked(&here, "", &told).await;
        assert_eq!(said.err, format!("[{host}] is no address\n"));
    }
    for (line, refusal) in [
        ("node ssh --mesos-id=S9", "No slave found with ID [S9]\n"),
        (
            "node ssh",
            "You must choose one of --leader, --mesos-id or --private-ip.\n",
        ),
        (
            "node ssh --master",
            "--master has been deprecated. Please use --leader.\n",
        ),
    ] {
        let refused = cluster.dcos_hooked(line, "", &told).await;
        assert_eq!((refused.code, refused.err.as_str()), (1, refusal));
    }
}

#[tokio::test]
async fn metrics_are_told_where_there_are_some() {
    let cluster = Cluster::start().await;
    let path = format!("/system/v1/agent/{AGENT}/metrics/v0/node");
    let refused = cluster.dcos(&format!("node metrics summary {AGENT}")).await;
    assert!(
        refused.err.starts_with("Error while fetching [") && refused.err.contains("HTTP 404"),
        "{refused:?}"
    );
    let point = |name: &str, value: f64, unit: &str, path: &str| json!({ "name": name, "value": value, "unit": unit, "tags": { "path": path } });
    let gib = 1_073_741_824.0;
    let points = json!({ "datapoints": [
        point("load.1min", 0.5, "count", ""), point("cpu.total", 12.5, "percent", ""),
        point("memory.total", 4.0 * gib, "bytes", ""), point("memory.free", 3.0 * gib, "bytes", ""),
        point("filesystem.capacity.total", 10.0 * gib, "bytes", "/"), point("filesystem.capacity.used", gib, "bytes", "/"),
    ] });
    cluster.answer(&format!("GET {path}"), 200, points);
    assert_eq!(
        cluster
            .dcos(&format!("node metrics summary {AGENT}"))
            .await
            .out,
        "CPU            MEM               DISK\n0.50 (12.50%)  1.00GiB (25.00%)  1.00GiB (10.00%)\n"
    );
    let details = cluster.dcos(&format!("node metrics details {AGENT}")).await;
    assert!(
        details
            .out
            .contains("memory.total               4.00GiB   path:\n"),
        "{details:?}"
    );
}

#[tokio::test]
async fn an_agent_is_given_up() {
    let cluster = Cluster::start().await;
    let told = cluster.dcos("node decommission S9").await;
    assert!(
        told.code == 1 && told.err.starts_with("Couldn't mark agent S9 as gone :\n\n"),
        "{told:?}"
    );
    cluster.answer("POST /mesos/api/v1", 200, json!(null));
    assert_eq!(
        cluster.dcos("node decommission S9").await,
        said("Agent S9 has been marked as gone.\n", "", 0)
    );
}

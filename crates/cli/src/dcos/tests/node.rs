//! `dcos node …`.

use serde_json::{Value, json};

use super::{AGENT, Cluster, said};

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
    for line in ["node diagnostics --list", "node ssh --leader"] {
        assert_eq!(cluster.dcos(line).await.code, 1, "{line}");
    }
}

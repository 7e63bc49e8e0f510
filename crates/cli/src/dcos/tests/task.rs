//! `dcos task`, `dcos marathon task …` and `dcos node`.

use serde_json::json;

use super::{AGENT, Cluster, TASK, lab_task, said};

#[tokio::test]
async fn tasks_are_listed_as_in_the_lab() {
    let cluster = Cluster::start().await;
    let mut sick = lab_task("zdd_other.1", "10.0.3.193", "2016-10-12T11:38:56.861Z");
    sick["appId"] = "/zdd/other".into();
    sick["healthCheckResults"] = json!([{ "alive": true }, { "alive": false }]);
    let tasks = json!({ "tasks": [
        lab_task(TASK, "10.0.3.193", "2016-10-12T11:38:56.861Z"), sick,
        lab_task("zdd_base.75440e42-9070-11e6-aae4-3a4b79075094", "10.0.3.192", "2016-10-12T11:38:56.845Z"),
    ]});
    cluster.marathon("GET v2/tasks", 200, tasks);
    let listing = "\
APP        HEALTHY          STARTED              HOST     ID
/zdd/base    True   2016-10-12T11:38:56.845Z  10.0.3.192  zdd_base.75440e42-9070-11e6-aae4-3a4b79075094
/zdd/base    True   2016-10-12T11:38:56.861Z  10.0.3.193  zdd_base.75443553-9070-11e6-aae4-3a4b79075094
";
    for id in ["/zdd/base", "zdd/base", "zdd//base/"] {
        assert_eq!(
            cluster.dcos(&format!("marathon task list {id}")).await,
            said(listing, "", 0)
        );
    }
    assert!(
        cluster
            .dcos("marathon task list /zdd/other")
            .await
            .out
            .contains("False")
    );
    assert_eq!(
        cluster.dcos("marathon task list /none").await,
        said("", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon task list /none --json").await,
        said("[]\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon task show zdd_other.2").await,
        said("", "Task 'zdd_other.2' does not exist\n", 1)
    );
    let shown = cluster.dcos(&format!("marathon task show {TASK}")).await;
    assert!(
        shown
            .out
            .starts_with("{\n  \"appId\": \"/zdd/base\",\n  \"host\""),
        "{shown:?}"
    );
}

#[tokio::test]
async fn mesos_tasks_and_nodes() {
    let cluster = Cluster::start().await;
    cluster.with_sandbox();
    let running = format!(
        "NAME      HOST        USER  STATE  ID\nbase.zdd  10.0.3.193  root    R    {TASK}\n"
    );
    assert_eq!(cluster.dcos("task").await, said(&running, "", 0));
    let all = cluster.dcos("task --completed zdd_*").await.out;
    assert!(
        all.contains("  K    zdd_base.old\n") && all.contains(TASK),
        "{all}"
    );
    assert_eq!(cluster.dcos("task nothing").await, said("", "", 0));
    let slaves = json!({ "slaves": [{ "id": AGENT, "hostname": "10.0.3.193", "pid": "slave(1)@10.0.3.193:5051" }] });
    cluster.answer("GET /mesos/master/state-summary", 200, slaves);
    insta::assert_snapshot!(cluster.dcos("node").await.out, @"
     HOSTNAME       IP                         ID
    10.0.3.193  10.0.3.193  145f052d-8bcb-457f-b1e6-b1b4e2cdf787-S1
    ");
}

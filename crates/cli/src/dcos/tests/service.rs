//! `dcos service …`.

use serde_json::{Value, json};

use super::{AGENT, Cluster, TASK, said};

fn framework(id: &str, name: &str, is_active: bool) -> Value {
    json!({
        "id": id, "name": name, "hostname": "127.0.0.1", "active": is_active, "tasks": [{ "id": "t" }],
        "resources": { "cpus": 0.4, "mem": 128.0, "disk": 0.0 },
    })
}

#[tokio::test]
async fn services_are_listed() {
    let cluster = Cluster::start().await;
    let state = json!({
        "frameworks": [framework("F-0000", "marathon", true), framework("F-0001", "away", false)],
        "completed_frameworks": [framework("F-0002", "gone", false)],
    });
    cluster.answer("GET /mesos/master/state.json", 200, state);
    let head = "NAME         HOST    ACTIVE  TASKS  CPU   MEM   DISK  ID";
    let row = |name: &str, active: &str, id: &str| {
        format!("{name:8}  127.0.0.1   {active:5}    1    0.4  128.0  0.0   {id}")
    };
    let listed = cluster.dcos("service").await;
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 2, "{listed:?}");
    assert_eq!(lines, [head, &row("marathon", "True", "F-0000")]);
    let listed = cluster.dcos("service --inactive --completed").await;
    assert_eq!(listed.out.lines().count(), 4, "{listed:?}");
    let listed = cluster.dcos("service --completed --json").await;
    let listed: Vec<Value> = serde_json::from_str(&listed.out).unwrap();
    let ids: Vec<&Value> = listed.iter().map(|service| &service["id"]).collect();
    assert_eq!(ids, ["F-0000", "F-0002"]);
}

#[tokio::test]
async fn the_log_of_a_service_is_that_of_its_scheduler() {
    let cluster = Cluster::start().await;
    cluster.with_sandbox();
    cluster.append("/box/stdout", b"1\n2\n");
    let label = json!({ "DCOS_PACKAGE_FRAMEWORK_NAME": "es" });
    let apps = json!({ "apps": [{ "id": "/es", "labels": label }, { "id": "/other" }] });
    cluster.marathon("GET v2/apps", 200, apps);
    let tasks = json!([{ "id": TASK, "slaveId": AGENT }]);
    cluster.marathon("GET v2/apps/es", 200, json!({ "app": { "tasks": tasks } }));
    assert_eq!(
        cluster.dcos("service log --lines=1 es").await,
        said("2\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("service log nobody").await,
        said("", "No marathon apps found for service name [nobody]\n", 1)
    );
    cluster.marathon("GET v2/apps/es", 200, json!({ "app": { "tasks": [] } }));
    assert_eq!(
        cluster.dcos("service log es").await,
        said(
            "",
            "We expected marathon app [/es] to be running 1 task, but we instead found 0 tasks\n",
            1
        )
    );
    cluster.append("/master/log", b"m1\n");
    assert_eq!(
        cluster.dcos("service log marathon").await,
        said("m1\n", "", 0)
    );
    let refused = cluster.dcos("service log marathon stderr").await;
    assert!(
        refused.err.starts_with("The <file> argument is invalid"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_service_is_shut_down_if_the_master_lets_it() {
    let cluster = Cluster::start().await;
    cluster.answer("POST /mesos/master/teardown", 403, json!(""));
    assert_eq!(
        cluster.dcos("service shutdown F-0000").await,
        said("", "You are not authorized to perform this operation\n", 1)
    );
    cluster.answer("POST /mesos/master/teardown", 200, json!(""));
    cluster.take_requests();
    assert_eq!(
        cluster.dcos("service shutdown F-0000").await,
        said("", "", 0)
    );
    assert_eq!(
        cluster.take_requests(),
        ["POST /mesos/master/teardown frameworkId=F%2D0000"]
    );
}

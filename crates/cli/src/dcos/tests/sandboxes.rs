//! `dcos task ls`, `exec` and `metrics`.

use serde_json::json;

use super::{AGENT, Cluster, TASK, said};

fn browse(path: &str) -> String {
    let path = path.replace('/', "%2F").replace('.', "%2E");
    format!("GET /slave/{AGENT}/files/browse.json?path={path}")
}

#[tokio::test]
async fn files_of_a_sandbox_are_listed() {
    let cluster = Cluster::start().await;
    cluster.with_sandbox();
    let entry = |path: &str, size: u64| {
        json!({ "path": path, "mode": "-rw-r--r--", "nlink": 1, "uid": "root", "gid": "root", "size": size,
                "mtime": 1_476_272_336.0 })
    };
    let entries = json!([entry("/box/stdout", 7), entry("/box/stderr", 1024)]);
    cluster.answer(&browse("/box/."), 200, entries);
    assert_eq!(
        cluster.dcos("task ls zdd_base").await,
        said("stdout  stderr\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("task ls --long zdd_base").await.out,
        "-rw-r--r--  1  root  root  1024  Oct 12 11:38  stderr\n\
         -rw-r--r--  1  root  root     7  Oct 12 11:38  stdout\n"
    );
    assert_eq!(
        cluster.dcos("task ls zdd_base /none").await,
        said("", "Cannot access [none]: No such file or directory\n", 1)
    );
    assert_eq!(
        cluster.dcos("task ls nobody").await,
        said("", "Cannot find a task with ID containing \"nobody\"\n", 1)
    );
}

#[tokio::test]
async fn only_tasks_on_this_machine_are_entered() {
    let cluster = Cluster::start().await;
    cluster.with_sandbox();
    let refused = cluster.dcos("task exec zdd_base ls").await;
    assert!(
        refused.code == 1
            && refused
                .err
                .starts_with(&format!("task {TASK} does not run on this machine")),
        "{refused:?}"
    );
    let refused = cluster.dcos("task exec nobody ls").await;
    assert_eq!(
        refused,
        said("", "Cannot find a task with ID containing \"nobody\"\n", 1)
    );
}

#[tokio::test]
async fn containers_of_docker_are_refused_in_the_originals_words() {
    let cluster = Cluster::start().await;
    let task = json!({ "id": "a.1", "slave_id": AGENT, "container": { "type": "DOCKER" } });
    let framework = json!({ "id": "F", "active": true, "tasks": [task] });
    let state = json!({ "frameworks": [framework], "slaves": [] });
    cluster.answer("GET /mesos/master/state.json", 200, state);
    let refused = cluster.dcos("task exec a.1 ls").await;
    assert!(
        refused.err.starts_with(
            "This command is only supported for tasks launched by the Universal Container Runtime (UCR).\n"
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn metrics_of_a_container() {
    let cluster = Cluster::start().await;
    let status = json!({ "state": "TASK_RUNNING", "container_status": { "container_id": { "value": "C1" } } });
    let task = json!({ "id": "a.1", "slave_id": AGENT, "statuses": [status] });
    let framework = json!({ "id": "F", "active": true, "tasks": [task] });
    let state = json!({ "frameworks": [framework], "slaves": [] });
    cluster.answer("GET /mesos/master/state.json", 200, state);
    let path = format!("GET /system/v1/agent/{AGENT}/metrics/v0/containers/C1");
    let gib = 1_073_741_824.0;
    let point =
        |name: &str, value: f64, unit: &str| json!({ "name": name, "value": value, "unit": unit });
    let points = json!({ "datapoints": [
        point("cpus.user.time", 1.0, "seconds"), point("cpus.system.time", 1.0, "seconds"),
        point("cpus.throttled.time", 2.0, "seconds"), point("mem.total", gib, "bytes"),
        point("mem.limit", 2.0 * gib, "bytes"), point("disk.used", gib, "bytes"), point("disk.limit", 4.0 * gib, "bytes"),
    ] });
    cluster.answer(&path, 200, points);
    cluster.answer(&format!("{path}/app"), 200, json!({ "datapoints": [] }));
    assert_eq!(
        cluster.dcos("task metrics summary a.1").await.out,
        "CPU            MEM               DISK\n2.00 (50.00%)  1.00GiB (50.00%)  1.00GiB (25.00%)\n"
    );
    cluster.answer(&path, 200, json!({ "datapoints": [] }));
    assert_eq!(
        cluster.dcos("task metrics details a.1").await,
        said("", "No metrics found\n", 1)
    );
}

//! `dcos marathon leader`, `ping`, `plugin`, `pod`, `task kill`, ids alone, and `dcos job`.

use serde_json::json;

use super::{Cluster, said};

#[tokio::test]
async fn the_leader_is_shown_and_steps_down() {
    let cluster = Cluster::start().await;
    let hosts = json!([{ "host": "marathon.mesos.", "ip": "127.0.0.1" }]);
    cluster.answer("GET /mesos_dns/v1/hosts/marathon.mesos", 200, hosts);
    assert_eq!(
        cluster.dcos("marathon leader show").await,
        said(
            "HOST                 IP\nmarathon.mesos.  127.0.0.1\n",
            "",
            0
        )
    );
    let shown = cluster.dcos("marathon leader show --json").await;
    assert_eq!(
        shown.out,
        "{\n  \"host\": \"marathon.mesos.\",\n  \"ip\": \"127.0.0.1\"\n}\n"
    );
    let answer = json!({ "message": "Leadership abdicated" });
    cluster.marathon("DELETE v2/leader", 200, answer);
    assert_eq!(
        cluster.dcos("marathon leader delete").await,
        said("Leadership abdicated\n", "", 0)
    );
}

#[tokio::test]
async fn a_ping_is_answered_as_often_as_there_are_masters() {
    let cluster = Cluster::start().await;
    let master = json!({ "host": "master.mesos.", "ip": "127.0.0.1" });
    let masters = json!([master, master]);
    cluster.answer("GET /mesos_dns/v1/hosts/master.mesos", 200, masters);
    cluster.marathon("GET ping", 200, json!("pong"));
    assert_eq!(
        cluster.dcos("marathon ping").await,
        said("Marathon ping response[2x]: \"pong\"\n", "", 0)
    );
    cluster.take_requests();
    assert_eq!(
        cluster.dcos("marathon ping --once").await,
        said("Marathon ping response[1x]: \"pong\"\n", "", 0)
    );
    assert_eq!(cluster.take_requests(), ["GET ping"]);
}

#[tokio::test]
async fn plugins_are_listed() {
    let cluster = Cluster::start().await;
    cluster.marathon("GET v2/plugins", 200, json!({ "plugins": [] }));
    assert_eq!(cluster.dcos("marathon plugin list").await, said("", "", 0));
    let plugin = json!({ "id": "auth", "implementation": "a.B", "plugin": "a.C" });
    cluster.marathon("GET v2/plugins", 200, json!({ "plugins": [plugin] }));
    assert_eq!(
        cluster.dcos("marathon plugin list").await.out,
        "ID    IMPLEMENTATION  PLUGIN\nauth  a.B             a.C\n"
    );
}

#[tokio::test]
async fn pods_and_jobs_are_refused_in_the_originals_words() {
    let cluster = Cluster::start().await;
    let refused = said(
        "",
        "This command is not supported by your version of Marathon\n",
        1,
    );
    for line in [
        "marathon pod list --json",
        "marathon pod add pod.json",
        "marathon pod",
    ] {
        assert_eq!(cluster.dcos(line).await, refused, "{line}");
    }
    assert_eq!(cluster.take_requests(), ["HEAD v2/pods"; 3]);
    let refused = said(
        "",
        "DC/OS backend does not support metronome capabilities in this version. Must be DC/OS >= 1.8\n",
        1,
    );
    assert_eq!(cluster.dcos("job list").await, refused);
    let capabilities = json!({ "capabilities": [{ "name": "PACKAGE_MANAGEMENT" }] });
    cluster.answer("GET /capabilities", 200, capabilities);
    assert_eq!(cluster.dcos("job run x").await, refused);
    // A cluster that has them is not told that it has not.
    let capabilities = json!({ "capabilities": [{ "name": "METRONOME" }] });
    cluster.answer("GET /capabilities", 200, capabilities);
    cluster.marathon("HEAD v2/pods", 200, json!(null));
    for line in ["job list", "marathon pod list"] {
        let refused = cluster.dcos(line).await;
        assert!(
            refused.err.starts_with("This client knows no "),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn several_tasks_are_killed_at_once() {
    let cluster = Cluster::start().await;
    let killed = json!({ "tasks": [{ "id": "a.1" }, { "id": "a.2" }] });
    cluster.marathon("POST v2/tasks/delete", 200, killed.clone());
    assert_eq!(
        cluster.dcos("marathon task kill a.1 a.2").await,
        said("Killed tasks: ['a.1', 'a.2']\n", "", 0)
    );
    let deployment = json!({ "version": "V", "deploymentId": "D1" });
    let path = "POST v2/tasks/delete?scale=true&wipe=true";
    cluster.marathon(path, 200, deployment);
    assert_eq!(
        cluster.dcos("marathon task kill --scale --wipe a.1").await,
        said("Created deployment: D1\n", "", 0)
    );
    assert_eq!(
        cluster.take_requests(),
        [
            r#"POST v2/tasks/delete {"ids":["a.1","a.2"]}"#,
            r#"POST v2/tasks/delete?scale=true&wipe=true {"ids":["a.1"]}"#,
        ]
    );
    cluster.marathon("POST v2/tasks/delete", 200, json!({ "tasks": [] }));
    assert_eq!(
        cluster.dcos("marathon task kill nobody").await,
        said(
            "Killed tasks: []\n",
            "Failed to kill tasks. task-ids seems to be unknown\n",
            1
        )
    );
}

#[tokio::test]
async fn lists_of_ids_alone() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "GET v2/apps",
        200,
        json!({ "apps": [{ "id": "/a" }, { "id": "/b" }] }),
    );
    cluster.marathon(
        "GET v2/deployments",
        200,
        json!([{ "id": "D1", "affectedApps": ["/a"] }]),
    );
    let task = json!({ "id": "a.1", "appId": "/a", "host": "h" });
    cluster.marathon("GET v2/tasks", 200, json!({ "tasks": [task] }));
    for (line, out) in [
        ("marathon app list -q", "/a\n/b\n"),
        ("marathon deployment list -q", "D1\n"),
        ("marathon task list -q /a", "a.1\n"),
    ] {
        assert_eq!(cluster.dcos(line).await, said(out, "", 0), "{line}");
    }
}

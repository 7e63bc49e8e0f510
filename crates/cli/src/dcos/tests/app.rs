//! `dcos marathon app …`.

use serde_json::json;

use super::{Cluster, said};

#[tokio::test]
async fn an_app_is_added_once() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "id": "/zdd/base", "deployments": [{ "id": "D1" }] }),
    );
    let definition = r#"{"id": "/zdd/base", "instances": 4, "mem": 32}"#;
    assert_eq!(
        cluster.dcos_with("marathon app add", definition).await,
        said("Created deployment D1\n", "", 0)
    );
    assert_eq!(
        cluster.take_requests(),
        [
            "GET v2/apps/zdd/base",
            r#"POST v2/apps {"id":"/zdd/base","instances":4,"mem":32}"#
        ]
    );
    assert_eq!(
        cluster
            .dcos_with("marathon app add --output json", definition)
            .await
            .out,
        "{\n  \"deploymentId\": \"D1\"\n}\n"
    );
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "id": "/zdd/base" } }),
    );
    let again = cluster.dcos_with("marathon app add", definition).await;
    assert_eq!(
        again,
        said(
            "",
            "Application '/zdd/base' already exists\n\
             hint: to change it: dcos marathon app update /zdd/base < FILE\n",
            1
        )
    );
}

#[tokio::test]
async fn definitions_come_from_files_and_addresses_too() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "deployments": [{ "id": "D1" }] }),
    );
    cluster.answer("GET /x.json", 200, json!({ "id": "/x" }));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.json");
    std::fs::write(&file, r#"{"id": "/y"}"#).unwrap();
    for resource in [
        format!("{}/x.json", cluster.origin),
        file.display().to_string(),
    ] {
        let added = cluster.dcos(&format!("marathon app add {resource}")).await;
        assert_eq!(added, said("Created deployment D1\n", "", 0), "{resource}");
    }
    for (resource, words) in [
        (
            "/gone.json".to_owned(),
            "Can't read from resource: /gone.json.\nPlease check that it exists.\n",
        ),
        (
            "https://example.com/a.json".to_owned(),
            "Only files and http:// addresses can be read.",
        ),
    ] {
        let refused = cluster.dcos(&format!("marathon app add {resource}")).await;
        assert!(
            refused.err.contains(words) && refused.code == 1,
            "{refused:?}"
        );
    }
    let broken = cluster.dcos_with("marathon app add", "{").await;
    assert!(
        broken.err.starts_with("Error loading JSON: ") && broken.code == 1,
        "{broken:?}"
    );
}

#[tokio::test]
async fn an_app_is_updated() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "instances": 4 } }),
    );
    cluster.marathon(
        "PUT v2/apps/zdd/base",
        200,
        json!({ "version": "V", "deploymentId": "D2" }),
    );
    cluster.marathon(
        "PUT v2/apps/zdd/base?force=true",
        200,
        json!({ "deploymentId": "D3" }),
    );
    let line = "marathon app update /zdd/base instances=5 env={\"A\":\"b\"} cmd=null";
    assert_eq!(
        cluster.dcos(line).await,
        said("Created deployment D2\n", "", 0)
    );
    assert_eq!(
        cluster.take_requests()[1],
        r#"PUT v2/apps/zdd/base {"instances":5,"env":{"A":"b"},"cmd":null}"#
    );
    let updated = cluster
        .dcos_with("marathon app update --force zdd/base", r#"{"cpus": 0.5}"#)
        .await;
    assert_eq!(updated, said("Created deployment D3\n", "", 0));

    cluster.marathon(
        "PUT v2/apps/zdd/base",
        409,
        json!({ "message": "App is locked" }),
    );
    assert_eq!(
        cluster.dcos(line).await,
        said(
            "",
            "Changes blocked: deployment already in progress for app.\n\
             hint: wait for it (dcos marathon deployment list), or override it with --force\n",
            1
        )
    );
    let missing = json!({ "message": "App '/x' does not exist" });
    cluster.marathon("GET v2/apps/x", 404, missing);
    assert_eq!(
        cluster.dcos("marathon app update x instances=5").await,
        said("", "Error: App '/x' does not exist\n", 1)
    );
}

#[tokio::test]
async fn apps_are_started_stopped_and_restarted() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "instances": 4 } }),
    );
    cluster.marathon("PUT v2/apps/zdd/base", 200, json!({ "deploymentId": "D" }));
    cluster.marathon(
        "POST v2/apps/zdd/base/restart",
        200,
        json!({ "deploymentId": "R" }),
    );
    cluster.marathon(
        "DELETE v2/apps/zdd/base",
        200,
        json!({ "deploymentId": "X" }),
    );
    cluster.marathon(
        "DELETE v2/apps/zdd/base/tasks?host=h",
        200,
        json!({ "tasks": [{ "id": "t" }] }),
    );
    assert_eq!(
        cluster.dcos("marathon app start zdd/base").await,
        said(
            "Application 'zdd/base' already started: 4 instances.\n",
            "",
            1
        )
    );
    assert_eq!(
        cluster.dcos("marathon app stop zdd/base").await,
        said("Created deployment D\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon app restart zdd/base").await,
        said("Created deployment R\n", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon app remove zdd/base").await,
        said("", "", 0)
    );
    assert_eq!(
        cluster.dcos("marathon app kill --host=h zdd/base").await,
        said("Killed tasks: [{'id': 't'}]\n", "", 0)
    );
    cluster.marathon(
        "GET v2/apps/zdd/base",
        200,
        json!({ "app": { "instances": 0 } }),
    );
    cluster.take_requests();
    assert_eq!(
        cluster.dcos("marathon app stop zdd/base").await,
        said(
            "Application 'zdd/base' already stopped: 0 instances.\n",
            "",
            1
        )
    );
    assert_eq!(
        cluster.dcos("marathon app restart zdd/base").await,
        said(
            "Unable to perform rolling restart of application '/zdd/base' because it has no running tasks\n",
            "",
            1
        )
    );
    assert_eq!(cluster.dcos("marathon app start zdd/base -1").await.code, 1);
    assert_eq!(cluster.dcos("marathon app start zdd/base 3").await.code, 0);
    let requests = cluster.take_requests();
    assert_eq!(
        requests.last().unwrap(),
        r#"PUT v2/apps/zdd/base {"id":"zdd/base","instances":3}"#
    );
}

#[tokio::test]
async fn apps_are_listed_with_what_happens_to_them() {
    let cluster = Cluster::start().await;
    let app = |id: &str| {
        json!({ "id": id, "mem": 32, "cpus": 0.1, "instances": 4, "tasksRunning": 2, "tasksHealthy": 1,
                "healthChecks": [], "deployments": [], "container": null, "cmd": null, "args": null })
    };
    let mut base = app("/zdd/base");
    base["container"] = json!({ "type": "DOCKER" });
    base["healthChecks"] = json!([{}]);
    base["deployments"] = json!([{ "id": "D" }]);
    let mut sleeper = app("/sleep");
    sleeper["cmd"] = "while true; do echo hello world; sleep 10; done".into();
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [base, sleeper] }));
    let deployment = json!({ "id": "D", "affectedApps": ["/zdd/base"], "currentStep": 1, "totalSteps": 2,
        "currentActions": [{ "action": "RestartApplication", "app": "/zdd/base" }] });
    cluster.marathon("GET v2/deployments", 200, json!([deployment]));
    let queue = json!({ "queue": [{ "app": { "id": "/sleep" }, "delay": { "overdue": true } }] });
    cluster.marathon("GET v2/queue", 200, queue);
    insta::assert_snapshot!(cluster.dcos("marathon app list").await.out, @r"
    ID         MEM  CPUS  TASKS  HEALTH  DEPLOYMENT  WAITING  CONTAINER  CMD
    /sleep      32  0.1    2/4    ---       ---      True       mesos    while true; do echo hello world;...
    /zdd/base   32  0.1    2/4    1/2     restart    False      DOCKER   None
    ");
    insta::assert_snapshot!(cluster.dcos("marathon deployment list").await.out, @r"
    APP        POD  ACTION   PROGRESS  ID
    /zdd/base  -    restart    0/2     D
    ");
    assert_eq!(
        cluster.dcos("marathon deployment list /sleep").await,
        said("", "There are no deployments for '/sleep'\n", 1)
    );
    assert_eq!(
        cluster.dcos("marathon deployment list /sleep --json").await,
        said("[]\n", "", 0)
    );
}

#[tokio::test]
async fn versions_are_counted_from_the_current_one() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "GET v2/apps/a/versions",
        200,
        json!({ "versions": ["2016-10-12T11:38:56.861Z", "V1"] }),
    );
    cluster.marathon(
        "GET v2/apps/a/versions/V1",
        200,
        json!({ "id": "/a", "version": "V1" }),
    );
    let shown = cluster.dcos("marathon app show --app-version=-1 a").await;
    assert_eq!(
        shown.out,
        "{\n  \"id\": \"/a\",\n  \"version\": \"V1\"\n}\n"
    );
    assert_eq!(
        cluster.dcos("marathon app show --app-version V1 a").await,
        shown
    );
    assert_eq!(
        cluster.dcos("marathon app show --app-version=-2 a").await,
        said("", "Application 'a' only has 2 version(s).\n", 1)
    );
    assert_eq!(
        cluster
            .dcos("marathon app version list --max-count 1 a")
            .await
            .out,
        "[\n  \"2016-10-12T11:38:56.861Z\"\n]\n"
    );
}

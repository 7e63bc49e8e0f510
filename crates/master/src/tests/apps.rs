//! Apps and their tasks through the API: key orders, answers, deployments.

use http::{Method, StatusCode};
use serde_json::json;

use super::cluster::{Cluster, keys};

const BASE: &str = r#"{"id": "/zdd/base", "cmd": "sleep 1000", "instances": 2, "cpus": 0.1, "mem": 32,
    "labels": {"tier": "web"}, "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5}}"#;

const DEFINITION: [&str; 34] = [
    "id",
    "cmd",
    "args",
    "user",
    "env",
    "instances",
    "cpus",
    "mem",
    "disk",
    "gpus",
    "executor",
    "constraints",
    "uris",
    "fetch",
    "storeUrls",
    "backoffSeconds",
    "backoffFactor",
    "maxLaunchDelaySeconds",
    "container",
    "healthChecks",
    "readinessChecks",
    "dependencies",
    "upgradeStrategy",
    "labels",
    "acceptedResourceRoles",
    "ipAddress",
    "version",
    "residency",
    "secrets",
    "taskKillGracePeriodSeconds",
    "ports",
    "portDefinitions",
    "requirePorts",
    "versionInfo",
];
const COUNTS: [&str; 4] = [
    "tasksStaged",
    "tasksRunning",
    "tasksHealthy",
    "tasksUnhealthy",
];

#[tokio::test]
async fn an_app_is_created_and_shown() {
    // contract: app-post, apps-list, app-show, app-star, apps-filters, shown-order
    // contract: shown-version-info, embed-tasks, embed-prefixes, task-json-order, http-slashes
    // contract: trap-1, trap-2, trap-5, trap-8, z-1
    let cluster = Cluster::with_agent().await;
    let created = cluster.deploy(BASE).await;
    let location = format!("http://{}/v2/apps/zdd/base", cluster.handle.front());
    assert_eq!(created.headers["location"], location);
    let deployment_id = created.body["deployments"][0]["id"].as_str().unwrap();
    assert_eq!(created.headers["marathon-deployment-id"], deployment_id);
    assert_eq!(
        keys(&created.body),
        [&DEFINITION[..33], &COUNTS, &["deployments", "tasks"]].concat()
    );
    assert_eq!(created.body["tasksStaged"], 0);

    let shown = cluster.get("/v2/apps//zdd/base").await;
    assert_eq!(keys(&shown.body), ["app"]);
    let app = &shown.body["app"];
    assert_eq!(
        keys(app),
        [&DEFINITION[..], &COUNTS, &["deployments", "tasks"]].concat()
    );
    assert_eq!((&app["tasksRunning"], &app["mem"]), (&json!(2), &json!(32)));
    assert_eq!(app["version"], created.body["version"]);
    assert_eq!(app["deployments"], json!([]));
    let task = &app["tasks"][0];
    let expected = [
        "id",
        "slaveId",
        "host",
        "state",
        "startedAt",
        "stagedAt",
        "ports",
        "version",
        "ipAddresses",
        "appId",
    ];
    assert_eq!(keys(task), expected);
    assert_eq!(task["state"], "TASK_RUNNING");
    assert_eq!(
        task["ipAddresses"],
        json!([{"ipAddress": "127.0.0.11", "protocol": "IPv4"}])
    );

    for path in [
        "/v2/apps/",
        "/service/marathon/v2/apps",
        "/marathon/v2/apps?label=tier%3D%3Dweb",
    ] {
        let list = cluster.get(path).await;
        let app = &list.body["apps"][0];
        assert_eq!(
            keys(app),
            [&DEFINITION[..], &COUNTS, &["deployments"]].concat(),
            "{path}"
        );
    }
    for path in [
        "/v2/apps?label=tier!%3Dweb",
        "/v2/apps?id=nothing",
        "/v2/apps?cmd=nothing",
    ] {
        assert_eq!(cluster.get(path).await.body, json!({"apps": []}), "{path}");
    }
    let embedded = cluster
        .get("/v2/apps?embed=apps.tasks&embed=apps.taskStats")
        .await;
    let app = &embedded.body["apps"][0];
    assert_eq!(app["tasks"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        app["taskStats"]["totalSummary"]["stats"]["counts"]["running"],
        2
    );
    assert_eq!(
        cluster.get("/v2/apps/zdd/*").await.body["*"][0]["id"],
        "/zdd/base"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn an_app_is_updated_restarted_and_deleted() {
    // contract: app-put, app-restart, app-delete, app-versions, app-version, error-404-app-version
    // contract: http-deployment-answer, trap-5, trap-20
    let cluster = Cluster::with_agent().await;
    cluster.deploy(BASE).await;
    let put = cluster
        .call(Method::PUT, "/v2/apps/zdd/base", r#"{"env": {"A": "1"}}"#)
        .await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    assert_eq!(keys(&put.body), ["version", "deploymentId"]);
    cluster.until_idle().await;
    let app = cluster.get("/v2/apps/zdd/base").await.body["app"].clone();
    assert_eq!(app["version"], put.body["version"]);
    assert_eq!(app["env"], json!({"A": "1"}));
    for task in app["tasks"].as_array().unwrap() {
        assert_eq!(task["version"], app["version"]);
    }

    let versions = cluster.get("/v2/apps/zdd/base/versions").await;
    assert_eq!(versions.body["versions"][0], app["version"]);
    assert_eq!(versions.body["versions"].as_array().map(Vec::len), Some(2));
    let first = versions.body["versions"][1].as_str().unwrap();
    let old = cluster
        .get(&format!("/v2/apps/zdd/base/versions/{first}"))
        .await;
    assert_eq!(
        (&old.body["env"], keys(&old.body)),
        (&json!({}), DEFINITION.to_vec())
    );
    let none = cluster
        .get("/v2/apps/zdd/base/versions/2016-10-12T11:38:56.845Z")
        .await;
    let message = "App '/zdd/base' does not exist in version 2016-10-12T11:38:56.845Z";
    assert_eq!(
        (none.status, none.body),
        (StatusCode::NOT_FOUND, json!({"message": message}))
    );

    let restart = cluster
        .call(Method::POST, "/v2/apps/zdd/base/restart", "")
        .await;
    assert_eq!(restart.status, StatusCode::OK, "{}", restart.text);
    cluster.until_idle().await;

    let delete = cluster.call(Method::DELETE, "/v2/apps/zdd/base", "").await;
    assert_eq!(delete.status, StatusCode::OK, "{}", delete.text);
    assert_eq!(
        cluster.get("/v2/apps/zdd/base").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(cluster.get("/v2/tasks").await.body, json!({"tasks": []}));
    cluster
        .until("its tasks have ended", |state| state.tasks.is_empty())
        .await;
    cluster.stop().await;
}

#[tokio::test]
async fn tasks_are_listed_and_killed() {
    // contract: tasks-list, tasks-text-ports, app-tasks, kill-one, kill-ids, kill-scale
    // contract: task-json-app-id, task-json-service-ports, trap-12, http-booleans
    let cluster = Cluster::with_agent().await;
    cluster.deploy(BASE).await;
    let tasks = cluster.get("/v2/tasks?status=running").await.body["tasks"].clone();
    assert_eq!(tasks[0]["servicePorts"], json!([10000]));
    assert_eq!(
        cluster.get("/v2/tasks?status=staging").await.body,
        json!({"tasks": []})
    );
    let own = cluster.get("/v2/apps/zdd/base/tasks").await.body["tasks"].clone();
    assert_eq!(
        (&own[0]["servicePorts"], &own[0]["appId"]),
        (&json!(null), &json!("/zdd/base"))
    );

    let request = http::Request::get(cluster.url("/v2/tasks")).header("accept", "text/plain");
    let listing = cluster
        .request(request.body(bytes::Bytes::new()).unwrap())
        .await;
    let (a, b) = (&tasks[0]["ports"][0], &tasks[1]["ports"][0]);
    let expected = format!("zdd_base\t10000\t127.0.0.11:{a}\t127.0.0.11:{b}\t\n");
    assert_eq!(listing.text, expected);

    let id = tasks[0]["id"].as_str().unwrap();
    let killed = cluster
        .call(Method::DELETE, &format!("/v2/apps/zdd/base/tasks/{id}"), "")
        .await;
    assert_eq!(killed.body["task"]["id"], id);
    assert_eq!(killed.body["task"]["appId"], json!(null));
    let is_gone = |state: &zddcluster_engine::State| {
        !state.tasks.keys().any(|task_id| task_id.as_str() == id)
            && state
                .tasks
                .values()
                .filter(|task| task.started_at.is_some())
                .count()
                == 2
    };
    cluster.until("it is replaced", is_gone).await;

    let id = tasks[1]["id"].as_str().unwrap();
    let body = json!({"ids": [id]}).to_string();
    let scaled = cluster
        .call(Method::POST, "/v2/tasks/delete?scale=True", &body)
        .await;
    assert_eq!(
        keys(&scaled.body),
        ["version", "deploymentId"],
        "{}",
        scaled.text
    );
    cluster.until_idle().await;
    assert_eq!(
        cluster.get("/v2/apps/zdd/base").await.body["app"]["instances"],
        1
    );
    let unknown = json!({"ids": ["zdd_base.nothing"]}).to_string();
    let unknown = cluster
        .call(Method::POST, "/v2/tasks/delete", &unknown)
        .await;
    assert_eq!(unknown.body, json!({"tasks": []}));
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_run_waits_in_the_queue_and_locks() {
    // contract: queue-list, agent-waits, deployments-list, plan-json-item, deployment-stop
    // contract: error-409-lock, lock-refused, trap-7, trap-11, trap-31
    let cluster = Cluster::with_agent().await;
    let app = r#"{"id": "/big", "cmd": "sleep 1", "cpus": 400, "ports": []}"#;
    let created = cluster.call(Method::POST, "/v2/apps", app).await;
    let id = created.body["deployments"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    cluster
        .until("it waits", |state| !state.queue.is_empty())
        .await;
    let queue = cluster.get("/v2/queue").await.body;
    assert_eq!(
        queue["queue"][0]["delay"],
        json!({"timeLeftSeconds": 0, "overdue": true})
    );
    assert_eq!(queue["queue"][0]["count"], 1);
    let reasons = cluster.get("/zdd/v1/queue").await.body;
    assert_eq!(
        reasons["queue"][0]["refusals"][0]["hostname"], "127.0.0.11",
        "{reasons:#}"
    );

    let deployments = cluster.get("/v2/deployments").await.body;
    let deployment = &deployments[0];
    assert_eq!(
        keys(deployment),
        [
            "id",
            "version",
            "affectedApps",
            "steps",
            "currentActions",
            "currentStep",
            "totalSteps"
        ]
    );
    assert_eq!(deployment["currentStep"], 2);
    assert_eq!(
        deployment["currentActions"],
        json!([{"action": "ScaleApplication", "app": "/big", "readinessCheckResults": []}])
    );
    let locked = cluster
        .call(Method::PUT, "/v2/apps/big", r#"{"instances": 2}"#)
        .await;
    assert_eq!(locked.status, StatusCode::CONFLICT);
    assert_eq!(locked.body["deployments"], json!([{"id": id}]));

    let path = format!("/v2/deployments/{id}?force=true");
    let cancelled = cluster.call(Method::DELETE, &path, "").await;
    assert_eq!(
        (cancelled.status, cancelled.text.as_str()),
        (StatusCode::ACCEPTED, "")
    );
    assert_eq!(cluster.get("/v2/deployments").await.body, json!([]));
    cluster.stop().await;
}

#[tokio::test]
async fn groups_show_the_tree() {
    // contract: group-shown, group-embed, group-apps, error-404-group, trap-10
    let cluster = Cluster::with_agent().await;
    cluster.deploy(BASE).await;
    let root = cluster.get("/v2/groups").await.body;
    assert_eq!(
        keys(&root),
        ["id", "dependencies", "version", "apps", "groups"]
    );
    assert_eq!(root["groups"][0]["apps"][0]["id"], "/zdd/base");
    assert_eq!(root["groups"][0]["apps"][0]["tasksRunning"], json!(null));
    let counted = cluster
        .get("/v2/groups/zdd?embed=group.apps.counts")
        .await
        .body;
    assert_eq!(keys(&counted), ["id", "dependencies", "version", "apps"]);
    assert_eq!(counted["apps"][0]["tasksRunning"], 2);
    assert_eq!(
        cluster.get("/v2/groups/zdd/apps").await.body[0]["id"],
        "/zdd/base"
    );
    assert_eq!(cluster.get("/v2/groups/none/apps").await.body, json!([]));
    assert_eq!(
        cluster.get("/v2/groups/none").await.body,
        json!({"message": "Group '/none' does not exist"})
    );
    cluster.stop().await;
}

#[tokio::test]
async fn stopping_ends_all_tasks_and_keeps_the_apps() {
    let cluster = Cluster::with_agent().await;
    cluster.deploy(BASE).await;
    assert!(
        cluster
            .handle
            .stop_tasks(super::cluster::PATIENCE)
            .await
            .unwrap()
    );
    assert!(
        cluster
            .handle
            .state()
            .root
            .app(&zddcluster_model::AppId::absolute("/zdd/base"))
            .is_some()
    );
    cluster.stop().await;

    let again = Cluster::start_on(cluster.store.clone()).await;
    again.add_agent("127.0.0.12").await;
    again
        .until("the tasks are back", |state| {
            let running = |task: &&std::sync::Arc<zddcluster_engine::state::Task>| {
                task.state == zddcluster_model::TaskState::Running
            };
            state.tasks.values().filter(running).count() == 2
        })
        .await;
    again.stop().await;
}

#[tokio::test]
async fn at_most_25_versions_are_shown() {
    // contract: app-versions
    let cluster = Cluster::with_agent().await;
    cluster.deploy(r#"{"id": "/a", "cmd": "true"}"#).await;
    // The first task stays, and with it the first version, which it runs.
    for i in 0..28 {
        let body = json!({"instances": 2 - i % 2}).to_string();
        let put = cluster.call(Method::PUT, "/v2/apps/a", &body).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text);
        cluster.until_idle().await;
    }
    let versions = cluster.get("/v2/apps/a/versions").await.body["versions"].clone();
    assert_eq!(versions.as_array().map(Vec::len), Some(25));
    let app = cluster.get("/v2/apps/a").await.body["app"].clone();
    assert_eq!(versions[0], app["version"]);
    assert_eq!(app["tasks"].as_array().map(Vec::len), Some(1));
    cluster.stop().await;
}

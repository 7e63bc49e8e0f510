//! Groups through the API: each request of contract marathon §2.5.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::cluster::{Answer, Cluster, keys};

const ZDD: &str = r#"{"id": "zdd", "dependencies": ["/db"],
    "apps": [{"id": "b", "cmd": "x", "cpus": 0.1, "instances": 2}, {"id": "/zdd/a", "cmd": "x", "cpus": 0.1}],
    "groups": [{"id": "green", "apps": [{"id": "c", "cmd": "x", "cpus": 0.1}]}, {"id": "blue"}]}"#;

impl Cluster {
    async fn put(&self, path: &str, body: &str) -> Answer {
        let answer = self.call(Method::PUT, path, body).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{path} {body}: {}",
            answer.text
        );
        self.until_idle().await;
        answer
    }

    /// A cluster with the group `/zdd`, deployed.
    async fn with_zdd() -> Self {
        let cluster = Self::with_agent().await;
        let created = cluster.call(Method::POST, "/v2/groups", ZDD).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        cluster.until_idle().await;
        cluster
    }

    async fn instances(&self) -> Value {
        let apps = self.get("/v2/groups/apps").await.body;
        let apps = apps.as_array().unwrap().iter();
        apps.map(|app| json!([app["id"], app["instances"]]))
            .collect()
    }

    async fn versions(&self, path: &str) -> Vec<String> {
        let versions = self.get(&format!("{path}/versions")).await.body;
        serde_json::from_value(versions).unwrap()
    }
}

fn check_deployed(answer: &Answer) {
    assert_eq!(keys(&answer.body), ["version", "deploymentId"]);
    let id = answer.body["deploymentId"].as_str().unwrap();
    assert_eq!(answer.headers["marathon-deployment-id"], id);
}

#[tokio::test]
async fn a_group_is_created_and_shown() {
    // contract: group-post, group-shown, group-embed, group-apps, app-star, app-tasks
    // contract: http-media-type, id-routes-apart, id-creates-groups, z-1, z-2
    let cluster = Cluster::with_agent().await;
    // Whatever the body calls itself.
    let request = Request::post(cluster.url("/v2/groups/"))
        .header("content-type", "text/plain")
        .body(Bytes::from_static(ZDD.as_bytes()))
        .unwrap();
    let created = cluster.request(request).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    check_deployed(&created);
    let location = format!("http://{}/v2/groups/zdd", cluster.handle.front());
    assert_eq!(created.headers["location"], location);
    cluster.until_idle().await;

    let group = cluster.get("/v2/groups//zdd").await.body;
    assert_eq!(
        keys(&group),
        ["id", "dependencies", "version", "apps", "groups"]
    );
    assert_eq!(group["dependencies"], json!(["/db"]));
    assert_eq!(group["version"], created.body["version"]);
    let ids = |list: &Value| -> Vec<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&group["apps"]), ["/zdd/a", "/zdd/b"]);
    assert_eq!(ids(&group["groups"]), ["/zdd/blue", "/zdd/green"]);
    let app = &group["groups"][1]["apps"][0];
    assert_eq!(
        (&app["cpus"], &app["version"]),
        (&json!(0.1), &group["version"])
    );
    for hidden in ["tasksRunning", "deployments", "tasks"] {
        assert!(app.get(hidden).is_none(), "{hidden}");
    }
    for (embed, wanted) in [
        (
            "embed=group.apps",
            vec!["id", "dependencies", "version", "apps"],
        ),
        (
            "embed=group.groups",
            vec!["id", "dependencies", "version", "groups"],
        ),
        ("embed=nothing", vec!["id", "dependencies", "version"]),
    ] {
        let group = cluster.get(&format!("/v2/groups/zdd?{embed}")).await.body;
        assert_eq!(keys(&group), wanted, "{embed}");
    }
    let group = cluster
        .get("/v2/groups/zdd?embed=group.apps.counts&embed=group.apps.tasks")
        .await
        .body;
    assert_eq!(
        (
            &group["apps"][1]["tasksRunning"],
            &group["apps"][1]["tasks"][1]["appId"]
        ),
        (&json!(2), &json!("/zdd/b"))
    );
    let all = ["/zdd/a", "/zdd/b", "/zdd/green/c"];
    assert_eq!(ids(&cluster.get("/v2/groups/zdd/apps").await.body), all);
    assert_eq!(ids(&cluster.get("/v2/groups/apps").await.body), all);
    assert_eq!(ids(&cluster.get("/v2/apps/zdd/*").await.body["*"]), all);
    let tasks = cluster.get("/v2/apps/zdd/*/tasks").await.body;
    assert_eq!(tasks["tasks"].as_array().map(Vec::len), Some(4));
    let none = cluster.get("/v2/apps/nowhere/*").await;
    assert_eq!(
        (none.status.as_u16(), none.body["message"].as_str()),
        (404, Some("Group '/nowhere' does not exist"))
    );

    // Routes of apps find no groups, and an app brings the groups above it.
    let none = cluster.get("/v2/apps/zdd").await;
    assert_eq!(none.body["message"], "App '/zdd' does not exist");
    cluster
        .deploy(r#"{"id": "/by/an/app", "cmd": "x", "instances": 0}"#)
        .await;
    assert_eq!(cluster.get("/v2/groups/by/an").await.body["id"], "/by/an");

    // Below a parent that is not there either; the location names the group once.
    let nested = cluster
        .call(Method::POST, "/v2/groups/x/y", r#"{"id": "z/w"}"#)
        .await;
    assert_eq!(nested.status, StatusCode::CREATED, "{}", nested.text);
    let location = format!("http://{}/v2/groups/x/y/z/w", cluster.handle.front());
    assert_eq!(nested.headers["location"], location);
    assert_eq!(
        cluster.get("/v2/groups/x/y/z/w").await.body["id"],
        "/x/y/z/w"
    );
    // Without an id the path is the group.
    let plain = cluster.call(Method::POST, "/v2/groups/plain", "{}").await;
    assert_eq!(plain.status, StatusCode::CREATED, "{}", plain.text);
    cluster.stop().await;
}

#[tokio::test]
async fn a_group_is_changed_and_planned() {
    // contract: group-put, group-dry-run, group-scale-by, group-id, group-path-versions, z-9
    let cluster = Cluster::with_zdd().await;
    let changed = r#"{"apps": [{"id": "a", "cmd": "y", "cpus": 0.1}, {"id": "new", "cmd": "x", "cpus": 0.1, "dependencies": ["a"]}]}"#;
    let before = cluster.get("/v2/groups").await.body;
    let plan = cluster.put("/v2/groups/zdd?dryRun=true", changed).await;
    let action =
        |action: &str, app: &str| json!({"action": format!("{action}Application"), "app": app});
    let steps = json!({"steps": [
        {"actions": [action("Stop", "/zdd/b")]},
        {"actions": [action("Start", "/zdd/new")]},
        {"actions": [action("Restart", "/zdd/a")]},
        {"actions": [action("Scale", "/zdd/new")]},
    ]});
    assert_eq!(plan.body, steps);
    assert!(plan.headers.get("marathon-deployment-id").is_none());
    assert_eq!(cluster.get("/v2/groups").await.body, before);

    let put = cluster.put("/v2/groups/zdd", changed).await;
    check_deployed(&put);
    assert!(put.headers.get("location").is_none());
    assert_eq!(
        cluster.instances().await,
        json!([["/zdd/a", 1], ["/zdd/green/c", 1], ["/zdd/new", 1]])
    );
    let root = cluster.get("/v2/groups").await.body;
    assert_eq!(
        (&root["version"], &root["groups"][0]["version"]),
        (&put.body["version"], &put.body["version"])
    );

    cluster.put("/v2/groups/zdd", r#"{"scaleBy": 1.5}"#).await;
    assert_eq!(
        cluster.instances().await,
        json!([["/zdd/a", 2], ["/zdd/green/c", 2], ["/zdd/new", 2]])
    );
    // The root itself; an id in the body is resolved against the path; PUT creates, with 200.
    cluster
        .put("/v2/groups", r#"{"id": "/", "dependencies": ["/nowhere"]}"#)
        .await;
    cluster
        .put("/v2/groups/zdd", r#"{"id": "green", "apps": []}"#)
        .await;
    cluster
        .put(
            "/v2/groups/made/here",
            r#"{"apps": [{"id": "d", "cmd": "x"}]}"#,
        )
        .await;
    assert_eq!(
        cluster.instances().await,
        json!([["/made/here/d", 1], ["/zdd/a", 2], ["/zdd/new", 2]])
    );
    cluster.stop().await;
}

#[tokio::test]
async fn versions_of_groups_outlive_the_master() {
    // contract: group-versions, group-put-version, group-delete, trap-10
    let cluster = Cluster::with_zdd().await;
    let first = cluster.versions("/v2/groups/zdd").await;
    let [first] = first.as_slice() else {
        panic!("{first:?}");
    };
    let shown = cluster.get("/v2/groups/zdd").await.body;
    cluster
        .put("/v2/groups/zdd", r#"{"apps": [], "groups": []}"#)
        .await;
    let deleted = cluster.call(Method::DELETE, "/v2/groups/zdd", "").await;
    check_deployed(&deleted);
    assert_eq!(
        cluster.get("/v2/groups/zdd/versions").await.status,
        StatusCode::NOT_FOUND
    );
    let all = cluster.versions("/v2/groups").await;
    assert_eq!(all.len(), 4);
    assert!(all.is_sorted_by(|a, b| a > b), "newest first: {all:?}");
    cluster.stop().await;

    let again = Cluster::start_on(cluster.store.clone()).await;
    again.add_agent("127.0.0.11").await;
    assert_eq!(again.versions("/v2/groups").await, all);
    let then = again.get(&format!("/v2/groups/zdd/versions/{first}")).await;
    assert_eq!(then.body, shown);
    assert_eq!(
        again
            .get(&format!("/v2/groups/versions/{first}"))
            .await
            .body["groups"][0],
        shown
    );
    let put = again
        .put("/v2/groups/zdd", &json!({"version": first}).to_string())
        .await;
    assert_eq!(
        again.instances().await,
        json!([["/zdd/a", 1], ["/zdd/b", 2], ["/zdd/green/c", 1]])
    );
    let restored = again.get("/v2/groups/zdd").await.body;
    assert_eq!(restored["version"], put.body["version"]);
    assert_eq!(restored["groups"][1]["version"], put.body["version"]);
    assert_eq!(
        again.get("/v2/apps/zdd/b").await.body["app"]["tasksRunning"],
        2
    );
    assert_eq!(again.versions("/v2/groups/zdd").await.len(), 3);
    again.stop().await;
}

#[tokio::test]
async fn groups_are_refused_in_marathons_words() {
    // contract: error-404-group, group-post, group-alone, group-put-version, group-delete
    // contract: id-direct-child, id-app-or-group, lock-defaults, error-409-lock, trap-7
    let cluster = Cluster::with_zdd().await;
    let check = async |method: Method, path: &str, body: &str, status: u16, expected: Value| {
        let answer = cluster.call(method.clone(), path, body).await;
        assert_eq!(
            answer.status, status,
            "{method} {path} {body}: {}",
            answer.text
        );
        assert_eq!(answer.body, expected, "{method} {path} {body}");
    };
    let said = |message: &str| json!({"message": message});
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    let none = || said("Group '/x' does not exist");
    check(get.clone(), "/v2/groups/x", "", 404, none()).await;
    check(get.clone(), "/v2/groups/x/versions", "", 404, none()).await;
    check(get.clone(), "/v2/groups/x/apps", "", 200, json!([])).await;
    let then = "/v2/groups/x/versions/2016-10-12T11:38:56.845Z";
    check(get.clone(), then, "", 404, none()).await;
    let bad = said("Invalid format: \"yesterday\"");
    check(
        get,
        "/v2/groups/zdd/versions/yesterday",
        "",
        422,
        bad.clone(),
    )
    .await;
    check(
        put.clone(),
        "/v2/groups/zdd",
        r#"{"version": "yesterday"}"#,
        422,
        bad,
    )
    .await;
    check(delete.clone(), "/v2/groups/x", "", 404, none()).await;
    check(
        Method::PATCH,
        "/v2/groups/zdd",
        "{}",
        405,
        said("Method Not Allowed"),
    )
    .await;

    let exists = said("Group /zdd is already created. Use PUT to change this group.");
    check(post.clone(), "/v2/groups", r#"{"id": "zdd"}"#, 409, exists).await;
    let exists = said("Group / is already created. Use PUT to change this group.");
    check(post.clone(), "/v2/groups", "{}", 409, exists).await;
    let exists = said("An app with the path /zdd/a already exists.");
    check(
        post.clone(),
        "/v2/groups/zdd",
        r#"{"id": "a"}"#,
        409,
        exists,
    )
    .await;

    let missing = json!({
        "message": "Invalid JSON",
        "details": [{"path": "/groups(0)/apps(0)/id", "errors": ["error.path.missing"]}],
    });
    let body = r#"{"groups": [{"id": "g", "apps": [{"cmd": "x"}]}]}"#;
    check(post.clone(), "/v2/groups/y", body, 400, missing).await;
    let empty = json!({
        "message": "Please specify data in JSON format",
        "details": "No content to map due to end-of-input",
    });
    check(put.clone(), "/v2/groups/zdd", "", 400, empty).await;
    let no_id = said("No group id was given!");
    check(
        put.clone(),
        "/v2/groups/zdd",
        r#"{"groups": [{}]}"#,
        422,
        no_id,
    )
    .await;
    let rules = |path: &str, error: &str| json!({"message": "Object is not valid", "details": [{"path": path, "errors": [error]}]});
    let alone = "not allowed in conjunction with other properties.";
    for (body, path, error) in [
        (r#"{"id": "/zdd", "scaleBy": 2}"#, "/scaleBy", alone),
        (
            r#"{"version": "2016-10-12T11:38:56.845Z", "apps": []}"#,
            "/version",
            alone,
        ),
        (
            r#"{"apps": [{"id": "/a", "cmd": "x"}]}"#,
            "/apps(0)/id",
            "Identifier is not child of /zdd. Hint: use relative paths.",
        ),
        (
            r#"{"groups": [{"id": "a"}]}"#,
            "/groups(0)",
            "Groups and Applications may not have the same identifier.",
        ),
        (
            r#"{"apps": [{"id": "a", "cmd": "x", "dependencies": ["b"]}, {"id": "b", "cmd": "x", "dependencies": ["a"]}]}"#,
            "/",
            "Dependency graph has cyclic dependencies.",
        ),
    ] {
        check(put.clone(), "/v2/groups/zdd", body, 422, rules(path, error)).await;
        // A dry run does not promise what would be refused.
        check(
            put.clone(),
            "/v2/groups/zdd?dryRun=true",
            body,
            422,
            rules(path, error),
        )
        .await;
    }
    // The place of an app is that in the body.
    let body = r#"{"groups": [{"id": "g", "apps": [{"id": "a", "cmd": "x", "storeUrls": ["http://x/y"]}]}]}"#;
    let none = rules(
        "/groups(0)/apps(0)/storeUrls(0)",
        "this master has no artifact store",
    );
    check(put.clone(), "/v2/groups/zdd", body, 422, none).await;
    let deep = format!("/v2/groups{}", "/x".repeat(5_000));
    let answer = cluster.call(put.clone(), &deep, "{}").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let unknown = said("Group /zdd not available in version 2016-10-12T11:38:56.845Z");
    let body = r#"{"version": "2016-10-12T11:38:56.845Z"}"#;
    check(put.clone(), "/v2/groups/zdd", body, 422, unknown).await;

    // Nothing of all that has changed anything; what waits for an agent that is large enough locks its app.
    assert_eq!(cluster.versions("/v2/groups/zdd").await.len(), 1);
    let waits = r#"{"apps": [{"id": "a", "cmd": "x", "cpus": 99}]}"#;
    let waiting = cluster.call(put.clone(), "/v2/groups/zdd", waits).await;
    assert_eq!(waiting.status, StatusCode::OK, "{}", waiting.text);
    for (method, body) in [(put.clone(), r#"{"scaleBy": 2}"#), (delete.clone(), "")] {
        let locked = cluster.call(method, "/v2/groups/zdd", body).await;
        assert_eq!(locked.status, StatusCode::CONFLICT, "{}", locked.text);
        assert_eq!(
            locked.body["deployments"][0]["id"],
            waiting.body["deploymentId"]
        );
    }
    let forced = cluster.call(delete, "/v2/groups?force=true", "").await;
    check_deployed(&forced);
    cluster.until_idle().await;
    assert_eq!(cluster.get("/v2/groups").await.body["groups"], json!([]));
    cluster.stop().await;
}

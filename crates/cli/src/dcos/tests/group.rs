//! `dcos marathon group …`.

use serde_json::json;

use super::{Cluster, said};

#[tokio::test]
async fn a_group_is_added_once() {
    let cluster = Cluster::start().await;
    let answer = json!({ "version": "V", "deploymentId": "D1" });
    cluster.marathon("POST v2/groups", 201, answer);
    let definition = r#"{"id": "zdd", "apps": [{"id": "a", "cmd": "x"}]}"#;
    assert_eq!(
        cluster.dcos_with("marathon group add", definition).await,
        said("Created deployment D1\n", "", 0)
    );
    assert_eq!(
        cluster.take_requests(),
        [
            "GET v2/groups/zdd",
            r#"POST v2/groups {"id":"zdd","apps":[{"id":"a","cmd":"x"}]}"#
        ]
    );
    cluster.marathon("GET v2/groups/zdd", 200, json!({ "id": "/zdd" }));
    let again = cluster.dcos_with("marathon group add", definition).await;
    assert_eq!(
        again,
        said(
            "",
            "Group '/zdd' already exists\n\
             hint: to change it: dcos marathon group update /zdd < FILE\n",
            1
        )
    );
    let nameless = cluster.dcos_with("marathon group add", "{}").await;
    assert!(
        nameless
            .err
            .starts_with("The definition has no \"id\".\nhint: "),
        "{nameless:?}"
    );
    // An app anywhere in the group may ask for an edge.
    let inner = r#"{"id": "g", "groups": [{"id": "h", "apps": [
        {"id": "a", "cmd": "x", "labels": {"HAPROXY_GROUP": "external"}}]}]}"#;
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [] }));
    let added = cluster.dcos_with("marathon group add", inner).await;
    assert!(added.err.contains("marathon-lb"), "{added:?}");
}

#[tokio::test]
async fn groups_are_listed_and_shown() {
    let cluster = Cluster::start().await;
    let group = |id: &str, n_apps: usize, groups: serde_json::Value| {
        let apps: Vec<_> = (0..n_apps).map(|n| json!({ "id": n })).collect();
        json!({ "id": id, "apps": apps, "groups": groups })
    };
    let zdd = json!([group("/zdd/web", 2, json!([]))]);
    let groups = json!([group("/zdd", 1, zdd), group("/empty", 0, json!([]))]);
    let root = json!({ "id": "/", "apps": [{ "id": "/top" }], "groups": groups });
    cluster.marathon("GET v2/groups", 200, root.clone());
    let listing = "\
ID        APPS
/empty     0
/zdd       3
/zdd/web   2
";
    let listed = cluster.dcos("marathon group list").await;
    let trimmed: Vec<&str> = listed.out.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, listing.lines().collect::<Vec<_>>());
    let listed = cluster.dcos("marathon group list --json").await;
    let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed, groups);

    let version = "v2/groups/zdd/versions/2016-10-13T13:31:39.055Z";
    cluster.marathon(&format!("GET {version}"), 200, json!({ "id": "/zdd" }));
    let line = "marathon group show --group-version=2016-10-13T13:31:39.055Z //zdd/";
    let shown = cluster.dcos(line).await;
    assert_eq!(shown, said("{\n  \"id\": \"/zdd\"\n}\n", "", 0));
    let shown = cluster.dcos("marathon group show /").await;
    assert!(shown.out.contains("\"/top\""), "{shown:?}");
    let missing = json!({ "message": "Group '/x' does not exist" });
    cluster.marathon("GET v2/groups/x", 404, missing);
    assert_eq!(
        cluster.dcos("marathon group show x").await,
        said("", "Error: Group '/x' does not exist\n", 1)
    );
}

#[tokio::test]
async fn groups_are_changed_scaled_and_removed() {
    let cluster = Cluster::start().await;
    let answer = |id: &str| json!({ "version": "V", "deploymentId": id });
    cluster.marathon("GET v2/groups/zdd", 200, json!({ "id": "/zdd" }));
    cluster.marathon("PUT v2/groups/zdd", 200, answer("D1"));
    cluster.marathon("PUT v2/groups/zdd?force=true", 200, answer("D2"));
    cluster.marathon("DELETE v2/groups/zdd", 200, answer("D3"));
    cluster.marathon("DELETE v2/groups/zdd?force=true", 200, answer("D4"));
    let update = cluster.dcos("marathon group update zdd dependencies=[\"/db\"]");
    assert_eq!(update.await, said("Created deployment D1\n", "", 0));
    let update = cluster.dcos_with("marathon group update --force /zdd", r#"{"apps": []}"#);
    assert_eq!(update.await, said("Created deployment D2\n", "", 0));
    let scale = cluster.dcos("marathon group scale zdd 2").await;
    assert_eq!(scale, said("Created deployment D1\n", "", 0));
    let scale = cluster.dcos("marathon group scale --force zdd -0.5").await;
    assert_eq!(scale, said("Created deployment D2\n", "", 0));
    for line in [
        "marathon group remove zdd",
        "marathon group remove --force zdd",
    ] {
        assert_eq!(cluster.dcos(line).await, said("", "", 0));
    }
    assert_eq!(
        cluster.take_requests(),
        [
            "GET v2/groups/zdd",
            r#"PUT v2/groups/zdd {"dependencies":["/db"]}"#,
            "GET v2/groups/zdd",
            r#"PUT v2/groups/zdd?force=true {"apps":[]}"#,
            r#"PUT v2/groups/zdd {"scaleBy":2.0}"#,
            r#"PUT v2/groups/zdd?force=true {"scaleBy":-0.5}"#,
            "DELETE v2/groups/zdd",
            "DELETE v2/groups/zdd?force=true",
        ]
    );
    for factor in ["twice", "inf"] {
        let line = format!("marathon group scale zdd {factor}");
        let refused = cluster.dcos(&line).await;
        let words = "Error parsing string as float\nhint: ";
        assert!(
            refused.err.starts_with(words) && refused.code == 1,
            "{refused:?}"
        );
    }
    assert_eq!(cluster.take_requests(), [""; 0]);

    let missing = json!({ "message": "Group '/app' does not exist" });
    cluster.marathon("GET v2/groups/app", 404, missing);
    let refused = cluster.dcos("marathon group update app scaleBy=2").await;
    assert_eq!(refused, said("", "Error: Group '/app' does not exist\n", 1));
    // Any 409 is told by the first of the two words in the path.
    let locked = json!({ "message": "App is locked" });
    cluster.marathon("DELETE v2/groups/app", 409, locked);
    let refused = cluster.dcos("marathon group remove app").await;
    assert!(
        refused
            .err
            .starts_with("Changes blocked: deployment already in progress for group."),
        "{refused:?}"
    );
}

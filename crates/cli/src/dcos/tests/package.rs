//! `dcos package …`, and what is said of apps that want an edge.

use serde_json::{Value, json};

use super::{Cluster, said};

#[tokio::test]
async fn a_package_is_installed_as_in_the_lab() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "deployments": [{ "id": "D" }] }),
    );
    let installed = cluster
        .dcos_with("package install marathon-lb", "maybe\nyes\n")
        .await;
    assert_eq!(
        installed,
        said(
            "We recommend a minimum of 0.5 CPUs and 256 MB of RAM available for the Marathon-LB DCOS Service.\n\
             Continue installing? [yes/no] 'maybe' is not a valid response.\n\
             Continue installing? [yes/no] Installing Marathon app for package [marathon-lb] version [1.4.1]\n\
             Marathon-lb DC/OS Service has been successfully installed!\n\
             See https://github.com/mesosphere/marathon-lb for documentation.\n",
            "",
            0
        )
    );
    let requests = cluster.take_requests();
    let app = requests[1].strip_prefix("POST v2/apps ").unwrap();
    let app: Value = serde_json::from_str(app).unwrap();
    assert_eq!(app["id"], "/marathon-lb");

    cluster.marathon("GET v2/apps/marathon-lb", 200, json!({ "app": app }));
    let again = cluster.dcos("package install marathon-lb --yes").await;
    assert!(
        again.err.starts_with("Package is already installed\n") && again.code == 1,
        "{again:?}"
    );
    let refused = cluster
        .dcos_with("package install marathon-lb", "no\n")
        .await;
    assert!(
        refused.out.ends_with("Exiting installation.\n") && refused.code == 0,
        "{refused:?}"
    );
    let silent = cluster.dcos("package install marathon-lb").await;
    assert!(
        silent.err.contains("--yes") && silent.code == 1,
        "{silent:?}"
    );
    assert_eq!(
        cluster.dcos("package install nope").await,
        said(
            "",
            "Package [nope] not found\nhint: built in: marathon-lb\n",
            1
        )
    );

    cluster.marathon("GET v2/apps", 200, json!({ "apps": [app] }));
    cluster.marathon(
        "DELETE v2/apps/marathon-lb",
        200,
        json!({ "deploymentId": "D" }),
    );
    insta::assert_snapshot!(cluster.dcos("package list").await.out, @r"
    NAME         VERSION  APP           COMMAND  DESCRIPTION
    marathon-lb  1.4.1    /marathon-lb  ---      HAProxy configured using Marathon state
    ");
    assert_eq!(
        cluster.dcos("package uninstall marathon-lb").await,
        said(
            "",
            "Uninstalled package [marathon-lb] version [1.4.1]\n\
             Marathon-lb DC/OS Service has been uninstalled and will no longer run.\n",
            0
        )
    );
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [] }));
    assert_eq!(
        cluster.dcos("package uninstall marathon-lb").await,
        said("", "Package [marathon-lb] is not installed\n", 1)
    );
}

#[tokio::test]
async fn an_app_for_the_edge_without_an_edge_gets_a_hint() {
    let cluster = Cluster::start().await;
    cluster.marathon(
        "POST v2/apps",
        201,
        json!({ "deployments": [{ "id": "D" }] }),
    );
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [] }));
    let blue = r#"{"id": "/zdd/blue", "labels": {"HAPROXY_GROUP": "external"}}"#;
    let added = cluster.dcos_with("marathon app add", blue).await;
    assert!(
        added.err.starts_with("hint: ") && added.err.contains("package install marathon-lb"),
        "{added:?}"
    );
    let edge = json!({ "id": "/marathon-lb", "instances": 1, "labels": { "DCOS_PACKAGE_NAME": "marathon-lb" } });
    cluster.marathon("GET v2/apps", 200, json!({ "apps": [edge] }));
    assert_eq!(cluster.dcos_with("marathon app add", blue).await.err, "");
}

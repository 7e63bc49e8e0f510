//! `dcos marathon deployment …`.

use serde_json::json;

use super::{Cluster, said};

#[tokio::test]
async fn a_deployment_is_watched_to_its_end() {
    let cluster = Cluster::start().await;
    cluster.marathon("GET v2/deployments", 200, json!([]));
    assert_eq!(
        cluster.dcos("marathon deployment watch D").await,
        said(
            "",
            "No such deployment runs: it is done, or never was.\n",
            0
        )
    );
    cluster.marathon(
        "GET v2/deployments",
        200,
        json!([{ "id": "D", "currentStep": 1, "totalSteps": 1 }]),
    );
    let seen = cluster
        .dcos("marathon deployment watch --max-count 1 D")
        .await;
    assert!(
        seen.out.starts_with("Deployment update time: 20"),
        "{seen:?}"
    );
    assert!(
        seen.out.ends_with("\"totalSteps\": 1\n}\n") && seen.code == 0,
        "{seen:?}"
    );
}

#[tokio::test]
async fn deployments_are_undone_and_stopped() {
    let cluster = Cluster::start().await;
    let answer = json!({ "version": "2016-10-13T13:31:39.055Z", "deploymentId": "D2" });
    cluster.marathon("DELETE v2/deployments/D1", 200, answer);
    cluster.marathon("DELETE v2/deployments/D1?force=true", 202, json!(null));
    let undone = cluster.dcos("marathon deployment rollback D1").await;
    assert_eq!(
        undone,
        said(
            "{\n  \"deploymentId\": \"D2\",\n  \"version\": \"2016-10-13T13:31:39.055Z\"\n}\n",
            "",
            0
        )
    );
    let stopped = cluster.dcos("marathon deployment stop D1").await;
    assert_eq!(stopped, said("", "", 0));
    let message = json!({ "message": "DeploymentPlan D9 does not exist" });
    cluster.marathon("DELETE v2/deployments/D9", 404, message);
    let unknown = cluster.dcos("marathon deployment rollback D9").await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.err.contains("DeploymentPlan D9 does not exist"),
        "{unknown:?}"
    );
}

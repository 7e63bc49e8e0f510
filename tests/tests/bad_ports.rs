//! Ports of the edge that cannot be: the service is left out or exposed elsewhere, with a warning, and no other suffers.

use serde_json::{Value, json};
use zddcluster_client::HttpError;
use zddcluster_tests::{Bystander, ClusterSandbox, Options, eventually};

/// The edge's own port: `/haproxy?stats` and signals.
const STATS_PORT: u16 = 9090;

/// Starts the test service with this service port, exposed as the label says.
async fn expose(
    cluster: &ClusterSandbox,
    app_id: &str,
    service_port: u16,
    label: &str,
) -> anyhow::Result<()> {
    let app = json!({
        "id": app_id, "cpus": 0.1, "mem": 32,
        "env": {"SIMPLE_SERVICE_VERSION": app_id},
        "portDefinitions": [{"port": service_port}],
        "labels": {"HAPROXY_GROUP": "external", "HAPROXY_0_PORT": label},
        "container": {
            "type": "DOCKER",
            "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"},
        },
    });
    cluster.post_app(&app).await
}

/// What answers on this port of the edge.
async fn ask(cluster: &ClusterSandbox, port: u16) -> Result<Value, HttpError> {
    let url = format!("http://{}:{port}/endpoint0", cluster.host(2));
    cluster.http().get_json(&url).await
}

/// Waits until this app answers there.
async fn answers(cluster: &ClusterSandbox, port: u16, app_id: &str) {
    eventually("the service at the edge", || async {
        match ask(cluster, port).await {
            Ok(answer) if answer["version"] == app_id => Ok(()),
            other => Err(format!("{app_id} at {port}: {other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn ports_that_cannot_be_harm_no_other_service() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start_with(Options::args(&["--with", "marathon-lb"])).await?;
    cluster.settled().await;
    let bystander = Bystander::start(&cluster).await?;
    expose(&cluster, "/good", 10_050, "10050").await?;
    answers(&cluster, 10_050, "/good").await;

    // The front door's port, but on the edge's own address.
    expose(&cluster, "/front", 10_051, "8080").await?;
    answers(&cluster, 8080, "/front").await;
    // No port: the service port.
    expose(&cluster, "/too-big", 10_052, "70000").await?;
    answers(&cluster, 10_052, "/too-big").await;
    // The edge's own.
    expose(&cluster, "/own", 10_053, "9090").await?;
    let warnings = [
        "port 9090 is the edge's own: the service is not exposed app_id=/own about=HAPROXY_0_PORT",
        "\"70000\" is no port (1-65535): the service port 10052 is used app_id=/too-big about=HAPROXY_0_PORT",
    ];
    eventually("the edge to warn", || async {
        let args = ["task", "log", "--lines", "100", "marathon-lb", "stderr"];
        let log = cluster.dcos_ok(&args, "").await;
        let log = log.map_err(|error| format!("{error:#}"))?;
        match warnings.iter().find(|warning| !log.contains(**warning)) {
            None => Ok(()),
            Some(missing) => Err(format!("{missing} is not in {log}")),
        }
    })
    .await;
    for port in [STATS_PORT, 10_053, 10_051] {
        let answer = ask(&cluster, port).await;
        assert!(answer.is_err(), "{port}: {answer:?}");
    }

    // All the others are where they were.
    let stats = format!("http://{}:{STATS_PORT}/haproxy?stats;csv", cluster.host(2));
    let (status, csv) = cluster.send_to(http::Method::GET, &stats, "", &[]).await?;
    let csv = csv.as_str().unwrap_or_default();
    assert!(status.is_success() && csv.contains("good_10050"), "{csv}");
    assert!(!csv.contains("own_"), "{csv}");
    for (port, app_id) in [(10_050, "/good"), (8080, "/front"), (10_052, "/too-big")] {
        assert_eq!(ask(&cluster, port).await?["version"], app_id);
    }
    bystander.is_unharmed(&cluster).await
}

//! Why something waits: the queue as Marathon shows it, and in words.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::cluster::{Cluster, keys};

/// Three that want 2.5 of an agent's 4 cpus each.
const BIG: &str = r#"{"id": "/zdd/big", "cmd": "sleep 1", "cpus": 2.5, "mem": 32, "instances": 3}"#;

/// A cluster of two agents that has room for two of three instances.
async fn crowded() -> Cluster {
    let cluster = Cluster::with_agent().await;
    cluster.add_agent("127.0.0.12").await;
    cluster.call(Method::POST, "/v2/apps", BIG).await;
    let app_id = zddcluster_model::AppId::absolute("/zdd/big");
    cluster
        .until("two run and one waits", |state| {
            let running = state
                .tasks
                .values()
                .filter(|task| task.started_at.is_some());
            running.count() == 2 && state.queued_of(&app_id) == 1
        })
        .await;
    cluster
}

#[tokio::test]
async fn the_queue_shows_offers_as_later_marathons_do() {
    let cluster = crowded().await;
    let plain = cluster.get("/v2/queue").await.body;
    assert_eq!(keys(&plain["queue"][0]), ["app", "count", "delay"]);
    let answer = cluster.get("/v2/queue?embed=lastUnusedOffers").await;
    let item = &answer.body["queue"][0];
    assert_eq!(
        keys(item),
        [
            "app",
            "count",
            "delay",
            "since",
            "processedOffersSummary",
            "lastUnusedOffers"
        ]
    );
    // Roles that are not set are left out with the offers, and null without, as it is in 1.3.
    let app = |item: &Value| item["app"].get("acceptedResourceRoles").cloned();
    assert_eq!(app(item), None);
    assert_eq!(app(&plain["queue"][0]), Some(Value::Null));
    let summary = &item["processedOffersSummary"];
    assert_eq!(
        keys(summary),
        [
            "processedOffersCount",
            "unusedOffersCount",
            "lastUnusedOfferAt",
            "lastUsedOfferAt",
            "rejectSummaryLastOffers",
            "rejectSummaryLaunchAttempt"
        ]
    );
    assert_eq!(
        (
            &summary["processedOffersCount"],
            &summary["unusedOffersCount"]
        ),
        (&json!(4), &json!(2))
    );
    let step = |reason: &str, declined: u64, processed: u64| json!({"reason": reason, "declined": declined, "processed": processed});
    assert_eq!(
        summary["rejectSummaryLastOffers"],
        json!([
            step("UnfulfilledRole", 0, 2),
            step("UnfulfilledConstraint", 0, 2),
            step("NoCorrespondingReservationFound", 0, 2),
            step("InsufficientCpus", 2, 2),
            step("InsufficientMemory", 0, 0),
            step("InsufficientDisk", 0, 0),
            step("InsufficientGpus", 0, 0),
            step("InsufficientPorts", 0, 0),
        ])
    );
    assert_eq!(
        summary["rejectSummaryLaunchAttempt"][3],
        step("InsufficientCpus", 2, 4)
    );
    let unused = item["lastUnusedOffers"].as_array().unwrap();
    assert_eq!(unused.len(), 2);
    assert_eq!(keys(&unused[0]), ["offer", "reason", "timestamp"]);
    assert_eq!(unused[0]["reason"], json!(["InsufficientCpus"]));
    let offer = &unused[0]["offer"];
    assert_eq!(
        keys(offer),
        ["id", "hostname", "agentId", "resources", "attributes"]
    );
    assert_eq!(offer["hostname"], "127.0.0.11");
    let resources = offer["resources"].as_array().unwrap();
    assert_eq!(
        resources[..4],
        [
            json!({"name": "cpus", "role": "*", "scalar": 1.5}),
            json!({"name": "mem", "role": "*", "scalar": 14829}),
            json!({"name": "disk", "role": "*", "scalar": 35577}),
            json!({"name": "gpus", "role": "*", "scalar": 0}),
        ]
    );
    // The task's port is not offered.
    let tasks = cluster.get("/v2/tasks").await.body;
    let mut tasks = tasks["tasks"].as_array().unwrap().iter();
    let task = tasks.find(|task| task["host"] == "127.0.0.11").unwrap();
    let port = task["ports"][0].as_u64().unwrap();
    assert_eq!(
        resources[4]["ranges"],
        json!([{"begin": 1025, "end": port - 1}, {"begin": port + 1, "end": 32000}])
    );
    cluster.stop().await;
}

#[tokio::test]
async fn what_waits_is_explained_in_words_and_parts() {
    let cluster = crowded().await;
    let unknown = cluster.get("/zdd/v1/explain/zdd/none").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.body["message"], "App '/zdd/none' does not exist");
    let wrong = cluster.call(Method::POST, "/zdd/v1/explain", "{}").await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);

    let explained = cluster.get("/zdd/v1/explain/zdd/big").await.body;
    let id = explained["deployments"][0]["id"].as_str().unwrap();
    let text = explained["text"].as_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "/zdd/big: 2 of 3 instances run");
    assert_eq!(
        lines[1],
        format!("deployment {id}, step 2 of 2 (scales /zdd/big), waits for:")
    );
    assert!(
        lines[2].starts_with("  1 instance of /zdd/big to find an agent, since "),
        "{text}"
    );
    assert_eq!(
        lines[3..],
        [
            "    agent 127.0.0.11 has 1.5 cpus free, 2.5 wanted",
            "    agent 127.0.0.12 has 1.5 cpus free, 2.5 wanted",
            "    hint: lower cpus, stop or scale down what runs there, or add an agent",
        ]
    );
    let reason = &explained["queue"]["refusals"][0]["reasons"][0];
    assert_eq!(
        *reason,
        json!({
            "reason": "InsufficientCpus", "text": "has 1.5 cpus free, 2.5 wanted",
            "resource": "cpus", "wanted": 2.5, "free": 1.5, "total": 4.0,
        })
    );
    let all = cluster.get("/zdd/v1/explain").await.body;
    assert_eq!(all["deployments"][0]["waitsFor"][0]["kind"], "agent");
    assert_eq!(all["apps"], json!([]));
    assert_eq!(all["isWaiting"], true);

    // Room is made: nothing is waited for.
    let put = r#"{"instances": 2}"#;
    let force = "/v2/apps/zdd/big?force=true";
    cluster.call(Method::PUT, force, put).await;
    cluster.until_idle().await;
    let explained = cluster.get("/zdd/v1/explain//zdd/big").await.body;
    assert_eq!(
        explained["text"],
        "/zdd/big: 2 of 2 instances run\nnothing is waited for"
    );
    let all = cluster.get("/zdd/v1/explain").await.body;
    assert_eq!(
        (&all["text"], &all["isWaiting"]),
        (&json!("nothing is waited for"), &json!(false))
    );
    cluster.stop().await;
}

#[tokio::test]
async fn of_a_plan_over_many_apps_the_one_asked_about_is_explained_first() {
    let cluster = Cluster::with_agent().await;
    let apps: Vec<_> = (10..30)
        .map(|n| json!({ "id": format!("/g/a{n}"), "cmd": "x", "cpus": 9 }))
        .collect();
    let body = json!(apps).to_string();
    let answer = cluster.call(Method::PUT, "/v2/apps", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let waiting = zddcluster_model::AppId::absolute("/g/a29");
    cluster
        .until("all wait", |state| state.queued_of(&waiting) == 1)
        .await;
    let answer = cluster.get("/zdd/v1/explain/g/a29").await;
    let text = answer.body["text"].as_str().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[1].contains("scales /g/a19, and 10 more), waits for"),
        "{text}"
    );
    assert!(
        lines[2].contains("1 instance of /g/a29 to find an agent"),
        "{text}"
    );
    let first = &answer.body["deployments"][0]["waitsFor"][0];
    assert!(
        first["text"].as_str().unwrap().contains("/g/a29"),
        "{first}"
    );
    cluster.stop().await;
}

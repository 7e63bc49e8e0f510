//! `dcos marathon debug …`.

use serde_json::{Value, json};

use super::{Cluster, said};

const QUEUE: &str = "GET v2/queue?embed=lastUnusedOffers";

fn item() -> Value {
    let step = |reason: &str, processed: u64, declined: u64| json!({ "reason": reason, "processed": processed, "declined": declined });
    json!({
        "app": { "id": "/zdd/base", "cpus": 8, "mem": 32, "disk": 0, "constraints": [], "acceptedResourceRoles": null, "ports": [0] },
        "count": 4,
        "since": "2016-10-13T13:31:39.055Z",
        "delay": { "timeLeftSeconds": 0, "overdue": true },
        "processedOffersSummary": {
            "processedOffersCount": 6,
            "unusedOffersCount": 6,
            "lastUnusedOfferAt": "2016-10-13T13:31:40.055Z",
            "rejectSummaryLastOffers": [
                step("UnfulfilledRole", 3, 1), step("UnfulfilledConstraint", 2, 0), step("InsufficientCpus", 2, 2),
                step("InsufficientMemory", 0, 0), step("InsufficientDisk", 0, 0), step("InsufficientPorts", 0, 0),
            ],
        },
        "lastUnusedOffers": [
            { "offer": { "hostname": "10.0.3.193" }, "reason": ["InsufficientCpus", "InsufficientPorts"], "timestamp": "T2" },
            { "offer": { "hostname": "10.0.3.192" }, "reason": ["UnfulfilledRole"], "timestamp": "T1" },
        ],
    })
}

#[tokio::test]
async fn what_waits_is_listed() {
    let cluster = Cluster::start().await;
    cluster.marathon(QUEUE, 200, json!({ "queue": [] }));
    assert_eq!(cluster.dcos("marathon debug list").await, said("", "", 0));
    cluster.marathon(QUEUE, 200, json!({ "queue": [item()] }));
    let listed = cluster.dcos("marathon debug list").await;
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(
        lines,
        [
            "ID         SINCE                     INSTANCES TO LAUNCH  WAITING  PROCESSED OFFERS  UNUSED OFFERS  \
             LAST UNUSED OFFER         LAST USED OFFER",
            "/zdd/base  2016-10-13T13:31:39.055Z  4                    True     6                 6              \
             2016-10-13T13:31:40.055Z  ---",
        ]
    );
    let listed = cluster.dcos("marathon debug list --json").await;
    assert_eq!(
        serde_json::from_str::<Value>(&listed.out).unwrap(),
        json!([item()])
    );
}

#[tokio::test]
async fn declined_offers_are_counted_and_told() {
    let cluster = Cluster::start().await;
    cluster.marathon(QUEUE, 200, json!({ "queue": [item()] }));
    assert_eq!(
        cluster.dcos("marathon debug summary zdd/base").await.out,
        "RESOURCE     REQUESTED  MATCHED  PERCENTAGE\n\
         ROLE         [*]        2 / 3    66.67%\n\
         CONSTRAINTS  []         2 / 2    100.00%\n\
         CPUS         8          0 / 2    0.00%\n\
         MEM          32         0 / 0    ---\n\
         DISK         0          0 / 0    ---\n\
         PORTS        [0]        0 / 0    ---\n"
    );
    assert_eq!(
        cluster.dcos("marathon debug details /zdd/base").await.out,
        "HOSTNAME    ROLE  CONSTRAINTS  CPUS  MEM  DISK  PORTS  RECEIVED\n\
         10.0.3.192   -         ok       ok    ok   ok     ok   T1\n\
         10.0.3.193   ok        ok       -     ok   ok     -    T2\n"
    );
    let none = said("", "No apps found in Marathon queue\n", 1);
    assert_eq!(cluster.dcos("marathon debug summary /x").await, none);
    assert_eq!(cluster.dcos("marathon debug details /x").await, none);
    // Marathon 1.3 counts no offers.
    let old = json!({ "app": { "id": "/x" }, "count": 1, "delay": { "overdue": true } });
    cluster.marathon(QUEUE, 200, json!({ "queue": [old] }));
    let refused = cluster.dcos("marathon debug summary /x").await;
    assert!(
        refused
            .err
            .starts_with("This command is not supported on your cluster\nhint: "),
        "{refused:?}"
    );
    assert_eq!(
        cluster.dcos("marathon debug details /x").await,
        said("", "", 0)
    );
}

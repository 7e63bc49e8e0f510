//! The rows of contract marathon §2.7, and that the help page promises nothing that is not there.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use zddcluster_store::MemoryStore;

use super::cluster::{Cluster, PATIENCE, keys};
use crate::LogFilter;
use crate::api::help::ROUTES;

#[tokio::test]
async fn every_route_of_the_help_page_is_there() {
    // contract: pages
    let cluster = Cluster::start().await;
    let help = cluster.get("/help").await;
    assert_eq!(help.status, StatusCode::FOUND);
    assert_eq!(help.headers["location"], "api-console/index.html");
    let page = cluster
        .get("/service/marathon/api-console/index.html")
        .await;
    assert_eq!(page.status, StatusCode::OK);
    for (method, path, meaning) in ROUTES {
        assert!(
            page.text.contains(path) && page.text.contains(meaning),
            "{path}"
        );
        let method: Method = method.parse().unwrap();
        let path = path
            .replace("{id}", "x")
            .replace("{group}", "x")
            .replace("{path}", "x")
            .replace("{task}", "x.y")
            .replace("{version}", "2016-10-13T13:31:39.085Z");
        let answer = cluster.call(method.clone(), &path, "").await;
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(!message.starts_with("URI not found"), "{method} {path}");
        // The event stream alone answers so to whom does not ask for events.
        if path != "/v2/events" {
            assert_ne!(
                answer.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
        }
    }
    for path in ["/marathon/", "/service/marathon", "/ui/"] {
        let answer = cluster.get(path).await;
        assert_eq!(
            (answer.status, &answer.headers["location"]),
            (StatusCode::FOUND, &"/".parse().unwrap())
        );
    }
    cluster.stop().await;
}

#[tokio::test]
async fn info_has_every_key_and_no_other() {
    // contract: info-keys, info-marathon-config, info-zookeeper-config, plugins, schema
    let cluster = Cluster::start().await;
    let info = cluster.get("/v2/info").await.body;
    let top = "name version buildref elected leader frameworkId marathon_config zookeeper_config \
               event_subscriber http_config";
    assert_eq!(keys(&info), top.split_whitespace().collect::<Vec<_>>());
    let marathon = "master failover_timeout framework_name ha checkpoint local_port_min \
                    local_port_max executor hostname webui_url mesos_role task_launch_timeout \
                    task_reservation_timeout reconciliation_initial_delay reconciliation_interval \
                    mesos_user leader_proxy_connection_timeout_ms leader_proxy_read_timeout_ms \
                    features mesos_leader_ui_url";
    assert_eq!(
        keys(&info["marathon_config"]),
        marathon.split_whitespace().collect::<Vec<_>>()
    );
    let zookeeper = "zk zk_timeout zk_session_timeout zk_max_versions";
    assert_eq!(
        keys(&info["zookeeper_config"]),
        zookeeper.split_whitespace().collect::<Vec<_>>()
    );
    assert_eq!(keys(&info["http_config"]), ["http_port", "https_port"]);
    assert_eq!(keys(&info["event_subscriber"]), ["type", "http_endpoints"]);
    assert_eq!(
        cluster.get("/v2/plugins").await.body,
        json!({"plugins": []})
    );
    let schema = cluster.get("/v2/schemas/app").await;
    assert_eq!(schema.body["properties"]["cmd"]["minLength"], 1);
    cluster.stop().await;
}

#[tokio::test]
async fn the_log_is_changed_by_its_form() {
    // contract: pages
    let current = Arc::new(Mutex::new("info".to_owned()));
    let (shown, changed) = (Arc::clone(&current), Arc::clone(&current));
    let log = LogFilter::new(
        move || shown.lock().unwrap().clone(),
        move |text| {
            if text.contains('!') {
                return Err("no filter".to_owned());
            }
            *changed.lock().unwrap() = text.to_owned();
            Ok(())
        },
    );
    let cluster =
        Cluster::start_configured(MemoryStore::new(), |config| config.log = Some(log)).await;
    let post = |body: &'static str| {
        Request::post(cluster.url("/logging"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from_static(body.as_bytes()))
            .unwrap()
    };
    assert!(
        cluster
            .get("/logging")
            .await
            .text
            .contains("value=\"info\"")
    );
    let changed = cluster
        .request(post("filter=warn%2Czddcluster_master%3D%22debug"))
        .await;
    assert_eq!(changed.status, StatusCode::OK);
    assert!(
        changed
            .text
            .contains("value=\"warn,zddcluster_master=&quot;debug\""),
        "{}",
        changed.text
    );
    let refused = cluster.request(post("filter=%21")).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        refused.body["details"],
        json!([{"path": "/filter", "errors": ["no filter"]}])
    );
    assert_eq!(*current.lock().unwrap(), "warn,zddcluster_master=\"debug");
    cluster.stop().await;
    // A master whose process keeps its log to itself says so.
    let cluster = Cluster::start().await;
    assert_eq!(
        cluster.get("/logging").await.status,
        StatusCode::NOT_IMPLEMENTED
    );
    cluster.stop().await;
}

#[tokio::test]
async fn metrics_in_three_forms() {
    // contract: metrics, z-22
    let cluster = Cluster::with_agent().await;
    cluster
        .deploy(r#"{"id": "/g/a", "cmd": "true", "instances": 2}"#)
        .await;
    cluster.get("/v2/apps/none").await;
    let json = cluster.get("/metrics").await.body;
    let top = [
        "version",
        "gauges",
        "counters",
        "histograms",
        "meters",
        "timers",
    ];
    assert_eq!(keys(&json), top);
    let gauge =
        |name: &str| json["gauges"][format!("service.mesosphere.marathon.{name}")]["value"].clone();
    assert_eq!(
        [
            gauge("app.count"),
            gauge("group.count"),
            gauge("task.running.count"),
            gauge("task.staged.count")
        ],
        [json!(1), json!(2), json!(2), json!(0)]
    );
    assert!(gauge("uptime").as_i64().is_some_and(|millis| millis >= 0));
    let text = async |accept: &str| {
        let request = Request::get(cluster.url("/metrics"))
            .header("accept", accept)
            .body(Bytes::new())
            .unwrap();
        cluster.request(request).await
    };
    let prometheus = text("text/plain").await;
    assert_eq!(
        prometheus.headers["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let value = |name: &str| -> f64 {
        let line = prometheus
            .text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("{name}: {}", prometheus.text));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("marathon_tasks{state=\"TASK_RUNNING\"}"), 2.0);
    assert_eq!(value("marathon_http_requests_total{status=\"404\"}"), 1.0);
    for (name, expected) in [
        ("marathon_app_instances{app=\"/g/a\"}", 2.0),
        ("marathon_app_queue_count{app=\"/g/a\"}", 0.0),
        ("marathon_app_tasks{app=\"/g/a\",state=\"running\"}", 2.0),
        ("marathon_app_tasks{app=\"/g/a\",state=\"healthy\"}", 0.0),
        ("marathon_deployment_oldest_seconds", 0.0),
        ("marathon_deployments_ended_total{result=\"success\"}", 1.0),
        ("marathon_deployments_ended_total{result=\"failed\"}", 0.0),
        ("marathon_tasks_ended_total{state=\"TASK_KILLED\"}", 0.0),
        ("marathon_task_launch_seconds_count", 2.0),
    ] {
        assert_eq!(value(name), expected, "{name}");
    }
    assert!(value("marathon_events_published_total") >= 6.0);
    let flushes = value("marathon_store_flush_seconds_count");
    assert_eq!(
        flushes,
        cluster.store.n_commits() as f64 - 1.0,
        "the first made the identity"
    );
    assert_eq!(
        value("marathon_store_flush_seconds_bucket{le=\"+Inf\"}"),
        flushes
    );
    assert!(
        prometheus
            .text
            .contains("# TYPE marathon_events_published_total counter\n")
    );
    let open = text("application/openmetrics-text; version=1.0.0,text/plain;q=0.5").await;
    assert_eq!(
        open.headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(
        open.text
            .contains("# TYPE marathon_events_published counter\nmarathon_events_published_total ")
    );
    assert!(open.text.ends_with("# EOF\n"));
    // Which of the two is the caller's choice.
    for (accept, form) in [
        (
            "application/openmetrics-text;q=0.4,text/plain;q=0.5,*/*;q=0.1",
            "text/plain",
        ),
        (
            "application/openmetrics-text;q=0.6,text/plain;q=0.5,*/*;q=0.1",
            "application/openmetrics-text",
        ),
        ("application/openmetrics-text;q=0.1,*/*", "application/json"),
    ] {
        let request = Request::get(cluster.url("/metrics")).header("accept", accept);
        let answer = cluster.request(request.body(Bytes::new()).unwrap()).await;
        let content_type = answer.headers["content-type"].to_str().unwrap();
        assert!(content_type.starts_with(form), "{accept}: {content_type}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn nobody_leads_a_cluster_that_goes_down() {
    // contract: error-404-leader
    let cluster = Cluster::start().await;
    assert_eq!(cluster.get("/v2/info").await.body["elected"], json!(true));
    let stopped = cluster.handle.stop_tasks(PATIENCE).await;
    assert!(stopped.unwrap());
    let answer = cluster.get("/v2/leader").await;
    let message = json!({"message": "There is no leader"});
    assert_eq!(
        (answer.status, answer.body),
        (StatusCode::NOT_FOUND, message)
    );
    let info = cluster.get("/v2/info").await.body;
    assert_eq!(
        (&info["elected"], &info["leader"]),
        (&json!(false), &Value::Null)
    );
    cluster.stop().await;
}

#[tokio::test]
async fn who_cannot_abdicate_keeps_its_streams() {
    // contract: leader-abdicate
    let cluster = Cluster::start().await;
    let stopped = cluster.handle.stop_tasks(PATIENCE).await;
    assert!(stopped.unwrap());
    let mut seen = cluster.handle.shared.bus.observe();
    let request = Request::get(cluster.url("/v2/events"))
        .header("accept", "text/event-stream")
        .body(Bytes::new())
        .unwrap();
    let _stream = cluster.open(request).await;
    let answer = cluster.call(Method::DELETE, "/v2/leader", "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    // What comes before the next event is all that the refusal has led to.
    let url = "/v2/eventSubscriptions?callbackUrl=http://127.0.0.1:9/";
    cluster.call(Method::POST, url, "").await;
    let mut names = Vec::new();
    while names.last() != Some(&"subscribe_event") {
        let event = tokio::time::timeout(PATIENCE, seen.recv()).await;
        names.push(event.unwrap().unwrap().name());
    }
    assert_eq!(names, ["event_stream_attached", "subscribe_event"]);
    assert_eq!(cluster.handle.shared.bus.counts().streams, 1);
    cluster.stop().await;
}

#[tokio::test]
async fn the_only_master_forwards_nothing_and_answers_what_others_forward() {
    // contract: http-forwarded
    let cluster = Cluster::start().await;
    let address = cluster.handle.front().to_string();
    let app = r#"{"id": "/a", "cmd": "true", "instances": 0}"#;
    // Somebody in between, or this very master, has forwarded it: it has come to the one who leads.
    for (via, status) in [
        ("1.1 other:8080".to_owned(), StatusCode::CREATED),
        (format!("1.1 {address}"), StatusCode::CONFLICT),
    ] {
        let request = Request::builder()
            .method(Method::POST)
            .uri(cluster.url("/v2/apps"))
            .header("content-type", "application/json")
            .header("x-marathon-via", &via)
            .body(app.into());
        let answer = cluster.request(request.unwrap()).await;
        assert_eq!(answer.status, status, "{via}");
        assert!(answer.headers.get("x-marathon-via").is_none());
        let leader = format!("http://{address}");
        assert_eq!(answer.headers["x-marathon-leader"], leader.as_str());
    }
    // Nobody leads when it goes down, and nobody is there to forward to.
    let stopped = cluster.handle.stop_tasks(PATIENCE).await;
    assert!(stopped.unwrap());
    let answer = cluster.call(Method::POST, "/v2/apps", app).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body["message"].is_string(), "{}", answer.body);
    assert!(answer.headers.get("x-marathon-via").is_none());
    cluster.stop().await;
}

#[tokio::test]
async fn a_leader_that_abdicates_takes_its_deployments_up_again() {
    // contract: leader-abdicate, stream-abdication, z-15, resume-plans
    // contract: event-scheduler_registered_event
    let cluster = Cluster::start().await;
    // No agent: its instance waits.
    let created = cluster
        .call(Method::POST, "/v2/apps", r#"{"id": "/a", "cmd": "true"}"#)
        .await;
    let id = created.body["deployments"][0]["id"].clone();
    let mut seen = cluster.handle.shared.bus.observe();
    let request = Request::get(cluster.url("/v2/events"))
        .header("accept", "text/event-stream")
        .body(Bytes::new())
        .unwrap();
    let mut stream = cluster.lines(request).await;
    let answer = cluster.call(Method::DELETE, "/v2/leader", "").await;
    assert_eq!(answer.body, json!({"message": "Leadership abdicated"}));
    // The stream ends.
    while stream.next(PATIENCE).await.unwrap().is_some() {}
    // The deployment begins again with its first step and comes to where it was.
    let mut steps = Vec::new();
    let mut is_elected = false;
    while steps.len() < 2 {
        let event = tokio::time::timeout(PATIENCE, seen.recv())
            .await
            .unwrap()
            .unwrap();
        let event = serde_json::to_value(&event).unwrap();
        // What comes before is of the life before.
        is_elected |= event["eventType"] == "scheduler_reregistered_event";
        if is_elected && event["eventType"] == "deployment_info" {
            assert_eq!(event["plan"]["id"], id);
            steps.push(event["currentStep"]["actions"][0]["action"].clone());
        }
    }
    assert_eq!(steps, ["StartApplication", "ScaleApplication"]);
    let running: Value = cluster.get("/v2/deployments").await.body;
    assert_eq!(
        (&running[0]["id"], &running[0]["currentStep"]),
        (&id, &json!(2))
    );
    cluster.add_agent("127.0.0.11").await;
    cluster.until_idle().await;
    assert_eq!(
        cluster.get("/v2/apps/a").await.body["app"]["tasksRunning"],
        1
    );
    cluster.stop().await;
}

#[tokio::test]
async fn writes_are_json_or_nothing_where_marathon_says_so() {
    // contract: http-media-type
    let cluster = Cluster::start().await;
    for (method, path) in [
        ("POST", "/v2/apps"),
        ("PUT", "/v2/apps"),
        ("PUT", "/v2/apps/a"),
        ("DELETE", "/v2/apps/a"),
        ("POST", "/v2/apps/a/restart"),
        ("DELETE", "/v2/apps/a/tasks"),
        ("POST", "/v2/tasks/delete"),
        ("DELETE", "/v2/queue/a/delay"),
        ("DELETE", "/v2/deployments/a"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(cluster.url(path))
            .header("content-type", "text/plain")
            .body(Bytes::from_static(b"x"))
            .unwrap();
        let answer = cluster.request(request).await;
        assert_eq!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{method} {path}"
        );
        assert_eq!(answer.body, json!({"message": "Unsupported Media Type"}));
    }
    // Too large is too large everywhere, and invalid UTF-8 is not JSON.
    for path in [
        "/v2/apps",
        "/v2/groups",
        "/v2/tasks/delete",
        "/v2/eventSubscriptions",
    ] {
        let large = vec![b' '; crate::http::BODY_LIMIT + 1];
        let request = Request::post(cluster.url(path)).body(large.into()).unwrap();
        let answer = cluster.request(request).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert!(answer.body["message"].is_string(), "{path}");
    }
    let request = Request::post(cluster.url("/v2/apps"))
        .body(Bytes::from_static(b"{\"id\": \"/a\", \"cmd\": \"\xff\"}"))
        .unwrap();
    let answer = cluster.request(request).await;
    assert_eq!(
        (answer.status, &answer.body["message"]),
        (StatusCode::BAD_REQUEST, &json!("Invalid JSON"))
    );
    let answer = cluster
        .call(Method::PUT, "/v2/apps/a%ff", r#"{"cmd": "true"}"#)
        .await;
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        answer.text
    );
    cluster.stop().await;
}

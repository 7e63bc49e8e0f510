//! `storeUrls`: what servers are asked, and what becomes of downloads (contract marathon §1.2, §3.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use zddcluster_model::AppId;
use zddcluster_store::MemoryStore;

use super::cluster::{Cluster, PATIENCE};

async fn start(directory: &std::path::Path) -> Cluster {
    let path = directory.join("artifacts");
    Cluster::start_configured(MemoryStore::new(), |config| config.artifacts = Some(path)).await
}

/// A server with `/x.tgz`, which `/moved.tgz` leads to, and `/lost.bin`, which it only says it has.
async fn file_server(cluster: &Cluster) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async |method: Method, uri: http::Uri| {
        match (uri.path(), method) {
            ("/x.tgz", _) => (StatusCode::OK, [("etag", "\"one\"")], "content"),
            ("/moved.tgz", _) => (StatusCode::FOUND, [("location", "/x.tgz")], ""),
            ("/lost.bin", Method::HEAD) => (StatusCode::OK, [("etag", "\"two\"")], ""),
            _ => (StatusCode::NOT_FOUND, [("etag", "")], ""),
        }
    });
    let token = cluster.tasks.token().clone();
    let serve = zddcluster_runtime::serve(listener, router, token);
    cluster
        .tasks
        .spawn("files", zddcluster_runtime::OnFailure::Log, serve);
    url
}

#[tokio::test]
async fn store_urls_are_copied_before_tasks_fetch_them() {
    // contract: field-storeUrls, plan-resolve
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    cluster.add_agent("127.0.0.11").await;
    let server = file_server(&cluster).await;
    let mut seen = cluster.handle.shared.bus.observe();
    let app = |urls: &[&str]| json!({"id": "/a", "cmd": "true", "storeUrls": urls}).to_string();
    let good = format!("{server}/x.tgz");
    let bad = format!("{server}/none");
    for bad in [bad.as_str(), "ftp://x/y", "nonsense", &server] {
        let refused = cluster
            .call(Method::POST, "/v2/apps", &app(&[&good, bad]))
            .await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
        let details = json!([{"path": "/storeUrls(1)", "errors": ["URL could not be resolved."]}]);
        assert_eq!(refused.body["details"], details, "{bad}");
    }
    cluster.deploy(&app(&[&good])).await;
    let mut steps = Vec::new();
    while steps.len() < 3 {
        let event = tokio::time::timeout(PATIENCE, seen.recv()).await;
        let event = serde_json::to_value(event.unwrap().unwrap()).unwrap();
        if event["eventType"] == "deployment_step_success" {
            steps.push(event["currentStep"]["actions"][0]["action"].clone());
        }
    }
    assert_eq!(
        steps,
        ["ResolveArtifacts", "StartApplication", "ScaleApplication"]
    );
    let shown = cluster.get("/v2/apps/a").await.body["app"].clone();
    assert_eq!(
        (&shown["storeUrls"], &shown["fetch"][0]["extract"]),
        (&json!([]), &json!(true))
    );
    let uri = shown["fetch"][0]["uri"].as_str().unwrap();
    let root = directory.path().canonicalize().unwrap().join("artifacts");
    let path = uri
        .strip_prefix(&format!("file://{}/", root.display()))
        .unwrap();
    assert!(
        path.ends_with("/x.tgz") && path.len() == 40 + "/x.tgz".len(),
        "{path}"
    );
    assert_eq!(
        cluster.get(&format!("/v2/artifacts/{path}")).await.text,
        "content"
    );
    // The same again is no change.
    let again = cluster
        .call(Method::PUT, "/v2/apps/a", &app(&[&good]))
        .await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text);
    assert_eq!(
        cluster.get("/v2/apps/a").await.body["app"]["version"],
        shown["version"]
    );
    assert_eq!(cluster.get("/v2/deployments").await.body, json!([]));
    // In a group's body, too.
    let group = |url: &str| {
        let app = json!({"id": "b", "cmd": "true", "storeUrls": [url]});
        json!({"id": "/g", "groups": [{"id": "h", "apps": [app]}]}).to_string()
    };
    let refused = cluster.call(Method::PUT, "/v2/groups", &group(&bad)).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        refused.text
    );
    let made = cluster.call(Method::PUT, "/v2/groups", &group(&good)).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    cluster.until_idle().await;
    let below = cluster.get("/v2/apps/g/h/b").await.body["app"].clone();
    assert_eq!(
        (&below["fetch"], &below["storeUrls"]),
        (&shown["fetch"], &json!([]))
    );
    // Servers move files.
    let moved = format!("{server}/moved.tgz");
    let update = cluster
        .call(Method::PUT, "/v2/apps/a", &app(&[&moved]))
        .await;
    assert_eq!(update.status, StatusCode::OK, "{}", update.text);
    cluster.until_idle().await;
    let shown = cluster.get("/v2/apps/a").await.body["app"]["fetch"].clone();
    let uris = shown.as_array().unwrap().iter();
    let mut uris = uris.map(|fetch| fetch["uri"].as_str().unwrap());
    let uri = uris.find(|uri| uri.ends_with("/moved.tgz")).unwrap();
    let path = uri.strip_prefix(&format!("file://{}/", root.display()));
    let path = path.unwrap();
    let stored = cluster.get(&format!("/v2/artifacts/{path}")).await;
    assert_eq!(stored.text, "content");
    // A file that cannot be had after all fails the deployment.
    let lost = format!("{server}/lost.bin");
    let update = cluster
        .call(Method::PUT, "/v2/apps/a", &app(&[&lost]))
        .await;
    assert_eq!(update.status, StatusCode::OK, "{}", update.text);
    loop {
        let event = tokio::time::timeout(PATIENCE, seen.recv()).await;
        let event = serde_json::to_value(event.unwrap().unwrap()).unwrap();
        if event["eventType"] == "deployment_failed" {
            assert_eq!(event["id"], update.body["deploymentId"]);
            break;
        }
    }
    cluster.until_idle().await;
    cluster.stop().await;
}

/// What a server has seen; its GETs wait until there are permits.
struct Server {
    url: String,
    heads: AtomicUsize,
    gets: AtomicUsize,
    /// GETs under way, and how many there were at most.
    open: AtomicUsize,
    most: AtomicUsize,
    gate: Semaphore,
}

/// A GET under way.
struct Open(Arc<Server>);

impl Open {
    fn new(server: Arc<Server>) -> Self {
        server.gets.fetch_add(1, Ordering::SeqCst);
        let n = server.open.fetch_add(1, Ordering::SeqCst) + 1;
        server.most.fetch_max(n, Ordering::SeqCst);
        Self(server)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    async fn start(cluster: &Cluster) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            heads: AtomicUsize::new(0),
            gets: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        });
        let this = Arc::clone(&server);
        let router = axum::Router::new().fallback(async move |method: Method| {
            if method == Method::HEAD {
                this.heads.fetch_add(1, Ordering::SeqCst);
                return "";
            }
            let _open = Open::new(Arc::clone(&this));
            let _turn = this.gate.acquire().await;
            "content"
        });
        let token = cluster.tasks.token().clone();
        let serve = zddcluster_runtime::serve(listener, router, token);
        cluster
            .tasks
            .spawn("files", zddcluster_runtime::OnFailure::Log, serve);
        server
    }

    fn heads(&self) -> usize {
        self.heads.load(Ordering::SeqCst)
    }

    fn app(&self, id: &str, more: &Value) -> String {
        let url = format!("{}{id}.tgz", self.url);
        let mut app = json!({"id": id, "cmd": "true", "cpus": 0.01, "storeUrls": [url]});
        let object = app.as_object_mut().unwrap();
        object.extend(more.as_object().unwrap().clone());
        app.to_string()
    }

    /// Waits until so many GETs are under way.
    async fn until_open(&self, n: usize) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.open.load(Ordering::SeqCst) != n {
            let open = self.open.load(Ordering::SeqCst);
            assert!(
                tokio::time::Instant::now() < deadline,
                "{open} open, not {n}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn nobody_is_asked_for_what_is_refused_or_only_tried() {
    // contract: field-storeUrls, group-dry-run
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    let server = Server::start(&cluster).await;
    let post = async |app: &str| cluster.call(Method::POST, "/v2/apps", app).await;
    let invalid = post(&server.app("/a", &json!({"cpus": -1}))).await;
    assert_eq!(invalid.status, StatusCode::UNPROCESSABLE_ENTITY);
    // No agent: the plan waits, and locks its app.
    post(r#"{"id": "/a", "cmd": "true"}"#).await;
    let there = post(&server.app("/a", &json!({}))).await;
    assert_eq!(there.status, StatusCode::CONFLICT, "{}", there.text);
    let locked = cluster
        .call(Method::PUT, "/v2/apps/a", &server.app("/a", &json!({})))
        .await;
    assert_eq!(locked.status, StatusCode::CONFLICT, "{}", locked.text);
    let body: Value = serde_json::from_str(&server.app("/g/b", &json!({}))).unwrap();
    let group = json!({"id": "/g", "apps": [body]}).to_string();
    let tried = cluster
        .call(Method::PUT, "/v2/groups?dryRun=true", &group)
        .await;
    let expected = json!([
        {"actions": [{"action": "ResolveArtifacts", "app": "/g/b"}]},
        {"actions": [{"action": "StartApplication", "app": "/g/b"}]},
        {"actions": [{"action": "ScaleApplication", "app": "/g/b"}]},
    ]);
    assert_eq!(tried.body["steps"], expected, "{}", tried.text);
    assert_eq!(server.heads(), 0);
    let taken = post(&server.app("/c", &json!({}))).await;
    assert_eq!((taken.status, server.heads()), (StatusCode::CREATED, 1));
    // Whether the same again is a change, and so a matter for the lock, is for the server to say.
    server.gate.add_permits(1);
    let app_id = AppId::absolute("/c");
    cluster
        .until("the file is there", |state| {
            let mut plans = state.deployments_of(&app_id);
            plans.any(|deployment| deployment.step_idx > 0)
        })
        .await;
    let again = cluster
        .call(Method::PUT, "/v2/apps/c", &server.app("/c", &json!({})))
        .await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text);
    assert_eq!(server.heads(), 2);
    cluster.stop().await;
}

#[tokio::test]
async fn a_download_ends_with_the_plan_that_waits_for_it() {
    // contract: plan-resolve
    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    let server = Server::start(&cluster).await;
    let app = server.app("/a", &json!({"instances": 0}));
    let created = cluster.call(Method::POST, "/v2/apps", &app).await;
    server.until_open(1).await;
    let id = created.body["deployments"][0]["id"].as_str().unwrap();
    let path = format!("/v2/deployments/{id}?force=true");
    cluster.call(Method::DELETE, &path, "").await;
    server.until_open(0).await;
    // A leader that is elected anew orders anew, once.
    cluster
        .call(
            Method::PUT,
            "/v2/apps/a",
            &server.app("/a", &json!({"cmd": "x"})),
        )
        .await;
    server.until_open(1).await;
    let gets = server.gets.load(Ordering::SeqCst);
    cluster.call(Method::DELETE, "/v2/leader", "").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while server.gets.load(Ordering::SeqCst) == gets {
        assert!(tokio::time::Instant::now() < deadline, "not ordered again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.until_open(1).await;
    server.gate.add_permits(100);
    cluster.until_idle().await;
    assert_eq!(server.gets.load(Ordering::SeqCst), gets + 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_bounded_number_of_files_is_brought_at_once() {
    const N_APPS: usize = 3 * crate::downloads::AT_ONCE;

    let directory = tempfile::tempdir().unwrap();
    let cluster = start(directory.path()).await;
    let server = Server::start(&cluster).await;
    for n in 0..N_APPS {
        let app = server.app(&format!("/a{n}"), &json!({"instances": 0}));
        let created = cluster.call(Method::POST, "/v2/apps", &app).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    }
    server.until_open(crate::downloads::AT_ONCE).await;
    // Whoever comes too many comes soon.
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.gate.add_permits(N_APPS);
    cluster.until_idle().await;
    let (gets, most) = (&server.gets, &server.most);
    assert_eq!(gets.load(Ordering::SeqCst), N_APPS);
    assert_eq!(most.load(Ordering::SeqCst), crate::downloads::AT_ONCE);
    cluster.stop().await;
}

//! A master with fake agents, and ways to talk to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::timeout;
use zddcluster_client::{HttpClient, Lines};
use zddcluster_model::agent::{
    Command, PROTOCOL, Registered, Registration, Resources, StatusUpdate, TaskReport,
};
use zddcluster_model::task::IpAddress;
use zddcluster_model::{TaskId, TaskState};
use zddcluster_runtime::{Error, OnFailure, Tasks, serve};
use zddcluster_store::MemoryStore;

use crate::{Config, Handle, start};

/// Far more than anything here takes; only a failing test waits that long.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a fake agent waits for more orders before it reports.
const TOGETHER: Duration = Duration::from_millis(1);

/// A running master.
pub(super) struct Cluster {
    pub(super) handle: Handle,
    pub(super) tasks: Tasks,
    pub(super) store: MemoryStore,
    http: HttpClient,
}

/// An answer, its body as JSON (`Null` if it is none).
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    pub(super) text: String,
}

impl Cluster {
    pub(super) async fn start() -> Self {
        Self::start_on(MemoryStore::new()).await
    }

    /// Starts a master on what an earlier one left in `store`.
    pub(super) async fn start_on(store: MemoryStore) -> Self {
        Self::start_at(store, 0).await
    }

    /// The same with a clock that is ahead of the others by so many milliseconds.
    pub(super) async fn start_at(store: MemoryStore, clock_offset_millis: i64) -> Self {
        Self::start_configured(store, |config| {
            config.clock_offset_millis = clock_offset_millis
        })
        .await
    }

    /// The same with whatever else of the configuration is to be different.
    pub(super) async fn start_configured(
        store: MemoryStore,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let tasks = Tasks::new();
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mesos = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::new(front, mesos, Box::new(store.clone()));
        config.speed = 20.0;
        configure(&mut config);
        let handle = start(config, &tasks).await.unwrap();
        handle.wait_ready().await;
        Self {
            handle,
            tasks,
            store,
            http: HttpClient::new(),
        }
    }

    /// Starts a master and one private agent.
    pub(super) async fn with_agent() -> Self {
        let cluster = Self::start().await;
        cluster.add_agent("127.0.0.11").await;
        cluster
    }

    pub(super) async fn add_agent(&self, hostname: &str) {
        self.add_agent_with(hostname, None).await;
    }

    /// Adds an agent whose tasks answer every request with the status in `answer`.
    pub(super) async fn add_serving_agent(&self, hostname: &str, answer: Arc<AtomicU16>) {
        let router = axum::Router::new().fallback(async move || {
            let status = StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap();
            (status, [("content-type", "text/plain")], "as told")
        });
        self.add_agent_with(hostname, Some(router)).await;
    }

    /// Adds an agent whose tasks serve `router` on their first port, if given, from before they are RUNNING.
    pub(super) async fn add_agent_with(&self, hostname: &str, router: Option<axum::Router>) {
        let tasks = self.tasks.child("fake-tasks");
        let agent = FakeAgent::new(self.handle.front(), hostname, router, tasks);
        self.tasks.spawn("fake-agent", OnFailure::Log, agent.run());
        self.until("the agent is connected", |state| {
            state
                .agents
                .values()
                .any(|agent| agent.hostname == hostname && agent.is_connected)
        })
        .await;
    }

    pub(super) async fn stop(&self) {
        self.tasks.shut_down(PATIENCE).await.unwrap();
    }

    /// Waits until the published state fulfils a condition.
    pub(super) async fn until(
        &self,
        what: &str,
        is_met: impl FnMut(&zddcluster_engine::State) -> bool,
    ) {
        let waited = timeout(PATIENCE, self.handle.wait_until(is_met)).await;
        assert_eq!(
            waited.ok(),
            Some(true),
            "{what}: {:#?}",
            self.handle.state().tasks
        );
    }

    /// Waits until no deployment runs.
    pub(super) async fn until_idle(&self) {
        self.until("no deployment runs", |state| state.deployments.is_empty())
            .await;
    }

    pub(super) async fn request(&self, request: Request<Bytes>) -> Answer {
        let answer = self.http.send(request, PATIENCE).await.unwrap();
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.handle.front())
    }

    /// A call with a JSON body, or none if it is empty.
    pub(super) async fn call(&self, method: Method, path: &str, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(self.url(path));
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        self.request(request.body(body.to_owned().into()).unwrap())
            .await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "").await
    }

    /// POSTs an app and waits until it runs.
    pub(super) async fn deploy(&self, app: &str) -> Answer {
        let answer = self.call(Method::POST, "/v2/apps", app).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        self.until_idle().await;
        answer
    }

    /// Opens a stream.
    pub(super) async fn open(&self, request: Request<Bytes>) -> Incoming {
        let answer = self.http.open(request, PATIENCE).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.into_body()
    }

    /// Opens a stream of lines.
    pub(super) async fn lines(&self, request: Request<Bytes>) -> Lines {
        Lines::new(self.open(request).await)
    }
}

/// Answers launches with RUNNING and kills with KILLED.
struct FakeAgent {
    master: SocketAddr,
    hostname: String,
    http: HttpClient,
    last_seq: u64,
    router: Option<axum::Router>,
    tasks: Tasks,
}

impl FakeAgent {
    fn new(master: SocketAddr, hostname: &str, router: Option<axum::Router>, tasks: Tasks) -> Self {
        let (hostname, http) = (hostname.to_owned(), HttpClient::new());
        Self {
            master,
            hostname,
            http,
            last_seq: 0,
            router,
            tasks,
        }
    }

    /// Serves on a task's first port.
    async fn serve_task(&self, port: u16) -> Result<(), Error> {
        let Some(router) = self.router.clone() else {
            return Ok(());
        };
        let listener = TcpListener::bind((self.hostname.as_str(), port)).await?;
        let token = self.tasks.token().clone();
        self.tasks
            .spawn("fake-task", OnFailure::Log, serve(listener, router, token));
        Ok(())
    }

    async fn run(mut self) -> Result<(), Error> {
        let registration = registration(&self.hostname, 5051);
        let base = format!("http://{}/zdd/v1/agents", self.master);
        let registered: Registered = self
            .http
            .send_json(Method::POST, &format!("{base}/register"), &registration)
            .await?;
        let id = registered.agent_id;
        let request = Request::get(format!("{base}/{id}/commands?epoch=1")).body(Bytes::new())?;
        let mut lines = Lines::new(self.http.open(request, PATIENCE).await?.into_body());
        while let Some(line) = lines.next(PATIENCE * 10).await? {
            let mut updates = Vec::from_iter(self.obey(&line).await?);
            // What comes together is reported together, as an agent does that has much to do.
            while let Ok(next) = timeout(TOGETHER, lines.next(PATIENCE)).await {
                let Some(line) = next? else { break };
                updates.extend(self.obey(&line).await?);
            }
            if updates.is_empty() {
                continue;
            }
            let url = format!("{base}/{id}/statuses?epoch=1");
            let acknowledged: Value = self.http.send_json(Method::POST, &url, &updates).await?;
            assert_eq!(acknowledged["acknowledged"], self.last_seq);
        }
        Ok(())
    }

    /// Does what a line of the stream says; none for a sign of life.
    async fn obey(&mut self, line: &str) -> Result<Option<StatusUpdate>, Error> {
        if line.is_empty() {
            return Ok(None);
        }
        let report = match serde_json::from_str(line)? {
            Command::Launch(task) => {
                if let Some(port) = task.ports.first() {
                    self.serve_task(*port).await?;
                }
                self.report(task.task_id, TaskState::Running)
            }
            Command::Kill { task_id, .. } => self.report(task_id, TaskState::Killed),
            Command::DestroyVolumes { .. } => return Ok(None),
        };
        self.last_seq += 1;
        let seq = self.last_seq;
        Ok(Some(StatusUpdate { seq, report }))
    }

    fn report(&self, task_id: TaskId, state: TaskState) -> TaskReport {
        let ip_addresses = vec![IpAddress {
            ip_address: self.hostname.clone(),
            protocol: "IPv4".to_owned(),
        }];
        TaskReport {
            task_id,
            state,
            message: String::new(),
            reason: None,
            ip_addresses,
        }
    }
}

/// What a private agent says at its first start.
pub(super) fn registration(hostname: &str, port: u16) -> Registration {
    Registration {
        protocol: PROTOCOL,
        agent_id: None,
        epoch: 1,
        hostname: hostname.to_owned(),
        port,
        role: "*".to_owned(),
        attributes: BTreeMap::new(),
        resources: Resources {
            cpus: 4.0,
            mem: 14861.0,
            disk: 35577.0,
            gpus: 0,
            ports: vec![(1025, 32000)],
            dynamic_ports: vec![(20000, 31999)],
        },
        tasks: Vec::new(),
        volumes: Vec::new(),
    }
}

/// The keys of an object, in their order.
pub(super) fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .map(|map| map.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

//! A small master that speaks the agent protocol, and an agent in front of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use zddcluster_agent::{Config, Containerizer, Handle, ProcessContainerizer};
use zddcluster_client::HttpClient;
use zddcluster_model::agent::{
    Acknowledged, Command, LaunchTask, Registered, Registration, Resources, StatusUpdate,
    TaskReport,
};
use zddcluster_model::{AgentId, AppId, TaskId, TaskState, Timestamp};
use zddcluster_runtime::{Failure, Tasks, Token};

/// A predicate that is not true by then never will be.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The executable that answers to `executor …`.
pub(crate) fn executable() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_zddcluster-executor"))
}

#[derive(Default)]
struct Seen {
    registrations: Vec<Registration>,
    statuses: Vec<StatusUpdate>,
    stream: Option<mpsc::UnboundedSender<String>>,
    /// Answer 503 to statuses.
    is_deaf: bool,
    fenced: bool,
}

/// The master.
#[derive(Clone)]
pub(crate) struct Master {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
}

impl Master {
    pub(crate) async fn start(tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Self {
            url,
            seen: Arc::default(),
        };
        let router = Router::new()
            .route("/zdd/v1/agents/register", post(register))
            .route("/zdd/v1/agents/{id}/commands", get(commands))
            .route("/zdd/v1/agents/{id}/statuses", post(statuses))
            .with_state(this.clone());
        let token = tasks.token().clone();
        tasks.spawn(
            "master",
            zddcluster_runtime::OnFailure::Log,
            zddcluster_runtime::serve(listener, router, token),
        );
        this
    }

    pub(crate) fn send(&self, command: &Command) {
        let line = serde_json::to_string(command).unwrap() + "\n";
        let seen = self.seen.lock().unwrap();
        seen.stream
            .as_ref()
            .expect("an agent is connected")
            .send(line)
            .unwrap();
    }

    pub(crate) fn launch(&self, launch: LaunchTask) {
        self.send(&Command::Launch(Box::new(launch)));
    }

    pub(crate) fn kill(&self, task: &str, grace: Duration) {
        let grace_millis = u64::try_from(grace.as_millis()).unwrap();
        self.send(&Command::Kill {
            task_id: TaskId::new(task),
            grace_millis,
        });
    }

    pub(crate) fn set_deaf(&self, is_deaf: bool) {
        self.seen.lock().unwrap().is_deaf = is_deaf;
    }

    pub(crate) fn fence(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.fenced = true;
        seen.stream = None;
    }

    pub(crate) fn drop_stream(&self) {
        self.seen.lock().unwrap().stream = None;
    }

    pub(crate) fn registrations(&self) -> Vec<Registration> {
        self.seen.lock().unwrap().registrations.clone()
    }

    pub(crate) fn reports(&self, task: &str) -> Vec<TaskReport> {
        let seen = self.seen.lock().unwrap();
        let of_task = seen
            .statuses
            .iter()
            .filter(|update| update.report.task_id.as_str() == task);
        of_task.map(|update| update.report.clone()).collect()
    }

    /// Waits for a task's state; returns its message.
    pub(crate) async fn state(&self, task: &str, state: TaskState) -> String {
        wait_for(&format!("{task} to be {}", state.as_str()), || {
            let reports = self.reports(task);
            let found = reports.iter().find(|report| report.state == state);
            match found {
                Some(report) => Ok(report.message.clone()),
                None => Err(format!("{reports:?}")),
            }
        })
        .await
    }
}

async fn register(
    State(master): State<Master>,
    Json(registration): Json<Registration>,
) -> Response {
    let mut seen = master.seen.lock().unwrap();
    if seen.fenced {
        return (StatusCode::CONFLICT, "fenced").into_response();
    }
    let agent_id = registration
        .agent_id
        .clone()
        .unwrap_or_else(|| AgentId::new("M-S1"));
    seen.registrations.push(registration);
    Json(Registered {
        agent_id,
        framework_id: "M-0000".to_owned(),
    })
    .into_response()
}

async fn commands(State(master): State<Master>, UrlPath(_id): UrlPath<String>) -> Response {
    let (sender, receiver) = mpsc::unbounded_channel::<String>();
    master.seen.lock().unwrap().stream = Some(sender);
    let lines = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver
            .recv()
            .await
            .map(|line| (Ok::<_, std::io::Error>(line), receiver))
    });
    Body::from_stream(lines.boxed()).into_response()
}

async fn statuses(
    State(master): State<Master>,
    Json(updates): Json<Vec<StatusUpdate>>,
) -> Response {
    let mut seen = master.seen.lock().unwrap();
    if seen.is_deaf {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    // An empty list is a sign of life.
    let acknowledged = updates.last().map_or(0, |update| update.seq);
    seen.statuses.extend(updates);
    Json(Acknowledged { acknowledged }).into_response()
}

/// Waits on a predicate; its last `Err` is in the panic's message.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) => {
                assert!(
                    tokio::time::Instant::now() < deadline,
                    "waited for {what}: {last}"
                );
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// A master, a work directory, and an agent that can be stopped and started.
pub(crate) struct World {
    pub(crate) master: Master,
    pub(crate) dir: tempfile::TempDir,
    master_tasks: Tasks,
    agent: Option<(Tasks, Handle)>,
    with_cgroups: bool,
    /// For agents started from now on.
    pub(crate) token: Option<Token>,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(false).await
    }

    pub(crate) async fn with_cgroups() -> Self {
        Self::with(true).await
    }

    async fn with(with_cgroups: bool) -> Self {
        let master_tasks = Tasks::new();
        let master = Master::start(&master_tasks).await;
        let dir = tempfile::Builder::new()
            .prefix("zdd-agent-")
            .tempdir()
            .unwrap();
        let mut world = Self {
            master,
            dir,
            master_tasks,
            agent: None,
            with_cgroups,
            token: None,
        };
        world.start_agent().await;
        world
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("work")
    }

    pub(crate) async fn start_agent(&mut self) {
        let tasks = Tasks::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let env = BTreeMap::new();
        let containerizer: Arc<dyn Containerizer> = match self.with_cgroups {
            true => Arc::new(ProcessContainerizer::new(executable(), env)),
            false => Arc::new(ProcessContainerizer::without_cgroups(executable(), env)),
        };
        let config = Config {
            master_url: self.master.url.clone(),
            hostname: "127.0.0.1".to_owned(),
            listener,
            work_dir: self.work_dir(),
            role: "*".to_owned(),
            attributes: BTreeMap::new(),
            resources: Resources {
                cpus: 4.0,
                mem: 14861.0,
                disk: 35577.0,
                gpus: 0,
                ports: vec![(1025, 2180)],
                dynamic_ports: vec![(20000, 20100)],
            },
            executable: executable(),
            builtin_env: BTreeMap::new(),
            allowed_hosts: Vec::new(),
            token: self.token.clone(),
            containerizer: Some(containerizer),
            log_tail: Default::default(),
        };
        let handle = zddcluster_agent::start(config, &tasks).await.unwrap();
        handle.registered().await;
        let seen = Arc::clone(&self.master.seen);
        wait_for("the command stream", || {
            seen.lock()
                .unwrap()
                .stream
                .as_ref()
                .map(|_| ())
                .ok_or_else(String::new)
        })
        .await;
        self.agent = Some((tasks, handle));
    }

    /// Stops the agent; its tasks live on.
    pub(crate) async fn stop_agent(&mut self) {
        let (tasks, handle) = self.agent.take().unwrap();
        drop(handle);
        self.master.drop_stream();
        tasks.shut_down(Duration::from_secs(10)).await.unwrap();
    }

    /// How the agent failed.
    pub(crate) async fn failure(&self) -> Failure {
        self.agent.as_ref().unwrap().0.failed().await
    }

    pub(crate) fn task_dir(&self, task: &str) -> PathBuf {
        self.work_dir().join("meta/tasks").join(task)
    }

    pub(crate) fn sandbox(&self, task: &str) -> PathBuf {
        let container = container_id(task);
        self.work_dir().join(format!(
            "slaves/M-S1/frameworks/M-0000/executors/{task}/runs/{container}"
        ))
    }

    pub(crate) fn file(&self, task: &str, name: &str) -> String {
        std::fs::read_to_string(self.sandbox(task).join(name)).unwrap_or_default()
    }

    /// Waits until a file of the sandbox holds a text.
    pub(crate) async fn says(&self, task: &str, name: &str, text: &str) {
        wait_for(&format!("{name} of {task} to hold {text}"), || {
            let content = self.file(task, name);
            if content.contains(text) {
                Ok(())
            } else {
                Err(content)
            }
        })
        .await;
    }

    pub(crate) fn pid(&self, task: &str, file: &str) -> i32 {
        let text = std::fs::read(self.task_dir(task).join(file)).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        i32::try_from(record["pid"].as_i64().unwrap()).unwrap()
    }

    /// Where a path of the agent's own API is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.agent.as_ref().unwrap().1.address())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(self.url(path))
            .body(bytes::Bytes::new())
            .unwrap();
        let answer = HttpClient::new()
            .send(request, Duration::from_secs(10))
            .await
            .unwrap();
        (
            answer.status(),
            String::from_utf8_lossy(answer.body()).into_owned(),
        )
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.master_tasks.token().cancel();
        if let Some((tasks, _)) = &self.agent {
            tasks.token().cancel();
        }
        // Also when an assertion failed: no test leaves a process behind.
        for entry in std::fs::read_dir(self.work_dir().join("meta/tasks"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().join("process.json").exists()
                && !entry.path().join("exit.json").exists()
            {
                let pid = self.pid(&name, "process.json");
                // Not by `kill -9 -PID`: procps 4.0.2 reads `-1234` as -1, which is every process there is.
                if let Some(group) = Pid::from_raw(pid).filter(|group| !group.is_init()) {
                    let _ = kill_process_group(group, Signal::KILL);
                }
            }
        }
    }
}

/// A container's name is known to the whole machine, as a UUID would be: what is left of a task is found and killed by it. So the
/// test's name, which is its thread's, is part of it: tests that run at once may call their tasks alike.
pub(crate) fn container_id(task: &str) -> String {
    let thread = std::thread::current();
    let test = thread.name().expect("a test's thread has its name");
    let test = test.replace("::", ".");
    format!("test-{}-{test}-{task}", std::process::id())
}

/// A launch of a shell command; the rest as small as may be.
pub(crate) fn shell(task: &str, cmd: &str) -> LaunchTask {
    LaunchTask {
        task_id: TaskId::new(task),
        app_id: AppId::absolute("/zdd/base"),
        app_version: Timestamp::from_millis(1_476_272_335_934),
        framework_id: "M-0000".to_owned(),
        agent_id: AgentId::new("M-S1"),
        container_id: container_id(task),
        cmd: Some(cmd.to_owned()),
        args: None,
        user: None,
        container: None,
        network_name: None,
        env: BTreeMap::from([("MESOS_TASK_ID".to_owned(), task.to_owned())]),
        cpus: 0.1,
        mem: 32.0,
        disk: 0.0,
        ports: vec![1765],
        fetch: Vec::new(),
        volumes: Vec::new(),
        grace_millis: 3000,
    }
}

/// Whether a process is there and no zombie.
/// Waits for a process' end.
pub(crate) async fn ends(pid: i32) {
    let look = || match is_alive(pid) {
        true => Err(pid.to_string()),
        false => Ok(()),
    };
    wait_for("the process' end", look).await;
}

pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"));
    stat.is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .unwrap()
            .1
            .trim_start()
            .starts_with(['Z', 'X'])
    })
}

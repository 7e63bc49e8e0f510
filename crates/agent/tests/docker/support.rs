//! A containerizer over the machine's engine, an image with a shell, and all of it taken away at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use futures_util::StreamExt;
use zddcluster_agent::containerizer::{Exit, Order};
use zddcluster_agent::docker::DEFAULT_SOCKET;
use zddcluster_agent::{
    Containerizer, DockerConfig, DockerContainerizer, NewImages, ProcessContainerizer,
};
use zddcluster_model::agent::LaunchTask;
use zddcluster_model::app::{Container, ContainerKind, DockerEngine, Network};
use zddcluster_model::{AgentId, AppId, TaskId, Timestamp};
use zddcluster_runtime::Tasks;

/// A predicate that is not true by then never will be.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What the image's shell may call.
const PROGRAMS: [&str; 6] = ["sh", "sleep", "cat", "env", "tail", "seq"];

/// A world of its own: cluster name, directory, image, containerizer.
pub(crate) struct World {
    pub(crate) docker: Docker,
    pub(crate) cluster: String,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) containerizer: Arc<DockerContainerizer>,
    /// Images to take away.
    pub(crate) images: Vec<String>,
    networks: Vec<String>,
    tasks: Tasks,
}

/// Says why a test, or a part of it, does not run.
#[expect(
    clippy::print_stderr,
    reason = "who runs the tests is to know what did not run"
)]
fn skipped(why: impl std::fmt::Display) {
    eprintln!("skipped: {why}");
}

/// The engine, or a line that says why not.
async fn engine() -> Option<Docker> {
    match zddcluster_agent::docker::detect(DEFAULT_SOCKET).await {
        Ok(_) => Some(
            Docker::connect_with_unix(DEFAULT_SOCKET, 120, bollard::API_DEFAULT_VERSION)
                .unwrap()
                .negotiate_version()
                .await
                .unwrap(),
        ),
        Err(error) => {
            skipped(error);
            None
        }
    }
}

impl World {
    /// `None` without an engine.
    pub(crate) async fn start() -> Option<Self> {
        Self::through(DEFAULT_SOCKET.as_ref()).await
    }

    /// The containerizer reaches the engine through another socket.
    pub(crate) async fn through(socket: &Path) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let docker = engine().await?;
        let cluster = format!(
            "zddtest{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let tasks = Tasks::new();
        let mut world = Self {
            docker,
            containerizer: containerizer(socket, NewImages::AsContainers, &tasks),
            directory: tempfile::Builder::new()
                .prefix("zdd-docker-")
                .tempdir()
                .unwrap(),
            images: Vec::new(),
            networks: Vec::new(),
            cluster,
            tasks,
        };
        world.import_shell().await;
        Some(world)
    }

    /// Whether the engine's bridge is there, or a line that says that it is not: an engine may run without one.
    pub(crate) async fn has_bridge(&self) -> bool {
        let network = self.docker.inspect_network("bridge", None).await;
        let name = network
            .ok()
            .and_then(|network| network.options)
            .and_then(|options| options.get("com.docker.network.bridge.name").cloned());
        let is_there = name
            .as_ref()
            .is_some_and(|name| Path::new("/sys/class/net").join(name).exists());
        if !is_there {
            skipped(format_args!("the engine's bridge {name:?} is not there"));
        }
        is_there
    }

    /// A network beside the engine's own ones, or a line that says why not: an engine may run where no bridge can be made.
    pub(crate) async fn make_network(&mut self) -> Option<String> {
        let request = NetworkCreateRequest {
            name: self.cluster.clone(),
            driver: Some("bridge".to_owned()),
            ..NetworkCreateRequest::default()
        };
        if let Err(error) = self.docker.create_network(request).await {
            skipped(format_args!("the engine makes no bridges: {error}"));
            return None;
        }
        self.networks.push(self.cluster.clone());
        Some(self.cluster.clone())
    }

    /// The image with a shell.
    pub(crate) fn shell_image(&self) -> String {
        format!("{}:1", self.cluster)
    }

    async fn import_shell(&mut self) {
        let options = CreateImageOptionsBuilder::new()
            .from_src("-")
            .repo(&self.cluster)
            .tag("1")
            .build();
        let body = bollard::body_full(shell_tar().into());
        let mut answers = self
            .docker
            .create_image(Some(options), Some(body), None)
            .boxed();
        while let Some(answer) = answers.next().await {
            answer.unwrap();
        }
        self.images.push(self.shell_image());
    }

    /// The agent ends and another one starts; containers live on.
    pub(crate) async fn restart_agent(&mut self) {
        self.restart_agent_through(DEFAULT_SOCKET.as_ref()).await;
    }

    pub(crate) async fn restart_agent_through(&mut self, socket: &Path) {
        self.restart(socket, NewImages::AsContainers).await;
    }

    /// The next agent is told to use processes.
    pub(crate) async fn restart_agent_with_processes(&mut self) {
        let socket = DEFAULT_SOCKET.as_ref();
        self.restart(socket, NewImages::AsProcesses).await;
    }

    async fn restart(&mut self, socket: &Path, images: NewImages) {
        self.tasks.shut_down(Duration::from_secs(10)).await.unwrap();
        self.tasks = Tasks::new();
        self.containerizer = containerizer(socket, images, &self.tasks);
    }

    /// The directory that an agent would work in.
    pub(crate) fn work_dir(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    /// An order for a shell command.
    pub(crate) fn shell(&self, task: &str, cmd: &str) -> Order {
        self.order(task, |launch, engine| {
            launch.cmd = Some(cmd.to_owned());
            engine.image = self.shell_image();
        })
    }

    pub(crate) fn order(
        &self,
        task: &str,
        change: impl FnOnce(&mut LaunchTask, &mut DockerEngine),
    ) -> Order {
        let agent = format!("{}-S1", self.cluster);
        let mut engine = DockerEngine {
            image: String::new(),
            network: Some(Network::Host),
            port_mappings: None,
            privileged: false,
            parameters: Vec::new(),
            force_pull_image: false,
        };
        let mut launch = LaunchTask {
            task_id: TaskId::new(task),
            app_id: AppId::absolute("/zdd/base"),
            app_version: Timestamp::from_millis(1_476_272_335_934),
            framework_id: format!("{}-0000", self.cluster),
            agent_id: AgentId::new(agent.as_str()),
            container_id: task.to_owned(),
            cmd: None,
            args: None,
            user: None,
            container: None,
            network_name: None,
            env: BTreeMap::from([("MESOS_TASK_ID".to_owned(), task.to_owned())]),
            cpus: 0.1,
            mem: 32.0,
            disk: 0.0,
            ports: Vec::new(),
            fetch: Vec::new(),
            volumes: Vec::new(),
            grace_millis: 3000,
        };
        change(&mut launch, &mut engine);
        launch.container = Some(Container {
            kind: ContainerKind::Docker,
            volumes: Vec::new(),
            docker: Some(zddcluster_model::app::Docker::Engine(engine)),
            appc: None,
        });
        let base = self.work_dir();
        let task_dir = base.join("meta/tasks").join(task);
        std::fs::create_dir_all(&task_dir).unwrap();
        Order {
            launch,
            sandbox: base.join("runs").join(task),
            volumes: self.directory.path().join("volumes"),
            task_dir,
            container_name: format!("mesos-{agent}.{task}"),
            ip: "127.0.0.1".to_owned(),
            boot_id: None,
        }
    }

    /// Launches and waits for the end.
    pub(crate) async fn run(&self, order: &Order) -> Exit {
        self.containerizer.launch(order).await.unwrap();
        self.end_of(order).await
    }

    pub(crate) async fn end_of(&self, order: &Order) -> Exit {
        tokio::time::timeout(LIMIT, self.containerizer.wait(order))
            .await
            .unwrap_or_else(|_| panic!("{} does not end", order.container_name))
    }

    pub(crate) async fn inspect(&self, order: &Order) -> Option<ContainerInspectResponse> {
        self.docker
            .inspect_container(&order.container_name, None)
            .await
            .ok()
    }

    pub(crate) async fn remove_behind_its_back(&self, order: &Order) {
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        self.docker
            .remove_container(&order.container_name, Some(options))
            .await
            .unwrap();
    }
}

fn containerizer(socket: &Path, images: NewImages, tasks: &Tasks) -> Arc<DockerContainerizer> {
    let executable = std::env::current_exe().unwrap();
    let processes = ProcessContainerizer::without_cgroups(
        PathBuf::from(env!("CARGO_BIN_EXE_zddcluster-executor")),
        BTreeMap::new(),
    );
    let config = DockerConfig {
        socket: socket.display().to_string(),
        executable,
        built_in_env: BTreeMap::from([("ZDD_SPEED".to_owned(), "1".to_owned())]),
        images,
    };
    Arc::new(DockerContainerizer::start(config, processes, tasks))
}

pub(crate) fn file(order: &Order, name: &str) -> String {
    std::fs::read_to_string(order.sandbox.join(name)).unwrap_or_default()
}

/// Waits until a file of the sandbox holds a text, while something else goes on.
pub(crate) async fn says(order: &Order, name: &str, text: &str) {
    wait_for(&format!("{name} to hold {text}"), || {
        let content = file(order, name);
        if content.contains(text) {
            Ok(())
        } else {
            Err(content)
        }
    })
    .await;
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

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.token().cancel();
        let cluster = self.cluster.clone();
        let images = std::mem::take(&mut self.images);
        let networks = std::mem::take(&mut self.networks);
        // Also when an assertion failed: no test leaves a container or an image behind.
        let cleaner = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(clean(&cluster, &images, &networks));
        });
        let _ = cleaner.join();
    }
}

async fn clean(cluster: &str, images: &[String], networks: &[String]) {
    let Some(docker) = engine().await else { return };
    let filters = HashMap::from([("label", vec![format!("zddcluster.cluster={cluster}")])]);
    let options = ListContainersOptionsBuilder::new()
        .all(true)
        .filters(&filters)
        .build();
    for container in docker
        .list_containers(Some(options))
        .await
        .unwrap_or_default()
    {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let _ = docker
            .remove_container(&container.id.unwrap_or_default(), Some(options))
            .await;
    }
    for network in networks {
        let _ = docker.remove_network(network).await;
    }
    for image in images {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        let _ = docker.remove_image(image, Some(options), None).await;
    }
}

/// The shell, a few programs, and what they are linked with.
pub(crate) fn shell_tar() -> Vec<u8> {
    let mut files: BTreeSet<(PathBuf, PathBuf)> = BTreeSet::new();
    for program in PROGRAMS {
        let path = ["/bin", "/usr/bin"]
            .iter()
            .map(|directory| Path::new(directory).join(program))
            .find(|path| path.exists())
            .unwrap();
        let linked = std::process::Command::new("ldd")
            .arg(&path)
            .output()
            .unwrap();
        for word in String::from_utf8_lossy(&linked.stdout).split_whitespace() {
            if word.starts_with('/') {
                files.insert((word.into(), Path::new(word).canonicalize().unwrap()));
            }
        }
        files.insert((
            Path::new("/bin").join(program),
            path.canonicalize().unwrap(),
        ));
    }
    let mut tar = tar::Builder::new(Vec::new());
    for (inside, outside) in files {
        tar.append_path_with_name(outside, inside.strip_prefix("/").unwrap())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

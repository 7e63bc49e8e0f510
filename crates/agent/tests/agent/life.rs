//! Lives of tasks, with a real executor and real processes, under a small master.

use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::common::{World, container_id, is_alive, shell, wait_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use zddcluster_model::TaskState::{Failed, Finished, Killed, Running};
use zddcluster_model::app::{Container, ContainerKind, Docker, DockerEngine, Fetch};
use zddcluster_model::task::StatusReason;

const GRACE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn starts_reports_and_ends() {
    // contract: env-executor, task-state-finished, task-state-failed, command-run-cmd
    let world = World::start().await;
    world
        .master
        .launch(shell("ok.1", "echo out; echo err >&2; pwd; env; exit 0"));
    assert_eq!(
        world.master.state("ok.1", Finished).await,
        "Command exited with status 0"
    );
    let reports = world.master.reports("ok.1");
    assert_eq!(reports[0].state, Running);
    assert_eq!(reports[0].ip_addresses[0].ip_address, "127.0.0.1");

    let (stdout, stderr) = (world.file("ok.1", "stdout"), world.file("ok.1", "stderr"));
    assert!(stdout.starts_with("out\n"), "{stdout}");
    let sandbox = world.sandbox("ok.1").display().to_string();
    for line in [
        sandbox.as_str(),
        &format!("MESOS_CONTAINER_NAME=mesos-M-S1.{}", container_id("ok.1")),
        &format!("MESOS_SANDBOX={sandbox}"),
        "LIBPROCESS_IP=127.0.0.1",
        "MESOS_TASK_ID=ok.1",
    ] {
        assert!(
            stdout.lines().any(|found| found == line),
            "{line} in {stdout}"
        );
    }
    assert!(
        !stdout.contains("CARGO"),
        "the agent's environment leaks: {stdout}"
    );
    let (banner, rest) = stderr.split_once('\n').unwrap();
    assert!(
        banner.starts_with('I') && banner.contains("containerizer] Running /bin/sh -c"),
        "{banner}"
    );
    assert_eq!(rest, "err\n");

    world.master.launch(shell("bad.1", "exit 3"));
    assert_eq!(
        world.master.state("bad.1", Failed).await,
        "Command exited with status 3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_with_a_precise_word() {
    let world = World::start().await;
    let docker = |image: &str| Container {
        kind: ContainerKind::Docker,
        volumes: Vec::new(),
        docker: Some(Docker::Engine(DockerEngine {
            image: image.to_owned(),
            network: None,
            port_mappings: None,
            privileged: false,
            parameters: Vec::new(),
            force_pull_image: false,
        })),
        appc: None,
    };
    let mut foreign = shell("foreign.1", "true");
    foreign.container = Some(docker("nginx:1.9"));
    let mut nobody = shell("user.1", "true");
    nobody.user = Some("no-such-user".to_owned());
    let mut missing = shell("missing.1", "");
    (missing.cmd, missing.args) = (None, Some(vec!["/no/such/program".to_owned()]));
    let mut escape = shell("escape.1", "true");
    escape.container_id = "../../x".to_owned();
    for (launch, words) in [
        (
            foreign,
            "image nginx:1.9 needs Docker, and this agent runs tasks as processes",
        ),
        (nobody, "no such user"),
        (
            missing,
            "Failed to execute '/no/such/program': No such file or directory",
        ),
        (escape, "'../../x' cannot be the name of a directory"),
    ] {
        let task = launch.task_id.to_string();
        world.master.launch(launch);
        let message = world.master.state(&task, Failed).await;
        assert!(message.contains(words), "{message}");
        assert!(
            world
                .master
                .reports(&task)
                .iter()
                .all(|report| report.state != Running),
            "{task}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_task_end_in_good_order() {
    let world = World::start().await;
    world.master.launch(shell(
        "tidy.1",
        "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
    ));
    world.says("tidy.1", "stdout", "up").await;
    world.master.kill("tidy.1", GRACE);
    assert_eq!(
        world.master.state("tidy.1", Killed).await,
        "Command exited with status 0"
    );
    assert_eq!(world.file("tidy.1", "stdout"), "up\nbye\n");

    world.master.launch(shell("plain.1", "sleep 1000"));
    world.master.state("plain.1", Running).await;
    world.master.kill("plain.1", GRACE);
    assert_eq!(
        world.master.state("plain.1", Killed).await,
        "Command terminated with signal Terminated"
    );
}

/// Children in the group, and one in a session of its own; all deaf to SIGTERM.
const STUBBORN: &str = "trap '' TERM; (while :; do sleep 1; done) & echo child $!; \
    setsid sh -c 'trap \"\" TERM; echo child $$; while :; do sleep 1; done' & \
    echo child $$; while :; do sleep 1; done";

fn children(stdout: &str) -> Vec<i32> {
    stdout
        .lines()
        .filter_map(|line| line.strip_prefix("child ")?.parse().ok())
        .collect()
}

async fn kills_all(world: World, task: &str) {
    world.master.launch(shell(task, STUBBORN));
    let pids = wait_for("three processes", || {
        let pids = children(&world.file(task, "stdout"));
        if pids.len() == 3 {
            Ok(pids)
        } else {
            Err(format!("{pids:?} {}", world.file(task, "stderr")))
        }
    })
    .await;
    assert!(pids.iter().all(|&pid| is_alive(pid)));
    let began = tokio::time::Instant::now();
    world.master.kill(task, Duration::from_millis(500));
    // A repeat, as the master sends it, shortens nothing.
    world.master.kill(task, GRACE);
    assert_eq!(
        world.master.state(task, Killed).await,
        "Command terminated with signal Killed"
    );
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert_eq!(pids.iter().filter(|&&pid| is_alive(pid)).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_reaches_every_process() {
    kills_all(World::start().await, "deaf.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigkill_reaches_every_process_of_the_control_group() {
    kills_all(World::with_cgroups().await, "deaf.2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_left_behind_hold_nothing_up() {
    let world = World::start().await;
    world.master.launch(shell(
        "left.1",
        "sleep 1000 & echo child $!; setsid sleep 1000 & echo child $!; echo last",
    ));
    world.master.state("left.1", Finished).await;
    let stdout = world.file("left.1", "stdout");
    assert!(stdout.ends_with("last\n"), "{stdout}");
    assert!(
        children(&stdout).into_iter().all(|pid| !is_alive(pid)),
        "{stdout}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_order_starts_nothing() {
    let world = World::start().await;
    let launch = shell("twice.1", "echo started; sleep 1000");
    world.master.launch(launch.clone());
    world.master.launch(launch.clone());
    world.says("twice.1", "stdout", "started").await;
    world.master.launch(launch.clone());
    world.master.kill("twice.1", GRACE);
    world.master.state("twice.1", Killed).await;
    let settled = world.task_dir("twice.1").join("acknowledged");
    wait_for("the end to be settled", || {
        settled.exists().then_some(()).ok_or_else(String::new)
    })
    .await;
    let n_told = world.master.reports("twice.1").len();
    world.master.launch(launch);
    // Ended and settled: the master is told again, nothing runs.
    wait_for("the end again", || {
        let reports = world.master.reports("twice.1");
        if reports.len() > n_told {
            Ok(())
        } else {
            Err(format!("{reports:?}"))
        }
    })
    .await;
    assert_eq!(world.file("twice.1", "stdout"), "started\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_it_started() {
    let world = World::start().await;
    world.master.launch(shell("early.1", "sleep 1000"));
    world.master.kill("early.1", GRACE);
    world.master.state("early.1", Killed).await;
    world.master.kill("unknown.1", GRACE);
    assert_eq!(
        world.master.state("unknown.1", Killed).await,
        "Task is not known to this agent"
    );
}

async fn over_memory(world: World) {
    // The shell's own anonymous memory grows; a child of it would do as well.
    let eat = "x=0123456789abcdef; while :; do x=$x$x; done";
    world.master.launch(shell("fat.2", eat));
    let message = world.master.state("fat.2", Failed).await;
    assert!(
        message.starts_with("Memory limit exceeded: Requested: 32MB Maximum Used: "),
        "{message}"
    );
    let reports = world.master.reports("fat.2");
    let reason = reports.last().and_then(|report| report.reason);
    assert_eq!(reason, Some(StatusReason::MemoryLimit));
    let (_, state) = world.get("/state").await;
    assert!(
        state.contains(r#""reason":"REASON_CONTAINER_LIMITATION_MEMORY""#),
        "{state}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_group_ends_a_task_over_its_memory() {
    over_memory(World::with_cgroups().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watcher_ends_a_task_over_its_memory() {
    let world = World::start().await;
    // Grows to 64 MiB and stays there: nothing else would end it.
    let eat = "x=0123456789abcdef; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do x=$x$x; done; sleep 1000";
    world.master.launch(shell("fat.1", eat));
    let message = world.master.state("fat.1", Failed).await;
    assert!(
        message.starts_with("Memory limit exceeded: Requested: 32MB Maximum Used: "),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_megabytes_of_log_are_kept_in_two_files() {
    let world = World::start().await;
    world.master.launch(shell(
        "loud.1",
        "yes 0123456789012345678901234567890 | head -c 31457280; echo the last line",
    ));
    world.master.state("loud.1", Finished).await;
    let size = |name: &str| {
        std::fs::metadata(world.sandbox("loud.1").join(name))
            .unwrap()
            .len()
    };
    assert!(size("stdout") <= 10 << 20 && size("stdout.1") <= 10 << 20);
    assert!(size("stdout.1") > 9 << 20);
    assert!(world.file("loud.1", "stdout").ends_with("the last line\n"));
    assert!(!world.sandbox("loud.1").join("stdout.2").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_as_its_user() {
    let world = World::start().await;
    let mut launch = shell("nobody.1", "id -un; echo mine > file; echo $HOME");
    launch.user = Some("nobody".to_owned());
    world.master.launch(launch);
    if rustix::process::geteuid().is_root() {
        world.master.state("nobody.1", Finished).await;
        assert!(world.file("nobody.1", "stdout").starts_with("nobody\n"));
        assert_eq!(world.file("nobody.1", "file"), "mine\n");
    } else {
        let message = world.master.state("nobody.1", Failed).await;
        assert!(message.contains("cannot change its user"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_opens_when_its_files_are_there() {
    let world = World::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut launch = shell("closed.1", "cat brought; echo mine > own");
    let is_root = rustix::process::geteuid().is_root();
    launch.user = is_root.then(|| "nobody".to_owned());
    launch.fetch = vec![Fetch {
        uri: format!("http://{address}/brought"),
        extract: false,
        executable: false,
        cache: false,
        output_file: None,
    }];
    world.master.launch(launch);
    let (mut stream, _) = listener.accept().await.unwrap();
    let _ = stream.read(&mut [0; 1024]).await.unwrap();
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let sandbox = world.sandbox("closed.1");
    wait_for("the download to begin", || {
        match sandbox.join("brought").exists() {
            true => Ok(()),
            false => Err(String::new()),
        }
    })
    .await;
    let seen = || {
        let metadata = std::fs::metadata(&sandbox).unwrap();
        (metadata.mode() & 0o777, metadata.uid())
    };
    let me = rustix::process::geteuid().as_raw();
    assert_eq!(seen(), (0o700, me));
    stream.write_all(b"there").await.unwrap();
    world.master.state("closed.1", Finished).await;
    assert_eq!(seen(), (0o755, if is_root { 65534 } else { me }));
    assert_eq!(world.file("closed.1", "stdout"), "there");
    assert_eq!(world.file("closed.1", "own"), "mine\n");
}

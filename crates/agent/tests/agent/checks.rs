//! Commands run beside a task for the master's health checks.

use std::time::Duration;

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::Redirect;
use axum::routing::get;
use zddcluster_client::HttpClient;
use zddcluster_model::TaskState::Running;
use zddcluster_model::agent::{Check, CheckEnd, CheckPort, RunCheck};
use zddcluster_runtime::{OnFailure, Tasks, Token};

use crate::common::{World, is_alive, shell, wait_for};

async fn check(world: &World, task: &str, command: &str, limit: Duration) -> (StatusCode, String) {
    check_as(None, world, task, command, limit).await
}

async fn check_as(
    token: Option<&Token>,
    world: &World,
    task: &str,
    command: &str,
    limit: Duration,
) -> (StatusCode, String) {
    let check = Check::Command(command.to_owned());
    put(token, world, task, check, limit).await
}

async fn put(
    token: Option<&Token>,
    world: &World,
    task: &str,
    check: Check,
    limit: Duration,
) -> (StatusCode, String) {
    let question = RunCheck {
        check,
        timeout_millis: u64::try_from(limit.as_millis()).unwrap(),
    };
    let url = world.url(&format!("/zdd/v1/tasks/{task}/check"));
    let request = Request::post(url)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&question).unwrap().into())
        .unwrap();
    let answer = HttpClient::new()
        .with_authorization(token.map(Token::authorization))
        .send(request, Duration::from_secs(30))
        .await
        .unwrap();
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    (answer.status(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_in_the_tasks_environment_and_ends_in_time() {
    let world = World::start().await;
    let mut launch = shell("checked.1", "echo yes > ready; exec sleep 1000");
    launch.env.insert("COLOUR".to_owned(), "green".to_owned());
    world.master.launch(launch);
    world.master.state("checked.1", Running).await;
    wait_for("the task's file", || {
        let content = world.file("checked.1", "ready");
        if content.is_empty() {
            Err(content)
        } else {
            Ok(())
        }
    })
    .await;
    let long = Duration::from_secs(20);
    let ended = async |command: &str, limit: Duration| {
        let (status, text) = check(&world, "checked.1", command, limit).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str::<CheckEnd>(&text).unwrap()
    };
    let here = "grep yes ready && test \"$COLOUR\" = green && test \"$PWD\" = \"$MESOS_SANDBOX\"";
    assert_eq!(ended(here, long).await, CheckEnd::Exited { status: 0 });
    assert_eq!(ended("exit 3", long).await, CheckEnd::Exited { status: 3 });
    assert_eq!(
        ended("kill -9 $$", long).await,
        CheckEnd::Signalled { signal: 9 }
    );
    // It and what it started are ended.
    let hangs = "sleep 1001 & echo $! > child; wait";
    assert_eq!(
        ended(hangs, Duration::from_millis(500)).await,
        CheckEnd::TimedOut
    );
    let child: i32 = world.file("checked.1", "child").trim().parse().unwrap();
    wait_for("the command's child to end", || {
        if is_alive(child) {
            Err(String::new())
        } else {
            Ok(())
        }
    })
    .await;
    // Its output is not the task's.
    assert_eq!(world.file("checked.1", "stdout"), "");

    let (status, text) = check(&world, "nobody.1", "true", long).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
    world.master.kill("checked.1", Duration::from_secs(3));
    world
        .master
        .state("checked.1", zddcluster_model::TaskState::Killed)
        .await;
    let (status, text) = check(&world, "checked.1", "true", long).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_knows_the_token_runs_checks() {
    let mut world = World::start().await;
    world.stop_agent().await;
    let token = Token::parse("a-token-for-this-very-test").unwrap();
    let wrong = Token::parse("another-token-0123456789").unwrap();
    world.token = Some(token.clone());
    world.start_agent().await;
    world.master.launch(shell("guarded.1", "exec sleep 1000"));
    world.master.state("guarded.1", Running).await;
    let limit = Duration::from_secs(20);
    // The agent listens on loopback, where the rest of its API wants none.
    for given in [None, Some(&wrong)] {
        let (status, text) = check_as(given, &world, "guarded.1", "echo > ran", limit).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{text}");
    }
    assert!(!world.sandbox("guarded.1").join("ran").exists());
    let (status, text) = check_as(Some(&token), &world, "guarded.1", "echo > ran", limit).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert!(world.sandbox("guarded.1").join("ran").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_started_ends_when_nobody_waits_for_it() {
    let world = World::start().await;
    world.master.launch(shell("left.1", "exec sleep 1000"));
    world.master.state("left.1", Running).await;
    let hangs = "sleep 1001 & echo $! > child; wait";
    let child = tokio::select! {
        answer = check(&world, "left.1", hangs, Duration::from_secs(25)) => panic!("{answer:?}"),
        child = wait_for("the command's child", || {
            let text = world.file("left.1", "child");
            text.trim().parse::<i32>().map_err(|_| text)
        }) => child,
    };
    wait_for("the command's child to end", || match is_alive(child) {
        true => Err(String::new()),
        false => Ok(()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_asked_where_it_listens() {
    // contract: health-http, health-refused, health-timeout, z-7
    let world = World::start().await;
    world.master.launch(shell("asked.1", "exec sleep 1000"));
    world.master.state("asked.1", Running).await;
    // In the task's place: it shares the agent's address.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shared = listener.local_addr().unwrap().port();
    let router = Router::new()
        .route("/good", get(|| async { "good" }))
        .route("/moved", get(|| async { Redirect::temporary("/good") }))
        .route("/never", get(std::future::pending::<()>));
    let tasks = Tasks::new();
    tasks.spawn(
        "listener",
        OnFailure::Log,
        zddcluster_runtime::serve(listener, router, tasks.token().clone()),
    );
    let port = CheckPort { own: 1, shared };
    let asked = async |task: &str, check: Check, limit: Duration| {
        let (status, text) = put(None, &world, task, check, limit).await;
        match status {
            StatusCode::OK => Ok(serde_json::from_str::<CheckEnd>(&text).unwrap()),
            status => Err(status),
        }
    };
    let http = |path: &str, is_https| Check::Http {
        is_https,
        path: path.to_owned(),
        port,
    };
    let long = Duration::from_secs(20);
    for (path, status) in [
        ("/good", 200),
        ("good", 200),
        ("/moved", 307),
        ("/none", 404),
    ] {
        let end = asked("asked.1", http(path, false), long).await;
        assert_eq!(end, Ok(CheckEnd::Answered { status }), "{path}");
    }
    let end = asked("asked.1", http("/never", false), Duration::from_millis(300)).await;
    let cause = format!("AskTimeoutException: Ask timed out on 127.0.0.1:{shared} after [300 ms]");
    assert_eq!(end, Ok(CheckEnd::NotAnswered { cause }));
    let end = asked("asked.1", http("/good", true), long).await;
    let is_tls = |cause: &str| cause.starts_with("SSLException: ");
    assert!(
        matches!(&end, Ok(CheckEnd::NotAnswered { cause }) if is_tls(cause)),
        "{end:?}"
    );
    let end = asked("asked.1", Check::Tcp { port }, long).await;
    assert_eq!(end, Ok(CheckEnd::Connected));
    let end = asked("nobody.1", Check::Tcp { port }, long).await;
    assert_eq!(end, Err(StatusCode::NOT_FOUND));

    tasks.shut_down(Duration::from_secs(10)).await.unwrap();
    let refused = "ConnectException: Connection refused".to_owned();
    let end = asked("asked.1", Check::Tcp { port }, long).await;
    assert_eq!(end, Ok(CheckEnd::NotAnswered { cause: refused }));
    let end = asked("asked.1", http("/good", false), long).await;
    let cause = format!(
        "ConnectionAttemptFailedException: Connection attempt to 127.0.0.1:{shared} failed"
    );
    assert_eq!(end, Ok(CheckEnd::NotAnswered { cause }));
}

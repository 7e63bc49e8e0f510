//! Draining: nobody loses a request, and the word is given only when nothing is in flight.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use support::{Server, World, app, get_from, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{OnFailure, Tasks};

#[tokio::test(flavor = "multi_thread")]
async fn the_word_is_given_when_the_last_request_has_ended() {
    // contract: lb-killing, lb-pids, lb-change-listener
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let slow = Router::new().fallback(async move || {
        opened.cancelled().await;
        "done"
    });
    let server = Server::start(slow).await;
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    let at = world.at(10000);
    let control = async {
        until("the request is there", async || server.count() == 1).await;
        world.marathon.drain("a.0").await;
        // Out of the table at once: the only server is gone, and the listener with it.
        world.listening(10000, false).await;
        assert_eq!(
            world
                .stats("/_haproxy_getpids")
                .await
                .text()
                .split(' ')
                .count(),
            3
        );
        assert!(!world.marathon.noted("drained a.0"));
        world.marathon.note("released");
        gate.cancel();
    };
    let (answer, ()) = tokio::join!(get_from(at, "/", &[]), control);
    assert_eq!(answer.text(), "done");
    world.marathon.drained("a.0").await;
    assert_eq!(
        *world.marathon.log.lock().unwrap(),
        ["released", "drained a.0"]
    );
    assert_eq!(
        world
            .stats("/_haproxy_getpids")
            .await
            .text()
            .split(' ')
            .count(),
        1
    );
    // Repeated orders, and orders for tasks never heard of, are acknowledged at once.
    world.marathon.drain("unknown.1").await;
    world.marathon.drained("unknown.1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_answer_and_a_tcp_connection_hold_the_word_back() {
    // contract: lb-killing, lb-change-tunnels
    let (sender, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let streaming = Router::new().fallback(async move || {
        let receiver = receiver.lock().unwrap().take().unwrap();
        axum::body::Body::from_stream(futures_util::stream::unfold(
            receiver,
            |mut receiver| async {
                let piece = receiver.recv().await?;
                Some((
                    Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())),
                    receiver,
                ))
            },
        ))
    });
    let (http, tcp) = (Server::start(streaming).await, Server::named("t").await);
    let world = World::start(vec![
        app("/http", 10000, "http", &[http.address]),
        app("/tcp", 10001, "tcp", &[tcp.address]),
    ])
    .await;
    world.listening(10000, true).await;
    world.listening(10001, true).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    sender.send("piece").await.unwrap();
    let mut bytes = [0; 1024];
    assert!(stream.read(&mut bytes).await.unwrap() > 0);
    let mut tunnel = TcpStream::connect(world.at(10001)).await.unwrap();
    tunnel
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    assert!(tunnel.read(&mut bytes).await.unwrap() > 0);

    for task in ["http.0", "tcp.0"] {
        world.marathon.drain(task).await;
    }
    world.listening(10000, false).await;
    world.listening(10001, false).await;
    world.marathon.note("ending the answer");
    drop(sender);
    world.marathon.drained("http.0").await;
    world.marathon.note("ending the tunnel");
    drop(tunnel);
    world.marathon.drained("tcp.0").await;
    assert_eq!(
        *world.marathon.log.lock().unwrap(),
        [
            "ending the answer",
            "drained http.0",
            "ending the tunnel",
            "drained tcp.0"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_off_holds_nothing_back_and_who_has_said_all_is_answered() {
    let gate = CancellationToken::new();
    let opened = gate.clone();
    let slow = Router::new().fallback(async move |body: Bytes| {
        opened.cancelled().await;
        body
    });
    let server = Server::start(slow).await;
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    let ask = async |request: &str| {
        let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody";
    // The third has asked for more already.
    let gone = [get, post, &get.repeat(2)];
    let gone = [ask(gone[0]).await, ask(gone[1]).await, ask(gone[2]).await];
    let mut ended = ask(post).await;
    ended.shutdown().await.unwrap();
    let in_flight = async |n: usize| {
        until(&format!("{n} in flight"), async || {
            let rows = world.csv().await;
            let row = rows
                .iter()
                .find(|row| row[0] == "a_10000" && row[1] == "BACKEND");
            server.count() == 4 && row.is_some_and(|row| row[4] == n.to_string())
        })
        .await;
    };
    in_flight(4).await;
    for stream in gone {
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
    in_flight(1).await;
    gate.cancel();
    let mut answer = String::new();
    ended.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\nbody"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_before_the_word() {
    let server = Server::named("a").await;
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    get_from(world.at(10000), "/", &[]).await;
    world.marathon.drain("a.0").await;
    world.marathon.drained("a.0").await;
    let port = format!(":{:04X} ", server.address.port());
    // The kernel's table has no connection to the server left in state 01, ESTABLISHED.
    until("no connection is left", async || {
        let table = tokio::fs::read_to_string("/proc/net/tcp").await.unwrap();
        !table
            .lines()
            .any(|line| line.contains(&port) && line.contains(" 01 "))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_overtakes_the_news_of_the_replacement_leaves_no_gap() {
    let (old, new) = (Server::named("old").await, Server::named("new").await);
    let world = World::start(vec![app("/a", 10000, "http", &[old.address])]).await;
    world.listening(10000, true).await;
    let (at, is_over) = (world.at(10000), CancellationToken::new());
    let load = async {
        let mut answers = BTreeMap::new();
        while !is_over.is_cancelled() {
            *answers
                .entry(get_from(at, "/", &[]).await.text())
                .or_insert(0) += 1;
        }
        answers
    };
    let control = async {
        until("old serves", async || old.count() > 5).await;
        let mut replaced = app("/a", 10000, "http", &[old.address, new.address]);
        replaced["tasks"][0]["state"] = "TASK_KILLING".into();
        world.marathon.put_silently(replaced);
        world.marathon.drain("a.0").await;
        world.marathon.drained("a.0").await;
        old.token.cancel();
        until("new serves", async || new.count() > 5).await;
        is_over.cancel();
    };
    let (answers, ()) = tokio::join!(load, control);
    assert_eq!(
        answers.keys().collect::<Vec<_>>(),
        ["new", "old"],
        "{answers:?}"
    );
}

/// What clients under load have seen.
#[derive(Debug, Default)]
struct Account {
    answers: std::sync::Mutex<BTreeMap<String, usize>>,
    n_requests: AtomicUsize,
    is_over: AtomicBool,
}

impl Account {
    fn note(&self, answer: String) {
        self.n_requests.fetch_add(1, Ordering::Relaxed);
        *self.answers.lock().unwrap().entry(answer).or_insert(0) += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_over_under_load_loses_nothing() {
    // contract: lb-change-no-gap, lb-users-drain
    let blues = [Server::named("ok").await, Server::named("ok").await];
    let world = World::start(vec![app(
        "/blue",
        10080,
        "http",
        &blues.each_ref().map(|s| s.address),
    )])
    .await;
    world.listening(10080, true).await;
    let at = world.at(10080);
    let account = Arc::new(Account::default());
    let tasks = Tasks::new();
    for n in 0..6 {
        let account = Arc::clone(&account);
        tasks.spawn("client", OnFailure::Shutdown, async move {
            let client: Client<_, Empty<Bytes>> =
                Client::builder(TokioExecutor::new()).build_http();
            while !account.is_over.load(Ordering::Relaxed) {
                if n % 2 == 0 {
                    let answer = get_from(at, "/", &[]).await;
                    account.note(format!("{} {}", answer.status(), answer.text()));
                    continue;
                }
                let request = Request::get(format!("http://{at}/")).body(Empty::new())?;
                let outcome = match client.request(request).await {
                    Ok(answer) => {
                        let status = answer.status().as_u16();
                        let body = answer.into_body().collect().await?.to_bytes();
                        format!("{status} {}", String::from_utf8_lossy(&body))
                    }
                    Err(error) => format!("{error:?}"),
                };
                account.note(outcome);
            }
            Ok(())
        });
    }
    let more = async |n: usize| {
        let goal = account.n_requests.load(Ordering::Relaxed) + n;
        until("more requests", async || {
            account.n_requests.load(Ordering::Relaxed) >= goal
        })
        .await;
    };
    more(100).await;

    // Each round: new servers come, the old ones are drained, and killed the moment the word is given.
    let mut old: Vec<(String, Server)> = blues
        .iter()
        .enumerate()
        .map(|(n, server)| (format!("blue.{n}"), server.clone()))
        .collect();
    for round in 0..5 {
        let id = format!("/green{round}");
        let servers = [Server::named("ok").await, Server::named("ok").await];
        world.marathon.put(app(
            &id,
            10080,
            "http",
            &servers.each_ref().map(|s| s.address),
        ));
        let name = format!("green{round}_10080");
        until("the new servers serve", async || {
            world.csv().await.iter().any(|row| row[0] == name)
        })
        .await;
        more(50).await;
        for (task_id, server) in &old {
            world.marathon.drain(task_id).await;
            world.marathon.drained(task_id).await;
            let n_served = server.count();
            server.token.cancel();
            more(20).await;
            assert_eq!(server.count(), n_served, "nothing comes after the word");
        }
        old = servers
            .into_iter()
            .enumerate()
            .map(|(n, server)| (format!("green{round}.{n}"), server))
            .collect();
    }
    account.is_over.store(true, Ordering::Relaxed);
    tasks.shut_down(Duration::from_secs(10)).await.unwrap();
    let answers = account.answers.lock().unwrap();
    assert_eq!(
        answers.keys().collect::<Vec<_>>(),
        ["200 ok"],
        "{answers:?}"
    );
}

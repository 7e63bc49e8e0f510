//! How long everybody waits for everybody, on a clock that only runs when nobody has anything to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use super::*;
use crate::fixture::{self, LOCALHOST};
use crate::proxy::visit::Entry;

/// The clock leaps to the next timer whenever a socket is waited for, also if it is ready then: so there is always one that is near.
const STEP: Duration = Duration::from_millis(10);
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A connection's view of an edge with one service, whose only server is at `server`. Nothing is said of where requests come from.
pub(crate) fn visit(server: SocketAddr) -> Visit {
    Visit {
        forwarded: Vec::new(),
        ..fixture::visit(server.port())
    }
}

/// What a client does: writes these, each after a pause, and takes nothing, or all there is.
struct Client<'a> {
    writes: &'a [(Duration, &'a str)],
    reads: bool,
}

/// What a server does with its one connection.
enum Server<'a> {
    /// It is not there.
    Refuses,
    /// It reads, and says this when something has come.
    Says(&'a str),
    /// It says this without end.
    Floods(&'a str),
    /// It is another one, which the kernel lets nobody connect to.
    Deaf(SocketAddr),
}

/// A listener whose queue is full, and who is in it: a connect is not answered.
fn deaf() -> (socket2::Socket, SocketAddr, Vec<std::net::TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(LOCALHOST, 0).into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let wait = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting = std::iter::from_fn(wait).take(10).collect::<Vec<_>>();
    assert!(waiting.len() < 10, "the queue has an end");
    (socket, address, waiting)
}

/// Lets them meet over a session. What the client has read when the session has ended, and after how many tenths of a second that was.
async fn meet(client: Client<'_>, server: Server<'_>) -> (String, u128) {
    let at_server = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let at_edge = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let visit = visit(match server {
        Server::Deaf(address) => address,
        Server::Refuses | Server::Says(_) | Server::Floods(_) => at_server.local_addr().unwrap(),
    });
    let socket = TcpSocket::new_v4().unwrap();
    // A client that takes nothing is to be noticed soon.
    socket.set_recv_buffer_size(4096).unwrap();
    // The kernel's clock does not leap: it must not wait for an acknowledgement.
    socket.set_nodelay(true).unwrap();
    let mut stream = socket.connect(at_edge.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = at_edge.accept().await.unwrap();
    accepted.set_nodelay(true).unwrap();
    let began = Instant::now();
    let stop = CancellationToken::new();
    let session = async {
        let mut accepted = accepted;
        serve(&visit, accepted.split(), &stop).await;
        drop(accepted);
        began.elapsed().as_millis() / 100
    };
    let server = async {
        let answer = match server {
            Server::Refuses | Server::Deaf(_) => {
                drop(at_server);
                return std::future::pending().await;
            }
            Server::Says(answer) | Server::Floods(answer) => answer,
        };
        let (mut stream, _) = at_server.accept().await.unwrap();
        let mut bytes = [0; 4096];
        let mut has_asked = false;
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return std::future::pending().await,
                Ok(_) if !has_asked => stream.write_all(answer.as_bytes()).await.unwrap(),
                Ok(_) => {}
            }
            has_asked = true;
            while let Server::Floods(_) = server {
                if stream.write_all(&[b'x'; 65536]).await.is_err() {
                    return std::future::pending().await;
                }
            }
        }
    };
    let (reader, mut writer) = stream.split();
    let mut reader = Some(reader);
    let mut text = Vec::new();
    let reading = async {
        match reader.as_mut().filter(|_| client.reads) {
            // A connection that is cut may be reset.
            Some(reader) => drop(reader.read_to_end(&mut text).await),
            None => std::future::pending().await,
        }
    };
    let writing = async {
        for (pause, text) in client.writes {
            sleep(*pause).await;
            // Nobody may be left to take it.
            let _ = writer.write_all(text.as_bytes()).await;
        }
    };
    let clock = async {
        loop {
            sleep(STEP).await;
        }
    };
    let ended = tokio::select! {
        (took, ()) = async { tokio::join!(session, reading_until_end(reading, client.reads)) } => took,
        () = async { writing.await; std::future::pending().await } => unreachable!("it never ends"),
        () = server => unreachable!("it never ends"),
        () = clock => unreachable!("it never ends"),
    };
    (String::from_utf8_lossy(&text).into_owned(), ended)
}

/// Waits for a client's reading if it reads at all.
async fn reading_until_end(reading: impl Future<Output = ()>, reads: bool) {
    if reads {
        reading.await;
    }
}

/// A client that writes `text` at once and reads.
async fn ask(text: &str, server: Server<'_>) -> (String, u128) {
    let writes = [(Duration::ZERO, text)];
    let client = Client {
        writes: &writes,
        reads: true,
    };
    meet(client, server).await
}

/// Seconds, as tenths, with a little more that waiting costs here.
fn seconds(n: u128) -> std::ops::RangeInclusive<u128> {
    n * 10..=n * 10 + 3
}

#[track_caller]
fn check((text, took): (String, u128), status: &str, n: u128) {
    assert!(seconds(n).contains(&took), "after {took} tenths: {text}");
    assert!(text.starts_with(status), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_told_after_15_seconds() {
    // contract: lb-timeout-request
    // And we wait a second for it to end.
    check(ask("", Server::Refuses).await, "HTTP/1.1 408 ", 16);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_has_15_seconds_in_all() {
    // contract: lb-timeout-request, lb-answer-408
    let mut writes = vec![(Duration::ZERO, "GET / HTTP/1.1\r\nX: ")];
    writes.extend([(Duration::from_secs(1), "x"); 20]);
    let client = Client {
        writes: &writes,
        reads: true,
    };
    // And we wait a second for it to end.
    check(meet(client, Server::Refuses).await, "HTTP/1.1 408 ", 16);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_silently_after_a_second() {
    // contract: lb-timeout-keep-alive
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (text, took) = ask(GET, Server::Says(answer)).await;
    assert_eq!(text, answer);
    assert!(seconds(1).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_second_head_has_15_seconds_from_its_first_byte() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let writes = [
        (Duration::ZERO, GET),
        (Duration::from_millis(500), "GET / HT"),
    ];
    let client = Client {
        writes: &writes,
        reads: true,
    };
    let (text, took) = meet(client, Server::Says(answer)).await;
    assert!(text[answer.len()..].starts_with("HTTP/1.1 408 "), "{text}");
    assert!((165..=168).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_has_30_seconds() {
    // contract: lb-timeout-server, lb-answer-504
    // And the client's second afterwards.
    check(ask(GET, Server::Says("")).await, "HTTP/1.1 504 ", 31);
    check(
        ask(GET, Server::Says("HTTP/1.1 200 OK\r\n")).await,
        "HTTP/1.1 504 ",
        31,
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_in_its_answer_is_cut_off_after_30_seconds() {
    // contract: lb-timeout-server
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let (text, took) = ask(GET, Server::Says(answer)).await;
    assert_eq!(text, answer);
    assert!(seconds(30).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_falls_silent_in_its_request_is_told_after_30_seconds() {
    // contract: lb-timeout-client, lb-answer-408
    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf";
    // And we wait a second for it to end.
    check(ask(post, Server::Says("")).await, "HTTP/1.1 408 ", 31);
}

/// A body of four bytes that takes 80 seconds.
fn slow_upload() -> Vec<(Duration, &'static str)> {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\n";
    let mut writes = vec![(Duration::ZERO, head)];
    writes.extend([(Duration::from_secs(20), "x"); 4]);
    writes
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_nobodys_fault() {
    let writes = slow_upload();
    let client = Client {
        writes: &writes,
        reads: true,
    };
    // The server has its time when all has come.
    check(meet(client, Server::Says("")).await, "HTTP/1.1 504 ", 110);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_begins_early_may_wait_for_a_slow_upload() {
    let writes = slow_upload();
    let client = Client {
        writes: &writes,
        reads: true,
    };
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    check(
        meet(client, Server::Says(answer)).await,
        "HTTP/1.1 200 ",
        110,
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut_off_after_30_seconds() {
    // contract: lb-timeout-client
    let writes = [(Duration::ZERO, GET)];
    let client = Client {
        writes: &writes,
        reads: false,
    };
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    let (_, took) = meet(client, Server::Floods(head)).await;
    assert!((300..=330).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_refusing_server_is_tried_four_times_in_three_seconds() {
    // contract: lb-retries, lb-single-refused, lb-answer-503
    let get = GET.replace("Host", "Connection: close\r\nHost");
    check(ask(&get, Server::Refuses).await, "HTTP/1.1 503 ", 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_has_3_seconds_to_take_a_connection() {
    // contract: lb-timeout-connect, lb-retries
    let get = GET.replace("Host", "Connection: close\r\nHost");
    let (_listener, address, _waiting) = deaf();
    // Four times, with a second in between.
    let answer = ask(&get, Server::Deaf(address)).await;
    check(answer, "HTTP/1.1 503 ", 15);
}

/// Whoever only looks whether somebody listens is no failed request.
#[tokio::test(start_paused = true)]
async fn a_connection_without_a_byte_is_no_error() {
    // contract: lb-dontlognull
    let at_edge = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let visit = visit(SocketAddr::new(LOCALHOST, 1));
    let client = TcpStream::connect(at_edge.local_addr().unwrap());
    drop(client.await.unwrap());
    let (mut accepted, _) = at_edge.accept().await.unwrap();
    serve(&visit, accepted.split(), &CancellationToken::new()).await;
    let frontend = &visit.frontend;
    assert_eq!(frontend.request_errors.load(Relaxed), 0);
    assert_eq!(frontend.requests.load(Relaxed), 0);
    assert_eq!(frontend.bytes_out.load(Relaxed), 0);
}

#[tokio::test]
async fn a_rule_that_comes_before_another_attempt_holds_for_it() {
    // contract: lb-rule-before-routing
    let mut visit = visit(SocketAddr::new(LOCALHOST, 1));
    visit.entry = Entry::Vhosts { port: 80 };
    let put = |id: &str, auth: &str| {
        let mut app = serde_json::json!({
            "id": id, "ports": [10000], "labels": { "HAPROXY_GROUP": "g", "HAPROXY_0_VHOST": "h" },
            "tasks": [{ "id": "t.1", "host": "127.0.0.1", "ports": [1], "state": "TASK_RUNNING" }],
        });
        if !auth.is_empty() {
            app["labels"]["HAPROXY_0_AUTH"] = auth.into();
        }
        visit
            .shared
            .put(serde_json::from_value(app).unwrap(), BTreeMap::new());
    };
    put("/open", "");
    let (request, dispatch) = visit.receive(GET.as_bytes()).unwrap().unwrap();
    assert!(matches!(dispatch, Dispatch::Server(_)), "{dispatch:?}");
    put("/shut", "realm:me:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1");
    let again = visit.dispatch_again(&request, &[]);
    let Dispatch::Said(said) = again else {
        panic!("{again:?}")
    };
    assert_eq!(said.page, pages::UNAUTHORIZED);
    // One that is not known to be right is looked at first.
    let authorized = GET.replace("Host", "Authorization: Basic bWU6c2VjcmV0\r\nHost");
    let (_, dispatch) = visit.receive(authorized.as_bytes()).unwrap().unwrap();
    assert!(matches!(dispatch, Dispatch::Unchecked(_)), "{dispatch:?}");
}

#[tokio::test]
async fn a_connection_that_waits_is_small() {
    let at_edge = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let visit = visit(at_edge.local_addr().unwrap());
    let mut stream = TcpSocket::new_v4()
        .unwrap()
        .connect(at_edge.local_addr().unwrap())
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let session = serve(&visit, stream.split(), &stop);
    // Thousands of them wait at once.
    assert!(
        size_of_val(&session) <= 768,
        "{} bytes",
        size_of_val(&session)
    );
}

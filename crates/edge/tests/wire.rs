//! What goes over the wire, byte by byte: heads as they came, bodies framed anew, answers in order.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use support::{SOON, World, app, exchange, read_text, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use zddcluster_runtime::{OnFailure, Tasks};

/// A server that reads until `request_end` has come, tells what it has read, and then says `answer` and ends, if it is told to.
struct Scripted {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Scripted {
    async fn start(request_end: &'static str, answer: &'static str, ends: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let tasks = Tasks::new();
        let connections = tasks.clone();
        tasks.spawn("scripted", OnFailure::Log, async move {
            loop {
                let (mut stream, _) = listener.accept().await?;
                let seen = seen.clone();
                connections.spawn("connection", OnFailure::Log, async move {
                    let mut text = String::new();
                    loop {
                        let mut bytes = [0; 4096];
                        let n = stream.read(&mut bytes).await?;
                        if n == 0 {
                            return Ok(());
                        }
                        text += &String::from_utf8_lossy(&bytes[..n]);
                        while let Some(at) = text.find(request_end) {
                            let rest = text.split_off(at + request_end.len());
                            seen.send(std::mem::replace(&mut text, rest))?;
                            stream.write_all(answer.as_bytes()).await?;
                            if ends {
                                return Ok(());
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    async fn request(&mut self) -> String {
        let request = tokio::time::timeout(SOON, self.requests.recv()).await;
        request.expect("a request comes").unwrap()
    }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

async fn world(server: &Scripted) -> World {
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    world
}

/// Reads until `end` has come.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    read_text(stream, |text| text.ends_with(end)).await
}

/// Writes byte by byte: each leaves by itself.
async fn dribble(stream: &mut TcpStream, text: &str) {
    stream.set_nodelay(true).unwrap();
    for byte in text.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_keep_their_order_and_writing() {
    let answer = "HTTP/1.1 200 Fine\r\nx-LOWER: 1\r\nSet-Cookie: b\r\nContent-Length: 0\r\nset-cookie: a\r\n\r\n";
    let mut server = Scripted::start("\r\n\r\n", answer, false).await;
    let world = world(&server).await;
    let request =
        "GET /x?y=%20 HTTP/1.1\r\nhOST: h\r\nB: 2\r\nConnection: close\r\na: 1\r\nb:  3 \r\n\r\n";
    let got = exchange(world.at(10000), request.as_bytes()).await;
    let expected = "GET /x?y=%20 HTTP/1.1\r\nhOST: h\r\nB: 2\r\na: 1\r\nb: 3\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Port: 10000\r\n\r\n";
    assert_eq!(server.request().await, expected);
    let expected = "HTTP/1.1 200 Fine\r\nx-LOWER: 1\r\nSet-Cookie: b\r\nContent-Length: 0\r\nset-cookie: a\r\nConnection: close";
    assert_eq!(got.head, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_at_once_are_answered_in_order() {
    let mut server = Scripted::start("\r\n\r\n", HELLO, false).await;
    let world = world(&server).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let requests: String = (0..5)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"))
        .collect();
    stream.write_all(requests.as_bytes()).await.unwrap();
    read_until(&mut stream, &HELLO.repeat(5)).await;
    for n in 0..5 {
        let request = server.request().await;
        assert!(request.starts_with(&format!("GET /{n} ")), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_byte_by_byte_is_one_request() {
    let mut server = Scripted::start("\r\n0\r\n\r\n", HELLO, false).await;
    let world = world(&server).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    dribble(&mut stream, request).await;
    read_until(&mut stream, HELLO).await;
    let request = server.request().await;
    let mut body = request.split_once("\r\n\r\n").unwrap().1;
    let mut data = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        data += &rest[..size];
        assert_eq!(&rest[size..size + 2], "\r\n", "{request}");
        body = &rest[size + 2..];
        if size == 0 {
            break;
        }
    }
    assert_eq!((data.as_str(), body), ("hello!", ""), "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_come_before_all_of_the_request() {
    let mut server = Scripted::start("\r\n\r\n", HELLO, true).await;
    let world = world(&server).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nbegin";
    stream.write_all(head.as_bytes()).await.unwrap();
    server.request().await;
    let text = read_until(&mut stream, "hello").await;
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    // The rest of the body could not be told from a request: the connection ends, and the client is told so in time.
    assert!(text.contains("\r\nConnection: close\r\n"), "{text}");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
    ended.expect("it ends").unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_answered_and_not_completed() {
    let mut server = Scripted::start("never", HELLO, false).await;
    let world = world(&server).await;
    for (body, status) in [
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX", 400),
        ("Content-Length: 9\r\n\r\nhello", 400),
    ] {
        let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(
            text.starts_with(&format!("HTTP/1.1 {status} ")),
            "{body:?}: {text}"
        );
    }
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_and_framing_among_them_does_not() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSum: 7\r\nContent-Length: 9\r\n\r\n";
    let mut server = Scripted::start("\r\nT: 1\r\n\r\n", answer, false).await;
    let world = world(&server).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nHost: x\r\nT: 1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let text = read_until(&mut stream, "\r\nSum: 7\r\n\r\n").await;
    assert!(
        text.ends_with("\r\n\r\n2\r\nok\r\n0\r\nSum: 7\r\n\r\n"),
        "{text}"
    );
    let request = server.request().await;
    assert!(
        request.ends_with("\r\n\r\n1\r\na\r\n0\r\nT: 1\r\n\r\n"),
        "{request}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_answers_pass_to_who_knows_them() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let server = Scripted::start("\r\n\r\n", answer, false).await;
    let world = world(&server).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_until(&mut stream, "hello").await, answer);
    let old = exchange(world.at(10000), b"GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
    assert!(old.head.starts_with("HTTP/1.1 200 OK"), "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_length_is_given_one_or_ends_the_connection() {
    let server = Scripted::start("\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nhello", true).await;
    let world = world(&server).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let text = read_until(&mut stream, "0\r\n\r\n").await;
        let head = text.find("\r\n\r\n").unwrap() + 4;
        assert!(text.contains("Transfer-Encoding: chunked"), "{text}");
        assert_eq!(&text[head..], "5\r\nhello\r\n0\r\n\r\n");
    }
    let old = exchange(
        world.at(10000),
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    )
    .await;
    assert_eq!(old.text(), "hello");
    assert!(old.head.contains("Connection: close"), "{old:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_may_keep_its_connection() {
    let server = Scripted::start("\r\n\r\n", HELLO, false).await;
    let world = world(&server).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n")
            .await
            .unwrap();
        let text = read_until(&mut stream, "hello").await;
        assert!(text.contains("Connection: keep-alive"), "{text}");
    }
}

/// An answer that says more than it has announced must not become the beginning of another client's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_too_much_reaches_nobody() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let server = Scripted::start("\r\n\r\n", answer, false).await;
    let world = world(&server).await;
    for _ in 0..20 {
        let got = exchange(
            world.at(10000),
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(got.await.text(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_s_own_answers_leave_a_connection_usable() {
    let world = World::start(vec![]).await;
    let http = world.edge.addresses().http.unwrap();
    let mut stream = TcpStream::connect(http).await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let text = read_until(&mut stream, "</html>\n").await;
        assert!(
            text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
            "{text}"
        );
    }
    stream
        .write_all(b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(
        text.ends_with("Content-Length: 107\r\nConnection: close\r\n\r\n"),
        "{text}"
    );
}

/// A client that takes nothing holds up its own answer and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_makes_the_server_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let mut client = TcpStream::connect(world.at(10000)).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert!(server.read(&mut [0; 4096]).await.unwrap() > 0);
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        .await
        .unwrap();
    let mut n_sent = 0;
    let piece = [0; 100_000];
    // What the kernel's buffers hold, and no more: far from the whole.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(500), server.write(&piece)).await
    {
        n_sent += written.unwrap();
        assert!(
            n_sent < 50_000_000,
            "the edge keeps what the client does not take"
        );
    }
    let mut n_taken = 0;
    let mut bytes = vec![0; 1 << 20];
    while n_taken < n_sent {
        n_taken += client.read(&mut bytes).await.unwrap();
    }
}

/// Whatever clients break off, nothing stays in flight: a drain would wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_leave_nothing_behind() {
    // One that goes away itself, in its answer.
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
    let bad = Scripted::start("\r\n\r\n", answer, true).await;
    let good = Scripted::start("\r\n\r\n", HELLO, false).await;
    let world = World::start(vec![app("/a", 10000, "http", &[bad.address, good.address])]).await;
    world.listening(10000, true).await;
    let at = world.at(10000);
    let requests = [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHos",
    ];
    let mut clients = Vec::new();
    for n in 0..200 {
        let request = requests[n % requests.len()];
        clients.push(async move {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(n as u64 % 7 * 5)).await;
            if n % 2 == 0 {
                // Not an end but a reset.
                stream.set_zero_linger().unwrap();
            }
        });
    }
    futures_util::future::join_all(clients).await;
    until("nothing is in flight", async || {
        let rows = world.csv().await;
        let mut of_app = rows.iter().filter(|row| row[0] == "a_10000");
        of_app.all(|row| row[4] == "0")
    })
    .await;
    let answers = (0..10).map(|_| async {
        let got = exchange(
            at,
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        )
        .await;
        got.status()
    });
    for status in futures_util::future::join_all(answers).await {
        assert_eq!(status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_broken_at_once_are_a_bad_gateway() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n";
    let server = Scripted::start("\r\n\r\n", answer, false).await;
    let world = world(&server).await;
    let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(world.at(10000), request).await.status(), 502);
    let rows = world.csv().await;
    let frontend = rows
        .iter()
        .find(|row| row[0] == "a_10000" && row[1] == "FRONTEND");
    // No 2xx, one 5xx.
    let frontend = frontend.unwrap();
    assert_eq!((&*frontend[40], &*frontend[43]), ("0", "1"), "{frontend:?}");
}

/// What may be sent twice goes over a connection that was left open, all else over one of its own, which is not left open.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_harmless_shares_a_connection() {
    // contract: lb-server-connections
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn("counting", OnFailure::Log, async move {
        for n in 0.. {
            let (mut stream, _) = listener.accept().await?;
            connections.spawn("connection", OnFailure::Log, async move {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{n}");
                while stream.read(&mut [0; 4096]).await? > 0 {
                    stream.write_all(answer.as_bytes()).await?;
                }
                Ok(())
            });
        }
        Ok(())
    });
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let mut client = TcpStream::connect(world.at(10000)).await.unwrap();
    for (method, connection) in [
        ("GET", "0"),
        ("DELETE", "0"),
        ("POST", "1"),
        ("PATCH", "2"),
        ("GET", "0"),
    ] {
        let request = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let is_all = |text: &str| {
            text.split_once("\r\n\r\n")
                .is_some_and(|it| !it.1.is_empty())
        };
        let answer = read_text(&mut client, is_all).await;
        assert!(answer.ends_with(connection), "{method}: {answer}");
    }
}

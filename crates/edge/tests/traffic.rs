//! How bytes go through: streaming both ways, TCP, upgrades, kept connections.

mod support;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use support::{SOON, Server, World, app, exchange, get_from, read_text, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use zddcluster_runtime::{OnFailure, Tasks};

async fn world_with(router: Router) -> (World, Server) {
    let server = Server::start(router).await;
    let world = World::start(vec![app("/a", 10000, "http", &[server.address])]).await;
    world.listening(10000, true).await;
    (world, server)
}

/// Reads until `needle` has come.
async fn read_until(stream: &mut TcpStream, needle: &str) -> String {
    read_text(stream, |text| text.contains(needle)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways() {
    let echo = post(async |body: Body| Body::from_stream(body.into_data_stream()));
    let (world, _) = world_with(Router::new().route("/echo", echo)).await;
    let sent: Vec<u8> = (0..20_000_000_u32).map(|n| (n % 251) as u8).collect();
    let stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        sent.len()
    );
    let upload = async {
        writer.write_all(head.as_bytes()).await.unwrap();
        writer.write_all(&sent).await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(upload, reader.read_to_end(&mut received));
    read.unwrap();
    // The answer's length is not known beforehand, so it is chunked.
    let text = String::from_utf8_lossy(&received[..200]).to_lowercase();
    assert!(
        text.starts_with("http/1.1 200") && text.contains("transfer-encoding: chunked"),
        "{text}"
    );
    let at = received.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(unchunk(&received[at..]) == sent, "the bytes are the same");
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let at = bytes.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        bytes = &bytes[at + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[..size]);
        bytes = &bytes[size + 2..];
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_piece_of_an_answer_passes_at_once() {
    let (pieces, receiver) = mpsc::channel::<&'static str>(1);
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let slow = get(async move || {
        let receiver = receiver.lock().unwrap().take().unwrap();
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
            let piece = receiver.recv().await?;
            Some((
                Ok::<_, std::io::Error>(Bytes::from_static(piece.as_bytes())),
                receiver,
            ))
        });
        Body::from_stream(stream)
    });
    let (world, _) = world_with(Router::new().route("/", slow)).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    // Each next piece is only sent after the one before has arrived.
    for piece in ["first", "second", "third"] {
        pieces.send(piece).await.unwrap();
        read_until(&mut stream, piece).await;
    }
    drop(pieces);
    read_until(&mut stream, "0\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_piece_of_a_request_passes_at_once() {
    let (seen, mut pieces) = mpsc::channel::<Bytes>(1);
    let slow = post(async move |body: Body| {
        let mut stream = body.into_data_stream();
        let mut n = 0;
        while let Some(piece) = stream.next().await {
            let piece = piece.unwrap();
            n += piece.len();
            seen.send(piece).await.unwrap();
        }
        n.to_string()
    });
    let (world, _) = world_with(Router::new().route("/", slow)).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let head =
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    read_until(&mut stream, "100 Continue\r\n\r\n").await;
    for piece in ["5\r\nfirst\r\n", "6\r\nsecond\r\n"] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        let seen = tokio::time::timeout(SOON, pieces.recv())
            .await
            .unwrap()
            .unwrap();
        assert!(piece.contains(std::str::from_utf8(&seen).unwrap()));
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n11")
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_requests_keep_their_meaning() {
    // contract: lb-answer-400
    let router = Router::new()
        .route("/", get(async || "hello").post(async |body: String| body))
        .route("/empty", get(async || http::StatusCode::NO_CONTENT));
    let (world, server) = world_with(router).await;
    let at = world.at(10000);
    let head = exchange(
        at,
        b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert!(
        head.head.to_lowercase().contains("content-length: 5"),
        "{}",
        head.head
    );
    let old = exchange(at, b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((old.status(), old.text().as_str()), (200, "hello"));
    let empty = get_from(at, "/empty", &[]).await;
    assert_eq!((empty.status(), empty.body.len()), (204, 0));
    let absolute = exchange(
        at,
        b"GET http://h/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(absolute.text(), "hello");
    let both = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let before = server.count();
    let answer = exchange(at, both).await;
    assert!(
        answer.status() == 400 || (answer.text() == "hi" && server.count() == before + 1),
        "{answer:?}"
    );
    let twice =
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde";
    assert_eq!(exchange(at, twice).await.status(), 400);
    let long = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
        "x".repeat(500_000)
    );
    for unreadable in [&b"nonsense\r\n\r\n"[..], twice, long.as_bytes()] {
        let refused = exchange(at, unreadable).await;
        assert_eq!(refused.status(), 400);
        assert!(
            refused.text().contains("<h1>400 Bad request</h1>"),
            "{refused:?}"
        );
    }
    assert_eq!(
        exchange(
            at,
            b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )
        .await
        .status(),
        400
    );
}

/// The edge's own refusals get a page; one of a server's that looks the same passes as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_bare_refusal_of_a_server_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let request = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let (answer, _stream) = tokio::join!(exchange(world.at(10000), request), server);
    assert_eq!((answer.status(), answer.body.len()), (400, 0), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_answer_is_passed_as_truncated() {
    // contract: lb-answer-truncated
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("truncating", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await?;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
                .await?;
        }
    });
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let answer = get_from(world.at(10000), "/", &[]).await;
    assert!(
        answer.head.contains("100") && answer.text() == "short",
        "{answer:?}"
    );
    until("nothing is in flight", async || {
        let rows = world.csv().await;
        rows.iter().any(|row| {
            row[0] == "a_10000" && row[1] == "BACKEND" && row[4] == "0" && row[14] == "1"
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_is_a_bad_gateway() {
    // contract: lb-answer-502
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("rubbish", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.write_all(b"SSH-2.0-rubbish\r\n\r\n").await?;
            let mut bytes = [0; 1024];
            let _ = stream.read(&mut bytes).await?;
        }
    });
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    assert_eq!(get_from(world.at(10000), "/", &[]).await.status(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_after_a_second() {
    let (world, _) = world_with(Router::new().route("/", get(async || "hello"))).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        read_until(&mut stream, "hello").await;
    }
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    closed.expect("closed soon").unwrap();
    assert_eq!(rest, b"", "silently");
}

/// Sends back what it gets, and `bye` when the other side has ended.
async fn echo_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Tasks::new();
    let connections = tasks.clone();
    tasks.spawn("echo", OnFailure::Log, async move {
        loop {
            let (mut stream, _) = listener.accept().await?;
            connections.spawn("connection", OnFailure::Log, async move {
                let mut bytes = [0; 1024];
                loop {
                    match stream.read(&mut bytes).await? {
                        0 => {
                            stream.write_all(b"bye").await?;
                            return Ok(());
                        }
                        n => stream.write_all(&bytes[..n]).await?,
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_mode_passes_bytes_and_half_closes() {
    let world = World::start(vec![app("/tcp", 10000, "tcp", &[echo_server().await])]).await;
    world.listening(10000, true).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    stream.write_all(b"one").await.unwrap();
    read_until(&mut stream, "one").await;
    stream.write_all(b"two").await.unwrap();
    read_until(&mut stream, "two").await;
    stream.shutdown().await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "bye");
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_become_tunnels() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("upgrading", OnFailure::Log, async move {
        let (mut stream, _) = listener.accept().await?;
        let mut bytes = vec![0; 4096];
        let n = stream.read(&mut bytes).await?;
        let head = String::from_utf8_lossy(&bytes[..n]).to_lowercase();
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly";
        stream.write_all(head).await?;
        loop {
            let n = stream.read(&mut bytes).await?;
            if n == 0 {
                return Ok(());
            }
            stream.write_all(&bytes[..n]).await?;
        }
    });
    let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
    world.listening(10000, true).await;
    let mut stream = TcpStream::connect(world.at(10000)).await.unwrap();
    let head = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let head = read_until(&mut stream, "early").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"ping").await.unwrap();
    read_until(&mut stream, "ping").await;
}

use std::net::Ipv4Addr;

use axum::routing::get;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::*;

const SOON: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    token: CancellationToken,
    ended: oneshot::Receiver<()>,
    _serving: JoinSet<()>,
}

async fn start(router: Router) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let token = CancellationToken::new();
    let (end, ended) = oneshot::channel();
    let mut serving = JoinSet::new();
    let stop = token.clone();
    serving.spawn(async move {
        serve(listener, router, stop).await.unwrap();
        end.send(()).unwrap_or_default();
    });
    Server {
        address,
        token,
        ended,
        _serving: serving,
    }
}

impl Server {
    /// Opens a connection and sends `text` on it.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// Waits for `serve` to return.
    async fn end(self) {
        tokio::time::timeout(SOON, self.ended)
            .await
            .expect("it ends in time")
            .unwrap();
    }
}

/// Reads up to and with `end`.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(stream.read_u8().await.expect("it goes on to the end"));
    }
    String::from_utf8(text).unwrap()
}

/// Reads all that comes before the connection is closed.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    tokio::time::timeout(SOON * 10, stream.read_to_string(&mut text))
        .await
        .expect("closed")
        .unwrap();
    text
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn handlers_see_the_peer() {
    let handler = async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string();
    let server = start(Router::new().route("/", get(handler))).await;
    let mut stream = server.send(GET).await;
    let peer = stream.local_addr().unwrap().to_string();
    assert!(
        read_to(&mut stream, &peer)
            .await
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_cut_after_the_head_timeout() {
    let server = start(Router::new()).await;
    for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let began = tokio::time::Instant::now();
        let mut stream = server.send(beginning).await;
        rest(&mut stream).await;
        let took = began.elapsed();
        assert!(
            took >= HEAD_TIMEOUT && took < HEAD_TIMEOUT * 2,
            "{beginning:?}: {took:?}"
        );
    }
}

#[tokio::test]
async fn idle_connections_are_closed_and_the_port_is_free_at_the_end() {
    let server = start(Router::new().route("/", get(async || "in"))).await;
    let mut idle = server.send(GET).await;
    read_to(&mut idle, "\r\n\r\nin").await;
    server.token.cancel();
    assert_eq!(rest(&mut idle).await, "");
    let address = server.address;
    server.end().await;
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn a_request_in_flight_is_answered_at_the_end() {
    let (reached, handler_reached) = oneshot::channel();
    let (go_on, wait) = oneshot::channel::<()>();
    let once = std::sync::Mutex::new(Some((reached, wait)));
    let handler = async move || {
        let (reached, wait) = once.lock().unwrap().take().unwrap();
        reached.send(()).unwrap();
        wait.await.unwrap();
        "done"
    };
    let handler = std::sync::Arc::new(handler);
    let handler = move || {
        let handler = std::sync::Arc::clone(&handler);
        async move { handler().await }
    };
    let server = start(Router::new().route("/", get(handler))).await;
    let mut stream = server.send(GET).await;
    handler_reached.await.unwrap();
    server.token.cancel();
    go_on.send(()).unwrap();
    let text = rest(&mut stream).await;
    assert!(
        text.contains("connection: close") && text.ends_with("done"),
        "{text}"
    );
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_is_cut() {
    let (reached, handler_reached) = oneshot::channel();
    let reached = std::sync::Arc::new(std::sync::Mutex::new(Some(reached)));
    let handler = move || {
        reached.lock().unwrap().take().unwrap().send(()).unwrap();
        std::future::pending::<&str>()
    };
    let server = start(Router::new().route("/", get(handler))).await;
    let mut stream = server.send(GET).await;
    handler_reached.await.unwrap();
    server.token.cancel();
    assert_eq!(rest(&mut stream).await, "");
    server.end().await;
}

/// An answer that says `first` and then nothing for ever.
fn endless(kind: &'static str) -> Router {
    let handler = move || async move {
        let first = stream::once(async { Ok::<_, Infallible>("first\n\n") });
        let body = Body::from_stream(futures_util::StreamExt::chain(first, stream::pending()));
        ([(CONTENT_TYPE, kind)], body)
    };
    Router::new().route("/", get(handler))
}

#[tokio::test]
async fn event_streams_end_on_the_token() {
    let server = start(endless("text/event-stream;charset=UTF-8")).await;
    let mut stream = server.send(GET).await;
    read_to(&mut stream, "first\n\n\r\n").await;
    server.token.cancel();
    assert_eq!(rest(&mut stream).await, "0\r\n\r\n", "a whole answer");
    server.end().await;
}

#[tokio::test(start_paused = true)]
async fn other_streams_break_off_when_they_are_silent() {
    let server = start(endless("application/json")).await;
    let mut stream = server.send(GET).await;
    read_to(&mut stream, "first\n\n\r\n").await;
    let began = tokio::time::Instant::now();
    server.token.cancel();
    assert_eq!(rest(&mut stream).await, "", "a broken answer");
    assert!(began.elapsed() < STREAM_LIMIT * 2);
    server.end().await;
}

#[tokio::test]
async fn a_connection_whose_reader_is_stuck_can_be_cut() {
    let (give, given) = oneshot::channel();
    let give = std::sync::Mutex::new(Some(give));
    let handler = async move |request: Request<Body>| {
        let hangup = request.extensions().get::<Hangup>().unwrap().clone();
        let give = give.lock().unwrap().take().unwrap();
        give.send(hangup).unwrap();
        // More than any socket takes, so that the body is never asked for its end.
        let chunk = || Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 20]));
        Body::from_stream(stream::repeat_with(chunk))
    };
    let handler = std::sync::Arc::new(handler);
    let router = Router::new().route("/", get(async move |request| handler(request).await));
    let server = start(router).await;
    let mut stuck = server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let hangup = given.await.unwrap();
    stuck.read_u8().await.unwrap();
    hangup.hang_up();
    let read = async {
        let mut rest = vec![0; 1 << 16];
        while stuck.read(&mut rest).await.is_ok_and(|n| n > 0) {}
    };
    tokio::time::timeout(SOON, read).await.expect("it ends");
    server.token.cancel();
    server.end().await;
}

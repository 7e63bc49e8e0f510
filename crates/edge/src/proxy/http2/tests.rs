//! What becomes of streams, with frames that go through memory and a server that is a socket.

use std::time::Duration;

use h2::Reason;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::proxy::session::tests::visit;

/// What a client does with its connection, and what a server does with the requests that come to it, one connection each: it reads
/// until it has seen `until`, and answers. What the server has read.
async fn meet<F: Future<Output = ()>>(
    until: &str,
    answer: &[u8],
    client: impl FnOnce(SendRequest<Bytes>) -> F,
) -> String {
    let at_server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let visit = visit(at_server.local_addr().unwrap());
    let (theirs, ours) = tokio::io::duplex(256 * 1024);
    let (taken, stop) = (AtomicU64::new(0), CancellationToken::new());
    let edge = Box::pin(serve(&visit, ours, &taken, &stop));
    let client = async {
        let (sender, connection) = client::handshake(theirs).await.unwrap();
        tokio::select! {
            // It may be ended from the other side.
            _ = connection => {}
            () = client(sender) => {}
        }
    };
    let mut seen = Vec::new();
    let server = async {
        let (mut stream, _) = at_server.accept().await.unwrap();
        while !String::from_utf8_lossy(&seen).contains(until) {
            let n = stream.read_buf(&mut seen).await.unwrap();
            assert!(n > 0, "{}", String::from_utf8_lossy(&seen));
        }
        stream.write_all(answer).await.unwrap();
        std::future::pending::<()>().await;
    };
    let met = async {
        tokio::select! {
            ((), ()) = async { tokio::join!(edge, client) } => {}
            () = server => {}
        }
    };
    let met = timeout(Duration::from_secs(20), met);
    met.await.expect("it comes to an end");
    String::from_utf8(seen).unwrap()
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

/// Asks without a body; the head of the answer, its body, and its trailers.
async fn ask(
    sender: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> Result<(Response<()>, Vec<u8>, Option<HeaderMap>), h2::Error> {
    let (answer, _) = sender.send_request(request, true)?;
    let (head, mut body) = answer.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((
        Response::from_parts(head, ()),
        bytes,
        body.trailers().await?,
    ))
}

#[tokio::test]
async fn a_request_and_its_answer_are_translated() {
    let answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
        HTTP/1.1 200 Fine\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Own: a\r\nX-Own: b\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n";
    let seen = meet("x-end: yes\r\n\r\n", answer, async |mut sender| {
        let request = Request::post("https://u@a.example:1/p?q")
            .header("host", "elsewhere")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .header("x-own", "v")
            .body(())
            .unwrap();
        let (answer, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"first "), false)
            .unwrap();
        body.send_data(Bytes::new(), false).unwrap();
        body.send_data(Bytes::from_static(b"second"), false)
            .unwrap();
        let trailers = HeaderMap::from_iter([("X-End".parse().unwrap(), "yes".parse().unwrap())]);
        body.send_trailers(trailers).unwrap();
        let mut answer = answer.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let fields: Vec<_> = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        assert_eq!(fields, [("x-own", &b"a"[..]), ("x-own", &b"b"[..])]);
        let mut bytes = Vec::new();
        while let Some(data) = answer.body_mut().data().await {
            bytes.extend_from_slice(&data.unwrap());
        }
        assert_eq!(bytes, b"abcde");
        let trailers = answer.body_mut().trailers().await.unwrap().unwrap();
        assert_eq!(trailers["x-sum"], "5");
    })
    .await;
    let (head, body) = seen.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = head.split("\r\n").collect();
    assert_eq!(
        lines,
        [
            "POST /p?q HTTP/1.1",
            "Host: a.example:1",
            "cookie: a=1; b=2",
            "x-own: v",
            "Transfer-Encoding: chunked",
            "Connection: close",
        ]
    );
    // Chunks as they came together, and the trailers.
    let text: String = body
        .split("\r\n")
        .filter(|line| !line.chars().all(|c| c.is_ascii_hexdigit()))
        .collect();
    assert_eq!(text, "first secondx-end: yes", "{body}");
}

#[tokio::test]
async fn what_no_server_is_to_see_is_refused() {
    let seen = meet("", b"", async |mut sender| {
        // The proxy of HTTP/1.1 refuses it too.
        let connect = Request::connect("a.example:1").body(()).unwrap();
        let (answer, body, _) = ask(&mut sender, connect).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        assert!(body.starts_with(b"<html>"), "{body:?}");
        // More than HTTP/1.1 takes, in a list that HTTP/2 takes.
        let mut many = get("https://a.example/");
        for _ in 0..200 {
            many.headers_mut().append("x", "y".parse().unwrap());
        }
        let (answer, _, _) = ask(&mut sender, many).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let mut long = get("https://a.example/");
        let value = "x".repeat(buffer::SIZE).parse().unwrap();
        long.headers_mut().append("x", value);
        let (answer, _, _) = ask(&mut sender, long).await.unwrap();
        assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    })
    .await;
    assert_eq!(seen, "");
}

/// Frames by hand: no library sends such a request.
#[tokio::test]
async fn fields_about_the_connection_are_no_request() {
    let visit = visit(([127, 0, 0, 1], 1).into());
    let (mut theirs, ours) = tokio::io::duplex(4096);
    let (taken, stop) = (AtomicU64::new(0), CancellationToken::new());
    let edge = serve(&visit, ours, &taken, &stop);
    let client = async {
        // GET https /, then a field that is in no table: both texts with their lengths.
        let mut fields = vec![0x82, 0x87, 0x84, 0];
        for text in ["connection", "close"] {
            fields.push(text.len() as u8);
            fields.extend_from_slice(text.as_bytes());
        }
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // SETTINGS; HEADERS of stream 1, the last of the head and of the stream.
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&[0, 0, fields.len() as u8, 1, 5, 0, 0, 0, 1]);
        bytes.extend_from_slice(&fields);
        theirs.write_all(&bytes).await.unwrap();
        loop {
            let mut head = [0; 9];
            theirs.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
            theirs.read_exact(&mut payload).await.unwrap();
            // RST_STREAM, HEADERS.
            match head[3] {
                3 => return payload,
                kind => assert_ne!(kind, 1, "it is answered"),
            }
        }
    };
    tokio::select! {
        reason = client => assert_eq!(reason, [0, 0, 0, 1], "PROTOCOL_ERROR"),
        () = edge => panic!("the whole connection ended"),
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_whole_answer() {
    // More than is looked at at once.
    let data = "x".repeat(2 * buffer::SIZE);
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = format!("{head}{:x}\r\n{data}\r\nnonsense", data.len());
    meet("\r\n\r\n", answer.as_bytes(), async |mut sender| {
        let refused = ask(&mut sender, get("https://a.example/"))
            .await
            .unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::INTERNAL_ERROR), "{refused}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_told_to_end() {
    let began = Instant::now();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    meet("\r\n\r\n", answer, async |mut sender| {
        let (_, body, _) = ask(&mut sender, get("https://a.example/")).await.unwrap();
        assert_eq!(body, b"ok");
        // Until the connection ends.
        std::future::pending().await
    })
    .await;
    let took = began.elapsed();
    assert!(
        took >= KEEP_ALIVE_TIMEOUT && took < HEAD_TIMEOUT,
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_does_not_hold_up_the_end() {
    let visit = visit(([127, 0, 0, 1], 1).into());
    let (_theirs, ours) = tokio::io::duplex(4096);
    let (taken, stop) = (AtomicU64::new(0), CancellationToken::new());
    stop.cancel();
    let began = Instant::now();
    serve(&visit, ours, &taken, &stop).await;
    assert!(began.elapsed() < HEAD_TIMEOUT, "{:?}", began.elapsed());
}

/// Endless answers: what a client does not take must not be kept for it.
#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut_off_and_the_others_are_not() {
    let at_server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let visit = visit(at_server.local_addr().unwrap());
    let (theirs, ours) = tokio::io::duplex(256 * 1024);
    let (taken, stop) = (AtomicU64::new(0), CancellationToken::new());
    let edge = serve(&visit, ours, &taken, &stop);
    let server = async {
        let (mut stream, _) = at_server.accept().await.unwrap();
        stream.read_buf(&mut Vec::new()).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        // Until the edge takes no more, for good.
        while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
    };
    let client = async {
        let (mut sender, connection) = client::handshake(theirs).await.unwrap();
        let mut connection = pin!(connection);
        let asked = async {
            let (answer, _) = sender
                .send_request(get("https://a.example/"), true)
                .unwrap();
            let mut body = answer.await.unwrap().into_body();
            let mut n = 0;
            let began = Instant::now();
            let ended = loop {
                match body.data().await {
                    Some(Ok(data)) => n += data.len(),
                    ended => break ended,
                }
            };
            let reason = ended.and_then(|ended| ended.unwrap_err().reason());
            assert_eq!(reason, Some(Reason::INTERNAL_ERROR));
            // The window of a client that gives no more room.
            assert_eq!(n, 65_535);
            began.elapsed()
        };
        tokio::select! {
            took = asked => took,
            ended = connection.as_mut() => panic!("the connection ended: {ended:?}"),
        }
    };
    let clock = async {
        // It leaps to the next timer when a socket is waited for, also if that is ready.
        loop {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        ((), took) = async { tokio::join!(server, client) } => {
            assert!(took >= CLIENT_TIMEOUT && took < 2 * CLIENT_TIMEOUT, "{took:?}");
        }
        () = edge => panic!("it ended first"),
        () = clock => {}
    }
}

//! However the bytes of a connection are cut into pieces on their way, the same requests and answers come of them.

mod support;

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use support::{World, app};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use zddcluster_runtime::{OnFailure, Tasks};

/// An edge before a server that writes down the requests it gets in full, and one that says what it is told.
struct Fixture {
    runtime: Runtime,
    edge: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    /// Where the other server is reached.
    telling: SocketAddr,
    /// What it says to the next request, and then ends.
    pieces: Arc<Mutex<Vec<Vec<u8>>>>,
    _world: World,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let requests = Arc::<Mutex<Vec<String>>>::default();
    let pieces = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let world = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, noted) = (Tasks::new(), Arc::clone(&requests));
        let connections = tasks.clone();
        tasks.spawn("server", OnFailure::Log, async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let noted = Arc::clone(&noted);
                connections.spawn("connection", OnFailure::Log, async move {
                    // One that breaks off is no request.
                    let _ = serve(stream, &noted).await;
                    Ok(())
                });
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let telling = listener.local_addr().unwrap();
        let said = Arc::clone(&pieces);
        tasks.spawn("telling server", OnFailure::Log, async move {
            loop {
                let (stream, _) = listener.accept().await?;
                let pieces = std::mem::take(&mut *said.lock().unwrap());
                // The edge may not take all of it.
                let _ = tell(stream, &pieces).await;
            }
        });
        let apps = vec![
            app("/a", 10000, "http", &[address]),
            app("/b", 10001, "http", &[telling]),
        ];
        let world = World::start(apps).await;
        world.listening(10000, true).await;
        world.listening(10001, true).await;
        world
    });
    Fixture {
        runtime,
        edge: world.at(10000),
        requests,
        telling: world.at(10001),
        pieces,
        _world: world,
    }
});

/// Reads requests, which are well formed: an edge has written them.
async fn serve(stream: TcpStream, noted: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut start, mut length, mut is_chunked) = (String::new(), 0, false);
        if stream.read_line(&mut start).await? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().unwrap();
            }
            is_chunked |= line == "transfer-encoding: chunked";
            if line.is_empty() {
                break;
            }
        }
        let mut body = Vec::new();
        while is_chunked {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            if line.is_empty() {
                return Ok(());
            }
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut data = vec![0; size + 2];
            stream.read_exact(&mut data).await?;
            body.extend_from_slice(&data[..size]);
            is_chunked = size > 0;
        }
        let mut data = vec![0; length];
        stream.read_exact(&mut data).await?;
        body.extend(data);
        noted
            .lock()
            .unwrap()
            .push(format!("{} {body:?}", start.trim_end()));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await?;
    }
}

/// Reads a request without a body, says the pieces and ends.
async fn tell(mut stream: TcpStream, pieces: &[Vec<u8>]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut text).await? == 0 {
            return Ok(());
        }
    }
    for piece in pieces {
        stream.write_all(piece).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Sends the pieces and ends; the statuses that come back, and the requests that the server had.
async fn send(pieces: &[&[u8]]) -> (Vec<String>, Vec<String>) {
    let fixture = &*FIXTURE;
    fixture.requests.lock().unwrap().clear();
    let mut stream = TcpStream::connect(fixture.edge).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for (n, piece) in pieces.iter().enumerate() {
            if n > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // A connection that was refused may be closed.
            let _ = writer.write_all(piece).await;
        }
        let _ = writer.shutdown().await;
    };
    let mut bytes = Vec::new();
    let (_, ended) = tokio::join!(writing, async {
        tokio::time::timeout(support::SOON, reader.read_to_end(&mut bytes)).await
    });
    assert!(ended.is_ok(), "the edge does not end");
    let text = String::from_utf8_lossy(&bytes);
    let answers = text.split("HTTP/1.1 ").skip(1);
    let statuses = answers.map(|answer| answer[..3].to_owned()).collect();
    let requests = std::mem::take(&mut *fixture.requests.lock().unwrap());
    (statuses, requests)
}

/// What a client might send: requests, one behind the other, now and then with something wrong.
fn connection() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..30);
    let chunked = prop::collection::vec(body.clone(), 0..4).prop_map(|chunks| {
        let mut text =
            b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for data in chunks.iter().filter(|data| !data.is_empty()) {
            text.extend(format!("{:x}\r\n", data.len()).into_bytes());
            text.extend(data);
            text.extend(b"\r\n");
        }
        text.extend(b"0\r\n\r\n");
        text
    });
    let with_length = body.prop_map(|data| {
        let head = format!(
            "PUT /l HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
            data.len()
        );
        [head.as_bytes(), &data].concat()
    });
    let part = prop_oneof![
        4 => "GET /[a-z]{0,3} HTTP/1\\.1\r\nHost: h\r\n(X-Y: [a-z ]{0,9}\r\n)?\r\n".prop_map(String::into_bytes),
        4 => chunked,
        4 => with_length,
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..9),
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

/// Has the server answer in these pieces; the client's answers, heads and bodies without their chunks.
async fn answered(pieces: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
    let fixture = &*FIXTURE;
    *fixture.pieces.lock().unwrap() = pieces.iter().map(|piece| piece.to_vec()).collect();
    // Not to be sent twice.
    let post = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let mut stream = TcpStream::connect(fixture.telling).await.unwrap();
    stream.write_all(post).await.unwrap();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(support::SOON, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "the edge does not end");
    let mut answers = Vec::new();
    while let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
        let mut rest = bytes.split_off(at + 4);
        let head = String::from_utf8_lossy(&bytes).into_owned();
        bytes = Vec::new();
        if head.starts_with("HTTP/1.1 1") {
            std::mem::swap(&mut bytes, &mut rest);
        } else if head
            .to_ascii_lowercase()
            .contains("transfer-encoding: chunked")
        {
            rest = unchunked(&rest);
        }
        answers.push((head, rest));
    }
    answers
}

/// The data of chunks, and what stands behind the last one.
fn unchunked(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let at = chunks.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = std::str::from_utf8(&chunks[..at]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        chunks = &chunks[at + 2..];
        if size == 0 {
            data.extend_from_slice(chunks);
            return data;
        }
        data.extend_from_slice(&chunks[..size]);
        assert_eq!(&chunks[size..size + 2], b"\r\n");
        chunks = &chunks[size + 2..];
    }
}

/// What a server might answer.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let body = prop::collection::vec(any::<u8>(), 0..40);
    let final_answer = prop_oneof![
        prop::collection::vec(body.clone(), 0..4).prop_map(|chunks| {
            let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for data in chunks.iter().filter(|data| !data.is_empty()) {
                text.extend(format!("{:X};x\r\n", data.len()).into_bytes());
                text.extend(data);
                text.extend(b"\r\n");
            }
            text.extend(b"0\r\nT: 1\r\n\r\n");
            text
        }),
        (body.clone(), 0..3_usize).prop_map(|(data, n_missing)| {
            let length = data.len() + n_missing;
            let head = format!("HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: {length}\r\n\r\n");
            [head.as_bytes(), &data].concat()
        }),
        body.prop_map(|data| [b"HTTP/1.0 200 OK\r\n\r\n", &*data].concat()),
        Just(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        Just(b"SSH-2.0\r\n\r\n".to_vec()),
    ];
    let interim = prop_oneof![
        3 => Just(""),
        1 => Just("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
    ];
    (interim, final_answer).prop_map(|(interim, answer)| [interim.as_bytes(), &answer].concat())
}

/// `bytes` cut at these places.
fn cut<'b>(bytes: &'b [u8], cuts: &[Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.push(bytes.len());
    cuts.sort_unstable();
    let mut start = 0;
    let ends = cuts.into_iter();
    ends.map(|end| &bytes[std::mem::replace(&mut start, end)..end])
        .collect()
}

/// Both tests use one world, in turn.
static TURN: Mutex<()> = Mutex::new(());

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn pieces_mean_what_the_whole_means(bytes in connection(), cuts in prop::collection::vec(any::<Index>(), 1..6)) {
        let _turn = TURN.lock();
        let pieces = cut(&bytes, &cuts);
        let (whole, in_pieces) = FIXTURE.runtime.block_on(async {
            (send(&[&bytes]).await, send(&pieces).await)
        });
        let shown: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
        prop_assert_eq!(whole, in_pieces, "{:?}", shown);
    }

    #[test]
    fn answers_in_pieces_mean_what_the_whole_means(bytes in answer(), cuts in prop::collection::vec(any::<Index>(), 1..6)) {
        let _turn = TURN.lock();
        let pieces = cut(&bytes, &cuts);
        let (whole, in_pieces) = FIXTURE.runtime.block_on(async {
            (answered(&[&bytes]).await, answered(&pieces).await)
        });
        let shown: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
        prop_assert!(!whole.is_empty(), "{:?}", shown);
        prop_assert_eq!(whole, in_pieces, "{:?}", shown);
    }
}

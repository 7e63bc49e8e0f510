//! However the bytes of a connection are cut into pieces on their way, the same requests come of them.

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

/// An edge before a server that writes down the requests it gets in full.
struct Fixture {
    runtime: Runtime,
    edge: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    _world: World,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let runtime = Runtime::new().unwrap();
    let requests = Arc::<Mutex<Vec<String>>>::default();
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
        let world = World::start(vec![app("/a", 10000, "http", &[address])]).await;
        world.listening(10000, true).await;
        world
    });
    Fixture {
        runtime,
        edge: world.at(10000),
        requests,
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn pieces_mean_what_the_whole_means(bytes in connection(), cuts in prop::collection::vec(any::<Index>(), 1..6)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut start = 0;
        let mut pieces = Vec::new();
        for end in cuts {
            pieces.push(&bytes[start..end]);
            start = end;
        }
        let (whole, cut) = FIXTURE.runtime.block_on(async {
            (send(&[&bytes]).await, send(&pieces).await)
        });
        let shown: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
        prop_assert_eq!(whole, cut, "{:?}", shown);
    }
}

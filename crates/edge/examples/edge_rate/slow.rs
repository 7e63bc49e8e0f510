//! What slow clients cost the others: a thousand of a kind at a time, and the latency of somebody who asks quickly.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::peer::Peer;

const N_CLIENTS: usize = 1_000;
/// Between two requests of the one whose latency counts.
const PAUSE: Duration = Duration::from_millis(2);
/// Between two bytes, or pieces, of a slow client.
const SLOWNESS: Duration = Duration::from_secs(1);

/// What a client is slow with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody is slow: for comparison.
    Nothing,
    /// A byte of a head a second.
    Head,
    /// A byte of a body a second.
    Body,
    /// It takes a kilobyte a second of a mebibyte.
    Reading,
}

/// Prints the latencies with each kind of slow clients.
pub(crate) fn compare(peers: &[Peer], seconds: u64) -> anyhow::Result<()> {
    println!("\n{N_CLIENTS} slow clients: latencies of another one, ms, and resident KiB");
    println!(
        "{:14} {:>8} {:>8} {:>8} {:>8} {:>9}",
        "", "slow", "p50", "p99", "most", "resident"
    );
    for kind in [Kind::Nothing, Kind::Head, Kind::Body, Kind::Reading] {
        for peer in peers {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()?;
            let clients = runtime.spawn(be_slow(kind, peer.address));
            // All have connected, and have begun.
            std::thread::park_timeout(Duration::from_secs(2));
            let mut latencies = probe(peer.address, Duration::from_secs(seconds))?;
            let resident = peer.resident_kib()?;
            clients.abort();
            runtime.shutdown_background();
            latencies.sort();
            let at = |share: f64| {
                let at = ((latencies.len() - 1) as f64 * share) as usize;
                latencies[at].as_secs_f64() * 1000.0
            };
            println!(
                "{:14} {:>8} {:8.2} {:8.2} {:8.2} {resident:9}",
                peer.name,
                format!("{kind:?}"),
                at(0.5),
                at(0.99),
                at(1.0)
            );
        }
    }
    Ok(())
}

async fn be_slow(kind: Kind, address: SocketAddr) -> anyhow::Result<()> {
    let mut clients = JoinSet::new();
    for _ in 0..N_CLIENTS {
        match kind {
            Kind::Nothing => {}
            Kind::Head => {
                clients.spawn(write(address, "GET / HTTP/1.1\r\nHost: h\r\nX: "));
            }
            Kind::Body => {
                clients.spawn(write(
                    address,
                    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n",
                ));
            }
            Kind::Reading => {
                clients.spawn(read(address));
            }
        }
    }
    // One that is cut off for its slowness is not replaced.
    while clients.join_next().await.is_some() {}
    Ok(())
}

async fn write(address: SocketAddr, begin: &str) -> std::io::Result<()> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(begin.as_bytes()).await?;
    loop {
        tokio::time::sleep(SLOWNESS).await;
        stream.write_all(b"x").await?;
    }
}

async fn read(address: SocketAddr) -> std::io::Result<()> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    // Else the kernel takes what the client does not.
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address).await?;
    stream
        .write_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
        .await?;
    let mut bytes = [0; 1024];
    loop {
        tokio::time::sleep(SLOWNESS).await;
        if stream.read(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
}

/// Asks again and again over one connection.
fn probe(address: SocketAddr, length: Duration) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (began, mut latencies) = (Instant::now(), Vec::new());
    let mut bytes = [0; 4096];
    while began.elapsed() < length {
        let asked = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")?;
        let mut text = Vec::new();
        while !text.ends_with(b"Hello world\n") {
            let n = stream.read(&mut bytes)?;
            anyhow::ensure!(n > 0, "the proxy ended the connection");
            text.extend_from_slice(&bytes[..n]);
        }
        latencies.push(asked.elapsed());
        std::thread::park_timeout(PAUSE);
    }
    Ok(latencies)
}

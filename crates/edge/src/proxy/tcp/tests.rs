use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::*;
use crate::proxy::session::tests::visit;

/// An hour is long: the clock takes large steps, see the tests of sessions.
const STEP: Duration = Duration::from_secs(5);

/// Passes a connection on. The server says a byte after each of `pauses`, and the client nothing. How many bytes the client has got
/// when the connection ends, and after how many minutes that is.
async fn silent(pauses: &[Duration]) -> (usize, u64) {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (at_server, at_edge) = (bind().await.unwrap(), bind().await.unwrap());
    let visit = visit(at_server.local_addr().unwrap());
    let routes = visit.shared.routes.load_full();
    let lease = routes.backends[0]
        .lease(&[], visit.client, visit.shared.now())
        .unwrap();
    let at_edge_address = at_edge.local_addr().unwrap();
    let mut client = TcpStream::connect(at_edge_address).await.unwrap();
    let (mut accepted, _) = at_edge.accept().await.unwrap();
    let server = TcpStream::connect(lease.server.spec.address).await.unwrap();
    let (mut at_server, _) = at_server.accept().await.unwrap();
    let began = Instant::now();
    let (reader, writer) = accepted.split();
    let mut end = End {
        source: Source::new(reader, (&visit.frontend.bytes_in, None)),
        sink: Sink::new(writer, (&visit.frontend.bytes_out, None)),
        unread: Buffer::default(),
    };
    let tunnel = tunnel(&mut end, server, Buffer::default(), &lease.server);
    let says = async {
        for pause in pauses {
            sleep(*pause).await;
            at_server.write_all(b"x").await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let clock = async {
        loop {
            sleep(STEP).await;
        }
    };
    tokio::select! {
        () = tunnel => {}
        () = says => unreachable!("it never ends"),
        () = clock => unreachable!("it never ends"),
    }
    let took = began.elapsed();
    drop(accepted);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    (bytes.len(), took.as_secs() / 60)
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_ends_after_an_hour_in_silence_both_ways() {
    // contract: lb-timeout-tunnel
    assert_eq!(silent(&[]).await, (0, 60));
    // What one side says keeps the other one.
    let half = Duration::from_secs(1800);
    assert_eq!(silent(&[half, half]).await, (2, 120));
}

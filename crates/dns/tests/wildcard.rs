//! Answers come from the address that was asked, also of a socket that takes what comes to all addresses.

use std::io::Write as _;
use std::net::SocketAddr;

use hickory_server::proto::op::{Message, ResponseCode};
use socket2::{Domain, Socket, Type};
use support::ask::{LIMIT, query};
use support::master::Master;
use support::upstream::Upstreams;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use zddcluster_dns::start;
use zddcluster_runtime::Tasks;

mod support;

/// The type of addresses.
const A: u16 = 1;
/// One name that is ours, and one that others are asked for.
const NAMES: [&str; 2] = ["leader.mesos", "www.test.example"];

/// A socket of this address' family, and of both for IPv6.
fn bind(address: &str) -> std::io::Result<UdpSocket> {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// Asks a server that listens at `listen` at these of its addresses, each from a client's.
async fn asks(listen: &str, clients: &[(&str, &str)]) {
    let upstreams = Upstreams::start().await;
    let master = Master::start(support::state_document()).await;
    let tasks = Tasks::new();
    let mut config = support::server("forward", &master.url()).await;
    config.forward = upstreams.replaced(&support::forward("forward"));
    config.udp = Some(bind(listen).expect("a port"));
    let dns = start(config, &tasks).expect("a good configuration");
    let port = dns.udp_address().expect("bound").port();
    timeout(LIMIT, dns.ready()).await.expect("a first state");
    for &(client, server) in clients {
        let socket = bind(client).expect("a port");
        let server = SocketAddr::new(server.parse().expect("an address"), port);
        // From now on it hears nobody else.
        socket.connect(server).await.expect("an address of here");
        for (id, name) in (0..).zip(NAMES) {
            let packet = query([0, id, 1, 0], name, A);
            socket.send(&packet).await.expect("sent");
            let mut answer = [0; 4096];
            let length = timeout(LIMIT, socket.recv(&mut answer)).await;
            let length = length.unwrap_or_else(|_| panic!("{server} is silent about {name}"));
            let answer = &answer[..length.expect("received")];
            let answer = Message::from_vec(answer).expect("a message");
            assert_eq!(answer.metadata.id, u16::from(id));
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
            assert!(!answer.answers.is_empty(), "{answer}");
        }
    }
    tasks.shut_down(LIMIT).await.expect("all ends");
    master.stop().await;
}

#[tokio::test]
async fn of_ipv4() {
    let clients = ["127.0.0.1", "127.0.0.5", "127.9.9.9"].map(|server| ("127.0.0.1:0", server));
    asks("0.0.0.0:0", &clients).await;
}

#[tokio::test]
async fn of_both_families() {
    if UdpSocket::bind("[::1]:0").await.is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: there is no IPv6 here");
        return;
    }
    let v4 = |server| ("127.0.0.1:0", server);
    let clients = [("[::1]:0", "::1"), v4("127.0.0.1"), v4("127.0.0.5")];
    asks("[::]:0", &clients).await;
}

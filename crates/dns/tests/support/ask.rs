//! A running server in one of its two modes, asked with packets written by hand.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_server::proto::op::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use zddcluster_dns::{Config, Handle, ZoneConfig, start};
use zddcluster_runtime::Tasks;

use super::master::Master;
use super::wire_name;

/// Far more than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A query's header: its id, and rd alone.
pub(crate) const HEADER: [u8; 4] = [0, 7, 1, 0];

/// How a packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

pub(crate) const BOTH: [Transport; 2] = [Transport::Udp, Transport::Tcp];

/// A server that follows a master.
pub(crate) struct Server {
    pub(crate) dns: Handle,
    pub(crate) master: Master,
    tasks: Tasks,
}

impl Server {
    /// Starts one with these settings and waits until it answers.
    pub(crate) async fn start(state: Value, zone: ZoneConfig) -> Self {
        let master = Master::start(state).await;
        let tasks = Tasks::new();
        let config = Config {
            zone,
            ..super::server("lab", &master.url()).await
        };
        let dns = start(config, &tasks).expect("a good configuration");
        timeout(LIMIT, dns.ready()).await.expect("a first state");
        Self { dns, master, tasks }
    }

    pub(crate) async fn stop(self) {
        self.tasks.shut_down(LIMIT).await.expect("all ends");
        self.master.stop().await;
    }

    /// Sends a packet and returns the answer.
    pub(crate) async fn ask(&self, packet: &[u8], transport: Transport) -> Vec<u8> {
        match transport {
            Transport::Udp => ask_udp(self.dns.udp_address().expect("it answers"), packet).await,
            Transport::Tcp => ask_tcp(self.dns.tcp_address().expect("it answers"), packet).await,
        }
    }

    /// As [`ask`](Self::ask), read.
    pub(crate) async fn asked(&self, packet: &[u8], transport: Transport) -> Message {
        let answer = self.ask(packet, transport).await;
        assert_eq!(answer[..2], packet[..2], "the id");
        assert!(answer[2] & 0x80 != 0, "QR");
        Message::from_vec(&answer).expect("a message")
    }
}

/// A query with one question and nothing behind it.
pub(crate) fn query(header: [u8; 4], name: &str, qtype: u16) -> Vec<u8> {
    let mut packet = header.to_vec();
    packet.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    packet.extend_from_slice(&wire_name(name));
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

/// An OPT record as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opt<'a> {
    pub(crate) size: u16,
    pub(crate) version: u8,
    pub(crate) flags: u16,
    pub(crate) options: &'a [u8],
}

impl Default for Opt<'_> {
    fn default() -> Self {
        Self {
            size: 4096,
            version: 0,
            flags: 0,
            options: &[],
        }
    }
}

/// Adds an OPT record to a query.
pub(crate) fn with_opt(mut packet: Vec<u8>, opt: Opt<'_>) -> Vec<u8> {
    packet[11] += 1;
    packet.extend_from_slice(&[0, 0, 41]);
    packet.extend_from_slice(&opt.size.to_be_bytes());
    packet.extend_from_slice(&[0, opt.version]);
    packet.extend_from_slice(&opt.flags.to_be_bytes());
    let length = u16::try_from(opt.options.len()).expect("few options");
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(opt.options);
    packet
}

async fn ask_udp(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.send_to(packet, server).await.expect("sent");
    let mut buffer = vec![0; 65536];
    let received = timeout(LIMIT, socket.recv(&mut buffer)).await;
    let length = received.expect("an answer").expect("received");
    buffer.truncate(length);
    buffer
}

async fn ask_tcp(server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).await.expect("connected");
    let length = u16::try_from(packet.len()).expect("a short packet");
    let sent = [&length.to_be_bytes(), packet].concat();
    stream.write_all(&sent).await.expect("sent");
    let answer = async {
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = timeout(LIMIT, answer).await;
    answer.expect("an answer").expect("received")
}

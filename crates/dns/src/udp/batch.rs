//! Datagrams that are received, answered and sent together.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::net::UdpSocket;

/// How many at most. More save little, and others that share the thread have their turn in between.
const SIZE: usize = 32;
/// The largest query that is read: far more than one is.
const LARGEST: usize = 4096;

/// Queries that came together, then the answers to them.
pub(super) struct Batch {
    queries: Vec<Vec<u8>>,
    /// Of each query: how long it is, and who asks.
    received: Vec<(usize, Option<SockaddrStorage>)>,
    /// The first of them are in use.
    answers: Vec<Vec<u8>>,
    /// Whom each answer is for.
    clients: Vec<Option<SockaddrStorage>>,
    n_sent: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            queries: vec![vec![0; LARGEST]; SIZE],
            received: Vec::with_capacity(SIZE),
            answers: vec![Vec::new(); SIZE],
            clients: Vec::with_capacity(SIZE),
            n_sent: 0,
        }
    }

    /// Takes what has come, instead of what was in it.
    ///
    /// # Errors
    /// When nothing has come, or the socket is broken.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut headers = MultiHeaders::preallocate(SIZE, None);
        let slices = self.queries.iter_mut().map(|it| [IoSliceMut::new(it)]);
        let mut slices: Vec<_> = slices.collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let received = recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None)?;
        self.received.clear();
        let all = received.map(|received| (received.bytes, received.address));
        self.received.extend(all);
        Ok(())
    }

    /// Has each query answered by `answer`, which is told who asks and writes into what it is given; false if there is no
    /// answer to it, or not yet.
    pub(super) fn answer(
        &mut self,
        mut answer: impl FnMut(&[u8], Option<SocketAddr>, &mut Vec<u8>) -> bool,
    ) {
        self.clients.clear();
        self.n_sent = 0;
        for (query, (length, client)) in self.queries.iter().zip(&self.received) {
            let answered = &mut self.answers[self.clients.len()];
            if answer(&query[..*length], client.and_then(address), answered) {
                self.clients.push(*client);
            }
        }
    }

    /// Whether there may be more to receive.
    pub(super) fn is_full(&self) -> bool {
        self.received.len() == SIZE
    }

    /// Whether no answer is left.
    pub(super) fn is_sent(&self) -> bool {
        self.n_sent == self.clients.len()
    }

    /// Sends what is left of the answers, or as much of it as there is room for.
    ///
    /// # Errors
    /// When the first of them cannot be sent.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let clients = &self.clients[self.n_sent..];
        let mut headers = MultiHeaders::preallocate(clients.len(), None);
        let answers = self.answers[self.n_sent..].iter().zip(clients);
        let slices: Vec<_> = answers.map(|(answer, _)| [IoSlice::new(answer)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices,
            clients,
            [],
            flags,
        )?;
        self.n_sent += sent.count();
        Ok(())
    }

    /// Leaves out the next answer.
    pub(super) fn skip(&mut self) {
        self.n_sent += 1;
    }
}

fn address(of: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = of.as_sockaddr_in().map(|&v4| SocketAddrV4::from(v4).into());
    v4.or_else(|| Some(SocketAddrV6::from(*of.as_sockaddr_in6()?).into()))
}

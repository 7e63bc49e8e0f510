//! Datagrams that are received, answered and sent together.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use tokio::net::UdpSocket;

use super::local::{self, Local};

/// How many at most. More save little, and others that share the thread have their turn in between.
const SIZE: usize = 32;
/// The largest query that is read: far more than one is.
const LARGEST: usize = 4096;

/// Queries that came together, then the answers to them.
pub(super) struct Batch {
    queries: Vec<Vec<u8>>,
    /// Of each query: how long it is, and its way.
    received: Vec<(usize, Ends)>,
    /// The first of them are in use.
    answers: Vec<Vec<u8>>,
    /// Whom each answer is for.
    clients: Vec<Option<SockaddrStorage>>,
    /// Where each answer leaves from, if that has to be said.
    locals: Vec<Option<Local>>,
    n_sent: usize,
    /// Whether queries tell where they came to.
    is_told: bool,
}

/// Both ends of a query's way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    client: Option<SockaddrStorage>,
    local: Option<Local>,
}

impl Ends {
    /// Who asks.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let client = self.client.as_ref()?;
        let v4 = client.as_sockaddr_in();
        let v4 = v4.map(|&v4| SocketAddrV4::from(v4).into());
        v4.or_else(|| Some(SocketAddrV6::from(*client.as_sockaddr_in6()?).into()))
    }

    /// Sends the client one answer.
    ///
    /// # Errors
    /// Those of the socket, `WouldBlock` among them.
    pub(super) fn send(&self, socket: &UdpSocket, answer: &[u8]) -> io::Result<()> {
        match &self.client {
            Some(client) => local::send(socket, answer, client, self.local.as_ref()),
            None => Ok(()),
        }
    }
}

impl Batch {
    /// For a socket whose datagrams tell where they came to, or do not.
    pub(super) fn new(is_told: bool) -> Self {
        Self {
            queries: vec![vec![0; LARGEST]; SIZE],
            received: Vec::with_capacity(SIZE),
            answers: vec![Vec::new(); SIZE],
            clients: Vec::with_capacity(SIZE),
            locals: Vec::with_capacity(SIZE),
            n_sent: 0,
            is_told,
        }
    }

    /// Takes what has come, instead of what was in it.
    ///
    /// # Errors
    /// When nothing has come, or the socket is broken.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let room = self.is_told.then(local::room);
        let mut headers = MultiHeaders::preallocate(SIZE, room);
        let slices = self.queries.iter_mut().map(|it| [IoSliceMut::new(it)]);
        let mut slices: Vec<_> = slices.collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let received = recvmmsg(socket.as_raw_fd(), &mut headers, &mut slices, flags, None)?;
        self.received.clear();
        let all = received.map(|received| {
            let ends = Ends {
                client: received.address,
                local: local::of(&received),
            };
            (received.bytes, ends)
        });
        self.received.extend(all);
        Ok(())
    }

    /// Has each query answered by `answer`, which is told who asks and writes into what it is given; false if there is no
    /// answer to it, or not yet.
    pub(super) fn answer(&mut self, mut answer: impl FnMut(&[u8], &Ends, &mut Vec<u8>) -> bool) {
        self.clients.clear();
        self.locals.clear();
        self.n_sent = 0;
        for (query, (length, ends)) in self.queries.iter().zip(&self.received) {
            let answered = &mut self.answers[self.clients.len()];
            if answer(&query[..*length], ends, answered) {
                self.clients.push(ends.client);
                self.locals.push(ends.local);
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
        // Together they leave from one address: `sendmmsg` of nix says the same with all of them.
        let local = self.locals[self.n_sent];
        let left = self.locals[self.n_sent..].iter();
        let n_together = left.take_while(|it| **it == local).count();
        let clients = &self.clients[self.n_sent..][..n_together];
        let room = local.is_some().then(local::room);
        let mut headers = MultiHeaders::preallocate(clients.len(), room);
        let answers = self.answers[self.n_sent..].iter().zip(clients);
        let slices: Vec<_> = answers.map(|(answer, _)| [IoSlice::new(answer)]).collect();
        let from = local.as_ref().map(Local::message);
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut headers,
            &slices,
            clients,
            from.as_slice(),
            MsgFlags::MSG_DONTWAIT,
        )?;
        self.n_sent += sent.count();
        Ok(())
    }

    /// Leaves out the next answer.
    pub(super) fn skip(&mut self) {
        self.n_sent += 1;
    }
}

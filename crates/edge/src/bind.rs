//! Listening sockets: as many for one address as there are workers.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// HAProxy's backlog in Marathon-LB's template; the kernel caps it.
pub(crate) const BACKLOG: i32 = 10_000;
/// The sockets of one listener, bound and listening.
#[derive(Debug)]
pub(crate) struct Bound(Vec<TcpListener>);

impl Bound {
    /// Where they listen.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0[0].local_addr()
    }

    /// The sockets, at least one.
    pub(crate) fn into_sockets(self) -> impl Iterator<Item = TcpListener> {
        self.0.into_iter()
    }
}

/// Binds `n` listening sockets to one address.
///
/// # Errors
/// What the kernel says; that the address is in use also when it is by sockets that would share it.
pub(crate) fn bind(address: SocketAddr, n: usize) -> io::Result<Bound> {
    let open = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // Connections of a former listener that linger must not keep the port.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        // Accepted connections inherit it.
        socket.set_tcp_nodelay(true)?;
        Ok::<_, io::Error>(socket)
    };
    let first = open()?;
    // Alone: another edge at this address would otherwise get every second connection.
    first.bind(&address.into())?;
    let mut sockets = vec![first];
    if n > 1 {
        // Connections are dealt out to sockets that were set so before they listen.
        sockets[0].set_reuse_port(true)?;
        let address = sockets[0].local_addr()?;
        for _ in 1..n {
            let socket = open()?;
            socket.set_reuse_port(true)?;
            socket.bind(&address)?;
            sockets.push(socket);
        }
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(Bound(sockets.into_iter().map(Into::into).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_one_listener_share_the_port_and_no_other_listener_does() {
        let bound = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = bound.local_addr().unwrap();
        assert_eq!(bound.into_sockets().count(), 3, "all at once");
        let bound = bind(address, 3).unwrap();
        for n in [1, 3] {
            let error = bind(address, n).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        }
        let addresses: Vec<_> = bound
            .into_sockets()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        assert_eq!(addresses, [address; 3]);
    }
}

//! Answers leave from the address that was asked, also where a socket takes what comes to all of them.
//!
//! Left to itself the kernel takes the address of the way back, which may be another one of the machine; the client then takes the
//! answer for a stranger's. So such a socket has it told with each datagram where it came to, and each answer says where it
//! leaves from. Source: ip(7) `IP_PKTINFO`, RFC 3542 §6.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::libc::{in_addr, in_pktinfo, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, sendmsg, setsockopt,
};
use tokio::net::UdpSocket;

/// The address that a datagram came to, as its answer is to say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Local {
    V4(in_pktinfo),
    V6(in6_pktinfo),
}

impl Local {
    /// What is said with an answer that leaves from here.
    pub(super) fn message(&self) -> ControlMessage<'_> {
        match self {
            Self::V4(info) => ControlMessage::Ipv4PacketInfo(info),
            Self::V6(info) => ControlMessage::Ipv6PacketInfo(info),
        }
    }
}

/// Has the socket tell where datagrams came to, if it takes those to all addresses; whether it does. What has come before may
/// not tell it.
///
/// # Errors
/// Those of the socket.
pub(super) fn tell(socket: &UdpSocket) -> io::Result<bool> {
    let address = socket.local_addr()?;
    if !address.ip().is_unspecified() {
        return Ok(false);
    }
    match address.is_ipv4() {
        true => setsockopt(socket, Ipv4PacketInfo, &true)?,
        false => setsockopt(socket, Ipv6RecvPacketInfo, &true)?,
    }
    Ok(true)
}

/// Room for one message of either family; nothing else is told.
pub(super) fn room() -> Vec<u8> {
    cmsg_space!(in6_pktinfo)
}

/// Where a datagram came to, if that was told and answers can leave from there.
pub(super) fn of(datagram: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Local> {
    datagram.cmsgs().ok()?.find_map(|told| match told {
        // Not `ipi_addr`, which may be that of a broadcast.
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(Local::V4(in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: info.ipi_spec_dst,
            ipi_addr: in_addr { s_addr: 0 },
        })),
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let asked = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            // A link-local address means nothing without its interface; else the way back is the kernel's to find.
            let interface = match asked.is_unicast_link_local() {
                true => info.ipi6_ifindex,
                false => 0,
            };
            (!asked.to_canonical().is_multicast()).then_some(Local::V6(in6_pktinfo {
                ipi6_ifindex: interface,
                ipi6_addr: info.ipi6_addr,
            }))
        }
        _ => None,
    })
}

/// Sends one answer, from that address if there is one.
///
/// # Errors
/// Those of the socket, `WouldBlock` among them.
pub(super) fn send(
    socket: &UdpSocket,
    answer: &[u8],
    client: &SockaddrStorage,
    local: Option<&Local>,
) -> io::Result<()> {
    let answer = [io::IoSlice::new(answer)];
    let from = local.map(Local::message);
    let flags = MsgFlags::MSG_DONTWAIT;
    sendmsg(
        socket.as_raw_fd(),
        &answer,
        from.as_slice(),
        flags,
        Some(client),
    )?;
    Ok(())
}

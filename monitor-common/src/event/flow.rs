//! Flow family: what a connection carried, told when it ends.

use super::Header;
use crate::{assert_layout, endpoint::Address};

/// Who opened a flow.
pub mod direction {
    /// The member.
    pub const OUT: u8 = 0;
    /// The peer.
    pub const IN: u8 = 1;
}

/// The end of a flow. The header names the process that the socket was made by; `time` is the end.
///
/// Only the first connection of a class with a peer is told so, so that short ones are no flood: the
/// others, and datagrams, are added up in a [`crate::socket::FlowSum`] that the daemon reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowEvent {
    /// Whose.
    pub header: Header,
    /// The peer's address.
    pub address: Address,
    /// Cookie of the socket.
    pub cookie: u64,
    /// Payload bytes sent by the member.
    pub sent: u64,
    /// Payload bytes received.
    pub received: u64,
    /// When it was established, nanoseconds since boot, CLOCK_MONOTONIC.
    pub start: u64,
    /// The peer's port, host byte order.
    pub port: u16,
    /// The member's port, host byte order.
    pub local_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip: u8,
    /// [`direction`].
    pub direction: u8,
    /// Always zero.
    pub zero: u8,
}
assert_layout!(FlowEvent, 136);

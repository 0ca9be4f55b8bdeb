//! Accept family: who calls a workload.

use super::Header;
use crate::{assert_layout, class::ClassId, endpoint::Address};

/// A member accepted a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct AcceptEvent {
    /// Who accepted.
    pub header: Header,
    /// The peer's address.
    pub peer: Address,
    /// The address that it called.
    pub local: Address,
    /// Cookie of the accepted socket; 0 where the hook cannot have it.
    pub cookie: u64,
    /// The peer's port, host byte order.
    pub peer_port: u16,
    /// The port that it called, host byte order.
    pub local_port: u16,
    /// User of a peer on this host, in the initial user namespace; `u32::MAX` where it is not known.
    pub peer_uid: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip: u8,
    /// Always zero.
    pub zero: [u8; 6],
}
assert_layout!(AcceptEvent, 136);

/// A process that is not a member called a port that a member listens on. The header is the
/// caller's; its class is [`crate::class::NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallerEvent {
    /// Who called.
    pub header: Header,
    /// The address that it called.
    pub address: Address,
    /// Device of the caller's program, kernel encoding; 0 where it cannot be told.
    pub device: u64,
    /// Inode of the caller's program.
    pub inode: u64,
    /// The port that it called, host byte order.
    pub port: u16,
    /// Class of the listener.
    pub server: ClassId,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip: u8,
    /// Always zero.
    pub zero: u16,
}
assert_layout!(CallerEvent, 120);

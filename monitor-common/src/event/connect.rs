//! Connect and send families: a destination that a socket was, or was not, pointed at.

use super::Header;
use crate::{assert_layout, endpoint::Address};

/// A connect, or a send that names its destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectEvent {
    /// Who.
    pub header: Header,
    /// Destination; an unspecified address has already become loopback, which is where it leads.
    pub address: Address,
    /// Cookie of the socket; 0 where the hook cannot have it.
    pub cookie: u64,
    /// Port in host byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6: the family the caller used.
    pub ip: u8,
    /// Always zero.
    pub zero: u32,
}
assert_layout!(ConnectEvent, 112);

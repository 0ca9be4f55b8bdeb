//! Listeners: the ports that members listen on, so that callers can be told from strangers' traffic.

use crate::{assert_layout, class::ClassId, endpoint::Address};

/// Where somebody listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ListenerKey {
    /// Cookie of the network namespace.
    pub netns: u64,
    /// Port, host byte order.
    pub port: u16,
    /// IP protocol number; MPTCP is TCP.
    pub protocol: u8,
    /// Always zero.
    pub zero: [u8; 5],
}
assert_layout!(ListenerKey, 16);

/// Who listens there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Listener {
    /// The one address that is listened on, IPv4 mapped; zero: all, or several.
    pub address: Address,
    /// Start of the process, nanoseconds since boot, CLOCK_BOOTTIME; 0 where it is not known.
    pub start_time: u64,
    /// Its cgroup v2 id; 0 where it is not known.
    pub cgroup: u64,
    /// The process that listened last.
    pub tgid: u32,
    /// Sockets that are listening.
    pub sockets: u32,
    /// User of the process, in the initial user namespace.
    pub uid: u32,
    /// Class of the process, from the time it listens.
    pub class: ClassId,
    /// Bits of [`IP4`] and [`IP6`].
    pub ips: u8,
    /// Always zero.
    pub zero: u8,
}
assert_layout!(Listener, 48);

/// A call from this host, until it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct CallKey {
    /// Cookie of the network namespace.
    pub netns: u64,
    /// Port that it comes from, host byte order.
    pub from: u16,
    /// Port that it goes to, host byte order.
    pub to: u16,
    /// Always zero.
    pub zero: u32,
}
assert_layout!(CallKey, 16);

/// Calls by IPv4 arrive.
pub const IP4: u8 = 1;
/// Calls by IPv6 arrive.
pub const IP6: u8 = 2;

impl Listener {
    /// Whether a call of this address arrives here.
    #[inline(always)]
    pub fn hears(&self, address: &Address, ip: u8) -> bool {
        self.ips & ip != 0 && (self.address == [0; 16] || self.address == *address)
    }
}

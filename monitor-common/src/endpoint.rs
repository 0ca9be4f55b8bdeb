//! Destinations: the key of the longest-prefix map that says where a policy may connect or send.

use crate::assert_layout;

/// Address family independent address: IPv4 as `::ffff:a.b.c.d`, in network byte order.
pub type Address = [u8; 16];

/// The first twelve bytes of every IPv4 address.
pub const V4_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// Number of the policy that holds the addresses of the invariants: reaching one of these is
/// denied whatever a workload's own policy says.
pub const INVARIANT_POLICY: u32 = u32::MAX;

/// Set in the policy number of entries that are denied rather than allowed.
pub const DENIED: u32 = 1 << 31;

/// Set in the policy number of entries that are about listening rather than connecting: the
/// address is the local one.
pub const LISTEN: u32 = 1 << 30;

/// How much of the key behind the address has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// This protocol and this port.
    Port = 0,
    /// This protocol, any port.
    Protocol = 1,
    /// Any protocol, any port.
    Any = 2,
}

/// Data of the longest-prefix map: everything before the address must match in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct DestinationKey {
    /// Policy that the entry belongs to.
    pub policy: u32,
    /// [`Scope`].
    pub scope: u8,
    /// IP protocol number (6 TCP, 17 UDP, …); 0 where the scope is [`Scope::Any`].
    pub protocol: u8,
    /// Port in host byte order; 0 unless the scope is [`Scope::Port`].
    pub port: u16,
    /// The address or the prefix, host bits zero.
    pub address: Address,
}
assert_layout!(DestinationKey, 24);

/// Bits of [`DestinationKey`] before the address; the prefix length of an entry is this plus the
/// address's own prefix length (IPv4: 96 more).
pub const KEY_BITS: u32 = 64;

impl DestinationKey {
    /// Key of one scope for an endpoint.
    #[inline(always)]
    pub const fn new(policy: u32, scope: Scope, protocol: u8, port: u16, address: Address) -> Self {
        match scope {
            Scope::Port => Self {
                policy,
                scope: 0,
                protocol,
                port,
                address,
            },
            Scope::Protocol => Self {
                policy,
                scope: 1,
                protocol,
                port: 0,
                address,
            },
            Scope::Any => Self {
                policy,
                scope: 2,
                protocol: 0,
                port: 0,
                address,
            },
        }
    }
}

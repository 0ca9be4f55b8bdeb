//! Sockets of members: who made one, and what it has carried. Kept by the kernel with the socket
//! itself, so that a packet can be told from others without asking which process runs.

use crate::{assert_layout, class::ClassId, endpoint::Address};

/// Bits of [`Owner::flags`].
pub mod state {
    /// A TCP connection that was seen to be established and not yet to end.
    pub const OPEN: u16 = 1;
    /// The peer opened it.
    pub const INBOUND: u16 = 2;
    /// Nothing more is to be read from what it sends.
    pub const LOOKED_AT: u16 = 4;
    /// It was there before its owner was a member: no state is told about it, so its bytes are
    /// counted packet by packet, repeated ones twice.
    pub const FOUND: u16 = 8;
    /// The peer is a proxy that was declared for the workload: every segment is looked at, because
    /// one connection can carry requests for many hosts.
    pub const PROXY: u16 = 16;
}

/// Whose a socket is. Accepted sockets inherit it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Owner {
    /// Start of the process, nanoseconds since boot, CLOCK_BOOTTIME.
    pub start_time: u64,
    /// cgroup v2 id.
    pub cgroup: u64,
    /// When the flow began, nanoseconds since boot, CLOCK_MONOTONIC; 0 while there is none.
    pub start: u64,
    /// Peer of the flow.
    pub peer: Address,
    /// Process, in the initial pid namespace.
    pub tgid: u32,
    /// User, in the initial user namespace.
    pub uid: u32,
    /// Class of the process when it was last seen alive.
    pub class: ClassId,
    /// Bits of [`state`].
    pub flags: u16,
    /// The peer's port, host byte order.
    pub port: u16,
    /// The own port, host byte order; 0 while it is not known.
    pub local_port: u16,
    /// IP protocol number of the socket.
    pub protocol: u32,
    /// Always zero.
    pub zero: u32,
    /// Name of the thread; not terminated if full.
    pub comm: [u8; 16],
}
assert_layout!(Owner, 80);

/// What flows are counted by: those of a class with one peer, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct FlowKey {
    /// The peer's address.
    pub address: Address,
    /// Class of the owner.
    pub class: ClassId,
    /// The peer's port of flows that the member opened, the member's own of the others.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`crate::event::flow::direction`].
    pub direction: u8,
    /// Always zero.
    pub zero: u16,
}
assert_layout!(FlowKey, 24);

/// Sums over the flows of one key, and what of them the kernel has told itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FlowSum {
    /// Flows.
    pub flows: u64,
    /// Payload bytes sent.
    pub sent: u64,
    /// Payload bytes received.
    pub received: u64,
    /// Of these told.
    pub told_flows: u64,
    /// Of these told.
    pub told_sent: u64,
    /// Of these told.
    pub told_received: u64,
    /// Not zero once the kernel tells no more: the rest is the daemon's to tell.
    pub told: u64,
    /// When the last flow began, nanoseconds since boot, CLOCK_MONOTONIC.
    pub start: u64,
    /// Start of the process of the last flow, nanoseconds since boot, CLOCK_BOOTTIME.
    pub start_time: u64,
    /// Process of the last flow.
    pub tgid: u32,
    /// The peer's port of the last flow.
    pub port: u16,
    /// The own port of the last flow.
    pub local_port: u16,
}
assert_layout!(FlowSum, 80);

/// Sums over a class that nothing evicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Traffic {
    /// Payload bytes sent.
    pub sent: u64,
    /// Payload bytes received.
    pub received: u64,
    /// TCP connections that were established.
    pub opened: u64,
    /// TCP connections that ended.
    pub closed: u64,
    /// DNS answers that were not believed: no question was known for them, or they could not be
    /// read to the end.
    pub disbelieved: u64,
}
assert_layout!(Traffic, 40);

//! The path automaton: a deterministic automaton over hashed path components, compiled in user
//! space, walked in the kernel.
//!
//! At each component there is at most one look-up of the literal edge and one of the `*` edge. The
//! flags of a state travel with the edge that leads to it.

use crate::assert_layout;

/// The edge that any component takes when no literal edge fits.
pub const STAR_HASH: u64 = 1;

/// Permissions: one bit each, so that one walk answers for all of them.
pub mod permission {
    /// Open for reading.
    pub const READ: u8 = 1;
    /// Open for writing.
    pub const WRITE: u8 = 2;
    /// Start as a program.
    pub const EXEC: u8 = 4;
    /// Connect or send to, as a unix socket.
    pub const CONNECT: u8 = 8;
}

/// Key of a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct TransitionKey {
    /// State it leaves.
    pub state: u32,
    /// Always zero.
    pub zero: u32,
    /// Hash of the component, or [`STAR_HASH`].
    pub component: u64,
}
assert_layout!(TransitionKey, 16);

/// A state as its incoming edges describe it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct State {
    /// Its number; 0 is the dead state.
    pub state: u32,
    /// Bits 0–7: permissions of a path that ends here. Bits 8–15: permissions of everything below
    /// (`**`). [`HAS_STAR`], [`HAS_LITERAL`], [`OTHER_PROCESS`].
    pub flags: u32,
}
assert_layout!(State, 8);

/// The state has an outgoing `*` edge.
pub const HAS_STAR: u32 = 1 << 16;
/// The state has outgoing literal edges.
pub const HAS_LITERAL: u32 = 1 << 17;
/// The permissions of a path that ends here count only where the path lies in the `/proc`
/// directory of a process other than the one that opens it.
pub const OTHER_PROCESS: u32 = 1 << 18;

/// Permissions of a path that ends in a state.
#[inline(always)]
pub const fn ends(flags: u32) -> u8 {
    flags as u8
}
/// Permissions of everything below a state.
#[inline(always)]
pub const fn below(flags: u32) -> u8 {
    (flags >> 8) as u8
}

/// Where a policy's automaton starts; what the kernel keeps per policy number. Never changed while
/// a class points to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PolicyRoot {
    /// Automaton of what the workload may do.
    pub allow: State,
    /// Automaton of what the operator forbids this workload, whatever else allows it.
    pub deny: State,
    /// Version that alerts name.
    pub version: u64,
    /// Bits of `POLICY_*`.
    pub flags: u64,
    /// Facilities that the policy allows, a bit each ([`crate::facility::Facility::bit`]).
    pub facilities: u64,
    /// Facilities that the operator forbids, whatever else allows them. The invariants' are not
    /// repeated here.
    pub denied_facilities: u64,
}
assert_layout!(PolicyRoot, 48);

/// The policy has destinations of its own that are denied.
pub const POLICY_DENIES_DESTINATIONS: u64 = 1;
/// The policy has rules about hosts.
pub const POLICY_HOSTS: u64 = 2;
/// Some of them are about every name below one.
pub const POLICY_HOSTS_BELOW: u64 = 4;

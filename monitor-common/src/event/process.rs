//! Process family: fork, exit, change of phase. Always on the ring for observations.

use super::Header;
use crate::{assert_layout, class::ClassId};

/// A member started a process (not a thread). The header is the parent's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ForkEvent {
    /// Who forked.
    pub header: Header,
    /// Start of the child, nanoseconds since boot, CLOCK_BOOTTIME.
    pub child_start_time: u64,
    /// The child's process id in the initial pid namespace.
    pub child: u32,
    /// Always zero.
    pub zero: u32,
}
assert_layout!(ForkEvent, 96);

/// A member's last thread ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ExitEvent {
    /// Who ended.
    pub header: Header,
    /// Wait status: low seven bits the signal, bits 8–15 the exit code.
    pub status: u32,
    /// Always zero.
    pub zero: u32,
}
assert_layout!(ExitEvent, 88);

/// A member began to listen, and thereby changed its class. The header carries the class before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PhaseEvent {
    /// Who changed.
    pub header: Header,
    /// Local port, host byte order.
    pub port: u16,
    /// The class from now on.
    pub after: ClassId,
    /// Always zero.
    pub zero: u32,
}
assert_layout!(PhaseEvent, 88);

//! Enrolment: which programs become members when they are executed. The kernel decides, so that a
//! workload that starts while the daemon is away is guarded from its first instruction.

use crate::{assert_layout, class::ClassId};

/// Rules that one executable can have.
pub const SLOTS: usize = 8;
/// Arguments that one rule can demand.
pub const MAX_ARGS: usize = 8;
/// Levels of the cgroup tree that are searched for a rule's cgroup.
pub const CGROUP_DEPTH: i32 = 12;

/// An executable file. Zero in both means: any executable (rules that go by cgroup or user only).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ExecutableKey {
    /// Device in the kernel's own encoding: major << 20 | minor.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}
assert_layout!(ExecutableKey, 16);

/// Rules of one executable; the first slot that matches wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ExecutableRules {
    /// cgroup id that the process must be in or below; 0 any.
    pub cgroup: [u64; SLOTS],
    /// User id; `u32::MAX` any.
    pub user: [u32; SLOTS],
    /// Class that a match gives; [`crate::class::NONE`] marks an unused slot.
    pub class: [ClassId; SLOTS],
    /// Bit k of slot i is set where argument rule k of that slot has to be seen.
    pub arguments: [u8; SLOTS],
}
assert_layout!(ExecutableRules, 8 * SLOTS + 4 * SLOTS + 2 * SLOTS + SLOTS);

impl ExecutableRules {
    /// No rules.
    pub const EMPTY: Self = Self {
        cgroup: [0; SLOTS],
        user: [u32::MAX; SLOTS],
        class: [0; SLOTS],
        arguments: [0; SLOTS],
    };
}

/// An argument that some rule of an executable wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ArgumentKey {
    /// The executable.
    pub executable: ExecutableKey,
    /// [`crate::hash::argument`] of the argument, or of its last path component.
    pub hash: u64,
}
assert_layout!(ArgumentKey, 24);

/// Byte i, bit k: this argument satisfies argument rule k of slot i.
pub type ArgumentBits = u64;
const _: () = assert!(SLOTS * 8 == 64 && MAX_ARGS == 8);

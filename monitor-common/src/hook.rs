//! The hooks by number, and their counters. Names, tiers and reasons live in the daemon's table.

use crate::assert_layout;

/// A kernel program. The number indexes its counters and travels in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hook {
    /// raw tracepoint `sched_process_fork`.
    ProcessFork = 0,
    /// raw tracepoint `sched_process_exec`.
    ProcessExec = 1,
    /// raw tracepoint `sched_process_exit`.
    ProcessExit = 2,
    /// cgroup `post_bind4`.
    Bind4 = 3,
    /// cgroup `post_bind6`.
    Bind6 = 4,
    /// cgroup `connect4`.
    Connect4 = 5,
    /// cgroup `connect6`.
    Connect6 = 6,
    /// cgroup `sendmsg4`.
    Sendmsg4 = 7,
    /// cgroup `sendmsg6`.
    Sendmsg6 = 8,
    /// raw tracepoint `sys_exit`.
    OpenExit = 9,
    /// LSM `file_open`.
    LsmFileOpen = 10,
    /// LSM `bprm_check_security`.
    LsmExec = 11,
    /// LSM `socket_connect`.
    LsmConnect = 12,
    /// LSM `socket_sendmsg`.
    LsmSendmsg = 13,
}

/// Number of hooks.
pub const HOOKS: usize = 14;

impl Hook {
    /// Every hook, in the order of its number.
    pub const ALL: [Self; HOOKS] = [
        Self::ProcessFork,
        Self::ProcessExec,
        Self::ProcessExit,
        Self::Bind4,
        Self::Bind6,
        Self::Connect4,
        Self::Connect6,
        Self::Sendmsg4,
        Self::Sendmsg6,
        Self::OpenExit,
        Self::LsmFileOpen,
        Self::LsmExec,
        Self::LsmConnect,
        Self::LsmSendmsg,
    ];

    /// The hook for a byte read from the kernel, if it is one.
    pub fn from_u8(v: u8) -> Option<Self> {
        Self::ALL.get(v as usize).copied()
    }
}

/// Counters of one hook, kept per CPU except that drops and errors must not be lost and are added
/// atomically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HookCounters {
    /// Times it ran for a member.
    pub member: u64,
    /// Operations it denied.
    pub denied: u64,
    /// Processes it killed.
    pub killed: u64,
    /// Events it could not put into a ring.
    pub dropped: u64,
    /// Times it could not do its work; the operation was treated as unknown.
    pub errors: u64,
    /// Place of the last error: a number unique in the kernel programs' source.
    pub last_error: u64,
}
assert_layout!(HookCounters, 48);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hook_stands_at_its_own_number() {
        for (i, hook) in Hook::ALL.iter().enumerate() {
            assert_eq!(*hook as usize, i);
            assert_eq!(Hook::from_u8(i as u8), Some(*hook));
        }
        assert_eq!(Hook::from_u8(HOOKS as u8), None);
    }
}

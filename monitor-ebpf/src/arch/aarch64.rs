//! AArch64: `pt_regs` and system call numbers. 32-bit tasks are not told apart.

use crate::offsets::read;

/// `syscallno` in `pt_regs`: behind 31 registers, sp, pc, pstate and orig_x0.
const SYSCALLNO: u32 = 35 * 8;

/// Whether the system call that is ending returns a descriptor of a file that it opened by path, or
/// took from another process.
#[inline(always)]
pub fn opened_file(regs: u64, _task: u64) -> bool {
    // openat, open_by_handle_at, openat2, pidfd_getfd
    matches!(read::<u32>(regs, SYSCALLNO), Some(56 | 265 | 437 | 438))
}

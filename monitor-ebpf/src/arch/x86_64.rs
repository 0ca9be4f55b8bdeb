//! x86-64: `pt_regs` and system call numbers, 64-bit and 32-bit entry.

use crate::offsets::{OFFSETS, read};
use monitor_common::offsets::MISSING;

/// `orig_ax` in `pt_regs`.
const ORIG_AX: u32 = 15 * 8;
/// `TS_COMPAT` in `thread_info.status`: the running system call came through the 32-bit entry.
const TS_COMPAT: u32 = 2;
/// Bit of x32 system call numbers.
const X32: u64 = 0x4000_0000;

/// Whether the system call that is ending returns a descriptor of a file that it opened by path, or
/// took from another process.
#[inline(always)]
pub fn opened_file(regs: u64, task: u64) -> bool {
    let Some(nr) = read::<u64>(regs, ORIG_AX) else {
        return false;
    };
    let status = OFFSETS.load().task_status;
    let compat =
        status != MISSING && matches!(read::<u32>(task, status), Some(s) if s & TS_COMPAT != 0);
    if compat {
        // open, creat, openat, open_by_handle_at, openat2, pidfd_getfd
        matches!(nr as u32, 5 | 8 | 295 | 342 | 437 | 438)
    } else {
        // open, creat, openat, open_by_handle_at, openat2, pidfd_getfd
        matches!(nr & !X32, 2 | 85 | 257 | 304 | 437 | 438)
    }
}

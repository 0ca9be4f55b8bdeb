//! x86-64: `pt_regs` and system call numbers, 64-bit and 32-bit entry.

use monitor_common::offsets::MISSING;

use super::Call;
use crate::offsets::{OFFSETS, read};

/// `orig_ax` in `pt_regs`.
const ORIG_AX: u32 = 15 * 8;
/// `TS_COMPAT` in `thread_info.status`: the running system call came through the 32-bit entry.
const TS_COMPAT: u32 = 2;
/// Bit of x32 system call numbers.
const X32: u64 = 0x4000_0000;
/// Registers of the arguments in `pt_regs`, first to sixth; the 64-bit and the 32-bit entry.
const ARGUMENTS: [u32; 6] = [14 * 8, 13 * 8, 12 * 8, 7 * 8, 9 * 8, 8 * 8];
const COMPAT_ARGUMENTS: [u32; 6] = [5 * 8, 11 * 8, 12 * 8, 13 * 8, 14 * 8, 4 * 8];

#[inline(always)]
fn compat(task: u64) -> bool {
    let status = OFFSETS.load().task_status;
    status != MISSING && matches!(read::<u32>(task, status), Some(s) if s & TS_COMPAT != 0)
}

/// The system call that is ending, if a hook cares for it.
#[inline(always)]
pub fn call(regs: u64, task: u64) -> Option<Call> {
    let nr = read::<u64>(regs, ORIG_AX)?;
    if compat(task) {
        Some(match nr as u32 {
            5 | 8 | 295 | 342 | 437 | 438 => Call::Open,
            _ => return None,
        })
    } else {
        Some(match nr & !X32 {
            2 | 85 | 257 | 304 | 437 | 438 => Call::Open,
            _ => return None,
        })
    }
}

/// An argument of the system call that is ending, counted from 0, as its caller passed it.
#[inline(always)]
#[allow(
    dead_code,
    reason = "for families whose object is an argument rather than the result"
)]
pub fn argument(regs: u64, task: u64, n: usize) -> Option<u64> {
    if compat(task) {
        read::<u64>(regs, COMPAT_ARGUMENTS[n]).map(|v| v as u32 as u64)
    } else {
        read::<u64>(regs, ARGUMENTS[n])
    }
}

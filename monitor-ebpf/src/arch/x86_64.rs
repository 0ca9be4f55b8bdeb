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
            14 | 39 | 83 | 296 | 297 | 304 => Call::Add,
            9 | 38 | 302 | 303 | 353 => Call::Move,
            10 | 40 | 92 | 193 | 301 => Call::Remove,
            21 | 22 | 52 | 217 | 429 | 432 | 442 => Call::Mount,
            428 => Call::OpenTree,
            310 => Call::Unshare,
            346 => Call::Setns,
            120 => Call::Clone,
            435 => Call::Clone3,
            26 => Call::Ptrace,
            347 | 348 => Call::Memory,
            425 => Call::Ring,
            192 => Call::Map,
            359 => Call::Socket,
            360 => Call::Pair,
            362 => Call::Connect,
            _ => return None,
        })
    } else {
        Some(match nr & !X32 {
            2 | 85 | 257 | 304 | 437 | 438 => Call::Open,
            83 | 88 | 133 | 258 | 259 | 266 => Call::Add,
            82 | 86 | 264 | 265 | 316 => Call::Move,
            76 | 84 | 87 | 263 => Call::Remove,
            155 | 165 | 166 | 429 | 432 | 442 => Call::Mount,
            428 => Call::OpenTree,
            272 => Call::Unshare,
            308 => Call::Setns,
            56 => Call::Clone,
            435 => Call::Clone3,
            101 | 521 => Call::Ptrace,
            310 | 311 | 539 | 540 => Call::Memory,
            425 => Call::Ring,
            9 => Call::Map,
            41 => Call::Socket,
            53 => Call::Pair,
            42 => Call::Connect,
            _ => return None,
        })
    }
}

/// An argument of the system call that is ending, counted from 0, as its caller passed it.
#[inline(always)]
pub fn argument(regs: u64, task: u64, n: usize) -> Option<u64> {
    if compat(task) {
        read::<u64>(regs, COMPAT_ARGUMENTS[n]).map(|v| v as u32 as u64)
    } else {
        read::<u64>(regs, ARGUMENTS[n])
    }
}

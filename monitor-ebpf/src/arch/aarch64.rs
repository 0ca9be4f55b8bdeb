//! AArch64: `pt_regs` and system call numbers. 32-bit tasks are not told apart.

use super::Call;
use crate::offsets::read;

/// `orig_x0` in `pt_regs`: behind 31 registers, sp, pc and pstate. The result overwrites x0.
const ORIG_X0: u32 = 34 * 8;
/// `syscallno`, behind that.
const SYSCALLNO: u32 = 35 * 8;

/// The system call that is ending, if a hook cares for it.
#[inline(always)]
pub fn call(regs: u64, _task: u64) -> Option<Call> {
    Some(match read::<u32>(regs, SYSCALLNO)? {
        56 | 265 | 437 | 438 => Call::Open,
        _ => return None,
    })
}

/// An argument of the system call that is ending, counted from 0, as its caller passed it.
#[inline(always)]
#[allow(
    dead_code,
    reason = "for families whose object is an argument rather than the result"
)]
pub fn argument(regs: u64, _task: u64, n: usize) -> Option<u64> {
    read::<u64>(regs, if n == 0 { ORIG_X0 } else { 8 * n as u32 })
}

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
        33 | 34 | 36 => Call::Add,
        37 | 38 | 276 => Call::Move,
        35 | 45 => Call::Remove,
        39 | 40 | 41 | 429 | 432 | 442 => Call::Mount,
        428 => Call::OpenTree,
        97 => Call::Unshare,
        268 => Call::Setns,
        220 => Call::Clone,
        435 => Call::Clone3,
        117 => Call::Ptrace,
        270 | 271 => Call::Memory,
        425 => Call::Ring,
        222 => Call::Map,
        198 => Call::Socket,
        199 => Call::Pair,
        203 => Call::Connect,
        _ => return None,
    })
}

/// An argument of the system call that is ending, counted from 0, as its caller passed it.
#[inline(always)]
pub fn argument(regs: u64, _task: u64, n: usize) -> Option<u64> {
    read::<u64>(regs, if n == 0 { ORIG_X0 } else { 8 * n as u32 })
}

//! Verdicts: from what the policy says to what happens. The only place that knows modes.

use core::arch::asm;

use aya_ebpf::helpers::generated::bpf_send_signal;
use monitor_common::{
    class::{Control, Family, Mode},
    event::Verdict,
};

const SIGKILL: u32 = 9;

/// What a hook can do about an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "not every family has every means")]
pub enum Means {
    /// Refuse it.
    Deny,
    /// Only kill the process.
    Kill,
    /// Only tell: it has happened, or killing would not undo it.
    Tell,
}

/// The verdict on an operation that the policy allows or not and that an invariant forbids or not.
#[inline(always)]
pub fn judge(
    control: Control,
    family: Family,
    allowed: bool,
    forbidden: bool,
    means: Means,
) -> Verdict {
    if allowed && !forbidden {
        return Verdict::Known;
    }
    let mode = control.mode_bits(family);
    let kill = if forbidden {
        Control::KILL_INVARIANT
    } else if matches!(family, Family::Exec) {
        Control::KILL_EXEC
    } else {
        Control::KILL_DEVIATION
    };
    if mode == Mode::Learn as u8 {
        return if forbidden {
            Verdict::Audited
        } else {
            Verdict::New
        };
    }
    if mode == Mode::Monitor as u8 && !forbidden {
        return Verdict::WouldBlock;
    }
    match means {
        Means::Deny => Verdict::Blocked,
        Means::Kill if control.has(kill) => Verdict::Killed,
        Means::Kill | Means::Tell => Verdict::Audited,
    }
}

/// The worse of two verdicts on one operation.
#[inline(always)]
pub fn worse(a: Verdict, b: Verdict) -> Verdict {
    const fn rank(v: Verdict) -> u8 {
        match v {
            Verdict::Known => 0,
            Verdict::New => 1,
            Verdict::WouldBlock => 2,
            Verdict::Audited => 3,
            Verdict::Blocked => 4,
            Verdict::Killed => 5,
        }
    }
    if rank(a) >= rank(b) { a } else { b }
}

/// Return value of an LSM hook: 0, or -EPERM where the verdict is to deny.
///
/// Through a real branch in assembly: LLVM folds a plain `if` into arithmetic whose range Linux
/// 6.12's verifier does not accept for LSM programs.
#[inline(always)]
pub fn lsm_return(verdict: Verdict) -> i32 {
    let mut ret: i64 = 0;
    let deny = (verdict as u8 == Verdict::Blocked as u8) as u64;
    // SAFETY: touches two registers only.
    unsafe {
        asm!("if {d} == 0 goto +1", "{r} = -1", d = in(reg) deny, r = inout(reg) ret, options(nomem, nostack));
    }
    ret as i32
}

/// Return value of a cgroup socket hook: 1 lets through, 0 becomes EPERM.
#[inline(always)]
pub fn cgroup_return(verdict: Verdict) -> i32 {
    if matches!(verdict, Verdict::Blocked) {
        0
    } else {
        1
    }
}

/// Kills the current process before it returns to user space.
#[inline(always)]
pub fn kill() -> bool {
    // SAFETY: a helper without pointers.
    unsafe { bpf_send_signal(SIGKILL) == 0 }
}

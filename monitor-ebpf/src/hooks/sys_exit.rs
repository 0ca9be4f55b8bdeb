//! The end of system calls: one program for every family that has no better place on the cgroup
//! tier, because each program here costs every system call of every process.

use aya_ebpf::{
    helpers::bpf_get_current_task, macros::raw_tracepoint, programs::RawTracePointContext,
};
use monitor_common::hook::Hook;

use super::open;
use crate::{
    arch::{self, Call},
    offsets::HOOKS_ON,
    watch,
};

/// Whether a family's part is wanted: known at load, so that the verifier drops what is not.
#[inline(always)]
fn on(hook: Hook) -> bool {
    HOOKS_ON.load() & 1 << hook as u64 != 0
}

/// Sees: the end of every system call; acts on those that a family asks for.
/// Why here: the kernel's own objects (a file in the descriptor table) are there, so that no user
/// memory is read. Attached while one of its families is wanted.
/// Misses: what io_uring does; see each family.
/// Prototype: `sys_exit(struct pt_regs *, long ret)`.
/// On error: see each family.
/// Cost: about 100 ns on every system call of every process.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let (regs, result): (u64, i64) = (ctx.arg(0), ctx.arg(1));
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    match arch::call(regs, task) {
        Some(Call::Open) if on(Hook::OpenExit) => open::open_exit(member, task, result),
        _ => {}
    }
    0
}

//! The end of system calls: one program for every family that has no better place on the cgroup
//! tier, because each program here costs every system call of every process.

use aya_ebpf::{
    helpers::bpf_get_current_task, macros::raw_tracepoint, programs::RawTracePointContext,
};
use monitor_common::{facility::Facility, hook::Hook};

use super::{change, map, mount, open, ptrace, ring, socket, unix};
use crate::{
    arch::{self, Call},
    offsets::on,
    watch,
};

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
    let argument = |n| arch::argument(regs, task, n);
    use Facility::{NamesAdd, NamesMove, NamesRemove};
    match arch::call(regs, task) {
        Some(Call::Open) if on(Hook::OpenExit) => open::open_exit(member, task, result),
        Some(Call::Add) if on(Hook::NamesExit) => change::names_exit(member, NamesAdd, result),
        Some(Call::Move) if on(Hook::NamesExit) => change::names_exit(member, NamesMove, result),
        Some(Call::Remove) if on(Hook::NamesExit) => {
            change::names_exit(member, NamesRemove, result)
        }
        Some(Call::Mount) if on(Hook::MountExit) => mount::mount_exit(member, result),
        Some(Call::OpenTree) if on(Hook::MountExit) => {
            mount::open_tree_exit(member, argument(2), result)
        }
        Some(Call::Unshare) if on(Hook::MountExit) => {
            mount::namespace_exit(member, argument(0), result)
        }
        Some(Call::Setns) if on(Hook::MountExit) => {
            mount::namespace_exit(member, argument(1), result)
        }
        Some(Call::Clone) if on(Hook::MountExit) => mount::clone_exit(member, argument(0), result),
        Some(Call::Clone3) if on(Hook::MountExit) => mount::clone3_exit(member, task, result),
        Some(Call::Ptrace) if on(Hook::PtraceExit) => {
            ptrace::ptrace_exit(member, task, argument(0), result)
        }
        Some(Call::Memory) if on(Hook::PtraceExit) => {
            ptrace::memory_exit(member, task, argument(0), result)
        }
        Some(Call::Ring) if on(Hook::RingExit) => ring::ring_exit(member, result),
        Some(Call::Map) if on(Hook::MapExit) => map::map_exit(
            member,
            task,
            [argument(2), argument(3), argument(4)],
            result,
        ),
        Some(Call::Socket) if on(Hook::SocketExit) => socket::socket_exit(member, task, result),
        Some(Call::Pair) if on(Hook::SocketExit) => socket::pair_exit(member, argument(0), result),
        Some(Call::Connect) if on(Hook::UnixExit) => {
            unix::unix_exit(member, task, argument(0), result)
        }
        _ => {}
    }
    0
}

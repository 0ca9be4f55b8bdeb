//! Other processes: tracing them and reaching into their memory. An invariant, except among
//! processes of one class, which have nothing to gain from each other.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use monitor_common::{
    class::{ClassId, NONE},
    facility::Facility,
    hook::Hook,
};

use crate::{
    emit, facility,
    offsets::{OFFSETS, read},
    verdict::{Means, lsm_return},
    watch::{self, Member},
};

/// Bits of `PTRACE_MODE_*`.
const ATTACH: u64 = 2;
const FSCREDS: u64 = 8;
/// Requests of ptrace(2).
const TRACEME: u64 = 0;
const PTRACE_ATTACH: u64 = 16;
const PTRACE_SEIZE: u64 = 0x4206;
/// Size of `struct upid`: a number and a namespace.
const UPID: u32 = 16;

/// Sees: every time the kernel asks whether one process may trace another or reach into it:
/// ptrace, process_vm_readv and writev, pidfd_getfd, kcmp, `/proc/<pid>/mem`.
/// Why here: the kernel has found the other process; EPERM reaches the caller.
/// Misses: reading in `/proc/<pid>` (maps, fd, exe): judged as opens, by path.
/// Prototype: `ptrace_access_check(struct task_struct *child, unsigned int mode)`; -EPERM denies.
/// On error: a process that cannot be told is another's.
/// Cost: one look-up for a non-member; two for a member.
#[lsm(hook = "ptrace_access_check")]
pub fn lsm_ptrace(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    emit::count_member(Hook::LsmPtrace);
    let (task, mode): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    if mode & ATTACH == 0 && mode & FSCREDS != 0 {
        return 0;
    }
    let other = read::<u32>(task, OFFSETS.load().task_tgid).unwrap_or(0);
    if other == member.tgid || watch::class_of(other) == member.class {
        return 0;
    }
    let which = if mode & FSCREDS != 0 {
        Facility::ProcessMemory
    } else {
        Facility::Ptrace
    };
    let detail = [mode as u32, other];
    lsm_return(facility::used(
        member,
        which,
        detail,
        Hook::LsmPtrace,
        Means::Deny,
    ))
}

/// Sees: a process that asks its parent to trace it.
/// Why here: as `lsm_ptrace`; the kernel does not ask there.
/// Misses: parents that are no members: those are the operator's.
/// Prototype: `ptrace_traceme(struct task_struct *parent)`; -EPERM denies.
/// On error: a parent that cannot be told is no member.
/// Cost: as `lsm_ptrace`.
#[lsm(hook = "ptrace_traceme")]
pub fn lsm_traceme(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    emit::count_member(Hook::LsmTraceme);
    let Some(tracer) = stranger(member, ctx.arg(0)) else {
        return 0;
    };
    let (hook, detail) = (Hook::LsmTraceme, [0, tracer]);
    lsm_return(facility::used(
        member,
        Facility::Ptrace,
        detail,
        hook,
        Means::Deny,
    ))
}

/// The process of a task, if that is a member of another class.
#[inline(always)]
fn stranger(member: Member, task: u64) -> Option<u32> {
    let tgid = read::<u32>(task, OFFSETS.load().task_tgid)?;
    let class = watch::class_of(tgid);
    (class != NONE && class != member.class).then_some(tgid)
}

/// Class of the process that traces the current one; none if nobody does, or somebody who is no
/// member.
#[inline(always)]
pub fn tracer_class(task: u64) -> ClassId {
    let o = OFFSETS.load();
    if !matches!(read::<u32>(task, o.task_ptrace), Some(flags) if flags != 0) {
        return NONE;
    }
    read::<u64>(task, o.task_parent)
        .and_then(|tracer| read::<u32>(tracer, o.task_tgid))
        .map_or(NONE, watch::class_of)
}

/// Sees: the end of ptrace.
/// Why here: who is traced now is in the kernel's own lists.
/// Misses: what a second thread does with the other process before the signal.
/// Prototype: part of `sys_exit`.
/// On error: a process that cannot be told is another's.
/// Cost: two look-ups per attachment by a member.
#[inline(always)]
pub fn ptrace_exit(member: Member, task: u64, request: Option<u64>, result: i64) {
    emit::count_member(Hook::PtraceExit);
    if result < 0 {
        return;
    }
    let o = OFFSETS.load();
    let other = match request {
        Some(TRACEME) => match read::<u64>(task, o.task_parent).and_then(|p| stranger(member, p)) {
            Some(tracer) => tracer,
            None => return,
        },
        Some(PTRACE_ATTACH | PTRACE_SEIZE) => {
            // The newest is the first of the list.
            let newest = read::<u64>(task, o.task_ptraced)
                .and_then(|entry| read::<u32>(entry - o.task_ptrace_entry as u64, o.task_tgid));
            let other = newest.unwrap_or(0);
            if watch::class_of(other) == member.class {
                return;
            }
            other
        }
        _ => return,
    };
    let detail = [0, other];
    facility::used_or_killed(member, Facility::Ptrace, detail, Hook::PtraceExit);
}

/// The end of process_vm_readv and process_vm_writev, which name a process. In a pid namespace of
/// its own, a member can name nobody but itself: who the others are cannot be told there.
#[inline(always)]
pub fn memory_exit(member: Member, task: u64, pid: Option<u64>, result: i64) {
    emit::count_member(Hook::PtraceExit);
    if result < 0 {
        return;
    }
    let pid = pid.unwrap_or(0) as u32;
    let (own, leader) = match read::<u64>(task, OFFSETS.load().task_leader) {
        Some(leader) => (number(task), number(leader)),
        None => (UNKNOWN, UNKNOWN),
    };
    let level = own >> 32;
    if pid == own as u32 || pid == leader as u32 {
        return;
    }
    if level == 0 && watch::class_of(pid) == member.class {
        return;
    }
    let detail = [0, if level == 0 { pid } else { 0 }];
    facility::used_or_killed(member, Facility::ProcessMemory, detail, Hook::PtraceExit);
}

/// What [`number`] says where kernel memory cannot be read.
const UNKNOWN: u64 = u64::MAX;

/// Number of a task in the pid namespace that it was made in, and above it the depth of that
/// namespace.
#[inline(always)]
fn number(task: u64) -> u64 {
    let o = OFFSETS.load();
    let Some(pid) = read::<u64>(task, o.task_thread_pid) else {
        return UNKNOWN;
    };
    let Some(level) = read::<u32>(pid, o.pid_level) else {
        return UNKNOWN;
    };
    match read::<u32>(pid, o.pid_numbers + level * UPID) {
        Some(number) => number as u64 | (level as u64) << 32,
        None => UNKNOWN,
    }
}

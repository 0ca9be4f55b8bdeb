//! Process family: membership follows fork and ends with the last thread.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use monitor_common::{
    class::{Family, NONE, membership},
    event::{
        Kind, Verdict,
        process::{ExitEvent, ForkEvent},
    },
    hook::Hook,
};

use crate::{
    emit::{self, Subject},
    offsets::{OFFSETS, read},
    watch,
};

/// Sees: every new task, before it runs, so that a child can do nothing unguarded.
/// Why here: raw tracepoints exist on every kernel, with or without BPF LSM.
/// Misses: nothing known; threads share their process's class and are passed over.
/// Prototype: `sched_process_fork(struct task_struct *parent, struct task_struct *child)`.
/// On error: the child's process id cannot be read: it gets no class, counted as an error.
/// Cost: about 100 ns per fork for a non-member (which also clears a stale class of a reused pid).
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    let tgid = watch::current_tgid();
    let class = watch::class_of(tgid);
    let o = OFFSETS.load();
    let task: u64 = ctx.arg(1);
    let Some(child) = read::<u32>(task, o.task_tgid) else {
        if class != NONE {
            emit::count_error(Hook::ProcessFork, line!());
        }
        return 0;
    };
    if child == tgid {
        return 0;
    }
    // A ticket is not inherited, and one that an earlier holder of this id left goes.
    if watch::entry_of(child) != class {
        watch::set_class(child, class);
    }
    if class == NONE {
        return 0;
    }
    emit::count_member(Hook::ProcessFork);
    let s = subject(Hook::ProcessFork, Kind::Fork, class);
    let event = ForkEvent {
        header: emit::header(&s, 1, size_of::<ForkEvent>() as u32),
        child_start_time: read::<u64>(task, o.task_start).unwrap_or(0),
        child,
        zero: 0,
    };
    emit::output(
        Hook::ProcessFork,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<ForkEvent>() as u64,
    );
    0
}

/// Sees: the end of every task. The last one of a process ends its membership.
/// Why here: it runs before the process id can be used again.
/// Misses: nothing known.
/// Prototype: `sched_process_exit(struct task_struct *task)`; `signal->live` is already reduced.
/// On error: the class stays until the process id is used again, when fork clears it.
/// Cost: about 60 ns per exit for a non-member.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    let tgid = watch::current_tgid();
    let entry = watch::entry_of(tgid);
    if entry == NONE {
        return 0;
    }
    let o = OFFSETS.load();
    let task: u64 = ctx.arg(0);
    let live =
        read::<u64>(task, o.task_signal).and_then(|signal| read::<i32>(signal, o.signal_live));
    match live {
        Some(0) => {}
        Some(_) => return 0,
        None => {
            emit::count_error(Hook::ProcessExit, line!());
            return 0;
        }
    }
    watch::set_class(tgid, NONE);
    let class = membership(entry);
    if class == NONE {
        return 0;
    }
    emit::count_member(Hook::ProcessExit);
    let s = subject(Hook::ProcessExit, Kind::Exit, class);
    let event = ExitEvent {
        header: emit::header(&s, 1, size_of::<ExitEvent>() as u32),
        status: read::<u32>(task, o.task_exit_code).unwrap_or(0),
        zero: 0,
    };
    emit::output(
        Hook::ProcessExit,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<ExitEvent>() as u64,
    );
    0
}

#[inline(always)]
fn subject(hook: Hook, kind: Kind, class: u16) -> Subject {
    Subject {
        hook,
        kind,
        family: Family::Exec,
        class,
        control: watch::control(class),
        verdict: Verdict::Known,
        flags: 0,
    }
}

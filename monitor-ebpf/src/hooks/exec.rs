//! Exec family: programs. Enrols workloads, moves members to their next class, and judges what a
//! member may start: denied on the LSM tier, killed before the first instruction on the other.

use aya_ebpf::{
    helpers::{bpf_get_current_task, generated::bpf_probe_read_user},
    macros::{lsm, raw_tracepoint},
    programs::{LsmContext, RawTracePointContext},
};
use monitor_common::{
    class::{ClassId, Control, Family, NONE, Role, membership, ticket},
    enrol::ExecutableKey,
    event::{
        Kind, Verdict,
        exec::{EXEC_FIXED, ExecEvent},
        flag,
    },
    hook::Hook,
    limits::EVENT_ARGV,
    path::permission::EXEC,
};

use super::ptrace;
use crate::{
    bounds::below_512,
    emit::{self, Subject},
    enrol,
    maps::{SCRATCH, unpreempted_scratch},
    offsets::{EXEC_JUDGES, OFFSETS, read},
    path::{self, FileId, Scratch},
    verdict::{self, Means, judge, lsm_return},
    watch,
};

/// Sees: every exec that succeeded, in the new program, before its first instruction.
/// Why here: program, arguments and credentials are final; the kernel's own memory says which
/// file it is. It enrols on both tiers, by rules or by the ticket that a launcher was given; it
/// judges on the cgroup tier only.
/// Misses: on the cgroup tier, the script behind an interpreter (the interpreter is judged, and
/// the script as a file that it opens).
/// Prototype: `sched_process_exec(struct task_struct *, pid_t old, struct linux_binprm *)`.
/// On error: a member's exec is treated as not allowed and it keeps its class.
/// Cost: two look-ups per exec of a non-member; 3 µs for members and candidates.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    let tgid = watch::current_tgid();
    let entry = watch::entry_of(tgid);
    let (before, ticket) = (membership(entry), ticket(entry));
    if ticket != NONE {
        // First of all, so that nothing below can lose it.
        watch::set_class(tgid, ticket);
    }
    let bprm: u64 = ctx.arg(2);
    let file = read::<u64>(bprm, OFFSETS.load().bprm_file);
    let Some(id) = file.and_then(path::identify) else {
        if before != NONE || ticket != NONE {
            emit::count_error(Hook::ProcessExec, line!());
        }
        return 0;
    };
    let executable = ExecutableKey {
        device: id.device,
        inode: id.number,
    };
    let candidate = enrol::is_candidate(executable);
    if before == NONE && ticket == NONE && !candidate {
        return 0;
    }
    let scratch = unpreempted_scratch();
    if scratch.is_null() {
        emit::count_error(Hook::ProcessExec, line!());
        return 0;
    }
    read_arguments(scratch);
    let control = watch::control(before);
    let mut verdict = Verdict::Known;
    let mut flags = 0;
    let permissions = path::permissions(scratch, &id, control.policy());
    match permissions {
        Some(p) => {
            flags = p.flags
                | if p.denied & EXEC != 0 {
                    flag::INVARIANT
                } else {
                    0
                }
        }
        None => emit::count_error(Hook::ProcessExec, line!()),
    }
    if before != NONE {
        emit::count_member(Hook::ProcessExec);
        if EXEC_JUDGES.load() != 0 {
            let (allowed, denied) = match permissions {
                Some(p) => (p.allowed & EXEC != 0, p.denied & EXEC != 0),
                None => (false, false),
            };
            verdict = judge(control, Family::Exec, allowed, denied, Means::Kill);
        }
    }
    if matches!(verdict, Verdict::Killed) {
        if !verdict::kill() {
            emit::count_error(Hook::ProcessExec, line!());
        }
        emit::count_verdict(Hook::ProcessExec, verdict);
        tell(
            scratch,
            &id,
            Hook::ProcessExec,
            before,
            control,
            verdict,
            flags,
            NONE,
            1,
        );
        return 0;
    }
    let given = if ticket != NONE {
        ticket
    } else if candidate {
        membership(enrol::class_for(scratch, executable))
    } else {
        NONE
    };
    // SAFETY: a helper without arguments.
    let tracer = ptrace::tracer_class(unsafe { bpf_get_current_task() });
    // Whoever traces a process acts as it: nothing may be gained for a tracer inside a workload.
    let after = if tracer == NONE {
        next_class(before, given)
    } else {
        before
    };
    if after == NONE {
        return 0;
    }
    if after != before {
        watch::set_class(tgid, after);
    }
    tell(
        scratch,
        &id,
        Hook::ProcessExec,
        before,
        control,
        verdict,
        flags,
        after,
        1,
    );
    0
}

/// Sees: every exec of a member before it happens; scripts and their interpreters one by one.
/// Why here: EPERM reaches the caller, which lives on; nothing of the program has run.
/// Misses: nothing known; the arguments do not exist yet in the new address space.
/// Prototype: `bprm_check_security(struct linux_binprm *)`; -EPERM denies.
/// On error: treated as not allowed.
/// Cost: one look-up for a non-member; about 1 µs for a member.
#[lsm(hook = "bprm_check_security")]
pub fn lsm_exec(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    emit::count_member(Hook::LsmExec);
    let control = watch::control(member.class);
    let scratch = SCRATCH.current();
    let bprm: u64 = ctx.arg(0);
    let id = read::<u64>(bprm, OFFSETS.load().bprm_file).and_then(path::identify);
    let facts = if scratch.is_null() {
        None
    } else {
        id.and_then(|id| path::permissions(scratch, &id, control.policy()).map(|p| (id, p)))
    };
    let Some((id, p)) = facts else {
        emit::count_error(Hook::LsmExec, line!());
        return lsm_return(judge(control, Family::Exec, false, false, Means::Deny));
    };
    let denied = p.denied & EXEC != 0;
    let verdict = judge(
        control,
        Family::Exec,
        p.allowed & EXEC != 0,
        denied,
        Means::Deny,
    );
    emit::count_verdict(Hook::LsmExec, verdict);
    let flags = p.flags | if denied { flag::INVARIANT } else { 0 };
    let s = Subject {
        hook: Hook::LsmExec,
        kind: Kind::Exec,
        family: Family::Exec,
        class: member.class,
        control,
        verdict,
        flags,
    };
    // SAFETY: checked above.
    let hash = unsafe { (*scratch).hash };
    let key = emit::seen_key(&s, member.tgid, EXEC, hash);
    if let Some(count) = emit::note(&key, verdict.is_adverse()) {
        // SAFETY: checked above.
        unsafe { (*scratch).event.argv_length = 0 };
        if !tell(
            scratch,
            &id,
            Hook::LsmExec,
            member.class,
            control,
            verdict,
            flags,
            NONE,
            count,
        ) {
            emit::forget(&key);
        }
    }
    lsm_return(verdict)
}

/// Class of a process that was `before` and whose new program's rules say `given`.
///
/// A member never gains by an exec: a server that starts itself anew does not get the policy of
/// starting back, and a tool or shell does not become anything else, whatever it starts and with
/// whatever arguments.
#[inline(always)]
fn next_class(before: ClassId, given: ClassId) -> ClassId {
    if before == NONE {
        return given;
    }
    let Some(old) = watch::describe(before) else {
        return before;
    };
    let inherited = if old.after_exec == NONE {
        before
    } else {
        old.after_exec
    };
    let Some(new) = (if given == NONE {
        None
    } else {
        watch::describe(given)
    }) else {
        return inherited;
    };
    if new.workload == old.workload && new.role == old.role {
        return before;
    }
    let low = |role: u8| role == Role::Tool as u8 || role == Role::Shell as u8;
    if low(old.role) && !(low(new.role) && new.workload == old.workload) {
        return inherited;
    }
    given
}

/// Copies the current program's arguments into the scratch's event, as far as they fit.
#[inline(always)]
fn read_arguments(scratch: *mut Scratch) {
    let o = OFFSETS.load();
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    // SAFETY: the caller checked the pointer.
    let event = unsafe { &mut (*scratch).event };
    event.argv_length = 0;
    let range = read::<u64>(task, o.task_mm).and_then(|mm| {
        Some((
            read::<u64>(mm, o.mm_arg_start)?,
            read::<u64>(mm, o.mm_arg_end)?,
        ))
    });
    let Some((start, end)) = range else {
        return;
    };
    const _: () = assert!(EVENT_ARGV == 512);
    let length = below_512(end.wrapping_sub(start).min(511));
    // SAFETY: at most 511 bytes into a buffer of 512. The kernel has just written these pages.
    let r = unsafe {
        bpf_probe_read_user(
            event.argv.as_mut_ptr().cast(),
            length as u32,
            start as *const _,
        )
    };
    if r != 0 {
        emit::count_error(Hook::ProcessExec, line!());
        return;
    }
    // An argument that was cut still ends.
    let last = if length == 511 {
        511
    } else {
        length.saturating_sub(1)
    };
    // SAFETY: at most 511.
    unsafe { *event.argv.as_mut_ptr().add(below_512(last) as usize) = 0 };
    event.argv_length = if length == 511 { 512 } else { length as u16 };
}

/// Writes the event; the scratch holds arguments and walked path.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "all of it goes into one event")]
fn tell(
    scratch: *mut Scratch,
    id: &FileId,
    hook: Hook,
    class: ClassId,
    control: Control,
    verdict: Verdict,
    flags: u8,
    after: ClassId,
    count: u64,
) -> bool {
    let (path_length, cut) = path::text(scratch, id.place);
    let length = EXEC_FIXED as u64 + path::bounded(path_length);
    let s = Subject {
        hook,
        kind: Kind::Exec,
        family: Family::Exec,
        class,
        control,
        verdict,
        flags: flags | cut,
    };
    // SAFETY: the task's own storage, checked by the caller.
    unsafe {
        let event: *mut ExecEvent = &raw mut (*scratch).event;
        (*event).header = emit::header(&s, count, length as u32);
        (*event).device = id.device;
        (*event).inode = id.number;
        (*event).hash = (*scratch).hash;
        (*event).after = after;
        (*event).path_length = path_length;
        (*event).zero = 0;
        emit::output(hook, verdict, event.cast(), length)
    }
}

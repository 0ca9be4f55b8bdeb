//! Open family: files by path. Denied on the LSM tier; on the cgroup tier the process is killed
//! before it can use the descriptor.

use core::mem::offset_of;

use aya_ebpf::{helpers::bpf_get_current_task, macros::lsm, programs::LsmContext};
use monitor_common::{
    class::Family,
    event::{
        Kind, Verdict,
        change::ChangeEvent,
        exec::EXEC_FIXED,
        flag,
        open::{OPEN_FIXED, OpenEvent},
    },
    hook::Hook,
    limits::EVENT_ARGV,
    path::permission::{READ, WRITE},
};

use crate::{
    emit::{self, Subject},
    maps::scratch_for,
    offsets::{OFFSETS, read},
    path::{self, FileId, Permissions, Scratch},
    verdict::{self, Means, judge, lsm_return, worse},
    watch::{self, Member},
};

/// `FMODE_READ`, `FMODE_WRITE`, `FMODE_PATH`
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;
const FMODE_PATH: u32 = 1 << 14;
/// `__FMODE_EXEC` in `f_flags`: the kernel opens a program; the exec family judges it.
const FMODE_EXEC: u32 = 0x20;

/// Sees: the end of the system calls that open a file by path.
/// Why here: the file is in the descriptor table, so that the path is the kernel's own and no
/// user memory is read. On the cgroup tier only, while a workload is configured.
/// Misses: io_uring opens; a second thread that reads the descriptor in the microsecond before the
/// signal arrives (measured: 1 to 10 % of races), or that swaps the descriptor for another.
/// Prototype: part of `sys_exit`.
/// On error: treated as not allowed; a descriptor that another thread closed meanwhile is let be.
/// Cost: 1 µs per open of a member.
#[inline(always)]
pub fn open_exit(member: Member, task: u64, fd: i64) {
    if !(0..=i32::MAX as i64).contains(&fd) {
        return;
    }
    let Some(file) = file_of(task, fd as u32) else {
        emit::count_error(Hook::OpenExit, line!());
        return;
    };
    if opened_at_exit(member.packed(), file) == KILLED && !verdict::kill() {
        emit::count_error(Hook::OpenExit, line!());
    }
}

/// A function of its own, with numbers for arguments: what it keeps on the stack is not on that of
/// the other families at the end of system calls. Before Linux 6.13 a program and all that it calls
/// share 512 bytes.
#[inline(never)]
fn opened_at_exit(who: u64, file: u64) -> u64 {
    opened(Member::unpacked(who), file, Hook::OpenExit, Means::Kill) as u64
}

const KILLED: u64 = Verdict::Killed as u64;

/// Sees: every open of a file, whatever the way in: open, openat2, open_by_handle_at, io_uring.
/// Why here: after the path is resolved and before the file can be used; EPERM reaches the caller.
/// Misses: O_PATH descriptors (which cannot be read), descriptors received from others.
/// Prototype: `file_open(struct file *)`; -EPERM denies.
/// On error: treated as not allowed.
/// Cost: one look-up for a non-member; about 1 µs for a member.
#[lsm(hook = "file_open")]
pub fn lsm_file_open(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let file: u64 = ctx.arg(0);
    if matches!(read::<u32>(file, OFFSETS.load().file_flags), Some(f) if f & FMODE_EXEC != 0) {
        return 0;
    }
    lsm_return(opened(member, file, Hook::LsmFileOpen, Means::Deny))
}

/// File behind a descriptor of the current process.
#[inline(always)]
pub fn file_of(task: u64, fd: u32) -> Option<u64> {
    let o = OFFSETS.load();
    let files = read::<u64>(task, o.task_files)?;
    let table = read::<u64>(files, o.files_fdt)?;
    if fd >= read::<u32>(table, o.fdt_max)? {
        return None;
    }
    let array = read::<u64>(table, o.fdt_fd)?;
    match read::<u64>(array + fd as u64 * 8, 0)? {
        0 => None,
        file => Some(file),
    }
}

/// Judges an open and reports it.
#[inline(always)]
fn opened(member: Member, file: u64, hook: Hook, means: Means) -> Verdict {
    emit::count_member(hook);
    let control = watch::control(member.class);
    let scratch = scratch_for(means);
    let facts = facts(scratch, file, control.policy());
    let Some((access, id, p)) = facts else {
        emit::count_error(hook, line!());
        return judge(control, Family::Read, false, false, means);
    };
    if access == 0 || (p.layer && matches!(means, Means::Deny)) {
        return Verdict::Known;
    }
    let mut verdict = Verdict::Known;
    let mut family = Family::Read;
    if access & READ != 0 {
        verdict = judge(
            control,
            Family::Read,
            p.allowed & READ != 0,
            p.denied & READ != 0,
            means,
        );
    }
    if access & WRITE != 0 {
        let w = judge(
            control,
            Family::Write,
            p.allowed & WRITE != 0,
            p.denied & WRITE != 0,
            means,
        );
        if access & READ == 0 || worse(w, verdict) as u8 != verdict as u8 {
            family = Family::Write;
        }
        verdict = worse(w, verdict);
    }
    let mut flags = p.flags;
    if p.denied & access != 0 {
        flags |= flag::INVARIANT;
    }
    if matches!(verdict, Verdict::Killed) && alone() {
        flags |= flag::SINGLE_THREAD;
    }
    let s = Subject {
        hook,
        kind: Kind::Open,
        family,
        class: member.class,
        control,
        verdict,
        flags,
    };
    report(&s, member, scratch, &id, access);
    verdict
}

/// Whether nobody else can use what the current process opens: it has one thread, shares its
/// descriptors with nobody, and is not traced.
#[inline(always)]
pub fn alone() -> bool {
    let o = OFFSETS.load();
    // SAFETY: a helper without arguments.
    let task = unsafe { bpf_get_current_task() };
    let threads = read::<u64>(task, o.task_signal).and_then(|s| read::<i32>(s, o.signal_live));
    let sharers = read::<u64>(task, o.task_files).and_then(|f| read::<i32>(f, o.files_count));
    let tracer = read::<u32>(task, o.task_ptrace);
    matches!((threads, sharers, tracer), (Some(1), Some(1), Some(0)))
}

/// How the file was opened, which it is, and what the policy says; `None` if any of it cannot be
/// told.
#[inline(always)]
fn facts(scratch: *mut Scratch, file: u64, policy: u32) -> Option<(u8, FileId, Permissions)> {
    if scratch.is_null() {
        return None;
    }
    let mode = read::<u32>(file, OFFSETS.load().file_mode)?;
    let mut access = 0;
    if mode & FMODE_READ != 0 {
        access |= READ;
    }
    if mode & FMODE_WRITE != 0 {
        access |= WRITE;
    }
    if mode & FMODE_PATH != 0 {
        access = 0;
    } else if access == 0 {
        // Access mode 3: no data, but every ioctl.
        access = READ | WRITE;
    }
    let id = path::identify(file)?;
    let p = path::permissions(scratch, &id, policy)?;
    Some((access, id, p))
}

/// Counts it and reports what is news. `access` is what was done with the file: the change family's
/// events are laid out alike and have their action there.
#[inline(always)]
pub fn report(s: &Subject, member: Member, scratch: *mut Scratch, id: &FileId, access: u8) {
    emit::count_verdict(s.hook, s.verdict);
    // SAFETY: checked by `facts`.
    let hash = unsafe { (*scratch).hash };
    let key = emit::seen_key(s, member.tgid, access, hash);
    let Some(count) = emit::note(&key, s.verdict.is_adverse()) else {
        return;
    };
    let (path_length, cut) = path::text(scratch, id.place);
    let length = OPEN_FIXED as u64 + path::bounded(path_length);
    // An open event ends where an exec event ends: with the path. So it is built in the same
    // memory, over the arguments, and the path need not be moved.
    const _: () = assert!(EXEC_FIXED - OPEN_FIXED == EVENT_ARGV);
    const _: () = assert!(size_of::<OpenEvent>() == size_of::<ChangeEvent>());
    const _: () = assert!(offset_of!(OpenEvent, access) == offset_of!(ChangeEvent, action));
    const _: () = assert!(offset_of!(OpenEvent, path) == offset_of!(ChangeEvent, path));
    // SAFETY: inside the task's own storage and as aligned as an exec event.
    unsafe {
        let event = (&raw mut (*scratch).event)
            .cast::<u8>()
            .add(EVENT_ARGV)
            .cast::<OpenEvent>();
        (*event).header = emit::header(s, count, length as u32);
        (*event).header.flags |= cut;
        (*event).device = id.device;
        (*event).inode = id.number;
        (*event).hash = hash;
        (*event).access = access;
        (*event).zero = [0; 5];
        (*event).path_length = path_length;
        if !emit::output(s.hook, s.verdict, event.cast(), length) {
            emit::forget(&key);
        }
    }
}

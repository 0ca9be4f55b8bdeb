//! Accept family: who calls a workload.

use monitor_common::{
    class::{Control, FIRST, Family, NONE},
    event::{Kind, Verdict, accept::CallerEvent},
    hook::Hook,
    listener::{IP4, IP6},
};

use super::tcp::{Steps, TCP, key};
use crate::{
    emit::{self, Subject},
    maps::LISTENERS,
    offsets::{OFFSETS, read},
    watch,
};

/// Sees: every TCP connect of a process that is not a member to a port of this host, in its own
/// network namespace, that a member listens on.
/// Why here: see [`super::tcp`]; a caller that lives for a millisecond is seen as well.
/// Misses: callers in another network namespace, whose address the member sees; callers of this host
/// that choose another of its addresses as their own; other protocols.
/// Prototype: part of `tcp`.
/// On error: the caller cannot be read: not reported, counted as an error.
/// Cost: one look-up per connect.
#[inline(always)]
pub fn called(step: &Steps) {
    let Some(port) = LISTENERS.get_ptr(key(step.netns, step.remote.port)) else {
        return;
    };
    // SAFETY: copied out at once.
    let listener = unsafe { *port };
    // A connection to one of the host's own addresses has it at both ends.
    let here = step.remote.is_loopback() || step.remote.words == step.local.words;
    let ip = if step.remote.is_v4() { IP4 } else { IP6 };
    let address = step.remote.address();
    if listener.class < FIRST || !here || !listener.hears(&address, ip) {
        return;
    }
    let o = OFFSETS.load();
    let Some(tgid) = read::<u32>(step.task, o.task_tgid) else {
        emit::count_error(Hook::TcpCaller, line!());
        return;
    };
    if watch::class_of(tgid) != NONE {
        return;
    }
    emit::count_member(Hook::TcpCaller);
    let Some(who) = emit::who(step.task) else {
        emit::count_error(Hook::TcpCaller, line!());
        return;
    };
    let s = Subject {
        hook: Hook::TcpCaller,
        kind: Kind::Caller,
        family: Family::Listen,
        class: NONE,
        control: Control(0),
        verdict: Verdict::Known,
        flags: 0,
    };
    // Once per process, however short it lives: its id alone comes round again.
    let mut seen = emit::seen_key(&s, 0, 0, step.remote.hash() ^ who.start_time);
    seen.tgid = tgid;
    seen.class = listener.class;
    let Some(count) = emit::note(&seen, false) else {
        return;
    };
    let (device, inode) = program(step.task).unwrap_or((0, 0));
    let event = CallerEvent {
        header: emit::header_of(&s, count, size_of::<CallerEvent>() as u32, &who),
        address,
        device,
        inode,
        port: step.remote.port,
        server: listener.class,
        protocol: TCP,
        ip: step.remote.ip,
        zero: 0,
    };
    if !emit::output(
        Hook::TcpCaller,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<CallerEvent>() as u64,
    ) {
        emit::forget(&seen);
    }
}

/// Device and inode of a task's program.
#[inline(always)]
fn program(task: u64) -> Option<(u64, u64)> {
    let o = OFFSETS.load();
    let mm = read::<u64>(task, o.task_mm)?;
    let file = read::<u64>(mm, o.mm_exe_file)?;
    let id = crate::path::identify(file)?;
    Some((id.device, id.number))
}

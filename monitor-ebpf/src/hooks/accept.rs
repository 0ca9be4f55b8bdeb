//! Accept family: who calls a workload.

use monitor_common::{
    class::{Control, FIRST, Family, NONE},
    event::{
        Kind, Verdict,
        accept::{AcceptEvent, CallerEvent},
    },
    hook::Hook,
    listener::{CallKey, IP4, IP6},
};

use super::tcp::{Steps, TCP, key};
use crate::{
    emit::{self, Subject, Who},
    maps::{CALLS, LISTENERS},
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
    let uid = read::<u64>(step.task, o.task_cred).and_then(|cred| read::<u32>(cred, o.cred_uid));
    let tgid = read::<u32>(step.task, o.task_tgid);
    let (Some(tgid), Some(uid)) = (tgid, uid) else {
        emit::count_error(Hook::TcpCaller, line!());
        return;
    };
    let call = CallKey {
        netns: step.netns,
        from: step.local.port,
        to: step.remote.port,
        zero: 0,
    };
    // A full map only means that a user stays unknown.
    let _ = CALLS.insert(call, uid, 0);
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

/// User of a peer that is not on this host.
const UNKNOWN: u32 = u32::MAX;

/// Sees: every TCP connection that a port of a member has received, when it is established, whether
/// or not anybody accepts it.
/// Why here: see [`super::tcp`]; both ends are known, and a peer on this host has said who it is
/// when it called.
/// Misses: the user of a peer in another network namespace; which of several processes that share a
/// port it is for (the one that listened last is named); unix sockets; other protocols.
/// Prototype: part of `tcp`.
/// On error: there is none: the context has it all.
/// Cost: one look-up per received connection of every process.
#[inline(always)]
pub fn accepted(step: &Steps) {
    let Some(port) = LISTENERS.get_ptr(key(step.netns, step.local.port)) else {
        return;
    };
    // SAFETY: copied out at once.
    let listener = unsafe { *port };
    let ip = if step.local.is_v4() { IP4 } else { IP6 };
    if listener.class < FIRST || !listener.hears(&step.local.address(), ip) {
        return;
    }
    emit::count_member(Hook::TcpAccept);
    let call = CallKey {
        netns: step.netns,
        from: step.remote.port,
        to: step.local.port,
        zero: 0,
    };
    let here = step.remote.is_loopback() || step.remote.words == step.local.words;
    // SAFETY: copied out at once.
    let user = match unsafe { CALLS.get(call) }.copied() {
        Some(uid) if here => {
            let _ = CALLS.remove(call);
            uid
        }
        _ => UNKNOWN,
    };
    let class = match watch::class_of(listener.tgid) {
        now if now >= FIRST => now,
        _ => listener.class,
    };
    let s = Subject {
        hook: Hook::TcpAccept,
        kind: Kind::Accept,
        family: Family::Listen,
        class,
        control: watch::control(class),
        verdict: Verdict::Known,
        flags: 0,
    };
    let mut who_called = step.remote;
    who_called.port = step.local.port;
    let seen = emit::seen_key(&s, 0, 0, who_called.hash() ^ user as u64);
    let Some(count) = emit::note(&seen, false) else {
        return;
    };
    let who = Who {
        start_time: listener.start_time,
        cgroup: listener.cgroup,
        tgid: listener.tgid,
        pid: listener.tgid,
        uid: listener.uid,
        comm: [0; 16],
    };
    let event = AcceptEvent {
        header: emit::header_of(&s, count, size_of::<AcceptEvent>() as u32, &who),
        peer: step.remote.address(),
        local: step.local.address(),
        cookie: step.cookie,
        peer_port: step.remote.port,
        local_port: step.local.port,
        peer_uid: user,
        protocol: TCP,
        ip: step.local.ip,
        zero: [0; 6],
    };
    if !emit::output(
        Hook::TcpAccept,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<AcceptEvent>() as u64,
    ) {
        emit::forget(&seen);
    }
}

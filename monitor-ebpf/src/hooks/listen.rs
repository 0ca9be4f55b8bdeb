//! Listen family: what members listen on. Beginning to listen ends the phase of starting: the class
//! becomes that of the next phase, in the kernel, so that the strict policy of serving holds from
//! that instant.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    macros::{cgroup_sock, lsm},
    programs::{LsmContext, SockContext},
};
use monitor_common::{
    class::{ClassId, FIRST, Family, NONE},
    event::{Kind, Verdict, process::PhaseEvent},
    hook::Hook,
    listener::{IP4, IP6, Listener, ListenerKey},
};

use super::tcp::{Steps, TCP, key};
use crate::{
    emit::{self, Subject, Who},
    endpoint::{self, Endpoint},
    maps::{BOUND, LISTENERS, LISTENING},
    offsets::{OFFSETS, read},
    verdict::{Means, lsm_return},
    watch::{self, Member},
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `TCP_CLOSE`, `TCP_LISTEN`
const CLOSED: u32 = 7;
const LISTENS: u32 = 10;
/// `IPPROTO_MPTCP`
const MPTCP: u32 = 262;

/// Sees: every TCP socket that begins to listen, bound or not.
/// Why here: see [`super::tcp`].
/// Judges what has not bound: the cgroup tier has no place to refuse it.
/// Misses: a server that was handed a socket which listens already; it stays in phase start.
/// Prototype: part of `tcp`.
/// On error: the process cannot be read: the phase stays, counted as an error.
/// Cost: two reads and a look-up per listen of a non-member.
#[inline(always)]
pub fn began(step: &Steps) {
    let Some(tgid) = read::<u32>(step.task, OFFSETS.load().task_tgid) else {
        emit::count_error(Hook::TcpListen, line!());
        return;
    };
    let before = watch::class_of(tgid);
    if before == NONE {
        return;
    }
    emit::count_member(Hook::TcpListen);
    let class = match watch::describe(before) {
        Some(c) if c.after_bind != NONE => c.after_bind,
        _ => before,
    };
    let Some(who) = emit::who(step.task) else {
        emit::count_error(Hook::TcpListen, line!());
        return;
    };
    judge_unbound(step, tgid, before, &who);
    if class != before {
        watch::set_class(tgid, class);
        tell_phase(before, class, step.local.port, &who);
    }
    // The self-test's own processes have no callers; their sockets are counted all the same, so
    // that their end can be seen.
    enter(step, class, &who);
}

/// What was not judged when it bound is judged now. It listens already: the LSM tier has refused it
/// before, the cgroup tier can only tell.
#[inline(always)]
fn judge_unbound(step: &Steps, tgid: u32, class: ClassId, who: &Who) {
    // SAFETY: only whether it is there counts.
    if unsafe { BOUND.get(step.cookie) }.is_some() {
        return;
    }
    let mut e = step.local;
    if e.unspecified {
        // Nobody asked for the port that it got.
        e.port = 0;
    }
    let member = Member { tgid, class };
    let ruling = endpoint::listen_ruling(member, &e, Means::Tell);
    endpoint::report_by(
        Hook::TcpListen,
        Kind::Listen,
        member,
        &e,
        ruling,
        step.cookie,
        Some(who),
    );
}

/// Sees: listen(2), through io_uring as well, of TCP sockets that have not bound.
/// Why here: asked before a port is chosen.
/// Misses: what has bound, which `bind4` and `bind6` have judged.
/// Prototype: `socket_listen(struct socket *sock, int backlog)`; -EPERM denies.
/// On error: the socket cannot be read: refused, counted as an error.
/// Cost: one look-up for a non-member; three reads for a member.
#[lsm(hook = "socket_listen")]
pub fn lsm_listen(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let socket: u64 = ctx.arg(0);
    let o = OFFSETS.load();
    let facts = read::<u64>(socket, o.socket_sk).and_then(|sk| {
        Some((
            read::<u16>(sk, o.sk_family)?,
            read::<u16>(sk, o.sk_protocol)? as u32,
            read::<u16>(sk, o.sk_num)?,
        ))
    });
    let Some((family, protocol, port)) = facts else {
        emit::count_error(Hook::LsmListen, line!());
        return lsm_return(Verdict::Blocked);
    };
    if (family != AF_INET && family != AF_INET6) || port != 0 {
        return 0;
    }
    emit::count_member(Hook::LsmListen);
    let e = if family == AF_INET {
        Endpoint::local_v4(0, 0, protocol)
    } else {
        Endpoint::local([0; 4], 0, protocol, 6)
    };
    let ruling = endpoint::listen_ruling(member, &e, Means::Deny);
    if matches!(ruling.0, Verdict::Blocked) {
        endpoint::report(Hook::LsmListen, Kind::Listen, member, &e, ruling, 0);
    }
    lsm_return(ruling.0)
}

#[inline(always)]
fn tell_phase(before: ClassId, after: ClassId, port: u16, who: &Who) {
    let s = Subject {
        hook: Hook::TcpListen,
        kind: Kind::Phase,
        family: Family::Listen,
        class: before,
        control: watch::control(before),
        verdict: Verdict::Known,
        flags: 0,
    };
    let event = PhaseEvent {
        header: emit::header_of(&s, 1, size_of::<PhaseEvent>() as u32, who),
        port,
        after,
        zero: 0,
    };
    emit::output(
        Hook::TcpListen,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<PhaseEvent>() as u64,
    );
}

/// The address and the families of a listener.
#[inline(always)]
fn heard(local: &Endpoint) -> ([u8; 16], u8) {
    let address = if local.unspecified {
        [0; 16]
    } else {
        local.address()
    };
    let ips = match (local.ip, local.unspecified, local.is_v4()) {
        (4, ..) | (_, false, true) => IP4,
        // Dual-stack, unless the socket says otherwise: then a call by IPv4 is nobody's.
        (_, true, _) => IP4 | IP6,
        _ => IP6,
    };
    (address, ips)
}

/// Adds a listening socket to the ports that members listen on.
#[inline(always)]
fn enter(step: &Steps, class: ClassId, who: &Who) {
    let key = key(step.netns, step.local.port);
    // SAFETY: the value is only compared with null.
    if unsafe { LISTENING.get(step.cookie) }.is_some() {
        return;
    }
    let (address, ips) = heard(&step.local);
    let mut entry = Listener {
        address,
        start_time: who.start_time,
        cgroup: who.cgroup,
        tgid: who.tgid,
        sockets: 1,
        uid: who.uid,
        class,
        ips,
        zero: 0,
    };
    // SAFETY: copied out at once.
    if let Some(known) = unsafe { LISTENERS.get(key) }.copied() {
        entry.sockets = known.sockets + 1;
        entry.ips |= known.ips;
        if known.address != address {
            entry.address = [0; 16];
        }
    }
    if LISTENERS.insert(key, entry, 0).is_err() || LISTENING.insert(step.cookie, key, 0).is_err() {
        emit::count_error(Hook::TcpListen, line!());
    }
}

/// Sees: the end of every internet socket; acts on TCP sockets that listen or listened.
/// Why here: the last reference is gone, whoever held it: no port is taken for a member's for longer
/// than somebody can call it.
/// Misses: a socket that listened before the hooks were attached and was not seen by adoption.
/// Prototype: `cgroup/sock_release(struct bpf_sock *)`; 1 lets through.
/// On error: a port stays on the list until the daemon starts anew.
/// Cost: about 50 ns per closed socket of every process.
#[cgroup_sock(sock_release)]
pub fn listen_release(ctx: SockContext) -> i32 {
    let s = ctx.sock;
    // SAFETY: fields of the context.
    let (state, protocol) = unsafe {
        (
            (&raw const (*s).state).read_volatile(),
            (&raw const (*s).protocol).read_volatile(),
        )
    };
    if (state != LISTENS && state != CLOSED) || (protocol != TCP as u32 && protocol != MPTCP) {
        return 1;
    }
    // SAFETY: the helpers take the program's own context.
    let (cookie, netns) = unsafe {
        (
            bpf_get_socket_cookie(ctx.as_ptr()),
            bpf_get_netns_cookie(ctx.as_ptr()),
        )
    };
    // SAFETY: copied out at once.
    match unsafe { LISTENING.get(cookie) }.copied() {
        Some(key) => {
            let _ = LISTENING.remove(cookie);
            leave(key);
        }
        // MPTCP listens on a socket of the kernel's, whose end nobody is told.
        None if protocol == MPTCP && state == LISTENS => {
            // The context is the socket itself; its port may only be read as memory here.
            if let Some(port) = read::<u16>(s as u64, OFFSETS.load().sk_num) {
                leave(key(netns, port));
            }
        }
        None => {}
    }
    1
}

#[inline(always)]
fn leave(key: ListenerKey) {
    // SAFETY: copied out at once.
    let Some(mut entry) = unsafe { LISTENERS.get(key) }.copied() else {
        return;
    };
    if entry.class >= FIRST || watch::class_of(entry.tgid) != NONE {
        emit::count_member(Hook::ListenRelease);
    }
    if entry.sockets > 1 {
        entry.sockets -= 1;
        let _ = LISTENERS.insert(key, entry, 0);
    } else {
        let _ = LISTENERS.remove(key);
    }
}

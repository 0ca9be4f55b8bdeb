//! Unix family: unix sockets as destinations, by path or abstract name.

use core::mem::offset_of;

use aya_ebpf::{macros::lsm, programs::LsmContext};
use monitor_common::{
    class::{Control, Family},
    endpoint::DENIED,
    event::{
        Kind, Verdict,
        exec::EXEC_FIXED,
        flag,
        open::OpenEvent,
        unix::{UNIX_FIXED, UnixEvent, space},
    },
    hook::Hook,
    limits::EVENT_ARGV,
    name::{self, NameKey},
    path::permission::CONNECT,
};

use super::open::{alone, file_of};
use crate::{
    bounds::below_128,
    emit::{self, Subject},
    maps::{NAMES, scratch_for},
    offsets::{OFFSETS, read},
    path::{self, Place, Scratch},
    verdict::{self, Means, judge, lsm_return},
    watch::{self, Member},
};

const AF_UNIX: u16 = 1;
/// Bytes of a unix address before an abstract name: the family, and the zero that marks it.
const BEFORE_NAME: u64 = 3;

/// Sees: connect(2) of stream and seqpacket unix sockets, through io_uring as well.
/// Why here: the listener is found and nothing has happened yet.
/// Misses: descriptors of connected sockets that others hand over.
/// Prototype: `unix_stream_connect(struct sock *sock, struct sock *other, struct sock *newsk)`;
/// -EPERM denies.
/// On error: treated as not allowed.
/// Cost: one look-up for a non-member; about 1 µs for a member.
#[lsm(hook = "unix_stream_connect")]
pub fn lsm_unix_connect(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let other: u64 = ctx.arg(1);
    lsm_return(reached(member, other, Hook::LsmUnixConnect, Means::Deny))
}

/// Sees: connect(2) of datagram unix sockets, and every datagram that they send.
/// Why here: as `lsm_unix_connect`.
/// Misses: as `lsm_unix_connect`.
/// Prototype: `unix_may_send(struct socket *sock, struct socket *other)`; -EPERM denies.
/// On error: treated as not allowed.
/// Cost: one look-up per datagram for a non-member; about 1 µs for a member.
#[lsm(hook = "unix_may_send")]
pub fn lsm_unix_send(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let other: u64 = ctx.arg(1);
    let Some(peer) = read::<u64>(other, OFFSETS.load().socket_sk) else {
        emit::count_error(Hook::LsmUnixSend, line!());
        return 0;
    };
    lsm_return(reached(member, peer, Hook::LsmUnixSend, Means::Deny))
}

/// Sees: the end of connect(2) of unix sockets.
/// Why here: the peer is there, with its name as the kernel has it; the process is killed before it
/// can send anything.
/// Misses: datagrams that name their destination; connects through io_uring or the 32-bit
/// socketcall; a second thread that sends in the microsecond before the signal arrives.
/// Prototype: part of `sys_exit`.
/// On error: treated as not allowed; a descriptor that was closed meanwhile is let be.
/// Cost: 1 µs per connect of a member.
#[inline(always)]
pub fn unix_exit(member: Member, task: u64, fd: Option<u64>, result: i64) {
    if result != 0 {
        return;
    }
    let Some(peer) = fd.and_then(|fd| peer(task, fd as u32)) else {
        return;
    };
    if reached_at_exit(member.packed(), peer) == KILLED && !verdict::kill() {
        emit::count_error(Hook::UnixExit, line!());
    }
}

/// A function of its own for its stack's sake: see `open::opened_at_exit`.
#[inline(never)]
fn reached_at_exit(who: u64, peer: u64) -> u64 {
    reached(Member::unpacked(who), peer, Hook::UnixExit, Means::Kill) as u64
}

const KILLED: u64 = Verdict::Killed as u64;

/// The peer of a connected unix socket behind a descriptor; `None` for everything else.
#[inline(always)]
fn peer(task: u64, fd: u32) -> Option<u64> {
    let o = OFFSETS.load();
    let sk = sock_of(task, fd)?;
    if read::<u16>(sk, o.sk_family)? != AF_UNIX {
        return None;
    }
    match read::<u64>(sk, o.unix_peer)? {
        0 => None,
        peer => Some(peer),
    }
}

/// The protocol part of the socket behind a descriptor that is known to be one.
#[inline(always)]
pub fn sock_of(task: u64, fd: u32) -> Option<u64> {
    let o = OFFSETS.load();
    let socket = read::<u64>(file_of(task, fd)?, o.file_private)?;
    read::<u64>(socket, o.socket_sk)
}

/// Judges a peer and reports it.
#[inline(always)]
fn reached(member: Member, peer: u64, hook: Hook, means: Means) -> Verdict {
    let control = watch::control(member.class);
    match look(member, control, peer, hook, means) {
        Some(verdict) => verdict,
        None => {
            emit::count_error(hook, line!());
            judge(control, Family::Unix, false, false, means)
        }
    }
}

#[inline(always)]
fn look(member: Member, control: Control, peer: u64, hook: Hook, means: Means) -> Option<Verdict> {
    let o = OFFSETS.load();
    let place = Place::of(peer, o.unix_path)?;
    let address = read::<u64>(peer, o.unix_address)?;
    if place.dentry == 0 && address == 0 {
        // A socket without a name: the other half of a pair, or a client that is being answered.
        return Some(Verdict::Known);
    }
    emit::count_member(hook);
    let scratch = scratch_for(means);
    if scratch.is_null() {
        return None;
    }
    let mut s = Subject {
        hook,
        kind: Kind::Unix,
        family: Family::Unix,
        class: member.class,
        control,
        verdict: Verdict::Known,
        flags: 0,
    };
    let socket = read::<u16>(peer, o.sk_type)? as u8;
    if place.dentry != 0 {
        let id = path::identify_name(place)?;
        let p = path::permissions(scratch, &id, control.policy())?;
        // A socket is named as who bound it sees it, often from another mount namespace. Nobody
        // gains by a name made up in one of his own: it leads to himself.
        let allowed = (p.allowed | p.elsewhere) & CONNECT != 0;
        let denied = p.denied & CONNECT != 0;
        s.verdict = judge(control, Family::Unix, allowed, denied, means);
        let foreign = if p.foreign { flag::PATH_INCOMPLETE } else { 0 };
        s.flags = p.flags & !foreign | invariant(denied) | single(s.verdict);
        // SAFETY: checked above.
        let hash = unsafe { (*scratch).hash };
        emit::count_verdict(hook, s.verdict);
        let key = emit::seen_key(&s, member.tgid, 0, hash);
        if let Some(count) = emit::note(&key, s.verdict.is_adverse()) {
            let (length, cut) = path::text(scratch, id.place);
            s.flags |= cut;
            let name = Name {
                space: space::PATH,
                socket,
                device: id.device,
                inode: id.number,
                hash,
                length,
            };
            if !tell(&s, scratch, count, &name) {
                emit::forget(&key);
            }
        }
    } else {
        let length = read::<i32>(address, o.unix_address_length)? as i64 as u64;
        let length = below_128(length.wrapping_sub(BEFORE_NAME));
        let text = address + o.unix_address_name as u64 + BEFORE_NAME;
        let hash = path::hash_name(scratch, text, length)?;
        let known = |policy| {
            let key = NameKey {
                policy,
                space: name::space::ABSTRACT,
                hash,
            };
            // SAFETY: only whether it is there counts.
            unsafe { NAMES.get(key) }.is_some()
        };
        let denied = known(control.policy() | DENIED);
        s.verdict = judge(
            control,
            Family::Unix,
            known(control.policy()),
            denied,
            means,
        );
        s.flags = invariant(denied) | single(s.verdict);
        emit::count_verdict(hook, s.verdict);
        let key = emit::seen_key(&s, member.tgid, 0, hash);
        if let Some(count) = emit::note(&key, s.verdict.is_adverse()) {
            let name = Name {
                space: space::ABSTRACT,
                socket,
                device: 0,
                inode: 0,
                hash,
                length: length as u16,
            };
            if !path::copy_name(scratch, text, length) || !tell(&s, scratch, count, &name) {
                emit::forget(&key);
            }
        }
    }
    Some(s.verdict)
}

#[inline(always)]
fn invariant(denied: bool) -> u8 {
    if denied { flag::INVARIANT } else { 0 }
}

#[inline(always)]
fn single(verdict: Verdict) -> u8 {
    if matches!(verdict, Verdict::Killed) && alone() {
        flag::SINGLE_THREAD
    } else {
        0
    }
}

/// What an event says of a socket's name, besides its bytes.
struct Name {
    space: u8,
    socket: u8,
    device: u64,
    inode: u64,
    hash: u64,
    length: u16,
}

/// Reports; the name is in the task's storage already, where a path stands.
#[inline(always)]
fn tell(s: &Subject, scratch: *mut Scratch, count: u64, name: &Name) -> bool {
    // As an open event does, it ends where an exec event ends.
    const _: () = assert!(EXEC_FIXED - UNIX_FIXED == EVENT_ARGV);
    const _: () = assert!(offset_of!(OpenEvent, path) == offset_of!(UnixEvent, name));
    let length = UNIX_FIXED as u64 + path::bounded(name.length);
    // SAFETY: inside the task's own storage and as aligned as an exec event.
    unsafe {
        let event = (&raw mut (*scratch).event)
            .cast::<u8>()
            .add(EVENT_ARGV)
            .cast::<UnixEvent>();
        (*event).header = emit::header(s, count, length as u32);
        (*event).device = name.device;
        (*event).inode = name.inode;
        (*event).hash = name.hash;
        (*event).space = name.space;
        (*event).socket = name.socket;
        (*event).zero = [0; 4];
        (*event).name_length = name.length;
        emit::output(s.hook, s.verdict, event.cast(), length)
    }
}

//! Sockets of kinds that few need: raw, packet, vsock, netlink, cryptography, other transports.

use aya_ebpf::{
    macros::{cgroup_sock, lsm},
    programs::{LsmContext, SockContext},
};
use monitor_common::{event::Verdict, facility::Facility, hook::Hook};

use super::unix::sock_of;
use crate::{
    emit,
    facility::{used, used_or_killed},
    offsets::{OFFSETS, read},
    verdict::{Means, cgroup_return, lsm_return},
    watch::{self, Member},
};

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const AF_PACKET: u32 = 17;
const AF_ALG: u32 = 38;
const AF_VSOCK: u32 = 40;
const SOCK_RAW: u32 = 3;

/// The facility that a socket of this kind is, if it is one.
#[inline(always)]
fn facility(family: u32, kind: u32, protocol: u32) -> Option<Facility> {
    Some(match family {
        AF_UNIX => return None,
        AF_INET | AF_INET6 if kind == SOCK_RAW => Facility::Raw,
        AF_INET | AF_INET6 => match protocol {
            // 0 becomes TCP or UDP; TCP, UDP, MPTCP
            0 | 6 | 17 | 262 => return None,
            // ICMP, ICMPv6
            1 | 58 => Facility::Ping,
            _ => Facility::Transport,
        },
        AF_NETLINK if protocol == 0 => Facility::NetlinkRoute,
        AF_NETLINK => Facility::Netlink,
        AF_PACKET => Facility::Packet,
        AF_ALG => Facility::Alg,
        AF_VSOCK => Facility::Vsock,
        _ => Facility::OtherSocket,
    })
}

/// Sees: every internet socket that a process makes, through io_uring as well.
/// Why here: both tiers have it, and it can refuse.
/// Misses: other families, and sockets that were there before membership.
/// Prototype: `cgroup/sock_create(struct bpf_sock *)`; 0 becomes EPERM, 1 lets through.
/// On error: there is none: the context has it all.
/// Cost: about 50 ns per internet socket of a non-member; 100 ns for a member's TCP or UDP socket.
#[cgroup_sock(sock_create)]
pub fn sock_create(ctx: SockContext) -> i32 {
    let Some(member) = watch::current() else {
        return 1;
    };
    let s = ctx.sock;
    // SAFETY: fields of the context.
    let (family, kind, protocol) = unsafe {
        (
            (&raw const (*s).family).read_volatile(),
            (&raw const (*s).type_).read_volatile(),
            (&raw const (*s).protocol).read_volatile(),
        )
    };
    emit::count_member(Hook::SockCreate);
    match facility(family, kind, protocol) {
        Some(which) => cgroup_return(used(
            member,
            which,
            [family, kind],
            Hook::SockCreate,
            Means::Deny,
        )),
        None => 1,
    }
}

/// Sees: every socket of every family that a process makes.
/// Why here: asked before anything of it exists.
/// Misses: sockets that were there before membership, or that others hand over.
/// Prototype: `socket_create(int family, int type, int protocol, int kern)`; -EPERM denies.
/// On error: there is none: the arguments have it all.
/// Cost: one look-up for a non-member; 100 ns for a member's ordinary socket.
#[lsm(hook = "socket_create")]
pub fn lsm_socket(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let (family, kind, protocol, kernel): (i32, i32, i32, i32) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    if kernel != 0 {
        return 0;
    }
    emit::count_member(Hook::LsmSocket);
    let (family, kind) = (family as u32, kind as u32);
    lsm_return(match facility(family, kind, protocol as u32) {
        Some(which) => used(member, which, [family, kind], Hook::LsmSocket, Means::Deny),
        None => Verdict::Known,
    })
}

/// Sees: the end of socket(2): the families that `sock_create` is not asked about.
/// Why here: the socket is there and has been of no use yet; its family is the kernel's own.
/// Misses: sockets made through io_uring; a second thread that uses it in the microsecond before
/// the signal arrives.
/// Prototype: part of `sys_exit`.
/// On error: the socket cannot be read: let be, counted as an error.
/// Cost: 300 ns per socket of a member.
#[inline(always)]
pub fn socket_exit(member: Member, task: u64, fd: i64) {
    if !(0..=i32::MAX as i64).contains(&fd) {
        return;
    }
    emit::count_member(Hook::SocketExit);
    let o = OFFSETS.load();
    let Some(sk) = sock_of(task, fd as u32) else {
        emit::count_error(Hook::SocketExit, line!());
        return;
    };
    let (Some(family), Some(kind), Some(protocol)) = (
        read::<u16>(sk, o.sk_family),
        read::<u16>(sk, o.sk_type),
        read::<u16>(sk, o.sk_protocol),
    ) else {
        emit::count_error(Hook::SocketExit, line!());
        return;
    };
    let (family, kind) = (family as u32, kind as u32);
    if family == AF_INET || family == AF_INET6 {
        return;
    }
    if let Some(which) = facility(family, kind, protocol as u32) {
        used_or_killed(member, which, [family, kind], Hook::SocketExit);
    }
}

/// Sees: the end of socketpair(2), which makes unix sockets and, where the kernel has it, TIPC's.
#[inline(always)]
pub fn pair_exit(member: Member, family: Option<u64>, result: i64) {
    if result == 0 && family != Some(AF_UNIX as u64) {
        let family = family.unwrap_or(0) as u32;
        used_or_killed(member, Facility::OtherSocket, [family, 0], Hook::SocketExit);
    }
}

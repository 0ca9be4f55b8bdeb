//! Connect family: where sockets are pointed at. Denied before anything leaves, on both tiers.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_socket_cookie,
    macros::{cgroup_sock_addr, lsm},
    programs::{LsmContext, SockAddrContext},
};
use monitor_common::{
    event::{Kind, Verdict},
    hook::Hook,
};

use crate::{
    emit,
    endpoint::{Endpoint, of_context, pin_down, report, ruling},
    offsets::{OFFSETS, read},
    socket,
    verdict::{cgroup_return, lsm_return},
    watch,
};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Sees: connect(2) of IPv4 sockets, TCP and UDP, TCP fast open, MPTCP, and through io_uring.
/// Why here: it is asked before the kernel acts, on every kernel with cgroup v2, and costs nothing
/// to processes that do not connect.
/// Misses: sockets that were connected before the process became a member; raw and packet sockets.
/// Prototype: `cgroup/connect4(struct bpf_sock_addr *)`; 0 becomes EPERM, 1 lets through.
/// On error: there is none: the address is in the context.
/// Cost: 80 ns for a non-member, about 250 ns for a member.
#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    connect::<false>(&ctx, Hook::Connect4, Kind::Connect)
}

/// Sees: connect(2) of IPv6 sockets, IPv4-mapped addresses among them.
/// Why here: as `connect4`.
/// Misses: as `connect4`.
/// Prototype: `cgroup/connect6(struct bpf_sock_addr *)`; 0 becomes EPERM, 1 lets through.
/// On error: as `connect4`.
/// Cost: as `connect4`.
#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    connect::<true>(&ctx, Hook::Connect6, Kind::Connect)
}

/// The body of connect and send: judge, tell, return.
#[inline(always)]
pub fn connect<const V6: bool>(ctx: &SockAddrContext, hook: Hook, kind: Kind) -> i32 {
    let Some(member) = watch::current() else {
        return 1;
    };
    emit::count_member(hook);
    let e = of_context::<V6>(ctx);
    let ruling = ruling(member, &e);
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    // A socket that a member got from elsewhere, or that the kernel made for it (MPTCP).
    socket::take(socket::of_address(ctx), e.protocol as u32);
    report(hook, kind, member, &e, ruling, cookie);
    pin_down::<V6>(ctx, &e);
    cgroup_return(ruling.0)
}

/// Sees: connect(2) of every IPv4 and IPv6 socket, before the protocol and the cgroup hooks.
/// Why here: a second lock on the same door, which holds where a cgroup program is bypassed or
/// detached; only denials are reported here, the rest by `connect4` and `connect6`.
/// Misses: as `connect4`.
/// Prototype: `socket_connect(struct socket *, struct sockaddr *, int addrlen)`; -EPERM denies.
/// On error: the address cannot be read: left to the cgroup hooks, counted as an error.
/// Cost: two reads and the same look-ups, members only.
#[lsm(hook = "socket_connect")]
pub fn lsm_connect(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let (socket, address): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    lsm_destination(member, socket, address, Hook::LsmConnect, Kind::Connect)
}

/// The body of the LSM hooks for connect and send: `address` is kernel memory.
#[inline(always)]
pub fn lsm_destination(
    member: watch::Member,
    socket: u64,
    address: u64,
    hook: Hook,
    kind: Kind,
) -> i32 {
    let Some(e) = endpoint_at(socket, address) else {
        emit::count_error(hook, line!());
        return 0;
    };
    let Some(e) = e else {
        return 0;
    };
    emit::count_member(hook);
    let ruling = ruling(member, &e);
    if matches!(ruling.0, Verdict::Blocked) {
        report(hook, kind, member, &e, ruling, 0);
    }
    lsm_return(ruling.0)
}

/// Endpoint in a `struct sockaddr` in kernel memory; `Some(None)` for other families.
#[inline(always)]
fn endpoint_at(socket: u64, address: u64) -> Option<Option<Endpoint>> {
    let o = OFFSETS.load();
    let family = read::<u16>(address, 0)?;
    if family != AF_INET && family != AF_INET6 {
        return Some(None);
    }
    let port = u16::from_be(read::<u16>(address, 2)?);
    let sk = read::<u64>(socket, o.socket_sk)?;
    let protocol = read::<u16>(sk, o.sk_protocol)? as u32;
    Some(Some(if family == AF_INET {
        Endpoint::v4(read::<u32>(address, 4)?, port, protocol)
    } else {
        Endpoint::new(read::<[u32; 4]>(address, 8)?, port, protocol, 6)
    }))
}

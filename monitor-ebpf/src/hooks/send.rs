//! Send family: datagrams that name their destination, without connect.

use aya_ebpf::{
    macros::{cgroup_sock_addr, lsm},
    programs::{LsmContext, SockAddrContext},
};
use monitor_common::{event::Kind, hook::Hook};

use super::connect::{connect, lsm_destination};
use crate::{
    offsets::{OFFSETS, read},
    watch,
};

/// Sees: sendto, sendmsg and sendmmsg of unconnected IPv4 UDP sockets, and of connected ones that
/// name another address; io_uring as well.
/// Why here: asked before the datagram is built.
/// Misses: raw sockets; datagrams on sockets that were connected earlier.
/// Prototype: `cgroup/sendmsg4(struct bpf_sock_addr *)`; 0 becomes EPERM, 1 lets through.
/// On error: there is none: the address is in the context.
/// Cost: 95 ns per datagram for a non-member, about 300 ns for a member.
#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    connect::<false>(&ctx, Hook::Sendmsg4, Kind::Send)
}

/// Sees: as `sendmsg4` for IPv6, IPv4-mapped addresses among them.
/// Why here: as `sendmsg4`.
/// Misses: as `sendmsg4`.
/// Prototype: `cgroup/sendmsg6(struct bpf_sock_addr *)`; 0 becomes EPERM, 1 lets through.
/// On error: as `sendmsg4`.
/// Cost: as `sendmsg4`.
#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    connect::<true>(&ctx, Hook::Sendmsg6, Kind::Send)
}

/// Sees: every send of every socket; those that name an IP destination are judged.
/// Why here: as `lsm_connect`, a second lock: only denials are reported here.
/// Misses: what is sent on a connected socket without a name, which `lsm_connect` has judged.
/// Prototype: `socket_sendmsg(struct socket *, struct msghdr *, int size)`; the name is kernel memory.
/// On error: the message cannot be read: left to the cgroup hooks, counted as an error.
/// Cost: one look-up for a non-member; one more read for a member that names no destination.
#[lsm(hook = "socket_sendmsg")]
pub fn lsm_sendmsg(ctx: LsmContext) -> i32 {
    let Some(member) = watch::current() else {
        return 0;
    };
    let o = OFFSETS.load();
    let (socket, message): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let named = matches!(read::<i32>(message, o.msg_namelen), Some(n) if n >= 8);
    match read::<u64>(message, o.msg_name) {
        Some(name) if name != 0 && named => {
            lsm_destination(member, socket, name, Hook::LsmSendmsg, Kind::Send)
        }
        _ => 0,
    }
}

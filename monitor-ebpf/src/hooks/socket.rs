//! Socket family: whose a socket is, from its making to its end.

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_get_socket_cookie, macros::cgroup_sock,
    programs::SockContext,
};
use monitor_common::{
    hook::Hook,
    socket::{Owner, state},
};

use crate::{emit, flow, maps::SOCKETS, packet::UDP, socket, watch};

/// Sees: every IPv4 and IPv6 socket that a process makes.
/// Why here: the one place that every socket of a member passes in the context of its maker; what
/// is noted here is inherited by the sockets that it accepts.
/// Misses: sockets that were there before, which the daemon looks for, and those that the kernel
/// makes itself, which `connect4` and `connect6` note.
/// Prototype: `cgroup/sock_create(struct bpf_sock *)`; 1 lets through.
/// On error: no memory: the socket has no owner, and what it carries is not told.
/// Cost: one look-up per socket of a non-member.
#[cgroup_sock(sock_create)]
pub fn socket_owner(ctx: SockContext) -> i32 {
    if watch::current().is_none() {
        return 1;
    }
    emit::count_member(Hook::SocketOwner);
    // SAFETY: a field of the context.
    let protocol = unsafe { (&raw const (*ctx.sock).protocol).read_volatile() };
    socket::take(ctx.sock.cast(), protocol);
    1
}

/// Sees: the end of every IPv4 and IPv6 socket.
/// Why here: datagrams have no other end.
/// Misses: nothing known. The owner may be dead already: it is taken from the socket.
/// Prototype: `cgroup/sock_release(struct bpf_sock *)`; 1 lets through.
/// On error: there is none.
/// Cost: one look-up in the socket's storage for a non-member.
#[cgroup_sock(sock_release)]
pub fn socket_end(ctx: SockContext) -> i32 {
    // SAFETY: the program's own socket.
    let owner: *mut Owner = unsafe { SOCKETS.of(ctx.sock.cast(), false) };
    if owner.is_null() {
        return 1;
    }
    // SAFETY: a value of the map.
    let owner = unsafe { &mut *owner };
    emit::count_member(Hook::SocketEnd);
    let packets = owner.protocol == UDP || owner.flags & state::FOUND != 0;
    if packets && owner.start != 0 {
        // SAFETY: the helper takes the program's own context.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
        let class = socket::class(owner);
        if owner.flags & state::FOUND != 0 && owner.protocol != UDP {
            flow::count(owner, class, (1, 0, 0));
            flow::count_closed(class);
        }
        flow::tell(Hook::SocketEnd, owner, class, cookie);
    }
    1
}

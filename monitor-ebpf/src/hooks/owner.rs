//! Owner: whose a socket is, noted when it is made.

use aya_ebpf::{macros::cgroup_sock, programs::SockContext};
use monitor_common::hook::Hook;

use crate::{emit, socket, watch};

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

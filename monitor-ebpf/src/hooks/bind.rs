//! Bind: the first half of listening. A local endpoint is judged before it is taken, on both tiers;
//! what listens without having bound is judged in `listen`.

use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_get_socket_cookie, macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use monitor_common::{
    event::{Kind, Verdict},
    hook::Hook,
};

use crate::{
    emit,
    endpoint::{self, local_of_context},
    maps::BOUND,
    verdict::{Means, cgroup_return},
    watch,
};

/// `IPPROTO_TCP`
const TCP: u8 = 6;

/// Sees: bind(2) of IPv4 sockets, through io_uring as well.
/// Why here: it is asked before the port is taken, on every kernel with cgroup v2.
/// Misses: nothing that binds. It does not know whether a TCP socket will listen or connect: a
/// client that chooses its source port is held to the same rules. UDP sockets that leave the port
/// to the kernel are clients and are let be.
/// Prototype: `cgroup/bind4(struct bpf_sock_addr *)`; 0 becomes EPERM, 1 lets through.
/// On error: there is none: the address is in the context.
/// Cost: 60 ns per bind of a non-member, about 300 ns for a member.
#[cgroup_sock_addr(bind4)]
pub fn bind4(ctx: SockAddrContext) -> i32 {
    bind::<false>(&ctx, Hook::Bind4)
}

/// Sees: bind(2) of IPv6 sockets, IPv4-mapped addresses among them.
/// Why here: as `bind4`.
/// Misses: as `bind4`.
/// Prototype: `cgroup/bind6(struct bpf_sock_addr *)`; 0 becomes EPERM, 1 lets through.
/// On error: as `bind4`.
/// Cost: as `bind4`.
#[cgroup_sock_addr(bind6)]
pub fn bind6(ctx: SockAddrContext) -> i32 {
    bind::<true>(&ctx, Hook::Bind6)
}

#[inline(always)]
fn bind<const V6: bool>(ctx: &SockAddrContext, hook: Hook) -> i32 {
    let Some(member) = watch::current() else {
        return 1;
    };
    let e = local_of_context::<V6>(ctx);
    emit::count_member(hook);
    if e.protocol != TCP && e.port == 0 {
        return 1;
    }
    let ruling = endpoint::listen_ruling(member, &e, Means::Deny);
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    endpoint::report(hook, Kind::Listen, member, &e, ruling, cookie);
    if e.protocol == TCP && !matches!(ruling.0, Verdict::Blocked) {
        // A full map only means that it is judged once more when it listens.
        let _ = BOUND.insert(cookie, 1u8, 0);
    }
    cgroup_return(ruling.0)
}

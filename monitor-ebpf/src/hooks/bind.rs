//! Bind: a member that takes a TCP port has finished starting. Its class becomes that of the next
//! phase, in the kernel, so that the strict policy of serving holds from that instant.

use aya_ebpf::{macros::cgroup_sock, programs::SockContext};
use monitor_common::{
    class::{Family, NONE},
    event::{Kind, Verdict, process::PhaseEvent},
    hook::Hook,
};

use crate::{
    emit::{self, Subject},
    watch,
};

const SOCK_STREAM: u32 = 1;

/// Sees: every bind of an IPv4 socket that succeeded.
/// Why here: one hook on both tiers, in the context of the process that binds.
/// Misses: a server that listens without binding; it stays in phase start.
/// Prototype: `cgroup/post_bind4(struct bpf_sock *)`; 1 lets through.
/// On error: the phase stays; the bind is never refused.
/// Cost: one look-up per bind.
#[cgroup_sock(post_bind4)]
pub fn bind4(ctx: SockContext) -> i32 {
    bound(&ctx, Hook::Bind4)
}

/// Sees: every bind of an IPv6 socket that succeeded.
/// Why here: as `bind4`.
/// Misses: as `bind4`.
/// Prototype: `cgroup/post_bind6(struct bpf_sock *)`; 1 lets through.
/// On error: as `bind4`.
/// Cost: as `bind4`.
#[cgroup_sock(post_bind6)]
pub fn bind6(ctx: SockContext) -> i32 {
    bound(&ctx, Hook::Bind6)
}

#[inline(always)]
fn bound(ctx: &SockContext, hook: Hook) -> i32 {
    let Some(member) = watch::current() else {
        return 1;
    };
    // SAFETY: fields of the context.
    let (kind, port) = unsafe {
        (
            (&raw const (*ctx.sock).type_).read_volatile(),
            (&raw const (*ctx.sock).src_port).read_volatile(),
        )
    };
    if kind != SOCK_STREAM {
        return 1;
    }
    let after = match watch::describe(member.class) {
        Some(c) if c.after_bind != NONE && c.after_bind != member.class => c.after_bind,
        _ => return 1,
    };
    emit::count_member(hook);
    watch::set_class(member.tgid, after);
    let s = Subject {
        hook,
        kind: Kind::Phase,
        family: Family::Destination,
        class: member.class,
        control: watch::control(member.class),
        verdict: Verdict::Known,
        flags: 0,
    };
    let event = PhaseEvent {
        header: emit::header(&s, 1, size_of::<PhaseEvent>() as u32),
        port: port as u16,
        after,
        zero: 0,
    };
    emit::output(
        hook,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<PhaseEvent>() as u64,
    );
    1
}

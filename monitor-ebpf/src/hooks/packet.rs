//! Packets: datagrams are counted, and names read where they go by. Nothing is ever held back here;
//! what an answer says is known, and its addresses admitted ([`crate::admit`]), before the member has
//! it.

use aya_ebpf::{
    EbpfContext, helpers::bpf_ktime_get_ns, helpers::generated::bpf_get_socket_cookie,
    macros::cgroup_skb, programs::SkBuffContext,
};
use monitor_common::{
    class::ClassId,
    hook::Hook,
    socket::{Owner, state},
};

use crate::{
    dns, emit, flow, hello,
    packet::{self, Packet, TCP, UDP},
    request, socket,
};

/// The port of name servers.
const DNS: u16 = 53;

/// Sees: every packet that leaves a socket of a member.
/// Why here: behind every way to send (system calls, io_uring, splice), before fragmentation, with
/// the socket at hand.
/// Misses: names inside QUIC, DNS over TLS or HTTPS, and questions, hellos or requests to a proxy that
/// are not whole in one segment; packets with IPv6 extension headers.
/// Prototype: `cgroup_skb/egress(struct __sk_buff *)`; 1 lets through.
/// On error: what cannot be read is not told; the packet goes its way.
/// Cost: measured on 6.18 with bpf_stats, of which about 55 ns are its own clock: 125 ns per packet of
/// a non-member (one look-up in the socket's storage); a member's TCP connection the same once its
/// first segment was looked at (of one to a declared proxy every segment is parsed), a datagram 385 ns,
/// a question 1.7 us. Attached only while a workload is configured.
#[cgroup_skb(egress)]
pub fn packet_egress(ctx: SkBuffContext) -> i32 {
    if let Some(owner) = socket::of_packet(ctx.skb.skb) {
        egress(&ctx, owner);
    }
    1
}

#[inline(always)]
fn egress(ctx: &SkBuffContext, owner: &mut Owner) {
    let stays = state::LOOKED_AT | state::FOUND | state::PROXY;
    if owner.protocol != UDP && owner.flags & stays == state::LOOKED_AT {
        return;
    }
    let Some(mut p) = packet::parse(ctx.skb.skb, true) else {
        return;
    };
    emit::count_member(Hook::PacketEgress);
    if p.length == 0 && p.protocol == TCP {
        return;
    }
    let class = socket::class(owner);
    count(owner, class, &p, true);
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if p.port == DNS {
        dns::question(ctx.skb.skb, owner, class, &p, cookie);
    } else if p.protocol == TCP && owner.flags & stays != state::LOOKED_AT {
        let first = owner.flags & state::LOOKED_AT == 0;
        owner.flags |= state::LOOKED_AT;
        if owner.flags & state::FOUND != 0 {
            return;
        }
        // What the member called, whatever the network's translation has made of it since.
        if owner.flags & state::OPEN != 0 {
            // SAFETY: same size, plain bytes.
            p.peer = unsafe { core::mem::transmute::<[u8; 16], [u32; 4]>(owner.peer) };
            p.port = owner.port;
        }
        if first && request::is_declared(class, &p) {
            owner.flags |= state::PROXY;
        }
        hello::read(ctx.skb.skb, owner, class, &p, (cookie, first));
    }
}

/// Sees: every packet that reaches a socket of a member, after reassembly and before the member can
/// read it.
/// Why here: what an answer says is known before anybody can act on it.
/// Misses: as `packet_egress`.
/// Prototype: `cgroup_skb/ingress(struct __sk_buff *)`; 1 lets through.
/// On error: as `packet_egress`.
/// Cost: measured as for `packet_egress`: 88 ns per packet of a non-member; a member's TCP connection
/// the same, a datagram 270 ns, an answer with four addresses 1.9 us.
#[cgroup_skb(ingress)]
pub fn packet_ingress(ctx: SkBuffContext) -> i32 {
    if let Some(owner) = socket::of_packet(ctx.skb.skb) {
        ingress(&ctx, owner);
    }
    1
}

#[inline(always)]
fn ingress(ctx: &SkBuffContext, owner: &mut Owner) {
    if owner.protocol != UDP && owner.port != DNS && owner.flags & state::FOUND == 0 {
        return;
    }
    let Some(p) = packet::parse(ctx.skb.skb, false) else {
        return;
    };
    emit::count_member(Hook::PacketIngress);
    if p.length == 0 && p.protocol == TCP {
        return;
    }
    let class = socket::class(owner);
    count(owner, class, &p, false);
    if p.port == DNS && owner.flags & state::INBOUND == 0 {
        // SAFETY: the helper takes the program's own context.
        let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
        dns::answer(ctx.skb.skb, owner, class, &p, cookie);
    }
}

/// Counts what the protocol does not count itself: datagrams, and connections that were there
/// before. A datagram socket that changes its peer begins a flow.
#[inline(always)]
fn count(owner: &mut Owner, class: ClassId, p: &Packet, out: bool) {
    if p.protocol != UDP && owner.flags & state::FOUND == 0 {
        return;
    }
    let mut flows = 0;
    if p.protocol == TCP && owner.start == 0 {
        // SAFETY: a helper without arguments.
        owner.start = unsafe { bpf_ktime_get_ns() };
        flows = 1;
    }
    if p.protocol == UDP {
        // SAFETY: same size, plain bytes.
        let peer: [u8; 16] = unsafe { core::mem::transmute(p.peer) };
        if owner.start == 0 || owner.port != p.port || owner.peer != peer {
            if owner.start == 0 && !out {
                owner.flags |= state::INBOUND;
            }
            owner.protocol = UDP;
            owner.peer = peer;
            owner.port = p.port;
            owner.local_port = p.local_port;
            // SAFETY: a helper without arguments.
            owner.start = unsafe { bpf_ktime_get_ns() };
            flows = 1;
        }
    }
    let bytes = p.length as u64;
    let (sent, received) = if out { (bytes, 0) } else { (0, bytes) };
    if let Some(sum) = flow::count(owner, class, (flows, sent, received)) {
        // The daemon tells: a datagram does not say that it is the last one.
        sum.told = 1;
    }
}

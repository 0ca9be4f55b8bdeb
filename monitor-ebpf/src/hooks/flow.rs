//! Flow family: when TCP connections of members begin and end, and what they carried.

use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_TCP_CLOSE, bpf_sock_ops,
    },
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock, bpf_sock_ops_cb_flags_set},
    },
    macros::sock_ops,
    programs::SockOpsContext,
};
use monitor_common::{
    hook::Hook,
    socket::{Owner, state},
};

use crate::{
    emit, flow,
    maps::SOCKETS,
    offsets::{OFFSETS, read},
    packet::TCP,
    socket,
};

const AF_INET: u32 = 2;
/// Bit of `enum sock_flags`: the peer has ended, and its end mark was counted as a byte.
const SOCK_DONE: u64 = 1 << 1;

/// Sees: TCP connections of members being established, by either side, and their end, with the
/// bytes that the protocol itself counted: no packet is looked at for this.
/// Why here: the state callbacks are asked for per socket, so that only members' sockets have them.
/// Misses: connections that were there before, which are counted by packets; MPTCP is told by its
/// subflows, as far as `connect4` and `connect6` noted them.
/// Prototype: `sock_ops(struct bpf_sock_ops *)`; the return value only counts where a reply is set.
/// On error: the counters cannot be read: the flow is told without bytes, counted as an error.
/// Cost: 72 ns (55 of them the measurement's) at each of the nine calls that a connection of a
/// non-member makes; none per packet.
#[sock_ops]
pub fn flow_state(ctx: SockOpsContext) -> u32 {
    let ops = ctx.ops;
    let op = ctx.op();
    let established =
        op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB || op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB;
    if !established && op != BPF_SOCK_OPS_STATE_CB {
        return 1;
    }
    // SAFETY: a field of the context.
    let sk = unsafe { (*ops).__bindgen_anon_2.sk };
    if sk.is_null() {
        return 1;
    }
    // SAFETY: not null.
    let owner: *mut Owner = unsafe { SOCKETS.of(sk.cast(), false) };
    if owner.is_null() {
        return 1;
    }
    // SAFETY: a value of the map.
    let owner = unsafe { &mut *owner };
    if established {
        begin(ops, owner, op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB);
        return 1;
    }
    if ctx.arg(1) != BPF_TCP_CLOSE || owner.flags & state::OPEN == 0 {
        return 1;
    }
    owner.flags &= !state::OPEN;
    emit::count_member(Hook::FlowState);
    let class = socket::class(owner);
    let (sent, received) = match carried(sk.cast()) {
        Some(bytes) => bytes,
        None => {
            emit::count_error(Hook::FlowState, line!());
            (0, 0)
        }
    };
    flow::count_closed(class);
    // SAFETY: the helper takes the program's own context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if let Some(sum) = flow::count(owner, class, (1, sent, received)) {
        flow::tell(Hook::FlowState, owner, class, sum, cookie);
    }
    1
}

#[inline(always)]
fn begin(ops: *mut bpf_sock_ops, owner: &mut Owner, inbound: bool) {
    emit::count_member(Hook::FlowState);
    // SAFETY: fields of the context, each read in its own width and whatever the family, because
    // LLVM would otherwise merge the loads into one at a computed offset.
    let (family, v4, v6, remote, local, flags) = unsafe {
        (
            (&raw const (*ops).family).read_volatile(),
            (&raw const (*ops).remote_ip4).read_volatile(),
            [
                (&raw const (*ops).remote_ip6[0]).read_volatile(),
                (&raw const (*ops).remote_ip6[1]).read_volatile(),
                (&raw const (*ops).remote_ip6[2]).read_volatile(),
                (&raw const (*ops).remote_ip6[3]).read_volatile(),
            ],
            (&raw const (*ops).remote_port).read_volatile(),
            (&raw const (*ops).local_port).read_volatile(),
            (&raw const (*ops).bpf_sock_ops_cb_flags).read_volatile(),
        )
    };
    let words = if family == AF_INET {
        [0, 0, 0xffff_u32.to_be(), v4]
    } else {
        v6
    };
    // SAFETY: same size, plain bytes.
    owner.peer = unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) };
    owner.port = u32::from_be(remote) as u16;
    owner.local_port = local as u16;
    owner.protocol = TCP;
    // What an accepted socket inherited was its listener's.
    owner.flags = state::OPEN;
    if inbound {
        owner.flags |= state::INBOUND | state::LOOKED_AT;
    }
    // SAFETY: a helper without arguments, and one that takes the program's own context.
    unsafe {
        owner.start = bpf_ktime_get_ns();
        bpf_sock_ops_cb_flags_set(ops, (flags | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
    }
    let class = socket::class(owner);
    flow::count_opened(class);
}

/// Payload bytes sent and received.
#[inline(always)]
fn carried(sk: *mut core::ffi::c_void) -> Option<(u64, u64)> {
    let o = OFFSETS.load();
    // SAFETY: the helper takes the context's socket, which is not null.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk) };
    if tcp.is_null() {
        return None;
    }
    let tcp = tcp as u64;
    let sent = read::<u64>(tcp, o.tcp_bytes_sent)?;
    let again = read::<u64>(tcp, o.tcp_bytes_retrans)?;
    let received = read::<u64>(tcp, o.tcp_bytes_received)?;
    let ended = read::<u64>(tcp, o.sk_flags)? & SOCK_DONE != 0;
    Some((
        sent.saturating_sub(again),
        received.saturating_sub(ended as u64),
    ))
}

//! Sockets of members: whose they are, and what an event about one says of its owner.
//!
//! Packets are handled in whatever context the kernel is in: nothing here asks for the current
//! process except where a process makes or takes a socket.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task,
        bpf_get_current_uid_gid, bpf_ktime_get_ns,
        generated::{bpf_get_current_cgroup_id, bpf_sk_fullsock},
    },
    programs::SockAddrContext,
};
use monitor_common::{
    class::{ClassId, Family, NONE},
    event::{Header, Kind, Verdict},
    hook::Hook,
    socket::Owner,
};

use crate::{emit, maps::SOCKETS, watch};

/// Makes the current process, which is a member, the owner of a socket that has none.
#[inline(always)]
pub fn take(socket: *mut c_void, protocol: u32) {
    if socket.is_null() {
        return;
    }
    // SAFETY: not null; the callers pass their program's own socket.
    let owner = unsafe { SOCKETS.of(socket, true) };
    if owner.is_null() {
        return;
    }
    // SAFETY: a value of the map.
    let owner = unsafe { &mut *owner };
    if owner.tgid != 0 {
        return;
    }
    let tgid = watch::current_tgid();
    // SAFETY: helpers without arguments.
    unsafe {
        owner.start_time = emit::start_time(bpf_get_current_task());
        owner.cgroup = bpf_get_current_cgroup_id();
    }
    owner.uid = bpf_get_current_uid_gid() as u32;
    owner.class = watch::class_of(tgid);
    owner.protocol = protocol;
    owner.comm = bpf_get_current_comm().unwrap_or([0; 16]);
    owner.tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
}

/// The socket of a cgroup address hook.
#[inline(always)]
pub fn of_address(ctx: &SockAddrContext) -> *mut c_void {
    // SAFETY: a field of the context.
    unsafe { (*ctx.sock_addr).__bindgen_anon_1.sk.cast() }
}

/// The owner of the socket that a packet leaves or reaches, if it is a member's.
#[inline(always)]
pub fn of_packet(skb: *mut __sk_buff) -> Option<&'static mut Owner> {
    // SAFETY: a field of the context; the helper takes a socket or null is handled before.
    unsafe {
        let socket = (*skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return None;
        }
        let socket = bpf_sk_fullsock(socket);
        if socket.is_null() {
            return None;
        }
        SOCKETS.of(socket.cast(), false).as_mut()
    }
}

/// Class of the owner: that of the living process, or the last one that it was seen in. A process
/// id that was used again does not lead to another workload.
#[inline(always)]
pub fn class(owner: &mut Owner) -> ClassId {
    let stored = owner.class;
    let now = watch::class_of(owner.tgid);
    if now == stored || now == NONE {
        return stored;
    }
    match (watch::describe(now), watch::describe(stored)) {
        (Some(a), Some(b)) if a.workload == b.workload => {
            owner.class = now;
            now
        }
        _ => stored,
    }
}

/// Header of an event about a socket: who made it, in what class that is now.
#[inline(always)]
pub fn fill(
    header: &mut Header,
    owner: &Owner,
    class: ClassId,
    (hook, kind, family): (Hook, Kind, Family),
    verdict: Verdict,
    (count, length): (u64, u32),
) {
    let control = watch::control(class);
    // SAFETY: a helper without arguments.
    header.time = unsafe { bpf_ktime_get_ns() };
    header.start_time = owner.start_time;
    header.cgroup = owner.cgroup;
    header.count = count;
    header.tgid = owner.tgid;
    header.pid = owner.tgid;
    header.uid = owner.uid;
    header.policy = control.policy();
    header.length = length;
    header.class = class;
    header.kind = kind as u8;
    header.hook = hook as u8;
    header.verdict = verdict as u8;
    header.flags = 0;
    header.family = family as u8;
    header.mode = control.mode_bits(family);
    header.zero = 0;
    header.comm = owner.comm;
}

//! Flows: sums per class and peer, and when they are told. Shared by the hooks that see bytes.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use monitor_common::{
    class::{ClassId, Family},
    event::{
        Header, Kind, Verdict,
        flow::{FlowEvent, direction},
    },
    hook::Hook,
    limits::FLOW_QUIET_NS,
    socket::{FlowKey, FlowSum, Owner, Traffic, state},
};

use crate::{
    emit::{self, add},
    maps::{FLOWS, TRAFFIC},
    socket,
};

const V4_MAPPED: [u8; 12] = monitor_common::endpoint::V4_PREFIX;

/// Key of the owner's flow.
#[inline(always)]
fn key(owner: &Owner, class: ClassId) -> FlowKey {
    let inbound = owner.flags & state::INBOUND != 0;
    FlowKey {
        address: owner.peer,
        class,
        port: if inbound {
            owner.local_port
        } else {
            owner.port
        },
        protocol: owner.protocol as u8,
        direction: if inbound {
            direction::IN
        } else {
            direction::OUT
        },
        zero: 0,
    }
}

#[inline(always)]
fn of_class(class: ClassId) -> Option<*mut Traffic> {
    TRAFFIC.get_ptr_mut(class as u32)
}

/// Counts a connection that was established.
#[inline(always)]
pub fn count_opened(class: ClassId) {
    if let Some(t) = of_class(class) {
        // SAFETY: a field of a map value.
        add(unsafe { &raw mut (*t).opened }, 1);
    }
}

/// Counts a connection that ended.
#[inline(always)]
pub fn count_closed(class: ClassId) {
    if let Some(t) = of_class(class) {
        // SAFETY: a field of a map value.
        add(unsafe { &raw mut (*t).closed }, 1);
    }
}

/// Counts a DNS answer that was not believed.
#[inline(always)]
pub fn count_disbelieved(class: ClassId) {
    if let Some(t) = of_class(class) {
        // SAFETY: a field of a map value.
        add(unsafe { &raw mut (*t).disbelieved }, 1);
    }
}

/// Adds flows, bytes sent and bytes received to the sums of the owner's peer and class.
#[inline(always)]
pub fn count(owner: &Owner, class: ClassId, (flows, sent, received): (u64, u64, u64)) {
    if let Some(t) = of_class(class) {
        // SAFETY: fields of a map value.
        unsafe {
            add(&raw mut (*t).sent, sent);
            add(&raw mut (*t).received, received);
        }
    }
    let key = key(owner, class);
    if FLOWS.get_ptr_mut(&key).is_none() {
        // Whoever comes second finds the other's entry; a failure only loses the detail.
        const ONLY_NEW: u64 = 1;
        let _ = FLOWS.insert(&key, FlowSum::default(), ONLY_NEW);
    }
    if let Some(sum) = FLOWS.get_ptr_mut(&key) {
        // SAFETY: fields of a map value.
        unsafe {
            add(&raw mut (*sum).flows, flows);
            add(&raw mut (*sum).sent, sent);
            add(&raw mut (*sum).received, received);
        }
    }
}

/// Tells what flows with the owner's peer have carried since that was last told, unless that was a
/// moment ago: then it is told with the next one, or by the daemon, which looks at the sums now and
/// then. Two flows that end in the same instant on two processors can both be told; the sums of the
/// class are exact.
#[inline(always)]
pub fn tell(hook: Hook, owner: &Owner, class: ClassId, cookie: u64) {
    let Some(sum) = FLOWS.get_ptr_mut(key(owner, class)) else {
        return;
    };
    // SAFETY: a value of the map.
    let sum = unsafe { &mut *sum };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    if sum.told_at != 0 && now.wrapping_sub(sum.told_at) < FLOW_QUIET_NS {
        return;
    }
    let (flows, sent, received) = (sum.flows, sum.sent, sum.received);
    let mut event = FlowEvent {
        header: Header::default(),
        address: owner.peer,
        cookie,
        sent: sent.wrapping_sub(sum.told_sent),
        received: received.wrapping_sub(sum.told_received),
        start: owner.start,
        port: owner.port,
        local_port: owner.local_port,
        protocol: owner.protocol as u8,
        ip: if owner.peer[..12] == V4_MAPPED { 4 } else { 6 },
        direction: key(owner, class).direction,
        zero: 0,
    };
    let news = flows.wrapping_sub(sum.told_flows);
    socket::fill(
        &mut event.header,
        owner,
        class,
        (hook, Kind::Flow, Family::Destination),
        Verdict::Known,
        (
            if news == 0 { 1 } else { news },
            size_of::<FlowEvent>() as u32,
        ),
    );
    let told = emit::output(
        hook,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<FlowEvent>() as u64,
    );
    if told {
        sum.told_flows = flows;
        sum.told_sent = sent;
        sum.told_received = received;
        sum.told_at = now;
    }
}

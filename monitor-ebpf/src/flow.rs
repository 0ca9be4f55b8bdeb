//! Flows: sums per class and peer, and when they are told. Shared by the hooks that see bytes.

use monitor_common::{
    class::{ClassId, Family},
    event::{
        Header, Kind, Verdict,
        flow::{FlowEvent, direction},
    },
    hook::Hook,
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
pub fn count(
    owner: &Owner,
    class: ClassId,
    (flows, sent, received): (u64, u64, u64),
) -> Option<&'static mut FlowSum> {
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
    let sum = FLOWS.get_ptr_mut(&key)?;
    // SAFETY: a value of the map.
    unsafe {
        add(&raw mut (*sum).flows, flows);
        add(&raw mut (*sum).sent, sent);
        add(&raw mut (*sum).received, received);
        (*sum).start = owner.start;
        (*sum).start_time = owner.start_time;
        (*sum).tgid = owner.tgid;
        (*sum).port = owner.port;
        (*sum).local_port = owner.local_port;
        Some(&mut *sum)
    }
}

/// Tells what the first connection with a peer has carried. From then on the daemon tells: it looks
/// at the sums every few seconds.
#[inline(always)]
pub fn tell(hook: Hook, owner: &Owner, class: ClassId, sum: &mut FlowSum, cookie: u64) {
    if sum.told != 0 {
        return;
    }
    let mut event = FlowEvent {
        header: Header::default(),
        address: owner.peer,
        cookie,
        sent: sum.sent,
        received: sum.received,
        start: owner.start,
        port: owner.port,
        local_port: owner.local_port,
        protocol: owner.protocol as u8,
        ip: if owner.peer[..12] == V4_MAPPED { 4 } else { 6 },
        direction: key(owner, class).direction,
        zero: 0,
    };
    let flows = sum.flows;
    socket::fill(
        &mut event.header,
        owner,
        class,
        (hook, Kind::Flow, Family::Destination),
        Verdict::Known,
        (flows, size_of::<FlowEvent>() as u32),
    );
    let told = emit::output(
        hook,
        Verdict::Known,
        (&raw const event).cast(),
        size_of::<FlowEvent>() as u64,
    );
    // What found no room is the daemon's to tell, too.
    if told {
        sum.told_flows = flows;
        sum.told_sent = event.sent;
        sum.told_received = event.received;
    }
    sum.told = 1;
}

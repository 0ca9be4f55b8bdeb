//! Hosts: addresses that are allowed because a name server gave them to the workload for a name that
//! its policy allows.
//!
//! What an answer says is bound before the member can read it, so that there is no moment in which it
//! knows an address that is refused. An address stays bound to the rules that admitted it; whether
//! one of these is in the policy is asked anew at every use, so that a rule that is gone takes its
//! addresses along.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_loop};
use aya_ebpf::maps::lpm_trie::Key;
use monitor_common::{
    class::ClassId,
    endpoint::{DestinationKey, KEY_BITS, Scope},
    event::name::Answered,
    limits::{ANSWER_GRACE, ANSWER_LIFETIME, EVENT_ADDRESSES, SECOND_NS},
    name::{ANY_USE, Admitted, AdmittedKey, BINDINGS, HostKey, Reach, host_rule, reach},
    path::{POLICY_HOSTS, POLICY_HOSTS_BELOW},
};

use crate::{
    bench::{self, Context},
    bounds::below_16,
    endpoint::Endpoint,
    maps::{ADMITTED, CLASSES, DESTINATIONS, HOSTS, POLICIES},
    packet::Packet,
    watch,
};

/// Where the question's name begins.
const QUESTION: u32 = 12;

#[inline(always)]
fn has(policy: u32, scope: u8, protocol: u8, port: u16, rule: u64) -> bool {
    let key = HostKey {
        policy,
        scope,
        protocol,
        port,
        rule,
    };
    // SAFETY: the value is not read.
    unsafe { HOSTS.get(key) }.is_some()
}

/// Binds the addresses of an answer that was believed, and that stands in the bench, to the rules of
/// the asker's policy that the name comes under. Only what a resolver says counts that the policy
/// allows by its own port.
#[inline(always)]
pub fn answered(context: *mut Context, class: ClassId, p: &Packet) {
    let policy = watch::control(class).policy();
    let Some(flags) = POLICIES.get(policy).map(|root| root.flags) else {
        return;
    };
    if flags & POLICY_HOSTS == 0 || !is_resolver(policy, p) {
        return;
    }
    let Some(workload) = CLASSES.get(class as u32).map(|class| class.workload) else {
        return;
    };
    let b = bench::of(context);
    b.key.workload = workload as u64;
    let name = b.event.query.hash;
    b.rules[0] = rule_of(policy, name, false, false);
    b.rules[1] = rule_of(policy, name, false, true);
    b.rules[2] = 0;
    b.rules[3] = 0;
    if flags & POLICY_HOSTS_BELOW != 0 {
        let first = b.byte(QUESTION);
        // Behind the first label; there is none behind a name of one label.
        if bench::read_name(context, QUESTION + 1 + (first & 0x3f), false, false) {
            let b = bench::of(context);
            b.rules[2] = rule_of(policy, b.hash, true, false);
            b.rules[3] = rule_of(policy, b.hash, true, true);
        }
    }
    let b = bench::of(context);
    if b.rules[0] | b.rules[1] | b.rules[2] | b.rules[3] == 0 {
        return;
    }
    let count = b.event.count as u32;
    // SAFETY: callback and context outlive the call.
    unsafe { bpf_loop(count, address_callback as *mut c_void, context.cast(), 0) };
}

/// Whether the policy allows the name server by its own port: not by a rule about every port of a
/// network, where anybody may answer.
#[inline(always)]
fn is_resolver(policy: u32, p: &Packet) -> bool {
    // SAFETY: same size, plain bytes.
    let address: [u8; 16] = unsafe { core::mem::transmute(p.peer) };
    let key = DestinationKey::new(policy, Scope::Port, p.protocol as u8, p.port, address);
    DESTINATIONS.get(Key::new(KEY_BITS + 128, key)).is_some()
}

/// The number of a rule, if the policy has it.
#[inline(always)]
fn rule_of(policy: u32, name: u64, below: bool, private: bool) -> u64 {
    let rule = host_rule(name, below, private);
    if has(policy, ANY_USE, 0, 0, rule) {
        rule
    } else {
        0
    }
}

/// One address of an answer.
unsafe extern "C" fn address_callback(index: u32, context: *mut c_void) -> i64 {
    const _: () = assert!(EVENT_ADDRESSES == 16);
    let b = bench::of(context.cast());
    let from: *const Answered = b.event.addresses.as_ptr();
    // SAFETY: inside the array.
    let answered = unsafe { &*from.add(below_16(index as u64) as usize) };
    let (exact, below) = match reach(&answered.address) {
        Reach::Public => (b.rules[0], b.rules[2]),
        Reach::Private => (b.rules[1], b.rules[3]),
        Reach::Never => return 0,
    };
    let (least, most) = ANSWER_LIFETIME;
    let mut seconds = answered.ttl;
    if seconds < least {
        seconds = least;
    }
    if seconds > most {
        seconds = most;
    }
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let expires = now + (seconds + ANSWER_GRACE) as u64 * SECOND_NS;
    b.key.address = answered.address;
    if exact != 0 {
        bind(&b.key, &b.unbound, exact, expires);
    }
    if below != 0 {
        bind(&b.key, &b.unbound, below, expires);
    }
    0
}

/// Puts a rule among those of an address, in place of itself, or of the one that ends first.
#[inline(always)]
fn bind(key: &AdmittedKey, unbound: &Admitted, rule: u64, expires: u64) {
    const ONLY_NEW: u64 = 1;
    if ADMITTED.get_ptr_mut(key).is_none() {
        // Whoever is first makes it; both find it.
        let _ = ADMITTED.insert(key, unbound, ONLY_NEW);
    }
    let Some(admitted) = ADMITTED.get_ptr_mut(key) else {
        return;
    };
    // SAFETY: a value of the map; places are inside the array.
    unsafe {
        let places = (&raw mut (*admitted).bindings).cast::<monitor_common::name::Binding>();
        let mut at = places;
        let mut ends = u64::MAX;
        let mut own = false;
        for n in 0..BINDINGS {
            let place = places.add(n);
            let (its, until) = (
                (&raw const (*place).rule).read_volatile(),
                (&raw const (*place).expires).read_volatile(),
            );
            if its == rule {
                at = place;
                ends = until;
                own = true;
            } else if !own && until < ends {
                at = place;
                ends = until;
            }
        }
        if own && ends >= expires {
            return;
        }
        if !own {
            // Nobody may take the new rule together with the old end.
            (&raw mut (*at).expires).write_volatile(0);
            (&raw mut (*at).rule).write_volatile(rule);
        }
        (&raw mut (*at).expires).write_volatile(expires);
    }
}

/// Whether an address is admitted to a class under a policy, for a port and a protocol.
#[inline(always)]
pub fn admits(class: ClassId, policy: u32, e: &Endpoint) -> bool {
    match POLICIES.get(policy) {
        Some(root) if root.flags & POLICY_HOSTS != 0 => {}
        _ => return false,
    }
    let Some(workload) = CLASSES.get(class as u32).map(|class| class.workload) else {
        return false;
    };
    let key = AdmittedKey {
        workload: workload as u64,
        address: e.address(),
    };
    let Some(admitted) = ADMITTED.get_ptr(&key) else {
        return false;
    };
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    for n in 0..BINDINGS {
        // SAFETY: a value of the map, inside the array.
        let (expires, rule) = unsafe {
            let place = &raw const (*admitted).bindings[n];
            (
                (&raw const (*place).expires).read_volatile(),
                (&raw const (*place).rule).read_volatile(),
            )
        };
        if rule != 0
            && expires > now
            && (has(policy, Scope::Port as u8, e.protocol, e.port, rule)
                || has(policy, Scope::Protocol as u8, e.protocol, 0, rule)
                || has(policy, Scope::Any as u8, 0, 0, rule))
        {
            return true;
        }
    }
    false
}

//! Facilities: whether a member may use a part of the kernel that has to be allowed by name, and
//! the report of it. Which operation that is, and what can be done about it, the hooks know.

use monitor_common::{
    class::Family,
    event::{Kind, Verdict, facility::FacilityEvent, flag},
    facility::{Facility, INVARIANT_FACILITIES},
    hash::chain,
    hook::Hook,
};

use crate::{
    emit::{self, Subject},
    hooks::alone,
    maps::POLICIES,
    verdict::{self, Means, judge},
    watch::{self, Member},
};

/// Judges the use of a facility and reports it. What is detail: see [`FacilityEvent::detail`].
#[inline(always)]
pub fn used(
    member: Member,
    facility: Facility,
    detail: [u32; 2],
    hook: Hook,
    means: Means,
) -> Verdict {
    let deny = matches!(means, Means::Deny) as u64;
    let what = facility as u64 | (hook as u64) << 8 | deny << 16;
    match judged(member.packed(), what, detail[0], detail[1]) {
        BLOCKED => Verdict::Blocked,
        KILLED => Verdict::Killed,
        _ => Verdict::Known,
    }
}

const BLOCKED: u64 = Verdict::Blocked as u64;
const KILLED: u64 = Verdict::Killed as u64;

/// A function of its own, with numbers for arguments: the program at the end of system calls needs
/// it in a dozen places, and the verifier would follow each copy.
#[inline(never)]
fn judged(who: u64, what: u64, detail0: u32, detail1: u32) -> u64 {
    let member = Member::unpacked(who);
    let facility = what as u8;
    let bit = 1u64 << (facility & 63);
    // SAFETY: the number of a hook, packed above.
    let hook: Hook = unsafe { core::mem::transmute((what >> 8) as u8) };
    let means = if what >> 16 != 0 {
        Means::Deny
    } else {
        Means::Kill
    };
    let control = watch::control(member.class);
    let (allowed, denied) = match POLICIES.get(control.policy()) {
        Some(policy) => (policy.facilities, policy.denied_facilities),
        None => {
            emit::count_error(hook, line!());
            (0, 0)
        }
    };
    let forbidden = (denied | INVARIANT_FACILITIES) & bit != 0;
    let allowed = allowed & bit != 0;
    let verdict = judge(control, Family::Facility, allowed, forbidden, means);
    emit::count_verdict(hook, verdict);
    let mut flags = if forbidden { flag::INVARIANT } else { 0 };
    if matches!(verdict, Verdict::Killed) && alone() {
        flags |= flag::SINGLE_THREAD;
    }
    let s = Subject {
        hook,
        kind: Kind::Facility,
        family: Family::Facility,
        class: member.class,
        control,
        verdict,
        flags,
    };
    let hash = chain(facility as u64 + 1, detail0 as u64);
    let key = emit::seen_key(&s, member.tgid, 0, hash);
    if let Some(count) = emit::note(&key, verdict.is_adverse()) {
        let event = FacilityEvent {
            header: emit::header(&s, count, size_of::<FacilityEvent>() as u32),
            facility: facility as u32,
            detail: [detail0, detail1, 0],
        };
        let length = size_of::<FacilityEvent>() as u64;
        if !emit::output(hook, verdict, (&raw const event).cast(), length) {
            emit::forget(&key);
        }
    }
    verdict as u64
}

/// The same where the tier can only kill.
#[inline(always)]
pub fn used_or_killed(member: Member, facility: Facility, detail: [u32; 2], hook: Hook) {
    let verdict = used(member, facility, detail, hook, Means::Kill);
    if matches!(verdict, Verdict::Killed) && !verdict::kill() {
        emit::count_error(hook, line!());
    }
}

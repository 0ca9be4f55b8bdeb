//! Events from the kernel, of every kind: decoded, decided, learned, told, and made a policy of.
//!
//! No bytes may make any of these panic; what is shown is harmless text; an alert comes back from
//! its line; and what was learned can be written as a policy, because otherwise one odd name would
//! keep a workload from being protected.

#![no_main]

use monitor_common::{event::Header, hash::HashKey};
use slmguard_core::{
    alert::{Alert, AlertContext, ProcessInfo},
    baseline::Baseline,
    config::Rules,
    decide::{
        CompileError, decide,
        policy::{PolicyInputs, PolicyLimits, compile_policy},
    },
    decode::{ClockOffset, decode},
    observation::Observation,
};
use slmguard_fuzz::{Classes, is_harmless};

/// Where the header says how long the event is.
const LENGTH: std::ops::Range<usize> = 48..52;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut baseline = Baseline::default();
    take(data, &mut baseline);
    // The same with the right length, so that the search gets behind that check.
    if data.len() >= size_of::<Header>() {
        let mut whole = data.to_vec();
        whole[LENGTH].copy_from_slice(&(data.len() as u32).to_le_bytes());
        take(&whole, &mut baseline);
    }
});

fn take(bytes: &[u8], baseline: &mut Baseline) {
    let clock = ClockOffset {
        monotonic_to_wall_ns: 1_700_000_000_000_000_000,
    };
    let observation = match decode(bytes, &Classes, clock) {
        Ok(observation) => observation,
        Err(error) => return is_harmless(&error.to_string()),
    };
    is_harmless(&observation.comm);
    is_harmless(&observation.subject());
    // Once as news, once as known.
    tell(&observation, baseline);
    let learned = baseline.absorb(&observation);
    tell(&observation, baseline);
    let rows: Vec<_> = baseline.rows().collect();
    rows.iter().for_each(|row| is_harmless(&row.subject));
    assert_eq!(Baseline::from_rows(rows).as_ref(), Ok(&*baseline));
    // A policy holds the invariants too, which makes it slow: one in so many is enough here.
    let sample = bytes
        .iter()
        .fold(0_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(*byte));
    if !learned || sample % 64 != 0 {
        return;
    }
    let compiled = compile_policy(&PolicyInputs {
        policy: 1,
        key: HashKey { k0: 1, k1: 2 },
        first_state: 1,
        baseline,
        scope: &observation.scope,
        allow: &Rules::default(),
        deny: &Rules::default(),
        limits: PolicyLimits::default(),
    });
    match compiled {
        Ok(_) | Err(CompileError::HashCollision { .. }) => {}
        Err(error) => panic!("learned, but no policy: {error}"),
    }
}

fn tell(observation: &Observation, baseline: &Baseline) {
    let decision = decide(observation.clone(), baseline);
    decision.reasons.iter().for_each(|text| is_harmless(text));
    decision.nearest.iter().for_each(|text| is_harmless(text));
    let context = AlertContext {
        id: "1".into(),
        host: "fuzz".into(),
        tier: "lsm".into(),
        process: ProcessInfo::default(),
        policy_version: 1,
    };
    let alert = Alert::from_decision(&decision, context);
    let line = alert.to_json_line();
    is_harmless(&line);
    assert_eq!(Alert::from_json_line(&line).ok(), Some(alert));
}

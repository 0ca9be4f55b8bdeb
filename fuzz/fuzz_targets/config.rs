//! Configurations: parsed and checked. One without a mistake can be made a policy of, and what is
//! said about mistakes is harmless text.

#![no_main]

use monitor_common::hash::HashKey;
use slmguard_core::{
    baseline::Baseline,
    config::{Config, validate},
    decide::policy::{PolicyInputs, PolicyLimits, compile_policy},
};
use slmguard_fuzz::scope;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(config) = toml::from_str::<Config>(text) else {
        return;
    };
    if !validate(&config).is_empty() {
        return;
    }
    for workload in &config.workloads {
        // Too many of anything is found here and nowhere before; what is written wrongly is not.
        let compiled = compile_policy(&PolicyInputs {
            policy: 1,
            key: HashKey { k0: 1, k1: 2 },
            first_state: 1,
            baseline: &Baseline::default(),
            scope: &scope(),
            allow: &workload.allow,
            deny: &workload.deny,
            limits: PolicyLimits::default(),
        });
        use slmguard_core::decide::CompileError as E;
        if let Err(
            error @ (E::Path { .. } | E::Destination { .. } | E::Unix(_) | E::Facility { .. }),
        ) = compiled
        {
            panic!("{error} in a configuration without mistakes");
        }
    }
});

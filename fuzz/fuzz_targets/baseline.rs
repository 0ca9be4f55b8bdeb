//! Baselines as rows of JSON, from a store or a file: read, written, searched, made a policy of.

#![no_main]

use monitor_common::{class::Family, hash::HashKey};
use slmguard_core::{
    baseline::{Baseline, Row},
    config::Rules,
    decide::policy::{PolicyInputs, PolicyLimits, compile_policy},
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let rows: Vec<Row> = data
        .split(|b| *b == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let baseline = match Baseline::from_rows(rows) {
        Ok(baseline) => baseline,
        Err(error) => return drop(error.to_string()),
    };
    let again = Baseline::from_rows(baseline.rows());
    assert_eq!(again.as_ref(), Ok(&baseline));
    for scope in baseline.scopes() {
        for (family, subject, _) in baseline.entries(scope) {
            let near = baseline.nearest(scope, family, subject);
            assert!(near.len() <= 3);
        }
        let _ = baseline.nearest(scope, Family::Read, "/a/b");
        let _ = compile_policy(&PolicyInputs {
            policy: 1,
            key: HashKey { k0: 1, k1: 2 },
            first_state: 1,
            baseline: &baseline,
            scope,
            allow: &Rules::default(),
            deny: &Rules::default(),
            limits: PolicyLimits::default(),
        });
    }
});

//! The circuit breaker: how many processes may be killed before a person must look.
//!
//! One in 5 minutes per workload, five in a minute per host. A detector that goes wrong goes wrong
//! often: this bounds what it can break. Blocking goes on; only killing stops.

use std::collections::{BTreeMap, VecDeque};

/// Nanoseconds within which a workload may lose [`PER_WORKLOAD`] processes.
pub const WORKLOAD_SPAN: u64 = 300 * 1_000_000_000;
/// Kills per workload and span.
pub const PER_WORKLOAD: usize = 1;
/// Nanoseconds within which a host may lose [`PER_HOST`] processes.
pub const HOST_SPAN: u64 = 60 * 1_000_000_000;
/// Kills per host and span.
pub const PER_HOST: usize = 5;

/// Kills so far.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    host: VecDeque<u64>,
    workloads: BTreeMap<String, VecDeque<u64>>,
}

/// Why a kill is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The workload's share is used up.
    #[error(
        "One process of this workload was killed in the last 5 minutes already: this one is blocked, and somebody should look."
    )]
    Workload,
    /// The host's share is used up.
    #[error(
        "Five processes of this host were killed in the last minute already: this one is blocked, and somebody should look."
    )]
    Host,
}

impl Breaker {
    /// Whether a process of a workload may be killed now; if so, it is counted. `now` in nanoseconds
    /// since the epoch; a clock that goes back makes it stricter, never laxer.
    pub fn admit(&mut self, workload: &str, now: u64) -> Result<(), Full> {
        forget(&mut self.host, now, HOST_SPAN);
        self.workloads.retain(|_, kills| {
            forget(kills, now, WORKLOAD_SPAN);
            !kills.is_empty()
        });
        if self
            .workloads
            .get(workload)
            .is_some_and(|kills| kills.len() >= PER_WORKLOAD)
        {
            return Err(Full::Workload);
        }
        if self.host.len() >= PER_HOST {
            return Err(Full::Host);
        }
        self.host.push_back(now);
        self.workloads
            .entry(workload.to_owned())
            .or_default()
            .push_back(now);
        Ok(())
    }
}

fn forget(kills: &mut VecDeque<u64>, now: u64, span: u64) {
    kills.retain(|kill| kill.saturating_add(span) > now);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_host_has_a_bound_of_its_own() {
        let mut breaker = Breaker::default();
        for i in 0..5 {
            assert_eq!(breaker.admit(&format!("w{i}"), 0), Ok(()));
        }
        assert_eq!(breaker.admit("w0", 1), Err(Full::Workload));
        assert_eq!(breaker.admit("w6", 1), Err(Full::Host));
        assert_eq!(breaker.admit("w6", HOST_SPAN), Ok(()));
    }

    proptest! {
        #[test]
        fn no_stream_of_kills_gets_past_the_bounds(
            mut calls in prop::collection::vec((0..4u8, 0..600u64), 0..200),
        ) {
            calls.sort_by_key(|(_, second)| *second);
            let mut breaker = Breaker::default();
            let mut kills: Vec<(u8, u64)> = vec![];
            for (workload, second) in calls {
                let now = second * 1_000_000_000;
                if breaker.admit(&workload.to_string(), now).is_ok() {
                    kills.push((workload, now));
                }
            }
            for (workload, now) in &kills {
                let since = |span: u64| kills.iter().filter(move |(_, t)| t <= now && t + span > *now);
                prop_assert!(since(HOST_SPAN).count() <= PER_HOST);
                let own = since(WORKLOAD_SPAN).filter(|(w, _)| w == workload);
                prop_assert!(own.count() <= PER_WORKLOAD);
            }
        }
    }
}

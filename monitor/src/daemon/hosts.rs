//! Destinations by name: learned beside their addresses, so that the kernel admits whatever other
//! addresses name servers give for the same name.

use monitor_common::class::Family;
use slmguard_core::{
    baseline::{
        Entry,
        destinations::{binding::bind, host},
        evidence::Noted,
    },
    observation::{Fact, Observation},
};

use super::state::State;

impl State {
    /// Learns or counts the name that the address of a call went by. `is_new` says that the call is
    /// being learned.
    pub(super) fn absorb_host(&mut self, seen: &Observation, is_new: bool) {
        let (Fact::Connect(endpoint) | Fact::Send(endpoint)) = &seen.fact else {
            return;
        };
        let (scope, family) = (&seen.scope, Family::Destination);
        let name = bind(
            &self.names,
            &scope.workload,
            endpoint.address,
            None,
            seen.time,
        );
        let Some(rule) = name.and_then(|bound| host::learned_as(bound.name, endpoint)) else {
            return;
        };
        if self
            .baseline
            .count(scope, family, &rule, (seen.count, seen.time))
        {
            self.touch(scope, family, &rule);
            return;
        }
        if !is_new
            || self
                .rejected
                .contains(&(scope.clone(), family, rule.clone()))
        {
            return;
        }
        // It says nothing about what is still to be seen: the address was weighed.
        if self.evidence.settle(scope, family, &rule) == Noted::Full {
            return;
        }
        let entry = Entry {
            count: seen.count,
            first_seen: seen.time,
            last_seen: seen.time,
        };
        if self.baseline.insert(scope, family, &rule, entry) {
            self.still_behind(scope);
            self.touch(scope, family, &rule);
        }
    }
}

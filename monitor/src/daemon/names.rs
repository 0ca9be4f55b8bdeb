//! Names that are looked up: which are told, and which have become open sets. What of a name may be
//! general is the core's to say ([`slmguard_core::baseline::destinations::suffix`]).

use std::collections::BTreeSet;

use monitor_common::{
    class::{Family, Mode},
    event::Verdict,
};
use slmguard_core::{
    baseline::{Entry, destinations::open::open_sets},
    decide::{decide, decide_name},
    decision::Decision,
    observation::{Fact, Observation, Scope},
};

use super::state::{State, Subject};

/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;

impl State {
    /// What is made of an observation that is no file of a class: a look-up of a name that was not
    /// learned is told, everything else is as the kernel decided.
    pub(super) fn judge_name(&self, observation: Observation) -> Decision {
        let scope = &observation.scope;
        let workload = self.mode(&scope.workload).unwrap_or(Mode::Learn);
        let mode = self.modes(scope, workload).get(Family::Name);
        let is_name = matches!(observation.fact, Fact::Query(_));
        if !is_name || mode == Mode::Learn || observation.verdict != Verdict::Known {
            return decide(observation, &self.baseline);
        }
        let list = self.list(scope, Family::Name);
        let known = list.known_as(scope, Family::Name, &observation.fact);
        if known.is_some() || !self.calls.is_watched(&scope.workload) {
            return decide(observation, &self.baseline);
        }
        decide_name(observation, mode, list)
    }

    /// Puts open sets in the place of the names that they stand for. Returns the names that are no
    /// longer in the baseline.
    pub(super) fn collapse_names(&mut self) -> Vec<Subject> {
        let mut gone = vec![];
        for scope in std::mem::take(&mut self.named) {
            let found: Vec<(String, Vec<(String, Entry)>)> = {
                let names = || {
                    let entries = self.baseline.entries(&scope);
                    entries.filter(|(family, ..)| *family == Family::Name)
                };
                let days = names().map(|(_, name, entry)| (name, entry.first_seen / DAY));
                open_sets(days)
                    .into_iter()
                    .map(|open| {
                        let members: BTreeSet<&str> = open.members.into_iter().collect();
                        let members = names()
                            .filter(|(_, name, _)| members.contains(name))
                            .map(|(_, name, entry)| (name.to_owned(), *entry));
                        (open.set, members.collect())
                    })
                    .collect()
            };
            for (set, members) in found {
                gone.extend(self.open_names(&scope, &set, members));
            }
        }
        gone
    }

    fn open_names(
        &mut self,
        scope: &Scope,
        set: &str,
        members: Vec<(String, Entry)>,
    ) -> Vec<Subject> {
        if self.baseline.get(scope, Family::Name, set).is_some() {
            return vec![];
        }
        self.stand_for(scope, Family::Name, set, members)
    }
}

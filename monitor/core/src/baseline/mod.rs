//! Baseline: what was learned, as sets per workload × role × phase and family, with counts.
//!
//! It knows observations and their subjects. It does not know policies, storage or clocks: times
//! come with the observations, rows go to the store as values.
//!
//! *Invariant:* nothing that broke a rule is ever learned, and nothing whose path is not known from
//! the root.

pub mod destinations;
pub mod evidence;
pub mod lineage;
pub mod models;
pub mod order;
pub mod subject;
pub mod volume;

mod nearest;
pub mod paths;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use monitor_common::{class::Family, event::Verdict, facility::UNLEARNABLE_FACILITIES};
use serde::Serialize;

pub use rows::{Row, RowError};

use crate::{
    decide::policy::is_rule,
    observation::{Fact, FileAccess, Observation, Scope},
};

/// Subjects that one family of one scope can hold; more is not a baseline but a flood.
pub const MAX_SUBJECTS: usize = 32_768;

/// What is known about one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Times it was seen.
    pub count: u64,
    /// First time, nanoseconds since the epoch.
    pub first_seen: u64,
    /// Last time.
    pub last_seen: u64,
}

/// Subjects per family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Destinations.
    pub destinations: usize,
    /// Files read.
    pub reads: usize,
    /// Files written.
    pub writes: usize,
    /// Programs started.
    pub execs: usize,
    /// Unix sockets reached.
    pub unix: usize,
    /// Endpoints listened on.
    pub listens: usize,
    /// Names looked up.
    pub names: usize,
    /// Facilities used.
    pub facilities: usize,
}

type Subjects = BTreeMap<String, Entry>;

/// Everything that was learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Baseline {
    scopes: BTreeMap<Scope, BTreeMap<Family, Subjects>>,
    refused: u64,
}

/// Whether an observation may become part of a baseline: it was let through as new, it met no
/// invariant, and its subject can be written as a rule.
pub fn is_learnable(observation: &Observation) -> bool {
    observation.verdict == Verdict::New
        && !observation.invariant
        && !observation.families().is_empty()
        && !matches!(&observation.fact, Fact::Facility { facility, .. }
            if UNLEARNABLE_FACILITIES & facility.bit() != 0)
        && observation.fact.file().is_none_or(FileAccess::is_whole)
        && {
            let families = observation.families();
            let subject = |family| subject::learned_as(family, &observation.fact);
            families.into_iter().all(|f| is_rule(f, &subject(f)))
        }
}

impl Baseline {
    /// Takes an observation in: what is new and may be learned is added, what is known is counted.
    /// Returns whether anything was added.
    pub fn absorb(&mut self, observation: &Observation) -> bool {
        let learnable = is_learnable(observation);
        let known = observation.verdict == Verdict::Known && !observation.invariant;
        if !learnable && !known {
            return false;
        }
        let mut added = false;
        for family in observation.families() {
            let fact = &observation.fact;
            let known = self.known_as(&observation.scope, family, fact);
            let subject = known.unwrap_or_else(|| subject::learned_as(family, fact));
            let (scope, seen) = (&observation.scope, (observation.count, observation.time));
            if !self.count(scope, family, &subject, seen) && learnable {
                let entry = Entry {
                    count: observation.count,
                    first_seen: observation.time,
                    last_seen: observation.time,
                };
                added |= self.add(&observation.scope, family, &subject, entry);
            }
        }
        added
    }

    /// What is known about a subject.
    pub fn get(&self, scope: &Scope, family: Family, subject: &str) -> Option<&Entry> {
        self.scopes.get(scope)?.get(&family)?.get(subject)
    }

    /// Everything known in a scope, in a fixed order.
    pub fn entries(&self, scope: &Scope) -> impl Iterator<Item = (Family, &str, &Entry)> {
        self.scopes
            .get(scope)
            .into_iter()
            .flatten()
            .flat_map(|(family, subjects)| {
                subjects
                    .iter()
                    .map(|(subject, entry)| (*family, subject.as_str(), entry))
            })
    }

    /// Scopes in which anything is known, in a fixed order.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.keys()
    }

    /// Number of subjects of a family in a scope.
    pub fn len(&self, scope: &Scope, family: Family) -> usize {
        self.scopes
            .get(scope)
            .and_then(|families| families.get(&family))
            .map_or(0, BTreeMap::len)
    }

    /// Whether nothing is known at all.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Forgets a workload.
    pub fn forget(&mut self, workload: &str) {
        self.scopes.retain(|scope, _| scope.workload != workload);
    }

    /// Number of subjects of a workload, over its scopes.
    pub fn tally(&self, workload: &str) -> Tally {
        let count = |family| {
            let of_workload = self
                .scopes
                .keys()
                .filter(|scope| scope.workload == workload);
            of_workload.map(|scope| self.len(scope, family)).sum()
        };
        Tally {
            destinations: count(Family::Destination),
            reads: count(Family::Read),
            writes: count(Family::Write),
            execs: count(Family::Exec),
            unix: count(Family::Unix),
            listens: count(Family::Listen),
            names: count(Family::Name),
            facilities: count(Family::Facility),
        }
    }

    /// The nearest known subjects of a family, best first, at most three.
    pub fn nearest(&self, scope: &Scope, family: Family, subject: &str) -> Vec<String> {
        let known = self
            .scopes
            .get(scope)
            .and_then(|families| families.get(&family));
        let known = known
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(String::as_str);
        nearest::nearest(family, subject, known)
    }

    /// Puts a subject in that somebody knows by other means than observation; what is known of one
    /// that is there already stays. False where there is no room.
    pub fn insert(&mut self, scope: &Scope, family: Family, subject: &str, entry: Entry) -> bool {
        self.get(scope, family, subject).is_some() || self.add(scope, family, subject, entry)
    }

    /// Counts a subject that was seen by another name; false where it is not known.
    pub fn count(
        &mut self,
        scope: &Scope,
        family: Family,
        subject: &str,
        (times, time): (u64, u64),
    ) -> bool {
        let Some(entry) = self.entry_mut(scope, family, subject) else {
            return false;
        };
        entry.count = entry.count.saturating_add(times);
        entry.first_seen = entry.first_seen.min(time);
        entry.last_seen = entry.last_seen.max(time);
        true
    }

    /// Takes a subject out; returns whether it was there.
    pub fn remove(&mut self, scope: &Scope, family: Family, subject: &str) -> bool {
        let subjects = self
            .scopes
            .get_mut(scope)
            .and_then(|families| families.get_mut(&family));
        subjects.is_some_and(|subjects| subjects.remove(subject).is_some())
    }

    /// Subjects that were not learned because their family was full ([`MAX_SUBJECTS`]).
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn entry_mut(&mut self, scope: &Scope, family: Family, subject: &str) -> Option<&mut Entry> {
        self.scopes
            .get_mut(scope)?
            .get_mut(&family)?
            .get_mut(subject)
    }

    fn add(&mut self, scope: &Scope, family: Family, subject: &str, entry: Entry) -> bool {
        if self.len(scope, family) >= MAX_SUBJECTS {
            self.refused += 1;
            return false;
        }
        let families = self.scopes.entry(scope.clone()).or_default();
        families
            .entry(family)
            .or_default()
            .insert(subject.to_owned(), entry);
        true
    }
}

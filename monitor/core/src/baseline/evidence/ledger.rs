//! The ledger: evidence of every workload, kept together. This is what the daemon calls.
//!
//! Every observation goes to [`Evidence::observe`], which says to which episode it belongs; what it
//! teaches goes to [`Evidence::note`], under whatever subject the baseline gives it; known behaviour
//! that the kernel only counted goes through [`Evidence::polled`]. Knows no policy, no store and no
//! clock: [`Evidence::rows`] are values, and times come in.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::class::{FAMILIES, Family, Phase, Role};

use super::{
    episode::{Attribution, Episodes},
    exposure::Exposure,
    forecast::{self, Forecast},
    incidence::{Estimate, Incidence},
    lifecycle::Lifecycle,
    promotion::{self, Basis, Facts, Standing, Tier},
    would_block::WouldBlock,
};
use crate::observation::{Observation, Scope};

/// Bytes that one workload may hold; beyond that its families stop learning, one by one.
pub const MEMORY: usize = 2 << 20;
/// Bytes of a scope without subjects.
const SCOPE_BYTES: usize = 4096;

/// What became of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It was not known before.
    New,
    /// It was known.
    Known,
    /// It is not known and was not learned: the workload's memory is full.
    Full,
}

/// One family of one scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OfFamily {
    pub(super) incidence: Incidence,
    pub(super) would_block: WouldBlock,
    /// Tier reached on evidence; an approval is another matter.
    pub(super) held: Tier,
    /// Tier that was last told.
    pub(super) told: Tier,
    pub(super) declared: bool,
    pub(super) last_new: u64,
}

/// One scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OfScope {
    pub(super) exposure: Exposure,
    pub(super) families: [OfFamily; FAMILIES],
}

/// One workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct OfWorkload {
    pub(super) scopes: BTreeMap<(Role, Phase), OfScope>,
    pub(super) lifecycle: Lifecycle,
    pub(super) lost: Option<u64>,
    pub(super) full: BTreeSet<Family>,
    /// Hosts merged into this one.
    pub(super) others: u32,
    pub(super) besides: usize,
}

impl OfWorkload {
    fn bytes(&self) -> usize {
        let scopes = self.scopes.values();
        let families = scopes.flat_map(|scope| &scope.families);
        let subjects: usize = families
            .map(|family| family.incidence.bytes() + family.would_block.bytes())
            .sum();
        self.besides + self.scopes.len() * SCOPE_BYTES + subjects
    }
}

/// The evidence of every workload.
#[derive(Clone, Debug)]
pub struct Evidence {
    episodes: Episodes,
    pub(super) workloads: BTreeMap<String, OfWorkload>,
}

impl Evidence {
    /// Evidence of one host; see [`Episodes::new`].
    pub fn new(host: u16, next: u64) -> Self {
        Self {
            episodes: Episodes::new(host, next),
            workloads: BTreeMap::new(),
        }
    }

    /// The number that the next episode gets; stored, so that none is used twice.
    pub fn next_episode(&self) -> u64 {
        self.episodes.next()
    }

    /// Takes an observation in: episodes and lifecycle. Returns the episode that it belongs to;
    /// `None` where it is nobody's.
    pub fn observe(&mut self, seen: &Observation) -> Option<Attribution> {
        let attribution = self.episodes.observe(seen);
        self.settle_closed(seen.time);
        attribution?;
        let workload = self.workload(&seen.scope);
        workload.lifecycle.observe(seen);
        attribution
    }

    /// Known behaviour of a scope was counted by the kernel since this was last called. Returns the
    /// episodes that it may have been in, to be handed to [`Self::note`] for each subject.
    pub fn polled(&mut self, scope: &Scope, time: u64) -> Attribution {
        let attribution = self.episodes.polled(scope, time);
        self.settle_closed(time);
        attribution
    }

    /// Time went by: episodes that are over end.
    pub fn advance(&mut self, time: u64) {
        self.episodes.advance(time);
        self.settle_closed(time);
    }

    /// A subject was seen in an episode, at `time` in nanoseconds since the epoch.
    pub fn note(
        &mut self,
        scope: &Scope,
        family: Family,
        subject: &str,
        attribution: &Attribution,
        time: u64,
    ) -> Noted {
        if !self.has_room(scope, family, subject) {
            return Noted::Full;
        }
        let of = self.family(scope, family);
        if of.incidence.note(subject, attribution) {
            of.last_new = time;
            return Noted::New;
        }
        Noted::Known
    }

    /// A subject is known for another reason than that it was seen: an operator, a parent lineage.
    pub fn settle(&mut self, scope: &Scope, family: Family, subject: &str) -> Noted {
        if !self.has_room(scope, family, subject) {
            return Noted::Full;
        }
        let incidence = &mut self.family(scope, family).incidence;
        let known = incidence.knows(subject);
        incidence.settle(subject);
        if known { Noted::Known } else { Noted::New }
    }

    /// Something unknown was done that enforcing would have blocked.
    pub fn would_block(
        &mut self,
        scope: &Scope,
        family: Family,
        subject: &str,
        times: u64,
        time: u64,
    ) {
        let of = self.family(scope, family);
        of.would_block.note(subject, times, time);
    }

    /// Takes a subject out; returns whether it was there.
    pub fn remove(&mut self, scope: &Scope, family: Family, subject: &str) -> bool {
        let of = self.family(scope, family);
        of.incidence.forget(subject)
    }

    /// Events were lost at `time`: whose they were nobody knows, so counting begins anew for all.
    pub fn lost(&mut self, time: u64) {
        for workload in self.workloads.values_mut() {
            workload.lost = Some(time);
            for scope in workload.scopes.values_mut() {
                scope.exposure.restart();
                for family in &mut scope.families {
                    family.incidence.restart();
                }
            }
        }
    }

    /// A workload was deployed anew (another model, program or flags): what is known stays known,
    /// and evidence is about the difference from now on. The lifecycle has to be watched again, before
    /// any tier is reached. One that was reached is held: whoever can replace a file must not be able
    /// to have the rules relaxed by it.
    pub fn deployed(&mut self, workload: &str) {
        let Some(workload) = self.workloads.get_mut(workload) else {
            return;
        };
        workload.lifecycle = workload.lifecycle.anew();
        for scope in workload.scopes.values_mut() {
            scope.exposure.restart();
            for family in &mut scope.families {
                family.incidence.restart();
            }
        }
    }

    /// The operator approves the list of a family as it is, or takes that back.
    pub fn declare(&mut self, scope: &Scope, family: Family, declared: bool) {
        self.family(scope, family).declared = declared;
    }

    /// The tier that a family had is given up: the operator has it learn again. If its memory was
    /// full, it tries once more.
    pub fn learn_again(&mut self, scope: &Scope, family: Family) {
        self.workload(scope).full.remove(&family);
        let of = self.family(scope, family);
        (of.held, of.declared) = (Tier::Learn, false);
    }

    /// The list of steps of a workload.
    pub fn lifecycle(&self, workload: &str) -> Option<&Lifecycle> {
        Some(&self.workloads.get(workload)?.lifecycle)
    }

    /// The same, to declare steps.
    pub fn lifecycle_mut(&mut self, workload: &str) -> Option<&mut Lifecycle> {
        Some(&mut self.workloads.get_mut(workload)?.lifecycle)
    }

    /// What follows from the counts of a family.
    pub fn estimate(&self, scope: &Scope, family: Family) -> Option<Estimate> {
        Some(self.get(scope, family)?.incidence.estimate())
    }

    /// The incidence of a family.
    pub fn incidence(&self, scope: &Scope, family: Family) -> Option<&Incidence> {
        Some(&self.get(scope, family)?.incidence)
    }

    /// When something new was last seen, nanoseconds since the epoch.
    pub fn last_new(&self, scope: &Scope, family: Family) -> Option<u64> {
        let of = self.get(scope, family)?;
        (of.last_new > 0).then_some(of.last_new)
    }

    /// Where a family stands.
    pub fn standing(&self, scope: &Scope, family: Family) -> Standing {
        self.with_facts(scope, family, promotion::stand)
    }

    /// What a person reads about a family; would-be denials of the last `of_days` days.
    pub fn forecast(&self, scope: &Scope, family: Family, of_days: u64, now: u64) -> Forecast {
        let blocked = self
            .get(scope, family)
            .map_or((0, 0), |of| of.would_block.last(of_days, now));
        self.with_facts(scope, family, |facts| {
            forecast::forecast(facts, &promotion::stand(facts), blocked, of_days)
        })
    }

    /// Works out where every family stands, and holds what was reached. Returns those whose tier
    /// has changed, with the tier that they had.
    pub fn promote(&mut self) -> Vec<(Scope, Family, Tier, Standing)> {
        let mut changes = vec![];
        for scope in self.scopes() {
            for family in Family::ALL {
                let standing = self.standing(&scope, family);
                let of = self.family(&scope, family);
                if standing.basis == Basis::Evidence {
                    of.held = standing.tier;
                }
                if of.told != standing.tier {
                    let before = std::mem::replace(&mut of.told, standing.tier);
                    changes.push((scope.clone(), family, before, standing));
                }
            }
        }
        changes
    }

    /// Every scope, in order.
    pub fn scopes(&self) -> Vec<Scope> {
        let of = |(name, workload): (&String, &OfWorkload)| {
            let scope = |(role, phase): &(Role, Phase)| Scope {
                workload: name.clone(),
                role: *role,
                phase: *phase,
            };
            workload.scopes.keys().map(scope).collect::<Vec<_>>()
        };
        self.workloads.iter().flat_map(of).collect()
    }

    /// Bytes that a workload holds, nearly.
    pub fn bytes(&self, workload: &str) -> usize {
        self.workloads.get(workload).map_or(0, OfWorkload::bytes)
    }

    /// What a workload holds elsewhere (sketches, candidates) and counts against the same limit.
    pub fn besides(&mut self, workload: &str, bytes: usize) {
        self.workloads.entry(workload.into()).or_default().besides = bytes;
    }

    /// Families of a workload that have stopped learning because its memory is full.
    pub fn full(&self, workload: &str) -> impl Iterator<Item = Family> {
        let of = self.workloads.get(workload);
        of.into_iter().flat_map(|of| of.full.iter().copied())
    }

    /// Forgets a workload.
    pub fn forget(&mut self, workload: &str) {
        self.workloads.remove(workload);
        self.episodes.forget(workload);
    }

    /// Adds what another host counted.
    pub fn merge(&mut self, other: &Self) {
        for (name, theirs) in &other.workloads {
            let ours = self.workloads.entry(name.clone()).or_default();
            ours.lifecycle.merge(&theirs.lifecycle);
            ours.lost = ours.lost.max(theirs.lost);
            ours.full.extend(&theirs.full);
            ours.others += 1 + theirs.others;
            for (key, scope) in &theirs.scopes {
                let into = ours.scopes.entry(*key).or_default();
                into.exposure.merge(&scope.exposure);
                for (into, family) in into.families.iter_mut().zip(&scope.families) {
                    into.incidence.merge(&family.incidence);
                    into.last_new = into.last_new.max(family.last_new);
                }
            }
        }
    }

    fn has_room(&mut self, scope: &Scope, family: Family, subject: &str) -> bool {
        if self.family(scope, family).incidence.knows(subject) {
            return true;
        }
        let workload = self.workload(scope);
        let room = workload.bytes() + Incidence::cost(subject) <= MEMORY;
        if !room {
            workload.full.insert(family);
        }
        // Who was full once stays so until something makes room for good: otherwise what is learned
        // would depend on chance.
        !workload.full.contains(&family)
    }

    fn settle_closed(&mut self, time: u64) {
        for closed in self.episodes.take_closed() {
            for scope in &closed.scopes {
                let of = self.scope(scope);
                of.exposure.ended(closed.count, time);
                for family in &mut of.families {
                    family.incidence.ended(closed.count);
                }
            }
        }
    }

    fn workload(&mut self, scope: &Scope) -> &mut OfWorkload {
        self.workloads.entry(scope.workload.clone()).or_default()
    }

    fn scope(&mut self, scope: &Scope) -> &mut OfScope {
        let key = (scope.role, scope.phase);
        self.workload(scope).scopes.entry(key).or_default()
    }

    fn family(&mut self, scope: &Scope, family: Family) -> &mut OfFamily {
        &mut self.scope(scope).families[family as usize]
    }

    fn get(&self, scope: &Scope, family: Family) -> Option<&OfFamily> {
        let workload = self.workloads.get(&scope.workload)?;
        let of = workload.scopes.get(&(scope.role, scope.phase))?;
        Some(&of.families[family as usize])
    }

    fn with_facts<T>(&self, scope: &Scope, family: Family, then: impl FnOnce(&Facts) -> T) -> T {
        let none = (OfWorkload::default(), OfScope::default());
        let workload = self.workloads.get(&scope.workload).unwrap_or(&none.0);
        let key = (scope.role, scope.phase);
        let of = workload.scopes.get(&key).unwrap_or(&none.1);
        let facts = |family: Family, second| Facts {
            role: scope.role,
            family,
            estimate: of.families[family as usize].incidence.estimate(),
            per_day: of.exposure.per_day(),
            days: of.exposure.days(),
            hosts: 1 + workload.others,
            lifecycle: &workload.lifecycle,
            lost: workload.lost,
            full: workload.full.contains(&family),
            declared: of.families[family as usize].declared,
            held: of.families[family as usize].held,
            second,
        };
        let second = Family::ALL.into_iter().any(|other| {
            promotion::independent(family, other)
                && promotion::stand(&facts(other, false)).tier >= Tier::Block
        });
        then(&facts(family, second))
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

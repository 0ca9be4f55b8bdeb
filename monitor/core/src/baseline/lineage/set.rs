//! A list of subjects that adapts: what was approved is frozen, what comes later waits for days,
//! replicas and episodes, and what is not used any more goes.
//!
//! Narrowing is safe and happens by itself; widening is slow, counted and bounded. Knows subjects,
//! replicas and times as arguments; nothing of episodes' meaning, policies or storage.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::class::Family;
use serde::{Deserialize, Serialize};

use super::never::never;

/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;
/// Counts lose half their weight in that many days.
pub const HALF_LIFE_DAYS: f64 = 14.0;
/// Unused for that many days, and deployed since: no longer on the list.
pub const UNUSED_DAYS: u64 = 30;
/// Share of the list that may be added on one day; one subject always may.
pub const NEW_PER_DAY: f64 = 0.05;
/// Episodes that a candidate must have been seen in.
pub const EPISODES: u64 = 20;
/// Candidates that wait at once.
const MAX_CANDIDATES: usize = 1024;
/// Replicas that are remembered of a candidate; a quorum asks for three in ten of those that run.
const MAX_REPLICAS: usize = 64;
/// Bytes of an entry besides its text, with its share of the tree.
const ENTRY_BYTES: usize = 96;

/// How much of a subject's use is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Use {
    /// Episodes, each worth less the older it is.
    weight: f64,
    /// When it was last used, nanoseconds since the epoch.
    last: u64,
}

impl Use {
    fn again(&mut self, time: u64) {
        self.weight = self.now(time) + 1.0;
        self.last = self.last.max(time);
    }

    fn now(&self, time: u64) -> f64 {
        let days = time.saturating_sub(self.last) as f64 / DAY as f64;
        self.weight * (-days / HALF_LIFE_DAYS).exp2()
    }
}

/// A subject that may be added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Candidate {
    replicas: BTreeSet<u64>,
    /// Distinct days, and the newest of them.
    days: u32,
    newest: u64,
    episodes: u64,
    /// It was first seen right after untrusted input and private data: only a person may add it.
    tainted: bool,
    approved: bool,
}

/// What a subject is to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// On it.
    Known,
    /// It was on it and went: known, stale. An alert, never a denial.
    Stale,
    /// Not on it; it waits.
    Waiting,
    /// Not on it, and never will be: what is there.
    Never(&'static str),
    /// Not on it, and there is no room for more that wait.
    Unknown,
}

/// Why a subject is not added yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Seen in too few replicas: there are, there must be.
    Replicas(usize, usize),
    /// On too few days.
    Days(u32, u32),
    /// In too few episodes.
    Episodes(u64, u64),
    /// A person has to approve it.
    Approval,
    /// As many as may be were added today.
    Today,
}

impl std::fmt::Display for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Replicas(have, need) => {
                write!(f, "seen in {have} of at least {need} replicas")
            }
            Self::Days(have, need) => write!(f, "seen on {have} of at least {need} days"),
            Self::Episodes(have, need) => write!(f, "seen in {have} of at least {need} episodes"),
            Self::Approval => f.write_str("waits for an operator's approval"),
            Self::Today => f.write_str("as many as may be were added today"),
        }
    }
}

/// A list of one family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LiveSet {
    #[serde(with = "by_name")]
    family: Family,
    anchor: BTreeSet<Box<str>>,
    live: BTreeMap<Box<str>, Use>,
    candidates: BTreeMap<Box<str>, Candidate>,
    cold: BTreeMap<Box<str>, u64>,
    /// Day of `added`, and how many were on the list when it began.
    day: u64,
    morning: usize,
    added: usize,
    bytes: usize,
}

impl LiveSet {
    /// A list that is frozen with `subjects`; what can never be learned is left out.
    pub fn new<'a>(family: Family, subjects: impl IntoIterator<Item = &'a str>, time: u64) -> Self {
        let anchor: BTreeSet<Box<str>> = subjects
            .into_iter()
            .filter(|subject| never(family, subject).is_none())
            .map(Into::into)
            .collect();
        let fresh = Use {
            weight: 0.0,
            last: time,
        };
        let live: BTreeMap<_, _> = anchor.iter().map(|s| (s.clone(), fresh)).collect();
        Self {
            family,
            bytes: anchor.iter().map(|s| 2 * cost(s)).sum(),
            day: time / DAY,
            morning: live.len(),
            added: 0,
            anchor,
            live,
            candidates: BTreeMap::new(),
            cold: BTreeMap::new(),
        }
    }

    /// The list that a descendant begins with: the frozen one, with what is known of its use and of
    /// what went; not what was added since, nor what waits.
    pub fn descend(&self, time: u64) -> Self {
        let frozen = self.anchor.iter().filter(|s| self.live.contains_key(*s));
        let mut set = Self::new(self.family, frozen.map(AsRef::as_ref), time);
        for (subject, used) in &mut set.live {
            if let Some(known) = self.live.get(subject) {
                *used = *known;
            }
        }
        set.bytes += self.cold.keys().map(|s| cost(s)).sum::<usize>();
        set.cold = self.cold.clone();
        set
    }

    /// A subject was used in a replica (any number that tells one from another). `tainted` says that
    /// it was first seen right after untrusted input and private data.
    pub fn see(&mut self, subject: &str, replica: u64, tainted: bool, time: u64) -> Sight {
        if let Some(used) = self.live.get_mut(subject) {
            used.again(time);
            return Sight::Known;
        }
        let stale = self.cold.contains_key(subject);
        if !self.candidates.contains_key(subject) {
            // Asked once: what is on the list or waits was asked about when it came.
            if let Some(what) = never(self.family, subject) {
                return Sight::Never(what);
            }
            if self.candidates.len() >= MAX_CANDIDATES {
                return if stale { Sight::Stale } else { Sight::Unknown };
            }
            self.bytes += cost(subject);
            self.candidates.insert(subject.into(), Candidate::default());
        }
        if let Some(candidate) = self.candidates.get_mut(subject) {
            if candidate.replicas.len() < MAX_REPLICAS {
                candidate.replicas.insert(replica);
            }
            candidate.episodes += 1;
            candidate.tainted |= tainted && candidate.episodes == 1;
            let day = time / DAY;
            // Only a later day is another one: the clock may have been set back.
            if candidate.days == 0 || day > candidate.newest {
                candidate.days += 1;
                candidate.newest = day;
            }
        }
        if stale { Sight::Stale } else { Sight::Waiting }
    }

    /// An operator approves a subject that waits. Returns whether it does.
    pub fn approve(&mut self, subject: &str) -> bool {
        let candidate = self.candidates.get_mut(subject);
        candidate.is_some_and(|candidate| {
            candidate.approved = true;
            true
        })
    }

    /// What a subject waits for, with these replicas running; empty where it may be added, or is not
    /// waiting.
    pub fn waits_for(&self, subject: &str, running: &BTreeSet<u64>) -> Vec<Wait> {
        let candidate = self.candidates.get(subject);
        candidate.map_or_else(Vec::new, |candidate| wait(candidate, running))
    }

    /// What waits, in order, with the episodes and days that it was seen in.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, u64, u32)> {
        let all = self.candidates.iter();
        all.map(|(subject, of)| (subject.as_ref(), of.episodes, of.days))
    }

    /// Adds what may be added, those seen most often first, and returns it. With one replica only
    /// what an operator approved; what a replica saw that has gone does not count. As many on a day
    /// as its share allows.
    pub fn admit(&mut self, running: &BTreeSet<u64>, time: u64) -> Vec<Box<str>> {
        let day = time / DAY;
        if day > self.day {
            (self.day, self.morning, self.added) = (day, self.live.len(), 0);
        }
        let most = ((self.morning as f64 * NEW_PER_DAY) as usize).max(1);
        let mut ready: Vec<(std::cmp::Reverse<u64>, Box<str>)> = self
            .candidates
            .iter()
            .filter(|(_, candidate)| wait(candidate, running).is_empty())
            .map(|(subject, candidate)| (std::cmp::Reverse(candidate.episodes), subject.clone()))
            .collect();
        ready.sort_unstable();
        ready.truncate(most.saturating_sub(self.added));
        self.added += ready.len();
        let ready: Vec<Box<str>> = ready.into_iter().map(|(_, subject)| subject).collect();
        for subject in &ready {
            let episodes = self.candidates.remove(subject).map_or(0, |c| c.episodes);
            if self.cold.remove(subject).is_some() {
                self.bytes -= cost(subject);
            }
            let used = Use {
                weight: episodes as f64,
                last: time,
            };
            self.live.insert(subject.clone(), used);
        }
        ready
    }

    /// Lets go of what was not used for a month and was deployed over since. `deployed` is the time of
    /// the last deploy, and `pinned` says what stays whatever happens. Returns what went cold: it stays
    /// so for as long as the operator's list has it, and nobody decides about it.
    pub fn forget(
        &mut self,
        deployed: u64,
        time: u64,
        pinned: impl Fn(&str) -> bool,
    ) -> Vec<Box<str>> {
        let old = |used: &Use| {
            time.saturating_sub(used.last) >= UNUSED_DAYS * DAY && deployed > used.last
        };
        let gone: Vec<Box<str>> = self
            .live
            .iter()
            .filter(|(subject, used)| old(used) && !pinned(subject))
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in &gone {
            self.live.remove(subject);
            self.cold.insert(subject.clone(), time);
        }
        let mut freed = 0;
        let day = time / DAY;
        self.candidates.retain(|subject, candidate| {
            let keep = day.saturating_sub(candidate.newest) < UNUSED_DAYS;
            freed += if keep { 0 } else { cost(subject) };
            keep
        });
        self.bytes -= freed;
        gone
    }

    /// The operator's own list is now `allowed`: what is new on it is frozen with the rest, and what
    /// is not on it any more goes. What went cold stays so: it is still allowed, and that is all.
    pub fn follow(&mut self, allowed: &BTreeSet<&str>, time: u64) {
        let gone: Vec<Box<str>> = (self.anchor.iter().chain(self.live.keys()))
            .chain(self.cold.keys())
            .filter(|subject| !allowed.contains(subject.as_ref()))
            .cloned()
            .collect();
        for subject in gone {
            for there in [
                self.anchor.remove(&subject),
                self.live.remove(&subject).is_some(),
                self.cold.remove(&subject).is_some(),
            ] {
                self.bytes -= if there { cost(&subject) } else { 0 };
            }
        }
        for subject in allowed {
            let known = self.live.contains_key(*subject) || self.cold.contains_key(*subject);
            if !known && never(self.family, subject).is_none() {
                self.settle(subject, time);
            }
        }
    }

    /// An operator puts a subject on the list, or back on it: it is frozen with the rest.
    pub fn settle(&mut self, subject: &str, time: u64) {
        let freed = [
            self.candidates.remove(subject).is_some(),
            self.cold.remove(subject).is_some(),
        ];
        self.bytes -= freed.into_iter().filter(|there| *there).count() * cost(subject);
        if self.anchor.insert(subject.into()) {
            self.bytes += cost(subject);
        }
        if !self.live.contains_key(subject) {
            self.bytes += cost(subject);
        }
        let used = self.live.entry(subject.into()).or_insert(Use {
            weight: 0.0,
            last: time,
        });
        // Put back today: a month without use begins today.
        used.last = used.last.max(time);
    }

    /// What was added since the list was frozen, in order.
    pub fn added(&self) -> impl Iterator<Item = &str> {
        let live = self.live.keys().map(AsRef::as_ref);
        live.filter(|subject| !self.anchor.contains(*subject))
    }

    /// Whether a subject was added since the list was frozen.
    pub fn is_added(&self, subject: &str) -> bool {
        self.contains(subject) && !self.anchor.contains(subject)
    }

    /// When a subject that is known but stale went cold, nanoseconds since the epoch; `None` where it
    /// is not.
    pub fn cold_since(&self, subject: &str) -> Option<u64> {
        self.cold.get(subject).copied()
    }

    /// Whether a subject is on the list.
    pub fn contains(&self, subject: &str) -> bool {
        self.live.contains_key(subject)
    }

    /// The list, in order.
    pub fn live(&self) -> impl Iterator<Item = &str> {
        self.live.keys().map(AsRef::as_ref)
    }

    /// What was frozen, in order.
    pub fn anchor(&self) -> impl Iterator<Item = &str> {
        self.anchor.iter().map(AsRef::as_ref)
    }

    /// Weight of a subject's use at a time.
    pub fn weight(&self, subject: &str, time: u64) -> f64 {
        self.live.get(subject).map_or(0.0, |used| used.now(time))
    }

    /// The operator approves the list as it is: it is the new anchor.
    pub fn freeze(&mut self) {
        let before: usize = self.anchor.iter().map(|s| cost(s)).sum();
        self.anchor = self.live.keys().cloned().collect();
        self.bytes = self.bytes - before + self.anchor.iter().map(|s| cost(s)).sum::<usize>();
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Bytes of memory, nearly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A family by its name.
mod by_name {
    use monitor_common::class::Family;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::workload::{family_from, family_name};

    pub fn serialize<S: Serializer>(family: &Family, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(family_name(*family))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Family, D::Error> {
        let word = String::deserialize(from)?;
        family_from(&word).ok_or_else(|| D::Error::custom(format!("`{word}` is not a family")))
    }
}

fn cost(subject: &str) -> usize {
    ENTRY_BYTES + subject.len()
}

fn wait(candidate: &Candidate, running: &BTreeSet<u64>) -> Vec<Wait> {
    let mut waits = vec![];
    let (quorum, days) = match running.len() {
        0 | 1 => (1, 3),
        // Three in ten of them, rounded up.
        n => ((3 * n).div_ceil(10).max(2), 2),
    };
    // Alone there is nobody to agree with: days and a person decide.
    let seen = candidate.replicas.intersection(running).count();
    if quorum > 1 && seen < quorum {
        waits.push(Wait::Replicas(seen, quorum));
    }
    if candidate.days < days {
        waits.push(Wait::Days(candidate.days, days));
    }
    if candidate.episodes < EPISODES {
        waits.push(Wait::Episodes(candidate.episodes, EPISODES));
    }
    if (running.len() <= 1 || candidate.tainted) && !candidate.approved {
        waits.push(Wait::Approval);
    }
    waits
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;

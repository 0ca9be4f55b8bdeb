//! Incidence: in how many episodes each subject of a family was seen, and what that says about the
//! subjects that were not seen yet.
//!
//! Counting episodes instead of events is what makes the estimates right: events come in clusters,
//! and a thousand events of one request say no more about the next request than one of them.
//! Sources: Good 1953 (unseen mass), Chao 1987 (richness from incidence), Good and Toulmin 1956
//! (extrapolation); of the bound, [`bound::upper_clustered`].
//!
//! Knows nothing of families, policies or clocks. A subject is *settled* when it is no part of what
//! is estimated any more: it came with a parent lineage, an operator put it there, or it was known
//! before events were lost. Settled subjects are known; only what came after them is counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    bound,
    episode::{Attribution, EpisodeId},
};

/// Bytes that one subject costs besides its text: its entry, its share of the tree's nodes, and
/// that of the owner of a singleton.
const SUBJECT_BYTES: usize = 128;

/// In which episodes a subject was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    episodes: u32,
    settled: bool,
    first: Span,
    last: Span,
}

/// Episodes that may have been the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Span(EpisodeId, EpisodeId);

impl Span {
    fn of(attribution: &Attribution) -> Self {
        Self(attribution.episode, attribution.newest)
    }

    fn meets(self, other: Self) -> bool {
        self.0 <= other.1 && other.0 <= self.1
    }
}

/// What is known of one family of one scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incidence {
    episodes: u64,
    subjects: BTreeMap<Box<str>, Seen>,
    once: usize,
    twice: usize,
    /// Episodes that own a singleton, and how many.
    owners: BTreeMap<EpisodeId, u32>,
    bytes: usize,
}

/// What follows from the counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Episodes that ended (T).
    pub episodes: u64,
    /// Subjects known, settled ones included (S).
    pub subjects: usize,
    /// Subjects seen in one episode only (Q1).
    pub once: usize,
    /// In two (Q2).
    pub twice: usize,
    /// New subjects expected in the next episode (Q1/T).
    pub unseen: f64,
    /// Upper 95 % limit of that; infinite before the first episode.
    pub upper: f64,
    /// How many singletons an episode has that owns any, seen from a singleton: 1 where each has an
    /// episode of its own.
    pub cluster: f64,
    /// Share of the episodes that own a subject nobody else has: the chance that the next one
    /// brings something new.
    pub owning: f64,
    /// How many subjects are still to come, at least (Chao2).
    pub more: f64,
}

impl Estimate {
    /// Upper limit for so many singletons, if all else stays in proportion.
    pub fn limit(&self, once: f64) -> f64 {
        let twice = match self.once {
            0 => 0.0,
            n => self.twice as f64 / n as f64 * once,
        };
        bound::upper_clustered(once, self.cluster, twice)
    }
}

impl Incidence {
    /// Takes in that a subject was seen. One look-up and a few counters, whatever was seen before.
    /// Returns whether it is new.
    ///
    /// A subject counts again only when no episode that it may have belonged to the last time can
    /// have been the one this time: doubt makes behaviour look rarer, never better known.
    pub fn note(&mut self, subject: &str, attribution: &Attribution) -> bool {
        let span = Span::of(attribution);
        let Some(seen) = self.subjects.get_mut(subject) else {
            self.insert(subject, span, false);
            return true;
        };
        if seen.first.meets(span) || seen.last.meets(span) {
            return false;
        }
        let before = *seen;
        seen.last = span;
        seen.episodes = seen.episodes.saturating_add(1);
        if !before.settled {
            self.uncount(&before);
            self.twice += usize::from(before.episodes == 1);
        }
        false
    }

    /// A subject is known for another reason than that it was seen.
    pub fn settle(&mut self, subject: &str) {
        match self.subjects.get_mut(subject) {
            Some(seen) if !seen.settled => {
                seen.settled = true;
                let before = *seen;
                self.uncount(&before);
            }
            Some(_) => {}
            None => self.insert(subject, Span(EpisodeId::NONE, EpisodeId::NONE), true),
        }
    }

    /// All that is known is settled, and counting begins anew.
    pub fn restart(&mut self) {
        for seen in self.subjects.values_mut() {
            seen.settled = true;
        }
        self.owners.clear();
        (self.episodes, self.once, self.twice) = (0, 0, 0);
    }

    /// Episodes ended, whether or not anything of this family happened in them.
    pub fn ended(&mut self, episodes: u64) {
        self.episodes = self.episodes.saturating_add(episodes);
    }

    /// Takes a subject out; returns whether it was there.
    pub fn forget(&mut self, subject: &str) -> bool {
        let Some(seen) = self.subjects.remove(subject) else {
            return false;
        };
        self.bytes -= SUBJECT_BYTES + subject.len();
        if !seen.settled {
            self.uncount(&seen);
        }
        true
    }

    /// Whether a subject is known.
    pub fn knows(&self, subject: &str) -> bool {
        self.subjects.contains_key(subject)
    }

    /// In how many episodes a subject was seen.
    pub fn seen(&self, subject: &str) -> Option<u32> {
        self.subjects.get(subject).map(|seen| seen.episodes)
    }

    /// Subjects, in order.
    pub fn subjects(&self) -> impl Iterator<Item = &str> {
        self.subjects.keys().map(AsRef::as_ref)
    }

    /// Bytes of memory, nearly.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that a subject would cost.
    pub fn cost(subject: &str) -> usize {
        SUBJECT_BYTES + subject.len()
    }

    /// Adds what another host counted. Exact, because episodes belong to one host: the counts of a
    /// subject add up, and what was a singleton on each of two hosts is none on both together.
    pub fn merge(&mut self, other: &Self) {
        self.episodes = self.episodes.saturating_add(other.episodes);
        for (subject, theirs) in &other.subjects {
            match self.subjects.get_mut(subject) {
                Some(ours) => {
                    let before = *ours;
                    ours.episodes = ours.episodes.saturating_add(theirs.episodes);
                    ours.settled |= theirs.settled;
                    // A settled subject may never have been seen.
                    if before.episodes == 0 {
                        ours.first = theirs.first;
                    }
                    ours.last = theirs.last;
                    let after = *ours;
                    if !before.settled {
                        self.uncount(&before);
                    }
                    if !after.settled {
                        self.count(&after);
                    }
                }
                None => {
                    self.bytes += Self::cost(subject);
                    self.subjects.insert(subject.clone(), *theirs);
                    if !theirs.settled {
                        self.count(theirs);
                    }
                }
            }
        }
    }

    /// What follows from the counts.
    pub fn estimate(&self) -> Estimate {
        let (t, once) = (self.episodes as f64, self.once as f64);
        let per = |n: f64| {
            if self.episodes == 0 {
                f64::INFINITY
            } else {
                n / t
            }
        };
        let squares: f64 = self.owners.values().map(|n| f64::from(*n).powi(2)).sum();
        let cluster = (squares / once.max(1.0)).max(1.0);
        let limit = bound::upper_clustered(once, cluster, self.twice as f64);
        Estimate {
            episodes: self.episodes,
            subjects: self.subjects.len(),
            once: self.once,
            twice: self.twice,
            unseen: per(once),
            upper: per(limit),
            cluster,
            owning: per(self.owners.len() as f64).min(1.0),
            more: if self.episodes == 0 {
                0.0
            } else {
                (t - 1.0) / t * once * (once - 1.0).max(0.0) / (2.0 * (self.twice as f64 + 1.0))
            },
        }
    }

    /// New subjects expected in the next `share` × T episodes, `share` at most 1, where the series
    /// is still stable (Good and Toulmin 1956). Looks at every subject.
    pub fn new_within(&self, share: f64) -> f64 {
        let share = share.clamp(0.0, 1.0);
        let mut sum = 0.0;
        for seen in self.subjects.values().filter(|seen| !seen.settled) {
            let sign = if seen.episodes % 2 == 1 { 1.0 } else { -1.0 };
            sum += sign * share.powf(f64::from(seen.episodes));
        }
        sum.max(0.0)
    }

    fn insert(&mut self, subject: &str, span: Span, settled: bool) {
        let seen = Seen {
            episodes: u32::from(!settled),
            settled,
            first: span,
            last: span,
        };
        self.bytes += Self::cost(subject);
        self.subjects.insert(subject.into(), seen);
        if !settled {
            self.count(&seen);
        }
    }

    fn count(&mut self, seen: &Seen) {
        match seen.episodes {
            1 => {
                self.once += 1;
                *self.owners.entry(seen.first.0).or_default() += 1;
            }
            2 => self.twice += 1,
            _ => {}
        }
    }

    fn uncount(&mut self, seen: &Seen) {
        match seen.episodes {
            1 => {
                self.once -= 1;
                if let Some(owned) = self.owners.get_mut(&seen.first.0) {
                    *owned -= 1;
                    if *owned == 0 {
                        self.owners.remove(&seen.first.0);
                    }
                }
            }
            2 => self.twice -= 1,
            _ => {}
        }
    }
}

/// An [`Incidence`] as it is stored: the counters follow from the subjects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Episodes that ended.
    pub episodes: u64,
    /// Subject, episodes, settled, and the spans of the first and the last of them.
    subjects: Vec<(Box<str>, u32, bool, Span, Span)>,
}

impl From<&Incidence> for Stored {
    fn from(incidence: &Incidence) -> Self {
        let rows = incidence.subjects.iter();
        Self {
            episodes: incidence.episodes,
            subjects: rows
                .map(|(subject, s)| (subject.clone(), s.episodes, s.settled, s.first, s.last))
                .collect(),
        }
    }
}

impl From<Stored> for Incidence {
    fn from(stored: Stored) -> Self {
        let mut incidence = Self {
            episodes: stored.episodes,
            ..Self::default()
        };
        for (subject, episodes, settled, first, last) in stored.subjects {
            incidence.forget(&subject);
            let seen = Seen {
                // What was never seen can only be known for another reason.
                settled: settled || episodes == 0,
                episodes,
                first,
                last,
            };
            incidence.bytes += Self::cost(&subject);
            incidence.subjects.insert(subject, seen);
            if !seen.settled {
                incidence.count(&seen);
            }
        }
        incidence
    }
}

#[cfg(test)]
#[path = "incidence_tests.rs"]
mod tests;

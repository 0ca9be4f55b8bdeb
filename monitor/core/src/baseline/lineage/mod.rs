//! Lineage: baselines that adapt without being led astray, and what becomes of them when a workload
//! changes.
//!
//! Two copies: an *anchor*, frozen when it was approved, and a *live* one that may move away from it
//! slowly and not far. Learning from what one guards is otherwise an invitation: who controls what
//! is seen would control what is allowed. Another model, program or set of flags begins a new
//! lineage, which inherits the anchor of its parent and learns the difference.
//!
//! Knows subjects, numbers, digests and times as arguments; no policies, store or clock.

mod flags;
mod ledger;
mod never;
mod set;
mod threshold;

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::class::{Family, Phase, Role};
use serde::{Deserialize, Serialize};

pub use flags::flags;
pub use ledger::{Admitted, Began, Change, Finding, Lineages, MAX_BEGINNINGS, Row, Waiting};
pub use never::never;
pub use set::{EPISODES, HALF_LIFE_DAYS, LiveSet, NEW_PER_DAY, Sight, UNUSED_DAYS, Wait};
pub use threshold::{FROM_ANCHOR, PER_DAY, Threshold};

/// Bytes of a threshold with its share of the tree.
const THRESHOLD_BYTES: usize = 128;

/// What a workload is: if any of it is new, it is another one. Several of each, because a server may
/// serve several models, and consist of several programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Digests of its models, in hex; empty while none is known.
    pub models: BTreeSet<String>,
    /// Digests of its programs.
    pub programs: BTreeSet<String>,
    /// Command lines of its programs, without what differs from start to start ([`flags`]).
    pub flags: BTreeSet<String>,
}

/// What differs where a model is new.
const ANOTHER_MODEL: &str = "another model";

/// Of each part of an identity, so many are known; beyond that only the newest are.
const MAX_KNOWN: usize = 64;

impl Identity {
    /// What of `now` is not known here, in words; empty if all of it is. Nothing is new to a part of
    /// which nothing was known: there is nothing to compare it with.
    pub fn differs(&self, now: &Self) -> Vec<&'static str> {
        let new = |known: &BTreeSet<String>, now: &BTreeSet<String>| {
            !known.is_empty() && !now.is_subset(known)
        };
        let parts = [
            (ANOTHER_MODEL, &self.models, &now.models),
            ("another program", &self.programs, &now.programs),
            ("other flags", &self.flags, &now.flags),
        ];
        let differs = parts.into_iter().filter(|(_, known, now)| new(known, now));
        differs.map(|(word, ..)| word).collect()
    }

    /// Takes in what a workload was seen to be; returns whether any of it was new.
    fn extend(&mut self, now: &Self) -> bool {
        let mut changed = false;
        for (known, now) in [
            (&mut self.models, &now.models),
            (&mut self.programs, &now.programs),
            (&mut self.flags, &now.flags),
        ] {
            if now.is_subset(known) {
                continue;
            }
            changed = true;
            known.extend(now.iter().cloned());
            if known.len() > MAX_KNOWN {
                known.clone_from(now);
            }
        }
        changed
    }
}

/// The adapting baseline of one workload in one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Lineage {
    id: u64,
    parent: Option<u64>,
    identity: Identity,
    born: u64,
    sets: BTreeMap<(Role, Phase, Family), LiveSet>,
    thresholds: BTreeMap<Box<str>, Threshold>,
}

impl Lineage {
    /// The first of its line. Ids are given by the caller, and times are nanoseconds since the epoch.
    pub fn new(id: u64, identity: Identity, time: u64) -> Self {
        Self {
            id,
            parent: None,
            identity,
            born: time,
            sets: BTreeMap::new(),
            thresholds: BTreeMap::new(),
        }
    }

    /// Freezes a list: what was learned first, or what an operator approved.
    pub fn freeze<'a>(
        &mut self,
        (role, phase, family): (Role, Phase, Family),
        subjects: impl IntoIterator<Item = &'a str>,
        time: u64,
    ) {
        let set = LiveSet::new(family, subjects, time);
        self.sets.insert((role, phase, family), set);
    }

    /// Freezes a number, under a name that the caller chooses.
    pub fn freeze_threshold(&mut self, name: &str, value: f64, day: u64) {
        self.thresholds
            .insert(name.into(), Threshold::new(value, day));
    }

    /// The workload is now `now`: a child, if anything of it is new. It has the anchors of its parent,
    /// not what the parent drifted to, nor what waited there: whether that was the old shape's or an
    /// attacker's nobody knows. What is new it learns. What its parents were is no news to it, so that
    /// who goes back to an earlier model, or serves two in turn, begins nothing anew.
    pub fn descend(&self, id: u64, now: &Identity, time: u64) -> Option<Self> {
        if self.identity.differs(now).is_empty() {
            return None;
        }
        let mut identity = self.identity.clone();
        identity.extend(now);
        let set = |(key, set): (&(Role, Phase, Family), &LiveSet)| (*key, set.descend(time));
        let day = time / 86_400_000_000_000;
        Some(Self {
            id,
            parent: Some(self.id),
            identity,
            born: time,
            sets: self.sets.iter().map(set).collect(),
            thresholds: self
                .thresholds
                .iter()
                .map(|(name, of)| (name.clone(), Threshold::new(of.anchor(), day)))
                .collect(),
        })
    }

    /// The list of a family; empty ones are made as they are asked for.
    pub fn set(&mut self, role: Role, phase: Phase, family: Family) -> &mut LiveSet {
        let born = self.born;
        self.sets
            .entry((role, phase, family))
            .or_insert_with(|| LiveSet::new(family, [], born))
    }

    /// A threshold by its name.
    pub fn threshold(&mut self, name: &str) -> Option<&mut Threshold> {
        self.thresholds.get_mut(name)
    }

    /// Lets go of what is not used any more, in every list. Returns how much went.
    pub fn forget(
        &mut self,
        pinned: impl Fn((Role, Phase, Family), &str) -> bool,
        time: u64,
    ) -> usize {
        let born = if self.parent.is_some() { self.born } else { 0 };
        let sets = self.sets.iter_mut();
        sets.map(|(key, set)| set.forget(born, time, |s| pinned(*key, s)).len())
            .sum()
    }

    /// Adds what may be added to every list, with these replicas running. Once a day is enough.
    /// Returns what was added.
    pub fn admit(
        &mut self,
        running: &BTreeSet<u64>,
        time: u64,
    ) -> Vec<(Role, Phase, Family, Box<str>)> {
        let mut added = vec![];
        for ((role, phase, family), set) in &mut self.sets {
            let new = set.admit(running, time).into_iter();
            added.extend(new.map(|subject| (*role, *phase, *family, subject)));
        }
        added
    }

    /// Its id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whom it descends from.
    pub fn parent(&self) -> Option<u64> {
        self.parent
    }

    /// What it is the baseline of.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes of memory, nearly; to be told to [`super::evidence::Evidence::besides`].
    pub fn bytes(&self) -> usize {
        let sets: usize = self.sets.values().map(LiveSet::bytes).sum();
        sets + self
            .thresholds
            .keys()
            .map(|name| name.len() + THRESHOLD_BYTES)
            .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000_000_000;
    const KEY: (Role, Phase, Family) = (Role::Server, Phase::Serve, Family::Read);

    fn one(text: &str) -> BTreeSet<String> {
        BTreeSet::from([text.to_owned()])
    }

    fn identity(model: &str) -> Identity {
        Identity {
            models: one(model),
            programs: one("p"),
            flags: one("llama-server --port=8080"),
        }
    }

    fn running() -> BTreeSet<u64> {
        (0..4).collect()
    }

    fn grown() -> Lineage {
        let mut lineage = Lineage::new(1, identity("a"), 0);
        lineage.freeze(KEY, ["/srv/a", "/srv/b"], 0);
        lineage.freeze_threshold("bytes", 100.0, 0);
        for day in 0..3 {
            for host in 0..4 {
                for _ in 0..20 {
                    lineage
                        .set(KEY.0, KEY.1, KEY.2)
                        .see("/srv/c", host, false, day * DAY);
                }
            }
        }
        let added = lineage.admit(&running(), 3 * DAY);
        assert_eq!(added, [(KEY.0, KEY.1, KEY.2, "/srv/c".into())]);
        let threshold = lineage.threshold("bytes").unwrap();
        threshold.propose(500.0, 3);
        assert_eq!(threshold.live(), 105.0);
        lineage
    }

    #[test]
    fn a_new_model_inherits_the_anchor_and_not_the_drift() {
        let parent = grown();
        assert_eq!(parent.descend(2, &identity("a"), 4 * DAY), None);
        let mut child = parent.descend(2, &identity("b"), 4 * DAY).unwrap();
        assert_eq!((child.id(), child.parent()), (2, Some(1)));
        assert_eq!(
            parent.identity().differs(child.identity()),
            ["another model"]
        );
        assert_eq!(
            child.descend(3, &identity("a"), 5 * DAY),
            None,
            "back to what it was"
        );
        let set = child.set(KEY.0, KEY.1, KEY.2);
        assert_eq!(set.live().collect::<Vec<_>>(), ["/srv/a", "/srv/b"]);
        assert_eq!(set.see("/srv/c", 0, false, 4 * DAY), Sight::Waiting);
        assert_eq!(child.threshold("bytes").unwrap().live(), 100.0);
    }

    #[test]
    fn what_differs_is_named() {
        let other = Identity {
            models: BTreeSet::new(),
            programs: one("q"),
            flags: one("other"),
        };
        assert_eq!(
            identity("a").differs(&other),
            ["another program", "other flags"]
        );
        assert_eq!(
            other.differs(&identity("a")),
            ["another program", "other flags"],
            "which models there were is not known"
        );
        let mut known = Identity::default();
        for n in 0..=MAX_KNOWN {
            assert!(known.extend(&identity(&n.to_string())));
        }
        assert_eq!(known.models.len(), 1);
    }

    #[test]
    fn only_a_descendant_lets_go_of_what_it_does_not_use() {
        let mut first = grown();
        first.forget(|_, _| false, 99 * DAY);
        let set = first.set(KEY.0, KEY.1, KEY.2);
        assert_eq!(set.live().count(), 3);
        set.see("/srv/a", 0, false, 99 * DAY);
        let mut child = first.descend(2, &identity("b"), 100 * DAY).unwrap();
        child.forget(|_, _| false, 101 * DAY);
        let set = child.set(KEY.0, KEY.1, KEY.2);
        assert_eq!(set.live().collect::<Vec<_>>(), ["/srv/a"]);
        assert_eq!(set.see("/srv/b", 0, false, 101 * DAY), Sight::Stale);
        assert!(child.bytes() > 0 && child.threshold("none").is_none());
    }
}

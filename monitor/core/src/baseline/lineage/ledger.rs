//! Lineages of all workloads: which shape each is in, what waits to be on its lists, what went off
//! them, and what an operator wants kept.
//!
//! A list is followed from the moment on at which nothing is learned into it by itself any more. What
//! is used after that is counted; what is not on it and was tried waits, and says for what. Nothing
//! here allows anything: what was admitted is handed to the caller.

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    class::{Family, Phase, Role},
    event::Verdict,
};
use serde::{Deserialize, Serialize};

use super::{ANOTHER_MODEL, Identity, Lineage, LiveSet, Sight, Wait};
use crate::{
    observation::{Observation, ProcessKey, Scope},
    workload::{family_from, family_name, phase_from, phase_name, role_from, role_name},
};

/// Beginnings that are kept of a workload; the earliest go.
pub const MAX_BEGINNINGS: usize = 32;
/// Findings that wait to be told.
const MAX_FINDINGS: usize = 256;
/// Subjects of one workload that can be pinned.
const MAX_PINS: usize = 4096;

type Key = (Role, Phase, Family);

/// When a lineage began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Began {
    /// Its number; the first of a workload is 1.
    pub id: u64,
    /// When, nanoseconds since the epoch.
    pub time: u64,
    /// What was new, in words; nothing of the first.
    pub why: Vec<String>,
}

/// A workload is in another shape than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub scope: Scope,
    /// A process of it.
    pub process: ProcessKey,
    /// When it was noticed, nanoseconds since the epoch.
    pub time: u64,
    /// The number of the lineage that begins.
    pub lineage: u64,
    /// What is new, in words.
    pub differs: Vec<&'static str>,
    /// What of the new identity was not known: digests and command lines.
    pub news: Vec<String>,
    /// What had been added to lists since they were frozen, and is not on them any more.
    pub dropped: Vec<Admitted>,
}

/// A subject that was added to a list.
pub type Admitted = (Role, Phase, Family, Box<str>);

/// What is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Another shape.
    Began(Change),
    /// Something was used that had not been for so long that it went off the list.
    Stale {
        /// What was seen.
        seen: Box<Observation>,
        /// As what.
        family: Family,
        /// Under which subject.
        subject: String,
        /// When it went off the list, nanoseconds since the epoch.
        since: u64,
    },
}

impl Finding {
    /// Of whom.
    pub fn scope(&self) -> &Scope {
        match self {
            Self::Began(change) => &change.scope,
            Self::Stale { seen, .. } => &seen.scope,
        }
    }
}

/// A subject that is not on a list and was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of which role.
    pub role: Role,
    /// In which phase.
    pub phase: Phase,
    /// Of which family.
    pub family: Family,
    /// What.
    pub subject: String,
    /// Times that it was tried, and distinct days.
    pub seen: (u64, u32),
    /// For what it waits.
    pub waits: Vec<Wait>,
}

/// One workload.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    lineage: Lineage,
    began: Vec<Began>,
    pins: BTreeSet<Admitted>,
}

impl Line {
    fn new(time: u64) -> Self {
        let first = Began {
            id: 1,
            time,
            why: vec![],
        };
        Self {
            lineage: Lineage::new(1, Identity::default(), time),
            began: vec![first],
            pins: BTreeSet::new(),
        }
    }

    fn pinned(&self, (role, phase, family): Key, subject: &str) -> bool {
        self.pins.contains(&(role, phase, family, subject.into()))
    }
}

/// The lineages of all workloads.
#[derive(Clone, Debug, Default)]
pub struct Lineages {
    workloads: BTreeMap<String, Line>,
    findings: Vec<Finding>,
}

/// One workload, for the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub workload: String,
    parent: Option<u64>,
    born: u64,
    identity: Identity,
    began: Vec<Began>,
    sets: Vec<SetRow>,
    pins: Vec<(String, String, String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SetRow {
    role: String,
    phase: String,
    set: LiveSet,
}

impl Lineages {
    /// A workload was seen to be `now`. Where anything of it is new, another lineage begins, which
    /// is told unless it `learns`.
    pub fn identify(
        &mut self,
        (scope, process): (&Scope, ProcessKey),
        now: &Identity,
        learning: bool,
        time: u64,
    ) -> Option<Change> {
        let line = self.line(&scope.workload, time);
        let known = line.lineage.identity.clone();
        let differs = known.differs(now);
        let id = line.lineage.id() + 1;
        let Some(mut child) = line.lineage.descend(id, now, time) else {
            line.lineage.identity.extend(now);
            return None;
        };
        let mut dropped = vec![];
        for ((role, phase, family), set) in &line.lineage.sets {
            for subject in set.added() {
                if line.pinned((*role, *phase, *family), subject) {
                    child.set(*role, *phase, *family).settle(subject, time);
                } else {
                    dropped.push((*role, *phase, *family, subject.into()));
                }
            }
        }
        line.lineage = child;
        line.began.push(Began {
            id,
            time,
            why: differs.iter().map(|word| (*word).to_owned()).collect(),
        });
        if line.began.len() > MAX_BEGINNINGS {
            line.began.remove(0);
        }
        let parts = [
            (&known.models, &now.models),
            (&known.programs, &now.programs),
            (&known.flags, &now.flags),
        ];
        let news = parts
            .into_iter()
            .filter(|(known, _)| !known.is_empty())
            .flat_map(|(known, now)| now.difference(known).cloned());
        let change = Change {
            scope: scope.clone(),
            process,
            time,
            lineage: id,
            differs,
            news: news.collect(),
            dropped,
        };
        // Another model has an alert of its own.
        if !learning && change.differs != [ANOTHER_MODEL] {
            self.found(Finding::Began(change.clone()));
        }
        Some(change)
    }

    /// The list of a family, from now on followed, is `allowed`.
    pub fn follow(&mut self, scope: &Scope, family: Family, allowed: &BTreeSet<&str>, time: u64) {
        let line = self.line(&scope.workload, time);
        line.lineage
            .set(scope.role, scope.phase, family)
            .follow(allowed, time);
    }

    /// A family learns by itself again: its list is not followed any more, and nothing waits.
    pub fn unfollow(&mut self, scope: &Scope, family: Family) {
        if let Some(line) = self.workloads.get_mut(&scope.workload) {
            let sets = &mut line.lineage.sets;
            sets.remove(&(scope.role, scope.phase, family));
        }
    }

    /// Whether a list is followed.
    pub fn follows(&self, scope: &Scope, family: Family) -> bool {
        let line = self.workloads.get(&scope.workload);
        line.is_some_and(|line| {
            let key = (scope.role, scope.phase, family);
            line.lineage.sets.contains_key(&key)
        })
    }

    /// A subject of a list that is followed was used or tried in a replica. `tainted` says that
    /// untrusted input and private data had come before.
    pub fn see(
        &mut self,
        seen: &Observation,
        (family, subject): (Family, &str),
        replica: u64,
        tainted: bool,
    ) {
        let scope = &seen.scope;
        let Some(set) = self.workloads.get_mut(&scope.workload).and_then(|line| {
            line.lineage
                .sets
                .get_mut(&(scope.role, scope.phase, family))
        }) else {
            return;
        };
        if set.see(subject, replica, tainted, seen.time) != Sight::Stale
            || seen.verdict != Verdict::Known
        {
            return;
        }
        let since = set.cold_since(subject).unwrap_or(0);
        self.found(Finding::Stale {
            seen: Box::new(seen.clone()),
            family,
            subject: subject.to_owned(),
            since,
        });
    }

    /// Lets go of what a workload does not use any more; and, where `running` are the replicas whose
    /// agreement counts, adds what enough of them saw. Returns what was added.
    pub fn tend(
        &mut self,
        workload: &str,
        running: Option<&BTreeSet<u64>>,
        time: u64,
    ) -> Vec<Admitted> {
        let Some(line) = self.workloads.get_mut(workload) else {
            return vec![];
        };
        let pins = &line.pins;
        let pinned = |(role, phase, family): Key, subject: &str| {
            // A pattern's uses are counted under what matched it, not under it.
            subject.contains(['*', '{'])
                || pins.contains(&(role, phase, family, Box::from(subject)))
        };
        line.lineage.forget(pinned, time);
        running.map_or_else(Vec::new, |running| line.lineage.admit(running, time))
    }

    /// An operator put a subject on a list.
    pub fn settle(&mut self, scope: &Scope, family: Family, subject: &str, time: u64) {
        if let Some(line) = self.workloads.get_mut(&scope.workload)
            && let Some(set) = line
                .lineage
                .sets
                .get_mut(&(scope.role, scope.phase, family))
        {
            set.settle(subject, time);
        }
    }

    /// An operator wants a subject kept, whatever happens. False where there is no room for more.
    pub fn pin(&mut self, scope: &Scope, family: Family, subject: &str, time: u64) -> bool {
        let line = self.line(&scope.workload, time);
        let pin = (scope.role, scope.phase, family, Box::from(subject));
        if line.pins.len() >= MAX_PINS && !line.pins.contains(&pin) {
            return false;
        }
        line.pins.insert(pin);
        self.settle(scope, family, subject, time);
        true
    }

    /// Takes that back; returns whether it was pinned.
    pub fn unpin(&mut self, scope: &Scope, family: Family, subject: &str) -> bool {
        let line = self.workloads.get_mut(&scope.workload);
        line.is_some_and(|line| {
            let pin = (scope.role, scope.phase, family, Box::from(subject));
            line.pins.remove(&pin)
        })
    }

    /// What is pinned of a workload, in order.
    pub fn pins(&self, workload: &str) -> impl Iterator<Item = (Scope, Family, &str)> {
        let line = self.workloads.get(workload).into_iter();
        let pins = line.flat_map(|line| &line.pins);
        pins.map(move |(role, phase, family, subject)| {
            let scope = Scope {
                workload: workload.to_owned(),
                role: *role,
                phase: *phase,
            };
            (scope, *family, subject.as_ref())
        })
    }

    /// How a subject of a list stands, in a word: `pinned`, `stale`, `added`; `None` for what is
    /// simply on it.
    pub fn word(&self, scope: &Scope, family: Family, subject: &str) -> Option<&'static str> {
        let line = self.workloads.get(&scope.workload)?;
        let key = (scope.role, scope.phase, family);
        if line.pinned(key, subject) {
            return Some("pinned");
        }
        let set = line.lineage.sets.get(&key)?;
        if set.cold_since(subject).is_some() {
            return Some("stale");
        }
        set.is_added(subject).then_some("added")
    }

    /// What waits to be on the lists of a workload, in order; `running` as for [`Self::tend`].
    pub fn waiting(&self, workload: &str, running: Option<&BTreeSet<u64>>) -> Vec<Waiting> {
        let Some(line) = self.workloads.get(workload) else {
            return vec![];
        };
        let nobody = BTreeSet::new();
        let running = running.unwrap_or(&nobody);
        let mut all = vec![];
        for ((role, phase, family), set) in &line.lineage.sets {
            for (subject, episodes, days) in set.waiting() {
                all.push(Waiting {
                    role: *role,
                    phase: *phase,
                    family: *family,
                    subject: subject.to_owned(),
                    seen: (episodes, days),
                    waits: set.waits_for(subject, running),
                });
            }
        }
        all
    }

    /// The beginnings of a workload's lineages, the latest last.
    pub fn began(&self, workload: &str) -> &[Began] {
        self.workloads
            .get(workload)
            .map_or(&[], |line| line.began.as_slice())
    }

    /// What was found since the last time.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// Forgets everything about a workload, except what is pinned.
    pub fn forget(&mut self, workload: &str) {
        if let Some(line) = self.workloads.get_mut(workload) {
            let pins = std::mem::take(&mut line.pins);
            let identity = std::mem::take(&mut line.lineage.identity);
            *line = Line::new(line.lineage.born);
            line.lineage.identity = identity;
            line.pins = pins;
        }
        self.findings
            .retain(|finding| finding.scope().workload != workload);
    }

    /// Bytes of memory that a workload takes, nearly.
    pub fn bytes(&self, workload: &str) -> usize {
        self.workloads.get(workload).map_or(0, |line| {
            let pins: usize = line.pins.iter().map(|pin| 64 + pin.3.len()).sum();
            line.lineage.bytes() + pins
        })
    }

    /// What is known, a row per workload.
    pub fn rows(&self) -> Vec<Row> {
        let row = |(workload, line): (&String, &Line)| Row {
            workload: workload.clone(),
            parent: line.lineage.parent,
            born: line.lineage.born,
            identity: line.lineage.identity.clone(),
            began: line.began.clone(),
            sets: line
                .lineage
                .sets
                .iter()
                .map(|((role, phase, _), set)| SetRow {
                    role: role_name(*role).into(),
                    phase: phase_name(*phase).into(),
                    set: set.clone(),
                })
                .collect(),
            pins: line
                .pins
                .iter()
                .map(|(role, phase, family, subject)| {
                    let words = (role_name(*role), phase_name(*phase), family_name(*family));
                    let (role, phase, family) = words;
                    (
                        role.into(),
                        phase.into(),
                        family.into(),
                        subject.to_string(),
                    )
                })
                .collect(),
        };
        self.workloads.iter().map(row).collect()
    }

    /// Takes rows back in. Returns the workloads of which a part has words that are not known here.
    pub fn restore(&mut self, rows: Vec<Row>) -> Vec<String> {
        let mut strange = vec![];
        for row in rows {
            let mut line = Line::new(row.born);
            if let Some(last) = row.began.last() {
                line.lineage.id = last.id;
                line.began = row.began;
            }
            (line.lineage.parent, line.lineage.identity) = (row.parent, row.identity);
            let mut whole = true;
            for of in row.sets {
                let (Some(role), Some(phase)) = (role_from(&of.role), phase_from(&of.phase)) else {
                    whole = false;
                    continue;
                };
                let key = (role, phase, of.set.family());
                line.lineage.sets.insert(key, of.set);
            }
            for (role, phase, family, subject) in row.pins {
                let words = (role_from(&role), phase_from(&phase), family_from(&family));
                match words {
                    (Some(role), Some(phase), Some(family)) => {
                        line.pins.insert((role, phase, family, subject.into()));
                    }
                    _ => whole = false,
                }
            }
            if !whole {
                strange.push(row.workload.clone());
            }
            self.workloads.insert(row.workload, line);
        }
        strange
    }

    fn line(&mut self, workload: &str, time: u64) -> &mut Line {
        self.workloads
            .entry(workload.to_owned())
            .or_insert_with(|| Line::new(time))
    }

    fn found(&mut self, finding: Finding) {
        // What does not fit is found again when it is used again; a shape is not, so it comes first.
        if self.findings.len() < MAX_FINDINGS || matches!(finding, Finding::Began(_)) {
            self.findings.push(finding);
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

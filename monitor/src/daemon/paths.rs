//! Paths in the running daemon: which names are told because the kernel could not tell them apart, and
//! which folders have become open sets. How both are judged is the core's
//! ([`slmguard_core::baseline::paths`], [`slmguard_core::baseline::subject`]).

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    class::{Family, Mode},
    event::Verdict,
    path::permission::{READ, WRITE},
};
use serde::{Deserialize, Serialize};
use slmguard_core::{
    baseline::{
        Baseline, Entry,
        paths::{Access, Days, PathModel, path_of},
        subject::{file_forms, learned_as},
    },
    decide::{decide, decide_widened, pattern::PathPattern},
    decision::Decision,
    observation::{Observation, Scope},
    text,
    workload::{phase_from, phase_name, role_from, role_name},
};

use super::{
    engine::Engine,
    state::{State, Subject},
};
use crate::store::{Ledger, Store};

/// Nanoseconds of a day.
const DAY: u64 = 86_400_000_000_000;

/// On which days which files were used, outside the guard.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    models: BTreeMap<Scope, PathModel>,
    /// Scopes in which a name was new since the open sets were last worked out.
    grew: BTreeSet<Scope>,
    /// Something was counted that the store does not have.
    unsaved: bool,
}

/// One workload's models, as the store keeps them.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    scopes: Vec<ScopeRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ScopeRow {
    role: String,
    phase: String,
    /// Access, form, first day, last day, bits of the days before it.
    entries: Vec<(String, String, u32, u32, u64)>,
}

impl Paths {
    /// Forgets a workload.
    pub(super) fn forget(&mut self, workload: &str) {
        self.models.retain(|scope, _| scope.workload != workload);
        self.grew.retain(|scope| scope.workload != workload);
        self.unsaved = true;
    }

    /// Bytes that a workload's models take, about.
    fn bytes(&self, workload: &str) -> usize {
        let of_workload = self.models.iter().filter(|(s, _)| s.workload == workload);
        of_workload.map(|(_, model)| model.bytes()).sum()
    }

    fn rows(&self) -> Vec<(String, String)> {
        let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
        for (scope, model) in &self.models {
            let entry = |(access, text, days): (Access, &str, Days)| {
                let (first, last, bits) = days.parts();
                (access.word().to_owned(), text.to_owned(), first, last, bits)
            };
            let row = ScopeRow {
                role: role_name(scope.role).into(),
                phase: phase_name(scope.phase).into(),
                entries: model.entries().map(entry).collect(),
            };
            let of_workload = rows.entry(&scope.workload);
            let of_workload = of_workload.or_insert_with(|| Row { scopes: vec![] });
            of_workload.scopes.push(row);
        }
        rows.into_iter()
            .map(|(workload, row)| {
                let body = serde_json::to_string(&row).unwrap_or_default();
                (workload.to_owned(), body)
            })
            .collect()
    }

    fn restore(&mut self, workload: &str, row: &Row) -> anyhow::Result<()> {
        for of_scope in &row.scopes {
            let scope = Scope {
                workload: workload.into(),
                role: role_from(&of_scope.role)
                    .ok_or_else(|| anyhow::anyhow!("{} is no role", of_scope.role))?,
                phase: phase_from(&of_scope.phase)
                    .ok_or_else(|| anyhow::anyhow!("{} is no phase", of_scope.phase))?,
            };
            let model = self.models.entry(scope).or_default();
            for (access, form, first, last, bits) in &of_scope.entries {
                let access = Access::from_word(access)
                    .ok_or_else(|| anyhow::anyhow!("{access} is no access"))?;
                // What is under the guard by now, or of another form, is not taken back.
                let _ = model.restore(access, form, Days::from_parts(*first, *last, *bits));
            }
        }
        Ok(())
    }
}

impl State {
    /// What is made of an observation: the kernel's verdict, and whether it was given to a name of
    /// the class that was allowed.
    pub(super) fn judge(&self, mut observation: Observation) -> Decision {
        let Some(family) = self.widened(&observation) else {
            return self.judge_name(observation);
        };
        let scope = &observation.scope;
        let workload = self.mode(&scope.workload).unwrap_or(Mode::Learn);
        match self.modes(scope, workload).get(family) {
            Mode::Learn => {
                observation.verdict = Verdict::New;
                decide(observation, &self.baseline)
            }
            mode => {
                let list = self.list(&observation.scope, family);
                decide_widened(observation, mode, list)
            }
        }
    }

    /// The family in which something was let through only because the kernel knows no classes.
    fn widened(&self, seen: &Observation) -> Option<Family> {
        if seen.verdict != Verdict::Known || seen.invariant {
            return None;
        }
        let scope = &seen.scope;
        seen.families().into_iter().find(|family| {
            // The few rules of the operator first: the list can be long.
            !self.operator_allows(seen, *family)
                && self
                    .list(scope, *family)
                    .widens_to(scope, *family, &seen.fact)
        })
    }

    /// The list that a family's policy is made of.
    pub(super) fn list(&self, scope: &Scope, family: Family) -> &Baseline {
        let mode = self.mode(&scope.workload).unwrap_or(Mode::Learn);
        let approved = self.in_force(&scope.workload, mode);
        match approved.filter(|approved| approved.profile.covers(family)) {
            Some(approved) => approved.baseline(),
            None => &self.baseline,
        }
    }

    fn operator_allows(&self, seen: &Observation, family: Family) -> bool {
        let (Some(rules), Some(file)) = (self.allow.get(&seen.scope.workload), seen.fact.file())
        else {
            return false;
        };
        let (list, access) = match family {
            Family::Write => (&rules.write, WRITE),
            _ => (&rules.read, READ),
        };
        let path: Vec<&[u8]> = text::components(&file.path).collect();
        list.iter()
            .filter_map(|rule| PathPattern::parse(rule, access).ok())
            .any(|pattern| pattern.matches(&path, false))
    }

    /// Whether an operator rejected what is about to be learned.
    pub(super) fn is_rejected(&self, seen: &Observation) -> bool {
        !self.rejected.is_empty()
            && seen.families().into_iter().any(|family| {
                let subject = learned_as(family, &seen.fact);
                self.rejected
                    .contains(&(seen.scope.clone(), family, subject))
            })
    }

    /// Counts the day for the file of an observation, while its workload learns.
    pub(super) fn follow_paths(&mut self, seen: &Observation) {
        if self.mode(&seen.scope.workload) != Some(Mode::Learn) {
            return;
        }
        let Some(file) = seen.fact.file() else {
            return;
        };
        let day = u32::try_from(seen.time / DAY).unwrap_or(u32::MAX);
        for family in seen.families() {
            let Some((access, forms)) = file_forms(family, &seen.fact) else {
                continue;
            };
            let known = self.baseline.known_as(&seen.scope, family, &seen.fact);
            if forms.guard.is_some() || known.is_none() {
                continue;
            }
            let model = self.paths.models.entry(seen.scope.clone()).or_default();
            let before = model.revision();
            if model.absorb(access, &path_of(file), day) {
                self.paths.grew.insert(seen.scope.clone());
            }
            self.paths.unsaved |= model.revision() != before;
        }
    }

    /// Puts open sets in the place of the names that they stand for, where names were new.
    /// Returns the names that are no longer in the baseline.
    pub(super) fn collapse(&mut self) -> Vec<Subject> {
        let mut gone = vec![];
        for scope in std::mem::take(&mut self.paths.grew) {
            let Some(model) = self.paths.models.get(&scope) else {
                continue;
            };
            let open: Vec<(Family, String)> = model
                .open()
                .map(|(access, set)| (family_of(access), set.to_owned()))
                .collect();
            for (family, set) in open {
                gone.extend(self.open_set(&scope, family, &set));
            }
        }
        gone
    }

    fn open_set(&mut self, scope: &Scope, family: Family, set: &str) -> Vec<Subject> {
        let Ok(pattern) = PathPattern::parse(set, 0) else {
            return vec![];
        };
        let place = (scope.clone(), family, set.to_owned());
        if self.baseline.get(scope, family, set).is_some() || self.rejected.contains(&place) {
            return vec![];
        }
        let members: Vec<(String, Entry)> = self
            .baseline
            .entries(scope)
            .filter(|(of, subject, _)| *of == family && covers(&pattern, subject))
            .map(|(_, subject, entry)| (subject.to_owned(), *entry))
            .collect();
        self.stand_for(scope, family, set, members)
    }

    /// Puts a set in the place of its members.
    pub(super) fn stand_for(
        &mut self,
        scope: &Scope,
        family: Family,
        set: &str,
        members: Vec<(String, Entry)>,
    ) -> Vec<Subject> {
        let Some(entry) = members.iter().map(|(_, entry)| *entry).reduce(join) else {
            return vec![];
        };
        self.baseline.insert(scope, family, set, entry);
        self.evidence.settle(scope, family, set);
        for (member, _) in &members {
            self.baseline.remove(scope, family, member);
            self.evidence.remove(scope, family, member);
        }
        self.touch(scope, family, set);
        self.still_behind(scope);
        tracing::info!(
            "{}: {} names have become one open set, {set}",
            scope.workload,
            members.len()
        );
        let gone = |(member, _)| (scope.clone(), family, member);
        members.into_iter().map(gone).collect()
    }
}

/// Whether an entry belongs to a set: literal names by their bytes, forms by their text.
fn covers(set: &PathPattern, subject: &str) -> bool {
    let Ok(pattern) = subject.parse::<slmguard_core::baseline::paths::Pattern>() else {
        return false;
    };
    let sample = pattern.sample();
    let path: Vec<&[u8]> = sample.iter().map(Vec::as_slice).collect();
    set.matches(&path, false)
}

fn join(a: Entry, b: Entry) -> Entry {
    Entry {
        count: a.count.saturating_add(b.count),
        first_seen: a.first_seen.min(b.first_seen),
        last_seen: a.last_seen.max(b.last_seen),
    }
}

fn family_of(access: Access) -> Family {
    match access {
        Access::Read => Family::Read,
        Access::Write | Access::Create | Access::Remove => Family::Write,
        Access::Execute => Family::Exec,
        Access::Connect => Family::Unix,
    }
}

impl Engine {
    /// Works out which folders have become open sets, and tells evidence how much memory the other
    /// ledgers take.
    pub(super) fn weigh_paths(&self) {
        let gone = {
            let mut state = self.state();
            let mut gone = state.collapse();
            gone.extend(state.collapse_names());
            let workloads: Vec<String> = state.workloads.keys().cloned().collect();
            for workload in workloads {
                let bytes = state.paths.bytes(&workload)
                    + state.volumes.bytes(&workload)
                    + state.chains.bytes(&workload)
                    + state.lineages.bytes(&workload);
                state.evidence.besides(&workload, bytes);
            }
            gone
        };
        if gone.is_empty() {
            return;
        }
        // The sets are stored before the names that they stand for go.
        let removed = self
            .save_baseline()
            .and_then(|_| self.store.forget_subjects(&gone));
        let text = |e| format!("names that an open set stands for cannot be removed: {e}");
        self.problem("open sets", removed.err().map(text));
    }

    /// Saves what was counted.
    pub(super) fn save_paths(&self) {
        let rows = {
            let mut state = self.state();
            if !std::mem::take(&mut state.paths.unsaved) {
                return;
            }
            state.paths.rows()
        };
        let saved = self.store.save_ledger(Ledger::Path, &rows);
        if saved.is_err() {
            self.state().paths.unsaved = true;
        }
        let text = |e| format!("the days of files cannot be saved: {e}");
        self.problem("paths", saved.err().map(text));
    }
}

/// What the store has of paths.
pub(super) fn load(store: &Store) -> anyhow::Result<Paths> {
    let mut paths = Paths::default();
    for (workload, body) in store.ledger(Ledger::Path)? {
        let row: Row = serde_json::from_str(&body)
            .map_err(|e| anyhow::anyhow!("the days of files of {workload} cannot be read: {e}"))?;
        paths.restore(&workload, &row)?;
    }
    Ok(paths)
}

//! From sightings to workloads: who belongs together, what is new, what is a replica.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use monitor_common::class::{ClassId, Mode, NONE, Role};
use slmguard_core::{
    decode::ClassNames,
    detect::{grouping::grouping, naming, telling},
    observation::Scope,
};

use super::{Body, Found, Program, ROLES, found};
use crate::{
    daemon::{classes::scopes, clock, engine::Engine, modes, state::Standing},
    enrich::{
        adopt::Assignment,
        cgroup::Cgroups,
        detect::{Scanner, Sighting, scan::main_model},
    },
    store::{DetectedRow, StoreError},
};

/// Programs of one workload that are kept.
const PROGRAMS: usize = 8;
/// Processes that are shown although they are no workloads.
const CANDIDATES: usize = 50;

/// A server and what belongs to it.
struct Group<'a> {
    /// The process at the top.
    root: u32,
    /// Everything that was found in its tree.
    members: Vec<&'a Sighting>,
}

impl Group<'_> {
    /// The process that says most.
    fn best(&self) -> &Sighting {
        let root = self.members.iter().find(|s| s.pid == self.root);
        let best = self
            .members
            .iter()
            .max_by_key(|s| (s.verdict.score, std::cmp::Reverse(s.pid)));
        // The one at the top, unless another says clearly more.
        match (root, best) {
            (Some(root), Some(best)) if best.verdict.score < root.verdict.score + 50 => root,
            (_, Some(best)) => best,
            _ => self.members[0],
        }
    }

    /// Those that serve. A tool may compute models, too: it is recognised by its parent only.
    fn servers(&self) -> impl Iterator<Item = &&Sighting> {
        let detector = self.best().verdict.detector;
        self.members.iter().filter(move |s| {
            s.pid == self.root || s.verdict.detector == detector || s.verdict.named()
        })
    }
}

impl Engine {
    /// Brings workloads in line with what the scanner saw.
    pub(super) fn apply(&self, scanner: &Scanner, cgroups: &Cgroups) {
        let mut by_workload: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let mut changed = false;
        for group in groups(scanner) {
            match self.place(&group) {
                Some((name, new_rules)) => {
                    changed |= new_rules;
                    let pids = group.members.iter().map(|s| s.pid);
                    by_workload.entry(name.clone()).or_default().extend(pids);
                    if self.adopt_roots(&name, &group) || new_rules {
                        changed = true;
                    }
                }
                None => continue,
            }
        }
        if changed {
            let problem = self.refresh_enrolment(cgroups).and_then(|()| self.adopt());
            self.problem(
                "enrolment",
                problem
                    .err()
                    .map(|e| format!("cannot enrol workloads: {e:#}")),
            );
        }
        self.note_seen(scanner, &by_workload);
    }

    /// The workload of a group, which is made if need be, and whether rules changed.
    fn place(&self, group: &Group<'_>) -> Option<(String, bool)> {
        if let Some(scope) = self.scope_of(group) {
            // Tools and agents may compute models, too; that makes them nothing else.
            if !matches!(scope.role, Role::Server | Role::Loader) {
                return None;
            }
            let changed = self.add_programs(&scope.workload, group);
            return Some((scope.workload, changed));
        }
        let best = group.best();
        let place = grouping(&best.facts.cgroup);
        let arguments = telling(&best.facts, best.verdict.detector).map_or(vec![], |t| t.arguments);
        let key = naming::key(best.verdict.detector, &best.facts.exe, &arguments, &place);
        let known = {
            let discovery = self.discovery();
            if discovery.dismissed.contains_key(&key) {
                return None;
            }
            discovery
                .found
                .iter()
                .find(|(_, found)| found.key == key)
                .map(|(name, _)| name.clone())
        };
        if let Some(name) = known {
            let changed = self.add_programs(&name, group);
            return Some((name, changed));
        }
        let model = main_model(&best.models)
            .map(|m| m.path.as_str())
            .or_else(|| arguments.last().map(String::as_str));
        let name = {
            let state = self.state();
            let taken = |name: &str| {
                state.workloads.contains_key(name)
                    || self.config.workloads.iter().any(|w| w.name == name)
            };
            naming::name(
                best.verdict.detector,
                &best.facts.exe,
                model,
                &place,
                &taken,
            )
        };
        match self.create(&name, &key, group) {
            Ok(()) => {
                self.discovery().refused.remove(&key);
                Some((name, true))
            }
            Err(e) => {
                self.refuse(&key, &name, &e);
                None
            }
        }
    }

    /// Where the process at the top belongs, else any of the group.
    fn scope_of(&self, group: &Group<'_>) -> Option<Scope> {
        let guard = self.guard();
        let others = group.members.iter().map(|s| s.pid);
        std::iter::once(group.root)
            .chain(others)
            .map(|pid| guard.member(pid))
            .filter(|class| *class != NONE)
            .find_map(|class| self.classes.scope(class))
    }

    /// Enters a workload: everything or nothing.
    fn create(&self, name: &str, key: &str, group: &Group<'_>) -> anyhow::Result<()> {
        let best = group.best();
        let seen = found::seen(best, &group.members);
        let body = Body {
            detection: seen.detection.clone(),
            programs: programs(group),
            files: vec![],
        };
        let found = Found {
            key: key.to_owned(),
            confirmed: false,
            since: clock::now(),
            body,
        };
        let row = DetectedRow {
            name: name.to_owned(),
            key: key.to_owned(),
            confirmed: false,
            since: found.since,
            body: serde_json::to_string(&found.body).context("cannot write it down")?,
        };
        let state = modes::first(Mode::Learn, found.since);
        let numbered = self
            .store
            .add_detected(&row, &state, &scopes(name, &ROLES))?;
        self.state()
            .workloads
            .insert(name.to_owned(), Standing::new(state, 0));
        self.classes.add(&numbered);
        if let Err(e) = self.bring_in(&numbered) {
            self.classes.remove(name);
            self.state().workloads.remove(name);
            self.store.forget_detected(name, false)?;
            return Err(e);
        }
        self.metrics.add_workload(name);
        let mut discovery = self.discovery();
        discovery.found.insert(name.to_owned(), found);
        drop(discovery);
        tracing::info!(
            "found workload {name}: {} in process {} (score {:.2}); it learns and does not enforce \
             before `slmguard workloads confirm {name}`",
            best.verdict.detector.id(),
            group.root,
            found::weight(best.verdict.score),
        );
        Ok(())
    }

    /// Tells the kernel of classes that are new, and what applies to them.
    pub(super) fn bring_in(&self, numbered: &[(ClassId, Scope)]) -> anyhow::Result<()> {
        // Takes a moment, which nobody else has to wait for.
        self.guard().watch_files()?;
        let mut state = self.state();
        {
            let mut guard = self.guard();
            for (id, scope) in numbered {
                guard.set_class(*id, self.classes.describe(*id, scope))?;
            }
        }
        for (id, scope) in numbered {
            // The number may have been another's.
            state.published.remove(id);
            let mode = state.mode(&scope.workload).unwrap_or(Mode::Learn);
            self.publish(&mut state, *id, scope, mode)?;
        }
        Ok(())
    }

    fn refuse(&self, key: &str, name: &str, error: &anyhow::Error) {
        let full = matches!(
            error.downcast_ref::<StoreError>(),
            Some(StoreError::ClassesFull { .. })
        );
        let text = format!("found {name}, which is not guarded: {error:#}");
        let mut discovery = self.discovery();
        if discovery
            .refused
            .insert(key.to_owned(), text.clone())
            .is_none()
        {
            if full {
                tracing::error!("{text}");
            } else {
                tracing::warn!("{text}");
            }
        }
    }

    /// Enters programs that a workload's rules do not have yet.
    fn add_programs(&self, name: &str, group: &Group<'_>) -> bool {
        let mut discovery = self.discovery();
        let Some(found) = discovery.found.get_mut(name) else {
            return false;
        };
        let mut changed = false;
        for program in programs(group) {
            if found.body.programs.contains(&program) {
                continue;
            }
            // The same program at the same path: an upgrade, or a container that came again.
            found.body.programs.retain(|p| {
                (&p.exe, &p.arguments, &p.unit) != (&program.exe, &program.arguments, &program.unit)
                    || (p.device, p.inode) != (program.device, program.inode) && !program.own_files
            });
            found.body.programs.push(program);
            let excess = found.body.programs.len().saturating_sub(PROGRAMS);
            found.body.programs.drain(..excess);
            changed = true;
        }
        changed
    }

    /// Makes the processes of a group members where they are not.
    fn adopt_roots(&self, name: &str, group: &Group<'_>) -> bool {
        let mut adopted = false;
        // Who belongs to a configured workload is what the configuration says.
        if !self.discovery().found.contains_key(name) {
            return false;
        }
        for sighting in group.servers() {
            if self.guard().member(sighting.pid) != NONE {
                continue;
            }
            self.adopt_one(&Assignment {
                pid: sighting.pid,
                start_ticks: sighting.start_ticks,
                workload: name.to_owned(),
                role: Role::Server,
            });
            adopted = true;
        }
        adopted
    }

    /// Keeps what the detectors say about every workload that runs, and what comes near.
    fn note_seen(&self, scanner: &Scanner, by_workload: &BTreeMap<String, Vec<u32>>) {
        let mut seen_now = BTreeMap::new();
        for (name, pids) in by_workload {
            let mut all: Vec<&Sighting> = pids
                .iter()
                .filter_map(|pid| scanner.sighting(*pid))
                .collect();
            all.sort_by_key(|s| (std::cmp::Reverse(s.verdict.score), s.pid));
            let Some(best) = all.first() else {
                continue;
            };
            for model in all.iter().flat_map(|s| &s.models) {
                self.digests.want(model);
            }
            seen_now.insert(name.clone(), found::seen(best, &all));
        }
        let mut near: Vec<&Sighting> = scanner
            .sightings()
            .filter(|s| !s.verdict.found() && s.verdict.score > 0)
            .filter(|s| self.guard().member(s.pid) == NONE)
            .collect();
        near.sort_by_key(|s| (std::cmp::Reverse(s.verdict.score), s.pid));
        near.truncate(CANDIDATES);
        let candidates = near
            .into_iter()
            .map(|s| crate::api::view::Candidate {
                pid: s.pid,
                exe: slmguard_core::text::escape(s.facts.exe.as_bytes()),
                detector: s.verdict.detector.id().into(),
                score: found::weight(s.verdict.score),
                evidence: found::evidence(&s.verdict.evidence),
            })
            .collect();
        let mut discovery = self.discovery();
        discovery.candidates = candidates;
        for (name, seen) in seen_now {
            discovery.seen.insert(name, seen);
        }
        let alive: Vec<String> = self.state().workloads.keys().cloned().collect();
        discovery.seen.retain(|name, _| alive.contains(name));
    }

    /// Writes down what changed about workloads that were found.
    pub(super) fn save_found(&self) {
        let changed: Vec<(String, bool, Body)> = {
            let mut discovery = self.discovery();
            let seen = discovery.seen.clone();
            let mut changed = vec![];
            for (name, found) in &mut discovery.found {
                let Some(seen) = seen.get(name) else {
                    continue;
                };
                let mut detection = seen.detection.clone();
                detection.models = self.models(&seen.files);
                let files = seen
                    .files
                    .iter()
                    .map(|(p, id, _)| (p.clone(), *id))
                    .collect();
                let body = Body {
                    detection,
                    programs: found.body.programs.clone(),
                    files,
                };
                if body != found.body {
                    found.body = body.clone();
                    changed.push((name.clone(), found.confirmed, body));
                }
            }
            changed
        };
        for (name, confirmed, body) in changed {
            let saved = serde_json::to_string(&body)
                .map_err(anyhow::Error::from)
                .and_then(|text| Ok(self.store.update_detected(&name, confirmed, &text)?));
            self.problem(
                "detected workloads",
                saved
                    .err()
                    .map(|e| format!("what was found cannot be saved: {e:#}")),
            );
        }
    }
}

fn programs(group: &Group<'_>) -> Vec<Program> {
    let mut programs: Vec<Program> = vec![];
    for sighting in group.servers() {
        let program = found::program(sighting, Role::Server);
        // Without a rule of its own it is recognised by its parent only.
        if (program.arguments.is_some() || program.unit.is_some()) && !programs.contains(&program) {
            programs.push(program);
        }
    }
    programs
}

/// Everything that was found, by the server at the top of its tree.
fn groups(scanner: &Scanner) -> Vec<Group<'_>> {
    let mut by_root: HashMap<u32, Vec<&Sighting>> = HashMap::new();
    for sighting in scanner.sightings().filter(|s| s.verdict.found()) {
        let detector = sighting.verdict.detector;
        // A launcher of the same server counts although it does not compute.
        let fits =
            |s: &Sighting| s.verdict.found() || s.verdict.named() && s.verdict.detector == detector;
        let root = scanner.topmost(sighting.pid, &fits);
        by_root.entry(root).or_default().push(sighting);
    }
    let mut groups: Vec<Group<'_>> = by_root
        .into_iter()
        .map(|(root, mut members)| {
            if let Some(top) = scanner.sighting(root)
                && !members.iter().any(|m| m.pid == root)
            {
                members.push(top);
            }
            members.sort_by_key(|s| (s.start_ticks, s.pid));
            Group { root, members }
        })
        .collect();
    groups.sort_by_key(|g| (g.members[0].start_ticks, g.root));
    groups
}

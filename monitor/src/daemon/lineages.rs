//! Lineages in the running daemon: in which shape workloads are, what waits to be on their lists, and
//! what operators want kept. How lists adapt is the core's
//! ([`slmguard_core::baseline::lineage`]).

use std::collections::{BTreeMap, BTreeSet};

use monitor_common::{
    class::{Family, Mode, Phase, Role},
    event::Verdict,
    hash::{self, HashKey},
};
use slmguard_core::{
    baseline::{
        Entry,
        lineage::{Admitted, Change, Finding, Identity, Lineages, Row, flags},
        subject::learned_as,
    },
    config::BY_QUORUM,
    decide,
    observation::{Observation, ProcessKey, Scope},
    text,
    time::rfc3339,
    workload::{family_name, phase_name, role_name},
};

use super::{
    approvals::Chosen,
    clock,
    engine::Engine,
    state::{Outline, State},
};
use crate::{
    api::{Refusal, view},
    store::{AuditEntry, Ledger, Store, StoreError},
};

/// What waits and is shown of a workload.
const SHOWN: usize = 50;

/// The processes that serve for a workload.
type Serving = BTreeMap<String, Vec<(ProcessKey, Vec<String>)>>;

impl State {
    /// Takes in that something was used or tried that lists which are followed are about.
    pub(super) fn follow_lists(&mut self, seen: &Observation, tainted: bool) {
        let known = seen.verdict == Verdict::Known && !seen.invariant;
        if !known && (!seen.verdict.is_adverse() || seen.invariant) {
            return;
        }
        for family in seen.families() {
            if !self.lineages.follows(&seen.scope, family) {
                continue;
            }
            let subject = if known {
                let approved = self.approved.get(&seen.scope.workload);
                let of = |list: &slmguard_core::baseline::Baseline| {
                    list.known_as(&seen.scope, family, &seen.fact)
                };
                of(&self.baseline).or_else(|| approved.and_then(|a| of(a.baseline())))
            } else {
                Some(learned_as(family, &seen.fact))
            };
            if let Some(subject) = subject {
                let replica = self.replica(seen.process.pid);
                self.lineages
                    .see(seen, (family, &subject), replica, tainted);
            }
        }
    }

    /// A number for the replica that a process belongs to: its cgroup by path, so that a service
    /// that was restarted is the same replica.
    fn replica(&self, pid: u32) -> u64 {
        let process = self.processes.get(pid);
        process.map_or(0, |process| replica(&process.info.cgroup))
    }

    /// The replicas of a workload that run, where their agreement counts.
    fn running(&self, workload: &str, by_quorum: bool) -> Option<BTreeSet<u64>> {
        by_quorum.then(|| {
            let serving = self.processes.living().filter(|process| {
                process.scope.workload == workload && process.scope.role == Role::Server
            });
            serving.map(|p| replica(&p.info.cgroup)).collect()
        })
    }

    /// What is told of a finding.
    pub(super) fn outline_lineage(&mut self, finding: &Finding, policy_version: u64) -> Outline {
        let scope = finding.scope();
        let family = match finding {
            Finding::Began(_) => Family::Read,
            Finding::Stale { family, .. } => *family,
        };
        let workload = self.mode(&scope.workload).unwrap_or(Mode::Learn);
        let mode = self.modes(scope, workload).get(family);
        let mut decision = decide::lineage(finding, mode);
        self.trace_finding(&mut decision);
        Outline {
            process: self.processes.observe(&decision.observation),
            decision,
            policy_version,
        }
    }

    /// Everything that serves, by workload.
    fn serving(&self) -> Serving {
        let mut serving = Serving::new();
        for process in self.processes.living() {
            if process.scope.role == Role::Server && process.scope.phase == Phase::Serve {
                let key = ProcessKey {
                    pid: process.info.pid,
                    start_time: process.info.start_time,
                };
                let of = serving.entry(process.scope.workload.clone()).or_default();
                of.push((key, process.info.argv.clone()));
            }
        }
        serving
    }
}

impl Engine {
    /// Compares what workloads are with what they were.
    pub(super) fn weigh_lineages(&self) {
        let serving = self.state().serving();
        for (workload, mut processes) in serving {
            processes.sort_by_key(|(key, _)| *key);
            let Some(now) = self.identity(&workload, &processes) else {
                continue;
            };
            let scope = Scope {
                workload,
                role: Role::Server,
                phase: Phase::Serve,
            };
            let mut state = self.state();
            let mode = state.mode(&scope.workload).unwrap_or(Mode::Learn);
            let modes = state.modes(&scope, mode);
            let learning = [Family::Read, Family::Destination, Family::Exec]
                .into_iter()
                .all(|family| modes.get(family) == Mode::Learn);
            let who = (&scope, processes[0].0);
            let time = clock::now();
            if let Some(change) = state.lineages.identify(who, &now, learning, time) {
                self.begin(&mut state, &change);
            }
        }
    }

    /// What a workload is now; `None` while a part of that is not known.
    fn identity(&self, workload: &str, serving: &[(ProcessKey, Vec<String>)]) -> Option<Identity> {
        let mut now = Identity::default();
        for (process, arguments) in serving {
            let link = self.proc.root().join(format!("{}/exe", process.pid));
            now.programs.insert(self.digests.program(&link)?);
            // By now another process may have that number.
            if !self.proc.is(process.pid, process.start_time) {
                return None;
            }
            now.flags.insert(flags(arguments));
        }
        let files = {
            let discovery = self.discovery();
            let seen = discovery.seen.get(workload);
            seen.map(|seen| seen.files.clone()).unwrap_or_default()
        };
        for model in self.models(&files) {
            match (model.sha256, model.error) {
                (Some(digest), _) => {
                    now.models.insert(digest);
                }
                (None, Some(_)) => {}
                // Still being worked out.
                (None, None) => return None,
            }
        }
        Some(now)
    }

    /// Another lineage begins: evidence is about the difference from now on, and what was added
    /// since the lists were frozen is off them.
    fn begin(&self, state: &mut State, change: &Change) {
        let workload = &change.scope.workload;
        state.evidence.deployed(workload);
        let dropped = self.change_lists(state, workload, &change.dropped, false);
        let text = |e| format!("the lists of {workload} cannot be taken back: {e}");
        self.problem("lineage", dropped.err().map(text));
        let action = format!(
            "{workload}: lineage {} begins: {}",
            change.lineage,
            change.differs.join(", ")
        );
        self.automatic(action, "another model, program or flags");
    }

    /// Lets lists follow what is approved, lets go of what is not used, and adds what enough replicas
    /// saw, where the configuration wants that.
    pub(super) fn tend_lineages(&self) {
        let now = clock::now();
        let mut state = self.state();
        // Borrowed beside the lists that they follow.
        let mut lineages = std::mem::take(&mut state.lineages);
        for (_, scope) in self.classes.configured() {
            let mode = state.mode(&scope.workload).unwrap_or(Mode::Learn);
            let modes = state.modes(&scope, mode);
            let allowed = state.allowed(&scope, mode);
            for family in Family::ALL {
                if modes.get(family) == Mode::Learn {
                    lineages.unfollow(&scope, family);
                    continue;
                }
                let entries = allowed.entries(&scope).filter(|(of, ..)| *of == family);
                let subjects: BTreeSet<&str> = entries.map(|(_, subject, _)| subject).collect();
                lineages.follow(&scope, family, &subjects, now);
            }
        }
        let workloads: Vec<String> = state.workloads.keys().cloned().collect();
        let mut problem = None;
        for workload in workloads {
            let running = state.running(&workload, self.by_quorum(&workload));
            let added = lineages.tend(&workload, running.as_ref(), now);
            if added.is_empty() {
                continue;
            }
            match self.change_lists(&mut state, &workload, &added, true) {
                Ok(()) => self.tell_added(&workload, &added),
                Err(e) => problem = Some(format!("{workload} cannot be given what was added: {e}")),
            }
        }
        state.lineages = lineages;
        self.problem("quorum", problem);
    }

    fn by_quorum(&self, workload: &str) -> bool {
        let configured = self.config.workloads.iter().find(|w| w.name == workload);
        configured.is_some_and(|w| w.adapt == BY_QUORUM)
    }

    fn tell_added(&self, workload: &str, added: &[Admitted]) {
        for (role, phase, family, subject) in added {
            let action = format!(
                "{workload} {} {}: {} {subject} was added: enough of its replicas saw it",
                role_name(*role),
                phase_name(*phase),
                family_name(*family)
            );
            self.automatic(action, "quorum");
        }
    }

    /// Puts subjects on the lists of a workload, or takes them off.
    fn change_lists(
        &self,
        state: &mut State,
        workload: &str,
        subjects: &[Admitted],
        add: bool,
    ) -> Result<(), StoreError> {
        if subjects.is_empty() {
            return Ok(());
        }
        let mode = state.mode(workload).unwrap_or(Mode::Learn);
        let mut list = state.in_force(workload, mode).map(|a| a.profile.clone());
        let mut gone = vec![];
        let mut scopes = BTreeSet::new();
        for (role, phase, family, subject) in subjects {
            let scope = Scope {
                workload: workload.to_owned(),
                role: *role,
                phase: *phase,
            };
            scopes.insert(scope.clone());
            match list.as_mut().filter(|list| list.covers(*family)) {
                Some(list) if add => _ = list.add(*role, *phase, *family, subject),
                Some(list) => _ = list.remove(*role, *phase, *family, subject),
                None if add => {
                    let entry = Entry::default();
                    state.baseline.insert(&scope, *family, subject, entry);
                    state.touch(&scope, *family, subject);
                }
                None => {
                    state.baseline.remove(&scope, *family, subject);
                    gone.push((scope, *family, subject.to_string()));
                }
            }
        }
        if let (Some(mut list), Some(approved)) = (list, state.approved.get_mut(workload))
            && list != approved.profile
        {
            // Whoever signed it has not signed this.
            list.signature = None;
            approved.replace(workload, list);
            self.store.approve(&approved.row(workload))?;
        }
        self.store.forget_subjects(&gone)?;
        scopes.iter().for_each(|scope| state.still_behind(scope));
        Ok(())
    }

    /// Something was done by the daemon itself.
    fn automatic(&self, action: String, reason: &str) {
        tracing::info!("{action}");
        self.audit(AuditEntry {
            time: clock::now(),
            uid: 0,
            pid: std::process::id(),
            action,
            reason: reason.into(),
        });
    }

    /// Has subjects kept whatever happens, or takes that back.
    pub(super) fn pin(
        &self,
        state: &mut State,
        workload: &str,
        chosen: &Chosen,
        keep: bool,
    ) -> Result<String, Refusal> {
        let Some(subject) = &chosen.subject else {
            return Err(Refusal::Bad(
                "which subject? `slmguard baseline show` lists them".into(),
            ));
        };
        let shown = text::escape(subject.as_bytes());
        let places = self.places(state, workload, chosen, subject)?;
        let now = clock::now();
        let mut changed = 0;
        for (scope, family, subject) in &places {
            let mode = state.mode(workload).unwrap_or(Mode::Learn);
            let listed = state
                .allowed(scope, mode)
                .get(scope, *family, subject)
                .is_some();
            if keep && !listed {
                continue;
            }
            changed += usize::from(if keep {
                state.lineages.pin(scope, *family, subject, now)
            } else {
                state.lineages.unpin(scope, *family, subject)
            });
        }
        match (changed, keep) {
            (0, true) => Err(Refusal::Conflict(format!(
                "{workload} has no {shown} on its lists that could be kept, or too much is pinned; \
                 approve it first"
            ))),
            (0, false) => Err(Refusal::NotFound(format!(
                "{shown} is not pinned for {workload}"
            ))),
            (_, true) => Ok(format!(
                "{workload} keeps {shown}: it does not go stale, stays when another lineage begins, and \
                 is expected again after a reset"
            )),
            (_, false) => Ok(format!("{shown} is not pinned for {workload} any more")),
        }
    }

    /// What is pinned is expected again after everything was forgotten.
    pub(super) fn expect_pins(&self, state: &mut State, workload: &str) {
        let pins: Vec<_> = state
            .lineages
            .pins(workload)
            .map(|(scope, family, subject)| (scope, family, subject.to_owned()))
            .collect();
        for (scope, family, subject) in pins {
            let entry = Entry::default();
            state.baseline.insert(&scope, family, &subject, entry);
            state.touch(&scope, family, &subject);
        }
    }

    /// What people are shown of the lineages of a workload.
    pub(super) fn lineage(&self, state: &State, workload: &str) -> view::Lineage {
        let line = |began: &slmguard_core::baseline::lineage::Began| {
            let why = match began.why.is_empty() {
                true => "the first".to_owned(),
                false => began.why.join(", "),
            };
            format!("lineage {} since {}: {why}", began.id, rfc3339(began.time))
        };
        let running = state.running(workload, self.by_quorum(workload));
        let all = state.lineages.waiting(workload, running.as_ref());
        let waiting = all.iter().take(SHOWN).map(|waiting| {
            let (times, days) = waiting.seen;
            view::Waiting {
                role: role_name(waiting.role).into(),
                phase: phase_name(waiting.phase).into(),
                family: family_name(waiting.family).into(),
                subject: waiting.subject.clone(),
                times,
                days,
                waits: waiting.waits.iter().map(ToString::to_string).collect(),
            }
        });
        view::Lineage {
            began: state.lineages.began(workload).iter().map(line).collect(),
            waiting: waiting.collect(),
            more: all.len().saturating_sub(SHOWN),
        }
    }

    /// Saves what is known.
    pub(super) fn save_lineages(&self) {
        let rows = self.state().lineages.rows();
        let bodies = rows.iter().map(|row| {
            let body = serde_json::to_string(row).unwrap_or_default();
            (row.workload.clone(), body)
        });
        let bodies: Vec<_> = bodies.collect();
        let saved = self.store.save_ledger(Ledger::Lineage, &bodies);
        let text = |e| format!("the lineages cannot be saved: {e}");
        self.problem("lineages", saved.err().map(text));
    }
}

/// A number for a cgroup.
fn replica(cgroup: &str) -> u64 {
    // Not secret: it only tells one from another, and is the same after a restart.
    let key = HashKey { k0: 0, k1: 0 };
    hash::path(key, text::components(cgroup.as_bytes()))
}

/// What the store has of lineages.
pub(super) fn load(store: &Store) -> anyhow::Result<Lineages> {
    let mut rows: Vec<Row> = vec![];
    for (workload, body) in store.ledger(Ledger::Lineage)? {
        let row = serde_json::from_str(&body)
            .map_err(|e| anyhow::anyhow!("the lineages of {workload} cannot be read: {e}"))?;
        rows.push(row);
    }
    let mut lineages = Lineages::default();
    for workload in lineages.restore(rows) {
        tracing::warn!("a part of the lineages of {workload} has words that are not known here");
    }
    Ok(lineages)
}

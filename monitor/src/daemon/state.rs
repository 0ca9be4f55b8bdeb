//! What the flow knows between two events: baseline, processes, modes. Behind one lock; nothing in
//! here waits for disk or kernel.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use monitor_common::{
    class::{ClassId, Family, Mode, Role},
    event::Verdict,
};
use slmguard_core::{
    alert::ProcessInfo,
    baseline::{Baseline, Row},
    decide::decide,
    decision::{Decision, Outcome},
    observation::{Fact, Observation, Scope},
    workload::{family_name, phase_name, role_name},
};

use crate::{
    enrich::{enrolment::Rule, process::ProcessTable},
    store::WorkloadState,
};

/// Length of the slots in which background work is counted as episodes, nanoseconds.
const SLOT: u64 = 60_000_000_000;

/// One learned subject.
pub type Subject = (Scope, Family, String);

/// A workload as it stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Mode and basis.
    pub state: WorkloadState,
    /// Alerts in the store.
    pub alerts: u64,
    /// Tool processes and busy minutes since the start.
    pub episodes: u64,
    busy: u64,
}

impl Standing {
    /// A workload that has done nothing yet.
    pub fn new(state: WorkloadState, alerts: u64) -> Self {
        Self {
            state,
            alerts,
            episodes: 0,
            busy: 0,
        }
    }
}

/// The state.
#[derive(Debug)]
pub struct State {
    /// What was learned.
    pub baseline: Baseline,
    /// Members.
    pub processes: ProcessTable,
    /// Workloads, configured and found.
    pub workloads: BTreeMap<String, Standing>,
    /// Versions behind the kernel's policy numbers.
    pub versions: HashMap<u32, u64>,
    /// What each class has in the kernel: version of its policy, bits of its control word.
    pub published: HashMap<ClassId, (u64, u64)>,
    /// Enrolment rules in the kernel.
    pub rules: Vec<Rule>,
    /// What of the configuration could not be resolved.
    pub unresolved: Vec<String>,
    /// Subjects that the store does not have yet.
    dirty: BTreeSet<Subject>,
    /// Scopes that learned something since their policy was published.
    learned: BTreeSet<Scope>,
}

/// What became of an observation.
#[derive(Clone, Debug)]
pub struct Outline {
    /// The decision.
    pub decision: Decision,
    /// Who did it.
    pub process: ProcessInfo,
    /// Version of the policy that decided; 0 where it is not known.
    pub policy_version: u64,
}

impl State {
    /// A state to start with.
    pub fn new(
        baseline: Baseline,
        processes: ProcessTable,
        workloads: BTreeMap<String, (WorkloadState, u64)>,
    ) -> Self {
        let standing = |(state, alerts)| Standing::new(state, alerts);
        Self {
            baseline,
            processes,
            workloads: workloads
                .into_iter()
                .map(|(name, w)| (name, standing(w)))
                .collect(),
            versions: HashMap::new(),
            published: HashMap::new(),
            rules: vec![],
            unresolved: vec![],
            dirty: BTreeSet::new(),
            learned: BTreeSet::new(),
        }
    }

    /// Takes one observation in: enrich, decide, learn.
    pub fn observe(&mut self, observation: Observation) -> Outline {
        let process = match &observation.fact {
            // The process is no member, and the workload did nothing.
            Fact::Caller { .. } => self.processes.describe(&observation),
            _ => {
                self.count_episode(&observation);
                self.processes.observe(&observation)
            }
        };
        let policy_version = self.versions.get(&observation.policy).copied().unwrap_or(0);
        let decision = decide(observation, &self.baseline);
        self.learn(&decision);
        Outline {
            decision,
            process,
            policy_version,
        }
    }

    /// Counts behaviour that the kernel did not report again because it is known.
    pub fn count_known(&mut self, observation: &Observation) {
        self.absorb(observation);
    }

    fn learn(&mut self, decision: &Decision) {
        let seen = &decision.observation;
        let learns = decision.outcome == Outcome::Learn;
        // A straggler from before a change of mode: what is enforced was approved without it.
        if learns && self.mode(&seen.scope.workload) != Some(Mode::Learn) {
            return;
        }
        if learns || seen.verdict == Verdict::Known {
            self.absorb(seen);
        }
    }

    fn absorb(&mut self, seen: &Observation) {
        if self.baseline.absorb(seen) {
            self.learned.insert(seen.scope.clone());
        }
        let subject = seen.subject();
        for family in seen.families() {
            if self.baseline.get(&seen.scope, family, &subject).is_some() {
                self.dirty
                    .insert((seen.scope.clone(), family, subject.clone()));
            }
        }
    }

    fn count_episode(&mut self, seen: &Observation) {
        let Some(standing) = self.workloads.get_mut(&seen.scope.workload) else {
            return;
        };
        if let Fact::Exec {
            after: Some(after), ..
        } = &seen.fact
            && after.role == Role::Tool
        {
            standing.episodes += 1;
        }
        let slot = seen.time / SLOT;
        if slot > standing.busy {
            standing.busy = slot;
            standing.episodes += 1;
        }
    }

    /// The mode of a workload.
    pub fn mode(&self, workload: &str) -> Option<Mode> {
        self.workloads.get(workload).map(|w| w.state.mode)
    }

    /// Scopes whose policies have fallen behind what was learned; they count as caught up.
    pub fn take_learned(&mut self) -> BTreeSet<Scope> {
        std::mem::take(&mut self.learned)
    }

    /// A policy could not be published: it is still behind.
    pub fn still_behind(&mut self, scope: &Scope) {
        self.learned.insert(scope.clone());
    }

    /// Rows that the store does not have yet; they count as saved.
    pub fn take_unsaved(&mut self) -> (Vec<Row>, BTreeSet<Subject>) {
        let subjects = std::mem::take(&mut self.dirty);
        let row = |(scope, family, subject): &Subject| {
            let entry = self.baseline.get(scope, *family, subject)?;
            Some(Row {
                workload: scope.workload.clone(),
                role: role_name(scope.role).into(),
                phase: phase_name(scope.phase).into(),
                family: family_name(*family).into(),
                subject: subject.clone(),
                count: entry.count,
                first_seen: entry.first_seen,
                last_seen: entry.last_seen,
            })
        };
        (subjects.iter().filter_map(row).collect(), subjects)
    }

    /// Saving failed: they are still to be saved.
    pub fn still_unsaved(&mut self, subjects: BTreeSet<Subject>) {
        self.dirty.extend(subjects);
    }
}

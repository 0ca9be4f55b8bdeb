//! What the flow knows between two events: baseline, processes, modes. Behind one lock; nothing in
//! here waits for disk or kernel.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use monitor_common::{
    class::{ClassId, Family, Mode, Role},
    event::Verdict,
};
use slmguard_core::{
    alert::{Alert, AlertContext, ProcessInfo},
    baseline::{
        Baseline, Row,
        destinations::calls::Calls,
        evidence::{Evidence, episode::Attribution},
        lineage::Lineages,
        models::Models,
        order::follow::Chains,
        subject::learned_as,
        volume::ledger::Ledger,
    },
    config::Rules,
    decide::{evidence::budget::Budgets, name_it},
    decision::{Decision, Outcome},
    names::NameTable,
    observation::{Fact, Observation, Scope},
    recording::Record,
    time::rfc3339,
    workload::{family_name, phase_name, role_name, verdict_name},
};

use super::{
    approved::Approved,
    paths::Paths,
    recorder::{self, Recorder},
};
use crate::{
    api::view,
    enrich::{enrolment::Rule, process::ProcessTable},
    store::{Rejected, WorkloadState},
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
    /// Lists that operators approved, by workload.
    pub(super) approved: BTreeMap<String, Approved>,
    /// Subjects that workloads shall never use.
    pub(super) rejected: BTreeSet<Rejected>,
    /// How complete what was learned is.
    pub(super) evidence: Evidence,
    /// On which days they used which files.
    pub(super) paths: Paths,
    /// What operators allow, by workload.
    pub(super) allow: BTreeMap<String, Rules>,
    /// How much they carry where.
    pub(super) volumes: Ledger,
    /// What of their calls is usual.
    pub(super) calls: Calls,
    /// Which models they used.
    pub(super) models: Models,
    /// In which shape they are, and what waits to be on their lists.
    pub(super) lineages: Lineages,
    /// Scopes in which a name was new since the open sets were last worked out.
    pub(super) named: BTreeSet<Scope>,
    /// What operators were told, and what waits to be.
    pub(super) told: Budgets<Outline>,
    /// What came before in each episode.
    pub(super) chains: Chains,
    /// Names that workloads were given addresses for.
    pub names: NameTable,
    /// Members.
    pub processes: ProcessTable,
    /// Workloads, configured and found.
    pub workloads: BTreeMap<String, Standing>,
    /// Versions behind the kernel's policy numbers.
    versions: HashMap<u32, u64>,
    /// What each class has in the kernel: version of its policy, bits of its control word.
    pub published: HashMap<ClassId, (u64, u64)>,
    /// Enrolment rules in the kernel.
    pub rules: Vec<Rule>,
    /// What of the configuration could not be resolved.
    pub unresolved: Vec<String>,
    /// What is taken in goes there as well.
    pub(super) recorder: Option<Recorder>,
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

impl Outline {
    /// Whether an operator is told.
    pub fn alerts(&self) -> bool {
        self.decision.outcome == Outcome::Alert
    }

    /// The event as people and scripts are shown it.
    pub fn event(&self) -> view::Event {
        let seen = &self.decision.observation;
        view::Event {
            time: rfc3339(seen.time),
            workload: seen.scope.workload.clone(),
            role: role_name(seen.scope.role).into(),
            phase: phase_name(seen.scope.phase).into(),
            kind: seen.fact.kind().into(),
            subject: seen.subject(),
            verdict: verdict_name(seen.verdict).into(),
            count: seen.count,
            stage: seen.stage().map(|phase| phase_name(phase).into()),
            peer_uid: match seen.fact {
                Fact::Accept { uid, .. } => uid,
                _ => None,
            },
            name: self.decision.name.clone(),
            detail: seen.fact.detail(),
            note: match seen.fact {
                Fact::Hello { .. } => self.decision.reasons.first().cloned(),
                _ => None,
            },
            process: self.process.clone(),
        }
    }

    /// The alert about it.
    pub fn alert(self, id: String, host: &str, tier: &str) -> Alert {
        let context = AlertContext {
            id,
            host: host.into(),
            tier: tier.into(),
            process: self.process,
            policy_version: self.policy_version,
        };
        Alert::from_decision(&self.decision, context)
    }
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
            approved: BTreeMap::new(),
            rejected: BTreeSet::new(),
            evidence: Evidence::new(0, 0),
            paths: Paths::default(),
            allow: BTreeMap::new(),
            volumes: Ledger::default(),
            calls: Calls::default(),
            models: Models::default(),
            lineages: Lineages::default(),
            named: BTreeSet::new(),
            told: Budgets::default(),
            chains: Chains::default(),
            names: NameTable::default(),
            processes,
            workloads: workloads
                .into_iter()
                .map(|(name, w)| (name, standing(w)))
                .collect(),
            versions: HashMap::new(),
            published: HashMap::new(),
            rules: vec![],
            unresolved: vec![],
            recorder: None,
            dirty: BTreeSet::new(),
            learned: BTreeSet::new(),
        }
    }

    /// Takes one observation in: enrich, decide, learn.
    pub fn observe(&mut self, observation: Observation) -> Outline {
        let process = self.processes.observe(&observation);
        // What a caller does is nothing that the workload did.
        if !matches!(observation.fact, Fact::Caller { .. }) {
            self.count_episode(&observation);
        }
        if let Fact::Flow(flow) = &observation.fact {
            let seen = &observation;
            self.volumes
                .observe(&seen.scope, flow, seen.process, seen.time);
        }
        self.observe_call(&observation);
        let place = self.follow(&observation);
        let attribution = self.evidence.observe(&observation);
        let policy_version = self.versions.get(&observation.policy).copied().unwrap_or(0);
        let mut decision = self.judge(observation);
        self.name(&mut decision);
        self.trace(&mut decision, &place);
        self.learn(&decision, attribution.as_ref());
        let trace = decision.before.as_ref();
        let tainted = trace.is_some_and(|before| before.trifecta);
        self.follow_lists(&decision.observation, tainted);
        Outline {
            decision,
            process,
            policy_version,
        }
    }

    /// Learns the names of an answer, and says by what name an address goes.
    fn name(&mut self, decision: &mut Decision) {
        let seen = &decision.observation;
        let workload = &seen.scope.workload;
        if let Fact::Answer {
            lookup, addresses, ..
        } = &seen.fact
        {
            for (address, ttl) in addresses {
                self.names
                    .learn(workload, &lookup.name, *address, *ttl, seen.time);
            }
        }
        if let Some(address) = seen.fact.address() {
            let names = self.names.of(workload, address, seen.time);
            name_it(decision, &names);
        }
    }

    /// Counts behaviour that the kernel did not report again because it is known.
    pub fn count_known(&mut self, observation: &Observation, attribution: &Attribution) {
        self.absorb(observation, Some(attribution), false);
        self.follow_lists(observation, false);
    }

    fn learn(&mut self, decision: &Decision, attribution: Option<&Attribution>) {
        let seen = &decision.observation;
        let learns = decision.outcome == Outcome::Learn;
        // A straggler from before a change of mode: what is enforced was approved without it.
        if learns && self.mode(&seen.scope.workload) != Some(Mode::Learn) {
            return;
        }
        if learns || seen.verdict == Verdict::Known {
            self.absorb(seen, attribution, learns);
        } else if seen.verdict.is_adverse() && !seen.invariant {
            for family in seen.families() {
                let subject = learned_as(family, &seen.fact);
                self.would_block(seen, family, &subject);
            }
        }
    }

    fn absorb(&mut self, seen: &Observation, attribution: Option<&Attribution>, is_new: bool) {
        if is_new && self.is_rejected(seen) {
            return;
        }
        // Without room for evidence nothing is learned: what nobody weighed must not be enforced.
        if !self.weigh(seen, attribution, is_new) && is_new {
            return;
        }
        if self.baseline.absorb(seen) {
            self.learned.insert(seen.scope.clone());
            if matches!(seen.fact, Fact::Query(_)) {
                self.named.insert(seen.scope.clone());
            }
        }
        self.absorb_host(seen, is_new);
        self.follow_paths(seen);
        for family in seen.families() {
            if let Some(subject) = self.baseline.known_as(&seen.scope, family, &seen.fact) {
                self.dirty.insert((seen.scope.clone(), family, subject));
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
        // Another minute, not a later one: the wall clock may have been set back.
        if slot != standing.busy {
            standing.busy = slot;
            standing.episodes += 1;
        }
    }

    /// Versions behind the kernel's policy numbers, in no particular order.
    pub fn versions(&self) -> impl Iterator<Item = (u32, u64)> {
        self.versions
            .iter()
            .map(|(number, version)| (*number, *version))
    }

    /// The kernel has a policy of that version under that number.
    pub fn set_version(&mut self, number: u32, version: u64) {
        self.versions.insert(number, version);
        self.record(|| Record::Policy { number, version });
    }

    /// Enters a workload in its mode, or changes it.
    pub fn add_workload(&mut self, workload: &str, state: WorkloadState) {
        let standing = Standing {
            state,
            alerts: 0,
            episodes: 0,
            busy: 0,
        };
        self.workloads
            .entry(workload.into())
            .or_insert(standing)
            .state = state;
    }

    /// A workload is in that mode from now on.
    pub fn set_mode(&mut self, workload: &str, next: WorkloadState) {
        if let Some(standing) = self.workloads.get_mut(workload) {
            standing.state = next;
        }
        self.record(|| recorder::mode(workload, &next));
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

    /// A subject is to be saved.
    pub(super) fn touch(&mut self, scope: &Scope, family: Family, subject: &str) {
        self.dirty.insert((scope.clone(), family, subject.into()));
    }

    /// Nothing of a workload is to be saved any more.
    pub(super) fn forget_unsaved(&mut self, workload: &str) {
        self.dirty.retain(|(scope, ..)| scope.workload != workload);
        self.learned.retain(|scope| scope.workload != workload);
    }

    /// Saving failed: they are still to be saved.
    pub fn still_unsaved(&mut self, subjects: BTreeSet<Subject>) {
        self.dirty.extend(subjects);
    }
}

//! Evidence in the running daemon: what is counted, when it is weighed, and what people are told of
//! it. How it is weighed is the core's ([`slmguard_core::baseline::evidence`]).

use monitor_common::class::{Family, Mode};
use slmguard_core::{
    baseline::{
        evidence::{
            Evidence, Noted, WorkloadRow,
            episode::Attribution,
            forecast::When,
            promotion::{self, Setting, Standing, State as Earned},
        },
        subject::learned_as,
    },
    decide::Modes,
    observation::{Observation, Scope},
    workload::{family_name, phase_name, role_name},
};

use super::{clock, engine::Engine, modes, publish::no_such, state::State};
use crate::{
    api::{Peer, Refusal, view},
    store::{AuditEntry, Store},
};

/// Days of would-be denials that people are told of.
const DAYS: u64 = 7;

impl State {
    /// Counts a subject of a baseline in the episode that it was seen in. False if there is no room
    /// for one that is new.
    pub(super) fn weigh(
        &mut self,
        seen: &Observation,
        attribution: Option<&Attribution>,
        is_new: bool,
    ) -> bool {
        let Some(attribution) = attribution else {
            return true;
        };
        for family in seen.families() {
            let known = self.baseline.known_as(&seen.scope, family, &seen.fact);
            let subject = match known {
                Some(subject) => subject,
                // What a rule of the operator allows, or enrolment, was not learned.
                None if !is_new => continue,
                None => learned_as(family, &seen.fact),
            };
            let noted = self
                .evidence
                .note(&seen.scope, family, &subject, attribution, seen.time);
            if noted == Noted::Full {
                return false;
            }
            if is_new && noted == Noted::New {
                self.would_block(seen, family, &subject);
            }
        }
        true
    }

    /// Had it enforced, this would have been refused.
    pub(super) fn would_block(&mut self, seen: &Observation, family: Family, subject: &str) {
        self.evidence
            .would_block(&seen.scope, family, subject, seen.count, seen.time);
    }

    /// The modes that the families of a scope have earned.
    pub(super) fn earned(&self, scope: &Scope) -> Modes {
        // Nobody who was not confirmed gets into mode auto.
        let setting = Setting::Auto { confirmed: true };
        Family::ALL
            .into_iter()
            .fold(Modes::all(Mode::Learn), |modes, family| {
                let standing = self.evidence.standing(scope, family);
                modes.with(family, promotion::mode(setting, &standing))
            })
    }
}

impl Engine {
    /// Lets time go by for evidence, and puts into force what was reached in mode `auto`.
    pub(super) fn promote(&self) {
        let mut state = self.state();
        state.evidence.advance(clock::now());
        let changes = state.evidence.promote();
        let automatic = |scope: &Scope| {
            let standing = state.workloads.get(&scope.workload);
            standing.is_some_and(|w| modes::is_auto(&w.state))
        };
        let ours: Vec<_> = changes
            .into_iter()
            .filter(|(scope, ..)| automatic(scope))
            .collect();
        let mut problem = None;
        for (scope, family, before, standing) in ours {
            let action = format!(
                "{} {} {}: {} goes from {before} to {}: {}",
                scope.workload,
                role_name(scope.role),
                phase_name(scope.phase),
                family_name(family),
                standing.tier,
                standing.why.join("; ")
            );
            if let Some(id) = self.classes.id(&scope.workload, scope.role, scope.phase)
                && let Err(e) = self.publish(&mut state, id, &scope, Mode::Learn)
            {
                problem = Some(format!(
                    "{action}, and that cannot be put into force: {e:#}"
                ));
                continue;
            }
            tracing::info!("{action}");
            self.audit(AuditEntry {
                time: clock::now(),
                uid: 0,
                pid: std::process::id(),
                action,
                reason: "evidence".into(),
            });
        }
        self.problem("promotion", problem);
    }

    /// Saves what was counted.
    pub(super) fn save_evidence(&self) {
        let (rows, next) = {
            let state = self.state();
            (state.evidence.rows(), state.evidence.next_episode())
        };
        let bodies = rows.iter().map(|row| {
            let body = serde_json::to_string(row).unwrap_or_default();
            (row.workload.clone(), body)
        });
        let saved = self.store.save_evidence(next, &bodies.collect::<Vec<_>>());
        let text = |e| format!("the evidence cannot be saved: {e}");
        self.problem("evidence", saved.err().map(text));
    }

    /// What is known about how complete a baseline is.
    pub(super) fn evidence(&self, workload: &str) -> Result<view::Standing, Refusal> {
        self.settle(workload);
        let now = clock::now();
        let mut state = self.state();
        if !state.workloads.contains_key(workload) {
            return Err(no_such(workload));
        }
        state.evidence.advance(now);
        let lifecycle = state.evidence.lifecycle(workload);
        let mut families = vec![];
        for scope in state.evidence.scopes() {
            if scope.workload != workload {
                continue;
            }
            for family in Family::ALL {
                let known = state.evidence.incidence(&scope, family);
                if known.is_none_or(|incidence| incidence.subjects().next().is_none()) {
                    continue;
                }
                let standing = state.evidence.standing(&scope, family);
                let forecast = state.evidence.forecast(&scope, family, DAYS, now);
                families.push(view::FamilyEvidence {
                    role: role_name(scope.role).into(),
                    phase: phase_name(scope.phase).into(),
                    family: family_name(family).into(),
                    tier: standing.tier.to_string(),
                    state: earned(&standing).into(),
                    basis: basis(&standing).into(),
                    days: match forecast.when {
                        When::Days(days) => Some(days),
                        When::NotOfTime | When::NotAtThisRate => None,
                    },
                    lines: forecast.lines,
                });
            }
        }
        Ok(view::Standing {
            workload: workload.into(),
            lifecycle: lifecycle.map(|l| l.lines()).unwrap_or_default(),
            families,
            volumes: volumes(&state, workload),
            unwatched: unwatched(&state, workload),
            episodes: state.chains.lines(workload),
            lineage: self.lineage(&state, workload),
        })
    }

    /// An operator says that a step of the lifecycle does not apply.
    pub(super) fn declare_step(
        &self,
        workload: &str,
        word: &str,
        reason: &str,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        use slmguard_core::baseline::evidence::lifecycle::Step;
        self.may_change(peer, "only root may declare steps; run this as root")?;
        let shown = slmguard_core::text::escape(word.as_bytes());
        let step = Step::from_word(word).ok_or_else(|| {
            let all: Vec<_> = Step::ALL.iter().map(|step| step.word()).collect();
            Refusal::Bad(format!("`{shown}` is not a step: use {}", all.join(", ")))
        })?;
        let now = clock::now();
        let mut state = self.state();
        if !state.workloads.contains_key(workload) {
            return Err(no_such(workload));
        }
        let Some(lifecycle) = state.evidence.lifecycle_mut(workload) else {
            return Err(Refusal::Conflict(format!(
                "{workload} has done nothing yet"
            )));
        };
        lifecycle
            .declare(step, reason, now)
            .map_err(Refusal::Conflict)?;
        drop(state);
        let done = format!("{step} does not apply to {workload}");
        self.audit(AuditEntry {
            time: now,
            uid: peer.uid,
            pid: peer.pid,
            action: format!("baseline {workload}: {done}"),
            reason: slmguard_core::text::escape(reason.as_bytes()),
        });
        Ok(view::Decided { done })
    }
}

/// The evidence that the store has.
pub(super) fn load(store: &Store) -> anyhow::Result<Evidence> {
    let (next, bodies) = store.evidence()?;
    let mut evidence = Evidence::new(0, next);
    let mut rows: Vec<WorkloadRow> = vec![];
    for (workload, body) in bodies {
        let row = serde_json::from_str(&body)
            .map_err(|e| anyhow::anyhow!("the evidence of {workload} cannot be read: {e}"))?;
        rows.push(row);
    }
    evidence.restore(rows)?;
    Ok(evidence)
}

fn earned(standing: &Standing) -> &'static str {
    match standing.state() {
        Earned::Learning => "learn",
        Earned::Monitor => "monitor",
        Earned::Enforce => "enforce",
    }
}

fn basis(standing: &Standing) -> &'static str {
    match standing.basis {
        promotion::Basis::None => "none",
        promotion::Basis::Evidence => "evidence",
        promotion::Basis::Declared => "declared",
    }
}

/// What of a workload is not watched, in sentences.
fn unwatched(state: &State, workload: &str) -> Option<String> {
    let volumes = state.volumes.unwatched(workload);
    let all: Vec<_> = volumes
        .into_iter()
        .chain(state.calls.unwatched(workload))
        .collect();
    (!all.is_empty()).then(|| all.join(" "))
}

fn volumes(state: &State, workload: &str) -> Vec<view::VolumeEvidence> {
    let known = state.volumes.standing(workload).into_iter();
    known
        .map(|known| view::VolumeEvidence {
            role: role_name(known.scope.role).into(),
            phase: phase_name(known.scope.phase).into(),
            family: "volume".into(),
            connector: known.connector.to_string(),
            bursts: known.bursts,
            leaks: known.leaks,
            lines: vec![known.line],
        })
        .collect()
}

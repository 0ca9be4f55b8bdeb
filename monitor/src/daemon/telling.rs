//! What operators are told, and when: alerts go through the budget
//! ([`slmguard_core::decide::evidence::budget`]) on their way to the store, whoever found them.

use slmguard_core::{
    decide::{
        self,
        evidence::budget::{Due, Key, Place, Repeats},
    },
    observation::Scope,
};

use super::{
    clock,
    engine::{Engine, NewAlert},
    state::{Outline, State},
};

impl State {
    /// Whether an alert is told now. If not, the budget keeps it.
    pub(super) fn place(&mut self, outline: &Outline) -> Place {
        let decision = &outline.decision;
        let seen = &decision.observation;
        self.told.place(
            Key::of(decision),
            decision.budgeted,
            seen.count,
            seen.time,
            || outline.clone(),
        )
    }

    /// Forgets everything that was learned or counted about a workload.
    pub(super) fn forget(&mut self, workload: &str) {
        self.baseline.forget(workload);
        self.evidence.forget(workload);
        self.volumes.forget(workload);
        self.paths.forget(workload);
        self.calls.forget(workload);
        self.models.forget(workload);
        self.lineages.forget(workload);
        self.chains.forget(workload);
        self.told.forget(workload);
        self.forget_unsaved(workload);
    }
}

impl Engine {
    /// The version of the policy that a scope has in the kernel; 0 for none.
    fn version(&self, state: &State, scope: &Scope) -> u64 {
        self.classes
            .id(&scope.workload, scope.role, scope.phase)
            .and_then(|class| state.published.get(&class))
            .map_or(0, |(version, _)| *version)
    }

    /// Draws an id for an alert that is told now; one that waits is counted.
    pub(super) fn id_if_told(&self, state: &mut State, outline: &Outline) -> Option<String> {
        let reason = match state.place(outline) {
            Place::Tell => return Some(self.new_id()),
            Place::Repeat => "repeat",
            Place::Over => "budget",
        };
        let workload = &outline.decision.observation.scope.workload;
        self.metrics.alert_held(workload, reason);
        None
    }

    /// Alerts for what no hook saw, and for what was held back and is due. Followers see the former
    /// as events, whether they are told or not.
    pub(super) fn tell(&self) -> Vec<NewAlert> {
        let (found, due) = {
            let mut state = self.state();
            let mut outlines = vec![];
            for finding in state.volumes.take_findings() {
                let version = self.version(&state, &finding.scope);
                outlines.push(state.outline_volume(&finding, version));
            }
            for finding in state.calls.take_findings() {
                let version = self.version(&state, &finding.scope);
                outlines.push(state.outline_call(&finding, version));
            }
            for finding in state.models.take_findings() {
                let version = self.version(&state, &finding.scope);
                outlines.push(state.outline_model(&finding, version));
            }
            for finding in state.chains.take_findings() {
                let version = self.version(&state, &finding.scope);
                outlines.push(state.outline_episode(&finding, version));
            }
            for finding in state.lineages.take_findings() {
                let version = self.version(&state, finding.scope());
                outlines.push(state.outline_lineage(&finding, version));
            }
            let found: Vec<_> = outlines
                .into_iter()
                .map(|outline| {
                    let id = self.id_if_told(&mut state, &outline);
                    (outline, id)
                })
                .collect();
            (found, state.told.due(clock::now()))
        };
        let mut alerts = vec![];
        for (outline, id) in found {
            self.show(&outline);
            alerts.extend(id.map(|id| self.alert(outline, id)));
        }
        alerts.extend(due.into_iter().map(|due| self.alert_due(due)));
        alerts
    }

    /// Alerts for everything that is held back: the daemon ends.
    pub(super) fn tell_rest(&self) -> Vec<NewAlert> {
        let due = self.state().told.drain();
        due.into_iter().map(|due| self.alert_due(due)).collect()
    }

    fn alert_due(&self, due: Due<Outline>) -> NewAlert {
        let (last, decision) = match due {
            Due::Again(Repeats {
                last,
                count,
                between,
            }) => {
                let repeats = Repeats {
                    last: last.decision.clone(),
                    count,
                    between,
                };
                (last, decide::again(&repeats))
            }
            Due::Summary(held, last) => {
                let decision = decide::held(&held, &last.decision.observation);
                (last, decision)
            }
        };
        let outline = Outline { decision, ..last };
        self.alert(outline, self.new_id())
    }
}

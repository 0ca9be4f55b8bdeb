//! Volumes in the running daemon: when they are weighed, what is told, and what is kept. How they are
//! weighed is the core's ([`slmguard_core::baseline::volume::ledger`]).

use std::collections::BTreeSet;

use monitor_common::class::{Family, Mode};
use slmguard_core::{
    baseline::volume::ledger::{Finding, Ledger, Row, Settings},
    decide::{self, name_it},
    observation::Scope,
};

use super::{
    clock,
    engine::Engine,
    state::{Outline, State},
};
use crate::store::{Ledger as Kind, Store};

impl State {
    /// The mode of the destinations of a scope.
    pub(super) fn destinations(&self, scope: &Scope) -> Mode {
        let mode = self.mode(&scope.workload).unwrap_or(Mode::Learn);
        self.modes(scope, mode).get(Family::Destination)
    }

    /// What is told of a finding.
    pub(super) fn outline_volume(&mut self, finding: &Finding, policy_version: u64) -> Outline {
        let mut decision = decide::volume(finding, self.destinations(&finding.scope));
        if let Some(address) = decision.observation.fact.address() {
            let names = self
                .names
                .of(&finding.scope.workload, address, finding.time);
            name_it(&mut decision, &names);
        }
        self.trace_finding(&mut decision);
        Outline {
            process: self.processes.observe(&decision.observation),
            decision,
            policy_version,
        }
    }
}

impl Engine {
    /// Lets time go by for volumes.
    pub(super) fn weigh_volumes(&self) {
        let scopes = self.classes.configured();
        let mut state = self.state();
        let judged: BTreeSet<Scope> = scopes
            .into_iter()
            .map(|(_, scope)| scope)
            .filter(|scope| state.destinations(scope) != Mode::Learn)
            .collect();
        state.volumes.advance(clock::now(), judged);
    }

    /// Saves what was counted.
    pub(super) fn save_volumes(&self) {
        let rows = self.state().volumes.rows();
        let bodies = rows.iter().map(|row| {
            let body = serde_json::to_string(row).unwrap_or_default();
            (row.workload.clone(), body)
        });
        let saved = self
            .store
            .save_ledger(Kind::Volume, &bodies.collect::<Vec<_>>());
        let text = |e| format!("the volumes cannot be saved: {e}");
        self.problem("volumes", saved.err().map(text));
    }
}

/// What the store has of volumes.
pub(super) fn load(store: &Store, settings: Settings) -> anyhow::Result<Ledger> {
    let mut rows: Vec<Row> = vec![];
    for (workload, body) in store.ledger(Kind::Volume)? {
        let row = serde_json::from_str(&body)
            .map_err(|e| anyhow::anyhow!("the volumes of {workload} cannot be read: {e}"))?;
        rows.push(row);
    }
    let mut ledger = Ledger::new(settings);
    for workload in ledger.restore(rows) {
        tracing::warn!(
            "the volumes of {workload} were counted in slots of another length: they are learned anew"
        );
    }
    Ok(ledger)
}

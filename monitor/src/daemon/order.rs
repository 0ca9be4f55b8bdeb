//! Chains and pairs of connectors in the running daemon: what is taken in, what an alert is told of
//! it, and what is kept. How they are followed is the core's
//! ([`slmguard_core::baseline::order::follow`]).

use slmguard_core::{
    baseline::order::{
        Row,
        declared::Declared,
        follow::{Chains, Finding, Place},
    },
    config::{Config, Workload},
    decide::{self, trace_it},
    decision::{Decision, Outcome},
    observation::{Fact, Observation},
};

use super::{
    engine::Engine,
    state::{Outline, State},
};
use crate::store::{Ledger as Kind, Store};

impl State {
    /// Takes an observation into the chain of its episode.
    pub(super) fn follow(&mut self, seen: &Observation) -> Place {
        let is_call = matches!(seen.fact, Fact::Connect(_) | Fact::Send(_) | Fact::Flow(_));
        let learning = is_call && self.learns_destinations(&seen.scope);
        self.chains.observe(seen, learning)
    }

    /// Tells an alert what came before.
    pub(super) fn trace(&self, decision: &mut Decision, place: &Place) {
        if decision.outcome == Outcome::Alert
            && let Some(trace) = self.chains.trace(&decision.observation, place)
        {
            trace_it(decision, trace);
        }
    }

    /// The same for what was found out later than it happened.
    pub(super) fn trace_finding(&self, decision: &mut Decision) {
        let seen = &decision.observation;
        let place = self.chains.find(&seen.scope, seen.process);
        self.trace(decision, &place);
    }

    /// What is told of an episode that is odd as a whole.
    pub(super) fn outline_episode(&mut self, finding: &Finding, policy_version: u64) -> Outline {
        let mut decision = decide::episode(finding, self.destinations(&finding.scope));
        self.trace_finding(&mut decision);
        Outline {
            process: self.processes.observe(&decision.observation),
            decision,
            policy_version,
        }
    }

    /// Takes what an operator says about the files of a workload.
    pub(super) fn declare_files(&mut self, workload: &Workload) -> anyhow::Result<()> {
        let declared = declared(workload)?;
        self.chains.declare(&workload.name, declared);
        Ok(())
    }
}

impl Engine {
    /// Saves the pairs of connectors.
    pub(super) fn save_order(&self) {
        let rows = self.state().chains.rows();
        let bodies = rows.iter().map(|row| {
            let body = serde_json::to_string(row).unwrap_or_default();
            (row.workload.clone(), body)
        });
        let saved = self
            .store
            .save_ledger(Kind::Order, &bodies.collect::<Vec<_>>());
        let text = |e| format!("the order of connectors cannot be saved: {e}");
        self.problem("order", saved.err().map(text));
    }
}

/// What the store has of pairs, and what the configuration says of files.
pub(super) fn load(store: &Store, config: &Config) -> anyhow::Result<Chains> {
    let mut rows: Vec<Row> = vec![];
    for (workload, body) in store.ledger(Kind::Order)? {
        let row = serde_json::from_str(&body).map_err(|e| {
            anyhow::anyhow!("the order of connectors of {workload} cannot be read: {e}")
        })?;
        rows.push(row);
    }
    let mut chains = Chains::default();
    for workload in chains.restore(rows) {
        tracing::warn!(
            "a part of the order of connectors of {workload} is of roles not known here"
        );
    }
    chains.spend(config.alerts.odd_per_day);
    for workload in &config.workloads {
        chains.declare(&workload.name, declared(workload)?);
    }
    Ok(chains)
}

fn declared(workload: &Workload) -> anyhow::Result<Declared> {
    Declared::new(&workload.private, &workload.untrusted)
        .map_err(|e| anyhow::anyhow!("workload {}: private or untrusted: {e}", workload.name))
}

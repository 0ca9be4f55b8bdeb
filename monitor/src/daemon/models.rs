//! Models by digest in the running daemon: what the search for workloads says about their model
//! files is compared with what was learned ([`slmguard_core::baseline::models`]).

use monitor_common::class::{Family, Mode, Phase, Role};
use slmguard_core::{
    baseline::models::{Finding, Models, Row, Use},
    decide,
    observation::{ProcessKey, Scope},
};

use super::{
    clock,
    engine::Engine,
    state::{Outline, State},
};
use crate::{
    api::view,
    enrich::procfs::TICK_NS,
    store::{Ledger, Store},
};

impl State {
    /// What is told of a finding.
    pub(super) fn outline_model(&mut self, finding: &Finding, policy_version: u64) -> Outline {
        let workload = self.mode(&finding.scope.workload).unwrap_or(Mode::Learn);
        let mode = self.modes(&finding.scope, workload).get(Family::Read);
        let decision = decide::model(finding, mode);
        Outline {
            process: self.processes.observe(&decision.observation),
            decision,
            policy_version,
        }
    }

    fn use_models(&mut self, workload: &str, process: ProcessKey, models: &[view::Model]) {
        let scope = Scope {
            workload: workload.to_owned(),
            role: Role::Server,
            phase: Phase::Serve,
        };
        let mode = self.mode(workload).unwrap_or(Mode::Learn);
        let learning = self.modes(&scope, mode).get(Family::Read) == Mode::Learn;
        let now = clock::now();
        for model in models {
            let Some(sha256) = &model.sha256 else {
                continue;
            };
            let used = Use {
                path: model.path.clone(),
                sha256: sha256.clone(),
                size: model.size,
                runs_code: model.runs_code,
            };
            self.models.observe(&scope, process, &used, learning, now);
        }
    }
}

impl Engine {
    /// Compares the models that workloads use with those that they learned.
    pub(super) fn weigh_models(&self) {
        let seen: Vec<(String, Option<u32>, Vec<view::Model>)> = {
            let discovery = self.discovery();
            let of = |(name, seen): (&String, &super::discovery::Seen)| {
                let server = seen.detection.servers.first().copied();
                (name.clone(), server, self.models(&seen.files))
            };
            discovery.seen.iter().map(of).collect()
        };
        for (workload, server, models) in seen {
            // Nothing runs: what was seen is what an earlier daemon wrote down.
            let Some(pid) = server else { continue };
            // Before all digests are there, another file may only seem to be the first.
            if models
                .iter()
                .any(|m| m.sha256.is_none() && m.error.is_none())
            {
                continue;
            }
            let start = self.proc.stat(pid).map_or(0, |s| s.start_ticks * TICK_NS);
            let process = ProcessKey {
                pid,
                start_time: start,
            };
            self.state().use_models(&workload, process, &models);
        }
    }

    /// Saves what is known of models.
    pub(super) fn save_models(&self) {
        let Some(rows) = self.state().models.changed_rows() else {
            return;
        };
        let bodies: Vec<_> = rows
            .into_iter()
            .map(|(workload, row)| (workload, serde_json::to_string(&row).unwrap_or_default()))
            .collect();
        let saved = self.store.save_ledger(Ledger::Model, &bodies);
        if saved.is_err() {
            self.state().models.still_unsaved();
        }
        let text = |e| format!("what is known of models cannot be saved: {e}");
        self.problem("models", saved.err().map(text));
    }
}

/// What the store has of models.
pub(super) fn load(store: &Store) -> anyhow::Result<Models> {
    let mut models = Models::default();
    for (workload, body) in store.ledger(Ledger::Model)? {
        let row: Row = serde_json::from_str(&body)
            .map_err(|e| anyhow::anyhow!("the models of {workload} cannot be read: {e}"))?;
        models.restore(&workload, row);
    }
    Ok(models)
}

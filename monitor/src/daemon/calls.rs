//! Odd calls in the running daemon: what is taken in, what is told, and what is kept. What is odd is
//! the core's to say ([`slmguard_core::baseline::destinations::calls`]).

use std::{collections::BTreeSet, net::IpAddr};

use monitor_common::{
    class::{Family, Mode},
    proxy::ProxyKey,
};
use slmguard_core::{
    baseline::{
        destinations::calls::{Calls, Finding, Row, Standing},
        evidence::promotion,
    },
    config::{self, Workload},
    decide::{self, name_it},
    observation::{Endpoint, Fact, Observation, Scope},
};

use super::{
    engine::Engine,
    state::{Outline, State},
};
use crate::store::{Ledger as Kind, Store};

impl State {
    /// Takes a call or a look-up in; everything else says nothing here.
    pub(super) fn observe_call(&mut self, seen: &Observation) {
        let known = match seen.fact.inner() {
            Fact::Flow(flow) if !flow.inbound => self.lists(&seen.scope, &flow.peer.to_string()),
            Fact::Connect(_)
            | Fact::Send(_)
            | Fact::Hello { .. }
            | Fact::Request(_)
            | Fact::Query(_)
            | Fact::Answer { .. } => false,
            _ => return,
        };
        let standing = Standing {
            learning: self.learns_destinations(&seen.scope),
            known,
        };
        self.calls.observe(seen, &self.names, standing);
    }

    /// Whether a destination was learned, or approved.
    fn lists(&self, scope: &Scope, subject: &str) -> bool {
        let family = Family::Destination;
        let approved = self.approved.get(&scope.workload);
        self.baseline.get(scope, family, subject).is_some()
            || approved.is_some_and(|list| list.lists(scope, family, subject))
    }

    /// As [`Self::destinations`] says, without weighing the other families.
    pub(super) fn learns_destinations(&self, scope: &Scope) -> bool {
        if self.mode(&scope.workload).unwrap_or(Mode::Learn) != Mode::Learn {
            return false;
        }
        if !self.is_auto(&scope.workload) {
            return true;
        }
        let standing = self.evidence.standing(scope, Family::Destination);
        standing.state() == promotion::State::Learning
    }

    /// What is told of a finding.
    pub(super) fn outline_call(&mut self, finding: &Finding, policy_version: u64) -> Outline {
        let mut decision = decide::odd(finding, self.destinations(&finding.scope));
        let address = finding.call.endpoint.address;
        let names = self
            .names
            .of(&finding.scope.workload, address, finding.time);
        name_it(&mut decision, &names);
        self.trace_finding(&mut decision);
        Outline {
            process: self.processes.observe(&decision.observation),
            decision,
            policy_version,
        }
    }
}

impl Engine {
    /// Notes which workloads learn their destinations: these can be judged later.
    pub(super) fn weigh_calls(&self) {
        let scopes = self.classes.configured();
        let mut state = self.state();
        let learning: BTreeSet<&str> = scopes
            .iter()
            .map(|(_, scope)| scope)
            .filter(|scope| state.learns_destinations(scope))
            .map(|scope| scope.workload.as_str())
            .collect();
        state.calls.expect(learning);
    }

    /// Tells the kernel which HTTP proxies were declared.
    pub(super) fn declare_proxies(&self) -> anyhow::Result<()> {
        let mut keys = vec![];
        for workload in &self.config.workloads {
            let Some((id, scope)) = self
                .classes
                .configured()
                .into_iter()
                .find(|(_, scope)| scope.workload == workload.name)
            else {
                continue;
            };
            let number = self.classes.describe(id, &scope).workload;
            for proxy in declared(workload)? {
                keys.push(ProxyKey {
                    address: match proxy.address {
                        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                        IpAddr::V6(v6) => v6.octets(),
                    },
                    workload: number,
                    port: proxy.port,
                    zero: 0,
                });
            }
        }
        self.guard().set_proxies(&keys)?;
        Ok(())
    }

    /// Saves what is known of calls.
    pub(super) fn save_calls(&self) {
        let rows = self.state().calls.rows();
        let bodies = rows.iter().map(|row| {
            let body = serde_json::to_string(row).unwrap_or_default();
            (row.workload.clone(), body)
        });
        let saved = self
            .store
            .save_ledger(Kind::Call, &bodies.collect::<Vec<_>>());
        let text = |e| format!("what is known of calls cannot be saved: {e}");
        self.problem("calls", saved.err().map(text));
    }
}

/// What the store has of calls, and what the configuration says of proxies.
pub(super) fn load(store: &Store, workloads: &[Workload]) -> anyhow::Result<Calls> {
    let mut rows: Vec<Row> = vec![];
    for (workload, body) in store.ledger(Kind::Call)? {
        let row = serde_json::from_str(&body)
            .map_err(|e| anyhow::anyhow!("the calls of {workload} cannot be read: {e}"))?;
        rows.push(row);
    }
    let mut calls = Calls::default();
    for workload in calls.restore(rows) {
        tracing::warn!("a part of the calls of {workload} is of roles or phases not known here");
    }
    for workload in workloads {
        let proxies = declared(workload)?;
        calls.declare(&workload.name, proxies);
    }
    Ok(calls)
}

fn declared(workload: &Workload) -> anyhow::Result<Vec<Endpoint>> {
    config::proxies(workload)
        .map_err(|(i, why)| anyhow::anyhow!("workload {}: proxies[{i}]: {why}", workload.name))
}

//! The engine as the API and the metrics endpoint see it.

use std::time::Duration;

use axum::body::Bytes;
use monitor_common::class::Mode;
use slmguard_core::{
    alert::Alert,
    decide::enforceable::gaps,
    time::rfc3339,
    workload::{family_name, phase_name, role_name},
};
use tokio::sync::mpsc;

use super::{engine::Engine, modes, publish::no_such};
use crate::{
    api::{Answer, Backend, Peer, Query, Refusal, view},
    export::{http::Source, jsonl::SINK},
    store::WorkloadState,
};

/// How long an answer waits for events that are still on their way. An answer that is a little old
/// is better than none.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

impl Backend for Engine {
    fn status(&self) -> Result<view::Status, Refusal> {
        let degraded = self.degraded();
        let counters = self.guard().counters().unwrap_or_default();
        self.tidy_processes();
        let (alerts_waiting, alerts_lost) = self.metrics.waiting_and_lost();
        let gaps = gaps(&self.config.workloads, self.tier());
        let state = self.state();
        let processes = |name: &str| {
            state
                .processes
                .living()
                .filter(|p| p.scope.workload == name)
                .count()
        };
        Ok(view::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            tier: self.tier().into(),
            metrics: self.metrics_address.get().map(ToString::to_string),
            degraded,
            workloads: state
                .workloads
                .iter()
                .map(|(name, standing)| view::WorkloadStatus {
                    name: name.clone(),
                    mode: modes::word(&standing.state).into(),
                    basis: standing.state.basis.name().into(),
                    processes: processes(name),
                    alerts: standing.alerts,
                })
                .collect(),
            events: self
                .metrics
                .event_counts()
                .into_iter()
                .map(|(kind, count)| (kind.to_owned(), count))
                .collect(),
            drops: counters.iter().map(|(_, c)| c.dropped).sum(),
            alerts_waiting,
            alerts_lost,
            unenforced: gaps.into_iter().map(|gap| gap.text).collect(),
        })
    }

    fn workloads(&self) -> Result<Vec<view::Workload>, Refusal> {
        self.barrier.wait(PATIENCE);
        self.tidy_processes();
        let state = self.state();
        let members = |name: &str| {
            let mut members: Vec<_> = state
                .processes
                .living()
                .filter(|p| p.scope.workload == name)
                .map(|p| view::Member {
                    pid: p.info.pid,
                    role: role_name(p.scope.role).into(),
                    phase: phase_name(p.scope.phase).into(),
                    exe: p.info.exe.clone(),
                    adopted: p.info.adopted,
                    found: p.had.clone(),
                    kind: None,
                })
                .collect();
            members.sort_by_key(|m| m.pid);
            members
        };
        let mut workloads: Vec<view::Workload> = state
            .workloads
            .iter()
            .map(|(name, standing)| {
                let tally = state.baseline.tally(name);
                view::Workload {
                    name: name.clone(),
                    mode: modes::word(&standing.state).into(),
                    basis: standing.state.basis.name().into(),
                    processes: members(name),
                    baseline: view::BaselineSize {
                        destinations: tally.destinations,
                        reads: tally.reads,
                        writes: tally.writes,
                        execs: tally.execs,
                        unix: tally.unix,
                        listens: tally.listens,
                        names: tally.names,
                        facilities: tally.facilities,
                    },
                    episodes: standing.episodes,
                    ..view::Workload::default()
                }
            })
            .collect();
        drop(state);
        self.explain(&mut workloads);
        Ok(workloads)
    }

    fn search(&self) -> Result<view::Search, Refusal> {
        Ok(self.show_search())
    }

    fn decide(
        &self,
        workload: &str,
        action: &str,
        decide: &view::Decide,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        self.carry_out(workload, action, decide, peer)
    }

    fn hooks(&self) -> Result<Vec<view::Hook>, Refusal> {
        let guard = self.guard();
        let costs = guard.costs();
        let mut views: Vec<view::Hook> = guard.hooks().iter().map(super::hook_view).collect();
        for view in &mut views {
            let cost = costs.iter().find(|(hook, _)| hook.name() == view.hook);
            if let Some((_, cost)) = cost.filter(|(_, cost)| cost.runs > 0) {
                view.runs = Some(cost.runs);
                view.run_ns = Some(cost.nanoseconds);
            }
        }
        Ok(views)
    }

    fn events(&self, query: &Query) -> Result<Answer, Refusal> {
        self.known(query.workload.as_deref())?;
        self.barrier.wait(PATIENCE);
        Ok(self.events.answer(query))
    }

    fn alerts(&self, query: &Query) -> Result<Answer, Refusal> {
        self.barrier.wait(PATIENCE);
        // First the subscription, so that nothing falls between it and the store.
        let follow = query.follow.then(|| self.alerts.follow());
        let lines = self
            .store
            .alerts(query.workload.as_deref(), query.limit)
            .map_err(|e| Refusal::Failed(e.to_string()))?;
        Ok(Answer { lines, follow })
    }

    fn alert(&self, id: &str) -> Result<Alert, Refusal> {
        self.barrier.wait(PATIENCE);
        let found = self
            .store
            .alerts_called(id)
            .map_err(|e| Refusal::Failed(e.to_string()))?;
        let shown = slmguard_core::text::escape(id.as_bytes());
        match found.as_slice() {
            [] => Err(Refusal::NotFound(format!(
                "there is no alert {shown}; `slmguard alerts` shows the latest"
            ))),
            [body] => Alert::from_json_line(body)
                .map_err(|e| Refusal::Failed(format!("alert {shown} cannot be read: {e}"))),
            _ => Err(Refusal::Conflict(format!(
                "several alerts begin with {shown}: give more of the id"
            ))),
        }
    }

    fn baseline(&self, workload: &str) -> Result<Vec<view::BaselineEntry>, Refusal> {
        self.known(Some(workload))?;
        self.barrier.wait(PATIENCE);
        let state = self.state();
        let scopes = state
            .baseline
            .scopes()
            .filter(|scope| scope.workload == workload);
        Ok(scopes
            .flat_map(|scope| {
                state
                    .baseline
                    .entries(scope)
                    .map(|(family, subject, entry)| view::BaselineEntry {
                        workload: scope.workload.clone(),
                        role: role_name(scope.role).into(),
                        phase: phase_name(scope.phase).into(),
                        family: family_name(family).into(),
                        subject: subject.to_owned(),
                        count: entry.count,
                        first_seen: rfc3339(entry.first_seen),
                        last_seen: rfc3339(entry.last_seen),
                        state: state
                            .lineages
                            .word(scope, family, subject)
                            .map(str::to_owned),
                    })
            })
            .collect())
    }

    fn profile(&self, workload: &str, which: &str) -> Result<view::Profile, Refusal> {
        Self::profile(self, workload, which)
    }

    fn evidence(&self, workload: &str) -> Result<view::Standing, Refusal> {
        Self::evidence(self, workload)
    }

    fn declare_step(
        &self,
        workload: &str,
        step: &str,
        reason: &str,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        Self::declare_step(self, workload, step, reason, peer)
    }

    fn order_baseline(
        &self,
        workload: &str,
        action: &str,
        order: &view::BaselineOrder,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        Self::order_baseline(self, workload, action, order, peer)
    }

    fn mode(&self, workload: &str) -> Result<view::Mode, Refusal> {
        match self.state().workloads.get(workload) {
            Some(standing) => Ok(mode_view(workload, &standing.state)),
            None => Err(no_such(workload)),
        }
    }

    fn launch_plan(&self, workload: &str, role: &str) -> Result<view::LaunchPlan, Refusal> {
        self.launch_inputs(workload, role)
    }

    fn launch(&self, workload: &str, role: &str, peer: Peer) -> Result<view::Launched, Refusal> {
        self.give_ticket(workload, role, peer)
    }

    fn set_mode(
        &self,
        workload: &str,
        change: &view::ModeChange,
        peer: Peer,
    ) -> Result<view::Mode, Refusal> {
        self.change_mode(workload, change, peer)
            .map(|state| mode_view(workload, &state))
    }

    fn record(
        &self,
        order: &view::RecordingOrder,
        peer: Peer,
    ) -> Result<mpsc::Receiver<Bytes>, Refusal> {
        self.start_recording(order, peer)
    }

    fn end_recording(&self, reason: &str, peer: Peer) -> Result<(), Refusal> {
        self.may_change(peer, "only root may end a recording; run this as root")?;
        Self::end_recording(self, reason);
        Ok(())
    }
}

impl Engine {
    fn known(&self, workload: Option<&str>) -> Result<(), Refusal> {
        match workload {
            Some(name) if self.state().mode(name).is_none() => Err(no_such(name)),
            _ => Ok(()),
        }
    }
}

impl Source for Engine {
    fn openmetrics(&self) -> String {
        if let Ok(counters) = self.guard().counters() {
            for (hook, counters) in &counters {
                self.metrics.set_hook(*hook, counters);
            }
        }
        let modes: Vec<(String, Mode)> = {
            let state = self.state();
            state
                .workloads
                .iter()
                .map(|(name, w)| (name.clone(), w.state.mode))
                .collect()
        };
        for (workload, mode) in modes {
            self.metrics.set_mode(&workload, mode);
        }
        self.measure_baseline();
        self.measure_traffic();
        if let Ok(backlog) = self.store.backlog(SINK) {
            self.metrics.set_backlog(SINK, backlog);
        }
        self.metrics.openmetrics()
    }

    fn health(&self) -> Result<(), String> {
        Self::health(self)
    }
}

fn mode_view(workload: &str, state: &WorkloadState) -> view::Mode {
    view::Mode {
        workload: workload.to_owned(),
        mode: modes::word(state).into(),
        basis: state.basis.name().into(),
        since: rfc3339(state.changed),
    }
}

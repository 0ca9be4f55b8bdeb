//! Policies on their way to the kernel, and changes of mode.

use std::time::Duration;

use anyhow::{Context, bail};
use monitor_common::class::{ClassId, Mode};
use slmguard_core::{
    config::Workload,
    decide::{
        Undeniable, control,
        invariants::invariant_destinations,
        policy::{PolicyImage, PolicyInputs, PolicyLimits, compile_policy},
    },
    observation::Scope,
    workload::{mode_from, role_name},
};

use super::{clock, engine::Engine, modes, state::State};
use crate::{
    api::{Peer, Refusal, view},
    store::{AuditEntry, WorkloadState},
};

/// How long a change of mode waits for events that are still on their way.
const PATIENCE: Duration = Duration::from_secs(5);

impl Engine {
    /// Tells the kernel what the classes are, what applies to each, and what nobody may do. To be
    /// called before anything is enrolled.
    pub fn publish_all(&self) -> anyhow::Result<()> {
        let mut state = self.state();
        self.declare_lists(&mut state);
        {
            let mut guard = self.guard();
            for (id, scope) in &self.classes.configured() {
                guard.set_class(*id, self.classes.describe(*id, scope))?;
            }
            guard.set_invariants(&invariant_destinations())?;
        }
        self.declare_proxies()?;
        for (id, scope) in &self.classes.configured() {
            let mode = state.mode(&scope.workload).unwrap_or(Mode::Learn);
            if let Err(e) = self.publish(&mut state, *id, scope, mode) {
                // What was learned is too much for the kernel, but nothing is enforced from it yet:
                // that must not keep the other workloads unguarded.
                if mode != Mode::Learn {
                    return Err(e);
                }
                self.problem("policy", Some(too_much(&e)));
                self.publish_bare(&mut state, *id, scope)?;
                state.still_behind(scope);
            }
        }
        Ok(())
    }

    /// Publishes what was learned since the last time, so that known behaviour costs the kernel one
    /// look-up. Returns how many policies changed.
    pub fn publish_learned(&self) -> usize {
        let mut state = self.state();
        let mut changed = 0;
        let mut problem = None;
        for scope in state.take_learned() {
            let Some(id) = self.classes.id(&scope.workload, scope.role, scope.phase) else {
                continue;
            };
            let Some(mode) = state.mode(&scope.workload) else {
                continue;
            };
            match self.publish(&mut state, id, &scope, mode) {
                Ok(()) => changed += 1,
                // The old policy stays in force; the others still get theirs.
                Err(e) => {
                    state.still_behind(&scope);
                    problem.get_or_insert_with(|| too_much(&e));
                }
            }
        }
        if changed > 0 || problem.is_some() {
            self.problem("policy", problem);
        }
        changed
    }

    /// Compiles the policy of a class and switches the class to it, unless it has it already.
    pub(super) fn publish(
        &self,
        state: &mut State,
        id: ClassId,
        scope: &Scope,
        mode: Mode,
    ) -> anyhow::Result<()> {
        let mut guard = self.guard();
        let (image, bits) = self.compile(state, scope, mode, guard.next_state())?;
        if state.published.get(&id) == Some(&(image.version, bits)) {
            return Ok(());
        }
        let number = guard
            .publish(&[(id, bits)], &image)
            .with_context(|| format!("cannot install the policy of {}", describe(scope)))?;
        state.set_version(number, image.version);
        state.published.insert(id, (image.version, bits));
        Ok(())
    }

    /// Publishes the operator's rules and the invariants alone, in mode learn.
    fn publish_bare(&self, state: &mut State, id: ClassId, scope: &Scope) -> anyhow::Result<()> {
        let learned = std::mem::take(&mut state.baseline);
        let published = self.publish(state, id, scope, Mode::Learn);
        state.baseline = learned;
        published
    }

    /// The policy of a scope, and the bits of its control word.
    fn compile(
        &self,
        state: &State,
        scope: &Scope,
        mode: Mode,
        first_state: u32,
    ) -> anyhow::Result<(PolicyImage, u64)> {
        let workload = self.workload(state, &scope.workload)?;
        let mut deny = workload.deny.clone();
        deny.extend(state.forbidden(scope));
        let image = compile_policy(&PolicyInputs {
            // The guard puts the number in that it draws.
            policy: 0,
            key: self.key,
            first_state,
            baseline: &state.allowed(scope, mode),
            scope,
            allow: &workload.allow,
            deny: &deny,
            limits: PolicyLimits::default(),
        })
        .with_context(|| format!("cannot make a policy for {}", describe(scope)))?;
        let word = workload.undeniable.get(role_name(scope.role));
        let undeniable = word.and_then(|word| Undeniable::from_word(word));
        Ok((
            image,
            control(0, state.modes(scope, mode), scope.role, undeniable).0,
        ))
    }

    /// The rules of a workload: those of the configuration; one that was found has none.
    pub(super) fn workload(&self, state: &State, name: &str) -> anyhow::Result<&Workload> {
        match self.config.workloads.iter().find(|w| w.name == name) {
            Some(workload) => Ok(workload),
            None if state.workloads.contains_key(name) => Ok(&self.found),
            None => bail!("there is no workload {name}"),
        }
    }

    /// Changes the mode of a workload: everything that had happened before is learned first, and
    /// either all classes of the workload change or none.
    pub fn change_mode(
        &self,
        workload: &str,
        change: &view::ModeChange,
        peer: Peer,
    ) -> Result<WorkloadState, Refusal> {
        self.may_change(peer, "only root may change modes; run this as root")?;
        let automatic = change.mode == modes::AUTO;
        let word = if automatic { "learn" } else { &change.mode };
        let wanted = mode_from(word).ok_or_else(|| {
            Refusal::Bad(format!(
                "{} is no mode; use learn, monitor, enforce or auto",
                change.mode
            ))
        })?;
        if change.declare && change.reason.trim().is_empty() {
            return Err(Refusal::Bad(
                "an approval needs a reason; give one with --reason".into(),
            ));
        }
        if wanted != Mode::Learn || automatic {
            self.confirmed(workload)?;
        }
        self.settle(&format!("the mode of {workload}"));
        // Whoever learned for less than a tick has learned.
        self.weigh_calls();
        let mut state = self.state();
        let current = match state.workloads.get(workload) {
            Some(standing) => standing.state,
            None => return Err(no_such(workload)),
        };
        let next = if automatic {
            modes::automatic(clock::now())
        } else {
            modes::change(workload, current, wanted, change.declare, clock::now())
                .map_err(Refusal::Conflict)?
        };
        let approved = state.approved.get(workload).cloned();
        if change.declare && wanted != Mode::Learn {
            self.approve_all(&mut state, workload, peer, &change.reason)?;
        } else if wanted == Mode::Learn && !automatic {
            self.retire_list(&mut state, workload)?;
        }
        let switched = self.switch(&mut state, workload, current, next);
        if switched.is_err() {
            self.put_list_back(&mut state, workload, approved, current);
        }
        switched?;
        drop(state);
        self.tend_lineages();
        self.save_baseline()
            .map_err(|e| Refusal::Failed(e.to_string()))?;
        self.record(workload, current, next, change, peer);
        Ok(next)
    }

    /// Refuses whoever is neither root nor the daemon's own user.
    pub(super) fn may_change(&self, peer: Peer, refusal: &str) -> Result<(), Refusal> {
        if peer.uid == 0 || peer.uid == nix::unistd::geteuid().as_raw() {
            return Ok(());
        }
        tracing::warn!("refused user {} (pid {}): {refusal}", peer.uid, peer.pid);
        Err(Refusal::Forbidden(refusal.into()))
    }

    /// Switches every class of a workload; takes everything back if one cannot.
    fn switch(
        &self,
        state: &mut State,
        workload: &str,
        current: WorkloadState,
        next: WorkloadState,
    ) -> Result<(), Refusal> {
        let failed = |e: anyhow::Error| Refusal::Failed(format!("{e:#}"));
        let classes: Vec<_> = self
            .classes
            .configured()
            .into_iter()
            .filter(|(_, scope)| scope.workload == workload)
            .collect();
        // First without the kernel: most of what can go wrong shows here.
        let first_state = self.guard().next_state();
        for (_, scope) in &classes {
            self.compile(state, scope, next.mode, first_state)
                .map_err(failed)?;
        }
        let mut result = Ok(());
        for (id, scope) in &classes {
            result = self.publish(state, *id, scope, next.mode).map_err(failed);
            if result.is_err() {
                break;
            }
        }
        if result.is_ok() {
            result = self
                .store
                .set_workload(workload, &next)
                .map_err(|e| Refusal::Failed(e.to_string()));
        }
        if result.is_err() {
            for (id, scope) in &classes {
                if let Err(e) = self.publish(state, *id, scope, current.mode) {
                    tracing::error!("cannot take the change of mode back: {e:#}");
                }
            }
            return result;
        }
        state.set_mode(workload, next);
        self.metrics.set_mode(workload, next.mode);
        Ok(())
    }

    /// The audit trail and the log. The change holds even if it cannot be recorded.
    fn record(
        &self,
        workload: &str,
        before: WorkloadState,
        after: WorkloadState,
        change: &view::ModeChange,
        peer: Peer,
    ) {
        let reason = slmguard_core::text::escape(change.reason.as_bytes());
        let action = format!(
            "mode {workload}: {} ({}) -> {} ({})",
            modes::word(&before),
            before.basis.name(),
            modes::word(&after),
            after.basis.name()
        );
        tracing::info!("{action} by user {} (pid {}): {reason}", peer.uid, peer.pid);
        let entry = AuditEntry {
            time: clock::now(),
            uid: peer.uid,
            pid: peer.pid,
            action,
            reason,
        };
        self.audit(entry);
    }

    /// Records who changed what.
    pub(super) fn audit(&self, entry: AuditEntry) {
        if let Err(e) = self.store.record(&entry) {
            let text = format!("a change could not be recorded: {e}");
            self.problem("audit", Some(text));
        }
    }

    /// Waits until what has happened is learned, before something is made of it.
    pub(super) fn settle(&self, what: &str) {
        if !self.barrier.wait(PATIENCE) {
            tracing::warn!("events are still on their way while {what} changes");
        }
    }
}

/// The refusal for a workload that does not exist.
pub(super) fn no_such(workload: &str) -> Refusal {
    let name = slmguard_core::text::escape(workload.as_bytes());
    Refusal::NotFound(format!(
        "there is no workload {name}; `slmguard workloads` lists them"
    ))
}

/// What to say of a policy that could not be made or installed.
fn too_much(error: &anyhow::Error) -> String {
    format!("{error:#}; until then the policy that it had stays in force")
}

fn describe(scope: &Scope) -> String {
    use slmguard_core::workload::phase_name;
    format!(
        "{} ({}, {})",
        scope.workload,
        role_name(scope.role),
        phase_name(scope.phase)
    )
}

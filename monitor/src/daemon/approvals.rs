//! What operators say about what was learned: the list that a workload is held to, subjects that
//! it shall never have, lists that come from elsewhere. Each is recorded with who and why.
//!
//! Once a list is approved it is frozen: what is learned later does not widen it, and
//! [`slmguard_core::profile::diff`] says how the two differ.

use std::collections::BTreeSet;

use monitor_common::class::{Family, Mode, Phase, Role};
use slmguard_core::{
    baseline::{Baseline, Entry},
    decide::policy::is_rule,
    observation::Scope,
    profile::{Profile, Provenance},
    text::escape,
    workload::{family_from, family_name, phase_from, phase_name, role_from, role_name},
};

use super::{approved::Approved, clock, engine::Engine, modes, publish::no_such, state::State};
use crate::{
    api::{Peer, Refusal, view},
    store::{AuditEntry, Basis, Rejected, WorkloadState},
};

/// Which subjects an order is about.
pub(super) struct Chosen {
    families: Vec<Family>,
    role: Option<Role>,
    phase: Option<Phase>,
    pub(super) subject: Option<String>,
}

impl Chosen {
    fn by(order: &view::BaselineOrder) -> Result<Self, Refusal> {
        let bad = |what: &str, word: &str| {
            Refusal::Bad(format!("`{}` is not a {what}", escape(word.as_bytes())))
        };
        let families = order
            .families
            .iter()
            .map(|word| family_from(word).ok_or_else(|| bad("family", word)));
        let role = order
            .role
            .as_deref()
            .map(|w| role_from(w).ok_or_else(|| bad("role", w)));
        let phase = order
            .phase
            .as_deref()
            .map(|w| phase_from(w).ok_or_else(|| bad("phase", w)));
        Ok(Self {
            families: families.collect::<Result<_, _>>()?,
            role: role.transpose()?,
            phase: phase.transpose()?,
            subject: order.subject.clone(),
        })
    }

    fn has(&self, scope: &Scope, family: Family) -> bool {
        (self.families.is_empty() || self.families.contains(&family))
            && self.role.is_none_or(|role| role == scope.role)
            && self.phase.is_none_or(|phase| phase == scope.phase)
    }
}

impl Engine {
    /// Carries out an order about a baseline; the answer says what was done.
    pub(super) fn order_baseline(
        &self,
        workload: &str,
        action: &str,
        order: &view::BaselineOrder,
        peer: Peer,
    ) -> Result<view::Decided, Refusal> {
        self.may_change(
            peer,
            "only root may decide about baselines; run this as root",
        )?;
        if order.reason.trim().is_empty() {
            return Err(Refusal::Bad(
                "a decision needs a reason; give one with --reason".into(),
            ));
        }
        self.settle(&format!("the baseline of {workload}"));
        let chosen = Chosen::by(order)?;
        let mut state = self.state();
        let standing = state.workloads.get(workload);
        let before = standing.ok_or_else(|| no_such(workload))?.state;
        let done = match action {
            "approve" => self.approve(&mut state, workload, &chosen, order, peer)?,
            "reject" => self.reject(&mut state, workload, &chosen)?,
            "import" => self.import(&mut state, workload, order, peer)?,
            "pin" => self.pin(&mut state, workload, &chosen, true)?,
            "unpin" => self.pin(&mut state, workload, &chosen, false)?,
            "reset" => self.reset(&mut state, workload, before.mode)?,
            _ => return Err(Refusal::NotFound("there is no such page".into())),
        };
        drop(state);
        self.tend_lineages();
        self.save_lineages();
        self.save_baseline().map_err(failed)?;
        tracing::info!("{done}, by user {} (pid {})", peer.uid, peer.pid);
        self.audit(AuditEntry {
            time: clock::now(),
            uid: peer.uid,
            pid: peer.pid,
            action: format!("baseline {workload}: {action}: {done}"),
            reason: escape(order.reason.as_bytes()),
        });
        Ok(view::Decided { done })
    }

    /// Freezes what was learned, or a part of it, as the list that the workload is held to.
    pub(super) fn approve_all(
        &self,
        state: &mut State,
        workload: &str,
        peer: Peer,
        reason: &str,
    ) -> Result<(), Refusal> {
        let profile = Profile::of(workload, &state.baseline);
        self.put_in_force(state, workload, profile, peer, reason)
    }

    fn approve(
        &self,
        state: &mut State,
        workload: &str,
        chosen: &Chosen,
        order: &view::BaselineOrder,
        peer: Peer,
    ) -> Result<String, Refusal> {
        let learned = Profile::of(workload, &state.baseline);
        let listed = state.approved.get(workload).map(|a| a.profile.clone());
        let (profile, done) = match (&chosen.subject, listed) {
            (None, _) if chosen.families.is_empty() => {
                let count: usize = learned.sizes().values().sum();
                (
                    learned,
                    format!("approved all {count} subjects that {workload} was seen to use"),
                )
            }
            (None, listed) => {
                let mut profile = listed.unwrap_or(Profile {
                    families: vec![],
                    parts: vec![],
                    ..Profile::of(workload, &Baseline::default())
                });
                for family in &chosen.families {
                    profile.take_family(*family, &learned);
                }
                let names: Vec<_> = chosen.families.iter().map(|f| family_name(*f)).collect();
                (
                    profile,
                    format!(
                        "approved what {workload} was seen to do: {}",
                        names.join(", ")
                    ),
                )
            }
            (Some(subject), Some(mut profile)) => {
                let places = self.places(state, workload, chosen, subject)?;
                let shown = escape(subject.as_bytes());
                for (scope, family, subject) in &places {
                    profile.add(scope.role, scope.phase, *family, subject);
                    let place = (scope.clone(), *family, subject.clone());
                    if state.rejected.remove(&place) {
                        self.store.readmit(&place).map_err(failed)?;
                    }
                    state.lineages.settle(scope, *family, subject, clock::now());
                }
                (profile, format!("{workload} may use {shown} from now on"))
            }
            // What evidence took it to has no list of its own: what was learned is the list.
            (Some(subject), None) if state.is_auto(workload) => {
                for (scope, family, subject) in self.places(state, workload, chosen, subject)? {
                    let entry = Entry::default();
                    state.baseline.insert(&scope, family, &subject, entry);
                    state.touch(&scope, family, &subject);
                    state
                        .lineages
                        .settle(&scope, family, &subject, clock::now());
                    let place = (scope, family, subject);
                    if state.rejected.remove(&place) {
                        self.store.readmit(&place).map_err(failed)?;
                    }
                }
                self.publish_workload(state, workload)?;
                let shown = escape(subject.as_bytes());
                return Ok(format!("{workload} may use {shown} from now on"));
            }
            (Some(_), None) => {
                return Err(Refusal::Conflict(format!(
                    "no list of {workload} is approved that a subject could be added to: approve \
                     what was learned first, or allow it in the configuration"
                )));
            }
        };
        self.put_in_force(state, workload, profile, peer, &order.reason)?;
        Ok(done)
    }

    /// Where a subject belongs: where it was seen, or else exactly where the order says.
    pub(super) fn places(
        &self,
        state: &State,
        workload: &str,
        chosen: &Chosen,
        subject: &str,
    ) -> Result<Vec<Rejected>, Refusal> {
        // Learned, or approved without that.
        let approved = state.approved.get(workload).map(Approved::baseline);
        let seen: BTreeSet<Rejected> = [&state.baseline]
            .into_iter()
            .chain(approved)
            .flat_map(|list| list.scopes().map(move |scope| (list, scope)))
            .filter(|(_, scope)| scope.workload == workload)
            .flat_map(|(list, scope)| list.entries(scope).map(move |entry| (scope, entry)))
            .filter(|(scope, (family, known, _))| *known == subject && chosen.has(scope, *family))
            .map(|(scope, (family, ..))| (scope.clone(), family, subject.to_owned()))
            .collect();
        if !seen.is_empty() {
            return Ok(seen.into_iter().collect());
        }
        let waiting: Vec<Rejected> = state
            .lineages
            .waiting(workload, None)
            .into_iter()
            .filter(|waiting| waiting.subject == subject)
            .map(|waiting| {
                let scope = Scope {
                    workload: workload.to_owned(),
                    role: waiting.role,
                    phase: waiting.phase,
                };
                (scope, waiting.family, waiting.subject)
            })
            .filter(|(scope, family, _)| chosen.has(scope, *family) && is_rule(*family, subject))
            .collect();
        if !waiting.is_empty() {
            return Ok(waiting);
        }
        let shown = escape(subject.as_bytes());
        let (Some(role), [family]) = (chosen.role, chosen.families.as_slice()) else {
            return Err(Refusal::NotFound(format!(
                "{workload} was never seen to use {shown}; to decide about it all the same, say \
                 where with --role and --family"
            )));
        };
        if !is_rule(*family, subject) {
            return Err(Refusal::Bad(format!(
                "`{shown}` cannot be a rule about {}",
                family_name(*family)
            )));
        }
        let phases = self
            .classes
            .configured()
            .into_iter()
            .map(|(_, scope)| scope)
            .filter(|scope| scope.workload == workload && chosen.has(scope, *family));
        let places: Vec<_> = phases
            .map(|scope| (scope, *family, subject.to_owned()))
            .collect();
        if places.is_empty() {
            return Err(Refusal::Bad(format!(
                "{workload} has no processes with role {}",
                role_name(role)
            )));
        }
        Ok(places)
    }

    fn reject(
        &self,
        state: &mut State,
        workload: &str,
        chosen: &Chosen,
    ) -> Result<String, Refusal> {
        let Some(subject) = &chosen.subject else {
            return Err(Refusal::Bad(
                "which subject? `slmguard baseline show` lists them".into(),
            ));
        };
        let places = self.places(state, workload, chosen, subject)?;
        if places.iter().any(|(_, family, _)| *family == Family::Name) {
            return Err(Refusal::Conflict(
                "looking a name up cannot be refused; reject the addresses behind it".into(),
            ));
        }
        self.store.reject(&places).map_err(failed)?;
        let listed = state.approved.get(workload).map(|a| a.profile.clone());
        if let Some(mut profile) = listed {
            let mut changed = false;
            for (scope, family, subject) in &places {
                changed |= profile.remove(scope.role, scope.phase, *family, subject);
            }
            if changed && let Some(approved) = state.approved.get_mut(workload) {
                profile.signature = None;
                approved.replace(workload, profile);
                self.store
                    .approve(&approved.row(workload))
                    .map_err(failed)?;
            }
        }
        for (scope, family, subject) in &places {
            state.baseline.remove(scope, *family, subject);
            state.evidence.remove(scope, *family, subject);
            state
                .rejected
                .insert((scope.clone(), *family, subject.clone()));
        }
        self.publish_workload(state, workload)?;
        let wheres: Vec<_> = places
            .iter()
            .map(|(scope, family, _)| {
                format!(
                    "{} {} ({})",
                    role_name(scope.role),
                    phase_name(scope.phase),
                    family_name(*family)
                )
            })
            .collect();
        Ok(format!(
            "{workload} shall never use {} as {}",
            escape(subject.as_bytes()),
            wheres.join(", ")
        ))
    }

    /// A list from elsewhere.
    fn import(
        &self,
        state: &mut State,
        workload: &str,
        order: &view::BaselineOrder,
        peer: Peer,
    ) -> Result<String, Refusal> {
        let text = order.profile.as_deref().unwrap_or_default();
        let profile = Profile::from_toml(text).map_err(|e| Refusal::Bad(e.to_string()))?;
        let count: usize = profile.sizes().values().sum();
        if profile.provenance == Provenance::Derived {
            // Expected, and seen by nobody: it is not reported as news, and not approved either
            // before it was seen.
            let expected = profile.to_baseline(workload);
            for scope in expected.scopes() {
                for (family, subject, _) in expected.entries(scope) {
                    state
                        .baseline
                        .insert(scope, family, subject, Entry::default());
                    state.touch(scope, family, subject);
                }
            }
            self.publish_workload(state, workload)?;
            return Ok(format!(
                "{workload} is expected to use {count} subjects of a derived profile; they are \
                 learned when they are seen, and cannot be enforced before"
            ));
        }
        let print = profile.fingerprint();
        self.put_in_force(state, workload, profile, peer, &order.reason)?;
        Ok(format!(
            "{workload} is held to {count} subjects of profile {}",
            &print[..16]
        ))
    }

    /// Everything that was learned is forgotten.
    fn reset(&self, state: &mut State, workload: &str, mode: Mode) -> Result<String, Refusal> {
        if mode != Mode::Learn {
            return Err(Refusal::Conflict(format!(
                "{workload} would be left without a list: switch it to learn first, with `slmguard \
                 mode {workload} learn`"
            )));
        }
        self.store.forget_baseline(workload).map_err(failed)?;
        state.forget(workload);
        state.approved.remove(workload);
        state
            .rejected
            .retain(|(scope, ..)| scope.workload != workload);
        self.expect_pins(state, workload);
        self.set_basis(state, workload, Basis::None)?;
        self.publish_workload(state, workload)?;
        // What the kernel has reported once it would only count: it shall tell everything anew.
        let classes: Vec<_> = self.classes.configured();
        let ours = |(_, scope): &&(_, Scope)| scope.workload == workload;
        for (class, _) in classes.iter().filter(ours) {
            self.guard().forget_seen(*class);
        }
        Ok(format!(
            "forgot everything that was learned, approved and rejected for {workload}"
        ))
    }

    /// Makes a list the one that a workload is held to.
    fn put_in_force(
        &self,
        state: &mut State,
        workload: &str,
        profile: Profile,
        peer: Peer,
        reason: &str,
    ) -> Result<(), Refusal> {
        self.declare(state, workload, Some(&profile));
        let approved = Approved::new(workload, profile, peer, reason);
        let row = approved.row(workload);
        let before = state.approved.insert(workload.into(), approved);
        let published = self
            .publish_workload(state, workload)
            .and_then(|()| self.store.approve(&row).map_err(failed))
            .and_then(|()| self.set_basis(state, workload, Basis::Declared));
        if published.is_err() {
            self.declare(state, workload, before.as_ref().map(|b| &b.profile));
            match before {
                Some(before) => state.approved.insert(workload.into(), before),
                None => state.approved.remove(workload),
            };
            if let Err(e) = self.publish_workload(state, workload) {
                tracing::error!("cannot take an approval back: {e}");
            }
        }
        published
    }

    /// Says so for every list that is in force: evidence is saved now and then, lists at once.
    pub(super) fn declare_lists(&self, state: &mut State) {
        let in_force: Vec<_> = state
            .approved
            .iter()
            .filter(|(_, approved)| approved.active)
            .map(|(workload, approved)| (workload.clone(), approved.profile.clone()))
            .collect();
        for (workload, list) in in_force {
            self.declare(state, &workload, Some(&list));
        }
    }

    /// Says to the evidence which families an operator's list covers; without a list, that all of
    /// them learn again.
    fn declare(&self, state: &mut State, workload: &str, list: Option<&Profile>) {
        for (_, scope) in self.classes.configured() {
            if scope.workload != workload {
                continue;
            }
            for family in Family::ALL {
                match list {
                    Some(list) => state.evidence.declare(&scope, family, list.covers(family)),
                    None => state.evidence.learn_again(&scope, family),
                }
            }
        }
    }

    /// A workload learns again: its list is kept for comparison, and no policy is made of it.
    pub(super) fn retire_list(&self, state: &mut State, workload: &str) -> Result<(), Refusal> {
        let Some(approved) = state.approved.get_mut(workload) else {
            return Ok(());
        };
        approved.active = false;
        let row = approved.row(workload);
        self.declare(state, workload, None);
        self.store.approve(&row).map_err(failed)
    }

    /// A change of mode failed: the list is what it was, and so is the state.
    pub(super) fn put_list_back(
        &self,
        state: &mut State,
        workload: &str,
        before: Option<Approved>,
        current: WorkloadState,
    ) {
        let stored = match &before {
            Some(approved) => self.store.approve(&approved.row(workload)),
            None => self.store.forget_approved(workload),
        };
        match before {
            Some(approved) => state.approved.insert(workload.into(), approved),
            None => state.approved.remove(workload),
        };
        let stored = stored.and_then(|()| self.store.set_workload(workload, &current));
        state.set_mode(workload, current);
        if let Err(e) = stored
            .map_err(failed)
            .and_then(|()| self.publish_workload(state, workload))
        {
            tracing::error!("cannot take an approval back: {e}");
        }
    }

    fn set_basis(&self, state: &mut State, workload: &str, basis: Basis) -> Result<(), Refusal> {
        let Some(standing) = state.workloads.get(workload) else {
            return Err(no_such(workload));
        };
        // In mode auto an approval is evidence of its own, and the mode stays.
        if modes::is_auto(&standing.state) {
            return Ok(());
        }
        let next = WorkloadState {
            basis,
            ..standing.state
        };
        self.store.set_workload(workload, &next).map_err(failed)?;
        state.set_mode(workload, next);
        Ok(())
    }

    /// Publishes the policies of a workload in the mode that it has.
    fn publish_workload(&self, state: &mut State, workload: &str) -> Result<(), Refusal> {
        let Some(mode) = state.mode(workload) else {
            return Err(no_such(workload));
        };
        for (id, scope) in self.classes.configured() {
            if scope.workload == workload {
                self.publish(state, id, &scope, mode)
                    .map_err(|e| Refusal::Failed(format!("{e:#}")))?;
            }
        }
        Ok(())
    }

    /// What was learned for a workload or what is approved, as a profile.
    pub(super) fn profile(&self, workload: &str, which: &str) -> Result<view::Profile, Refusal> {
        self.settle(workload);
        let state = self.state();
        if !state.workloads.contains_key(workload) {
            return Err(no_such(workload));
        }
        let approved = state.approved.get(workload);
        let profile = match which {
            "learned" => Profile::of(workload, &state.baseline),
            "approved" => approved
                .ok_or_else(|| {
                    Refusal::NotFound(format!("no list of {workload} was approved yet"))
                })?
                .profile
                .clone(),
            _ => return Err(Refusal::NotFound("there is no such page".into())),
        };
        Ok(view::Profile {
            workload: workload.into(),
            fingerprint: profile.fingerprint(),
            text: profile.to_toml(),
            approved: approved
                .filter(|_| which == "approved")
                .map(|a| view::Approval {
                    time: slmguard_core::time::rfc3339(a.time),
                    uid: a.uid,
                    reason: a.reason.clone(),
                    active: a.active,
                }),
        })
    }
}

fn failed(error: impl ToString) -> Refusal {
    Refusal::Failed(error.to_string())
}

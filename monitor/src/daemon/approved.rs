//! The lists that operators approved, and what of them applies: which policies, in which mode.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use monitor_common::class::{Family, Mode};
use slmguard_core::{
    baseline::{Baseline, subject},
    config::Rules,
    decide::{Modes, host_rule::HostRule},
    observation::Scope,
    profile::{Profile, ProfileError},
    text::escape,
};

use super::{clock, modes, state::State};
use crate::{
    api::Peer,
    store::{ApprovedRow, Rejected, Store},
};

/// A list that somebody approved.
#[derive(Clone, Debug)]
pub struct Approved {
    /// The list.
    pub profile: Profile,
    /// The same, as policies are made of it.
    baseline: Baseline,
    /// Whether policies are made of it.
    pub active: bool,
    /// Since when, nanoseconds since the epoch.
    pub time: u64,
    /// By whom.
    pub uid: u32,
    /// Why.
    pub reason: String,
}

impl Approved {
    /// A list that `peer` approves now.
    pub(super) fn new(workload: &str, profile: Profile, peer: Peer, reason: &str) -> Self {
        Self {
            baseline: profile.to_baseline(workload),
            profile,
            active: true,
            time: clock::now(),
            uid: peer.uid,
            reason: escape(reason.as_bytes()),
        }
    }

    /// The list, as policies are made of it.
    pub(super) fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// Puts another list in the place of this one.
    pub(super) fn replace(&mut self, workload: &str, profile: Profile) {
        self.baseline = profile.to_baseline(workload);
        self.profile = profile;
    }

    /// Whether a subject is in it.
    pub(super) fn lists(&self, scope: &Scope, family: Family, subject: &str) -> bool {
        self.baseline.get(scope, family, subject).is_some()
    }

    /// As the store keeps it.
    pub(super) fn row(&self, workload: &str) -> ApprovedRow {
        ApprovedRow {
            workload: workload.into(),
            body: self.profile.to_toml(),
            active: self.active,
            time: self.time,
            uid: self.uid,
            reason: self.reason.clone(),
        }
    }

    /// The list that the store has.
    fn from_row(row: ApprovedRow) -> Result<(String, Self), ProfileError> {
        let profile = Profile::from_toml(&row.body)?;
        let approved = Self {
            baseline: profile.to_baseline(&row.workload),
            profile,
            active: row.active,
            time: row.time,
            uid: row.uid,
            reason: row.reason,
        };
        Ok((row.workload, approved))
    }
}

impl State {
    /// The list that a workload is held to in `mode`: none while it learns.
    pub(super) fn in_force(&self, workload: &str, mode: Mode) -> Option<&Approved> {
        let approved = self.approved.get(workload)?;
        let holds = mode != Mode::Learn || self.is_auto(workload);
        (approved.active && holds).then_some(approved)
    }

    /// Whether a workload goes from mode to mode by itself.
    pub(super) fn is_auto(&self, workload: &str) -> bool {
        let standing = self.workloads.get(workload);
        standing.is_some_and(|w| modes::is_auto(&w.state))
    }

    /// What a policy of `scope` allows: the approved list for the families that it covers, what was
    /// learned for the others.
    pub(super) fn allowed(&self, scope: &Scope, mode: Mode) -> Cow<'_, Baseline> {
        let Some(approved) = self.in_force(&scope.workload, mode) else {
            return Cow::Borrowed(&self.baseline);
        };
        let mut allowed = Baseline::default();
        for (baseline, of_the_list) in [(&approved.baseline, true), (&self.baseline, false)] {
            for (family, subject, entry) in baseline.entries(scope) {
                if approved.profile.covers(family) == of_the_list {
                    allowed.insert(scope, family, subject, *entry);
                }
            }
        }
        Cow::Owned(allowed)
    }

    /// The mode of each family: only those with a complete list are enforced.
    pub(super) fn modes(&self, scope: &Scope, mode: Mode) -> Modes {
        let all = Modes::all(mode);
        match self.in_force(&scope.workload, mode) {
            _ if mode == Mode::Learn && self.is_auto(&scope.workload) => self.earned(scope),
            Some(approved) if mode == Mode::Enforce => Family::ALL
                .into_iter()
                .filter(|family| !approved.profile.covers(*family))
                .fold(all, |modes, family| modes.with(family, Mode::Monitor)),
            _ => all,
        }
    }

    /// Rules against what was rejected in a scope.
    pub(super) fn forbidden(&self, scope: &Scope) -> Rules {
        let mut rules = Rules::default();
        for (_, family, subject) in self.rejected.iter().filter(|(s, _, _)| s == scope) {
            let list = match family {
                Family::Destination => &mut rules.connect,
                Family::Read => &mut rules.read,
                Family::Write => &mut rules.write,
                Family::Exec => &mut rules.exec,
                Family::Unix => &mut rules.unix,
                Family::Listen => &mut rules.listen,
                Family::Facility => &mut rules.facilities,
                // Looking a name up cannot be refused yet: it is told.
                Family::Name => continue,
            };
            // A class or a host cannot be forbidden: it is not learned, and no list has it any more.
            let is_host = *family == Family::Destination && HostRule::is_meant(subject);
            if is_host || subject::is_class(subject) {
                continue;
            }
            list.push(subject.clone());
        }
        rules
    }
}

/// What the store has: lists by workload, and what was rejected.
pub(super) fn load(
    store: &Store,
) -> anyhow::Result<(BTreeMap<String, Approved>, BTreeSet<Rejected>)> {
    let mut approved = BTreeMap::new();
    for row in store.approved()? {
        let workload = row.workload.clone();
        let (name, list) = Approved::from_row(row)
            .map_err(|e| anyhow::anyhow!("the approved list of {workload} cannot be read: {e}"))?;
        approved.insert(name, list);
    }
    Ok((approved, store.rejected()?.into_iter().collect()))
}

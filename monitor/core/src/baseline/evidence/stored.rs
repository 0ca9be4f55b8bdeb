//! Evidence as rows for the store: words instead of numbers, so that a row means the same in every
//! version. Values only; what is kept where is the store's matter.

use std::collections::BTreeMap;

use monitor_common::class::Family;
use serde::{Deserialize, Serialize};

use super::{
    exposure::Exposure,
    incidence,
    ledger::{Evidence, OfFamily, OfScope},
    lifecycle::Lifecycle,
    promotion::Tier,
    would_block::WouldBlock,
};
use crate::workload::{family_from, family_name, phase_from, phase_name, role_from, role_name};

/// One workload: what is not of a scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadRow {
    /// Workload.
    pub workload: String,
    /// Its list of steps.
    pub lifecycle: Lifecycle,
    /// When events were lost the last time, nanoseconds since the epoch.
    pub lost: Option<u64>,
    /// Families that stopped learning.
    pub full: Vec<String>,
    /// Its scopes.
    pub scopes: Vec<ScopeRow>,
}

/// One scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScopeRow {
    /// Role.
    pub role: String,
    /// Phase.
    pub phase: String,
    /// For how long it was watched.
    pub exposure: Exposure,
    /// Its families; those of which nothing is known are left out.
    pub families: BTreeMap<String, FamilyRow>,
}

/// One family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FamilyRow {
    /// Counts.
    pub incidence: incidence::Stored,
    /// Would-be denials.
    #[serde(default)]
    pub would_block: WouldBlock,
    /// Tier that was reached on evidence.
    #[serde(default)]
    pub held: Tier,
    /// Tier that was last told.
    #[serde(default)]
    pub told: Tier,
    /// The operator approved the list.
    #[serde(default)]
    pub declared: bool,
    /// When something new was last seen.
    #[serde(default)]
    pub last_new: u64,
}

/// Why rows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("evidence of {workload}: `{word}` is not a {what}; was it written by a newer version?")]
pub struct StoredError {
    /// Workload.
    pub workload: String,
    /// What it should have been.
    pub what: &'static str,
    /// What it was.
    pub word: String,
}

impl Evidence {
    /// What is to be stored of each workload, in order.
    pub fn rows(&self) -> Vec<WorkloadRow> {
        let family = |(i, of): (usize, &OfFamily)| {
            let row = FamilyRow {
                incidence: (&of.incidence).into(),
                would_block: of.would_block.clone(),
                held: of.held,
                told: of.told,
                declared: of.declared,
                last_new: of.last_new,
            };
            (family_name(Family::ALL[i]).to_owned(), row)
        };
        let of_workload = |(name, workload): (&String, &super::ledger::OfWorkload)| WorkloadRow {
            workload: name.clone(),
            lifecycle: workload.lifecycle.clone(),
            lost: workload.lost,
            full: workload
                .full
                .iter()
                .map(|f| family_name(*f).into())
                .collect(),
            scopes: workload
                .scopes
                .iter()
                .map(|((role, phase), of)| ScopeRow {
                    role: role_name(*role).into(),
                    phase: phase_name(*phase).into(),
                    exposure: of.exposure,
                    families: of.families.iter().enumerate().map(family).collect(),
                })
                .collect(),
        };
        self.workloads.iter().map(of_workload).collect()
    }

    /// Brings rows back; what was known of those workloads before is replaced. Nothing changes if
    /// any of them cannot be read.
    pub fn restore(&mut self, rows: Vec<WorkloadRow>) -> Result<(), StoredError> {
        let mut workloads = BTreeMap::new();
        for row in rows {
            let error = |what, word: &str| StoredError {
                workload: row.workload.clone(),
                what,
                word: word.into(),
            };
            let family_of = |word: &str| family_from(word).ok_or_else(|| error("family", word));
            let mut of = super::ledger::OfWorkload {
                lost: row.lost,
                ..Default::default()
            };
            for word in &row.full {
                of.full.insert(family_of(word)?);
            }
            for scope in row.scopes {
                let role = role_from(&scope.role).ok_or_else(|| error("role", &scope.role))?;
                let phase = phase_from(&scope.phase).ok_or_else(|| error("phase", &scope.phase))?;
                let mut of_scope = OfScope {
                    exposure: scope.exposure,
                    ..OfScope::default()
                };
                for (word, family) in scope.families {
                    of_scope.families[family_of(&word)? as usize] = OfFamily {
                        incidence: family.incidence.into(),
                        would_block: family.would_block,
                        held: family.held,
                        told: family.told,
                        declared: family.declared,
                        last_new: family.last_new,
                    };
                }
                of.scopes.insert((role, phase), of_scope);
            }
            of.lifecycle = row.lifecycle;
            workloads.insert(row.workload, of);
        }
        self.workloads.extend(workloads);
        Ok(())
    }
}
